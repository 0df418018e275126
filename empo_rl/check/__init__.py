"""`empo-train CONFIG --check`: find the problems of a run, and the resources it needs, before a GPU is used.

    settings      the configuration itself: batch layout, section `trl`, entropy window, reward, guards, judges
    availability  question data, packages, a hub token
    disk_space    whether the checkpoints fit on the disk
    gpu_memory    an estimate of the memory on each GPU
    host_memory   an estimate of the host memory on each machine
    verl_engine   with `--engine verl`, in place of TRL's settings and of the estimates: what verl accepts

The check reports all problems, not only the first. A fact that cannot be known here (a dataset or a model that is not
on this machine, a GPU of another machine) is reported as "not checked" with the reason, and is not a failure. The check
downloads nothing, loads no model, and imports torch only for a judge that needs torch or for keys under `trl:`.

`check_before_training` has the findings that end a run, or warn, before it writes a file. A run itself reads its data
and its tokenizer before it writes a file, so these are left to the run. Memory and disk space are estimates: they warn.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from empo_rl.check import availability, disk_space, gpu_memory, host_memory, settings, verl_engine
from empo_rl.check.findings import CheckFinding, passed, problem, report_lines, unchecked, warning
from empo_rl.config import Config
from empo_rl.config.batch_layout import started_processes, with_processes
from empo_rl.config.resume import load_run
from semantic_entropy import InputError, SemanticEntropyError

__all__ = ["CheckFinding", "check_before_training", "check_run", "passed", "report_lines"]


def check_run(
    source: str, overrides: Sequence[str] = (), *, allow_missing_data: bool = False, engine: str = "trl"
) -> list[CheckFinding]:
    """All findings about a configuration: the name of a file or a recipe, with `key=value` overrides.

    With `resume=true` among the overrides, these are the findings about the resumed run.

    allow_missing_data: a question file that a command makes (`data.made_with`) need not exist yet. The finding names
    the command.

    engine: the trainer that will run the configuration, `trl` or `verl`.
    """
    try:
        config, notes = load_run(source, overrides)
    except SemanticEntropyError as error:
        problems = [problem("configuration", line) for line in str(error).splitlines()]
        return [*problems, unchecked("everything else", "the configuration could not be read")]
    config = with_processes(config, started_processes(config))
    if engine == "verl":
        with _offline():
            return [*verl_engine.findings(config, allow_missing_data=allow_missing_data)]
    with _offline():
        return [*(warning("resume", note) for note in notes), *_findings(config, allow_missing_data=allow_missing_data)]


def check_before_training(config: Config) -> list[str]:
    """Check a configuration that is about to train on this machine, and return its warnings. Does not read the data.

    Raises:
        InputError: the configuration has problems. The message has one line per problem.
    """
    config = with_processes(config, started_processes(config))
    found = [*settings.findings(config), *availability.package_findings(config)]
    problems = [f"{finding.about}: {finding.text}" for finding in found if finding.kind == "problem"]
    if problems:
        raise InputError("\n".join(problems))
    shape = gpu_memory.model_shape(config)
    estimates = [
        *disk_space.findings(config, shape, config.data.limit),
        *gpu_memory.findings(config, shape),
        *host_memory.findings(config, shape),
    ]
    warnings = [finding for finding in found if finding.kind == "warning"]
    warnings += [finding for finding in estimates if finding.kind == "problem"]
    return [f"warning: {finding.about}: {finding.text}" for finding in warnings]


@contextmanager
def _offline() -> Iterator[None]:
    """Make the hub's libraries use only files on this machine. A library imported earlier may still connect."""
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _findings(config: Config, *, allow_missing_data: bool) -> Iterator[CheckFinding]:
    shape = gpu_memory.model_shape(config)
    yield from settings.findings(config)
    yield from availability.model_findings(config)
    rows = yield from availability.question_findings(config, allow_missing_data=allow_missing_data)
    yield from availability.package_findings(config)
    yield from disk_space.findings(config, shape, rows)
    yield from gpu_memory.findings(config, shape)
    yield from host_memory.findings(config, shape)
