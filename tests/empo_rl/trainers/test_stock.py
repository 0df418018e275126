"""The provider as a reward function of TRL's own trainers."""

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
def test_trls_own_trainers_train_on_it(trainer, configuration, model, tokenizer, tmp_path):
    args = configuration(output_dir=str(tmp_path), per_device_train_batch_size=2 * G, **SMALL)
    with EmpoProvider("exact", extract=coarse) as provider:
        decisions = []
        step = provider.step
        provider.step = lambda groups, **how: decisions.append(step(groups, **how)) or decisions[-1]
        made = trainer(
            model=model,
            reward_funcs=reward_function(provider, args),
            args=args,
            train_dataset=Dataset.from_list(ROWS),
            processing_class=tokenizer,
        )
        made.train()
    assert len(decisions) == 2
    first = next(row for row in made.state.log_history if "rewards/empo/mean" in row)
    paid = decisions[0].rewards * decisions[0].loss_mask
    assert first["rewards/empo/mean"] == pytest.approx(paid.mean())


def test_what_it_returns_is_out_of_the_loss_where_the_decision_says_so(tmp_path):
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
        ({"per_device_train_batch_size": 6}, "= 6 rows a process is no multiple of num_generations=4. Set per_device"),
        ({"num_generations_eval": 1}, "num_generations_eval=1 is not"),
        ({"eval_strategy": "steps", "per_device_eval_batch_size": 6}, "per_device_eval_batch_size=6 is no multiple of"),
        ({"beta": 0.05}, "beta=0.05: EMPO has no KL term"),
        ({"scale_rewards": "batch"}, "would count dropped groups as zeros"),
        ({"scale_rewards": "none"}, "scale_rewards='none' and EmpoProvider.scale='group' differ"),
    ],
)
def test_a_layout_that_it_cannot_serve_is_refused_with_the_numbers(options, message, tmp_path):
    args = GRPOConfig(output_dir=str(tmp_path), **{**SMALL, "per_device_train_batch_size": 8})
    for name, value in options.items():  # as on two processes, which TRL itself would accept
        setattr(args, name, value)
    with EmpoProvider("exact") as provider, pytest.raises(InputError, match=message):
        reward_function(provider, args)


def test_measures_that_a_reward_function_is_not_given_are_refused(tmp_path):
    args = GRPOConfig(output_dir=str(tmp_path), per_device_train_batch_size=G, **SMALL)
    with EmpoProvider("exact", reward="self_certainty") as provider, pytest.raises(InputError, match="EmpoGRPOTrainer"):
        reward_function(provider, args)
