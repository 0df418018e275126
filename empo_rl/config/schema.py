"""The configuration of `empo-train`: typed, and strict about names.

    CONFIG.yaml  <-  key=value on the command line (nested keys with dots)  ->  Config

An unknown key is an error that names the nearest one that exists; a wrong value names the file, the key, the
value and what was expected. Whatever else TRL's GRPOConfig offers goes under `trl:`, unless a key here
decides it. The sections that few runs need stand in `config_machines` and `config_methods`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from empo_rl.config.machines import VLLM, Launch, ModelShape
from empo_rl.config.methods import Hub, Lora, OnlineDpo, Sft
from empo_rl.config.section import Positive, Section
from empo_rl.config.templates import Template
from empo_rl.core.advantages import Scale
from empo_rl.core.filters import EntropyWindow, Outside, ShareWindow, Units
from empo_rl.core.presets import preset
from empo_rl.core.rewards import InvalidPolicy, RewardSignal, load_reward
from empo_rl.monitor import Action, Monitor
from semantic_entropy import SemanticEntropyError


class Columns(Section):
    """Which column of the data holds what."""

    question: str = "question"
    gold: str | None = None  # read only where empo.reward or empo.measure_gold asks for it
    response: str | None = None  # what `method: sft` trains on


class Data(Section):
    """Where the questions come from: a local JSONL file, a dataset of the hub, or the demo's own."""

    path: str | None = None
    dataset: str | None = None
    subset: str | None = None
    split: str = "train"
    columns: Columns = Columns()
    made_with: str | None = None  # the command that makes `path`, for whom it is not there yet
    limit: Positive | None = None  # questions drawn at random with the run's seed; None: all
    max_prompt_tokens: Positive | None = None  # longer prompts are left out, and counted

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if (self.path is None) == (self.dataset is None):
            raise ValueError("give exactly one of data.path (a JSONL file) and data.dataset (a hub name, or 'demo')")
        return self


class Empo(Section):
    """The provider's choices; see docs/empo/provider.md. A preset's choices stand where a key is not given."""

    preset: str | None = None
    reward: str = "empo"
    reward_options: dict[str, Any] = Field(default_factory=dict)
    equivalence: str = "math"
    extract: str | None = None
    invalid: InvalidPolicy = "singleton_zero"
    delta_low: float = 0.0
    delta_high: float = math.inf
    delta_units: Units = "nats"
    max_p_low: float = 0.0
    max_p_high: float = 1.0
    outside: Outside = "drop"
    guards: dict[str, Any] = Field(default_factory=dict)
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
        return self.measure_gold or self.signal().reads_gold

    def signal(self) -> RewardSignal:
        """The reward by its name and options, before any provider has it.

        Raises:
            ValueError: there is none of that name, or it refuses its options.
        """
        try:
            return load_reward(self.reward, self.reward_options)
        except SemanticEntropyError as error:
            raise ValueError(f"empo.reward: {error}") from error


class Rollout(Section):
    """How completions are sampled."""

    num_generations: Annotated[int, Field(ge=2)] = 8  # G
    temperature: Annotated[float, Field(gt=0)] = 1.0
    max_completion_tokens: Positive = 1024
    engine: Literal["transformers", "vllm-colocate", "vllm-server"] = "transformers"
    vllm: VLLM = VLLM()


class Training(Section):
    """How the policy is updated. `prompts_per_step` x `num_generations` completions make one on-policy step."""

    steps: Positive | None = None
    epochs: Annotated[float, Field(gt=0)] = 1.0  # where steps is not given
    prompts_per_step: Positive = 32
    prompts_per_micro_batch: Positive = 1  # whole groups per device and backward pass: what the memory allows
    completions_per_pass: Positive | None = None  # a part of a group in each pass, where a whole one is too much
    learning_rate: Annotated[float, Field(gt=0)] = 1e-6
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    loss: Literal["grpo", "dr_grpo", "bnpo", "dapo"] = "grpo"
    ratio: Literal["token", "sequence"] = "token"  # sequence: GSPO
    epsilon: Annotated[float, Field(gt=0)] = 0.2  # clip of the ratio; inactive on-policy
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # auto: bf16 where the accelerator has it, else fp32
    weights: Literal["auto", "bf16", "fp32"] = "auto"  # as they are stored; auto: fp32 where they are trained
    gradient_checkpointing: bool = True
    save_every: Positive = 50  # steps
    keep_checkpoints: Positive | None = None  # None: all


class Monitoring(Section):
    """The alarms; see docs/empo/monitor.md. Those not named stand at their defaults; null leaves one out."""

    action: Action = "warn"
    alarms: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _exists(self) -> Monitoring:
        self.made()
        return self

    def made(self) -> Monitor:
        """A fresh monitor."""
        return Monitor(self.alarms, action=self.action)


class Demo(Section):
    """Only for `model: demo`, which makes the demo's tiny base model."""

    pretrain_steps: Positive = 550


class Config(Section):
    """One run."""

    model: str
    output_dir: str
    method: Literal["empo", "sft", "online_dpo"] = "empo"
    seed: int = 0
    resume: bool = False
    device: Literal["auto", "cpu"] = "auto"
    data: Data
    template: Template = Template()
    empo: Empo = Empo()
    rollout: Rollout = Rollout()
    training: Training = Training()
    monitor: Monitoring = Monitoring()
    lora: Lora | None = None
    sft: Sft = Sft()
    online_dpo: OnlineDpo = OnlineDpo()
    launch: Launch = Launch()
    push_to_hub: Hub | None = None
    demo: Demo = Demo()
    check: ModelShape = ModelShape()
    trl: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sections_agree(self) -> Config:
        problems = [*self._data_problems(), *self._method_problems(), *self._launch_problems()]
        try:
            self.window_notes()
        except ValueError as error:  # InputError is one
            problems.append(str(error))
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def reads_gold(self) -> bool:
        """Whether gold answers are read."""
        return self.method != "sft" and self.empo.reads_gold()

    def _data_problems(self) -> list[str]:
        columns, own = self.data.columns, self.data.dataset == "demo"
        problems = []
        if self.reads_gold() and columns.gold is None and not own:
            asks = f"empo.reward={self.empo.reward}" if self.empo.signal().reads_gold else "empo.measure_gold"
            problems.append(f"{asks} needs data.columns.gold, the column with the gold answers")
        if self.method == "sft" and columns.response is None and not own:
            problems.append("method=sft needs data.columns.response, the column with what the model is to answer")
        return problems

    def _method_problems(self) -> list[str]:
        problems = []
        if self.method == "online_dpo":
            if self.empo.reward != "golden":
                problems.append(
                    f"method=online_dpo prefers one of two completions, and of two empo.reward={self.empo.reward} "
                    "rarely tells one: set empo.reward=golden"
                )
            if self.rollout.num_generations != 2:
                problems.append(
                    f"rollout.num_generations={self.rollout.num_generations}: TRL's OnlineDPOTrainer draws 2 "
                    "completions a prompt. Set rollout.num_generations=2"
                )
            if self.empo.guards:
                problems.append("empo.guards have no place in method=online_dpo: take them out")
        if self.method == "sft" and self.rollout.engine != "transformers":
            problems.append(f"rollout.engine={self.rollout.engine}: method=sft generates nothing. Take it out")
        return problems

    def _launch_problems(self) -> list[str]:
        training, problems = self.training, []
        if training.prompts_per_step % training.prompts_per_micro_batch:
            problems.append(
                f"training.prompts_per_step={training.prompts_per_step} is no multiple of "
                f"training.prompts_per_micro_batch={training.prompts_per_micro_batch}"
            )
        problems += self._pass_problems()
        if self.launch.strategy != "ddp" and self.device == "cpu":
            problems.append(
                f"launch.strategy={self.launch.strategy} needs GPUs: on the CPU accelerate would run ddp without a "
                "word. Set launch.strategy=ddp"
            )
        return problems

    def _pass_problems(self) -> list[str]:
        training, size = self.training, self.rollout.num_generations
        count = training.completions_per_pass
        if count is None:
            return []
        if self.method != "empo":
            return [f"training.completions_per_pass has no meaning for method={self.method}: take it out"]
        problems = []
        if size % count:
            divisors = [str(d) for d in range(1, size + 1) if size % d == 0]
            problems.append(
                f"training.completions_per_pass={count} cuts groups of rollout.num_generations={size} unevenly. "
                f"Divisors of {size}: {', '.join(divisors)}"
            )
        if training.prompts_per_micro_batch > 1:
            problems.append(
                "training.completions_per_pass is a part of one group: leave training.prompts_per_micro_batch=1"
            )
        if training.loss == "bnpo":
            problems.append(
                "training.loss=bnpo averages over the tokens of each pass by itself, and training.completions_per_pass "
                "would change it: use training.loss=dapo, which averages over the step's"
            )
        return problems

    def window_notes(self) -> list[str]:
        """What the bounds do at this G; an error where they keep nothing."""
        empo = self.empo
        window = EntropyWindow(empo.delta_low, empo.delta_high, empo.delta_units)
        ShareWindow(empo.max_p_low, empo.max_p_high)
        windowed = self.method == "empo" and empo.signal().windowed
        return window.check(self.rollout.num_generations) if windowed else []
