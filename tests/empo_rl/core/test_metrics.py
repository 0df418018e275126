"""The metrics of a batch are those of the global batch, however its groups are divided among processes."""

import pytest

from empo_rl import EmpoProvider, RolloutGroup
from empo_rl.core.metrics import BatchNumbers

G = 4


def judge(left, right):
    """Cannot decide about x and y."""
    return None if {left, right} == {"x", "y"} else left.lower() == right.lower()


def group(answers, gold=None):
    return RolloutGroup(tuple("" if answer == "." else answer for answer in answers), gold=gold)


# Full agreement, two undecided pairs, an answer that is common in the batch but not in a half, an invalid answer
GROUPS = [group("aaaa", "a"), group("xyab", "x"), group("bbbc"), group("aab.", "b"), group("bbaa", "a"), group("bB.d")]
OPTIONS = {
    "extract": "whole",
    "delta_high": 1.3,
    "measure_gold": True,
    "guards": {"empty": None},
}


def decide(groups):
    with EmpoProvider(judge, **OPTIONS) as provider:
        return provider.step(groups)


@pytest.mark.parametrize("sizes", [(3, 3), (2, 4), (1, 1, 4), (1,) * 6])
def test_the_metrics_of_several_processes_are_those_of_one_process(sizes):
    whole = decide(GROUPS)
    rest, parts = list(GROUPS), []
    for size in sizes:
        parts.append(decide(rest[:size]).numbers)
        rest = rest[size:]
    joined = BatchNumbers.join(parts).metrics()
    expected = {**whole.metrics, "judging_seconds": max(part.seconds for part in parts)}
    assert joined == expected  # exactly: the same numbers in the same order


def test_dropped_groups_undecided_pairs_and_flags_are_shares():
    metrics = decide(GROUPS).metrics
    assert metrics["dropped_low_fraction"] == pytest.approx(1 / 6)
    assert metrics["dropped_high_fraction"] == pytest.approx(1 / 6)
    assert metrics["outside_fraction"] == pytest.approx(2 / 6)
    assert metrics["guard_empty"] == pytest.approx(2 / 24)
    assert 0 < metrics["undecided_fraction"] < 1
    assert metrics["answer_concentration"] == pytest.approx(3 / 6)
    assert not {"dropped_low", "dropped_high", "undecided_pairs"} & set(metrics)


def test_without_a_compared_pair_there_is_no_share_of_undecided_pairs():
    assert "undecided_fraction" not in decide([group("aaaa")]).metrics
