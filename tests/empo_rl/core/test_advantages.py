import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl.core.advantages import EPSILON, check_scale, group_advantages
from semantic_entropy import InputError


def test_the_group_is_centred_and_divided_by_its_sample_deviation():
    rewards = np.array([[0.75, 0.75, 0.75, 0.25]])
    std = np.std([0.75, 0.75, 0.75, 0.25], ddof=1)
    assert std == pytest.approx(0.25)
    expected = [[0.125 / (std + 1e-4)] * 3 + [-0.375 / (std + 1e-4)]]
    np.testing.assert_allclose(group_advantages(rewards), expected)


def test_equal_rewards_give_advantage_zero():
    assert not group_advantages(np.full((2, 4), 0.25)).any()


def test_a_nan_reward_is_left_out_of_mean_and_deviation():
    with_gap = group_advantages(np.array([[1.0, np.nan, 0.0, 0.5]]))
    without = group_advantages(np.array([[1.0, 0.0, 0.5]]))
    assert with_gap[0, 1] == 0
    np.testing.assert_allclose(with_gap[0, [0, 2, 3]], without[0])


def test_a_group_of_nan_rewards_has_advantage_zero():
    assert not group_advantages(np.full((1, 3), np.nan)).any()


def test_scale_none_only_centres():
    np.testing.assert_allclose(group_advantages(np.array([[1.0, 0.0]]), "none"), [[0.5, -0.5]])


def test_scale_batch_divides_by_the_deviation_of_all_rewards():
    rewards = np.array([[1.0, 0.0], [0.5, 0.5]])
    expected = np.array([[0.5, -0.5], [0, 0]]) / (np.std(rewards, ddof=1) + EPSILON)
    np.testing.assert_allclose(group_advantages(rewards, "batch"), expected)


def test_scale_fixed_takes_the_rewards_as_they_are():
    assert group_advantages(np.array([[1.0, 1.0, np.nan, -0.5]]), "fixed").tolist() == [[1, 1, 0, -0.5]]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=16))
def test_advantages_of_a_group_sum_to_zero(rewards):
    assert group_advantages(np.array([rewards])).sum() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_trl_computes_the_same_numbers(scale, model, tokenizer, tmp_path):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    rewards = np.array([[1.0, 0.0, 0.25, 0.5], [0.5, 0.5, 0.5, 0.5], [0.125, 0.125, 0.125, 0.875]])
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=lambda **_: rewards.ravel().tolist(),
        args=GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=12,
            num_generations=4,
            max_completion_length=4,
            scale_rewards=scale,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
        ),
        train_dataset=Dataset.from_dict({"prompt": ["What is (1+2)*3+4?"] * 3}),
        processing_class=tokenizer,
    )
    model.train()
    batch = trainer._generate_and_score_completions([{"prompt": "What is (1+2)*3+4?"}] * 12)
    np.testing.assert_allclose(batch["advantages"].numpy(), group_advantages(rewards, scale).ravel(), atol=1e-5)


def test_an_unknown_scale_lists_the_existing_scales():
    with pytest.raises(InputError, match="scale='std' does not exist. Choose one of: group, batch, none, fixed"):
        check_scale("std")
