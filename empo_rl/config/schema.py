"""Define the schema of a training configuration: sections with typed keys.

    CONFIG.yaml + key=value from the command line (nested keys with dots)  ->  Config

`empo_rl.config.load` reads the file and explains each error. For an unknown key, the error names the nearest
existing key. For a wrong value, the error names the file, the key, the value and the expected values. The section
`trl:` can set TRL's arguments, except the arguments that a key of this schema sets.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from empo_rl.config.batch_layout import pass_problems
from empo_rl.config.sections import Data, Evaluation, Positive, Samples, Section, Verl, expand_path
from empo_rl.config.templates import Template
from empo_rl.core.advantages import Scale
from empo_rl.core.filters import EntropyUnits, EntropyWindow, Outside, ShareWindow
from empo_rl.core.presets import preset
from empo_rl.core.rewards import InvalidPolicy, RewardSignal, load_reward
from empo_rl.monitor import Action, Monitor
from empo_rl.plugin import absolute_references, referenced_files, with_imports
from semantic_entropy import SemanticEntropyError

# names of transformers. The names of kernel repositories on the hub are not allowed: they run code of the repository
Attention = Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"]
Correction = Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "none"]


class Empo(Section):
    """The options of `EmpoProvider`; see docs/empo/provider.md. A preset sets the keys that the user does not give."""

    preset: str | None = None
    reward: str = "empo"
    reward_options: dict[str, Any] = Field(default_factory=dict)
    equivalence: str = "math"
    equivalence_options: dict[str, Any] = Field(default_factory=dict)  # of the judge `equivalence`
    extract: str | None = None
    invalid: InvalidPolicy = "singleton_zero"
    delta_low: Annotated[float, Field(allow_inf_nan=True)] = 0.0  # -.inf: no lower bound
    delta_high: Annotated[float, Field(allow_inf_nan=True)] = math.inf  # nan is refused by EntropyWindow
    delta_units: EntropyUnits = "nats"
    max_p_low: float = 0.0
    max_p_high: float = 1.0
    outside: Outside = "drop"
    filters: dict[str, Any] = Field(default_factory=dict)
    guards: dict[str, Any] = Field(default_factory=dict)
    scale: Scale = "group"
    grader: str | None = None
    grader_options: dict[str, Any] = Field(default_factory=dict)  # of the judge `grader`
    measure_entropy: bool = False
    measure_gold: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not values.get("preset"):
            return values
        return {**preset(values["preset"]), **values}

    @field_validator("reward", "reward_options", "filters", "guards")
    @classmethod
    def _with_absolute_paths(cls, value: Any) -> Any:
        return absolute_references(value)

    @field_validator("equivalence_options", "grader_options")
    @classmethod
    def _without_secrets(cls, options: dict[str, Any]) -> dict[str, Any]:
        if "api_key" in options:
            raise ValueError(
                "do not put api_key into a configuration, which is written to disk. Set the environment variable "
                "OPENAI_API_KEY"
            )
        return options

    def choices(self) -> dict[str, Any]:
        """The keyword arguments of `EmpoProvider`."""
        return self.model_dump(exclude={"preset"})

    def code_files(self) -> list[Path]:
        """The Python files that compute rewards: those that `reward`, its options, `filters` and `guards` name."""
        return sorted(referenced_files([self.reward, self.reward_options, self.filters, self.guards]))

    def reads_gold(self) -> bool:
        """Whether the reward or a measurement reads gold answers."""
        return self.measure_gold or self.signal().reads_gold

    def signal(self) -> RewardSignal:
        """The reward with the name `reward` and the options `reward_options`.

        Raises:
            ValueError: no reward has this name, or the reward refuses its options.
        """
        try:
            return load_reward(self.reward, self.reward_options)
        except SemanticEntropyError as error:
            raise ValueError(f"empo.reward: {error}") from error


class VLLM(Section):
    """Settings for the two vLLM engines of `rollout.engine`."""

    host: str = "127.0.0.1"  # vllm-server: the address of the server
    port: Annotated[int, Field(gt=0, le=65535)] = 8000
    gpu_memory: Annotated[float, Field(gt=0, le=1)] = 0.3  # vllm-colocate: vLLM's share of each GPU
    tensor_parallel: Positive = 1  # vllm-colocate: the number of GPUs that share one copy of the model
    # How the loss corrects for the difference between the trainer's probabilities and vLLM's. token_truncate: a token's
    # weight is the ratio of its two probabilities, at most trl.vllm_importance_sampling_clip_max (3). The sequence_*
    # modes multiply the ratios of all tokens, so the weight of a long completion can be near 0, or exactly 0
    # (sequence_mask, the default of TRL).
    correction: Correction = "token_truncate"


class Rollout(Section):
    """Options for sampling completions."""

    num_generations: Annotated[int, Field(ge=2)] = 8  # G, the completions of one prompt
    temperature: Annotated[float, Field(ge=0.001, le=1000)] = 1.0  # outside, probabilities overflow in fp32
    max_completion_tokens: Positive = 1024
    engine: Literal["transformers", "vllm-colocate", "vllm-server"] = "transformers"
    vllm: VLLM = VLLM()


class Training(Section):
    """Options for policy updates. One on-policy step uses `prompts_per_step` x `num_generations` completions."""

    steps: Positive | None = None
    epochs: Annotated[float, Field(gt=0)] = 1.0  # used if steps is not given
    prompts_per_step: Positive = 32
    prompts_per_micro_batch: Positive = 1  # whole groups per device and backward pass; memory limits this number
    completions_per_pass: Positive | None = None  # splits a group, if memory cannot hold a whole group
    learning_rate: Annotated[float, Field(gt=0)] = 1e-6
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    loss: Literal["grpo", "dr_grpo", "bnpo", "dapo"] = "grpo"
    ratio: Literal["token", "sequence"] = "token"  # sequence: GSPO
    epsilon: Annotated[float, Field(gt=0)] = 0.2  # clip range of the ratio; has no effect on-policy
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # of computation; auto: bf16 if the accelerator has it
    weights: Literal["auto", "bf16", "fp32"] = "auto"  # of stored weights; auto: fp32 for trained weights
    gradient_checkpointing: bool = True
    save_every: Positive = 50  # steps
    keep_checkpoints: Positive | None = None  # None: all


class Monitoring(Section):
    """Options of the alarms; see docs/empo/monitor.md. `NAME: null` turns an alarm off; other alarms keep defaults."""

    action: Action = "warn"
    alarms: dict[str, Any] = Field(default_factory=dict)

    @field_validator("alarms")
    @classmethod
    def _with_absolute_paths(cls, value: dict[str, Any]) -> Any:
        return absolute_references(value)

    @model_validator(mode="after")
    def _alarms_exist(self) -> Monitoring:
        try:
            self.make_monitor()
        except SemanticEntropyError as error:
            raise ValueError(str(error)) from error
        return self

    def make_monitor(self) -> Monitor:
        """A new monitor with these alarms."""
        return Monitor(self.alarms, action=self.action)


class Lora(Section):
    """Low-rank adapters by peft. The weights of the model itself do not change."""

    r: Positive = 16
    alpha: Annotated[float, Field(gt=0)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: str | list[str] = "all-linear"
    merge: bool = False  # true: final/ holds the merged model and adapter/ the adapter
    load_in_4bit: bool = False  # QLoRA: bitsandbytes keeps the weights of the model in 4 bits (Dettmers et al. 2023)
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    bnb_4bit_use_double_quant: bool = True  # quantizes the scales of the 4-bit blocks, too


class Sft(Section):
    """Options of `method: sft`."""

    max_tokens: Positive = 4096  # question and response together; longer examples are truncated
    packing: bool = False  # true: one row holds several examples


class OnlineDpo(Section):
    """Options of `method: online_dpo`."""

    beta: Annotated[float, Field(gt=0)] = 0.1
    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    max_tokens: Positive | None = None  # prompt + completion; None: data.max_prompt_tokens (or 512) + rollout limit


class Launch(Section):
    """Options for several processes: their number, the machines, and the strategy.

    strategy `ddp`: each process holds the whole model. `fsdp2` and `zero3`: each process holds a shard of the weights,
    gradients and optimizer states.
    """

    processes: Positive = 1  # total of all machines; one GPU per process
    machines: Positive = 1
    machine_rank: Annotated[int, Field(ge=0)] = 0
    main_address: str | None = None  # address of the machine with rank 0
    main_port: Annotated[int, Field(ge=0, le=65535)] | None = None  # None: any free port, on one machine only
    strategy: Literal["ddp", "fsdp2", "zero3"] = "ddp"

    @model_validator(mode="after")
    def _machines_agree(self) -> Launch:
        if self.processes % self.machines:
            raise ValueError(
                f"launch.processes={self.processes} counts the processes of all machines, and must be a multiple of "
                f"launch.machines={self.machines}"
            )
        if self.machine_rank >= self.machines:
            raise ValueError(
                f"launch.machine_rank={self.machine_rank}: the ranks of {self.machines} machines are 0 to "
                f"{self.machines - 1}"
            )
        if self.machines > 1 and (self.main_address is None or not self.main_port):
            raise ValueError(
                "launch.machines > 1 needs launch.main_address and launch.main_port of the machine with rank 0"
            )
        return self


class Hub(Section):
    """The hub repository that receives `final/` after training."""

    repo: str
    private: bool = True


class Demo(Section):
    """Options of `model: demo`, the tiny base model of the demo."""

    pretrain_steps: Positive = 550


class ModelShape(Section):
    """Sizes for `--check`: the model, if its config.json is not on this machine, the GPU, and the host."""

    parameters: Annotated[float, Field(gt=0)] | None = None
    hidden: Positive | None = None
    layers: Positive | None = None
    vocabulary: Positive | None = None
    keys: Positive | None = None  # the width of a token's keys in one layer
    device_gib: Annotated[float, Field(gt=0)] | None = None
    host_gib: Annotated[float, Field(gt=0)] | None = None  # memory of the host of one machine


class Config(Section):
    """The configuration of one training run."""

    model: str
    revision: str | None = None  # a branch, tag or commit of the model on the hub; None: the main branch
    attn_implementation: Attention | None = None  # None: the choice of transformers
    output_dir: str
    method: Literal["empo", "sft", "online_dpo"] = "empo"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0  # the range of numpy
    resume: bool = False
    device: Literal["auto", "cpu"] = "auto"
    data: Data
    template: Template = Template()
    empo: Empo = Empo()
    rollout: Rollout = Rollout()
    training: Training = Training()
    monitor: Monitoring = Monitoring()
    samples: Samples = Samples()
    verl: Verl = Verl()
    evaluation: Evaluation | None = None
    lora: Lora | None = None
    sft: Sft = Sft()
    online_dpo: OnlineDpo = OnlineDpo()
    launch: Launch = Launch()
    push_to_hub: Hub | None = None
    demo: Demo = Demo()
    check: ModelShape = ModelShape()
    trl: dict[str, Any] = Field(default_factory=dict)

    @field_validator("output_dir", "model")
    @classmethod
    def _with_home(cls, path: str) -> str:
        return expand_path(path)

    @model_validator(mode="after")
    def _sections_agree(self) -> Config:
        problems = [*self._model_problems(), *self._data_problems(), *self._method_problems(), *self._launch_problems()]
        try:
            self.group_size_notes()
        except ValueError as error:  # InputError is a ValueError
            problems.append(str(error))
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def reads_gold(self) -> bool:
        """Whether the run reads gold answers."""
        return self.method != "sft" and self.empo.reads_gold()

    def weights_precision(self) -> str:
        """The precision of the stored weights, `bf16` or `fp32`. `training.precision` is the precision of computation.

        With LoRA, the weights of the model do not change, so storing them in bf16 loses no updates.
        """
        if self.training.weights != "auto":
            return self.training.weights
        return "bf16" if self.lora is not None and self.training.precision == "bf16" else "fp32"

    def code_files(self) -> list[Path]:
        """The Python files of the user that compute rewards."""
        return [] if self.method == "sft" else self.empo.code_files()

    def reward_files(self) -> list[Path]:
        """All files of the user from which rewards are computed: code with its loaded imports, and data."""
        data = [] if self.method == "sft" else self.empo.signal().files()
        return [*with_imports(self.code_files()), *data]

    def group_size_notes(self) -> list[str]:
        """Sentences about the effect of the entropy window and of the signal at this group size.

        Raises:
            InputError: no group can lie inside the window, or the signal cannot work at this group size.
        """
        empo = self.empo
        window = EntropyWindow(empo.delta_low, empo.delta_high, empo.delta_units)
        ShareWindow(empo.max_p_low, empo.max_p_high)
        if self.method != "empo":
            return []
        signal, size = empo.signal(), self.rollout.num_generations
        return [*(window.check(size) if signal.windowed else []), *signal.check(size)]

    def _model_problems(self) -> list[str]:
        problems = []
        if self.model == "demo" and (self.revision or self.attn_implementation):
            problems.append("model=demo is made on this machine: remove revision and attn_implementation")
        if self.empo.grader_options and self.empo.grader is None:
            problems.append(
                "empo.grader_options needs empo.grader. Without empo.grader, the judge empo.equivalence grades, with "
                "empo.equivalence_options"
            )
        if self.lora is None or not self.lora.load_in_4bit:
            return problems
        if self.model == "demo" or self.device == "cpu":
            given = "model=demo" if self.model == "demo" else "device=cpu"
            problems.append(f"lora.load_in_4bit needs a GPU, which {given} does not use. Set lora.load_in_4bit=false")
        if self.launch.strategy != "ddp":
            problems.append(
                f"lora.load_in_4bit does not work with launch.strategy={self.launch.strategy}, which shards weights "
                "that are not quantized. Set launch.strategy=ddp"
            )
        if self.rollout.engine != "transformers":
            problems.append(
                f"lora.load_in_4bit does not work with rollout.engine={self.rollout.engine}: TRL would merge the "
                "adapter into 4-bit weights before each generation, and the rounding loses small updates. Set "
                "rollout.engine=transformers"
            )
        if self.training.weights == "bf16":
            problems.append("training.weights=bf16 does not apply to lora.load_in_4bit. Remove training.weights")
        return problems

    def _data_problems(self) -> list[str]:
        columns, is_demo = self.data.columns, self.data.dataset == "demo"
        problems = []
        if self.reads_gold() and columns.gold is None and not is_demo:
            reader = f"empo.reward={self.empo.reward}" if self.empo.signal().reads_gold else "empo.measure_gold"
            problems.append(f"{reader} needs data.columns.gold, the column with the gold answers")
        if self.method == "sft" and columns.response is None and not is_demo:
            problems.append("method=sft needs data.columns.response, the column with the responses to learn")
        return problems

    def _method_problems(self) -> list[str]:
        problems = []
        if self.method == "online_dpo":
            if self.empo.reward != "golden":
                problems.append(
                    "method=online_dpo prefers one of two completions, and "
                    f"empo.reward={self.empo.reward} rarely tells two completions apart. Set empo.reward=golden"
                )
            if self.rollout.num_generations != 2:
                problems.append(
                    f"rollout.num_generations={self.rollout.num_generations}: TRL's OnlineDPOTrainer samples 2 "
                    "completions per prompt. Set rollout.num_generations=2"
                )
            if self.empo.guards:
                problems.append("empo.guards does not apply to method=online_dpo. Remove empo.guards")
        if self.method != "empo" and self.evaluation is not None:
            problems.append(f"evaluation needs method=empo, not method={self.method}. Use empo-eval after the training")
        if self.evaluation is not None and self.training.keep_checkpoints == 1:
            problems.append(
                "training.keep_checkpoints=1 leaves no room for the best checkpoint of `evaluation` beside the last. "
                "Set training.keep_checkpoints=2"
            )
        if self.method == "sft" and (engine := self.rollout.engine) != "transformers":
            problems.append(f"rollout.engine={engine}: method=sft generates no completions. Remove rollout.engine")
        return problems

    def _launch_problems(self) -> list[str]:
        problems = pass_problems(self)
        if self.lora is not None and self.launch.strategy == "fsdp2" and self.rollout.engine != "transformers":
            problems.append(
                f"lora with launch.strategy=fsdp2 and rollout.engine={self.rollout.engine}: TRL merges the adapter "
                "into the weights before it sends them to vLLM, and cannot merge into shards of FSDP. Set "
                "launch.strategy=ddp or zero3, or rollout.engine=transformers"
            )
        if self.launch.strategy != "ddp" and self.device == "cpu":
            problems.append(
                f"launch.strategy={self.launch.strategy} needs GPUs. On the CPU, accelerate would silently run ddp. "
                "Set launch.strategy=ddp"
            )
        return problems
