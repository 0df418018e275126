"""Whether the prompts of a step divide among processes in whole groups, and whether the window keeps any at this G."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

from empo_rl.arguments import argument_problems, decided_arguments, training_argument_class
from empo_rl.check.findings import Finding, ok, problem
from empo_rl.config import Config
from empo_rl.extra import require_extra
from empo_rl.layout import accumulation
from semantic_entropy import SemanticEntropyError


def findings(config: Config) -> Iterator[Finding]:
    """Layout, TRL's own arguments, and the window."""
    training, processes = config.training, config.launch.processes
    passes = 1
    try:
        passes = accumulation(config, processes)
    except SemanticEntropyError as error:
        yield problem("layout", str(error))
    else:
        what = f"whole groups of {config.rollout.num_generations}" if config.method == "empo" else config.method
        yield ok(
            "layout",
            f"{training.prompts_per_step} prompts a step = {training.prompts_per_micro_batch} a micro-batch x "
            f"{processes} processes x {passes} passes, {what}, {config.launch.strategy}",
        )
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
    yield from (problem("trl", line) for line in found)
    if known is not None and not found:
        yield ok("trl", f"TRL knows {', '.join(config.trl)}")
