"""Each signal on cases with known results: ties, empty answers, all the same, all different."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl import EmpoProvider, RolloutGroup, register_reward
from semantic_entropy import InputError


def box(answer):
    return rf"\boxed{{{answer}}}"


def group(answers, **more):
    """One letter for each answer; a dot is a completion without an answer."""
    return RolloutGroup(tuple("no idea" if a == "." else box(a) for a in answers), **more)


def step(groups, **options):
    with EmpoProvider(equivalence="exact", extract="boxed", **options) as provider:
        return provider.step(groups)


def pay(answers, reward, **options):
    more = {name: options.pop(name) for name in ("gold", "measures", "question") if name in options}
    return step([group(answers, **more)], reward=reward, **options).rewards.tolist()


LN = math.log


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("aaab", [LN(3 / 4)] * 3 + [LN(1 / 4)]),
        ("aaaa", [0.0] * 4),
        ("abcd", [LN(1 / 4)] * 4),
        ("aa..", [LN(2 / 4)] * 2 + [LN(1 / 4)] * 2),
        ("....", [LN(1 / 4)] * 4),
    ],
)
def test_log_share_pays_the_logarithm_of_the_share_and_an_invalid_answer_the_lowest_value(answers, expected):
    assert pay(answers, "log_share") == pytest.approx(expected)


def test_log_share_with_the_other_invalid_policies():
    assert pay("aa..", "log_share", invalid="singleton_prob") == pytest.approx([LN(1 / 2)] * 2 + [LN(1 / 4)] * 2)
    assert pay("aa..", "log_share", invalid="penalty") == pytest.approx([LN(1 / 2)] * 2 + [LN(1 / 4) - 0.5] * 2)
    dropped = pay("aab.", "log_share", invalid="drop")
    assert dropped[:3] == pytest.approx([LN(2 / 3)] * 2 + [LN(1 / 3)])
    assert math.isnan(dropped[3])


def test_log_share_has_the_expectation_of_minus_h():
    decision = step([group("aaabbc")], reward="log_share")
    assert decision.rewards.mean() == pytest.approx(-decision.entropies[0])


def test_the_gradient_of_log_share_is_that_of_minus_h():
    """For a softmax over meanings: sum p (r - mean r) d ln p / dz against the numerical gradient of sum p ln p."""
    z = np.array([0.3, -1.0, 0.7, 0.1])
    p = np.exp(z) / np.exp(z).sum()
    by_rewards = p * (np.log(p) - p @ np.log(p))  # the score-function gradient in z of E[ln p]

    def minus_h(z):
        p = np.exp(z) / np.exp(z).sum()
        return float(p @ np.log(p))

    step_ = 1e-6
    numerical = [(minus_h(z + step_ * e) - minus_h(z - step_ * e)) / (2 * step_) for e in np.eye(4)]
    np.testing.assert_allclose(by_rewards, numerical, atol=1e-8)


@pytest.mark.parametrize(
    ("answers", "ties", "expected"),
    [
        ("aabc", "first", [1, 1, 0, 0]),
        ("bbaa", "first", [1, 1, 0, 0]),
        ("abab", "all", [1, 1, 1, 1]),
        ("aabb", "none", [0, 0, 0, 0]),
        ("aaab", "none", [1, 1, 1, 0]),
        ("abcd", "first", [1, 0, 0, 0]),
        ("a...", "first", [1, 0, 0, 0]),
        ("....", "first", [0, 0, 0, 0]),
        ("aaaa", "none", [1, 1, 1, 1]),
    ],
)
def test_majority_pays_the_largest_cluster_of_valid_answers(answers, ties, expected):
    assert pay(answers, "majority", reward_options={"ties": ties}) == expected


def test_random_ties_pay_one_of_the_largest_clusters_and_each_of_them_sometimes():
    with EmpoProvider("exact", extract="boxed", reward="majority", reward_options={"ties": "random"}) as provider:
        decision = provider.step([group("aabb")] * 64)
    paid = {tuple(row) for row in decision.rewards.reshape(64, 4).tolist()}
    assert paid == {(1, 1, 0, 0), (0, 0, 1, 1)}


def test_majority_with_penalty_and_drop():
    assert pay("aa.", "majority", invalid="penalty") == [1, 1, -0.5]
    dropped = pay("aa.", "majority", invalid="drop")
    assert dropped[:2] == [1, 1]
    assert math.isnan(dropped[2])


def test_golden_pays_right_answers_and_semi_supervised_does_so_in_labelled_groups():
    labelled, unlabelled = group("aab", gold="b"), group("aab")
    assert step([labelled], reward="golden").rewards.tolist() == [0, 0, 1]
    decision = step([labelled, unlabelled], reward="semi_supervised")
    np.testing.assert_allclose(decision.rewards, [0, 0, 1, 2 / 3, 2 / 3, 1 / 3])


def test_in_a_semi_supervised_batch_the_window_drops_unlabelled_groups_alone():
    decision = step([group("aaa", gold="a"), group("aaa")], reward="semi_supervised")
    assert decision.keep.tolist() == [True, False]
    assert decision.metrics["labelled_fraction"] == 0.5


@pytest.mark.parametrize(
    ("gold", "right"),
    [
        ("#### 70,000", "70000"),  # EleutherAI/lm-evaluation-harness#3214
        ("200,000 - 130,000 = 70,000\n#### 70,000", "70000"),
        ("70000 dollars", r"\$70,000"),
        (r"So it is \boxed{3 1/2}.", "3.5"),
        ("42 marbles", "42"),
    ],
)
def test_a_gold_answer_is_read_like_a_completion(gold, right):
    assert pay([right, "7"], "golden", gold=gold, grader="math") == [1, 0]


def test_a_separate_grader_compares_with_gold():
    def longer(left, right):
        return left.lower() == right.lower()

    assert pay("ab", "golden", gold="A") == [0, 0]
    assert pay("ab", "golden", gold="A", grader=longer) == [1, 0]


def test_confidence_signals_pay_the_measures_of_the_trainer():
    measures = {"self_certainty": (1.0, 2.0), "token_entropy": (0.5, 0.25)}
    assert pay("ab", "self_certainty", measures=measures) == [1, 2]
    assert pay("ab", "token_entropy", measures=measures) == [-0.5, -0.25]


def test_a_signal_without_its_measure_names_the_trainer_that_measures_it():
    with pytest.raises(InputError, match=r"self_certainty needs measures\['self_certainty'\].*EmpoGRPOTrainer"):
        pay("ab", "self_certainty")
    with pytest.raises(InputError, match="has 1 numbers for 2 completions"):
        group("ab", measures={"self_certainty": (1.0,)})


def test_format_pays_an_answer_or_a_pattern():
    assert pay("a.", "format") == [1, 0]
    assert pay("a.", "format", reward_options={"pattern": "idea"}) == [0, 1]


def test_a_composite_is_the_weighted_sum_and_is_filtered_like_its_parts():
    weights = {"empo": 1.0, "format": 0.1}
    assert pay("aab.", "composite", reward_options={"weights": weights}) == pytest.approx([0.6, 0.6, 0.35, 0.0])
    options = {"weights": {"majority": 1.0}, "options": {"majority": {"ties": "none"}}}
    assert pay("ab", "composite", reward_options=options) == [0, 0]
    assert not step([group("aa")], reward="composite", reward_options={"weights": weights}).keep.any()
    assert step([group("aa")], reward="composite", reward_options={"weights": {"format": 1}}).keep.all()


@pytest.mark.parametrize("weight", [math.nan, math.inf, -1e308])
def test_a_composite_refuses_a_weight_that_no_reward_can_have(weight):
    with pytest.raises(InputError, match=r"composite: the weight of empo is (nan|inf|-1e\+308): set a number"):
        pay("ab", "composite", reward_options={"weights": {"empo": weight}})
    with pytest.raises(InputError, match=r"the weight 1e\+15 of empo times its reward 0.5 is too large"):
        pay("ab", "composite", reward_options={"weights": {"empo": 1e15, "format": 1.0, "majority": 1.0}})


@pytest.mark.parametrize("reward", ["random", "majority", "semi_supervised", "composite"])
def test_a_random_signal_continues_from_its_saved_state(reward):
    options = {
        "majority": {"ties": "random"},
        "composite": {"weights": {"random": 1, "empo": 1}},
        "semi_supervised": {"unlabelled": "random"},
    }.get(reward)

    def make():
        return EmpoProvider("exact", extract="boxed", reward=reward, reward_options=options, seed=3)

    batch = [group("aabbccdd")] * 16
    with make() as uninterrupted, make() as resumed:
        uninterrupted.step(batch)
        state = json.loads(json.dumps(uninterrupted.state_dict()))
        following = uninterrupted.step(batch).rewards
        assert not np.array_equal(following, resumed.step(batch).rewards)
        resumed.load_state_dict(state)
        np.testing.assert_array_equal(following, resumed.step(batch).rewards)


COIN = {"reward": "composite", "reward_options": {"weights": {"random": 1.0}}}
TWO_COINS = {"reward": "composite", "reward_options": {"weights": {"random": 1.0, "format": 0.5}}}
GUESS = {"reward": "semi_supervised", "reward_options": {"unlabelled": "random"}}
VOTE = {"reward": "semi_supervised", "reward_options": {"unlabelled": "majority"}}


@pytest.mark.parametrize(
    ("saved", "resumed"),
    [
        ({"reward": "random"}, {"reward": "majority"}),
        (COIN, TWO_COINS),
        (TWO_COINS, COIN),
        (GUESS, VOTE),
        (VOTE, GUESS),
        (GUESS, {"reward": "semi_supervised"}),
    ],
)
def test_the_state_of_another_signal_is_not_loaded(saved, resumed):
    with EmpoProvider("exact", **saved) as one, EmpoProvider("exact", **resumed) as other:
        other.load_state_dict(json.loads(json.dumps(one.state_dict())))
        assert other.step([["a", "a", "b"]]).rewards.shape == (3,)


def test_the_parts_that_a_new_composite_shares_continue_from_their_state():
    with EmpoProvider("exact", seed=1, **COIN) as one, EmpoProvider("exact", seed=2, **TWO_COINS) as other:
        one.step([["a"] * 9])
        other.load_state_dict(one.state_dict())
        assert (other.step([["a"] * 20]).rewards - 0.5).tolist() == one.step([["a"] * 20]).rewards.tolist()


def test_a_registered_signal_is_found_by_name():
    from empo_rl import RewardSignal

    class Longest(RewardSignal):
        name = "longest"

        def __init__(self, factor: float = 1.0) -> None:
            self.factor = factor

        def rewards(self, scored):
            return np.array([[self.factor * len(text) for text in item.group.completions] for item in scored])

    register_reward("longest", Longest)
    with EmpoProvider("exact", extract="whole", reward="longest", reward_options={"factor": 2}) as provider:
        assert provider.step([["a", "bbb"]]).rewards.tolist() == [2, 6]
    with pytest.raises(InputError, match="reward_options={'factor': 2} cannot change the instance .* pass a name or"):
        EmpoProvider("exact", reward=Longest(), reward_options={"factor": 2})


ANSWERS = st.lists(st.sampled_from("abc."), min_size=2, max_size=9)


@given(ANSWERS)
def test_agreement_signals_pay_larger_clusters_at_least_as_much(answers):
    """No signal pays a smaller cluster more than a larger one, and an invalid answer is never paid most."""
    paid = {name: pay(answers, name) for name in ("empo", "log_share", "majority")}
    size = [0 if a == "." else answers.count(a) for a in answers]
    for rewards in paid.values():
        for left, more in zip(size, rewards, strict=True):
            for right, less in zip(size, rewards, strict=True):
                assert left >= right or more <= less + 1e-12


@given(ANSWERS, st.randoms())
def test_the_order_of_completions_changes_nothing_but_the_order(answers, dice):
    order = list(range(len(answers)))
    dice.shuffle(order)
    for name in ("empo", "log_share"):
        straight = pay(answers, name)
        assert pay([answers[i] for i in order], name) == pytest.approx([straight[i] for i in order])
