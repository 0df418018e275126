"""Translate a checked `Config` into the command line of verl (0.9): `empo-train --engine verl CONFIG`.

    verl_command(config, prompts)  ->  python -m verl.trainer.main_ppo KEY=VALUE ...

Each value is written in the grammar of Hydra, so that any text arrives unchanged. The section `verl:` of the
configuration has what only verl knows: `refill`, and `overrides` with any key of verl. This module imports neither verl
nor Hydra.

verl counts a step for each sampling, and `training.steps` for each update of the weights. So steps, the warm-up and
`training.save_every` are divided by the updates of a sampling, which `trl.steps_per_generation` sets on TRL.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from empo_rl.config.batch_layout import ASSUMED_PROMPT_TOKENS, rows_per_pass, sequences_per_generation
from empo_rl.config.schema import Config
from semantic_entropy import InputError

MODULE = "empo_rl.trainers.verl"
CHECKPOINTS = "checkpoints"  # the folder of verl's checkpoints in output_dir
SCORE_MODULE, SCORE_NAME = f"pkg://{MODULE}.verl_trainer", "placeholder_score"
_LOSSES = {"grpo": "seq-mean-token-mean", "dapo": "token-mean", "dr_grpo": "seq-mean-token-sum-norm"}
_SCHEDULES = {"constant": "constant", "constant_with_warmup": "constant", "cosine": "cosine"}
_CORRECTIONS = {"token_truncate": "token", "sequence_truncate": "sequence"}
# the keys of the section `trl` with an equal in verl, and those that say how TRL divides a sampling
_TRL_KEYS = {"epsilon_high", "weight_decay", "vllm_importance_sampling_clip_max"}
_TRL_LAYOUT = {"steps_per_generation", "generation_batch_size"}
_KEY = re.compile(r"[A-Za-z_][\w.@/-]*")


def verl_command(config: Config, prompts: Path) -> list[str]:
    """The command that trains with verl, for `subprocess` or, joined by `shlex.join`, for a shell.

    Args:
        config: the configuration.
        prompts: the Parquet file with the prompts of the run.

    Raises:
        InputError: verl cannot train this configuration. The message has one line for each reason.
    """
    if problems := verl_problems(config):
        raise InputError("\n".join(problems))
    return [sys.executable, "-m", "verl.trainer.main_ppo", *verl_overrides(config, prompts)]


def verl_overrides(config: Config, prompts: Path) -> list[str]:
    """The arguments `key=value` of verl's command, in the grammar of Hydra."""
    values = {**dict(_values(config, prompts)), **config.verl.overrides}
    return [f"{key}={hydra_value(value)}" for key, value in values.items()]


def updates_per_sampling(config: Config) -> float:
    """The number of updates of the weights that one sampling serves."""
    rows = sequences_per_generation(config) * config.launch.processes
    return rows / (config.training.prompts_per_step * config.rollout.num_generations)


def _values(config: Config, prompts: Path) -> Iterator[tuple[str, Any]]:
    updates = int(updates_per_sampling(config))
    yield "trainer.v1.trainer_mode", "empo"
    yield "algorithm.adv_estimator", "grpo"
    yield "algorithm.use_kl_in_reward", False
    yield "algorithm.filter_groups.enable", config.verl.refill
    yield "reward.custom_reward_function.path", SCORE_MODULE
    yield "reward.custom_reward_function.name", SCORE_NAME
    yield "+empo.provider", _json(provider_arguments(config))
    yield from _data(config, prompts, updates)
    yield from _model(config)
    yield from _update(config, updates)
    yield from _sampling(config)
    yield from _run(config, updates)


def _data(config: Config, prompts: Path, updates: int) -> Iterator[tuple[str, Any]]:
    yield "data.train_files", str(prompts)
    yield "data.val_files", str(prompts)  # verl needs a file; it is not used, because test_freq is -1
    yield "data.train_batch_size", config.training.prompts_per_step * updates
    yield "data.max_prompt_length", config.data.max_prompt_tokens or ASSUMED_PROMPT_TOKENS
    yield "data.max_response_length", config.rollout.max_completion_tokens
    yield "data.truncation", "error"  # long prompts are removed before
    yield "data.seed", config.seed


def _model(config: Config) -> Iterator[tuple[str, Any]]:
    model = "actor_rollout_ref.model"
    yield f"{model}.path", config.model
    yield f"{model}.enable_gradient_checkpointing", config.training.gradient_checkpointing
    if (template := config.template.chat_template_text()) is not None:
        yield f"{model}.custom_chat_template", template
    if config.attn_implementation is not None:
        yield f"+{model}.override_config.attn_implementation", config.attn_implementation


def _update(config: Config, updates: int) -> Iterator[tuple[str, Any]]:
    training, actor = config.training, "actor_rollout_ref.actor"
    yield f"{actor}.strategy", "fsdp2"
    yield f"{actor}.fsdp_config.model_dtype", "fp32" if config.weights_precision() == "fp32" else "bfloat16"
    yield f"{actor}.ppo_mini_batch_size", training.prompts_per_step
    yield f"{actor}.ppo_micro_batch_size_per_gpu", rows_per_pass(config)
    yield f"{actor}.use_kl_loss", False
    yield f"{actor}.shuffle", False
    yield f"{actor}.policy_loss.loss_mode", "gspo" if training.ratio == "sequence" else "vanilla"
    yield f"{actor}.loss_agg_mode", _LOSSES[training.loss]
    if training.loss == "dr_grpo":
        yield f"{actor}.loss_scale_factor", config.rollout.max_completion_tokens
    yield f"{actor}.clip_ratio", training.epsilon
    yield f"{actor}.clip_ratio_low", training.epsilon
    yield f"{actor}.clip_ratio_high", float(config.trl.get("epsilon_high") or training.epsilon)
    yield f"{actor}.clip_ratio_c", 1e9  # TRL has no second clip of negative advantages
    yield f"{actor}.grad_clip", training.max_grad_norm
    yield f"{actor}.optim.lr", training.learning_rate
    yield f"{actor}.optim.lr_scheduler_type", _SCHEDULES[training.schedule]
    yield f"{actor}.optim.lr_warmup_steps", training.warmup_steps // updates
    yield f"{actor}.optim.weight_decay", float(config.trl.get("weight_decay", 0.0))


def _sampling(config: Config) -> Iterator[tuple[str, Any]]:
    rollout, sampler = config.rollout, "actor_rollout_ref.rollout"
    yield f"{sampler}.name", "vllm"
    yield f"{sampler}.n", rollout.num_generations
    yield f"{sampler}.temperature", rollout.temperature
    yield f"{sampler}.gpu_memory_utilization", rollout.vllm.gpu_memory
    yield f"{sampler}.tensor_model_parallel_size", rollout.vllm.tensor_parallel
    yield f"{sampler}.log_prob_micro_batch_size_per_gpu", rows_per_pass(config)
    if rollout.vllm.correction in _CORRECTIONS:
        clip = float(config.trl.get("vllm_importance_sampling_clip_max", 3.0))  # the default of TRL
        yield f"{sampler}.calculate_log_probs", True
        yield "algorithm.rollout_correction.rollout_is", _CORRECTIONS[rollout.vllm.correction]
        yield "algorithm.rollout_correction.rollout_is_threshold", clip


def _run(config: Config, updates: int) -> Iterator[tuple[str, Any]]:
    training, launch, output = config.training, config.launch, Path(config.output_dir)
    yield "trainer.nnodes", launch.machines
    yield "trainer.n_gpus_per_node", launch.processes // launch.machines
    yield "trainer.total_training_steps", None if training.steps is None else training.steps // updates
    yield "trainer.total_epochs", int(training.epochs) if training.steps is None else 1_000_000  # the steps end the run
    yield "trainer.save_freq", training.save_every // updates
    yield "trainer.max_actor_ckpt_to_keep", training.keep_checkpoints
    yield "trainer.default_local_dir", str(output / CHECKPOINTS)
    yield "trainer.resume_mode", "auto" if config.resume else "disable"
    yield "trainer.project_name", output.parent.name or "empo"
    yield "trainer.experiment_name", output.name
    yield "trainer.logger", ["console", "file"]
    yield "trainer.val_before_train", False
    yield "trainer.test_freq", -1
    yield "+ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES", MODULE
    if launch.machines > 1:
        yield "+ray_kwargs.ray_init.address", "auto"  # `ray start` has started the cluster


def provider_arguments(config: Config) -> dict[str, Any]:
    """The arguments of `EmpoProvider` for this run."""
    return {**config.empo.choices(), "seed": config.seed}


def verl_problems(config: Config) -> list[str]:
    """What keeps verl from training this configuration as TRL would; one sentence for each."""
    training, rollout, launch = config.training, config.rollout, config.launch
    engine = "with engine verl"
    updates = updates_per_sampling(config)
    counted = {"training.steps": training.steps, "training.save_every": training.save_every}
    counted["training.warmup_steps"] = training.warmup_steps
    uneven = [key for key, value in counted.items() if value is not None and value % updates]
    checks: Mapping[str, bool] = {
        f"method={config.method}: the engine verl trains method=empo. Use the engine trl": config.method != "empo",
        f"model=demo has no folder that verl can read {engine}. Name a model": config.model == "demo",
        f"device=cpu: verl needs GPUs. Remove device {engine}": config.device == "cpu",
        f"revision: verl reads no revision. Download it, and name the folder as model {engine}": config.revision
        is not None,
        f"lora: write verl's keys into verl.overrides (actor_rollout_ref.model.lora_rank) and remove lora {engine}": (
            config.lora is not None
        ),
        f"evaluation runs on TRL only. Remove it {engine}, and use empo-eval after the training": config.evaluation
        is not None,
        f"push_to_hub runs on TRL only. Remove it {engine}": config.push_to_hub is not None,
        f"rollout.engine={rollout.engine}: verl samples with vLLM in its own processes. Set vllm-colocate {engine}": (
            rollout.engine != "vllm-colocate"
        ),
        f"rollout.vllm.correction={rollout.vllm.correction}: verl has token_truncate, sequence_truncate, none": (
            rollout.vllm.correction not in (*_CORRECTIONS, "none")
        ),
        f"training.loss={training.loss}: verl has {', '.join(_LOSSES)}": training.loss not in _LOSSES,
        f"training.schedule={training.schedule}: verl has {', '.join(_SCHEDULES)}": training.schedule not in _SCHEDULES,
        "training.ratio=sequence is GSPO, which averages over completions in verl. Set training.loss=grpo": (
            training.ratio == "sequence" and training.loss != "grpo"
        ),
        f"training.precision=fp32: verl computes in bfloat16. Remove it {engine}": training.precision == "fp32",
        f"training.max_grad_norm=0 turns clipping off on TRL; verl would clip to 0. Set a large number {engine}": (
            training.max_grad_norm == 0
        ),
        f"training.epochs={training.epochs:g}: verl needs a whole number, or training.steps": (
            training.steps is None and training.epochs != int(training.epochs)
        ),
        f"launch.strategy={launch.strategy}: verl shards with FSDP2. Set fsdp2 {engine}": launch.strategy != "fsdp2",
        f"launch.machine_rank={launch.machine_rank}: start the command on one machine only; the others join with "
        "`ray start`": launch.machine_rank > 0,
        f"training.prompts_per_step x rollout.num_generations must be a multiple of launch.processes={launch.processes}"
        f" {engine}": training.prompts_per_step * rollout.num_generations % launch.processes != 0,
        f"one sampling serves {updates:g} updates, which is no whole number. Change trl.steps_per_generation": (
            updates != int(updates) or updates < 1
        ),
        f"{', '.join(uneven)}: verl counts samplings. Set a multiple of the {updates:g} updates of a sampling": bool(
            uneven
        ),
    }
    found = [f"{text}." for text, wrong in checks.items() if wrong]
    named = [str(key) for key in config.verl.overrides if not _KEY.fullmatch(str(key).removeprefix("+"))]
    found += [f"verl.overrides: {key!r} is no key of Hydra, such as trainer.logger or +key.of.yours." for key in named]
    return found


def verl_notes(config: Config) -> list[str]:
    """What a run with verl leaves out, for the user; one sentence for each."""
    unused = sorted(set(config.trl) - _TRL_KEYS - _TRL_LAYOUT)
    notes = ["alarms, samples.jsonl and metrics.jsonl are written on TRL only; verl logs the metrics (trainer.logger)"]
    if unused:
        notes.append(f"the section trl is for TRL: {', '.join(unused)} have no effect. verl.overrides has verl's keys")
    if config.verl.refill and config.empo.outside == "zero":
        notes.append("verl.refill has no effect on groups outside the window, because empo.outside=zero keeps them")
    return notes


def hydra_value(value: Any) -> str:
    """A value in the grammar of Hydra's overrides, which gives the same value back.

    Raises:
        InputError: the value has a type that Hydra cannot write.
    """
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)  # null, true, 1
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(hydra_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{_dict_key(key)}:{hydra_value(item)}' for key, item in value.items())}}}"
    raise InputError(f"verl.overrides: {value!r:.100} is a {type(value).__name__}; use text, numbers, lists, or keys.")


def _dict_key(key: Any) -> str:
    if isinstance(key, str) and re.fullmatch(r"[A-Za-z_]\w*", key):
        return key
    raise InputError(f"verl.overrides: Hydra cannot read the key {key!r} in a dict: use letters, digits and _.")


def _quoted(text: str) -> str:
    """The text in single quotes. Hydra reads a backslash as an escape only before a quote, or at the end.

    OmegaConf replaces `${...}` in texts, and a backslash before it keeps it as it is.
    """
    kept = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", text)
    escaped = re.sub(r"(\\*)'", lambda found: found[1] * 2 + "\\'", kept)
    return "'" + re.sub(r"(\\+)$", lambda found: found[1] * 2, escaped) + "'"


def _json(values: Mapping[str, Any]) -> str:
    """JSON without `$`, which OmegaConf would read as the begin of an interpolation."""
    return json.dumps(values, sort_keys=True).replace("$", "\\u0024")
