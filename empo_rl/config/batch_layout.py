"""Compute batch sizes: divide the prompts of a step among processes and backward passes.

    prompts_per_step = prompts_per_micro_batch x processes x accumulation steps

A micro-batch contains whole groups, because a process with part of a group would cluster only this part. If memory
cannot hold a whole group in one pass, `completions_per_pass` splits the group into several passes of the same process.
This process computes all rewards of the group before the first pass.

A *row* is the unit of TRL's `per_device_train_batch_size`: for EMPO a completion, for SFT an example, for online DPO a
prompt with its two completions. This module imports neither a trainer nor torch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from semantic_entropy import InputError
from semantic_entropy.plain_text import plural

if TYPE_CHECKING:  # the schema imports this module
    from empo_rl.config.schema import Config

ASSUMED_PROMPT_TOKENS = 512  # value of data.max_prompt_tokens for estimates, if the key is not given


def started_processes(config: Config) -> int:
    """The number of processes: of torchrun or `accelerate launch` (`WORLD_SIZE`), or else `launch.processes`."""
    is_started = "RANK" in os.environ or "LOCAL_RANK" in os.environ
    return int(os.environ.get("WORLD_SIZE", "1")) if is_started else config.launch.processes


def with_processes(config: Config, processes: int) -> Config:
    """The configuration of a run with this number of processes. torchrun does not read `launch.processes`."""
    launch = config.launch
    if processes == launch.processes:
        return config
    changed = {"processes": processes}
    if processes % launch.machines:  # the section describes another launch
        changed |= {"machines": 1, "machine_rank": 0}
    return config.model_copy(update={"launch": launch.model_copy(update=changed)})


def pass_problems(config: Config) -> list[str]:
    """The problems of the batch sizes that do not depend on the number of processes; one sentence per problem."""
    training, size = config.training, config.rollout.num_generations
    problems = []
    if training.prompts_per_step % training.prompts_per_micro_batch:
        problems.append(
            f"training.prompts_per_step={training.prompts_per_step} is not a multiple of "
            f"training.prompts_per_micro_batch={training.prompts_per_micro_batch}"
        )
    count = training.completions_per_pass
    if count is None:
        return problems
    if config.method != "empo":
        advice = "Remove training.completions_per_pass"
        return [*problems, f"training.completions_per_pass does not apply to method={config.method}. {advice}"]
    if size % count:
        divisors = [str(d) for d in range(1, size + 1) if size % d == 0]
        problems.append(
            f"training.completions_per_pass={count} does not divide groups of rollout.num_generations={size}. "
            f"Divisors of {size}: {', '.join(divisors)}"
        )
    if training.prompts_per_micro_batch > 1:
        problems.append(
            "training.completions_per_pass is part of one group, so it needs training.prompts_per_micro_batch=1"
        )
    if training.loss == "bnpo":
        problems.append(
            "training.loss=bnpo averages over the tokens of each pass, so training.completions_per_pass would change "
            "the loss. Use training.loss=dapo, which averages over the tokens of the step"
        )
    return problems


def accumulation_steps(config: Config, processes: int) -> int:
    """The number of backward passes of a process in one step (`gradient_accumulation_steps`).

    Raises:
        InputError: the prompts of a step cannot be divided equally among the processes. The message suggests numbers.
    """
    prompts, micro = config.training.prompts_per_step, config.training.prompts_per_micro_batch
    if prompts % (micro * processes):
        raise InputError(
            f"training.prompts_per_step={prompts} is not a multiple of training.prompts_per_micro_batch={micro} x "
            f"{processes} processes = {micro * processes}: {_divisible_alternatives(prompts, micro, processes)}."
        )
    parts = config.rollout.num_generations // rows_per_pass(config) if config.training.completions_per_pass else 1
    return prompts // (micro * processes) * parts


def process_count_notes(config: Config, processes: int) -> list[str]:
    """Sentences for the user: which settings make the loss depend on the number of processes. Empty for one process.

    Rewards, masks, advantages, metrics and the losses grpo, dr_grpo and dapo do not depend on this number, if the
    completions are the same.
    """
    if processes == 1:
        return []
    notes = []
    if config.method == "empo" and config.training.loss == "bnpo":
        notes.append(
            "training.loss=bnpo divides by the tokens of one pass of one process, so the loss depends on the number of "
            f"processes ({processes}). training.loss=dapo divides by the tokens of the step"
        )
    prompts = sequences_per_generation(config) * processes / config.rollout.num_generations
    steps = prompts / config.training.prompts_per_step
    if config.method == "empo" and steps > 1:
        notes.append(
            f"one sampling of {prompts:g} prompts serves {steps:g} steps, and TRL shuffles its completions within each "
            "process: another number of processes has other completions in each of these steps. "
            "trl.steps_per_generation counts the passes of one process: with half as many processes, twice this "
            "number keeps the prompts of a sampling"
        )
    if config.method == "sft" and config.trl.get("average_tokens_across_devices") is False:
        notes.append(
            "trl.average_tokens_across_devices=false divides by the tokens of one process, so the loss depends on the "
            f"number of processes ({processes}). Remove it: the default divides by the tokens of all processes"
        )
    return notes


def too_few_prompts(config: Config, rows: int) -> str | None:
    """The problem if the data has fewer prompts than one step of EMPO needs; None if it has enough.

    TRL's GRPO trainer leaves out an incomplete batch of completions, so such a run would end without a step. The
    trainers of the other methods also train on an incomplete batch.
    """
    if config.method != "empo":
        return None
    step, size = config.training.prompts_per_step, config.rollout.num_generations
    sampled = round(sequences_per_generation(config) * config.launch.processes / size)
    if rows >= max(step, sampled):
        return None
    given = plural(rows, "prompt")
    if rows >= step:
        return (
            f"{given} are fewer than the {sampled} prompts that trl.steps_per_generation or trl.generation_batch_size "
            "samples together, so the run would end without a step. Lower this key, or give more questions."
        )
    share = config.training.prompts_per_micro_batch * config.launch.processes
    fitting = rows // share * share
    advice = f"Set training.prompts_per_step={fitting}, or give" if fitting else "Give"
    return (
        f"{given} cannot fill one step of training.prompts_per_step={step}, so the run would end without a step. "
        f"{advice} more questions."
    )


def rows_per_pass(config: Config) -> int:
    """The number of rows of a process in one forward and backward pass (`per_device_train_batch_size`)."""
    if config.training.completions_per_pass is not None:
        return config.training.completions_per_pass
    rows_per_prompt = config.rollout.num_generations if config.method == "empo" else 1
    return config.training.prompts_per_micro_batch * rows_per_prompt


def sequences_per_pass(config: Config) -> int:
    """The number of token sequences of a process in one forward and backward pass."""
    return rows_per_pass(config) * (2 if config.method == "online_dpo" else 1)


def sequences_per_generation(config: Config) -> float:
    """The number of completions that a process samples together: its share of a step, unless `trl:` sets a number."""
    if config.method == "online_dpo":
        return sequences_per_pass(config)  # TRL generates for each pass
    for key in ("generation_batch_size", "steps_per_generation"):
        rows = rows_under_trl_key(config, key, config.trl.get(key))
        if isinstance(rows, int | float):
            return rows
    return config.training.prompts_per_step * config.rollout.num_generations / config.launch.processes


def rows_under_trl_key(config: Config, key: str, value: object) -> object:
    """The number of rows that a process generates or trains together if TRL's argument `key` is `value`.

    None if this argument does not determine the number of rows.
    """
    if key == "per_device_train_batch_size":
        return value
    if key == "steps_per_generation" and isinstance(value, int):
        return value * rows_per_pass(config)
    if key == "generation_batch_size" and isinstance(value, int):
        return value / config.launch.processes
    return None


def split_group_problem(config: Config, rows: object) -> str | None:
    """The problem if a process has this number of rows; None if no group is split between processes."""
    size = config.rollout.num_generations
    if config.method != "empo" or not isinstance(rows, int | float) or rows % size == 0:
        return None
    below = max(1, int(rows // size))
    return (
        f"{rows:g} rows per process would split groups of rollout.num_generations={size}. Set "
        f"training.prompts_per_micro_batch={below} ({below * size} rows) or {below + 1} ({(below + 1) * size} rows), "
        "or training.completions_per_pass for passes smaller than a group"
    )


def _divisible_alternatives(prompts: int, micro: int, processes: int) -> str:
    share = micro * processes
    below, above = prompts // share * share, (prompts // share + 1) * share
    near = " or ".join(str(count) for count in (below, above) if count)
    ways = [f"set training.prompts_per_step={near}"]
    fitting = [count for count in range(micro, 0, -1) if prompts % (count * processes) == 0]
    if fitting:
        ways.append(f"training.prompts_per_micro_batch={fitting[0]}")
    fewer = [count for count in range(processes, 0, -1) if prompts % (micro * count) == 0]
    if fewer:
        ways.append(f"{fewer[0]} processes")
    return ", or ".join(ways)
