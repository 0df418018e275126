"""Computes a verdict from the labels of an NLI model: pure functions, no model.

The relation of a direction (premise, hypothesis) is the label with the highest probability. Two answers mean the same
under the rule

    strict      if both directions entail (Kuhn et al. 2023, Farquhar et al. 2024)
    nonstrict   if no direction contradicts and not both are neutral (Farquhar et al. 2024 without `strict`)
    either      if at least one direction entails (uqlm)

The score, in [0, 1], is computed from the directions that the model has judged:

    strict      the minimum of P(entailment)
    nonstrict   the minimum of 1 - P(contradiction), and of 1 - min(P(neutral)) if both directions are judged
    either      the maximum of P(entailment)

Left out: thresholds on probabilities, because the sources of these rules have no thresholds.
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

    If a model has only the labels entailment and not_entailment, P(neutral) and P(contradiction) are 0.
    """

    relation: Relation
    entailment: float
    neutral: float = 0.0
    contradiction: float = 0.0


def read_labels(labels: Sequence[str]) -> tuple[Relation, ...] | None:
    """The relation of each of a model's labels, in order; None: these are not the labels of an NLI model.

    An NLI model has three labels (entailment, neutral, contradiction), or two labels (entailment and its opposite, such
    as "not_entailment"). Case, spaces and punctuation are ignored.
    """
    read = [_SPELLINGS.get(re.sub(r"[^a-z]", "", label.lower())) for label in labels]
    relations = tuple(relation for relation in read if relation)
    return relations if len(relations) == len(labels) and set(relations) in _LABEL_SETS else None


def read_direction(relations: Sequence[Relation], probabilities: Sequence[float]) -> Direction:
    """The direction with these label probabilities. If two probabilities are equal, the first label counts."""
    best = max(range(len(relations)), key=probabilities.__getitem__)
    named: dict[str, float] = dict(zip(relations, probabilities, strict=True))
    return Direction(relations[best], named["entailment"], named.get("neutral", 0.0), named.get("contradiction", 0.0))


def decide(rule: str, first: Direction, second: Direction | None = None) -> Verdict | None:
    """The verdict of a rule; None: the first direction does not decide, so the second direction is needed."""
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
