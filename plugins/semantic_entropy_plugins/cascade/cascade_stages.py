"""The stages of a cascade: read from what a user writes, asked with their contract checked, and what counts of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from semantic_entropy.plugin import (
    Equivalence,
    FunctionEquivalence,
    Pair,
    Verdict,
    class_identity,
    errors,
    load_equivalence,
    require_equivalences,
)

Trust = Literal["both", "same", "different"]
Band = tuple[float, float]

_PARTS = ("judge", "options", "trust", "band")
# How far a judge counts that is not the last one and of which nothing is said. Text, on 8,293 labelled pairs of short
# answers (benchmarks/judges.py): its "same" is right in 94%, its "different" in 87% where the answers share no word or
# contradict each other, and in 48% where they share some. Embedding, there: 94% and 48%.
_USUAL_TRUST: Mapping[str, Trust] = {"exact": "same", "embedding": "same"}
_USUAL_BAND: Mapping[str, Band] = {"text": (0.01, 0.6)}


@dataclass(frozen=True, slots=True)
class Stage:
    """A judge, and what counts of its verdicts.

    name: the judge's, numbered where it occurs again. last: asked about all that is left, whatever it suits. owned:
    loaded here by name, so closed here.
    """

    judge: Equivalence
    name: str
    trust: Trust = "both"
    band: Band | None = None
    last: bool = False
    owned: bool = False

    @property
    def can_say_same(self) -> bool:
        """Whether it may settle that two answers mean the same."""
        return self.trust != "different"

    @property
    def can_say_different(self) -> bool:
        """Whether it may settle that two answers differ."""
        return self.trust != "same"

    @property
    def settings(self) -> Hashable:
        """All that its part in a verdict depends on."""
        return (*class_identity(type(self.judge)), self.judge.settings, self.trust, self.band)

    def describe(self) -> str:
        """The judge, and what restricts it."""
        said = [] if self.trust == "both" else [f"trust={self.trust}"]
        said += [] if self.band is None else [f"band={list(self.band)}"]
        return " ".join([self.judge.describe(), *said])

    def takes(self, pair: Pair) -> bool:
        """Whether it is asked about this pair."""
        return self.last or self.judge.suits([pair.left, pair.right])

    def ask(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """The verdicts as they come, `same` being None where this stage leaves the pair open, with the reason.

        Raises:
            EquivalenceError: the judge raised, left a pair out, or has a band and gives no score; names the stage.
        """
        left = set(range(len(pairs)))
        for index, verdict in self._stream(pairs) if pairs else ():
            if index not in left or not isinstance(verdict, Verdict):
                raise self._broken(f"answered ({index!r}, {verdict!r}) to {len(pairs)} pairs")
            left.remove(index)
            yield index, self._counts(verdict)
        if left:
            raise self._broken(f"gave no verdict on {len(left)} of {len(pairs)} pairs")

    def _stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        try:
            yield from self.judge.stream(pairs)
        except errors.SemanticEntropyError:
            raise
        except Exception as error:
            raise self._broken(f"raised {type(error).__name__}: {error}") from error

    def _counts(self, verdict: Verdict) -> Verdict:
        """The verdict as far as it counts."""
        same, reason = verdict.same, verdict.reason
        if same is None:
            return verdict
        if self.band is not None:
            same, reason = self._by_score(verdict.score)
        if same is None or self.trust == "both" or (self.trust == "same") == same:
            return verdict._replace(same=same, reason=reason if same is None else verdict.reason)
        return verdict._replace(same=None, reason=f"it says {'same' if same else 'different'}, which does not count")

    def _by_score(self, score: float | None) -> tuple[bool | None, str | None]:
        assert self.band is not None
        if score is None:
            raise errors.EquivalenceError(
                f"cascade: {self.name!r} gives no score, so that its band {list(self.band)} says nothing: "
                'leave the band out, or restrict it with "trust": "same" or "different"'
            )
        low, high = self.band
        if math.isnan(score):
            return None, f"its score is not a number, so that its band {list(self.band)} says nothing"
        if low <= score < high:
            return None, f"its score {score:.3f} lies in the band {list(self.band)}"
        return score >= high, None

    def _broken(self, how: str) -> errors.EquivalenceError:
        return errors.EquivalenceError(f"cascade: {self.name!r} {how}")


def read_stages(judges: Any) -> tuple[Stage, ...]:
    """Stages from what a user writes; `Cascade` says what that may be."""
    if not isinstance(judges, list | tuple) or not judges:
        raise errors.OptionError(
            f"cascade: judges={judges!r} must be a list of at least one judge, such as ['exact', 'math', 'text']"
        )
    named = [element.get("judge") if isinstance(element, Mapping) else element for element in judges]
    require_equivalences(name for name in named if isinstance(name, str))
    seen: Counter[str] = Counter()
    stages: list[Stage] = []
    try:
        for number, element in enumerate(judges, start=1):
            stages.append(_stage(element, seen, last=number == len(judges)))
    except Exception:
        for stage in stages:  # a slip in the last element must not leave the models of the others behind
            close(stage)
        raise
    return tuple(stages)


def close(stage: Stage) -> None:
    """Close a judge that was loaded here."""
    if stage.owned:
        stage.judge.close()


def _stage(element: Any, seen: Counter[str], *, last: bool) -> Stage:
    parts = dict(element) if isinstance(element, Mapping) else {"judge": element}
    if "judge" not in parts or (unknown := [part for part in parts if part not in _PARTS]):
        wrong = f"has no {_PARTS[0]!r}" if "judge" not in parts else f"has {unknown[0]!r}"
        raise errors.OptionError(f"cascade: {element!r} {wrong}; a stage has {', '.join(_PARTS)}")
    trust, band = _trust(parts.get("trust")), _band(parts.get("band"))
    judge, owned = _judge(parts["judge"], parts.get("options") or {})
    if trust is None and band is None and not last:
        trust, band = _USUAL_TRUST.get(judge.name), _USUAL_BAND.get(judge.name)
    seen[judge.name] += 1
    name = judge.name if seen[judge.name] == 1 else f"{judge.name} {seen[judge.name]}"
    return Stage(judge, name, trust or "both", band, last, owned)


def _judge(judge: Any, options: Any) -> tuple[Equivalence, bool]:
    if isinstance(judge, str):
        if not isinstance(options, Mapping):
            raise errors.OptionError(f"cascade: the options {options!r} of {judge!r} must be a mapping")
        return load_equivalence(judge, **options), True
    if options:
        raise errors.OptionError(f"cascade: options are for a judge given by name, and {judge!r} is built already")
    if isinstance(judge, Equivalence):
        return judge, False
    if callable(judge) and not isinstance(judge, type):
        return FunctionEquivalence(judge), False
    raise errors.OptionError(f"cascade: {judge!r} is no judge: give a name, an Equivalence, or a function of two texts")


def _trust(trust: Any) -> Trust | None:
    if trust is not None and trust not in get_args(Trust):
        raise errors.OptionError(f"cascade: trust={trust!r} is unknown: use one of {', '.join(get_args(Trust))}")
    known: Trust | None = trust
    return known


def _band(band: Any) -> Band | None:
    if band is None:
        return None
    numbers = list(band) if isinstance(band, list | tuple) else []
    if len(numbers) != 2 or not all(type(number) in (int, float) and 0 <= number <= 1 for number in numbers):
        raise errors.OptionError(f"cascade: band={band!r} must be two numbers in [0, 1]: [low, high]")
    low, high = map(float, numbers)
    if low > high:
        raise errors.OptionError(f"cascade: band={band!r} has its low end above its high end")
    return low, high
