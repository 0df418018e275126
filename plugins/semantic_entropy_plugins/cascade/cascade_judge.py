"""The cascade: cheap judges first, dear ones for what they leave open.

All pairs go to the first stage in one call, what it leaves open to the second in one call, and so on, so that the
batches of a dear judge stay full. A stage

1. is asked about the pairs whose two answers it suits (`Equivalence.suits`: `math` takes mathematics alone), the last
   stage about all that is left;
2. settles those on which it is trusted: with "same", with "different", or with both; where it has a band [low, high],
   by its score instead of its verdict: the same from `high` on, different below `low`, open in between;
3. passes on the rest, and what it could not judge.

What the last stage leaves open is undecided, with every stage's reason.

Left out: voting and weighing of judges. The first that is trusted decides.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from semantic_entropy.plugin import Equivalence, Pair, Usage, Verdict, load_extractor, strip_reasoning
from semantic_entropy_plugins.cascade.cascade_stages import Stage, close, read_stages

DEFAULT = ("exact", "math", "text")  # those that need no model: what `auto` does group by group, pair by pair


class Cascade(Equivalence):
    """Several judges in order: the first that is trusted with a pair decides it, and the verdict says which.

        load_equivalence("cascade", judges=["exact", "math", {"judge": "embedding", "band": [0.1, 0.9]}, "nli"])

    An element is a judge (a name, an `Equivalence`, a function of two strings), or a mapping with that as "judge" and

    - "options": of a judge given by name, such as {"model": ..., "threshold": 0.8};
    - "trust": "both", "same" or "different": which of its verdicts count;
    - "band": [low, high], in [0, 1]: its score decides instead of its verdict.

    An element that says neither "trust" nor "band" decides all it can; save that before the last one, `exact` and
    `embedding` count for "same" alone and `text` has the band [0.01, 0.6]: the same by its rule, different where two
    answers share no word or contradict each other. A judge that you built and handed in stays yours to close.

    Args:
        judges: the stages, the cheapest first.

    Raises:
        OptionError: no judges, an element that cannot be read, a band out of order.
        UnknownComponentError: no judge of that name; lists those that exist.
    """

    name = "cascade"
    cache_identity = "semantic_entropy_plugins.cascade:Cascade"

    def __init__(self, judges: Sequence[Any] = DEFAULT) -> None:
        self.stages = read_stages(judges)
        self.cheap = all(stage.judge.cheap for stage in self.stages)
        self.uses_question = any(stage.judge.uses_question for stage in self.stages)

    @property
    def thorough(self) -> bool:
        """Whether a stage costs nothing: it settles most of what comparing with every member adds."""
        return any(stage.judge.cheap for stage in self.stages)

    @property
    def settings(self) -> Hashable:
        return (self.name, *(stage.settings for stage in self.stages))

    @property
    def versions(self) -> Mapping[str, str]:
        """Of all stages; what two of them have in different versions is said for each."""
        found: dict[str, str] = {}
        for stage in self.stages:
            for what, which in stage.judge.versions.items():
                found[what if found.get(what, which) == which else f"{what} ({stage.name})"] = which
        return found

    def describe(self) -> str:
        return f"{self.name}({' > '.join(stage.describe() for stage in self.stages)})"

    def suits(self, responses: Sequence[str]) -> bool:
        return any(stage.judge.suits(responses) for stage in self.stages)

    def extract(self, responses: Sequence[str]) -> Sequence[str | None]:
        """As the first stage does that has a way of its own and suits the responses; else the whole text."""
        shown = [strip_reasoning(response) for response in responses]
        for stage in self.stages:
            if type(stage.judge).extract is not Equivalence.extract and stage.judge.suits(shown):
                return stage.judge.extract(responses)
        return [_WHOLE(response) for response in responses]

    def keys(self, question: str | None, answers: Sequence[str]) -> Sequence[Hashable | None]:
        """The coarsest that are sound: none of the stages before it may hold two answers of equal keys different."""
        keys: list[Hashable | None] = list(answers)
        for number, stage in enumerate(self.stages):
            if stage.can_say_same:
                for index, key in enumerate(stage.judge.keys(question, answers)):
                    if key is not None and stage.judge.suits([answers[index]]):
                        keys[index] = number, key
            if stage.can_say_different:
                break
        return keys

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return self.collect(pairs)

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """A pair's verdict as soon as a stage has decided it; after the last stage, those that none did."""
        left = {index: _Trail() for index in range(len(pairs))}
        for stage in self.stages:
            asked = [index for index in left if stage.takes(pairs[index])]
            for place, verdict in stage.ask([pairs[index] for index in asked]):
                trail = left[asked[place]]
                trail.add(stage, verdict)
                if verdict.same is not None:
                    del left[asked[place]]
                    yield asked[place], trail.verdict(stage, verdict)
        for index, trail in left.items():
            yield index, trail.undecided()

    def close(self) -> None:
        """Close the judges that were loaded here by name."""
        for stage in self.stages:
            close(stage)


_WHOLE = load_extractor("whole")


@dataclass(slots=True)
class _Trail:
    """What the stages so far said of a pair, and what that cost."""

    reasons: list[str] = field(default_factory=list)
    usage: Usage | None = None

    def add(self, stage: Stage, verdict: Verdict) -> None:
        if verdict.reason:
            self.reasons.append(f"{stage.name}: {verdict.reason}")
        if verdict.usage is not None:
            self.usage = verdict.usage if self.usage is None else self.usage + verdict.usage

    def verdict(self, stage: Stage, verdict: Verdict) -> Verdict:
        by = stage.name if verdict.by is None else f"{stage.name} > {verdict.by}"
        return verdict._replace(by=by, usage=self.usage)

    def undecided(self) -> Verdict:
        return Verdict(None, reason="; ".join(self.reasons) or None, usage=self.usage)
