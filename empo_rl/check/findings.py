"""What a check found: all right, a problem, or something that cannot be known here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    kind: Literal["ok", "problem", "not checked"]
    about: str
    text: str


def ok(about: str, text: str) -> Finding:
    """It was checked, and stands."""
    return Finding("ok", about, text)


def problem(about: str, text: str) -> Finding:
    """The run would fail, or do what nobody wants; the text names the value and the fix."""
    return Finding("problem", about, text)


def unchecked(about: str, because: str) -> Finding:
    """It could not be checked here."""
    return Finding("not checked", about, f"because {because}")


def passed(findings: Iterable[Finding]) -> bool:
    """Whether no problem is among them."""
    return all(finding.kind != "problem" for finding in findings)


def lines(findings: Iterable[Finding]) -> Iterator[str]:
    """The report."""
    for finding in findings:
        yield f"{finding.kind + ':':<13}{finding.about}: {finding.text}"


def gib(count: float) -> str:
    """Bytes, for a reader."""
    return f"{count / GIB:.1f} GiB"


def has_gpu() -> bool:
    """Whether this looks like the machine of the run: a device file of NVIDIA's or AMD's driver, or WSL's."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))
