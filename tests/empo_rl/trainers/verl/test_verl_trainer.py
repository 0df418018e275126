"""The trainer mode `empo` in the real verl: registration, the advantage path, masks, the loss, and refill.

`python3 noxfile.py verl` runs these tests in an environment with verl. They need no GPU.
"""

import json
import os
import subprocess
import sys
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from empo_rl import EmpoProvider, RolloutGroup
from semantic_entropy import InputError
from tests.empo_rl.trainers.verl.verl_queue import (
    PROVIDER,
    answers,
    make_trainer,
    put_group,
    queue,
    verl_config,
)

if find_spec("verl") is None:
    pytest.skip("verl is not installed: python3 noxfile.py verl", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import empo_rl.trainers.verl

pytestmark = pytest.mark.filterwarnings("ignore")

SPLIT = answers("1", "1", "2", "3")
AGREED = answers("5", "5", "5", "5")
HALVES = answers("7", "8", "7", "8")
UNREADABLE = answers("4", "4", "", "4")


@pytest.fixture(scope="module")
def tq():
    with queue() as found:
        yield found


@pytest.fixture(autouse=True)
def empty_queue(request):
    yield
    if "tq" in request.fixturenames:
        found = request.getfixturevalue("tq")
        for partition, items in (found.kv_list() or {}).items():
            if items:
                found.kv_clear(keys=list(items), partition_id=partition)


def sampled(trainer, size):
    """The batch that verl's sampling returns."""
    batch, metrics = trainer.replay_buffer.sample(global_steps=1, partition_id="train", batch_size=size)
    return batch, dict(metrics)


def step(trainer, groups):
    """Put the groups into the queue, and run the steps of `_step_once` from the sampling to the advantages."""
    uids = [put_group(group) for group in groups]
    batch, metrics = sampled(trainer, len(groups))
    batch = trainer._balance_batch(batch, metrics)
    return uids, trainer._compute_advantage(batch, metrics), metrics


@pytest.mark.parametrize(
    ("extra", "asked"),
    [
        ({"question": "From the data?"}, "From the data?"),
        ({"question": " "}, "q"),
        ({"question": None}, "q"),
        ({}, "q"),
    ],
)
def test_the_judge_receives_the_question_of_the_data_or_else_the_prompt(tq, extra, asked):
    uid = put_group(SPLIT, question="q", extra=extra)
    (found,) = make_trainer()._read([f"{uid}_{place}_0" for place in range(4)])
    assert found.group.question == asked


def test_a_group_that_failed_agent_loops_made_too_small_for_the_window_is_dropped(tq):
    """Two completions have at most ln 2 nats."""
    trainer = make_trainer("data.train_batch_size=2", provider={**PROVIDER, "delta_low": 0.8})
    uids, batch, _ = step(trainer, [SPLIT, answers("1", "2")])
    assert len(rows(tq, batch, uids[0], "rm_scores")) == 4
    assert not [key for key in batch.keys if key.startswith(uids[1])]


def rows(tq, batch, uid, field):
    keys = sorted((key for key in batch.keys if key.startswith(uid)), key=lambda key: int(key.split("_")[1]))
    if not keys:
        return []
    return list(tq.kv_batch_get(keys=keys, partition_id="train", select_fields=[field])[field].unbind())


def test_verl_loads_the_module_and_registers_the_mode_in_a_fresh_process():
    code = (
        "import verl; from verl.trainer.ppo.v1 import get_trainer_cls as get; "
        "print(get('empo').__module__, get('sync').__name__)"
    )
    env = {**os.environ, "VERL_USE_EXTERNAL_MODULES": "empo_rl.trainers.verl"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["empo_rl.trainers.verl.verl_trainer", "PPOTrainerSync"]


def test_importing_the_package_first_registers_the_mode_too():
    assert empo_rl.trainers.verl.EmpoPPOTrainer.__name__ == "EmpoPPOTrainer"
    code = "import empo_rl.trainers.verl; from verl.trainer.ppo.v1 import get_trainer_cls; get_trainer_cls('empo')"
    env = {**os.environ, "VERL_USE_EXTERNAL_MODULES": "empo_rl.trainers.verl"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, check=True, capture_output=True)


def test_rewards_masks_and_advantages_are_those_of_the_provider(tq):
    trainer = make_trainer()
    groups = [SPLIT, AGREED, HALVES, UNREADABLE]
    uids, batch, _metrics = step(trainer, groups)
    with EmpoProvider(**PROVIDER) as provider:
        expected = provider.step([RolloutGroup(tuple(group), "What is it?") for group in groups])
    for at, uid in enumerate(uids):
        given = rows(tq, batch, uid, "advantages")
        if not expected.keep[at]:
            assert given == []  # the group has left the batch
            assert not any(key.startswith(uid) for key in tq.kv_list()["train"])
            continue
        wanted = expected.advantages[expected.rows(at)]
        for advantage, value in zip(given, wanted, strict=True):
            assert advantage.numpy() == pytest.approx(np.full(len(advantage), value), abs=1e-6)
        scores = [float(row[-1]) for row in rows(tq, batch, uid, "rm_scores")]
        assert scores == pytest.approx(expected.rewards[expected.rows(at)].tolist(), abs=1e-6)
        assert all(mask.all() for mask in rows(tq, batch, uid, "response_mask"))


def test_the_metrics_have_the_names_and_values_of_the_other_trainers(tq):
    _, _, metrics = step(make_trainer(), [SPLIT, AGREED, HALVES, UNREADABLE])
    with EmpoProvider(**PROVIDER) as provider:
        expected = provider.step([SPLIT, AGREED, HALVES, UNREADABLE]).metrics
    for name, value in expected.items():
        if name != "judging_seconds":
            assert metrics[f"empo/{name}"] == pytest.approx(value), name


def test_padding_and_dropped_rows_change_no_loss_that_averages_over_rows(tq):
    """Three kept groups, four rows of padding, and one masked row: each mini-batch is the mean over its kept rows."""
    from verl.trainer.ppo.core_algos import agg_loss

    trainer = make_trainer(
        "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean", provider={**PROVIDER, "guards": {"empty": None}}
    )
    uids, batch, _ = step(trainer, [SPLIT, AGREED, HALVES, UNREADABLE])
    assert len(batch.keys) == 16  # 8 rows of SPLIT and HALVES, 4 of UNREADABLE, 4 of padding
    fields = ["advantages", "response_mask", "loss_mask"]
    data = tq.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=fields).to_padded_tensor()
    assert torch.equal(data["response_mask"], data["loss_mask"])
    with EmpoProvider(**PROVIDER, guards={"empty": None}) as provider:
        decision = provider.step([SPLIT, AGREED, HALVES, UNREADABLE])
    by_key = {
        f"{uid}_{session}_0": decision.advantages[decision.rows(at)][session]
        for at, uid in enumerate(uids)
        for session in range(4)
        if decision.loss_mask[decision.rows(at)][session]
    }
    assert len(by_key) == 11
    for start in (0, 8):  # two mini-batches of 2 x 4 rows
        part = slice(start, start + 8)
        loss = agg_loss(
            loss_mat=-data["advantages"][part],
            loss_mask=data["response_mask"][part],
            loss_agg_mode="seq-mean-token-mean",
            global_batch_size=8,
        )
        kept = [by_key[key] for key in batch.keys[part] if key in by_key]
        assert float(loss) == pytest.approx(-np.mean(kept), abs=1e-6)


def test_the_order_of_the_rows_on_two_gpus_is_the_order_of_the_mini_batches(tq):
    trainer = make_trainer("actor_rollout_ref.actor.policy_loss.loss_mode=gspo", ranks=2)
    kept = np.array([True] * 4 + [False] * 4 + [True] * 8)  # GPU 0 has rows 0 to 7, GPU 1 has rows 8 to 15
    weights = trainer._row_weights(kept)
    assert weights[:4].tolist() == weights[8:12].tolist() == [1.0] * 4  # first mini-batch: all of its 8 rows
    assert weights[4:8].tolist() == weights[12:].tolist() == [2.0] * 4  # second mini-batch: 4 of its 8 rows


def test_a_step_without_a_kept_group_updates_nothing_and_is_counted(tq):
    trainer = make_trainer()
    _, batch, metrics = step(trainer, [AGREED, AGREED])
    assert len(batch.keys) == 8
    trainer._update_actor(batch, metrics)
    assert metrics["empo/step_skipped"] == 1.0
    assert trainer.skipped_steps == 1
    assert trainer.actor_rollout_wg.updates == 0
    advantages = tq.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=["advantages"])["advantages"]
    assert not any(row.any() for row in advantages.unbind())


def test_dropped_groups_are_replaced_until_the_batch_is_full(tq):
    trainer = make_trainer("algorithm.filter_groups.enable=True")
    asked, waiting = [], [AGREED, HALVES, SPLIT, HALVES, SPLIT, AGREED]

    def refill(count):
        asked.append(count)
        for _ in range(min(count, len(waiting))):
            put_group(waiting.pop(0))
        return count

    trainer.replay_buffer.refill_fn = refill
    trainer.replay_buffer.poll_interval = 0.01
    uids = [put_group(group) for group in (SPLIT, AGREED, AGREED, HALVES)]
    batch, metrics = sampled(trainer, 4)
    assert asked
    assert metrics["training/filter_groups/evicted_samples"] >= 2
    groups = {key.split("_")[0] for key in batch.keys}
    assert len(groups) == 4
    assert not groups & {uids[1], uids[2]}
    batch = trainer._balance_batch(batch, metrics)
    assert len(batch.keys) == 16  # full: no padding
    judged = metrics["empo/groups_judged"]
    assert judged == 4 + metrics["training/filter_groups/evicted_samples"]
    assert metrics["empo/keep_fraction"] == pytest.approx(4 / judged)  # over all groups, before filtering


def test_refill_evicts_a_prompt_whose_agent_loops_left_one_completion(tq):
    trainer = make_trainer("algorithm.filter_groups.enable=True")
    trainer.replay_buffer.refill_fn = lambda count: [put_group(SPLIT) for _ in range(count)]
    trainer.replay_buffer.poll_interval = 0.01
    alone = put_group(SPLIT[:1])
    put_group(HALVES)
    batch, _ = sampled(trainer, 2)
    assert not any(key.startswith(alone) for key in batch.keys)


def test_groups_of_different_sizes_are_normalised_each_for_itself(tq):
    trainer = make_trainer("actor_rollout_ref.actor.ppo_mini_batch_size=1")
    uids, batch, _ = step(trainer, [SPLIT, HALVES[:3]])
    with EmpoProvider(**PROVIDER) as provider:
        expected = provider.step([SPLIT, HALVES[:3]])
    for at, uid in enumerate(uids):
        given = [float(row[0]) for row in rows(tq, batch, uid, "advantages")]
        assert given == pytest.approx(expected.advantages[expected.rows(at)].tolist(), abs=1e-6)


def test_the_random_state_of_the_provider_is_in_the_checkpoint(tq, tmp_path, monkeypatch):
    from verl.trainer.ppo.v1 import PPOTrainerSync

    def save(trainer):
        (tmp_path / "global_step_1").mkdir(exist_ok=True)

    def load(trainer):
        trainer.global_steps = 1

    monkeypatch.setattr(PPOTrainerSync, "_save_checkpoint", save)
    monkeypatch.setattr(PPOTrainerSync, "_load_checkpoint", load)
    options = {"provider": {**PROVIDER, "reward": "random"}}
    first = make_trainer(f"trainer.default_local_dir={tmp_path}", **options)
    first.provider.step([SPLIT])
    first._save_checkpoint()
    second = make_trainer(f"trainer.default_local_dir={tmp_path}", **options)
    second._load_checkpoint()
    assert second.provider.step([HALVES]).rewards.tolist() == first.provider.step([HALVES]).rewards.tolist()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algorithm.adv_estimator=gae"], "algorithm.adv_estimator=gae: set grpo"),
        (["algorithm.use_kl_in_reward=True"], "EMPO has no KL term"),
        (["actor_rollout_ref.actor.use_kl_loss=True"], "EMPO has no KL term"),
        (["actor_rollout_ref.actor.shuffle=True"], "mini-batches must be known"),
    ],
)
def test_settings_with_another_loss_are_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        make_trainer(*overrides)


def test_a_reward_that_needs_token_measures_is_refused():
    with pytest.raises(InputError, match="self_certainty"):
        make_trainer(provider={**PROVIDER, "reward": "self_certainty"})


def test_a_configuration_without_the_provider_is_refused():
    config = verl_config()
    config.empo.provider = "math"
    with pytest.raises(InputError, match="empo.provider is 'math'"):
        empo_rl.trainers.verl.verl_trainer.provider_options(config)
    assert json.loads(verl_config().empo.provider) == PROVIDER


def test_an_agent_loop_with_several_outputs_is_refused():
    from empo_rl.trainers.verl.queue_groups import keys_by_prompt

    assert keys_by_prompt(["b_1_0", "a_0_0", "b_0_0"]) == {"b": ["b_0_0", "b_1_0"], "a": ["a_0_0"]}
    with pytest.raises(InputError, match="several outputs"):
        keys_by_prompt(["a_0_0", "a_0_1"])
