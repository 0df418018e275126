"""What a report says about rows: how far the responses agree, which rows to check first, and why.

A row is in one of four bands, which need no threshold. n is the number of responses that count, m the size of the
largest meaning. For a long answer, n is the number of its sentences, m that of the sentences that are not doubtful:

    agree       one meaning; no sentence is doubtful
    majority    m > n / 2
    split       m <= n / 2
    unknown     fewer than two valid answers: nothing can be compared; the uncertainty of a long answer is unknown

Rows are ranked by the first of these scores that applies; the most uncertain row is first:

    p_wrong       p(wrong), if a row is calibrated
    unsupported   the score of `unsupported`, if all rows have a long answer: the mean uncertainty of its sentences
    uncertainty   if some rows have a long answer: `unsupported` for them, entropy / ln n (`normalized`) for the others
    entropy       the entropy (nats)

`unsupported` and `normalized` are both 0 if the samples agree and 1 if no sample agrees with another one. They are
different measures, so a report of both kinds says it. Among equal values, the row with the smaller m / n is first, then
the order of the file; the report says how many rows are equal in both. A row in the band `unknown` is not in the
ranking; the report counts these rows beside the list, because there is no answer to check.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from semantic_entropy.decisions import MIN_COMPARED, why_unusable
from semantic_entropy.html_views.word_notice import Compared, word_notice
from semantic_entropy.long_answers import LongAnswer
from semantic_entropy.plain_text import plural, shorten
from semantic_entropy.report.scored_rows import ReportRow, known
from semantic_entropy.results import Result
from semantic_entropy.types import Usage

Band = Literal["agree", "majority", "split", "unknown"]
BANDS: tuple[Band, ...] = get_args(Band)
RankScore = Literal["p_wrong", "unsupported", "uncertainty", "entropy"]
_QUOTED = 120  # characters of a sentence in a reason


@dataclass(frozen=True, slots=True)
class ResponseAgreement:
    """How far the responses of a row agree, or how far the samples support its long answer.

    Attributes:
        band: see the module.
        largest: the number of responses with the largest meaning; the number of sentences that are not doubtful.
        counted: the number of responses that count: all, except answers that were dropped; the number of sentences.
        meanings: the number of meanings; an invalid answer has none.
        invalid: the number of responses that count and have no valid answer.
        sentences: the reason of a long answer; None: the answer is short.
    """

    band: Band
    largest: int
    counted: int
    meanings: int
    invalid: int
    sentences: str | None = None

    @classmethod
    def of(cls, result: Result) -> ResponseAgreement:
        """Return the agreement of the responses of a result; of a long answer, the support of its sentences."""
        if result.long_answer is not None:
            return cls._of_sentences(result.long_answer)
        valid = [cluster.size for cluster in result.clusters if cluster.representative is not None]
        counted, largest = sum(cluster.size for cluster in result.clusters), max(valid, default=0)
        if result.n_valid < 2:
            band: Band = "unknown"
        elif len(result.clusters) == 1:
            band = "agree"
        else:
            band = "majority" if largest * 2 > counted else "split"
        return cls(band, largest, counted, len(valid), counted - sum(valid))

    @classmethod
    def _of_sentences(cls, answer: LongAnswer) -> ResponseAgreement:
        counted, doubtful = len(answer.sentences), sum(sentence.doubtful for sentence in answer.sentences)
        if math.isnan(answer.uncertainty):
            band: Band = "unknown"
        elif not doubtful:
            band = "agree"
        else:
            band = "majority" if doubtful * 2 < counted else "split"
        supported = counted - doubtful
        return cls(band, supported, counted, 0, answer.invalid, _sentence_reason(answer, doubtful))

    def __str__(self) -> str:
        if self.sentences is not None:
            return self.sentences
        if self.band == "unknown":
            return f"{plural(self.largest, 'valid answer')} in {plural(self.counted, 'response')}: nothing to compare"
        if self.band == "agree":
            return f"all {self.counted} responses mean the same"
        if self.largest == 1 and self.invalid:
            return (
                f"{self.invalid} of {self.counted} responses without a valid answer; no two of the others mean the same"
            )
        if self.largest == 1:
            return f"{self.counted} responses, and no two of them mean the same"
        only = "only " if self.band == "split" else ""
        rest = [plural(self.meanings - 1, "other meaning")] * (self.meanings > 1)
        rest += [f"{self.invalid} without a valid answer"] * (self.invalid > 0)
        return f"{only}{self.largest} of {self.counted} responses mean the same; the rest: {', '.join(rest)}"


def _sentence_reason(answer: LongAnswer, doubtful: int) -> str:
    """Return how many sentences are doubtful, and how many samples support the least supported one."""
    if not answer.sentences:
        return f"no {answer.unit} is known: nothing to compare"
    worst = answer.least_supported[0]
    unit = answer.unit if len(answer.sentences) == 1 else f"{answer.unit}s"
    found = f"{doubtful} of {len(answer.sentences):,} {unit} {'is' if doubtful == 1 else 'are'} doubtful"
    by = f"{worst.supported_by} of {plural(answer.samples, 'sample')} support{'s' if worst.supported_by == 1 else ''}"
    decided = " (too few are decided)" if worst.unknown and answer.samples > answer.invalid else ""
    return f"{found}; {by} \u201c{shorten(worst.text, _QUOTED)}\u201d{decided}"


def reasons(row: ReportRow, agreement: ResponseAgreement) -> list[str]:
    """Return why a row is as uncertain as it is, as phrases, the most important one first."""
    result = row.result
    found = [str(agreement)]
    found += [reason for reason in why_unusable(result, min_samples=MIN_COMPARED) if "to compare" not in reason]
    found += [warning for warning in result.warnings if not _repeats(warning, found)]
    return found


def decision(row: ReportRow) -> tuple[str, list[str]] | None:
    """Return the action of the gate, or what the flag of the result says, and the reasons; None: there is neither."""
    if row.decision is not None:
        return row.decision.action, list(row.decision.reasons)
    result = row.result
    if result.flag is None:
        return None
    chance = known(result.p_wrong)
    found = ["p(wrong) is unknown" if chance is None else f"p(wrong) is {chance:.1%}"]
    limit = known(result.threshold)
    found.append("no threshold is certified" if limit is None else f"the certified threshold is {limit:.6g}")
    return ("flagged" if result.flag else "passed"), found


def ranking(rows: Sequence[ReportRow], agreements: Sequence[ResponseAgreement]) -> list[int]:
    """Return the indices of the rows: the most uncertain first, those without a known score at the end."""
    keys = _rank_keys(rows, agreements)
    return sorted(range(len(rows)), key=lambda i: (*keys[i], i))


def equally_uncertain(
    rows: Sequence[ReportRow], agreements: Sequence[ResponseAgreement], order: Sequence[int], shown: int
) -> int:
    """Return how many rows are as uncertain as the last of the first `shown` rows; 0: all of them are shown.

    Args:
        rows: the rows.
        agreements: how far the responses of each row agree.
        order: the ranking.
        shown: the number of rows that are shown first.
    """
    keys = _rank_keys(rows, agreements)
    if len(order) <= shown or keys[order[shown]] != keys[order[shown - 1]]:
        return 0
    if agreements[order[shown]].band in ("unknown", "agree"):  # nothing to check
        return 0
    return keys.count(keys[order[shown]])


def _rank_keys(rows: Sequence[ReportRow], agreements: Sequence[ResponseAgreement]) -> list[tuple[float, float]]:
    score = rank_score(rows)
    found = []
    for row, agreement in zip(rows, agreements, strict=True):
        value = score_of(row.result, score)
        unknown = value is None or agreement.band == "unknown"
        share = agreement.largest / agreement.counted if agreement.counted else 0.0
        found.append((math.inf if unknown or value is None else -round(value, 9), share))
    return found


def compared_by_words(rows: Iterable[ReportRow]) -> str | None:
    """Return a notice if a judge that compares words compared long answers or sentences; None: no such judge did."""
    results = (row.result for row in rows)
    return word_notice(
        Compared(
            result.provenance.equivalence,
            result.answers,
            result.long_answer.support if result.long_answer else None,
            result.long_answer.unit if result.long_answer else "sentence",
        )
        for result in results
    )


def rank_score(rows: Iterable[ReportRow]) -> RankScore:
    """Return the score that rows are ranked by, see the module."""
    results = [row.result for row in rows]
    if any(result.p_wrong is not None for result in results):
        return "p_wrong"
    long = sum(result.long_answer is not None for result in results)
    return "entropy" if not long else "unsupported" if long == len(results) else "uncertainty"


def score_of(result: Result, score: RankScore) -> float | None:
    """Return the value of the score that rows are ranked by; None: not known."""
    if score == "p_wrong":
        return known(result.p_wrong)
    if score == "entropy":
        return known(result.entropy)
    if result.long_answer is None:
        return known(result.normalized) if score == "uncertainty" else None
    return known(
        result.scores.get("unsupported", result.long_answer.uncertainty)
    )  # the mean, or with `max` the highest


def totals(rows: Sequence[ReportRow], agreements: Sequence[ResponseAgreement]) -> dict[str, Any]:
    """Return the numbers of all rows: means, bands, labels, judges and costs."""
    entropies = [value for row in rows if (value := known(row.result.entropy)) is not None]
    normalized = [value for row in rows if (value := known(row.result.normalized)) is not None]
    bands = Counter(agreement.band for agreement in agreements)
    labelled = [row.wrong for row in rows if row.wrong is not None]
    provenances = [row.result.provenance for row in rows]
    answers = [row.result.long_answer for row in rows if row.result.long_answer]
    uncertainties = [each for answer in answers if (each := known(answer.uncertainty)) is not None]
    return {
        "rows": len(rows),
        "responses": sum(len(row.responses) for row in rows),
        "entropy": _mean(entropies),
        "normalized": _mean(normalized),
        "bands": {band: bands[band] for band in BANDS},
        "long": len(answers),
        "unit": "claim" if answers and all(answer.unit == "claim" for answer in answers) else "sentence",
        "unsupported": _mean(uncertainties),
        "sentences": sum(len(answer.sentences) for answer in answers),
        "doubtful": sum(each.doubtful for answer in answers for each in answer.sentences),
        "labelled": len(labelled),
        "wrong": sum(labelled),
        "wrong_agree": sum(bool(r.wrong) and a.band == "agree" for r, a in zip(rows, agreements, strict=True)),
        "warned": sum(bool(row.result.warnings) for row in rows),
        "pairs": sum(p.pairs for p in provenances),
        "cached": sum(p.cached for p in provenances),
        "undecided": sum(p.undecided for p in provenances),
        "costs": _costs(rows),
        "judges": _judges(rows),
    }


def _judges(rows: Sequence[ReportRow]) -> list[list[Any]]:
    """Return [judge, reason, rows, pairs] of each judge; the judges of a cascade have an entry of their own."""
    chosen: Counter[tuple[str, str]] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    deciders: Counter[str] = Counter()
    for row in rows:
        provenance = row.result.provenance
        judge = (provenance.equivalence, provenance.equivalence_reason)
        chosen[judge] += 1
        pairs[judge] += provenance.pairs
        if len(provenance.decided_by) > 1:
            deciders.update({each.judge: each.pairs for each in provenance.decided_by})
    found: list[list[Any]] = [[*judge, count, pairs[judge]] for judge, count in chosen.most_common()]
    return found + [[judge, "decided inside another judge", None, count] for judge, count in deciders.most_common()]


def _costs(rows: Sequence[ReportRow]) -> list[list[str]]:
    """Return [what, cost] for judging, drawing and the prompts of estimators, where a cost is known."""
    names = {"usage": "judging", "sampling_usage": "drawing the responses", "replies_usage": "prompts of estimators"}
    found = []
    for name, title in names.items():
        usages = [usage for row in rows if (usage := getattr(row.result.provenance, name))]
        if usages:
            found.append([title, str(sum(usages, Usage()))])
    return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _repeats(warning: str, found: Sequence[str]) -> bool:
    """Whether a warning says again that nothing can be compared, or how many responses have no valid answer.

    That the entropy of long answers says little is a warning for those who read the entropy: here, the sentences rank.
    """
    said = " ".join(found)
    if "compared as wholes, long answers seldom mean the same" in warning:
        return True
    is_count = "answers are invalid (" in warning and "without a valid answer" in said
    return is_count or ("nothing to compare" in warning and "nothing to compare" in said)
