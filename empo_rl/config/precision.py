"""In which precision the weights are kept, as opposed to that of computing: `training.weights`.

Needs no torch: `empo_rl.check` counts bytes with it.
"""

from __future__ import annotations

from empo_rl.config.schema import Config


def stored_in(config: Config) -> str:
    """`bf16` or `fp32`. Under LoRA the model's own weights are only read, so bf16 costs nothing there."""
    training = config.training
    if training.weights != "auto":
        return training.weights
    return "bf16" if config.lora is not None and training.precision == "bf16" else "fp32"
