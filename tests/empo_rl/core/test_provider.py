import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl import EmpoProvider, RewardSignal, RolloutGroup, register_reward
from empo_rl.core.filters import (
    DROPPED_HIGH,
    DROPPED_LOW,
    DROPPED_NO_ANSWER,
    DROPPED_NO_REWARD,
    EqualRewardsFilter,
    Filter,
)
from empo_rl.core.guards import Guard, RepetitionGuard
from semantic_entropy import Equivalence, InputError, PluginError, Scorer, SemanticEntropyError, Verdict, register


def box(answer):
    return rf"so \boxed{{{answer}}}"


@pytest.fixture(scope="module")
def math_scorer():
    with Scorer(equivalence="math", extract="boxed") as scorer:
        yield scorer


def provider(**options):
    return EmpoProvider(equivalence="exact", extract="boxed", **options)


def step(groups, **options):
    with provider(**options) as chosen:
        return chosen.step(groups)


def test_the_sentences_of_long_completions_are_not_measured():
    long = "Ada lived in London. She wrote letters. " * 10
    with EmpoProvider(equivalence="exact") as chosen:
        assert chosen.step([[long, f"{long}So.", long]]).num_groups == 1
        assert chosen._scorer.estimate([long, f"{long}So."]).long_answer is None


def test_each_completion_is_paid_the_probability_of_its_own_cluster():
    decision = step([[box(4), box(4), box(4), box(5)], [box(1), box(2), box(1), box(2)]])
    np.testing.assert_allclose(decision.rewards, [0.75, 0.75, 0.75, 0.25, 0.5, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(decision.entropies, [0.562335, math.log(2)], atol=1e-6)
    assert (decision.num_groups, decision.num_generations) == (2, 4)


def test_a_tie_pays_both_clusters_alike_and_gives_no_advantage():
    decision = step([[box(1), box(2), box(1), box(2)]])
    assert decision.keep.tolist() == [True]
    assert decision.advantages.tolist() == [0, 0, 0, 0]


def test_the_advantage_of_the_larger_cluster_is_positive():
    decision = step([[box(4), box(4), box(4), box(5)]])
    std = np.std([0.75, 0.75, 0.75, 0.25], ddof=1)
    np.testing.assert_allclose(decision.advantages, np.array([0.125] * 3 + [-0.375]) / (std + 1e-4))


def test_full_agreement_is_dropped_by_default():
    decision = step([[box(7)] * 4])
    assert decision.keep.tolist() == [False]
    assert decision.drop_reasons == (DROPPED_LOW,)
    assert decision.rewards.tolist() == [1] * 4
    assert not decision.advantages.any()
    assert not decision.loss_mask.any()


def test_full_disagreement_is_kept_unless_delta_high_excludes_it():
    group = [box(n) for n in range(4)]
    assert step([group]).keep.tolist() == [True]
    assert step([group], delta_high=math.log(4)).drop_reasons == (DROPPED_HIGH,)


def test_different_spellings_of_one_number_are_one_cluster(math_scorer):
    chosen = EmpoProvider(scorer=math_scorer)
    decision = chosen.step([[box(r"\frac{1}{2}"), box("0.5"), box("1/2"), box(3)]])
    assert decision.rewards.tolist() == [0.75, 0.75, 0.75, 0.25]


EMPTY = ["", "no box here"]


@pytest.mark.parametrize(
    ("invalid", "rewards", "entropy"),
    [
        ("singleton_zero", [0.5, 0.5, 0, 0], -0.5 * math.log(0.5) - 2 * 0.25 * math.log(0.25)),
        ("singleton_prob", [0.5, 0.5, 0.25, 0.25], -0.5 * math.log(0.5) - 2 * 0.25 * math.log(0.25)),
        ("penalty", [0.5, 0.5, -0.5, -0.5], -0.5 * math.log(0.5) - 2 * 0.25 * math.log(0.25)),
        ("drop", [1, 1, math.nan, math.nan], 0.0),
    ],
)
def test_an_invalid_answer_is_paid_by_the_policy(invalid, rewards, entropy):
    decision = step([[box(4), box(4), *EMPTY]], invalid=invalid)
    np.testing.assert_allclose(decision.rewards, rewards)
    assert decision.entropies[0] == pytest.approx(entropy)
    assert decision.metrics["invalid_fraction"] == 0.5


def test_a_dropped_row_is_out_of_the_loss_and_its_group_stays():
    decision = step([[box(4), box(4), box(5), ""]], invalid="drop")
    assert decision.keep.tolist() == [True]
    assert decision.loss_mask.tolist() == [True, True, True, False]
    np.testing.assert_allclose(decision.rewards[:3], [2 / 3, 2 / 3, 1 / 3])
    assert decision.advantages[3] == 0
    assert decision.advantages.sum() == pytest.approx(0)


def test_two_empty_answers_do_not_agree():
    decision = step([["", "", "", ""]])
    assert decision.rewards.tolist() == [0, 0, 0, 0]
    assert decision.entropies[0] == pytest.approx(math.log(4))
    assert not decision.advantages.any()


def test_with_invalid_drop_a_group_without_a_valid_answer_has_its_own_drop_reason():
    decision = step([["", "", "", ""], [box(1), box(1), box(2), ""]], invalid="drop")
    assert decision.drop_reasons == (DROPPED_NO_ANSWER, None)
    assert not any(math.isnan(value) for value in decision.metrics.values())


def test_a_dropped_group_influences_no_other_one():
    kept, dropped = [box(1), box(1), box(2), box(3)], [box(5)] * 4
    for scale in ("group", "batch", "none"):
        alone = step([kept], scale=scale).advantages
        np.testing.assert_allclose(step([kept, dropped], scale=scale).advantages[:4], alone)


def test_golden_pays_answers_that_mean_the_gold_one(math_scorer):
    group = RolloutGroup((box("0.5"), box(r"\frac12"), box(2), "nothing"), gold="1/2")
    with EmpoProvider(reward="golden", scorer=math_scorer) as chosen:
        decision = chosen.step([group])
    assert decision.rewards.tolist() == [1, 1, 0, 0]


def test_golden_and_random_keep_every_group():
    agreeing = RolloutGroup((box(1),) * 4, gold="2")
    for reward in ("golden", "random"):
        decision = step([agreeing], reward=reward, measure_entropy=True)
        assert decision.keep.all()
        assert decision.entropies.tolist() == [0]


def test_golden_without_a_gold_answer_names_the_group():
    groups = [RolloutGroup((box(1),) * 2, gold="1"), RolloutGroup((box(1),) * 2, question="how many?")]
    with pytest.raises(InputError, match=r"group 1 has none \(question: 'how many\?'\)"):
        step(groups, reward="golden")


def test_random_is_a_coin_that_the_seed_repeats():
    groups = [[box(1)] * 8] * 64
    first, again, other = (step(groups, reward="random", seed=seed).rewards for seed in (3, 3, 4))
    assert set(first) == {0, 1}
    assert first.tolist() == again.tolist() != other.tolist()
    assert first.mean() == pytest.approx(0.5, abs=0.1)


def test_the_provider_accepts_a_custom_signal():
    class Shortest(RewardSignal):
        name = "shortest"

        def rewards(self, scored):
            return np.array([[-float(len(text)) for text in item.group.completions] for item in scored])

    decision = step([["a", "bbb"]], reward=Shortest)
    assert decision.rewards.tolist() == [-1, -3]


def signal_that(answers, **attributes):
    """A signal whose `rewards` is the function `answers`."""
    members = {"name": "mine", "reads_clusters": False, "rewards": lambda self, scored: answers(), **attributes}
    return type("Mine", (RewardSignal,), members)


def raise_missing_key():
    raise KeyError("gold")


# The row "a reward that returns a list, None, inf, nan or raises" of an attack on 0.1.0, which trained on nothing
@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (lambda: np.zeros(2), r"returned shape \(2,\) for 1 groups of 2 completions: .* the shape \(1, 2\)"),
        (lambda: [0.0, 1.0], r"returned \[0\.0, 1\.0\] for 1 groups of 2 completions"),
        (lambda: None, "returned None for 1 groups"),
        (lambda: [["good", "bad"]], r"returned \[\['good', 'bad'\]\] for 1 groups"),
        (lambda: [[1.0], [1.0, 2.0]], "returned .* for 1 groups of 2 completions: return an array"),
        (lambda: np.array([[1.0, math.inf]]), "returned inf for 1 of 2 completions, first for 'b' .group 0."),
        (lambda: np.array([[1.0, math.nan]]), "returned nan for 1 of 2 completions, .* set abstains = True"),
        (lambda: np.array([[1.0, -1e200]]), "returned -1e.200 for 1 of 2 completions, .* at most 1e.15"),
        (lambda: [["1", "2"]], r"returned \[\['1', '2'\]\] for 1 groups .* of numbers"),
        (lambda: [[1.0, None]], "returned nan for 1 of 2 completions"),
        (raise_missing_key, "raised KeyError: 'gold'"),
        (lambda: sys.exit(0), "raised SystemExit: 0"),
    ],
)
def test_a_signal_that_breaks_its_contract_is_named(answers, message):
    with pytest.raises(PluginError, match=f"reward 'mine' {message}"):
        step([["a", "b"]], reward=signal_that(answers))
    composite = {"reward": "composite", "reward_options": {"weights": {"mine": 1.0}}}
    register_reward("mine", signal_that(answers))
    with pytest.raises(PluginError, match=f"reward 'mine' {message}"):
        step([["a", "b"]], **composite)


GROUP = [box(1), box(2), box(2)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (lambda scored: [True, False, True], r"returned \[True, False, True\] for 1 groups of 3 completions"),
        (lambda scored: None, "returned None for 1 groups"),
        (lambda scored: [["False", "True", "x"]], r"returned \[\['False', .* of True or False"),
        (lambda scored: [[0.0, 0.5, 1.0]], "returned the flag 0.5: return True or False"),
        (lambda scored: [[True, None, False]], "returned the flag nan"),
        (lambda scored: {}["share"], "raised KeyError: 'share'"),
    ],
)
def test_a_guard_that_breaks_its_contract_is_named(flags, message):
    members = {"name": "mine", "flags": lambda self, scored: flags(scored)}
    with pytest.raises(PluginError, match=f"guard 'mine' {message}"):
        step([GROUP], guards=[type("Mine", (Guard,), members)()])


@pytest.mark.parametrize("pays", [math.nan, math.inf, 1e308, "1.0", [1], True])
def test_a_guard_pays_a_finite_number_or_none(pays):
    guard = type("Mine", (Guard,), {"name": "mine", "flags": lambda self, scored: [[True] * 3]})(pays)
    with pytest.raises(InputError, match=r"guard 'mine': pays=.* must be a number of at most 1e\+15, or None"):
        step([GROUP], guards=[guard])
    with pytest.raises(InputError, match="guard 'empty': pays=.* must be a number( of at most 1e\\+15,)? or None"):
        step([GROUP], guards={"empty": pays})


def test_two_guards_of_one_name_are_refused_because_one_would_use_the_flags_of_the_other():
    guards = [RepetitionGuard(0.0, n=2), RepetitionGuard(0.0, n=3)]
    with pytest.raises(InputError, match="2 components of the kind guard have the name 'repetition'"):
        step([GROUP], guards=guards)
    with pytest.raises(InputError, match="2 components of the kind filter have the name 'equal_rewards'"):
        step([GROUP], filters=[EqualRewardsFilter(), EqualRewardsFilter()])


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (lambda self: {"seen": {1, 2}}, r"state_dict\(\) returned .*'seen'.* which is not JSON"),
        (lambda self: 1 / 0, r"raised ZeroDivisionError: .* in state_dict\(\)"),
    ],
)
def test_a_state_that_no_checkpoint_can_hold_is_named(state, says):
    signal = signal_that(lambda: [[0.0, 1.0]], state_dict=state)
    with EmpoProvider("exact", reward=signal) as provider, pytest.raises(PluginError, match=f"reward 'mine'.*{says}"):
        provider.state_dict()


@pytest.mark.parametrize("member", ["bind", "filtered"])
def test_any_method_of_a_signal_that_raises_is_named(member):
    with pytest.raises(PluginError, match=rf"reward 'mine' raised ZeroDivisionError: .* in {member}\(\)"):
        step([["a", "b"]], reward=signal_that(lambda: [[0.0, 1.0]], **{member: lambda *_: 1 / 0}))


@pytest.mark.parametrize(
    ("reasons", "message"),
    [
        (lambda scored: [], r"returned \[\] for 1 groups: return one reason, or None, each"),
        (lambda scored: "all", "returned 'all' for 1 groups"),
        (lambda scored: [True], "returned the reason True: return a text"),
        (lambda scored: 1 / 0, "raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_filter_that_breaks_its_contract_is_named(reasons, message):
    members = {"name": "mine", "drop_reasons": lambda self, scored, rewards: reasons(scored)}
    with pytest.raises(PluginError, match=f"filter 'mine' {message}"):
        step([GROUP], filters=[type("Mine", (Filter,), members)()])


def test_rows_of_numbers_are_rewards_too():
    assert step([["a", "b"]], reward=signal_that(lambda: [[1, 2]])).rewards.tolist() == [1, 2]


def test_a_group_for_which_a_signal_abstains_is_dropped_and_counted():
    rewards = np.array([[1.0, math.nan, 0.0], [math.nan] * 3])
    decision = step([["a", "b", "c"]] * 2, reward=signal_that(lambda: rewards, abstains=True))
    assert decision.keep.tolist() == [True, False]
    assert decision.drop_reasons == (None, DROPPED_NO_REWARD)
    assert decision.loss_mask.tolist() == [True, False, True] + [False] * 3
    assert decision.metrics["keep_fraction"] == 0.5


class CountedJudge(Equivalence):
    """Counts the pairs and the instances."""

    name = "counted"
    pairs, made = 0, 0

    def __init__(self):
        type(self).made += 1

    def judge(self, pairs):
        type(self).pairs += len(pairs)
        return [Verdict(pair.left == pair.right) for pair in pairs]


@pytest.fixture
def counted():
    """The class of a judge that is registered by name, with new counters."""
    judge = type("Counted", (CountedJudge,), {"pairs": 0, "made": 0})
    register("equivalence", "counted", judge)
    return judge


THREE_ANSWERS = RolloutGroup((box(1), box(2), box(3), box(1)), gold="4")


@pytest.mark.parametrize(
    ("options", "pairs"),
    [
        ({"reward": "empo"}, 3),  # three answers with each other
        ({"reward": "golden"}, 3),  # three answers with the gold answer
        ({"reward": "golden", "grader": "counted"}, 3),
        ({"reward": "golden", "measure_entropy": True}, 6),
        ({"reward": "golden", "guards": {"empty": 0.0, "repetition": 0.0}}, 3),
        ({"reward": "golden", "guards": {"concentration": 0.0}}, 6),  # it reads clusters
        ({"reward": "empo", "measure_gold": True}, 6),
        ({"reward": "random"}, 0),
        ({"reward": "format"}, 0),
        ({"reward": "composite", "reward_options": {"weights": {"golden": 1.0, "format": 0.1}}}, 3),
        ({"reward": "composite", "reward_options": {"weights": {"golden": 1.0, "empo": 0.1}}}, 6),
    ],
)
def test_one_judge_compares_only_what_the_signal_needs(options, pairs, counted):
    with EmpoProvider("counted", extract="boxed", **options) as chosen:
        chosen.step([THREE_ANSWERS])
    assert (counted.pairs, counted.made) == (pairs, 1)


def test_a_signal_that_needs_no_clusters_has_no_entropy_unless_it_is_measured():
    groups = [RolloutGroup((box(1), box(1), box(2)), gold="1")]
    without, measured = (step(groups, reward="golden", measure_entropy=choice) for choice in (False, True))
    assert math.isnan(without.entropies[0])
    assert not {"entropy", "normalized_entropy", "clusters", "max_p"} & set(without.metrics)
    assert measured.metrics["entropy"] == pytest.approx(0.636514, abs=1e-6)
    np.testing.assert_array_equal(without.rewards, measured.rewards)
    assert without.metrics["answer_concentration"] == measured.metrics["answer_concentration"] == 1


def test_a_signal_of_your_own_is_clustered_for_unless_it_says_otherwise():
    class Largest(RewardSignal):
        name = "largest"

        def rewards(self, scored):
            return np.array([[max(item.result.probabilities)] * len(item.result.answers) for item in scored])

    assert step([[box(1), box(1), box(2)]], reward=Largest).rewards == pytest.approx([2 / 3] * 3)


def test_gold_answers_that_the_judge_cannot_read_are_counted():
    golds = ["4", "", None, r"\frac{1}{2}", r"\frac{", "I don't know", r"\frac{"]
    with EmpoProvider("math", reward="golden") as chosen:
        (note,) = chosen.grader.check(golds)
        assert note.startswith("3 of 5 gold answers cannot be read by the judge math, first '\\\\frac{'")
        assert chosen.grader.check([*golds[:4], "no solution", "A", r"\{1, 2\}", r"so \boxed{5}"]) == []
        with pytest.raises(InputError, match=r"1 of 1 gold answers cannot be read by the judge math"):
            chosen.grader.check([r"\frac{"])


@pytest.mark.parametrize(("groups", "message"), [([], "without groups"), ([[]], "group 0 has no completions")])
def test_an_empty_batch_is_refused(groups, message):
    with pytest.raises(InputError, match=message):
        step(groups)


@pytest.mark.parametrize("group", ["text", [1, 2], [None, "a"]])
def test_a_group_that_is_not_a_list_of_strings_is_refused(group):
    with pytest.raises(InputError, match="group 0 is .* pass a RolloutGroup or a list of strings"):
        step([group])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"reward": "goldn"}, "no reward named 'goldn'. Did you mean 'golden'"),
        ({"outside": "skip"}, "Choose one of: drop, zero"),
        ({"delta_units": "bits"}, "Choose one of: nats, normalized"),
        ({"max_p_low": 0.5, "max_p_high": 0.4}, "0 <= max_p_low <= max_p_high <= 1"),
        ({"guards": {"copy": 0.0}}, "no guard named 'copy'. Did you mean 'copied'"),
        ({"guards": {"copied": {"pay": 0.0}}}, "guard 'copied' has no option"),
        ({"reward": "majority", "reward_options": {"ties": "last"}}, "Choose one of: first, random, all, none"),
        ({"reward": "majority", "reward_options": {"tie": "first"}}, "tie"),
        ({"reward": "composite", "reward_options": {"weights": {}}}, "has no part"),
        ({"reward": "format", "reward_options": {"pattern": "("}}, "is not a regular expression"),
        ({"invalid": "zero"}, "Choose one of: singleton_zero, singleton_prob, drop, penalty"),
        ({"scale": "std"}, "Choose one of: group, batch, none"),
        ({"delta_low": 2.0, "delta_high": 1.0}, "must be smaller"),
    ],
)
def test_an_unknown_setting_lists_the_existing_ones(option, message):
    with pytest.raises(SemanticEntropyError, match=message):
        provider(**option)


def test_a_scorer_with_another_invalid_policy_is_refused():
    with (
        Scorer(equivalence="exact", invalid="together") as scorer,
        pytest.raises(InputError, match="invalid='together'.*invalid='separate'"),
    ):
        EmpoProvider(scorer=scorer)


def test_a_scorer_that_was_passed_in_stays_open():
    with Scorer(equivalence="exact") as scorer:
        with EmpoProvider(scorer=scorer) as chosen:
            chosen.step([["a", "b"]])
        assert scorer.estimate(["a", "a"]).entropy == 0


@pytest.mark.parametrize("reward", ["empo", "random"])
def test_a_group_of_one_is_refused_in_training(reward):
    with pytest.raises(InputError, match="G=1: the advantage of a single completion is always 0"):
        step([["a"]], reward=reward)


def test_a_window_that_keeps_no_group_at_this_size_is_refused():
    with pytest.raises(InputError, match=r"the window 3 < H < inf \(nats\) keeps no group at G=4: .* ln G = 1\.386"):
        step([[box(1), box(2), box(3), box(4)]], delta_low=3)
    assert step([[box(1), box(2)]], delta_low=3, reward="random").keep.all()  # which has no window


def test_a_smaller_group_that_cannot_be_inside_the_window_is_dropped_if_the_largest_group_can_be():
    """An engine loses completions. Two completions have at most ln 2 = 0.69 nats."""
    decision = step([[box(1), box(2)], [box(1), box(2), box(3), box(3)]], delta_low=0.8)
    assert decision.keep.tolist() == [False, True]
    assert decision.drop_reasons[0] == DROPPED_LOW
    with pytest.raises(InputError, match="G=1"):
        step([[box(1)], [box(1), box(2), box(3), box(3)]])


def test_evaluation_accepts_groups_that_training_refuses():
    with provider(delta_low=3) as chosen:
        assert chosen.step([[box(1)]], training=False).entropies.tolist() == [0]


ANSWERS = st.lists(st.sampled_from(["", *(box(n) for n in range(4))]), min_size=2, max_size=9)


@given(ANSWERS)
def test_rewards_sum_to_g_times_the_collision_probability(group):
    decision = step([group], invalid="singleton_prob")
    shares = decision.results[0].probabilities
    assert decision.rewards.sum() == pytest.approx(len(group) * sum(p * p for p in shares))


@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_order_of_completions_changes_no_decision(group, dice):
    order = list(range(len(group)))
    dice.shuffle(order)
    given_, shuffled = step([group, [group[i] for i in order]]).rewards.reshape(2, -1)
    np.testing.assert_allclose(shuffled, given_[order])


@given(ANSWERS)
def test_a_kept_group_has_an_entropy_inside_the_window(group):
    decision = step([group], delta_low=0.4, delta_high=1.3)
    assert decision.keep[0] == (0.4 < decision.entropies[0] < 1.3)
    assert decision.keep[0] == (decision.drop_reasons[0] is None)
    assert decision.advantages.any() <= decision.keep[0]
    assert 0 <= decision.entropies[0] <= math.log(len(group)) + 1e-12


def test_measured_gold_is_reported_and_does_not_change_the_training():
    groups = [
        RolloutGroup((box(4), box(4), box(4), box(5)), gold="4"),
        RolloutGroup((box(7), box(8), box(8), box(8)), gold="7"),
        RolloutGroup((box(1), box(1), box(2), box(3))),
    ]
    decision = step(groups, measure_gold=True)
    paid, right = [0.75, 0.75, 0.75, 0.25, 0.25, 0.75, 0.75, 0.75], [1, 1, 1, 0, 1, 0, 0, 0]
    assert decision.metrics["accuracy"] == 0.5
    assert decision.metrics["golden_correlation"] == pytest.approx(np.corrcoef(paid, right)[0, 1])
    assert decision.metrics["labelled_fraction"] == pytest.approx(2 / 3)
    np.testing.assert_array_equal(decision.rewards, step(groups).rewards)
    agreeing = step([groups[0]], measure_gold=True)
    assert agreeing.metrics["golden_correlation"] == pytest.approx(1)


def test_a_gold_answer_is_a_string_and_a_blank_one_counts_as_none():
    assert RolloutGroup(("a", "b"), gold="  ").gold is None
    with pytest.raises(InputError, match="gold is 25, a int: pass a string, '25'"):
        RolloutGroup(("a", "b"), gold=25)


def test_the_judge_of_a_scorer_that_was_passed_in_grades_unless_there_is_a_grader(math_scorer):
    group = RolloutGroup((box("0.5"), box("1/2")), gold="1/2")
    with EmpoProvider(scorer=math_scorer, reward="golden") as chosen:
        assert chosen.step([group]).rewards.tolist() == [1, 1]
    with EmpoProvider(scorer=math_scorer, reward="golden", grader="exact") as chosen:
        assert chosen.step([group]).rewards.tolist() == [0, 1]


@pytest.mark.parametrize(
    "options",
    [
        {"reward": "semi_supervised"},
        {"reward": "composite", "reward_options": {"weights": {"empo": 1.0, "format": 0.1}}},
    ],
)
def test_a_window_that_keeps_no_group_is_refused_for_signals_with_windowed_parts(options):
    with pytest.raises(InputError, match="keeps no group at G=4"):
        step([["a"] * 4], delta_low=3.0, **options)


def test_with_invalid_drop_normalised_bounds_count_valid_answers_alone():
    group = [box(1), box(2), "none", "none"]  # of two valid answers, none agree: H = ln 2, all there can be
    high = {"delta_high": 0.9, "delta_units": "normalized"}
    assert step([group], invalid="drop", **high).drop_reasons == (DROPPED_HIGH,)
    assert step([[box(1), box(2), box(1), box(2)]], invalid="drop", **high).drop_reasons == (None,)


def test_options_reach_the_judge_and_the_grader_and_both_are_closed(monkeypatch):
    """`regex` compares what a pattern finds: it has no default pattern, so it needs its option."""
    closed = []
    monkeypatch.setattr(Equivalence, "close", lambda judge: closed.append(judge.describe()))
    first, last = r"^(\d+)", r"(\d+)$"
    group = RolloutGroup(["12 or 3", "12 or 4"], gold="5 or 4")
    options = {"extract": "whole", "reward": "golden"}
    with EmpoProvider(
        "regex", equivalence_options={"pattern": first}, grader="regex", grader_options={"pattern": last}, **options
    ) as chosen:
        decision = chosen.step([group])
        assert len(decision.results[0].clusters) == 1
        assert decision.rewards.tolist() == [0.0, 1.0]
    assert closed == [f"regex(pattern={first!r})", f"regex(pattern={last!r})"]
    with EmpoProvider("regex", equivalence_options={"pattern": last}, **options) as chosen:
        assert chosen.step([group]).rewards.tolist() == [
            0.0,
            1.0,
        ]  # without a grader, the judge grades with its options


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"equivalence": str.__eq__, "equivalence_options": {"a": 1}}, "needs equivalence as the name of a judge"),
        ({"grader": str.__eq__, "grader_options": {"a": 1}}, "needs grader as the name of a judge"),
        ({"grader_options": {"a": 1}}, "needs grader as the name of a judge, and grader is None"),
        ({"equivalence": "ngram", "equivalence_options": {"size": 1}}, "ngram"),
    ],
)
def test_options_without_the_name_of_a_judge_or_unknown_to_it_are_refused(arguments, message):
    with pytest.raises(SemanticEntropyError, match=message):
        EmpoProvider(**arguments)


def test_options_of_a_judge_inside_a_given_scorer_are_refused(math_scorer):
    with pytest.raises(InputError, match="equivalence_options has no effect"):
        EmpoProvider(scorer=math_scorer, equivalence_options={"timeout": 1.0})
