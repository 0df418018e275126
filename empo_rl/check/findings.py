"""Define the findings of a check. A finding is ok, a warning, a problem, or not checked on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

GIB = 2**30


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """One line of the report. about: the checked subject, for example "memory"."""

    kind: Literal["ok", "warning", "problem", "not checked"]
    about: str
    text: str


def ok(about: str, text: str) -> CheckFinding:
    """A finding: the check passed."""
    return CheckFinding("ok", about, text)


def warning(about: str, text: str) -> CheckFinding:
    """A finding: the run works, but probably not as the user wants. `text` says what happens."""
    return CheckFinding("warning", about, text)


def problem(about: str, text: str) -> CheckFinding:
    """A finding: the run would fail or have an unwanted result. `text` names the value and the fix."""
    return CheckFinding("problem", about, text)


def unchecked(about: str, reason: str) -> CheckFinding:
    """A finding: this machine cannot check the subject, for `reason`."""
    return CheckFinding("not checked", about, f"because {reason}")


def passed(findings: Iterable[CheckFinding]) -> bool:
    """Whether the findings contain no problem."""
    return all(finding.kind != "problem" for finding in findings)


def report_lines(findings: Iterable[CheckFinding]) -> Iterator[str]:
    """The report, one line per finding."""
    for finding in findings:
        yield f"{finding.kind + ':':<13}{finding.about}: {finding.text}"


def format_gib(count: float) -> str:
    """A number of bytes as text in GiB."""
    return f"{count / GIB:.1f} GiB"


def has_gpu() -> bool:
    """Whether this process has a GPU: a device file of NVIDIA's or AMD's driver, or of WSL, that is not hidden."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return False
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))
