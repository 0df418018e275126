"""The baseline online DPO of the paper, on TRL's own trainer.

`OnlineDPOTrainer` is part of `trl.experimental`: its name and behaviour may change with any release of TRL. The trainer
samples two completions of each prompt and prefers the completion with the higher reward; if the rewards are equal, it
prefers the first completion. The reward is 1 for a right answer and 0 for a wrong answer, as in the Online-DPO-R1
setting. A pair with two right or two wrong answers is a tied pair; `pairs/tied` is the share of tied pairs. For a tied
pair the trainer prefers the first completion without a reason, which adds noise to the gradient. Online-DPO-R1 excludes
tied pairs. The trainer cannot use more than two completions of a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from trl.experimental.online_dpo import OnlineDPOTrainer

from empo_rl.core.groups import group_by_position
from empo_rl.core.provider import EmpoProvider
from empo_rl.trainers.trl.costs import CostsMixin
from empo_rl.trainers.trl.distributed import decide
from empo_rl.trainers.trl.rollouts import Columns, placeholder_reward, trl_columns
from empo_rl.trainers.trl.sharding import ShardedSavesMixin


class OnlineDpoRunTrainer(CostsMixin, ShardedSavesMixin, OnlineDPOTrainer):
    """An OnlineDPOTrainer that uses the provider's rewards and logs the costs of each step."""

    def __init__(self, model: Any, provider: EmpoProvider, args: Any, **kwargs: Any) -> None:
        self._provider = provider
        self._tied: list[float] = []
        super().__init__(model=model, reward_funcs=placeholder_reward(provider.reward), args=args, **kwargs)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no model card: TRL's card names no base model for a model that was created in memory."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write TRL's log and the share of tied pairs of all processes."""
        if "loss" in logs:
            tied = gather_object(self._tied)
            if tied:
                logs = {**logs, "pairs/tied": sum(tied) / len(tied)}
            self._tied.clear()
        super().log(logs, start_time)

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        with self.costs.part("generation"):
            return super()._generate(*args, **kwargs)  # type: ignore[no-untyped-call]  # untyped in TRL

    def _generate_vllm(self, *args: Any, **kwargs: Any) -> Any:
        with self.costs.part("generation"):
            return super()._generate_vllm(*args, **kwargs)  # type: ignore[no-untyped-call]  # untyped in TRL

    def _calculate_rewards_from_functions(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids_list: Any, **columns: Any
    ) -> torch.Tensor:
        """Return the rewards, (2 B,), in TRL's order: all first completions, then all second completions."""
        with self.costs.part("judging"):
            decision, _ = decide(
                lambda: _interleave(trl_columns(prompts, completions, columns)),
                lambda batch: self._provider.step(group_by_position(num_generations=2, **batch), training=False),
                globally=False,
            )
        pairs = decision.rewards.reshape(-1, 2)
        self._tied += [float(first == second) for first, second in pairs]
        rewards = np.nan_to_num(pairs, nan=0.0).T.ravel()
        return torch.tensor(rewards, dtype=torch.float32, device=self.accelerator.device)


def _interleave(columns: Columns) -> Columns:
    """Reorder the rows: the two completions of a prompt become neighbours."""
    half = len(columns["completions"]) // 2
    order = [row for first in range(half) for row in (first, first + half)]
    return {name: [columns[name][row] for row in order] for name in ("completions", "questions", "golds")}
