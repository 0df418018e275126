"""Choose a judge's threshold from labelled pairs: read the pairs, ask the judge once, and report the quality.

A row of the file is a JSON object with two answers (by default in the fields `a` and `b`) and a label, which is true if
the answers mean the same (by default in `equivalent`). A row may also have the question (`question`) and the source of
the pair (`source`); the report has a line for each source. Cross-validation keeps all pairs of a question in one fold.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from semantic_entropy.cache.memory import VerdictCache
from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.contracts import judge_pairs, stream_verdicts
from semantic_entropy.decisions.thresholds import CrossValidation, Quality, best_threshold, cross_validate, quality
from semantic_entropy.errors import EquivalenceError, InputError
from semantic_entropy.measuring import judge_key, verdict_key
from semantic_entropy.plain_text import one_line
from semantic_entropy.types import Pair, Verdict

DEFAULT_FIELDS = {"left": "a", "right": "b", "label": "equivalent", "question": "question", "source": "source"}
"""The default field names of the parts of a labelled pair."""
_FEW = 100  # pairs with one label: below, the 95 % interval of an accuracy of 0.9 is wider than 0.1
_SHOWN = 5  # number of bad rows that a message lists


class LabelledPair(NamedTuple):
    """A pair of answers, the label (True: they mean the same), and the source of the pair."""

    pair: Pair
    same: bool
    source: str


class QualityComparison(NamedTuple):
    """The quality of the chosen threshold, and of the judge as it was loaded, both on the same pairs."""

    picked: Quality
    as_is: Quality


@dataclass(frozen=True, slots=True)
class ThresholdReport:
    """A threshold chosen from labelled pairs, and its quality. `str()` of the report is a table.

    Attributes:
        judge: the description of the judge.
        metric: the name of the metric that was maximised.
        threshold: the best threshold on all pairs.
        own_threshold: the threshold that the judge was loaded with; None: the judge has no threshold.
        all: the quality on all pairs.
        held_out: the cross-validated quality; or a text that says why cross-validation was not possible.
        sources: the quality on the pairs of each source; empty if there is only one source.
        undecided: the number of undecided pairs by reason. All other numbers leave out the undecided pairs.
    """

    judge: str
    metric: str
    threshold: float
    own_threshold: float | None
    all: QualityComparison
    held_out: CrossValidation | str
    sources: Mapping[str, QualityComparison]
    undecided: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dict of plain values. A nan becomes None."""
        held_out = self.held_out
        return {
            "judge": self.judge,
            "metric": self.metric,
            "threshold": self.threshold,
            "own_threshold": self.own_threshold,
            "picked": _ratios(self.all.picked),
            "as_is": _ratios(self.all.as_is),
            "held_out": held_out
            if isinstance(held_out, str)
            else {"thresholds": list(held_out.thresholds), **_ratios(held_out.quality)},
            "sources": {
                source: {"picked": _ratios(both.picked), "as_is": _ratios(both.as_is)}
                for source, both in self.sources.items()
            },
            "undecided": dict(self.undecided),
            "warning": self.warning,
        }

    @property
    def warning(self) -> str:
        """A warning that there are too few pairs to trust the threshold; empty if there are enough."""
        found = self.all.picked
        same = found.true_positives + found.false_negatives
        fewest = min(same, found.pairs - same)
        if fewest >= _FEW:
            return ""
        label = "the same" if fewest == same else "different"
        return (
            f"only {fewest} of the {found.pairs} pairs are labelled {label}: the threshold and these scores can be far "
            f"from those of other pairs; label at least {_FEW} pairs of each kind"
        )

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        found = self.all.picked
        same = found.true_positives + found.false_negatives
        yield f"{found.pairs} pairs, {same} of them the same, judged by {self.judge}"
        for reason, count in self.undecided.items():
            yield f"{count} more pairs undecided and not counted: {reason}"
        width = max(map(len, ("the best threshold for precision@0.95", *self.sources)))
        yield ""
        yield f"{'':{width}} threshold" + "".join(f"{name:>10}" for name in _RATIOS)
        yield _table_line("the judge as it is", self.own_threshold, self.all.as_is, width)
        yield _table_line(f"the best threshold for {self.metric}", self.threshold, self.all.picked, width)
        if isinstance(self.held_out, str):
            yield f"  cross-validated: none, because {self.held_out}"
        else:
            yield _table_line(
                f"  cross-validated, {len(self.held_out.thresholds)} folds", None, self.held_out.quality, width
            )
        if warning := self.warning:
            yield f"warning: {warning}"
        if self.sources:
            yield ""
            yield f"{'accuracy by source':{width}} pairs     as it is      best"
        for source, both in self.sources.items():
            accuracies = f"{_format(both.as_is.accuracy):>13}{_format(both.picked.accuracy):>10}"
            yield f"{source:{width}} {both.picked.pairs:<5}{accuracies}"


def read_labelled_pairs(name: str, fields: Mapping[str, str] = DEFAULT_FIELDS) -> list[LabelledPair]:
    """Read labelled pairs from a file of JSON lines.

    Args:
        name: the path of the file.
        fields: the field name of each part of a pair, with the keys of `DEFAULT_FIELDS`.

    Raises:
        InputError: the file cannot be read, has no pairs, or has bad rows. The message names the bad lines.
    """
    pairs, problems, any_object = [], [], False
    for number, line in enumerate(_read_lines(name), start=1):
        if line.strip():
            any_object = any_object or line.lstrip().startswith(b"{")
            pair = _parse_pair(line, fields)
            if isinstance(pair, str):
                problems.append(f"line {number}: {pair}")
            else:
                pairs.append(pair)
    if problems and not any_object:
        converted = f"pandas.read_csv({name!r}).to_json('pairs.jsonl', orient='records', lines=True)"
        raise InputError(
            f"{name}: no line is a JSON object, and only JSON lines are read here. Convert a table first, such as with "
            f'python -c "import pandas; {converted}"'
        )
    if problems:
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(f"{name}: bad rows:\n  " + "\n  ".join(problems[:_SHOWN]) + more)
    if not pairs:
        raise InputError(f"{name} has no pairs")
    return pairs


def tune_threshold(
    judge: Equivalence,
    pairs: Sequence[LabelledPair],
    metric: str = "accuracy",
    advance: Callable[[int], object] = lambda _: None,
    cache: VerdictCache | None = None,
) -> ThresholdReport:
    """Ask the judge about all pairs, and choose its threshold.

    Args:
        judge: a judge that returns verdicts with scores.
        pairs: the labelled pairs.
        metric: the metric to maximise: "accuracy", "f1", or "precision@P" (see `best_threshold`).
        advance: a function that is called with the number of new verdicts, for a progress bar.
        cache: the verdict cache. Pairs in the cache are not sent to the judge; new verdicts are added to the cache.

    Raises:
        InputError: `best_threshold` raised it for these pairs.
        EquivalenceError: a verdict has no score, or the judge broke its contract.
    """
    watched = _CachedJudge(judge, advance, VerdictCache(0) if cache is None else cache)
    verdicts = judge_pairs(watched, [labelled.pair for labelled in pairs])
    decided = [
        (labelled, verdict, _score(judge, verdict))
        for labelled, verdict in zip(pairs, verdicts, strict=True)
        if verdict.same is not None
    ]
    undecided = Counter(one_line(v.reason or "no reason given") for v in verdicts if v.same is None)
    scores, labels = [score for *_, score in decided], [labelled.same for labelled, *_ in decided]
    threshold = best_threshold(scores, labels, metric)
    questions = [labelled.pair.question or (labelled.pair.left, labelled.pair.right) for labelled, *_ in decided]
    held_out: CrossValidation | str
    try:
        held_out = cross_validate(scores, labels, metric, groups=questions)
    except InputError as error:
        held_out = str(error)
    outcomes = [_Outcome(score >= threshold, bool(verdict.same), each.same) for each, verdict, score in decided]
    by_source: dict[str, list[_Outcome]] = {}
    for (labelled, *_), outcome in zip(decided, outcomes, strict=True):
        by_source.setdefault(labelled.source, []).append(outcome)
    own = getattr(judge, "threshold", None)
    return ThresholdReport(
        judge=judge.describe(),
        metric=metric,
        threshold=threshold,
        own_threshold=float(own) if isinstance(own, int | float) else None,
        all=_compare(outcomes),
        held_out=held_out,
        sources={source: _compare(each) for source, each in by_source.items()} if len(by_source) > 1 else {},
        undecided=dict(undecided.most_common()),
    )


class _Outcome(NamedTuple):
    """The verdict with the chosen threshold, the judge's own verdict, and the label of one pair."""

    picked: bool
    as_is: bool
    label: bool


class _CachedJudge(Equivalence):
    """A judge that looks up verdicts in a cache before it asks another judge, and reports the progress."""

    def __init__(self, judge: Equivalence, advance: Callable[[int], object], cache: VerdictCache) -> None:
        self.name, self._judge, self._advance, self._cache = judge.name, judge, advance, cache

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return self.collect(pairs)

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        judge, judge_identity = self._judge, judge_key(self._judge)
        keys = [verdict_key(judge_identity, judge, pair) for pair in pairs]
        if judge.cheap:
            self._cache.free.add(judge.name)
        found = {} if judge.cheap else {i: kept for i, key in enumerate(keys) if (kept := self._cache.get(key))}
        for answer in found.items():
            self._advance(1)
            yield answer
        missing = [index for index in range(len(pairs)) if index not in found]
        if not missing:
            return
        with closing(stream_verdicts(judge, [pairs[index] for index in missing])) as stream:
            for place, verdict in stream:
                index = missing[place]
                if not judge.cheap:
                    self._cache.put(keys[index], verdict)
                self._advance(1)
                yield index, verdict


def _read_lines(name: str) -> Iterator[bytes]:
    try:
        with Path(name).open("rb") as file:
            yield from file
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error


def _parse_pair(line: bytes, fields: Mapping[str, str]) -> LabelledPair | str:
    """Return the pair in a line, or a text that says what is wrong with the line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not usable JSON: {error}"
    if not isinstance(row, dict):
        return f"a row is a JSON object, not a {type(row).__name__}"
    left, right, label = (row.get(fields[part]) for part in ("left", "right", "label"))
    for part, value in (("left", left), ("right", right)):
        if not isinstance(value, str):
            return f"the field {fields[part]!r} must hold a text, not {value!r:.80}"
    if type(label) not in (bool, int) or label not in (0, 1):
        return f"the field {fields['label']!r} must be true or false, not {label!r:.80}"
    question = row.get(fields["question"])
    if not isinstance(question, str | None):
        return f"the field {fields['question']!r} must hold a text, not {question!r:.80}"
    assert isinstance(left, str)
    assert isinstance(right, str)
    return LabelledPair(Pair(question or None, left, right), bool(label), str(row.get(fields["source"], "")))


def _score(judge: Equivalence, verdict: Verdict) -> float:
    if verdict.score is None:
        raise EquivalenceError(
            f"equivalence {judge.name!r} returns no score, and a threshold needs scores: use a judge with scores, "
            "such as embedding, ngram, nli or verifier"
        )
    return float(verdict.score)


def _compare(outcomes: Sequence[_Outcome]) -> QualityComparison:
    labels = [outcome.label for outcome in outcomes]
    return QualityComparison(
        quality([outcome.picked for outcome in outcomes], labels),
        quality([outcome.as_is for outcome in outcomes], labels),
    )


_RATIOS = ("accuracy", "precision", "recall", "f1")


def _ratios(found: Quality) -> dict[str, float | int | None]:
    values = {name: getattr(found, name) for name in _RATIOS}
    return {"pairs": found.pairs, **{name: None if math.isnan(value) else value for name, value in values.items()}}


def _table_line(title: str, threshold: float | None, found: Quality, width: int) -> str:
    ratios = "".join(f"{_format(getattr(found, name)):>10}" for name in _RATIOS)
    return f"{title:{width}} {'' if threshold is None else format(threshold, '.6g'):<9}{ratios}"


def _format(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
