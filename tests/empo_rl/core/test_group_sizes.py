"""Groups of different sizes in one batch: each group is decided as if it were alone."""

import math

import numpy as np
import pytest

from empo_rl import EmpoProvider, Monitor, RolloutGroup
from empo_rl.core.groups import pad_rows
from empo_rl.plugin import built_in_rewards
from semantic_entropy import InputError, PluginError

NEEDED = {
    "evol": {"reward_options": {"similarity": "ngram"}},
    "restrain": {"reward_options": {"base_votes": "none"}, "scale": "fixed"},
    "scrl": {"reward_options": {"negative_share": 0.3}},
    "majority": {"reward_options": {"others": -1}},
    "composite": {"reward_options": {"weights": {"empo": 1.0, "self_certainty": 0.1}}},
}
ANSWERS = ["aab", "aaabbcd.", "ab", "cccc", "..ab", "abcde.", "...", "aabbbbbb"]


def group(answers, seed):
    """A group with random measures and the gold answer a. A dot is a completion without an answer."""
    dice = np.random.default_rng(seed)
    ends = (rf"\boxed{{{answer}}}" if answer != "." else "none" for answer in answers)
    texts = tuple(f"text {dice.integers(3)} {end}" for end in ends)
    needed = ("token_entropy", "self_certainty", "tokens")
    measures = {name: tuple(dice.uniform(0.1, 3, len(answers)).tolist()) for name in needed}
    measures["truncated"] = tuple(dice.integers(0, 2, len(answers)).astype(float).tolist())
    return RolloutGroup(texts, f"question {seed}", "a", measures)


GROUPS = [group(answers, seed) for seed, answers in enumerate(ANSWERS)]


def provider(reward, **more):
    return EmpoProvider("exact", extract="boxed", **{"reward": reward, **NEEDED.get(reward, {}), **more})


def assert_each_group_is_decided_alone(make):
    with make() as together, make() as alone:
        decision = together.step(GROUPS)
        assert decision.group_sizes.tolist() == [len(answers) for answers in ANSWERS]
        assert len(decision.rewards) == len(decision.advantages) == len(decision.loss_mask) == sum(map(len, ANSWERS))
        for index, one in enumerate(GROUPS):
            single, rows = alone.step([one]), decision.rows(index)
            assert decision.rewards[rows].tolist() == pytest.approx(single.rewards.tolist(), nan_ok=True)
            assert decision.advantages[rows].tolist() == pytest.approx(single.advantages.tolist(), abs=1e-12)
            assert decision.loss_mask[rows].tolist() == single.loss_mask.tolist()
            assert (decision.keep[index], decision.drop_reasons[index]) == (single.keep[0], single.drop_reasons[0])
            assert decision.entropies[index] == pytest.approx(single.entropies[0], nan_ok=True)


@pytest.mark.parametrize("invalid", ["singleton_zero", "drop"])
@pytest.mark.parametrize("reward", [one.name for one in built_in_rewards() if one.name != "random"])
def test_each_reward_pays_a_group_as_if_it_were_alone(reward, invalid):
    assert_each_group_is_decided_alone(lambda: provider(reward, invalid=invalid))


CHOICES = {
    "guards": {"guards": {"ambiguous": None, "overlong": 0.0, "repetition": None, "copied": -1.0, "empty": None}},
    "a window in shares of ln G": {"delta_low": 0.7, "delta_units": "normalized"},
    "groups outside are paid 0": {"outside": "zero", "max_p_high": 0.6},
    "filters": {"filters": {"equal_rewards": {}}},
    "no division": {"scale": "none"},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_guards_bounds_and_filters_decide_about_a_group_as_if_it_were_alone(choice):
    assert_each_group_is_decided_alone(lambda: provider("empo", **CHOICES[choice]))


def test_the_scale_batch_divides_by_the_std_of_all_rows_of_the_loss():
    with provider("empo", scale="batch") as made:
        decision = made.step(GROUPS)
    kept = decision.loss_mask
    groups = [decision.rewards[decision.rows(index)] for index in range(len(GROUPS))]
    means = np.concatenate([np.full(len(paid), paid.mean()) for paid in groups])
    expected = np.where(kept, (decision.rewards - means) / (decision.rewards[kept].std(ddof=1) + 1e-4), 0.0)
    assert 0 < kept.sum() < len(kept)
    assert decision.advantages == pytest.approx(expected)


def test_the_coins_of_random_are_fair_and_their_state_continues():
    with provider("random") as first, provider("random") as second:
        paid = [first.step(GROUPS).rewards for _ in range(40)]
        second.load_state_dict(provider_state_after(20))
        assert [second.step(GROUPS).rewards.tolist() for _ in range(20)] == [row.tolist() for row in paid[20:]]
    assert set(np.concatenate(paid)) == {0.0, 1.0}
    assert abs(np.mean(paid) - 0.5) < 4 * 0.5 / math.sqrt(np.size(paid))


def provider_state_after(steps):
    with provider("random") as made:
        for _ in range(steps):
            made.step(GROUPS)
        return made.state_dict()


def test_the_numbers_of_the_log_count_completions_and_not_padding():
    with provider("empo", measure_gold=True, guards={"empty": 0.0}) as made:
        metrics = made.step(GROUPS).metrics
    answers = "".join(ANSWERS)
    assert metrics["invalid_fraction"] == pytest.approx(answers.count(".") / len(answers))
    assert metrics["guard_empty"] == pytest.approx(answers.count(".") / len(answers))
    assert metrics["accuracy"] == pytest.approx(answers.count("a") / len(answers))


def test_a_reward_of_the_user_returns_rows_of_the_sizes_of_the_groups():
    def shares(completions, answers):
        return [answers.count(answer) / len(answers) for answer in answers]

    assert_each_group_is_decided_alone(lambda: provider(shares))
    with provider(lambda answers: [1.0, 2.0]) as made, pytest.raises(InputError, match="2 numbers for 3 completions"):
        made.step(GROUPS[:2])


def test_rows_of_the_wrong_sizes_are_an_error_that_names_the_sizes():
    with provider("empo") as made:
        made._signal.rewards = lambda scored: [[1.0] * 3, [1.0] * 7]
        with pytest.raises(PluginError, match=r"for 2 groups of 3 to 8 completions: return .* shape \(2, 8\)"):
            made.step(GROUPS[:2])


def test_monitor_needs_groups_of_one_size_and_names_the_sizes():
    with provider("empo") as made:
        decision = made.step(GROUPS[:2])
    with pytest.raises(InputError, match="groups of this batch have 3 to 8 completions, so there is no single G"):
        Monitor().update(decision, step=1)


@pytest.mark.parametrize(("wrong", "message"), [(["a"], "G=1"), ([], "group 1 has no completions")])
def test_each_group_of_a_training_has_at_least_two_completions(wrong, message):
    with provider("empo") as made, pytest.raises(InputError, match=message):
        made.step([["a", "b"], wrong])


def test_rows_are_padded_with_nan():
    assert np.array_equal(pad_rows([[1, 2], [], [3]]), [[1, 2], [math.nan] * 2, [3, math.nan]], equal_nan=True)
    assert pad_rows([]).shape == (0, 0)
