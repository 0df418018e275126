"""Presets on cases with known results, derived from their sources."""

import math

import pytest

from empo_rl import EmpoProvider, RolloutGroup, preset
from empo_rl.core.presets import PRESETS
from semantic_entropy import InputError


def box(answer):
    return rf"\boxed{{{answer}}}"


def group(answers, question=None):
    return RolloutGroup(tuple("?" if a == "." else box(a) for a in answers), question)


def step(name, *groups):
    with EmpoProvider("exact", extract="boxed", **preset(name)) as provider:
        return provider.step(list(groups))


CASES = {
    "paper": {"aaab": [0.75] * 3 + [0.25], "aa..": [0.5, 0.5, 0, 0], "aaaa": [1] * 4, "abcd": [0.25] * 4},
    # p where H < ln G, else 0; unreadable 0. "a...": the four differ, so H = ln G
    "official-trl-math": {
        "aaab": [0.75] * 3 + [0.25],
        "aa..": [0.5, 0.5, 0, 0],
        "aaaa": [1] * 4,
        "abcd": [0] * 4,
        "a...": [0] * 4,
    },
    # +1 and -1; of G completions, G/2 stay: the most frequent, up to G/4, and the least frequent
    "ddrl": {
        "aaaabbcd": [1, 1, None, None, None, None, -1, -1],
        "aaaaaaab": [1, 1, None, None, None, None, 1, -1],
        "aaaa": [1, None, None, 1],
        "abcd": [1, None, None, -1],
        "aabb....": [1, 1, None, None, None, None, -1, -1],
        "....": [None, None, -1, -1],
    },
    # unreadable -0.5, also in a group whose largest share is below 0.2
    "official-trl-natural": {
        "aab.": [0.5, 0.5, 0.25, -0.5],
        "abcdef": [0] * 6,
        "abcde.": [0] * 5 + [-0.5],
        "abcd": [0.25] * 4,
        "aaaa": [1] * 4,
    },
    "official-verl": {"aaab": [0.75] * 3 + [0.25], "aa..": [0.5, 0.5, 0.25, 0.25], "abcd": [0.25] * 4},
    "ttrl": {"aaab": [1, 1, 1, 0], "aabb": [1, 1, 0, 0], "a...": [1, 0, 0, 0], "....": [0] * 4},
}


@pytest.mark.parametrize(("name", "answers"), [(name, answers) for name, cases in CASES.items() for answers in cases])
def test_a_preset_pays_what_its_source_pays(name, answers):
    expected = [math.nan if reward is None else reward for reward in CASES[name][answers]]  # None: not in the loss
    assert step(name, group(answers)).rewards.tolist() == pytest.approx(expected, nan_ok=True)


def test_the_advantages_of_ddrl_are_the_rewards():
    decision = step("ddrl", group("aaaabbcd"), group("aaaaaaaa"))
    assert decision.advantages.tolist() == [1, 1, 0, 0, 0, 0, -1, -1, 1, 1, 0, 0, 0, 0, 1, 1]
    assert decision.keep.all()


def test_every_preset_has_cases():
    assert set(CASES) == set(PRESETS)


@pytest.mark.parametrize(("name", "kept"), [("paper", False), ("official-trl-math", True), ("official-verl", True)])
def test_the_paper_drops_a_group_that_agrees_and_the_official_code_keeps_it_in_the_loss(name, kept):
    assert step(name, group("aaaa")).keep.tolist() == [kept]


def test_the_natural_preset_pays_zero_for_an_answer_copied_from_the_question():
    question = "Is it the red or the blue wire?"
    paid = step("official-trl-natural", group(["the red", "the red", "both of them"], question)).rewards
    assert paid.tolist() == pytest.approx([0, 0, 1 / 3])


def test_a_preset_can_be_changed_and_an_unknown_preset_lists_the_existing_ones():
    choices = {**preset("official-trl-natural"), "max_p_low": 0.3}
    with EmpoProvider("exact", extract="boxed", **choices) as provider:
        assert provider.step([group("abcd")]).rewards.tolist() == [0] * 4
    assert preset("official-trl-natural")["max_p_low"] == 0.2
    with pytest.raises(InputError, match="preset 'papers' does not exist. Choose one of: paper, official-trl-math"):
        preset("papers")
