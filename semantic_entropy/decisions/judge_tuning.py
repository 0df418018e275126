"""From labelled pairs to a judge's threshold: read the pairs, ask the judge once, and say what each choice is worth.

A row is a JSON object with two answers and whether they mean the same, by default `a`, `b` and `equivalent`; `question`
and `source`, where there are, give the judge its question and the report a line for each source. The held-out figure
keeps the pairs of one question in one fold.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from semantic_entropy.cache.memory import VerdictCache
from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.decisions.thresholds import HeldOut, Quality, cross_validated, pick, quality
from semantic_entropy.errors import EquivalenceError, InputError
from semantic_entropy.pipeline import ask, identity, verdict_key
from semantic_entropy.plain_text import one_line
from semantic_entropy.types import Pair, Verdict

FIELDS = {"left": "a", "right": "b", "label": "equivalent", "question": "question", "source": "source"}
"""Which fields hold what, where nothing else is said."""
_SHOWN = 5  # bad rows in a message


class Labelled(NamedTuple):
    """A pair whose truth is known, and where it comes from."""

    pair: Pair
    same: bool
    source: str


class Compared(NamedTuple):
    """The same pairs judged twice: by the threshold that was picked, and by the judge as it is."""

    picked: Quality
    as_is: Quality


@dataclass(frozen=True, slots=True)
class Choice:
    """A threshold picked from labelled pairs, and what it is worth.

    held_out: what thresholds picked on four fifths made of the rest; a text says why there is none. own: the judge's
    threshold as it is, where it has one. undecided: why pairs have no score, with how many; they count nowhere else.
    """

    judge: str
    metric: str
    threshold: float
    own: float | None
    all: Compared
    held_out: HeldOut | str
    sources: Mapping[str, Compared]
    undecided: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; a ratio of nothing is None."""
        held_out = self.held_out
        return {
            "judge": self.judge,
            "metric": self.metric,
            "threshold": self.threshold,
            "own_threshold": self.own,
            "picked": _figures(self.all.picked),
            "as_is": _figures(self.all.as_is),
            "held_out": held_out
            if isinstance(held_out, str)
            else {"thresholds": list(held_out.thresholds), **_figures(held_out.quality)},
            "sources": {
                source: {"picked": _figures(both.picked), "as_is": _figures(both.as_is)}
                for source, both in self.sources.items()
            },
            "undecided": dict(self.undecided),
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        counts = self.all.picked
        same = counts.true_positives + counts.false_negatives
        yield f"{counts.pairs} pairs, {same} of them the same, judged by {self.judge}"
        for reason, count in self.undecided.items():
            yield f"{count} more undecided, and not counted: {reason}"
        width = max(map(len, ("the best threshold for precision@0.95", *self.sources)))
        yield ""
        yield f"{'':{width}} threshold" + "".join(f"{name:>10}" for name in _FIGURES)
        yield _line("the judge as it is", self.own, self.all.as_is, width)
        yield _line(f"the best threshold for {self.metric}", self.threshold, self.all.picked, width)
        if isinstance(self.held_out, str):
            yield f"  the same on pairs held out: none, since {self.held_out}"
        else:
            yield _line("  the same on pairs held out", None, self.held_out.quality, width)
        if self.sources:
            yield ""
            yield f"{'accuracy by source':{width}} pairs     as it is      best"
        for source, both in self.sources.items():
            accuracies = f"{_number(both.as_is.accuracy):>13}{_number(both.picked.accuracy):>10}"
            yield f"{source:{width}} {both.picked.pairs:<5}{accuracies}"


def read_labelled(name: str, fields: Mapping[str, str] = FIELDS) -> list[Labelled]:
    """The pairs in a file of JSON lines.

    Args:
        name: the file.
        fields: which field holds what; as `FIELDS`.

    Raises:
        InputError: the file cannot be read, holds nothing, or has bad rows: names their lines and what is wrong.
    """
    pairs, problems = [], []
    for number, line in enumerate(_lines(name), start=1):
        if line.strip():
            found = _labelled(line, fields)
            if isinstance(found, str):
                problems.append(f"line {number}: {found}")
            else:
                pairs.append(found)
    if problems:
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(f"{name}: bad rows:\n  " + "\n  ".join(problems[:_SHOWN]) + more)
    if not pairs:
        raise InputError(f"{name} holds no pairs")
    return pairs


def choose(
    judge: Equivalence,
    pairs: Sequence[Labelled],
    metric: str = "accuracy",
    advance: Callable[[int], object] = lambda _: None,
    cache: VerdictCache | None = None,
) -> Choice:
    """Ask the judge about all pairs and pick its threshold.

    Args:
        judge: who gives a score.
        pairs: labelled.
        metric: what is best, as `thresholds.pick` takes it.
        advance: told of pairs as their verdicts come: how many.
        cache: verdicts that need not be asked for, and where new ones go.

    Raises:
        InputError: as `thresholds.pick`.
        EquivalenceError: the judge gives no score, or broke its contract.
    """
    verdicts = ask(
        _Watched(judge, advance, VerdictCache(0) if cache is None else cache), [labelled.pair for labelled in pairs]
    )
    judged = zip(pairs, verdicts, strict=True)
    scored = [(labelled, v, _score(judge, v)) for labelled, v in judged if v.same is not None]
    undecided = Counter(one_line(v.reason or "no reason given") for v in verdicts if v.same is None)
    scores, truth = [score for *_, score in scored], [labelled.same for labelled, *_ in scored]
    threshold = pick(scores, truth, metric)
    questions = [labelled.pair.question or (labelled.pair.left, labelled.pair.right) for labelled, *_ in scored]
    held_out: HeldOut | str
    try:
        held_out = cross_validated(scores, truth, metric, groups=questions)
    except InputError as error:
        held_out = str(error)
    by_source: dict[str, list[tuple[bool, bool, bool]]] = {}
    calls = [(score >= threshold, bool(verdict.same), labelled.same) for labelled, verdict, score in scored]
    for (labelled, *_), row in zip(scored, calls, strict=True):
        by_source.setdefault(labelled.source, []).append(row)
    own = getattr(judge, "threshold", None)
    return Choice(
        judge.describe(),
        metric,
        threshold,
        float(own) if isinstance(own, int | float) else None,
        _compared(calls),
        held_out,
        {source: _compared(rows) for source, rows in by_source.items()} if len(by_source) > 1 else {},
        dict(undecided.most_common()),
    )


class _Watched(Equivalence):
    """A judge that counts its verdicts aloud, and looks them up before it asks."""

    def __init__(self, judge: Equivalence, advance: Callable[[int], object], cache: VerdictCache) -> None:
        self.name, self._judge, self._advance, self._cache = judge.name, judge, advance, cache

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return self.collect(pairs)

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        judge, of = self._judge, identity(self._judge)
        keys = [verdict_key(of, judge, pair) for pair in pairs]
        if judge.cheap:
            self._cache.free.add(judge.name)
        found = {} if judge.cheap else {i: kept for i, key in enumerate(keys) if (kept := self._cache.get(key))}
        for answer in found.items():
            self._advance(1)
            yield answer
        left = [index for index in range(len(pairs)) if index not in found]
        for place, verdict in judge.stream([pairs[index] for index in left]) if left else ():
            index = left[place] if place in range(len(left)) else place  # whoever reads this checks it
            if not judge.cheap and index in range(len(pairs)) and isinstance(verdict, Verdict):
                self._cache.put(keys[index], verdict)
            self._advance(1)
            yield index, verdict


def _lines(name: str) -> Iterator[bytes]:
    try:
        with Path(name).open("rb") as file:
            yield from file
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error


def _labelled(line: bytes, fields: Mapping[str, str]) -> Labelled | str:
    """A row, or what is wrong with it."""
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
    return Labelled(Pair(question or None, left, right), bool(label), str(row.get(fields["source"], "")))


def _score(judge: Equivalence, verdict: Verdict) -> float:
    if verdict.score is None:
        raise EquivalenceError(
            f"equivalence {judge.name!r} gives no score, and a threshold is one on scores: use a judge that gives "
            "them, such as embedding, ngram, nli or verifier"
        )
    return float(verdict.score)


def _compared(rows: Sequence[tuple[bool, bool, bool]]) -> Compared:
    truth = [same for *_, same in rows]
    return Compared(quality([picked for picked, *_ in rows], truth), quality([said for _, said, _ in rows], truth))


_FIGURES = ("accuracy", "precision", "recall", "f1")


def _figures(found: Quality) -> dict[str, float | int | None]:
    values = {name: getattr(found, name) for name in _FIGURES}
    return {"pairs": found.pairs, **{name: None if math.isnan(value) else value for name, value in values.items()}}


def _line(what: str, threshold: float | None, found: Quality, width: int) -> str:
    figures = "".join(f"{_number(getattr(found, name)):>10}" for name in _FIGURES)
    return f"{what:{width}} {'' if threshold is None else format(threshold, '.6g'):<9}{figures}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
