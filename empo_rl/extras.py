"""Check that the optional dependencies are installed; if not, raise an error that names the extra to install.

The check finds a module without importing the module: finding takes milliseconds, importing takes seconds.
"""

from __future__ import annotations

from importlib.util import find_spec

from semantic_entropy import MissingDependencyError, install_command

TRAINING = ("torch", "transformers", "trl", "accelerate", "datasets", "yaml")


def require_extra(purpose: str, modules: tuple[str, ...] = TRAINING, extra: str = "rl") -> None:
    """Check that all modules are installed.

    Raises:
        MissingDependencyError: names the missing modules and the command that installs them.
    """
    missing = [module for module in modules if not is_installed(module)]
    if missing:
        command = install_command(f"semantic-entropy[{extra}]")
        raise MissingDependencyError(
            f"{purpose} needs {', '.join(missing)}, not installed here: {command} "
            "(docs/install.md says which build of torch to install, and lists the tested versions)"
        )


def is_installed(module: str) -> bool:
    """Whether the module is installed. Does not import the module."""
    try:
        return find_spec(module) is not None
    except ImportError:  # an import hook refuses the module
        return False
