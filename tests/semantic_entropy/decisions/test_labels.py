"""What "wrong" means for a labelled row."""

import math

import numpy as np
import pytest

from semantic_entropy import InputError
from semantic_entropy.decisions import LABEL_RULES, group_label

T, F = True, False
LARGEST_RIGHT = {"correct": [T, T, F, F, F, F]}  # clusters 0 0 1 2 3 4: the largest is right, most responses are wrong
CLUSTERS = (0, 0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("row", "rule", "clusters", "expected"),
    [
        ({"answer_correct": T, **LARGEST_RIGHT}, "main", CLUSTERS, (F, "main")),
        ({"answer_correct": F, **LARGEST_RIGHT}, "main", CLUSTERS, (T, "main")),
        ({"greedy": {"text": "x", "correct": F}, **LARGEST_RIGHT}, "main", CLUSTERS, (T, "main")),
        ({"answer_correct": T, "greedy": {"correct": F}}, "main", None, (F, "main")),
        ({"correct": T}, "main", None, (F, "main")),
        (LARGEST_RIGHT, "main", CLUSTERS, (F, "majority")),
        (LARGEST_RIGHT, "main", None, (T, "mean")),
        (LARGEST_RIGHT, "majority", CLUSTERS, (F, "majority")),
        (LARGEST_RIGHT, "mean", CLUSTERS, (T, "mean")),
        ({"answer_correct": F, **LARGEST_RIGHT}, "majority", CLUSTERS, (F, "majority")),
        ({"answer_correct": T, "correct": [F, F]}, "mean", None, (T, "mean")),
        ({"correct": [T, F]}, "mean", None, (F, "mean")),
        ({"correct": [T, F, F]}, "majority", (0, 0, 1), (F, "majority")),
        ({"correct": [F, T]}, "majority", (0, 1), (T, "majority")),  # of equal clusters, the first
        ({"correct": [F, F, T]}, "majority", (-1, -1, 0), (F, "majority")),  # dropped responses have no cluster
        ({"correct": [F, F]}, "majority", (-1, -1), (T, "mean")),
        ({"answer_correct": None, "greedy": {"text": "x"}, "correct": [T]}, "main", None, (F, "mean")),
        ({"answer_correct": math.nan, "correct": np.array([F, F])}, "main", None, (T, "mean")),
        ({"correct": "[True, false, 0]"}, "main", None, (T, "mean")),  # a cell of a CSV file
        ({"answer_correct": "TRUE"}, "main", None, (F, "main")),
        ({"answer_correct": 0}, "main", None, (T, "main")),
    ],
)
def test_the_label_of_a_row(row, rule, clusters, expected):
    assert group_label(row, rule, clusters) == expected


@pytest.mark.parametrize("rule", LABEL_RULES)
@pytest.mark.parametrize(
    "row",
    [
        {},
        {"correct": []},
        {"answer_correct": "", "correct": " "},
        {"correct": None},
        {"greedy": {"text": "x"}},
        {"greedy": "x"},
    ],
)
def test_a_row_without_labels_is_neither_right_nor_wrong(row, rule):
    assert group_label(row, rule) is None


def test_a_label_of_the_main_answer_says_nothing_about_the_responses():
    assert group_label({"answer_correct": True}, "mean") is None
    assert group_label({"correct": True}, "majority", (0, 0)) is None


def test_the_field_of_the_labels_can_have_another_name():
    assert group_label({"correct": "ignored", "grades": [1, 0, 0]}, correct="grades") == (True, "mean")


@pytest.mark.parametrize(
    ("row", "rule", "clusters", "message"),
    [
        ({"answer_correct": "maybe"}, "main", None, "'answer_correct' is 'maybe'; a label is true or false"),
        ({"correct": [True, 2]}, "main", None, r"'correct\[1\]' is 2; a label is true or false"),
        ({"correct": 0.7}, "main", None, "'correct' is 0.7"),
        ({"correct": "[true,"}, "main", None, "must be a list of true and false"),
        ({"correct": [True]}, "main", (0, 0), "'correct' has 1 labels for 2 responses"),
        ({"correct": [True]}, "mean", (0, 0), "'correct' has 1 labels for 2 responses"),
        ({}, "median", None, "label='median' is unknown: use one of main, majority, mean"),
    ],
)
def test_a_label_that_cannot_be_read_is_an_error(row, rule, clusters, message):
    with pytest.raises(InputError, match=message):
        group_label(row, rule, clusters)
