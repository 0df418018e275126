"""From the labels of an NLI model to a verdict: pure functions, no model.

The relation of a direction (premise, hypothesis) is the label with the highest probability. Two answers mean the same

    strict      if both directions entail (Kuhn et al. 2023, Farquhar et al. 2024)
    nonstrict   if no direction contradicts and not both are neutral (Farquhar et al. 2024 without `strict`)
    either      if at least one direction entails (uqlm)

The score, in [0, 1], is the probability that belongs to the rule, over the directions that the model has judged:

    strict      the lower P(entailment)
    nonstrict   the lowest of 1 - P(contradiction) of each direction, and, with both directions, 1 - the lower
    P(neutral) either      the higher P(entailment)

Left out: thresholds on probabilities. None of the sources of these rules has one.
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
_LABEL_SETS = ({"entailment", "neutral", "contradiction"}, {"entailment", "not_entailment"})


class Direction(NamedTuple):
    """The model's output for one direction: the most probable relation, and the probabilities that the rules read.

    A model with the labels entailment and not_entailment has 0 for the other two.
    """

    relation: Relation
    entailment: float
    neutral: float = 0.0
    contradiction: float = 0.0


def read_labels(labels: Sequence[str]) -> tuple[Relation, ...] | None:
    """The relations that a model's labels name, in their order; None: these are not the labels of an NLI model.

    Case, spaces and punctuation are ignored. Either three labels (entailment, neutral, contradiction) or two
    (entailment and its opposite, such as "not_entailment").
    """
    read = [_SPELLINGS.get(re.sub(r"[^a-z]", "", label.lower())) for label in labels]
    relations = tuple(relation for relation in read if relation)
    return relations if len(relations) == len(labels) and set(relations) in _LABEL_SETS else None


def read_direction(relations: Sequence[Relation], probabilities: Sequence[float]) -> Direction:
    """One direction from the probability of each label; of equal probabilities the first one counts."""
    best = max(range(len(relations)), key=probabilities.__getitem__)
    named: dict[str, float] = dict(zip(relations, probabilities, strict=True))
    return Direction(relations[best], named["entailment"], named.get("neutral", 0.0), named.get("contradiction", 0.0))


def decide(rule: str, first: Direction, second: Direction | None = None) -> Verdict | None:
    """The verdict of a rule; None: the first direction does not decide, and the second one is needed."""
    return RULES[rule](first, second)


def _strict(first: Direction, second: Direction | None) -> Verdict | None:
    if first.relation != "entailment":
        return Verdict(False, first.entailment)
    if second is None:
        return None
    return Verdict(second.relation == "entailment", min(first.entailment, second.entailment))


def _nonstrict(first: Direction, second: Direction | None) -> Verdict | None:
    if first.relation == "contradiction":
        return Verdict(False, 1 - first.contradiction)
    if second is None:
        return None
    neutral = first.relation == second.relation == "neutral"
    contradiction = max(first.contradiction, second.contradiction)
    score = 1 - max(contradiction, min(first.neutral, second.neutral))
    return Verdict(not neutral and second.relation != "contradiction", score)


def _either(first: Direction, second: Direction | None) -> Verdict | None:
    if first.relation == "entailment":
        return Verdict(True, first.entailment)
    if second is None:
        return None
    return Verdict(second.relation == "entailment", max(first.entailment, second.entailment))


RULES: Mapping[str, Callable[[Direction, Direction | None], Verdict | None]] = {
    "strict": _strict,
    "nonstrict": _nonstrict,
    "either": _either,
}
