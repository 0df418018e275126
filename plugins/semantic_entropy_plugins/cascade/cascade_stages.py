"""The stages of a cascade. A stage runs a judge, and restricts the judge's verdicts by trust and band."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import closing
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
    stream_verdicts,
)
from semantic_entropy_plugins.options import checked_choice

Trust = Literal["both", "same", "different"]
Band = tuple[float, float]

_PARTS = ("judge", "options", "trust", "band")
# The defaults for a judge before the last stage, from 8,293 labelled pairs of short answers (benchmarks/judges.py).
# `text`: "same" is right for 94% of pairs; "different" is right for 87% of pairs that share no word or contradict each
# other, and for 48% of pairs that share some words. `embedding`: "same" is right for 94%, "different" for 48%.
_DEFAULT_TRUST: Mapping[str, Trust] = {"exact": "same", "embedding": "same"}
_DEFAULT_BAND: Mapping[str, Band] = {"text": (0.01, 0.6)}


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: a judge, with the rule for which of its verdicts count.

    Attributes:
        name: the judge's name; a second stage with the same judge also has a number.
        last: whether this is the last stage, which judges all remaining pairs, even pairs that do not suit the judge.
        owned: whether the cascade has loaded the judge by name, and therefore closes the judge.
    """

    judge: Equivalence
    name: str
    trust: Trust = "both"
    band: Band | None = None
    last: bool = False
    owned: bool = False

    @property
    def can_say_same(self) -> bool:
        """Whether the stage may decide that two answers mean the same."""
        return self.trust != "different"

    @property
    def can_say_different(self) -> bool:
        """Whether the stage may decide that two answers differ."""
        return self.trust != "same"

    @property
    def settings(self) -> Hashable:
        """All options of the stage that can change a verdict."""
        rules = () if self.judge.rules == 1 else (("rules", self.judge.rules),)
        return (*class_identity(type(self.judge)), *rules, self.judge.settings, self.trust, self.band)

    def describe(self) -> str:
        """The judge's description, with the trust and the band of the stage."""
        restrictions = [] if self.trust == "both" else [f"trust={self.trust}"]
        restrictions += [] if self.band is None else [f"band={list(self.band)}"]
        return " ".join([self.judge.describe(), *restrictions])

    def takes(self, pair: Pair) -> bool:
        """Whether the stage judges this pair."""
        return self.last or self.judge.suits([pair.left, pair.right])

    def close(self) -> None:
        """Close the judge, if the cascade has loaded it."""
        if self.owned:
            self.judge.close()

    def ask(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """Yields (index of the pair, verdict); `same` is None, with a reason, if this stage does not decide the pair.

        Raises:
            EquivalenceError: the judge broke its contract, or has a band but returns no score. The message names the
                judge.
        """
        if not pairs:
            return
        with closing(stream_verdicts(self.judge, pairs)) as stream:
            try:
                for index, verdict in stream:
                    yield index, self._trusted(verdict)
            except errors.EquivalenceError as error:
                error.add_note(f"in the cascade's stage {self.name!r}")
                raise

    def _trusted(self, verdict: Verdict) -> Verdict:
        """The verdict after trust and band; undecided if the judge's verdict does not count."""
        same, reason = verdict.same, verdict.reason
        if same is None:
            return verdict
        if self.band is not None:
            same, reason = self._by_score(verdict.score)
        if same is None or self.trust == "both" or (self.trust == "same") == same:
            return verdict._replace(same=same, reason=reason if same is None else verdict.reason)
        return verdict._replace(same=None, reason=f"its verdict {'same' if same else 'different'} does not count")

    def _by_score(self, score: float | None) -> tuple[bool | None, str | None]:
        assert self.band is not None
        if score is None:
            raise errors.EquivalenceError(
                f"cascade: {self.name!r} gives no score, which its band {list(self.band)} needs: remove the band, or "
                'restrict the judge with "trust": "same" or "different"'
            )
        low, high = self.band
        if low <= score < high:
            return None, f"its score {score:.3f} is in the band {list(self.band)}"
        return score >= high, None


def read_stages(judges: Any) -> tuple[Stage, ...]:
    """Build the stages from a user's list, which `Cascade` describes."""
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
        for stage in stages:  # an error in a later element must not leave loaded models behind
            stage.close()
        raise
    return tuple(stages)


def _stage(element: Any, seen: Counter[str], *, last: bool) -> Stage:
    parts = dict(element) if isinstance(element, Mapping) else {"judge": element}
    if "judge" not in parts or (unknown := [part for part in parts if part not in _PARTS]):
        problem = f"has no {_PARTS[0]!r}" if "judge" not in parts else f"has {unknown[0]!r}"
        raise errors.OptionError(f"cascade: {element!r} {problem}; a stage has {', '.join(_PARTS)}")
    trust, band = parts.get("trust"), _band(parts.get("band"))
    if trust is not None:
        checked_choice("cascade", "trust", trust, get_args(Trust))
    judge, owned = _judge(parts["judge"], parts.get("options") or {})
    if trust is None and band is None and not last:
        trust, band = _DEFAULT_TRUST.get(judge.name), _DEFAULT_BAND.get(judge.name)
    seen[judge.name] += 1
    name = judge.name if seen[judge.name] == 1 else f"{judge.name} {seen[judge.name]}"
    return Stage(judge, name, trust or "both", band, last, owned)


def _judge(judge: Any, options: Any) -> tuple[Equivalence, bool]:
    if isinstance(judge, str):
        if not isinstance(options, Mapping):
            raise errors.OptionError(f"cascade: the options {options!r} of {judge!r} must be a mapping")
        return load_equivalence(judge, **options), True
    if options:
        raise errors.OptionError(f"cascade: only a judge given by name takes options, and {judge!r} is an object")
    if isinstance(judge, Equivalence):
        return judge, False
    if callable(judge) and not isinstance(judge, type):
        return FunctionEquivalence(judge), False
    raise errors.OptionError(
        f"cascade: {judge!r} is not a judge: use a name, an Equivalence, or a function of two texts"
    )


def _band(band: Any) -> Band | None:
    if band is None:
        return None
    numbers = list(band) if isinstance(band, list | tuple) else []
    if len(numbers) != 2 or not all(type(number) in (int, float) and 0 <= number <= 1 for number in numbers):
        raise errors.OptionError(f"cascade: band={band!r} must be two numbers in [0, 1]: [low, high]")
    low, high = map(float, numbers)
    if low > high:
        raise errors.OptionError(f"cascade: band={band!r} has a low end above its high end")
    return low, high
