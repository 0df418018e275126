"""EmpoGRPOTrainer compared with TRL: real trainers, real rollouts of a tiny model, real gradients."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from empo_rl import EmpoGRPOTrainer, EmpoProvider
from empo_rl.trainers.trl.grpo_trainer import AVERAGE_OVER_ROWS
from semantic_entropy import InputError, SemanticEntropyError

G, PROMPTS = 4, 6
ROWS = [{"prompt": f"What is ({n}+2)*3+4?", "gold": str((n + 2) * 3 + 4)} for n in range(1, 10)]


def coarse(text):
    """Three answers, so that an untrained model repeats some. H is at most 1.04 nats at G=4."""
    return str(len(text) % 3)


def config(directory, **options):
    return GRPOConfig(
        **{
            "output_dir": str(directory),
            "per_device_train_batch_size": G * PROMPTS,
            "num_generations": G,
            "max_completion_length": 8,
            "loss_type": "grpo",
            "learning_rate": 1.0,
            "max_grad_norm": 0.0,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            **options,
        }
    )


def make_provider(**options):
    return EmpoProvider("exact", **{"extract": coarse, "delta_low": 0.6, "delta_high": 1.05, **options})


@pytest.fixture
def provider():
    with make_provider() as made:
        yield made


def trainer_of(model, tokenizer, directory, provider, optimizer=None, **options):
    schedule = optimizer and torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    return EmpoGRPOTrainer(
        model=model,
        provider=provider,
        args=config(directory, **options),
        train_dataset=Dataset.from_list(ROWS),
        processing_class=tokenizer,
        optimizers=(optimizer, schedule),
    )


def rollout(trainer):
    """A generation batch of the trainer, and the decision about it."""
    decisions = []
    step = trainer.provider.step
    trainer.provider.step = lambda groups, **how: decisions.append(step(groups, **how)) or decisions[-1]
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    batch = trainer._generate_and_score_completions([row for row in ROWS[:PROMPTS] for _ in range(G)])
    if trainer.loss_type in AVERAGE_OVER_ROWS:
        trainer._average_over_kept_rows([batch])
    return batch, decisions[0]


def loss_and_gradients(trainer, batch):
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in trainer.model.named_parameters()}


def kept_rows_alone(batch, decision, part=slice(None)):
    """The batch without its dropped rows, as plain TRL has it; `part` is the batch's slice of the decision."""
    rows = torch.as_tensor(decision.loss_mask)[part]
    names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
    alone = {name: batch[name][rows] for name in names}
    advantages = torch.as_tensor(decision.advantages, dtype=torch.float32)[part][rows]
    return {**alone, "advantages": advantages, "num_items_in_batch": alone["completion_mask"].sum()}


def plain_trainer(model, tokenizer, directory, loss_type, **options):
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=lambda **_: [],
        args=config(directory, loss_type=loss_type, **options),
        train_dataset=Dataset.from_list(ROWS),
        processing_class=tokenizer,
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def assert_same_gradients(left, right):
    assert any(gradient.abs().max() > 1e-4 for gradient in left.values())
    for name, gradient in left.items():
        torch.testing.assert_close(gradient, right[name], rtol=1e-3, atol=2e-6, msg=name)


@pytest.mark.parametrize("invalid", ["singleton_zero", "drop"])
@pytest.mark.parametrize("loss_type", ["dapo", "bnpo", "grpo", "dr_grpo"])
def test_loss_and_gradients_are_those_of_the_kept_rows_alone(loss_type, invalid, model, tokenizer, tmp_path):
    def extract(text):
        return None if len(text) % 7 == 0 and invalid == "drop" else coarse(text)

    with make_provider(invalid=invalid, extract=extract) as provider:
        trainer = trainer_of(model, tokenizer, tmp_path, provider, loss_type=loss_type)
        batch, decision = rollout(trainer)
    assert 0 < decision.keep.sum() < PROMPTS
    assert decision.advantages.any()
    loss, gradients = loss_and_gradients(trainer, batch)
    alone = kept_rows_alone(batch, decision)
    plain = plain_trainer(model, tokenizer, tmp_path, loss_type)
    expected, expected_gradients = loss_and_gradients(plain, alone)
    assert loss == pytest.approx(expected, abs=1e-6)
    assert_same_gradients(gradients, expected_gradients)


def test_zero_advantages_without_the_mask_would_dilute_the_gradient(provider, model, tokenizer, tmp_path):
    trainer = trainer_of(model, tokenizer, tmp_path, provider, loss_type="dapo")
    batch, _ = rollout(trainer)
    naive = {**batch, "tool_mask": torch.ones_like(batch["tool_mask"])}
    naive["num_items_in_batch"] = batch["completion_mask"].sum()
    _, gradients = loss_and_gradients(trainer, batch)
    _, diluted = loss_and_gradients(trainer, naive)
    name = "model.embed_tokens.weight"
    kept = batch["num_items_in_batch"] / batch["completion_mask"].sum()
    torch.testing.assert_close(diluted[name], gradients[name] * kept, rtol=1e-3, atol=2e-6)


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo"])
def test_accumulation_over_micro_batches_changes_nothing(loss_type, provider, model, tokenizer, tmp_path):
    """One SGD step with lr 1 moves the weights by minus the gradient."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    trainer = trainer_of(
        model,
        tokenizer,
        tmp_path,
        provider,
        optimizer,
        loss_type=loss_type,
        per_device_train_batch_size=G * PROMPTS // 3,
        gradient_accumulation_steps=3,
        max_steps=1,
    )
    made = []
    make = trainer._generate_and_score_completions
    step = provider.step
    provider.step = lambda groups, **how: made.append(step(groups, **how)) or made[-1]
    trainer._generate_and_score_completions = lambda inputs: made.append(make(inputs)) or made[-1]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer.train()
    moved = {name: before[name] - p.detach() for name, p in model.named_parameters()}
    decision, batch = made
    assert 0 < decision.keep.sum() < PROMPTS
    model.load_state_dict(before, strict=False)
    plain = plain_trainer(model, tokenizer, tmp_path, loss_type)
    _, expected = loss_and_gradients(plain, kept_rows_alone(batch, decision))
    assert_same_gradients(expected, moved)


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "sapo", "luspo"])
def test_each_of_several_steps_on_one_generation_averages_over_its_own_kept_rows(
    loss_type, model, tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setattr("trl.trainer.grpo_trainer.shuffle_sequence_dict", lambda batch: batch)  # rows stay in order
    size = G * PROMPTS // 3
    layout = {"per_device_train_batch_size": size, "steps_per_generation": 3, "gradient_accumulation_steps": 1}
    ratio = "sequence" if loss_type == "luspo" else "token"
    options = {**layout, "loss_type": loss_type, "importance_sampling_level": ratio}
    provider = make_provider(delta_low=0.8, delta_high=9.0)  # two of four answers are the same, so rewards differ
    trainer = trainer_of(model, tokenizer, tmp_path, provider, **options)
    decisions = []
    decide = provider.step
    provider.step = lambda groups, **how: decisions.append(decide(groups, **how)) or decisions[-1]
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    plain = plain_trainer(model, tokenizer, tmp_path, loss_type, importance_sampling_level=ratio)
    kept_counts, compared = [], []
    for number in range(3):
        trainer._step = number
        batch = trainer._prepare_inputs([row for row in ROWS[:PROMPTS] for _ in range(G)])
        alone = kept_rows_alone(batch, decisions[0], slice(number * size, (number + 1) * size))
        kept_counts.append(len(alone["advantages"]))
        _, gradients = loss_and_gradients(trainer, {**batch, "old_per_token_logps": None})
        if alone["advantages"].any():  # two pairs of equal answers have no advantage
            assert_same_gradients(gradients, loss_and_gradients(plain, alone)[1])
            compared.append(kept_counts[-1])
    provider.close()
    assert len(decisions) == 1
    assert any(
        3 * kept != sum(kept_counts) for kept in compared
    )  # the kept share of a step differs from that of the generation


def test_a_step_that_would_mix_two_generations_is_refused(provider, model, tokenizer, tmp_path):
    layout = {"steps_per_generation": 2, "gradient_accumulation_steps": 4}
    with pytest.raises(InputError, match="steps_per_generation=2 is not a multiple of gradient_accumulation_steps=4"):
        trainer_of(model, tokenizer, tmp_path, provider, **layout)


def test_on_policy_the_ratio_is_one_and_the_clip_inactive(provider, model, tokenizer, tmp_path):
    trainer = trainer_of(model, tokenizer, tmp_path, provider)
    batch, _ = rollout(trainer)
    assert "old_per_token_logps" not in batch
    gradients = []
    for epsilon in (0.2, 1e-9):
        trainer.epsilon_low = trainer.epsilon_high = epsilon
        gradients.append(loss_and_gradients(trainer, batch)[1])
    assert_same_gradients(*gradients)
    clipped = {name: v for name, v in trainer._metrics["train"].items() if name.startswith("clip_ratio/")}
    assert clipped
    assert all(value == 0 for values in clipped.values() for value in values)


def test_a_step_without_a_kept_group_is_skipped_and_counted(model, tokenizer, tmp_path):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    with make_provider(delta_low=1.2, delta_high=11.0) as provider:
        trainer = trainer_of(model, tokenizer, tmp_path, provider, optimizer, max_steps=2)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        trainer.train()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), name
    assert trainer.skipped_steps == 2
    logged = [row["empo/step_skipped"] for row in trainer.state.log_history if "loss" in row]
    assert logged == [1, 1]
    assert trainer.state.global_step == 2


def test_momentum_does_not_move_the_weights_in_a_skipped_step(model, tokenizer, tmp_path):
    """The first step keeps groups, the second keeps none: the weights after both are those after the first."""
    windows = iter([(0.0, 9.0), (1.2, 11.0)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.5)
    with make_provider() as provider:
        trainer = trainer_of(model, tokenizer, tmp_path, provider, optimizer, max_steps=2)
        step, weights = provider.step, []

        def next_window(groups, **how):
            weights.append(model.lm_head.weight.detach().clone())
            provider.window = type(provider.window)(*next(windows))
            return step(groups, **how)

        provider.step = next_window
        trainer.train()
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], model.lm_head.weight)
    assert trainer.skipped_steps == 1


def test_the_log_carries_the_providers_metrics(provider, model, tokenizer, tmp_path):
    trainer = trainer_of(model, tokenizer, tmp_path, provider, max_steps=1, learning_rate=1e-4)
    trainer.train()
    (row, _) = trainer.state.log_history
    for name in ("entropy", "keep_fraction", "reward", "invalid_fraction", "clusters", "judging_seconds"):
        assert f"empo/{name}" in row
    assert row["rewards/empo/mean"] == pytest.approx(row["empo/reward"])


@pytest.mark.parametrize("invalid", ["singleton_zero", "drop"])
def test_the_table_of_completions_shows_the_advantages_that_are_trained_on(invalid, model, tokenizer, tmp_path):
    def extract(text):
        return None if len(text) % 7 == 0 else coarse(text)

    with make_provider(invalid=invalid, extract=extract) as provider:
        decisions = []
        step = provider.step
        provider.step = lambda groups, **how: decisions.append(step(groups, **how)) or decisions[-1]
        trainer_of(model, tokenizer, tmp_path, provider, max_steps=1, log_completions=True).train()
    (decision,) = decisions
    assert decision.advantages.any()
    assert not decision.keep.all()
    (table,) = (tmp_path / "completions").iterdir()
    table = pd.read_parquet(table)
    assert table["advantage"].to_numpy() == pytest.approx(decision.advantages, abs=1e-6)
    assert table["empo"].to_numpy() == pytest.approx(np.nan_to_num(decision.rewards))


def test_evaluation_may_sample_a_single_completion(provider, model, tokenizer, tmp_path):
    trainer = EmpoGRPOTrainer(
        model=model,
        provider=provider,
        args=config(tmp_path, num_generations_eval=1, per_device_eval_batch_size=2),
        train_dataset=Dataset.from_list(ROWS),
        eval_dataset=Dataset.from_list(ROWS[:2]),
        processing_class=tokenizer,
    )
    trainer.evaluate()
    assert trainer.state.log_history[-1]["eval_empo/clusters"] == 1


def test_golden_reads_the_gold_column(model, tokenizer, tmp_path):
    with EmpoProvider("exact", extract=coarse, reward="golden") as provider:
        trainer = trainer_of(model, tokenizer, tmp_path, provider)
        golds = []
        step = provider.step
        provider.step = lambda groups, **how: golds.extend(g.gold for g in groups) or step(groups, **how)
        rollout(trainer)
    assert golds[:2] == [ROWS[0]["gold"], ROWS[1]["gold"]]


@pytest.mark.parametrize("reward", ["self_certainty", "token_entropy"])
def test_the_trainer_measures_token_distributions_for_a_signal_that_needs_them(reward, model, tokenizer, tmp_path):
    with EmpoProvider("exact", extract=coarse, reward=reward) as chosen:
        trainer = trainer_of(model, tokenizer, tmp_path, chosen, temperature=0.8)
        batch, decision = rollout(trainer)
    _, entropies, _ = trainer._get_per_token_logps_and_entropies(
        model,
        torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
        torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
        batch["completion_ids"].shape[1],
        compute_entropy=True,
    )
    mask = batch["completion_mask"]
    entropy = (entropies * mask).sum(1) / mask.sum(1)  # TRL's own
    if reward == "token_entropy":
        assert decision.rewards == pytest.approx(-entropy.detach().numpy(), abs=1e-4)
    assert len(set(decision.rewards.tolist())) > PROMPTS
    assert decision.keep.all()


def test_the_trainer_tells_the_overlong_guard_what_the_token_limit_cut_off(model, tokenizer, tmp_path):
    with EmpoProvider("exact", extract=coarse, guards={"overlong": -1.0}) as chosen:
        batch, decision = rollout(trainer_of(model, tokenizer, tmp_path, chosen))
    ended = (batch["completion_ids"] == tokenizer.eos_token_id).any(dim=1)
    assert ended.any()
    assert not ended.all()
    assert ((decision.rewards == -1.0) == ~ended.numpy()).all()


def test_semi_supervised_rows_without_a_gold_answer_are_rewarded_by_agreement(model, tokenizer, tmp_path):
    with EmpoProvider("exact", extract=coarse, reward="semi_supervised") as chosen:
        trainer = trainer_of(model, tokenizer, tmp_path, chosen)
        decisions = []
        step = chosen.step
        chosen.step = lambda groups, **how: decisions.append(step(groups, **how)) or decisions[-1]
        trainer.model.train()
        rows = [{**ROWS[0], "gold": "1"}] * G + [{**ROWS[1], "gold": None}] * G
        trainer._generate_and_score_completions(rows)
    (decision,) = decisions
    assert decision.metrics["labelled_fraction"] == 0.5
    assert set(decision.rewards[:G]) <= {0.0, 1.0}


def test_evaluation_filters_nothing(provider, model, tokenizer, tmp_path):
    trainer = EmpoGRPOTrainer(
        model=model,
        provider=provider,
        args=config(tmp_path, per_device_eval_batch_size=G),
        train_dataset=Dataset.from_list(ROWS),
        eval_dataset=Dataset.from_list(ROWS[:2]),
        processing_class=tokenizer,
    )
    metrics = trainer.evaluate()
    assert math.isfinite(metrics["eval_loss"])
    assert trainer.state.log_history[-1]["eval_empo/entropy"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.04}, "beta=0.04: EMPO has no KL term"),
        ({"scale_rewards": "none"}, "scale_rewards='none' and EmpoProvider.scale='group' differ"),
        ({"reward_weights": [2.0]}, r"reward_weights=\[2.0\]: .* pass EmpoProvider\(reward='composite'"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, "Remove multi_objective_aggregation"),
    ],
)
def test_a_configuration_that_is_not_empo_is_refused(options, message, provider, model, tokenizer, tmp_path):
    with pytest.raises(InputError, match=message):
        trainer_of(model, tokenizer, tmp_path, provider, **options)


def test_a_window_that_keeps_nothing_is_refused_before_any_rollout(model, tokenizer, tmp_path):
    with (
        make_provider(delta_low=2.0, delta_high=3.0) as provider,
        pytest.raises(InputError, match="keeps no group at G=4"),
    ):
        trainer_of(model, tokenizer, tmp_path, provider)


@pytest.mark.timeout(240)
def test_two_processes_step_as_one(tmp_path):
    """Real processes over gloo; loss_in_two_processes.py has the checks."""
    script = Path(__file__).with_name("loss_in_two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    done = subprocess.run([*command, str(script), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("equal to the kept rows alone") == 2


def test_a_trl_that_does_not_ask_for_the_rewards_is_an_error(model, tokenizer, tmp_path, provider, monkeypatch):
    trainer = trainer_of(model, tokenizer, tmp_path, provider)
    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", lambda *_: {})
    with pytest.raises(SemanticEntropyError, match=r"without calling _calculate_rewards\. Install trl 1\.16"):
        trainer._generate_and_score_completions([])
