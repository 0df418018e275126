"""From a checked `Config` to TRL's own arguments.

Whatever a key of the configuration decides is written here once; `trl:` may set everything else that TRL knows.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from empo_rl.config.batch_layout import accumulation, rows_per_pass, rows_that_cut_groups
from empo_rl.config.schema import Config
from empo_rl.config.strategies import strategy_arguments
from semantic_entropy import InputError, nearest

# Where a user looks for what TRL calls otherwise.
_OWN_KEYS = {
    "per_device_train_batch_size": "training.prompts_per_micro_batch",
    "gradient_accumulation_steps": "training.prompts_per_step",
    "num_generations": "rollout.num_generations",
    "temperature": "rollout.temperature",
    "max_completion_length": "rollout.max_completion_tokens",
    "max_new_tokens": "rollout.max_completion_tokens",
    "max_length": "sft.max_tokens or online_dpo.max_tokens",
    "learning_rate": "training.learning_rate",
    "lr_scheduler_type": "training.schedule",
    "loss_type": "training.loss",
    "importance_sampling_level": "training.ratio",
    "scale_rewards": "empo.scale",
    "max_steps": "training.steps",
    "num_train_epochs": "training.epochs",
    "bf16": "training.precision",
    "use_vllm": "rollout.engine",
    "vllm_mode": "rollout.engine",
    "fsdp": "launch.strategy",
    "deepspeed": "launch.strategy",
    "push_to_hub": "push_to_hub.repo",
    "output_dir": "output_dir",
    "seed": "seed",
}
_SECRETS = ("hub_token", "push_to_hub_token")
_HUB = ("push_to_hub", "hub_model_id")  # `final/` is pushed when it is written, not each checkpoint


def training_arguments(config: Config, processes: int) -> Any:
    """The arguments of the trainer that `method` names: GRPOConfig, SFTConfig or OnlineDPOConfig.

    Raises:
        InputError: prompts do not divide among the processes, or `trl:` holds what TRL does not know, or what is
            decided by another key.
    """
    kind = training_argument_class(config.method)
    decided = decided_arguments(config, accumulation(config, processes))
    problems = argument_problems(config, decided, [field.name for field in dataclasses.fields(kind)])
    if problems:
        raise InputError("\n".join(problems))
    # No tracker unless one is asked for; and of the processes beside the first errors alone, not warnings too.
    quiet = {"report_to": "none", "log_level_replica": "error"}
    try:
        return kind(**decided, **{**quiet, **typed_values(config, kind)})
    except (TypeError, ValueError) as error:
        raise InputError(f"trl: {error}") from error


def typed_values(config: Config, kind: type) -> dict[str, Any]:
    """The section `trl` as the annotations of TRL's arguments have it: YAML reads 4e-4 as a text.

    Raises:
        InputError: a value that is none of its kind.
    """
    hints, values = typing.get_type_hints(kind), dict(config.trl)
    for key, value in values.items():
        try:
            values[key] = TypeAdapter(hints[key]).validate_python(value)
        except PydanticSchemaGenerationError:  # a type of torch's own
            continue
        except ValidationError as error:
            raise InputError(f"trl.{key}={value!r}: {error.errors()[0]['msg']}.") from error
    return values


def _rows_of_a_process(config: Config, key: str, value: object) -> object:
    """How many rows a process would generate at a time with this key of TRL's; None where it does not say."""
    if key == "per_device_train_batch_size":
        return value
    if key == "steps_per_generation" and isinstance(value, int):
        return value * rows_per_pass(config)
    if key == "generation_batch_size" and isinstance(value, int):
        return value / config.launch.processes
    return None


def argument_problems(config: Config, decided: Mapping[str, Any], known: Collection[str] | None) -> list[str]:
    """What is wrong with the section `trl`. known: what TRL's arguments are called; None leaves that out."""
    problems = []
    for key, value in config.trl.items():
        own = _OWN_KEYS.get(key)
        cut = rows_that_cut_groups(config, _rows_of_a_process(config, key, value))
        if key in _SECRETS:
            problems.append(
                f"trl.{key}: a secret has no place in a configuration, which is written down and pushed: use `hf auth "
                "login`, or the variable HF_TOKEN."
            )
        elif cut:
            problems.append(f"trl.{key}: {cut}.")
        elif key in decided or key in _HUB:
            given = f" (it is {decided[key]!r})" if key in decided else ""
            what = f"Set {own} instead." if own else "See docs/empo/training.md."
            problems.append(f"trl.{key}: decided by this configuration{given}. {what}")
        elif known is not None and key not in known:
            hint = nearest(f"trl.{key}", [f"trl.{name}" for name in known])
            problems.append(f"trl.{key} is no argument of trl.{argument_class_name(config.method)}.{hint}")
    return problems


def decided_arguments(config: Config, passes: int) -> dict[str, Any]:
    """The arguments that keys of this configuration decide, with so many backward passes a step; needs no TRL."""
    training = config.training
    length = {"max_steps": training.steps} if training.steps else {"num_train_epochs": training.epochs}
    return {
        **length,
        "output_dir": config.output_dir,
        "seed": config.seed,
        "use_cpu": config.device == "cpu",
        "per_device_train_batch_size": rows_per_pass(config),
        "gradient_accumulation_steps": passes,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": training.schedule,
        "warmup_steps": training.warmup_steps,
        "max_grad_norm": training.max_grad_norm,
        "bf16": training.precision == "bf16",
        "gradient_checkpointing": training.gradient_checkpointing,
        "save_strategy": "steps",
        "save_steps": training.save_every,
        "save_total_limit": training.keep_checkpoints,
        "logging_steps": 1,
        "disable_tqdm": True,
        **_METHODS[config.method](config),
        **strategy_arguments(config),
    }


def argument_class_name(method: str) -> str:
    """TRL's name of a method's arguments."""
    return {"empo": "GRPOConfig", "sft": "SFTConfig", "online_dpo": "experimental.online_dpo.OnlineDPOConfig"}[method]


def training_argument_class(method: str) -> Any:
    """TRL's class of a method's arguments; imports TRL."""
    if method == "sft":
        from trl import SFTConfig

        return SFTConfig
    if method == "online_dpo":
        from trl.experimental.online_dpo import OnlineDPOConfig

        return OnlineDPOConfig
    from trl import GRPOConfig

    return GRPOConfig


def _empo(config: Config) -> dict[str, Any]:
    training, rollout = config.training, config.rollout
    return {
        "num_generations": rollout.num_generations,
        "temperature": rollout.temperature,
        "max_completion_length": rollout.max_completion_tokens,
        "loss_type": training.loss,
        "importance_sampling_level": training.ratio,
        "epsilon": training.epsilon,
        "scale_rewards": config.empo.scale,
        "beta": 0.0,
        **_vllm(config),
    }


def _sft(config: Config) -> dict[str, Any]:
    return {
        "max_length": config.sft.max_tokens,
        "packing": config.sft.packing,
        "completion_only_loss": True,  # the question is given, not learned
    }


def _online_dpo(config: Config) -> dict[str, Any]:
    prompt, completion = config.data.max_prompt_tokens or 512, config.rollout.max_completion_tokens
    return {
        "temperature": config.rollout.temperature,
        "max_new_tokens": completion,
        "max_length": config.online_dpo.max_tokens or prompt + completion,
        "beta": [config.online_dpo.beta],
        "loss_type": config.online_dpo.loss,
        **_vllm(config),
    }


def _vllm(config: Config) -> dict[str, Any]:
    engine, vllm = config.rollout.engine, config.rollout.vllm
    if engine == "transformers":
        return {"use_vllm": False}
    if engine == "vllm-server":
        return {
            "use_vllm": True,
            "vllm_mode": "server",
            "vllm_server_host": vllm.host,
            "vllm_server_port": vllm.port,
        }
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_gpu_memory_utilization": vllm.gpu_memory,
        "vllm_tensor_parallel_size": vllm.tensor_parallel,
    }


_METHODS = {"empo": _empo, "sft": _sft, "online_dpo": _online_dpo}
