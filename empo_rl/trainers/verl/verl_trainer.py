"""The trainer mode `empo` of verl (0.9): the provider's rewards, keep mask and advantages in verl's batch.

A step of verl's synchronous trainer, and what this trainer adds:

    sample                 verl; with refill, groups that the provider drops are evicted and replaced (`refill`)
    1. decide              the provider decides about the groups; dropped groups leave the batch; rewards are written
       balance             verl divides the rows among the GPUs, and fills up the last mini-batch with padding
       old log-probs       verl
    2. advantages          verl computes its own, and its rollout correction; the provider's advantages replace them
    3. update              verl; skipped, and counted, if no row is in the loss

The loss then equals the loss of the kept rows only:

- A row that `invalid="drop"` or a guard takes out of a kept group gets an empty `response_mask`, as verl's padding has.
- verl's losses that average over sequences (GSPO, and all `seq-mean-*`) divide by the number of rows of a mini-batch,
  with padding and masked rows. The advantages of a mini-batch are multiplied by its rows divided by its kept rows.

The metrics are those of TRL, `empo/entropy` and so on, over all groups that the provider judged in the step: those of
the batch, and those that were evicted and replaced. `algorithm.adv_estimator` must be `grpo`, without critic and KL
term. The provider computes no token measures here, so `reward=token_entropy` and `self_certainty` are refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transfer_queue as tq
from numpy.typing import NDArray
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer

from empo_rl.core.metrics import BatchNumbers
from empo_rl.core.provider import EmpoProvider
from empo_rl.trainers.verl.queue_groups import MEASURES, QueueGroup, read_groups
from empo_rl.trainers.verl.refill import EmpoReplayBuffer
from semantic_entropy import InputError

STATE = "empo_state.json"  # in the folder of a checkpoint: the random state of signals, the memory of guards


def placeholder_score(*_: Any, **__: Any) -> float:
    """Verl's `custom_reward_function`: verl scores each completion alone, and this trainer replaces the scores."""
    return 0.0


@register_trainer("empo")
class EmpoPPOTrainer(PPOTrainerSync):
    """verl's synchronous trainer with rewards, groups and advantages from an `EmpoProvider`.

    Args:
        config: the configuration of verl. Its key `empo.provider` holds the keyword arguments of `EmpoProvider` as
            JSON: `+empo.provider='{"equivalence": "math"}'`.

    Attributes:
        provider: the provider.
        skipped_steps: the number of updates that were skipped because no row was kept.
    """

    def __init__(self, config: Any) -> None:
        check_verl_config(config)
        self.provider = EmpoProvider(**provider_options(config))
        self.skipped_steps = 0
        self._advantages: dict[str, float] = {}  # key -> advantage, for the rows in the loss
        unmeasured = self.provider.needs - MEASURES
        if unmeasured:
            raise InputError(
                f"reward={self.provider.reward!r} and the guards need the measures {sorted(unmeasured)}, which the "
                "trainer mode empo of verl does not compute. Use another reward, or engine=trl."
            )
        self.provider.check(int(config.actor_rollout_ref.rollout.n))
        super().__init__(config)

    @property
    def trainer_mode(self) -> str:
        """`sync`: verl compares the mode with this name where synchronous and asynchronous trainers differ."""
        return "sync"

    @trainer_mode.setter
    def trainer_mode(self, name: str) -> None:
        """Verl sets the name under which the trainer is registered. It has no other use."""

    def _build_replay_buffer(self) -> EmpoReplayBuffer:
        sampler, data = self.config.trainer.v1.sampler, self.config.data
        metric = self._resolve_filter_groups_metric()
        return EmpoReplayBuffer(
            self.provider,
            self._read,
            trainer_mode=self.trainer_mode,
            trainer_config=self.config.trainer.v1.get(self.trainer_mode, {}),
            max_off_policy_threshold=sampler.max_off_policy_threshold,
            max_off_policy_strategy=sampler.max_off_policy_strategy,
            sampler_kwargs=sampler.sampler_kwargs,
            refill_fn=self._add_prompts_to_generate,
            filter_groups_metric=metric,
            train_batch_size=data.train_batch_size,
            gen_batch_size=1 if metric or sampler.sync_refill_failed_groups else data.train_batch_size,
            max_inflight_gen_batches=self.config.algorithm.filter_groups.max_inflight_gen_batches,
            sync_refill_failed_groups=bool(sampler.sync_refill_failed_groups),
        )

    def _read(self, keys: Sequence[str]) -> list[QueueGroup]:
        return read_groups(keys, "train", self.tokenizer, int(self.config.data.max_response_length))

    def _balance_batch(self, batch: KVBatchMeta, metrics: dict[str, Any], *args: Any, **kwargs: Any) -> KVBatchMeta:
        return super()._balance_batch(self.decide(batch, metrics), metrics, *args, **kwargs)

    def decide(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """Decide about the groups of the batch, log the metrics, and return the batch without the dropped groups.

        If no group is kept, the first group stays, because verl cannot pass an empty batch on: `_update_actor` then
        skips the update.
        """
        found = self._read(batch.keys)
        groups = [one for one in found if len(one.keys) > 1]  # agent loops can fail, and leave one completion
        if not groups:
            raise InputError(
                f"none of the {len(found)} prompts of this step has two completions: their agent loops failed. The log "
                "of verl has the reason. trainer.v1.sampler.sync_refill_failed_groups=true replaces failed prompts."
            )
        decision = self.provider.step([one.group for one in groups])
        numbers = BatchNumbers.join([*self.replay_buffer.take_evicted(), decision.numbers])
        metrics.update({f"empo/{name}": value for name, value in numbers.metrics().items()})
        metrics["empo/groups_judged"] = float(len(numbers.keep))
        metrics["empo/groups_incomplete"] = float(sum(len(one.keys) < 2 for one in found))
        keys = [key for one in groups for key in one.keys]
        in_loss = zip(keys, decision.advantages, decision.loss_mask, strict=True)
        self._advantages = {key: float(advantage) for key, advantage, kept in in_loss if kept}
        stays = [one for one, keep in zip(groups, decision.keep, strict=True) if keep] or groups[:1]
        left = _only(batch, {key for one in stays for key in one.keys})
        _write_scores(left, dict(zip(keys, np.nan_to_num(decision.rewards), strict=True)))
        return left

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """Replace verl's advantages with those of the provider, and take the masked rows out of the loss."""
        batch = super()._compute_advantage(batch, metrics)
        kept = np.array([key in self._advantages for key in batch.keys])
        advantages = np.array([self._advantages.get(key, 0.0) for key in batch.keys])
        if not kept.any():  # the update is skipped, and verl's metrics need rows
            return _write_rows(batch, advantages, np.ones_like(kept))
        return _write_rows(batch, advantages * self._row_weights(kept), kept)

    def _row_weights(self, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The factor of each row, (N,), with which a mean over the rows of a mini-batch is a mean over the kept rows.

        The rows are in the order of the GPUs, and each GPU takes its part of a mini-batch from its own rows in turn.
        """
        actor = self.config.actor_rollout_ref.actor
        if actor.policy_loss.loss_mode != "gspo" and not actor.loss_agg_mode.startswith("seq-mean"):
            return np.ones(len(kept))
        ranks = max(self.actor_rollout_wg._dispatch_info["actor"]) + 1  # noqa: SLF001  # `_balance_batch` reads it too
        size = int(actor.ppo_mini_batch_size) * int(self.config.actor_rollout_ref.rollout.n)
        parts = kept.reshape(ranks, -1, size // ranks)  # (GPU, mini-batch, row)
        counts = np.maximum(parts.sum(axis=(0, 2)), 1)
        weights: NDArray[np.float64] = np.broadcast_to((size / counts)[None, :, None], parts.shape).reshape(-1)
        return weights

    def _update_actor(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        empty = not self._advantages
        metrics["empo/step_empty"] = metrics["empo/step_skipped"] = float(empty)
        if not empty:
            return super()._update_actor(batch, metrics)
        self.skipped_steps += 1
        return batch

    def _save_checkpoint(self) -> None:
        super()._save_checkpoint()
        self._state_file().write_text(json.dumps(self.provider.state_dict()), encoding="utf-8")

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if self.global_steps > 0 and self._state_file().is_file():
            self.provider.load_state_dict(json.loads(self._state_file().read_text(encoding="utf-8")))

    def _state_file(self) -> Path:
        return Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}" / STATE


def provider_options(config: Any) -> dict[str, Any]:
    """The keyword arguments of `EmpoProvider` in a configuration of verl.

    Raises:
        InputError: the key `empo.provider` is missing, or is not a JSON object.
    """
    text = (config.get("empo") or {}).get("provider")
    try:
        options = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise InputError(
            f"empo.provider is {text!r:.200}: pass the arguments of EmpoProvider as a JSON object, "
            '+empo.provider=\'{"equivalence": "math", "extract": "boxed"}\'. `empo-train --engine verl` does this.'
        )
    return options


def check_verl_config(config: Any) -> None:
    """Raise InputError for settings of verl under which the provider's decision would not be the loss of the run."""
    algorithm, actor = config.algorithm, config.actor_rollout_ref.actor
    wrong: Mapping[str, bool] = {
        f"algorithm.adv_estimator={algorithm.adv_estimator}: set grpo": str(algorithm.adv_estimator) != "grpo",
        "algorithm.use_kl_in_reward: EMPO has no KL term. Set False": bool(algorithm.use_kl_in_reward),
        "actor_rollout_ref.actor.use_kl_loss: EMPO has no KL term. Set False": bool(actor.use_kl_loss),
        "actor_rollout_ref.actor.shuffle: mini-batches must be known before the update. Set False": bool(actor.shuffle),
        "reward.reward_model.enable: the provider computes the rewards. Set False": bool(
            config.reward.reward_model.enable
        ),
        "trainer.v1.sampler.custom_sampler: the mode empo has its own. Remove it": bool(
            config.trainer.v1.sampler.custom_sampler.path
        ),
    }
    problems = [f"{text}." for text, found in wrong.items() if found]
    if problems:
        raise InputError("\n".join(problems))


def _only(batch: KVBatchMeta, keys: set[str]) -> KVBatchMeta:
    """The batch with these keys. The other rows leave the queue, so that no later step reads them."""
    gone = [key for key in batch.keys if key not in keys]
    if gone:
        tq.kv_clear(keys=gone, partition_id=batch.partition_id)
    rows = [at for at, key in enumerate(batch.keys) if key in keys]
    return KVBatchMeta(
        keys=[batch.keys[at] for at in rows],
        tags=[batch.tags[at] for at in rows],
        partition_id=batch.partition_id,
        fields=batch.fields,
        extra_info=batch.extra_info,
    )


def _write_scores(batch: KVBatchMeta, rewards: Mapping[str, float]) -> None:
    """Write the reward of each completion at its last token (`rm_scores`), where verl's metrics read it."""
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["response_mask"])
    rows = []
    for key, mask in zip(batch.keys, data["response_mask"].unbind(), strict=True):
        scores = torch.zeros(len(mask), dtype=torch.float32)
        scores[-1] = rewards[key]
        rows.append(scores)
    _put(batch, {"rm_scores": _nested(rows)})


def _write_rows(batch: KVBatchMeta, advantages: NDArray[np.float64], kept: NDArray[np.bool_]) -> KVBatchMeta:
    """Write the advantage of each row to its tokens, and empty the masks of the rows that are not kept."""
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["response_mask"])
    masks = [mask * int(keep) for mask, keep in zip(data["response_mask"].unbind(), kept, strict=True)]
    tokens = [mask.to(torch.float32) * value for mask, value in zip(masks, advantages, strict=True)]
    if not all(math.isfinite(value) for value in advantages):
        raise InputError("an advantage is not finite: the rewards of the provider are too large for float32.")
    fields = {"advantages": tokens, "returns": tokens, "response_mask": masks, "loss_mask": masks}
    return _put(batch, {name: _nested(rows) for name, rows in fields.items()})


def _nested(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)


def _put(batch: KVBatchMeta, fields: Mapping[str, torch.Tensor]) -> KVBatchMeta:
    values = TensorDict(dict(fields), batch_size=len(batch.keys))
    return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=values)
