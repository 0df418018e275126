"""EmpoGRPOTrainer as a long run needs it: what survives a restart, and what a step costs.

    checkpoint-N/empo_state_RANK.json   the state of the provider and of whatever else `keep` names, a file a process,
                                        written before trainer_state.json, which completes a checkpoint
    cost/*                              columns of each step's log (`empo_rl.trainers.trl.costs`)

Three things that a resumed TRL run does not do by itself: its sampler shuffles the first epoch's way again whichever
epoch it is in (`EpochSampler`); its count of micro-batches, which says when to generate, begins at 0 in the middle of
what was generated; and it knows nothing of the provider's dice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import TrainerCallback
from trl import GRPOConfig
from trl.trainer.utils import RepeatSampler

from empo_rl.core.provider import EmpoProvider
from empo_rl.files import checkpoints
from empo_rl.trainers.trl.grpo_trainer import EmpoGRPOTrainer
from empo_rl.trainers.trl.step_costs import Costed


class Stateful(Protocol):
    """What can be kept in a checkpoint, as JSON has it."""

    def state_dict(self) -> Mapping[str, Any]:
        """All that must survive a restart."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""


class EpochSampler(RepeatSampler):
    """TRL's order of the prompts, in any epoch without those before it. `epoch` is set as each begins."""

    epoch = 0

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            self.generator.manual_seed(self.seed or 0)
            for _ in range(self.epoch):
                torch.randperm(self.num_samples, generator=self.generator)
        yield from super().__iter__()  # type: ignore[no-untyped-call]  # untyped in TRL


class RunTrainer(Costed, EmpoGRPOTrainer):
    """EmpoGRPOTrainer that can be killed at any moment, resumed, and asked what it cost.

    Args:
        model: as for GRPOTrainer.
        provider: the decisions; its state is kept in the checkpoints. The caller closes it.
        args: as for EmpoGRPOTrainer.
        keep: what else has a state to keep, by name: `{"monitor": monitor}`.
        columns: more columns for each step's log.
        kwargs: as for GRPOTrainer.
    """

    def __init__(
        self,
        model: Any,
        provider: EmpoProvider,
        args: GRPOConfig,
        *,
        keep: Mapping[str, Stateful] | None = None,
        columns: Callable[[], Mapping[str, float]] = dict,
        **kwargs: Any,
    ) -> None:
        self._columns = columns
        self._kept: dict[str, Stateful] = {"provider": provider, **(keep or {})}
        self._sampler: EpochSampler | None = None
        super().__init__(model, provider, args, **kwargs)
        self.add_callback(_WatchEpochs(self))

    def begin_epoch(self, epoch: int) -> None:
        """The prompts' order becomes that of this epoch, counted from 0."""
        if self._sampler is not None:
            self._sampler.epoch = epoch

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        made: Any = super()._get_train_sampler(dataset)
        self._sampler = EpochSampler(
            made.data_source, made.mini_repeat_count, made.batch_size, made.repeat_count, made.shuffle, made.seed
        )
        return self._sampler

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        Path(output_dir).mkdir(parents=True, exist_ok=True)  # another process than the first may be here before it
        states = {name: thing.state_dict() for name, thing in self._kept.items()}
        written = json.dumps({"processes": self.args.world_size, **states})
        checkpoints.state_file(Path(output_dir), self.args.process_index).write_text(written, encoding="utf-8")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[no-untyped-call]  # untyped in TRL
        if checkpoint is None:
            return
        self._step = self.state.global_step * self.args.gradient_accumulation_steps
        file = checkpoints.state_file(Path(checkpoint), self.args.process_index)
        if file.exists():  # a run resumed on more processes than it began with has none for the new ones
            states = json.loads(file.read_text(encoding="utf-8"))
            for name in self._kept.keys() & states.keys():
                self._kept[name].load_state_dict(states[name])

    def _generate(self, prompts: list[Any], *args: Any, **kwargs: Any) -> Any:
        with self.costs.part("generation"):
            return super()._generate(prompts, *args, **kwargs)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
        with self.costs.part("judging"):
            return super()._calculate_rewards(*args, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's log, with what else has columns."""
        super().log({**logs, **self._columns()} if "loss" in logs else logs, start_time)


class _WatchEpochs(TrainerCallback):
    """Tells the trainer when epochs begin."""

    def __init__(self, trainer: RunTrainer) -> None:
        self._trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.begin_epoch(int(state.epoch))
