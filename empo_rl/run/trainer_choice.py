"""The trainer that a configuration asks for: `method: empo`, `sft` or `online_dpo`. All are TRL's underneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from empo_rl.config.schema import Config
from empo_rl.core.provider import EmpoProvider
from empo_rl.run.models import lora_config
from empo_rl.trainers.trl.callbacks import MonitorCallback


def make_trainer(
    config: Config,
    *,
    model: Any,
    tokenizer: Any,
    arguments: Any,
    rows: Sequence[dict[str, Any]],
    provider: EmpoProvider | None,
    watch: MonitorCallback | None,
    callbacks: Sequence[Any],
) -> Any:
    """Ready to train. `provider` is None for `method: sft` alone, which rewards nothing; `watch` for all but `empo`."""
    common: dict[str, Any] = {
        "model": model,
        "args": arguments,
        "train_dataset": Dataset.from_list(list(rows)),
        "processing_class": tokenizer,
        "callbacks": list(callbacks),
        "peft_config": lora_config(config),
    }
    if config.method == "sft":
        from empo_rl.trainers.baselines.sft import SftRunTrainer

        return SftRunTrainer(**common)
    assert provider is not None, "only SFT has none"
    if config.method == "online_dpo":
        from empo_rl.trainers.baselines.online_dpo import OnlineDpoRunTrainer

        return OnlineDpoRunTrainer(provider=provider, **common)
    from empo_rl.trainers.trl.run_trainer import RunTrainer

    assert watch is not None, "EMPO is watched"
    common["callbacks"] = [watch, *callbacks]
    monitor = watch.monitor
    return RunTrainer(provider=provider, stateful={"monitor": monitor}, columns=monitor.columns, **common)
