"""The errors that this package raises on purpose.

    SemanticEntropyError
    ├── InputError (ValueError)          an argument cannot be used; the message names value and fix
    │   ├── EvidenceError                an estimator needs evidence (token log-probabilities, ...) that is missing
    │   └── OptionError                  a component has no such option, or rejects its value
    ├── UnknownComponentError (LookupError)   no component has this name; the message lists the existing names
    ├── AmbiguousComponentError (LookupError) two plugins offer the name; the message lists the full names
    ├── PluginError                      a plugin is installed but cannot be loaded, or breaks its contract
    ├── MissingDependencyError (ImportError)  a dependency is missing; the message has the command
    ├── EquivalenceError                 a judge broke its contract, or its model or server is not available
    └── SamplingError                    a sampler's model or server is not available, or refuses the requests

A response without an answer and a pair that the judge cannot decide are not errors. The `Result` counts them as invalid
answers and undecided pairs.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class SemanticEntropyError(Exception):
    """Base class: `except SemanticEntropyError` catches every error that this package raises on purpose."""


class InputError(SemanticEntropyError, ValueError):
    """An argument cannot be used."""


class EvidenceError(InputError):
    """An estimator needs evidence that the group does not have."""


class OptionError(InputError):
    """A component has no such option, or rejects its value."""


class UnknownComponentError(SemanticEntropyError, LookupError):
    """No component of that kind has this name."""


class AmbiguousComponentError(SemanticEntropyError, LookupError):
    """Two plugins offer the same name."""


class PluginError(SemanticEntropyError):
    """A plugin is installed but cannot be loaded, or its component breaks its contract."""


class MissingDependencyError(SemanticEntropyError, ImportError):
    """An optional dependency is missing."""


class EquivalenceError(SemanticEntropyError):
    """A judge broke its contract, or its model or server is not available."""


class SamplingError(SemanticEntropyError):
    """A sampler's model or server is not available, or refuses the requests."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the closest choice, to append to a message; empty if no choice is close.

    Upper and lower case are equal, so 'STEPS' is close to 'steps'.
    """
    by_folded = {choice.casefold(): choice for choice in choices}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1)
    return f" Did you mean {by_folded[close[0]]!r}?" if close else ""


_DISTRIBUTION = "semantic-entropy"


def install_command(*requirements: str, python: str | None = None) -> str:
    """Return the command that installs these requirements in the way this package was installed.

    From a clone (also editable), a wheel or a repository, a requirement such as `semantic-entropy[nli]` has the place
    where the package came from, because an index may not have the package or has another version. A clone has the
    versions that were tested in `constraints.txt`, and the command uses them. The command is uv's
    if uv installed the package, else pip's.

    Args:
        requirements: names of distributions, with extras.
        python: the interpreter of the environment, to print a command that works in any shell; None: the command
            for the active environment.
    """
    command, origin = _installer("install", python)
    own = [each for each in requirements if each.partition("[")[0] == _DISTRIBUTION]
    extras = dict.fromkeys(extra for each in own for extra in each.partition("[")[2].rstrip("]").split(",") if extra)
    others = [each for each in requirements if each not in own]
    arguments = [*(_own_requirement(list(extras), json.loads(origin or "{}")) if own else ()), *others]
    return " ".join([shlex.join(command), *(each if each in ("-e", "-c") else f"'{each}'" for each in arguments)])


def uninstall_command(name: str, python: str) -> str:
    """Return the command that removes this distribution from the environment of this interpreter."""
    return shlex.join([*_installer("uninstall", python)[0], name])


def _installer(action: str, python: str | None) -> tuple[list[str], str | None]:
    """Return the beginning of a command of pip or uv, and the origin of this package as JSON; None: an index."""
    from importlib.metadata import PackageNotFoundError, distribution  # takes a fifth of the package's import time

    try:
        installed = distribution(_DISTRIBUTION)
        installer, origin = installed.read_text("INSTALLER") or "", installed.read_text("direct_url.json")
    except PackageNotFoundError:  # the package is on the path and was not installed
        installer, origin = "", None
    if installer.strip() == "uv":
        return ["uv", "pip", action, *(("--python", python) if python else ())], origin
    return [*((python, "-m") if python else ()), "pip", action], origin


def _own_requirement(extras: Sequence[str], origin: dict[str, Any]) -> list[str]:
    """Return the arguments that install this package with extras from its origin, in the form of PEP 610."""
    extra, url = f"[{','.join(extras)}]" if extras else "", str(origin.get("url", ""))
    if "dir_info" in origin and url.startswith("file:"):
        from urllib.request import url2pathname  # takes as long to import as the rest of the package

        path = url2pathname(urlsplit(url).path)
        constraints = Path(path, "constraints.txt")  # the versions that were tested
        tested = ["-c", str(constraints)] if constraints.is_file() else []
        return [*tested, *(["-e"] if origin["dir_info"].get("editable") else []), f"{path}{extra}"]
    if version_control := origin.get("vcs_info"):
        url = f"{version_control['vcs']}+{url}@{version_control['commit_id']}"
    return [f"{_DISTRIBUTION}{extra} @ {url}" if url else f"{_DISTRIBUTION}{extra}"]
