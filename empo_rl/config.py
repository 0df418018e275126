"""The configuration of `empo-train`: typed, and strict about names.

    CONFIG.yaml  <-  key=value on the command line (nested keys with dots)  ->  Config

An unknown key is an error that names the nearest one that exists; a wrong value names the file, the key, the
value and what was expected. Whatever else TRL's GRPOConfig offers goes under `trl:`, unless a key here
decides it.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from empo_rl.advantages import Scale
from empo_rl.filters import EntropyWindow, Outside, ShareWindow, Units
from empo_rl.monitor import Action, Monitor
from empo_rl.presets import preset
from empo_rl.rewards import InvalidPolicy
from empo_rl.templates import Template

LABELLED = ("golden", "semi_supervised")  # rewards that read gold answers
WINDOWED = ("empo", "log_share")

Positive = Annotated[int, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)


class Columns(_Section):
    """Which column of the data holds what."""

    question: str = "question"
    gold: str | None = None  # read only where empo.reward or empo.measure_gold asks for it


class Data(_Section):
    """Where the questions come from: a local JSONL file, a dataset of the hub, or the demo's own."""

    path: str | None = None
    dataset: str | None = None
    subset: str | None = None
    split: str = "train"
    columns: Columns = Columns()
    limit: Positive | None = None  # questions drawn at random with the run's seed; None: all
    max_prompt_tokens: Positive | None = None  # longer prompts are left out, and counted

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if (self.path is None) == (self.dataset is None):
            raise ValueError("give exactly one of data.path (a JSONL file) and data.dataset (a hub name, or 'demo')")
        return self


class Empo(_Section):
    """The provider's choices; see docs/empo/provider.md. A preset's choices stand where a key is not given."""

    preset: str | None = None
    reward: str = "empo"
    reward_options: dict[str, Any] = {}
    equivalence: str = "math"
    extract: str | None = None
    invalid: InvalidPolicy = "singleton_zero"
    delta_low: float = 0.0
    delta_high: float = math.inf
    delta_units: Units = "nats"
    max_p_low: float = 0.0
    max_p_high: float = 1.0
    outside: Outside = "drop"
    guards: dict[str, Any] = {}
    scale: Scale = "group"
    grader: str | None = None
    measure_gold: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not values.get("preset"):
            return values
        return {**preset(values["preset"]), **values}

    def choices(self) -> dict[str, Any]:
        """The keyword arguments of `EmpoProvider`."""
        return self.model_dump(exclude={"preset"})

    def reads_gold(self) -> bool:
        """Whether gold answers are read, where the data has them."""
        return self.measure_gold or self.reward in LABELLED


class Rollout(_Section):
    """How completions are sampled."""

    num_generations: Annotated[int, Field(ge=2)] = 8  # G
    temperature: Annotated[float, Field(gt=0)] = 1.0
    max_completion_tokens: Positive = 1024


class Training(_Section):
    """How the policy is updated. `prompts_per_step` x `num_generations` completions make one on-policy step."""

    steps: Positive | None = None
    epochs: Annotated[float, Field(gt=0)] = 1.0  # where steps is not given
    prompts_per_step: Positive = 32
    prompts_per_micro_batch: Positive = 1  # whole groups per device and backward pass: what the memory allows
    learning_rate: Annotated[float, Field(gt=0)] = 1e-6
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    loss: Literal["grpo", "dr_grpo", "bnpo", "dapo"] = "grpo"
    ratio: Literal["token", "sequence"] = "token"  # sequence: GSPO
    epsilon: Annotated[float, Field(gt=0)] = 0.2  # clip of the ratio; inactive on-policy
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # auto: bf16 where the accelerator has it, else fp32
    gradient_checkpointing: bool = True
    save_every: Positive = 50  # steps
    keep_checkpoints: Positive | None = None  # None: all


class Monitoring(_Section):
    """The alarms; see docs/empo/monitor.md. Those not named stand at their defaults; null leaves one out."""

    action: Action = "warn"
    alarms: dict[str, Any] = {}

    @model_validator(mode="after")
    def _exists(self) -> Monitoring:
        self.made()
        return self

    def made(self) -> Monitor:
        """A fresh monitor."""
        return Monitor(self.alarms, action=self.action)


class Demo(_Section):
    """Only for `model: demo`, which makes the demo's tiny base model."""

    pretrain_steps: Positive = 550


class Config(_Section):
    """One run."""

    model: str
    output_dir: str
    seed: int = 0
    resume: bool = False
    device: Literal["auto", "cpu"] = "auto"
    data: Data
    template: Template = Template()
    empo: Empo = Empo()
    rollout: Rollout = Rollout()
    training: Training = Training()
    monitor: Monitoring = Monitoring()
    demo: Demo = Demo()
    trl: dict[str, Any] = {}

    @model_validator(mode="after")
    def _sources_agree(self) -> Config:
        if self.empo.reads_gold() and self.data.columns.gold is None and self.data.dataset != "demo":
            asks = f"empo.reward={self.empo.reward}" if self.empo.reward in LABELLED else "empo.measure_gold"
            raise ValueError(f"{asks} needs data.columns.gold, the column with the gold answers")
        if self.training.prompts_per_step % self.training.prompts_per_micro_batch:
            raise ValueError(
                f"training.prompts_per_step={self.training.prompts_per_step} is no multiple of "
                f"training.prompts_per_micro_batch={self.training.prompts_per_micro_batch}"
            )
        self.window_notes()
        return self

    def window_notes(self) -> list[str]:
        """What the bounds do at this G; an error where they keep nothing."""
        empo = self.empo
        window = EntropyWindow(empo.delta_low, empo.delta_high, empo.delta_units)
        ShareWindow(empo.max_p_low, empo.max_p_high)
        return window.check(self.rollout.num_generations) if empo.reward in WINDOWED else []
