"""Groups of prompts by common prefix: properties on random prompts, and the groups of typical pairs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy_plugins.verifier.shared_prefixes import SHORTEST, PrefixGroup, common_prefix, group_by_prefix

IDS = st.lists(st.integers(0, 2), min_size=1, max_size=12)
PROMPTS = st.lists(IDS, max_size=25, unique_by=tuple)


def cost(groups: list[PrefixGroup], prompts: list[list[int]]) -> int:
    """The number of tokens that the model reads."""
    return sum(g.prefix + sum(len(prompts[row]) - g.prefix for row in g.rows) for g in groups)


def prompts_of(question: int, pairs: list[tuple[int, int]], *, text: int = 40) -> list[list[int]]:
    """Prompts as from a template: question, reference, answer, and a common end."""
    return [[7] * 5 + [100 + question] * text + [200 + a] * 20 + [300 + b] * 10 + [9] * 30 for a, b in pairs]


@given(PROMPTS)
def test_every_prompt_is_in_one_group_and_keeps_a_token_after_the_prefix(prompts):
    groups = group_by_prefix(prompts, shortest=1)
    assert sorted(row for group in groups for row in group.rows) == list(range(len(prompts)))
    for group in groups:
        assert len({tuple(prompts[row][: group.prefix]) for row in group.rows}) <= 1
        assert all(len(prompts[row]) > group.prefix for row in group.rows)
        assert group.prefix == 0 or len(group.rows) > 1


@given(PROMPTS)
def test_sharing_never_costs_more_tokens_than_it_saves(prompts):
    assert cost(group_by_prefix(prompts, shortest=1), prompts) <= sum(map(len, prompts))


@given(PROMPTS, st.randoms())
def test_the_order_of_the_prompts_does_not_matter(prompts, random):
    shuffled = random.sample(prompts, len(prompts))

    def shapes(batch):
        return sorted(
            (g.prefix, sorted(tuple(batch[row]) for row in g.rows)) for g in group_by_prefix(batch, shortest=1)
        )

    assert shapes(shuffled) == shapes(prompts)


@given(IDS, IDS)
def test_the_common_prefix_by_bisection_equals_that_of_a_loop(one, other):
    length = 0
    while length < min(len(one), len(other)) - 1 and one[length] == other[length]:
        length += 1
    assert common_prefix(one, other) == length


def test_candidates_of_one_reference_share_question_and_reference():
    (group,) = group_by_prefix(prompts_of(0, [(0, b) for b in range(16)]))
    assert group == PrefixGroup(tuple(range(16)), 5 + 40 + 20)


def test_reversed_pairs_share_the_question():
    (group,) = group_by_prefix(prompts_of(0, [(a, 0) for a in range(16)]))
    assert group.prefix == 5 + 40


def test_prompts_of_different_questions_form_different_groups():
    prompts = [prompt for question in range(3) for prompt in prompts_of(question, [(0, b) for b in range(4)])]
    assert sorted(group.rows for group in group_by_prefix(prompts)) == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)]


def test_a_frequent_reference_has_a_group_and_the_other_prompts_share_the_question():
    pairs = [(0, b) for b in range(10)] + [(a, 0) for a in range(1, 4)]
    groups = {group.prefix: group.rows for group in group_by_prefix(prompts_of(0, pairs))}
    assert groups == {65: tuple(range(10)), 45: (10, 11, 12)}


def test_a_short_prefix_is_not_shared():
    alone = prompts_of(0, [(0, 0)]) + prompts_of(1, [(0, 0)])  # five tokens of a template in common
    assert group_by_prefix(alone) == [PrefixGroup((0, 1), 0)]
    assert SHORTEST > 5


def test_no_prompts_no_groups():
    assert group_by_prefix([]) == []


def test_thousands_of_nested_prompts_need_no_deep_stack():
    """Each prompt is a prefix of the next one, which gives the deepest possible tree."""
    prompts = [[1] * 100 + [2] * length for length in range(1, 3000)]
    assert sorted(row for group in group_by_prefix(prompts) for row in group.rows) == list(range(2999))
