"""Pairs of responses that look alike and differ: a merge hides a guess, so each pair stays apart."""

from __future__ import annotations

import pytest

from semantic_entropy import estimate, load_equivalence


@pytest.fixture(scope="module")
def math():
    judge = load_equivalence("math")
    yield judge
    judge.close()


BOXES = [
    ("2-1/3", "7/3"),  # a difference, no mixed number
    ("3-1/2", "7/2"),
    ("n+3-1/2", "n+7/2"),
    ("2,2,3", "2,3,3"),  # a list keeps its multiplicities
    (r"5\text{ men}", r"5\text{ women}"),
]


@pytest.mark.parametrize(("left", "right"), BOXES)
def test_boxes_that_differ_are_kept_apart(math, left, right):
    assert estimate([rf"\boxed{{{left}}}", rf"\boxed{{{right}}}"], equivalence=math).labels == (0, 1)


SAME_BOXES = [("1-1/2", "1/2"), ("2 1/3", "7/3"), ("2 and 1/3", "7/3"), ("2,3,2", "3,2,2")]


@pytest.mark.parametrize(("left", "right"), SAME_BOXES)
def test_boxes_that_mean_the_same_agree(math, left, right):
    assert estimate([rf"\boxed{{{left}}}", rf"\boxed{{{right}}}"], equivalence=math).labels == (0, 0)
