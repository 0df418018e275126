"""How the prompts of a step are dealt out to processes and backward passes.

    prompts_per_step = prompts_per_micro_batch x processes x accumulation

A micro-batch is whole groups, so none can be cut between two processes: a process that saw a part of one would
cluster that part. Where a group is too much for one pass, `completions_per_pass` takes it in parts, all of them on the
same process, which has its rewards before the first of these passes. Knows no trainer; `empo_rl.check` asks it before
torch is there.
"""

from __future__ import annotations

from empo_rl.config.schema import Config
from semantic_entropy import InputError


def accumulation(config: Config, processes: int) -> int:
    """Backward passes a step.

    Raises:
        InputError: the prompts of a step do not divide among the processes, with numbers that would.
    """
    prompts, micro = config.training.prompts_per_step, config.training.prompts_per_micro_batch
    if prompts % (micro * processes):
        raise InputError(
            f"training.prompts_per_step={prompts} is no multiple of training.prompts_per_micro_batch={micro} x "
            f"{processes} processes = {micro * processes}: {_ways_out(prompts, micro, processes)}."
        )
    parts = config.rollout.num_generations // rows_per_pass(config) if config.training.completions_per_pass else 1
    return prompts // (micro * processes) * parts


def rows_per_pass(config: Config) -> int:
    """Rows of a process in one forward and backward pass, as `per_device_train_batch_size` counts them.

    For EMPO, completions; for SFT, examples; for online DPO, prompts, each with two completions.
    """
    if config.training.completions_per_pass is not None:
        return config.training.completions_per_pass
    whole_groups = config.rollout.num_generations if config.method == "empo" else 1
    return config.training.prompts_per_micro_batch * whole_groups


def rows_that_cut_groups(config: Config, rows: object) -> str | None:
    """What is wrong with so many rows a process, were TRL given them; None where groups stay whole."""
    size = config.rollout.num_generations
    if config.method != "empo" or not isinstance(rows, int | float) or rows % size == 0:
        return None
    below = max(1, int(rows // size))
    return (
        f"{rows:g} rows a process would cut groups of rollout.num_generations={size}. Set "
        f"training.prompts_per_micro_batch={below} ({below * size} rows) or {below + 1} ({(below + 1) * size} rows), "
        "or for less than a group training.completions_per_pass"
    )


def _ways_out(prompts: int, micro: int, processes: int) -> str:
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
