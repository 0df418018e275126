"""Whether the prompts of a step divide among processes in whole groups, and whether the window keeps any at this G."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Iterator

from empo_rl.check.findings import Finding, ok, problem
from empo_rl.config.batch_layout import accumulation
from empo_rl.config.schema import Config
from empo_rl.config.trl_arguments import argument_problems, decided_arguments, training_argument_class, typed_values
from empo_rl.extras import require_extra
from semantic_entropy import InputError, SemanticEntropyError

_OF_A_GPU = ("tf32", "fp16", "fp16_full_eval", "bf16_full_eval")  # refused where there is none


def findings(config: Config) -> Iterator[Finding]:
    """Layout, TRL's own arguments, and the window."""
    training, processes = config.training, config.launch.processes
    passes = 1
    try:
        passes = accumulation(config, processes)
    except SemanticEntropyError as error:
        yield problem("layout", str(error))
    else:
        size = config.rollout.num_generations
        what = f"whole groups of {size}" if config.method == "empo" else config.method
        shared = f"{training.prompts_per_step} prompts a step = {training.prompts_per_micro_batch} a micro-batch"
        if training.completions_per_pass is not None:
            what = f"{training.completions_per_pass} of a group's {size} completions a pass"
            shared = f"{training.prompts_per_step} x {size} completions a step = {training.completions_per_pass} a pass"
        yield ok("layout", f"{shared} x {processes} processes x {passes} passes, {what}, {config.launch.strategy}")
    if config.trl:
        yield from _arguments(config, decided_arguments(config, passes))
    if config.method == "empo":
        for note in config.window_notes():
            yield ok("window", note)


def _arguments(config: Config, decided: dict[str, object]) -> Iterator[Finding]:
    known: Collection[str] | None = None
    try:
        require_extra("checking the section trl")
        known = [field.name for field in dataclasses.fields(training_argument_class(config.method))]
    except SemanticEntropyError as error:
        yield problem("trl", str(error))
    found = argument_problems(config, decided, known)
    if known is not None and not found:
        found = list(_wrong_values(config, decided))
    yield from (problem("trl", line) for line in found)
    if known is not None and not found:
        yield ok("trl", f"TRL takes {', '.join(config.trl)}")


def _wrong_values(config: Config, decided: dict[str, object]) -> Iterator[str]:
    """Values of the section that are no such thing as TRL's annotation says, or that TRL itself refuses.

    It is asked for one process on the CPU: what it says of devices and of many processes is not known here.
    """
    kind = training_argument_class(config.method)
    try:
        values = {key: value for key, value in typed_values(config, kind).items() if key not in _OF_A_GPU}
    except InputError as error:
        yield str(error)
        return
    elsewhere = {"use_cpu": True, "bf16": False}
    plain = {key: value for key, value in decided.items() if key not in {"fsdp", "fsdp_config", "deepspeed"}}
    try:
        with warnings.catch_warnings(action="ignore"):  # of what TRL and transformers will rename
            kind(**{**plain, **values, **elsewhere, "report_to": "none"})
    except (TypeError, ValueError) as error:
        yield f"trl: {error}"
