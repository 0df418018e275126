"""`empo-train CONFIG --check`: find the problems of a run, and the resources it needs, before a GPU is used.

    settings      the configuration itself: batch layout, section `trl`, entropy window, reward, guards, judges
    availability  question data, packages, a hub token
    disk_space    whether the checkpoints fit on the disk
    gpu_memory    an estimate of the memory on each GPU
    host_memory   an estimate of the host memory on each machine

The check reports all problems, not only the first. A fact that cannot be known here (a dataset or a model that is not
on this machine, a GPU of another machine) is reported as "not checked" with the reason, and is not a failure. The check
downloads nothing, loads no model, and imports torch only for a judge that needs torch or for keys under `trl:`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from empo_rl.check import availability, disk_space, gpu_memory, host_memory, settings
from empo_rl.check.findings import CheckFinding, passed, problem, report_lines, unchecked
from empo_rl.config import Config, load_config
from semantic_entropy import SemanticEntropyError

__all__ = ["CheckFinding", "check_run", "passed", "report_lines"]


def check_run(source: str, overrides: Sequence[str] = (), *, allow_missing_data: bool = False) -> list[CheckFinding]:
    """All findings about a configuration: the name of a file or a recipe, with `key=value` overrides.

    allow_missing_data: a question file that a command makes (`data.made_with`) need not exist yet. The finding names
    the command.
    """
    try:
        config = load_config(source, overrides)
    except SemanticEntropyError as error:
        problems = [problem("configuration", line) for line in str(error).splitlines()]
        return [*problems, unchecked("everything else", "the configuration could not be read")]
    with _offline():
        return list(_findings(config, allow_missing_data=allow_missing_data))


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
    rows = yield from availability.question_findings(config, allow_missing_data=allow_missing_data)
    yield from availability.package_findings(config)
    yield from disk_space.findings(config, shape, rows)
    yield from gpu_memory.findings(config, shape)
    yield from host_memory.findings(config, shape)
