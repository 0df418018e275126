"""The `rl` extra: what training needs beyond the core, and one sentence where it is not installed.

Looks whether the modules can be found, which costs milliseconds; importing them takes seconds.
"""

from __future__ import annotations

from importlib.util import find_spec

from semantic_entropy import MissingDependencyError

TRAINING = ("torch", "transformers", "trl", "accelerate", "datasets", "yaml")


def require_extra(purpose: str, modules: tuple[str, ...] = TRAINING, extra: str = "rl") -> None:
    """Raise MissingDependencyError, with the command that mends it, unless all of the modules are there."""
    missing = [module for module in modules if not is_installed(module)]
    if missing:
        raise MissingDependencyError(
            f"{purpose} needs {', '.join(missing)}, not installed here: pip install 'semantic-entropy[{extra}]' (which "
            "torch, and the versions that were tested: docs/install.md)"
        )


def is_installed(module: str) -> bool:
    """Whether the module can be found, without importing it."""
    try:
        return find_spec(module) is not None
    except ImportError:  # a finder that refuses the module
        return False
