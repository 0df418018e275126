import pytest

from empo_rl import RolloutGroup, group_by_position
from semantic_entropy import InputError


def test_groups_are_cut_by_position():
    groups = group_by_position(list("abcdef"), 3)
    assert groups == [RolloutGroup(tuple("abc")), RolloutGroup(tuple("def"))]


def test_the_same_prompt_twice_in_a_batch_stays_two_groups():
    groups = group_by_position(list("abcd"), 2, questions=["q"] * 4)
    assert [group.completions for group in groups] == [("a", "b"), ("c", "d")]


def test_questions_and_golds_come_with_their_group():
    (first, second) = group_by_position(list("abcd"), 2, ["p", "p", "q", "q"], ["1", "1", "2", "2"])
    assert (first.question, first.gold, second.question, second.gold) == ("p", "1", "q", "2")


def test_a_remainder_is_refused_with_the_numbers():
    with pytest.raises(InputError, match="7 completions .* num_generations=3: 1 completions are left over"):
        group_by_position(["x"] * 7, 3)


def test_a_column_with_another_length_is_refused():
    with pytest.raises(InputError, match="golds has 3 entries for 4 completions"):
        group_by_position(["x"] * 4, 2, golds=["1"] * 3)


def test_interleaved_groups_are_refused_if_their_questions_differ():
    with pytest.raises(InputError, match=r"questions\[0:2\] has 2 different values"):
        group_by_position(["x"] * 4, 2, questions=["p", "q", "p", "q"])


def test_a_single_string_is_not_a_group():
    assert RolloutGroup(["a", "b"]).completions == ("a", "b")
    with pytest.raises(InputError, match="completions is one string, 'abc'"):
        RolloutGroup("abc")


def test_a_group_size_below_one_is_refused():
    with pytest.raises(InputError, match="num_generations is 0"):
        group_by_position(["x"], 0)
