"""From the labels of an NLI model to "the same meaning": pure functions, no model.

A direction's relation is the label of the highest probability. Two answers mean the same

    strict      where both directions entail (Kuhn et al. 2023, Farquhar et al. 2024)
    nonstrict   where neither direction contradicts, and not both are neutral (Farquhar et al. 2024, `strict` off)
    either      where at least one direction entails (as uqlm has it)

The score, in [0, 1], is the probability that stands for the rule, over the directions that were asked:

    strict      the lower P(entailment)
    nonstrict   the lowest of 1 - P(contradiction) of each direction, and 1 - the lower P(neutral) where both were asked
    either      the higher P(entailment)

Left out: thresholds on probabilities. None of the codes that these rules come from has one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from semantic_entropy.plugin import Verdict

Relation = Literal["entailment", "neutral", "contradiction", "not_entailment"]

_SPELLINGS: Mapping[str, Relation] = {
    **dict.fromkeys(("entailment", "entails", "entail", "entailed"), "entailment"),
    **dict.fromkeys(("contradiction", "contradicts", "contradict", "contradictory"), "contradiction"),
    "neutral": "neutral",
    **dict.fromkeys(("notentailment", "nonentailment", "noentailment", "notentailed"), "not_entailment"),
}
_SETS = ({"entailment", "neutral", "contradiction"}, {"entailment", "not_entailment"})


class Outcome(NamedTuple):
    """What the model says of one direction: the most probable relation, and the probabilities that rules read.

    A model that only tells entailment from the rest has 0 for the other two.
    """

    relation: Relation
    entailment: float
    neutral: float = 0.0
    contradiction: float = 0.0


def read_labels(labels: Sequence[str]) -> tuple[Relation, ...] | None:
    """The relation that each of a model's labels names, in their order; None: they are no NLI labels.

    Case, spaces and punctuation do not matter. Either three (entailment, neutral, contradiction) or two (entailment and
    its opposite, such as "not_entailment").
    """
    read = [_SPELLINGS.get(re.sub(r"[^a-z]", "", label.lower())) for label in labels]
    relations = tuple(relation for relation in read if relation)
    return relations if len(relations) == len(labels) and set(relations) in _SETS else None


def outcome(relations: Sequence[Relation], probabilities: Sequence[float]) -> Outcome:
    """One direction, from the probability of each label; the first of several that are equally probable."""
    best = max(range(len(relations)), key=probabilities.__getitem__)
    named: dict[str, float] = dict(zip(relations, probabilities, strict=True))
    return Outcome(relations[best], named["entailment"], named.get("neutral", 0.0), named.get("contradiction", 0.0))


def decide(rule: str, first: Outcome, second: Outcome | None = None) -> Verdict | None:
    """The verdict of a rule on two directions; None: the first leaves it open, and the second has to be asked."""
    return RULES[rule](first, second)


def _strict(first: Outcome, second: Outcome | None) -> Verdict | None:
    if first.relation != "entailment":
        return Verdict(False, first.entailment)
    if second is None:
        return None
    return Verdict(second.relation == "entailment", min(first.entailment, second.entailment))


def _nonstrict(first: Outcome, second: Outcome | None) -> Verdict | None:
    if first.relation == "contradiction":
        return Verdict(False, 1 - first.contradiction)
    if second is None:
        return None
    neutral = first.relation == second.relation == "neutral"
    contradiction = max(first.contradiction, second.contradiction)
    score = 1 - max(contradiction, min(first.neutral, second.neutral))
    return Verdict(not neutral and second.relation != "contradiction", score)


def _either(first: Outcome, second: Outcome | None) -> Verdict | None:
    if first.relation == "entailment":
        return Verdict(True, first.entailment)
    if second is None:
        return None
    return Verdict(second.relation == "entailment", max(first.entailment, second.entailment))


RULES: Mapping[str, Callable[[Outcome, Outcome | None], Verdict | None]] = {
    "strict": _strict,
    "nonstrict": _nonstrict,
    "either": _either,
}
