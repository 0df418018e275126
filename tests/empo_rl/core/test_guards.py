import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl import EmpoProvider, RolloutGroup
from empo_rl.core.guards import AmbiguousGuard, _rouge_l_precision
from empo_rl.testing import check_guard
from semantic_entropy import InputError


def box(answer):
    return rf"\boxed{{{answer}}}"


def provider(**options):
    return EmpoProvider("exact", extract="boxed", **options)


def step(completions, guards, question=None, measures=None, **options):
    with provider(guards=guards, **options) as chosen:
        return chosen.step([RolloutGroup(tuple(completions), question, measures=measures or {})])


def test_the_empty_guard_pays_a_missing_answer_its_number():
    decision = step([box(1), box(1), "none"], {"empty": -0.25})
    assert decision.rewards.tolist() == pytest.approx([2 / 3, 2 / 3, -0.25])
    assert decision.metrics["guard_empty"] == pytest.approx(1 / 3)


def test_none_takes_the_row_out_of_the_loss_and_of_the_mean():
    decision = step([box(1), box(1), box(2), "none"], {"empty": None})
    assert decision.loss_mask.tolist() == [True, True, True, False]
    assert math.isnan(decision.rewards[3])
    assert decision.advantages[3] == 0
    assert decision.advantages[:3].sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("answer", "copied"),
    [
        ("the quick brown fox", True),  # a part of the question
        ("THE QUICK", True),
        ("quick fox jumps over a dog", True),  # 5 of 6 words in the question's order
        ("quick fox jumps over cats today", False),  # 4 of 6
        ("quick fox jumps over cats", False),  # 4 of 5: the threshold itself
        ("forty-two", False),
    ],
)
def test_copied_is_a_part_of_the_question_or_most_of_its_words(answer, copied):
    question = "Why does the quick brown fox jumps over a lazy dog?".replace("dog?", "dog ?")
    decision = step([box(answer), box("x y")], {"copied": 0.0}, question)
    assert decision.rewards.tolist() == [0.0 if copied else 0.5, 0.5]


@given(st.lists(st.sampled_from("abc"), max_size=7), st.lists(st.sampled_from("abc"), max_size=7))
def test_rouge_l_is_that_of_all_subsequences(said, asked):
    def subsequences(words):
        found = {()}
        for word in words:
            found |= {(*one, word) for one in found}
        return found

    longest = max(len(one) for one in subsequences(said) & subsequences(asked))
    assert _rouge_l_precision(said, asked) == (longest / len(said) if said else 0.0)


def test_overlong_flags_truncated_completions_and_too_many_words():
    completions = [box(1), "a b c d e f " + box(1), box(2)]
    assert step(completions, {"overlong": {"pays": -1.0, "most": 5}}).rewards.tolist()[1] == -1
    cut = step(completions, {"overlong": 0.0}, measures={"truncated": (1.0, 0.0, 0.0)})
    assert cut.rewards.tolist() == pytest.approx([0, 2 / 3, 1 / 3])
    with pytest.raises(InputError, match="guard overlong needs measures"):
        step(completions, {"overlong": 0.0})


def test_a_provider_says_which_measures_its_guards_need():
    with provider(guards={"overlong": 0.0}, reward="self_certainty") as chosen:
        assert chosen.needs == {"truncated", "self_certainty"}
    with provider() as chosen:
        assert chosen.needs == frozenset()


SENTENCE = "First we add two and three, which gives five, and then we double it to find ten, the number of red balls. "


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        *[("".join(f"word{place} " for place in range(period)) * 40, True) for period in (1, 3, 6, 25)],
        (SENTENCE + "so we add one and " * 20, True),
        ("1" * 500, True),
        ("我们把两个数相加然后再乘以三得到答案" * 20, True),
        (SENTENCE, False),
        (SENTENCE * 2, False),
        (SENTENCE + "2 + 3 = 5, " * 3, False),
    ],
)
def test_repetition_flags_a_loop_of_any_length_that_fills_most_of_the_completion(text, repeats):
    decision = step([text + box(1), box(1)], {"repetition": 0.0})
    assert decision.rewards.tolist() == [0.0 if repeats else 1.0, 1.0]


def test_repetition_counts_n_grams_of_the_given_size():
    text = "a b c d. " * 4 + box(1)
    assert step([text, box(1)], {"repetition": {"n": 3}}).rewards[0] == 0
    assert step([text, box(1)], {"repetition": {"n": 17}}).rewards[0] == 1


def test_of_several_guards_the_last_counts():
    guards = {"empty": -0.25, "overlong": {"pays": -1.0, "most": 2}}
    assert step([box(1), "a b c d"], guards).rewards.tolist() == [0.5, -1.0]
    reverse = dict(reversed(guards.items()))
    assert step([box(1), "a b c d"], reverse).rewards.tolist() == [0.5, -0.25]


def test_concentration_forgets_answers_before_its_window():
    def batch(answer, size):
        return [RolloutGroup((box(answer), box(answer), box("x")), f"q{number}") for number in range(size)]

    with provider(guards={"concentration": {"window": 20, "fewest": 10}}) as chosen:
        assert chosen.step(batch(7, 20)).metrics["guard_concentration"] > 0
        assert chosen.step([g for n in range(20) for g in batch(n, 1)]).metrics["guard_concentration"] == 0


def test_an_evaluation_does_not_change_the_memory_of_a_guard():
    with provider(guards={"concentration": 0.0}, reward="random") as chosen:
        before = json.dumps(chosen.state_dict())
        chosen.step([RolloutGroup((box(7), box(7)), f"q{number}") for number in range(20)], training=False)
        assert json.dumps(chosen.state_dict()) == before


def test_concentration_flags_one_answer_to_many_questions():
    groups = [RolloutGroup((box(7), box(7), box(number)), f"q{number}") for number in range(100, 120)]
    with provider(guards={"concentration": 0.0}) as chosen:
        decision = chosen.step(groups)
    assert decision.rewards.reshape(20, 3).tolist() == [pytest.approx([0, 0, 1 / 3])] * 20
    assert decision.metrics["answer_concentration"] == 1.0
    varied = [RolloutGroup((box(n), box(n), box("x")), f"q{n}") for n in range(20)]
    with provider(guards={"concentration": 0.0}) as chosen:
        assert chosen.step(varied).metrics["guard_concentration"] == 0


def test_concentration_counts_earlier_batches_and_survives_a_restart():
    def batch(number):
        return [RolloutGroup((box(7), box(7), box("x")), f"q{number}-{place}") for place in range(10)]

    guards = {"concentration": {"pays": 0.0, "fewest": 16}}
    with provider(guards=guards) as first, provider(guards=guards) as resumed:
        assert first.step(batch(0)).metrics["guard_concentration"] == 0  # ten groups are too few to tell
        resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
        np.testing.assert_array_equal(first.step(batch(1)).rewards, resumed.step(batch(1)).rewards)
        assert first.step(batch(2)).metrics["guard_concentration"] > 0


def test_a_flagged_row_keeps_its_payment_in_a_zeroed_group():
    decision = step([box(1), box(2), box(3), "none"], {"empty": -0.5}, delta_high=1.0, outside="zero")
    assert decision.rewards.tolist() == [0, 0, 0, -0.5]
    assert decision.keep.tolist() == [True]
    assert decision.metrics["outside_fraction"] == 1.0


AMBIGUOUS = {"ambiguous": None}
LETTERS = st.lists(st.sampled_from("aaabbcdef."), min_size=2, max_size=24)


def stays(answers, **options):
    """Whether each completion is in the loss. A dot is a completion without an answer."""
    completions = ["none" if answer == "." else box(answer) for answer in answers]
    guard = {"ambiguous": {"pays": None, **options}}
    return step(completions, guard, reward="majority", reward_options={"others": -1.0}).loss_mask.tolist()


@pytest.mark.parametrize(
    ("answers", "options", "expected"),
    [
        # G=8: K=4. 2 of the 4 a's, and the 2 least frequent answers c and d; b has a medium frequency
        ("aaaabbcd", {}, [1, 1, 0, 0, 0, 0, 1, 1]),
        ("bacabdaa", {}, [0, 1, 1, 1, 0, 1, 0, 0]),  # the same in another order
        # one a fills the half of the frequent answers, so 3 of the least frequent stay: the last of equal frequency
        ("abcdefgh", {}, [1, 0, 0, 0, 0, 1, 1, 1]),
        ("aaaaaaaa", {}, [1, 1, 0, 0, 0, 0, 1, 1]),
        ("aaaabb..", {}, [1, 1, 0, 0, 0, 0, 1, 1]),  # no answer is the least frequent
        ("aaaabbcd", {"keep": 1.0}, [1] * 8),
        ("aaaabbcd", {"keep": 0.25}, [1, 0, 0, 0, 0, 0, 0, 1]),
        ("aaaabbcd", {"keep": 0.1}, [0] * 8),  # K=0: the group is dropped
    ],
)
def test_ambiguous_keeps_the_most_and_the_least_frequent_answers(answers, options, expected):
    assert stays(answers, **options) == [bool(value) for value in expected]


@given(LETTERS, st.randoms())
def test_ambiguous_keeps_as_many_of_each_frequency_in_every_order(answers, dice):
    def kept_frequencies(order):
        sizes = Counter(answer for answer in order if answer != ".")
        return Counter(sizes[answer] for answer, stay in zip(order, stays(order), strict=True) if stay)

    shuffled = dice.sample(answers, len(answers))
    assert kept_frequencies(answers) == kept_frequencies(shuffled)


@given(LETTERS)
def test_ambiguous_keeps_k_completions_and_no_frequency_between_those_that_stay_and_those_that_do_not(answers):
    sizes = Counter(answer for answer in answers if answer != ".")
    mask = stays(answers)
    assert sum(mask) == len(answers) // 2
    frequencies = np.array([sizes[answer] for answer in answers])
    most = min(max(sizes.values(), default=0), len(answers) // 2 // 2)
    ranked = sorted(frequencies, reverse=True)
    expected = [*ranked[:most], *ranked[len(answers) - (len(answers) // 2 - most) :]]
    assert sorted(frequencies[mask], reverse=True) == expected


def test_ambiguous_under_drop_counts_the_valid_answers_alone():
    completions = [box(answer) for answer in "aabc"] + ["none"] * 4
    decision = step(completions, AMBIGUOUS, invalid="drop", reward="majority")
    assert decision.loss_mask.tolist() == [True, False, False, True] + [False] * 4


@pytest.mark.parametrize("keep", [0, -1, 1.1, math.nan])
def test_ambiguous_refuses_a_share_that_is_none(keep):
    with pytest.raises(InputError, match="keep=.* is a share of the group"):
        provider(guards={"ambiguous": {"keep": keep}})


def test_ambiguous_keeps_the_contract_of_guards():
    check_guard(AmbiguousGuard())


def test_the_majority_can_pay_all_other_answers_a_number():
    decision = step([box(1), box(1), box(2), "none"], {}, reward="majority", reward_options={"others": -1})
    assert decision.rewards.tolist() == [1, 1, -1, -1]
    with pytest.raises(InputError, match="others=1 must be a number below 1"):
        provider(reward="majority", reward_options={"others": 1})
