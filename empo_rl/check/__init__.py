"""`empo-train CONFIG --check`: what is wrong with a run, and what it needs, before a GPU is touched.

    step_layout, reward_and_judges, question_data, packages, disk_space, gpu_memory: one module and one list of
    findings each

All problems are listed, not the first alone. What cannot be known here (a dataset or a model that is not on this
machine, a GPU that is elsewhere) is listed as not checked, with the reason, and fails nothing. Nothing is downloaded,
no model is loaded, and torch is imported only where the judge is one that needs it or `trl:` holds keys.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from empo_rl.check import disk_space, gpu_memory, packages, question_data, reward_and_judges, step_layout
from empo_rl.check.findings import Finding, problem, unchecked
from empo_rl.check.shape import model_shape
from empo_rl.config.load import load_config
from empo_rl.config.schema import Config
from semantic_entropy import SemanticEntropyError

__all__ = ["check_run"]


def check_run(source: str, overrides: Sequence[str] = ()) -> list[Finding]:
    """All findings about a configuration: a file's name or a recipe's, with `key=value` on top."""
    try:
        config = load_config(source, overrides)
    except SemanticEntropyError as error:
        reason = "the configuration could not be read"
        return [*(problem("configuration", line) for line in str(error).splitlines()), unchecked("all else", reason)]
    with _offline():
        return list(_findings(config))


@contextmanager
def _offline() -> Iterator[None]:
    """The hub's libraries look at what is on this machine alone; where they are loaded already, they may ask."""
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


def _findings(config: Config) -> Iterator[Finding]:
    shape = model_shape(config)
    yield from step_layout.findings(config)
    yield from reward_and_judges.findings(config)
    rows = yield from question_data.findings(config)
    yield from packages.findings(config)
    yield from disk_space.findings(config, shape, rows)
    yield from gpu_memory.findings(config, shape)
