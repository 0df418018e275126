"""What the numbers of a demo depend on: its options, and the versions of what computes them."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

VERSIONS = "versions"
_RECORDED = ("semantic-entropy", "torch", "transformers", "trl")


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """As on the command line, where docs/empo/demo.md says what each does."""

    seed: int
    steps: int
    learning_rate: float
    reward: str
    pretrain_steps: int

    def to_dict(self) -> dict[str, Any]:
        """`config.yaml`: the options, and the versions here."""
        versions = {"python": platform.python_version(), **{name: version(name) for name in _RECORDED}}
        return {**asdict(self), VERSIONS: versions}
