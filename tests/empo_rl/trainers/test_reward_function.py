"""The provider as a reward function for TRL's own trainers."""

import pytest
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from empo_rl import EmpoProvider, reward_function
from semantic_entropy import InputError

G = 4
ROWS = [{"prompt": f"What is ({n}+2)*3+4?"} for n in range(1, 9)]
SMALL = {
    "num_generations": G,
    "max_completion_length": 6,
    "max_steps": 2,
    "beta": 0.0,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
}


def coarse(text):
    return str(len(text) % 3)


@pytest.mark.parametrize(("trainer", "configuration"), [(GRPOTrainer, GRPOConfig), (RLOOTrainer, RLOOConfig)])
def test_stock_trainers_train_with_the_reward_function(trainer, configuration, model, tokenizer, tmp_path):
    args = configuration(output_dir=str(tmp_path), per_device_train_batch_size=2 * G, **SMALL)
    with EmpoProvider("exact", extract=coarse) as provider:
        decisions = []
        step = provider.step
        provider.step = lambda groups, **how: decisions.append(step(groups, **how)) or decisions[-1]
        built = trainer(
            model=model,
            reward_funcs=reward_function(provider, args),
            args=args,
            train_dataset=Dataset.from_list(ROWS),
            processing_class=tokenizer,
        )
        built.train()
    assert len(decisions) == 2
    first = next(row for row in built.state.log_history if "rewards/empo/mean" in row)
    paid = decisions[0].rewards * decisions[0].loss_mask
    assert first["rewards/empo/mean"] == pytest.approx(paid.mean())


def test_dropped_groups_get_equal_rewards_and_dropped_rows_get_none(tmp_path):
    args = GRPOConfig(output_dir=str(tmp_path), per_device_train_batch_size=2 * G, **SMALL)
    same, mixed = [r"\boxed{1}"] * G, [r"\boxed{1}", r"\boxed{1}", r"\boxed{2}", "none"]
    logged = {}
    with EmpoProvider("exact", extract="boxed", invalid="drop") as provider:
        reward = reward_function(provider, args)
        paid = reward(["q"] * 8, same + mixed, log_metric=logged.__setitem__)
    assert paid == [0.0] * 4 + [pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(1 / 3), None]
    assert reward.__name__ == "empo"
    assert logged["empo/keep_fraction"] == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"per_device_train_batch_size": 6},
            "= 6 rows per process is not a multiple of num_generations=4. Set per_device",
        ),
        ({"num_generations_eval": 1}, "num_generations_eval=1 is not"),
        (
            {"eval_strategy": "steps", "per_device_eval_batch_size": 6},
            "per_device_eval_batch_size=6 is not a multiple of",
        ),
        ({"beta": 0.05}, "beta=0.05: EMPO has no KL term"),
        ({"scale_rewards": "batch"}, "would count dropped groups as zeros"),
        ({"scale_rewards": "none"}, "scale_rewards='none' and EmpoProvider.scale='group' differ"),
    ],
)
def test_an_unsuitable_configuration_is_refused_with_the_numbers(options, message, tmp_path):
    args = GRPOConfig(output_dir=str(tmp_path), **{**SMALL, "per_device_train_batch_size": 8})
    for name, value in options.items():  # set after construction: TRL accepts these on two processes
        setattr(args, name, value)
    with EmpoProvider("exact") as provider, pytest.raises(InputError, match=message):
        reward_function(provider, args)


@pytest.mark.parametrize("configuration", [GRPOConfig, RLOOConfig])
def test_fixed_advantages_are_refused_because_trl_subtracts_the_mean(configuration, tmp_path):
    args = configuration(output_dir=str(tmp_path), per_device_train_batch_size=G, **SMALL)
    with EmpoProvider("exact", scale="fixed") as provider, pytest.raises(InputError, match="Use EmpoGRPOTrainer"):
        reward_function(provider, args)


@pytest.mark.parametrize(
    ("configuration", "options", "message"),
    [
        (RLOOConfig, {"normalize_advantages": True}, "normalize_advantages=True: .* dropped groups counted as zeros"),
        (GRPOConfig, {"multi_objective_aggregation": "normalize_then_sum"}, "dropped groups counted as zeros. Remove"),
    ],
)
def test_a_normalisation_that_counts_dropped_groups_is_refused(configuration, options, message, tmp_path):
    args = configuration(output_dir=str(tmp_path), per_device_train_batch_size=2 * G, **SMALL, **options)
    with EmpoProvider("exact") as provider, pytest.raises(InputError, match=message):
        reward_function(provider, args)


def test_a_signal_that_needs_token_measures_is_refused(tmp_path):
    args = GRPOConfig(output_dir=str(tmp_path), per_device_train_batch_size=G, **SMALL)
    with EmpoProvider("exact", reward="self_certainty") as provider, pytest.raises(InputError, match="EmpoGRPOTrainer"):
        reward_function(provider, args)
