"""RunTrainer, an EmpoGRPOTrainer for long runs: the run can be resumed, and the costs of each step are logged.

    checkpoint-N/empo_state_RANK.json   the state of the provider and of the objects in `stateful`, one file for each
                                        process; written before trainer_state.json, which completes a checkpoint
    cost/*                              columns in the log of each step (`empo_rl.trainers.trl.costs`)

A resumed TRL run differs from an uninterrupted run in three ways. `RunTrainer` corrects all three:

    TRL's sampler uses the order of the first epoch in each resumed epoch   `EpochSampler` uses the order of the epoch
    TRL's counter of micro-batches, which decides when to generate,         the counter is restored
    starts at 0, even in the middle of a generated batch
    TRL does not save the random state of the provider                      checkpoints contain the state
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import TrainerCallback
from trl import GRPOConfig
from trl.trainer.utils import RepeatSampler

from empo_rl.core.provider import EmpoProvider
from empo_rl.files import checkpoints
from empo_rl.trainers.trl.costs import CostsMixin
from empo_rl.trainers.trl.grpo_trainer import EmpoGRPOTrainer
from empo_rl.trainers.trl.sharding import ShardedSavesMixin


class Stateful(Protocol):
    """An object whose state is saved in checkpoints as JSON."""

    def state_dict(self) -> Mapping[str, Any]:
        """The state that a restart needs."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from this state."""


class EpochSampler(RepeatSampler):
    """Returns TRL's order of prompts for a given epoch without iterating over earlier epochs.

    Attributes:
        epoch: the number of the epoch, from 0. The trainer sets it at the start of each epoch.
    """

    epoch = 0

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            self.generator.manual_seed(self.seed or 0)
            for _ in range(self.epoch):
                torch.randperm(self.num_samples, generator=self.generator)
        yield from super().__iter__()  # type: ignore[no-untyped-call]  # untyped in TRL


class RunTrainer(CostsMixin, ShardedSavesMixin, EmpoGRPOTrainer):
    """An EmpoGRPOTrainer that can be killed at any moment and resumed, and that logs its costs.

    Args:
        model: see GRPOTrainer.
        provider: decides about the batches. Its state is saved in checkpoints. The caller closes the provider.
        args: see EmpoGRPOTrainer.
        stateful: more objects that are saved in checkpoints, by name, for example `{"monitor": monitor}`.
        kwargs: see GRPOTrainer.
    """

    def __init__(
        self,
        model: Any,
        provider: EmpoProvider,
        args: GRPOConfig,
        *,
        stateful: Mapping[str, Stateful] | None = None,
        **kwargs: Any,
    ) -> None:
        self._stateful: dict[str, Stateful] = {"provider": provider, **(stateful or {})}
        self._sampler: EpochSampler | None = None
        super().__init__(model, provider, args, **kwargs)
        self.add_callback(_BeginEpochs(self))

    def begin_epoch(self, epoch: int) -> None:
        """Use the order of prompts of this epoch. Epochs are counted from 0."""
        if self._sampler is not None:
            self._sampler.epoch = epoch

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        trl_sampler: Any = super()._get_train_sampler(dataset)
        self._sampler = EpochSampler(
            trl_sampler.data_source,
            trl_sampler.mini_repeat_count,
            trl_sampler.batch_size,
            trl_sampler.repeat_count,
            trl_sampler.shuffle,
            trl_sampler.seed,
        )
        return self._sampler

    def run_state(self) -> dict[str, Any]:
        """The states of the provider and of the objects in `stateful`."""
        return {name: item.state_dict() for name, item in self._stateful.items()}

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[no-untyped-call]  # untyped in TRL
        if checkpoint is None:
            return
        self._step = self.state.global_step * self.args.gradient_accumulation_steps
        file = checkpoints.state_file(Path(checkpoint), self.args.process_index)
        if file.exists():  # a run may be resumed with more processes; the additional processes have no file
            states = json.loads(file.read_text(encoding="utf-8"))
            for name in self._stateful.keys() & states.keys():
                self._stateful[name].load_state_dict(states[name])

    def _generate(self, prompts: list[Any], *args: Any, **kwargs: Any) -> Any:
        with self.costs.part("generation"):
            return super()._generate(prompts, *args, **kwargs)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        with self.costs.part("judging"):
            return super()._calculate_rewards(*args, **kwargs)


class _BeginEpochs(TrainerCallback):
    def __init__(self, trainer: RunTrainer) -> None:
        self._trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.begin_epoch(int(state.epoch))
