"""What a report says about rows: how far the responses agree, which rows to check first, and why.

A row is in one of four bands, which need no threshold. n is the number of responses that count, m the size of the
largest meaning:

    agree       one meaning
    majority    m > n / 2
    split       m <= n / 2
    unknown     fewer than two valid answers: nothing can be compared

Rows are ranked by p(wrong) if they are calibrated, else by the entropy (nats): the most uncertain row is first. Among
equal values, the row whose largest meaning has the smaller share is first, then the order of the file; the report says
how many rows are equal in both. A row in the band `unknown` is not in the ranking; the report counts these rows beside
the list, because there is no answer to check.

Judges that compare words and numbers find equal meanings of short answers. Of long answers they find equal wordings, so
a report of long answers says it (`compared_by_words`).
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from semantic_entropy.decisions import why_unusable
from semantic_entropy.plain_text import plural
from semantic_entropy.report.scored_rows import ReportRow, known
from semantic_entropy.results import Result
from semantic_entropy.types import Usage

Band = Literal["agree", "majority", "split", "unknown"]
BANDS: tuple[Band, ...] = get_args(Band)
_WORD_JUDGES = ("exact", "ngram", "text")
_SHORT = 10  # words of an answer: a name, a number, a phrase


@dataclass(frozen=True, slots=True)
class ResponseAgreement:
    """How far the responses of a row agree.

    Attributes:
        band: see the module.
        largest: the number of responses with the largest meaning.
        counted: the number of responses that count: all, except answers that were dropped.
        meanings: the number of meanings; an invalid answer has none.
        invalid: the number of responses that count and have no valid answer.
    """

    band: Band
    largest: int
    counted: int
    meanings: int
    invalid: int

    @classmethod
    def of(cls, result: Result) -> ResponseAgreement:
        """Return the agreement of the responses of a result."""
        valid = [cluster.size for cluster in result.clusters if cluster.representative is not None]
        counted, largest = sum(cluster.size for cluster in result.clusters), max(valid, default=0)
        if result.n_valid < 2:
            band: Band = "unknown"
        elif len(result.clusters) == 1:
            band = "agree"
        else:
            band = "majority" if largest * 2 > counted else "split"
        return cls(band, largest, counted, len(valid), counted - sum(valid))

    def __str__(self) -> str:
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


def reasons(row: ReportRow, agreement: ResponseAgreement) -> list[str]:
    """Return why a row is as uncertain as it is, as phrases, the most important one first."""
    result = row.result
    found = [str(agreement)]
    found += [reason for reason in why_unusable(result) if "to compare" not in reason]
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
    """Return a warning if a judge that compares words compared long answers; None: there is no such judge."""
    lengths: dict[str, list[int]] = {}
    for row in rows:
        judge = row.result.provenance.equivalence.partition("(")[0]
        if judge in _WORD_JUDGES:
            lengths.setdefault(judge, []).extend(len(answer.split()) for answer in row.result.answers if answer)
    medians = {judge: int(statistics.median(each)) for judge, each in lengths.items() if each}
    judge = max(medians, key=lambda name: medians[name], default="")
    if not judge or medians[judge] <= _SHORT:
        return None
    return (
        f"The judge {judge} compares words and numbers, and half of the answers have {medians[judge]} words or more. "
        "Answers that say the same in other words count as different: use a judge that has a model, such as nli."
    )


def rank_score(rows: Iterable[ReportRow]) -> str:
    """Return the score that rows are ranked by: "p_wrong" if a row has it, else "entropy"."""
    return "p_wrong" if any(getattr(row.result, "p_wrong", None) is not None for row in rows) else "entropy"


def score_of(result: Result, score: str) -> float | None:
    """Return the value of the score that rows are ranked by; None: not known."""
    return known(getattr(result, score, None))


def totals(rows: Sequence[ReportRow], agreements: Sequence[ResponseAgreement]) -> dict[str, Any]:
    """Return the numbers of all rows: means, bands, labels, judges and costs."""
    entropies = [value for row in rows if (value := known(row.result.entropy)) is not None]
    normalized = [value for row in rows if (value := known(row.result.normalized)) is not None]
    bands = Counter(agreement.band for agreement in agreements)
    labelled = [row.wrong for row in rows if row.wrong is not None]
    provenances = [row.result.provenance for row in rows]
    return {
        "rows": len(rows),
        "responses": sum(len(row.responses) for row in rows),
        "entropy": _mean(entropies),
        "normalized": _mean(normalized),
        "bands": {band: bands[band] for band in BANDS},
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
    """Whether a warning says again that nothing can be compared, or how many responses have no valid answer."""
    said = " ".join(found)
    is_count = "answers are invalid (" in warning and "without a valid answer" in said
    return is_count or ("nothing to compare" in warning and "nothing to compare" in said)
