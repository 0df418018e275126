"""Translate a checked `Config` into the arguments of TRL's trainers.

This module translates each key of the configuration once. The section `trl:` can set all other arguments of TRL. The
strategy determines the part of the model that each process holds:

    ddp      the whole model                            (torch's DistributedDataParallel)
    fsdp2    a shard, gathered layer by layer           (torch's fully_shard, through accelerate)
    zero3    a shard                                    (DeepSpeed's ZeRO stage 3)

The strategy is part of the training arguments, not of a launcher's file, so `empo-train`, `accelerate launch` and
torchrun all start the same run.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from pydantic import PositiveInt, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from empo_rl.config.batch_layout import (
    ASSUMED_PROMPT_TOKENS,
    accumulation_steps,
    rows_per_pass,
    rows_under_trl_key,
    split_group_problem,
)
from empo_rl.config.error_messages import expected_value
from empo_rl.config.schema import Config
from empo_rl.core.advantages import trl_scale
from semantic_entropy import InputError, nearest

PROCESS_TIMEOUT_SECONDS = 1800  # the default of transformers for ddp_timeout; torch's own default for NCCL is 600

# TRL's name of an argument -> the key of this configuration that decides the argument
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
    "vllm_importance_sampling_correction": "rollout.vllm.correction",
    "vllm_importance_sampling_mode": "rollout.vllm.correction",
    "fsdp": "launch.strategy",
    "deepspeed": "launch.strategy",
    "push_to_hub": "push_to_hub.repo",
    "output_dir": "output_dir",
    "seed": "seed",
}
# TRL's arguments that have no effect here, or that change the batch of a process -> the reason and the advice
_REFUSED = {
    "model_init_kwargs": "has no effect, because empo-train loads the model. Remove it; docs/empo/training.md lists "
    "the keys of the model",
    "reward_weights": "has no effect, because there is one reward. Use empo.reward=composite and "
    "empo.reward_options.weights",
    "multi_objective_aggregation": "has no effect, because there is one reward. Remove it",
    "auto_find_batch_size": "would split groups when the memory is too small. Set training.prompts_per_micro_batch or "
    "training.completions_per_pass",
    "accelerator_config": "would divide the rows among the processes in another way. Remove it; the section launch "
    "sets the processes",
}
_SECRETS = ("hub_token", "push_to_hub_token")
_HUB = ("push_to_hub", "hub_model_id")  # empo-train pushes `final/` once; TRL would push every checkpoint


def process_timeout(config: Config) -> timedelta:
    """The longest time that a process waits for another one: `trl.ddp_timeout`, in seconds.

    Raises:
        InputError: the value is not a positive number of seconds.
    """
    value = config.trl.get("ddp_timeout", PROCESS_TIMEOUT_SECONDS)
    try:
        return timedelta(seconds=TypeAdapter(PositiveInt).validate_python(value))
    except ValidationError as error:
        raise InputError(f"trl.ddp_timeout={value!r}: {error.errors()[0]['msg']}. Give a number of seconds.") from error


def training_arguments(config: Config, processes: int) -> Any:
    """The arguments for the trainer of `method`: a GRPOConfig, SFTConfig or OnlineDPOConfig.

    Raises:
        InputError: the prompts cannot be divided among the processes, or `trl:` contains an argument that TRL does not
            know, or that another key of the configuration sets.
    """
    kind = training_argument_class(config.method)
    decided = decided_arguments(config, accumulation_steps(config, processes))
    problems = trl_section_problems(config, decided, [field.name for field in dataclasses.fields(kind)])
    if problems:
        raise InputError("\n".join(problems))
    # No experiment tracker unless `trl:` names one. Processes other than the first log errors only, no warnings.
    defaults: dict[str, Any] = {"report_to": "none", "log_level_replica": "error"}
    length = vllm_model_length(config, config.data.max_prompt_tokens)
    if length is not None and config.method == "empo":
        defaults["vllm_max_model_length"] = length
    try:
        return kind(**decided, **{**defaults, **trl_section_values(config, kind)})
    except (TypeError, ValueError) as error:
        raise InputError(f"trl: {error}") from error


def trl_section_values(config: Config, kind: type) -> dict[str, Any]:
    """The section `trl`, with values converted to the types of TRL's arguments. (YAML reads 4e-4 as a string.)

    Raises:
        InputError: a value cannot be converted.
    """
    hints, values = typing.get_type_hints(kind), dict(config.trl)
    for key, value in values.items():
        try:
            values[key] = TypeAdapter(hints[key]).validate_python(value)
        except PydanticSchemaGenerationError:  # a type that pydantic does not know, such as torch.device
            continue
        except ValidationError as error:
            wanted = " or ".join(dict.fromkeys(expected_value(dict(detail)) for detail in error.errors()))
            raise InputError(f"trl.{key}={value!r}: expected {wanted}.") from error
        if not _is_finite(values[key]):  # the text inf
            raise InputError(_not_finite(key, value))
    return values


def _is_finite(value: Any) -> bool:
    """Whether the value contains neither an infinite number nor nan."""
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _not_finite(key: str, value: Any) -> str:
    return f"trl.{key}={value!r}: expected a finite number."


def trl_section_problems(config: Config, decided: Mapping[str, Any], known: Collection[str] | None) -> list[str]:
    """The problems of the section `trl`. known: names of TRL's arguments; None: do not check names."""
    problems = _vllm_length_problems(config)
    for key, value in config.trl.items():
        own = _OWN_KEYS.get(key)
        split_group = split_group_problem(config, rows_under_trl_key(config, key, value))
        if key in _SECRETS:
            problems.append(
                f"trl.{key}: do not put a secret into a configuration, which is written to disk and pushed. Use `hf "
                "auth login`, or the variable HF_TOKEN."
            )
        elif split_group:
            problems.append(f"trl.{key}: {split_group}.")
        elif key in _REFUSED:
            problems.append(f"trl.{key}={value!r} {_REFUSED[key]}.")
        elif key in decided or key in _HUB:
            given = f" (it is {decided[key]!r})" if key in decided else ""
            advice = f"Set {own} instead." if own else "See docs/empo/training.md."
            problems.append(f"trl.{key}: decided by this configuration{given}. {advice}")
        elif not _is_finite(value):
            problems.append(_not_finite(key, value))
        elif known is not None and key not in known:
            hint = nearest(f"trl.{key}", [f"trl.{name}" for name in known])
            name = _ARGUMENT_CLASSES[config.method]
            problems.append(f"trl.{key} is not an argument of trl.{name}.{hint}")
    return problems


def _vllm_length_problems(config: Config) -> list[str]:
    key, value = "vllm_max_model_length", config.trl.get("vllm_max_model_length")
    if config.rollout.engine == "vllm-server" and value is not None:
        return [f"trl.{key}={value} has no effect on a server. Start it with `trl vllm-serve --max_model_len {value}`."]
    needed = vllm_model_length(config, config.data.max_prompt_tokens)
    if needed is None or not isinstance(value, int) or value >= needed:
        return []
    problem = (
        f"trl.{key}={value} is less than data.max_prompt_tokens={config.data.max_prompt_tokens} + "
        f"rollout.max_completion_tokens={config.rollout.max_completion_tokens} = {needed}, so vLLM would refuse or cut "
        f"sequences. Set at least {needed}, or remove it."
    )
    return [problem]


def decided_arguments(config: Config, accumulation: int) -> dict[str, Any]:
    """The arguments of TRL that the keys of this configuration set. This function does not import TRL.

    accumulation: number of backward passes per step.
    """
    training = config.training
    length = {"max_steps": training.steps} if training.steps else {"num_train_epochs": training.epochs}
    return {
        **length,
        "output_dir": config.output_dir,
        "seed": config.seed,
        "use_cpu": config.device == "cpu",
        "per_device_train_batch_size": rows_per_pass(config),
        "gradient_accumulation_steps": accumulation,
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


def vllm_model_length(config: Config, prompt_tokens: int | None) -> int | None:
    """The number of tokens of the longest sequence that vLLM in the training processes must hold: prompt + completion.

    Without this limit, vLLM reserves memory for one sequence of the model's full context, which can be 131,072 tokens.

    Args:
        config: the configuration.
        prompt_tokens: the number of tokens of the longest prompt; None: unknown.

    Returns:
        None if the prompt length is unknown, or if vLLM does not run in the training processes. The context of a vLLM
        server is an option of the server.
    """
    if config.rollout.engine != "vllm-colocate" or prompt_tokens is None:
        return None
    return prompt_tokens + config.rollout.max_completion_tokens


def training_argument_class(method: str) -> Any:
    """TRL's class of the arguments for a method; imports TRL."""
    if method == "sft":
        from trl import SFTConfig

        return SFTConfig
    if method == "online_dpo":
        from trl.experimental.online_dpo import OnlineDPOConfig

        return OnlineDPOConfig
    from trl import GRPOConfig

    return GRPOConfig


def strategy_arguments(config: Config) -> dict[str, Any]:
    """The arguments of `transformers.TrainingArguments` for `launch.strategy`."""
    if config.launch.strategy == "fsdp2":
        return {"fsdp": True, "fsdp_config": fsdp2_settings()}
    if config.launch.strategy == "zero3":
        return {"deepspeed": zero3_settings()}
    return {"ddp_find_unused_parameters": False}  # every step uses every weight


def fsdp2_settings() -> dict[str, Any]:
    """Settings of FSDP2: each transformer layer is one unit, and no process holds the whole model after the start."""
    return {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,  # False would use more memory, and gather the weights once less
        "state_dict_type": "SHARDED_STATE_DICT",  # each process writes its shard; FULL would gather 16 N bytes in one
        "cpu_ram_efficient_loading": True,  # one process of each machine loads the weights, and sends the shards
    }


def zero3_settings() -> dict[str, Any]:
    """Settings of DeepSpeed, which keeps fp32 weights and optimizer states; transformers fills in each "auto"."""
    return {
        "zero_optimization": {
            "stage": 3,
            "overlap_comm": True,
            "contiguous_gradients": True,
            "reduce_bucket_size": "auto",
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            "stage3_gather_16bit_weights_on_model_save": True,  # with False, a checkpoint contains no model
        },
        "bf16": {"enabled": "auto"},
        "gradient_clipping": "auto",
        "gradient_accumulation_steps": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
    }


def _empo(config: Config) -> dict[str, Any]:
    training, rollout = config.training, config.rollout
    return {
        "num_generations": rollout.num_generations,
        **({"num_generations_eval": config.evaluation.n} if config.evaluation is not None else {}),
        "temperature": rollout.temperature,
        "max_completion_length": rollout.max_completion_tokens,
        "loss_type": training.loss,
        "importance_sampling_level": training.ratio,
        "epsilon": training.epsilon,
        "scale_rewards": trl_scale(config.empo.scale),
        "beta": 0.0,
        **_vllm(config),
        **_vllm_correction(config),
    }


def _sft(config: Config) -> dict[str, Any]:
    return {
        "max_length": config.sft.max_tokens,
        "packing": config.sft.packing,
        "completion_only_loss": True,  # the model learns the response, not the question
    }


def _online_dpo(config: Config) -> dict[str, Any]:
    prompt = config.data.max_prompt_tokens or ASSUMED_PROMPT_TOKENS
    completion = config.rollout.max_completion_tokens
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


def _vllm_correction(config: Config) -> dict[str, Any]:
    if config.rollout.engine == "transformers":
        return {}
    correction = config.rollout.vllm.correction
    if correction == "none":
        return {"vllm_importance_sampling_correction": False}
    return {"vllm_importance_sampling_correction": True, "vllm_importance_sampling_mode": correction}


_METHODS = {"empo": _empo, "sft": _sft, "online_dpo": _online_dpo}
_ARGUMENT_CLASSES = {
    "empo": "GRPOConfig",
    "sft": "SFTConfig",
    "online_dpo": "experimental.online_dpo.OnlineDPOConfig",
}
