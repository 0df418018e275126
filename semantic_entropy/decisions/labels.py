"""What "wrong" means for a labelled group: one definition for evaluations, thresholds and benchmarks.

A row of labelled data has one or more of these fields:

    answer_correct    true or false: the label of the main answer, such as the one that a user saw
    greedy            a mapping with `correct`: the label of the greedy answer, which then is the main answer
    correct           a list with one label for each response; or one label, of the main answer
    samples           a list of mappings with `correct`: the label of each response; also in the field `responses`

The rule `main` takes the first of these that the row has: the label of the main answer; the largest cluster (wrong if
fewer than half of its responses are right), if clusters are known; all responses (wrong if fewer than half of them are
right). `majority` begins with the largest cluster, and `mean` uses all responses only. A row without labels has no
truth (None): it is counted and left out. It is never right or wrong by default.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from semantic_entropy.clusters import as_lists, is_missing
from semantic_entropy.errors import InputError
from semantic_entropy.plain_text import show_value

LabelRule = Literal["main", "majority", "mean"]
LABEL_RULES: tuple[LabelRule, ...] = get_args(LabelRule)
_TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


class GroupLabel(NamedTuple):
    """Whether the answer of a group is wrong, and the rule that decided.

    Attributes:
        wrong: True if the answer is wrong.
        rule: "main", "majority" or "mean".
    """

    wrong: bool
    rule: LabelRule


def group_label(
    row: Mapping[str, Any], rule: LabelRule = "main", clusters: Sequence[int] | None = None, correct: str = "correct"
) -> GroupLabel | None:
    """Return whether the answer of a labelled row is wrong; None: the row has no label that the rule uses.

    Args:
        row: the fields of the row.
        rule: "main", "majority" or "mean", see the module.
        clusters: (G,) the label of the cluster of each response, -1 for none; None: clusters are not known, so that the
            truth of a row does not depend on a judge.
        correct: the name of the field `correct`.

    Raises:
        InputError: a label is not true or false, or their number is not that of the responses; or the rule is unknown.
    """
    if rule not in LABEL_RULES:
        raise InputError(f"label={rule!r} is unknown: use one of {', '.join(LABEL_RULES)}")
    answer, responses = _labels(row, correct)
    if rule == "main" and answer is not None:
        return GroupLabel(not answer, "main")
    if not responses:
        return None
    if clusters is not None and len(clusters) != len(responses):
        raise InputError(f"{correct!r} has {len(responses)} labels for {len(clusters)} responses: give one for each")
    if rule != "mean" and clusters is not None:
        sizes = Counter(label for label in clusters if label >= 0)
        if sizes:
            largest = sizes.most_common(1)[0][0]  # of clusters of equal size, the first one
            members = [label for label, cluster in zip(responses, clusters, strict=True) if cluster == largest]
            return GroupLabel(_fewer_than_half(members), "majority")
    return GroupLabel(_fewer_than_half(responses), "mean")


def _labels(row: Mapping[str, Any], correct: str) -> tuple[bool | None, list[bool]]:
    """Return (label of the main answer, labels of the responses); None and empty if they are not known."""
    answer, greedy = row.get("answer_correct"), row.get("greedy")
    found = None if _is_absent(answer) else _truth(answer, "answer_correct")
    if found is None and isinstance(greedy, Mapping) and not _is_absent(greedy.get("correct")):
        found = _truth(greedy["correct"], "greedy.correct")
    given = as_lists(row.get(correct))
    if _is_absent(given):
        given = _labels_of_samples(row, correct)
    if isinstance(given, str) and given.lstrip().startswith("["):  # a cell of a CSV file
        try:
            given = json.loads(given.lower())  # also True and False of Python
        except ValueError:
            raise InputError(f"{correct!r} is {show_value(given)}; it must be a list of true and false") from None
    if _is_absent(given):
        return found, []
    if isinstance(given, list | tuple):
        return found, [_truth(each, f"{correct}[{i}]") for i, each in enumerate(given)]
    return (_truth(given, correct) if found is None else found), []


def _labels_of_samples(row: Mapping[str, Any], correct: str) -> list[Any] | None:
    """Return the label in each sample of the row; None: a sample has none."""
    samples = row.get("responses", row.get("samples"))
    if not isinstance(samples, list) or not samples or not all(isinstance(each, Mapping) for each in samples):
        return None
    labels = [each.get(correct) for each in samples]
    return None if any(map(_is_absent, labels)) else labels


def _is_absent(value: object) -> bool:
    """Whether there is no label: also an empty cell of a CSV file."""
    return is_missing(value) or (isinstance(value, str) and not value.strip())


def _truth(value: Any, name: str) -> bool:
    """Read true and false, 1 and 0, or a text of one of these."""
    truth = _TRUTHS.get(str(value).strip().lower())
    if truth is None:
        raise InputError(f"{name!r} is {show_value(value)}; a label is true or false, or 1 or 0")
    return truth


def _fewer_than_half(labels: Sequence[bool]) -> bool:
    return sum(labels) * 2 < len(labels)
