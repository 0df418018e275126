"""From a checked `Config` to TRL's own arguments.

Whatever a key of the configuration decides is written here once; `trl:` may set everything else that TRL knows.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from trl import GRPOConfig

from empo_rl.config import Config
from semantic_entropy import InputError


def grpo_arguments(config: Config, processes: int) -> GRPOConfig:
    """TRL's arguments. A micro-batch holds whole groups, so none can straddle two processes."""
    decided = _decided(config, _accumulation(config, processes))
    known = [field.name for field in dataclasses.fields(GRPOConfig)]
    for key in config.trl:
        if key in decided:
            raise InputError(
                f"trl.{key}: decided by this configuration (it is {decided[key]!r}); see docs/empo/training.md."
            )
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean 'trl.{close[0]}'?" if close else ""
            raise InputError(f"trl.{key} is no argument of trl.GRPOConfig.{hint}")
    # No tracker unless one is asked for; and of the processes beside the first errors alone, not warnings too.
    return GRPOConfig(**decided, **{"report_to": "none", "log_level_replica": "error", **config.trl})


def _accumulation(config: Config, processes: int) -> int:
    prompts, micro = config.training.prompts_per_step, config.training.prompts_per_micro_batch
    if prompts % (micro * processes):
        raise InputError(
            f"training.prompts_per_step={prompts} is no multiple of training.prompts_per_micro_batch={micro} x "
            f"{processes} processes = {micro * processes}: change one of the three."
        )
    return prompts // (micro * processes)


def _decided(config: Config, accumulation: int) -> dict[str, Any]:
    training, rollout = config.training, config.rollout
    length = {"max_steps": training.steps} if training.steps else {"num_train_epochs": training.epochs}
    return {
        **length,
        "output_dir": config.output_dir,
        "seed": config.seed,
        "use_cpu": config.device == "cpu",
        "num_generations": rollout.num_generations,
        "temperature": rollout.temperature,
        "max_completion_length": rollout.max_completion_tokens,
        "per_device_train_batch_size": training.prompts_per_micro_batch * rollout.num_generations,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": training.schedule,
        "warmup_steps": training.warmup_steps,
        "loss_type": training.loss,
        "importance_sampling_level": training.ratio,
        "epsilon": training.epsilon,
        "scale_rewards": config.empo.scale,
        "beta": 0.0,
        "max_grad_norm": training.max_grad_norm,
        "bf16": training.precision == "bf16",
        "gradient_checkpointing": training.gradient_checkpointing,
        "save_strategy": "steps",
        "save_steps": training.save_every,
        "save_total_limit": training.keep_checkpoints,
        "logging_steps": 1,
        "disable_tqdm": True,
    }
