"""What is installed, what works, and the command that fixes what does not."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Any

from semantic_entropy.errors import SemanticEntropyError
from semantic_entropy.registry.components import load_equivalence
from semantic_entropy.registry.discovery import default_registry
from semantic_entropy.registry.hookspecs import KINDS
from semantic_entropy.types import Pair

_DISTRIBUTION = "semantic-entropy"
PLANNED = frozenset(("ray",))  # extras that nothing needs yet


@dataclass(frozen=True)
class Finding:
    """One thing examined. `needed`: without it the package does not do its basic work."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    needed: bool = False

    @property
    def mark(self) -> str:
        return "FAIL" if self.needed else "none"


def examine() -> list[Finding]:
    """Python, the judges that need no model (tried for real), plugins, and every extra."""
    python = Finding("python", True, f"{platform.python_version()}, {_DISTRIBUTION} {version(_DISTRIBUTION)}")
    return [python, _math(), *_plugins(), *map(_extra, sorted(_extras()))]


def _math() -> Finding:
    """Ask the workers something that the keys cannot answer."""
    try:
        judge = load_equivalence("math", timeout=30.0, workers=1)
        try:
            (verdict,) = judge.judge([Pair(None, "x+1", "1+x")])
        finally:
            judge.close()
    except (SemanticEntropyError, RuntimeError, OSError) as error:
        return Finding("math", False, str(error), f"{sys.executable} -m pip install 'math-verify[antlr4_13_2]'", True)
    if verdict.same:
        return Finding("math", True, "worker processes answer")
    return Finding("math", False, f"x+1 against 1+x: {verdict.reason or 'not the same'}", needed=True)


def _plugins() -> list[Finding]:
    failures = default_registry().failures()
    if not failures:
        return [Finding("plugins", True, f"{len(default_registry().entries())} components, none failed")]
    return [
        Finding(
            f.plugin,
            False,
            f"plugin of {f.source} failed: {f.reason}",
            f"{sys.executable} -m pip uninstall {f.source}",
        )
        for f in failures
    ]


def _extras() -> list[str]:
    return [extra for extra in metadata(_DISTRIBUTION).get_all("Provides-Extra") or () if extra not in ("all", "dev")]


def _extra(extra: str) -> Finding:
    needed = _needs(extra)
    missing = [name for name, found in needed.items() if found is None]
    shown = ", ".join(f"{name} {found}" for name, found in needed.items() if found)
    if extra in PLANNED:
        return Finding(extra, not missing, f"{shown or 'not installed'}; planned: nothing in this version uses it")
    if not missing:
        return Finding(extra, True, shown + _accelerator(needed))
    return Finding(
        extra,
        False,
        f"missing {', '.join(missing)}" + (" (which torch: docs/install.md)" if "torch" in missing else ""),
        f"{sys.executable} -m pip install '{_DISTRIBUTION}[{extra}]'",
    )


def _needs(extra: str) -> dict[str, str | None]:
    """Direct requirements of an extra -> installed version, or None."""
    found: dict[str, str | None] = {}
    for line in requires(_DISTRIBUTION) or ():
        requirement, _, marker = line.partition(";")
        if f"extra == '{extra}'" not in marker.replace('"', "'"):
            continue
        name = requirement.split("[")[0].split("<")[0].split(">")[0].split("=")[0].split("!")[0].strip()
        if name != _DISTRIBUTION:
            found[name] = _installed(name)
    return found


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


_ASK_TORCH = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU only')"


def _accelerator(needed: dict[str, str | None]) -> str:
    """What torch runs on, asked in a process of its own: a broken torch is a finding, not an end."""
    if "torch" not in needed:
        return ""
    asked = subprocess.run([sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, check=False)
    said = (asked.stdout or asked.stderr).strip().splitlines()
    return f" ({said[-1]})" if said else ""


def listing() -> dict[str, Any]:
    """Components by kind and failed plugins, as plain data."""
    registry = default_registry()
    return {
        "components": {
            kind: [
                {
                    "name": entry.component.name,
                    "summary": entry.component.summary,
                    "source": entry.source,
                    "missing": entry.missing(),
                }
                for entry in registry.entries(kind)
            ]
            for kind in KINDS
        },
        "failed": [
            {"plugin": failure.plugin, "source": failure.source, "reason": failure.reason}
            for failure in registry.failures()
        ],
    }
