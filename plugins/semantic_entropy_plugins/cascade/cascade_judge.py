"""The cascade judge: inexpensive judges first; expensive judges only for undecided pairs.

All pairs go to the first stage in one call. The undecided pairs go to the second stage in one call, and so on, so that
the batches of an expensive judge are full. A stage

1. judges the pairs whose two answers suit its judge (`Equivalence.suits`: only mathematics suits `math`); the last
   stage judges all remaining pairs;
2. decides a pair if its verdict is trusted: only "same", only "different", or both can be trusted. With a band
   [low, high] the score replaces the verdict: same if score >= high, different if score < low, else undecided;
3. passes all other pairs to the next stage.

If the last stage does not decide a pair, the pair is undecided, and the verdict has the reasons of all stages.

Left out: votes and weights. The first trusted stage decides.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from semantic_entropy.plugin import Equivalence, Pair, Usage, Verdict, load_extractor, strip_reasoning
from semantic_entropy_plugins.cascade.cascade_stages import Stage, read_stages

DEFAULT = ("exact", "math", "text")  # the judges of `auto`, without a model; `auto` chooses a judge for each group


class Cascade(Equivalence):
    """Asks several judges in order. The first trusted verdict on a pair decides, and names its judge.

        load_equivalence("cascade", judges=["exact", "math", {"judge": "embedding", "band": [0.1, 0.9]}, "nli"])

    An element of `judges` is a judge (a name, an `Equivalence`, or a function of two strings), or a mapping. The
    mapping has the judge under the key "judge", and these optional keys:

    - "options": the options of a judge that is given by name, such as {"model": ..., "threshold": 0.8};
    - "trust": the verdicts of the judge that count: "both", "same" or "different";
    - "band": [low, high] in [0, 1], the limits of the score, which then replaces the verdict of the judge.

    Without "trust" and "band", all verdicts of a judge count. There are three exceptions before the last stage: `exact`
    and `embedding` are trusted only for "same", and `text` has the band [0.01, 0.6]. With this band, `text` decides
    "same" by its rule, and "different" only if two answers share no word or contradict each other. The cascade closes
    only judges that it has loaded by name.

    Args:
        judges: the stages; the least expensive judge comes first.

    Raises:
        OptionError: there are no judges, an element is invalid, or a band has low > high.
        UnknownComponentError: no judge has this name; the message lists the available judges.
    """

    name = "cascade"
    cache_identity = "semantic_entropy_plugins.cascade:Cascade"

    def __init__(self, judges: Sequence[Any] = DEFAULT) -> None:
        self.stages = read_stages(judges)
        self.cheap = all(stage.judge.cheap for stage in self.stages)
        self.uses_question = any(stage.judge.uses_question for stage in self.stages)
        self.limits_groups = any(stage.judge.limits_groups for stage in self.stages)

    @property
    def thorough(self) -> bool:
        """Whether a stage costs nothing: it decides most of the pairs that a comparison with every member adds."""
        return any(stage.judge.cheap for stage in self.stages)

    @property
    def settings(self) -> Hashable:
        return (self.name, *(stage.settings for stage in self.stages))

    @property
    def versions(self) -> Mapping[str, str]:
        """The versions of all stages. If stages use different versions of a component, each stage is listed."""
        found: dict[str, str] = {}
        for stage in self.stages:
            for component, version in stage.judge.versions.items():
                is_same = found.get(component, version) == version
                found[component if is_same else f"{component} ({stage.name})"] = version
        return found

    def describe(self) -> str:
        return f"{self.name}({' > '.join(stage.describe() for stage in self.stages)})"

    def suits(self, responses: Sequence[str]) -> bool:
        return any(stage.judge.suits(responses) for stage in self.stages)

    def extract(self, responses: Sequence[str]) -> Sequence[str | None]:
        """Extract with the first stage that suits the responses and has its own `extract`; else take the whole text."""
        texts = [strip_reasoning(response) for response in responses]
        for stage in self.stages:
            if type(stage.judge).extract is not Equivalence.extract and stage.judge.suits(texts):
                return stage.judge.extract(responses)
        return [_whole_text(response) for response in responses]

    def keys(self, question: str | None, answers: Sequence[str]) -> Sequence[Hashable | None]:
        """The key of each answer, from the last of the allowed stages that suits the answer and has a key for it.

        The allowed stages end with the first stage that can decide "different": this stage could decide "different" for
        two answers with equal keys of a later stage.
        """
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
        """Yields (index of the pair, verdict) as soon as a stage decides the pair; undecided pairs come last."""
        undecided = {index: _History() for index in range(len(pairs))}
        for stage in self.stages:
            taken = [index for index in undecided if stage.takes(pairs[index])]
            for position, verdict in stage.ask([pairs[index] for index in taken]):
                index = taken[position]
                history = undecided[index]
                history.add(stage, verdict)
                if verdict.same is not None:
                    del undecided[index]
                    yield index, history.decided(stage, verdict)
        for index, history in undecided.items():
            yield index, history.undecided()

    def close(self) -> None:
        """Close the judges that the cascade has loaded by name."""
        for stage in self.stages:
            stage.close()


_whole_text = load_extractor("whole")


@dataclass(slots=True)
class _History:
    """The reasons of the stages that have judged a pair so far, and the total cost of these stages."""

    reasons: list[str] = field(default_factory=list)
    usage: Usage | None = None

    def add(self, stage: Stage, verdict: Verdict) -> None:
        if verdict.reason:
            self.reasons.append(f"{stage.name}: {verdict.reason}")
        if verdict.usage is not None:
            self.usage = verdict.usage if self.usage is None else self.usage + verdict.usage

    def decided(self, stage: Stage, verdict: Verdict) -> Verdict:
        by = stage.name if verdict.by is None else f"{stage.name} > {verdict.by}"
        return verdict._replace(by=by, usage=self.usage)

    def undecided(self) -> Verdict:
        return Verdict(None, reason="; ".join(self.reasons) or None, usage=self.usage)
