"""`semantic-entropy doctor`, and the help of the command group."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest

from semantic_entropy.cli.doctor import check_pytest_plugin
from tests.semantic_entropy.cli.command import call

ROOT = Path(__file__).resolve().parents[3]


def test_doctor_tries_the_math_workers_and_names_every_extra():
    done = call("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert findings["math"]["ok"]
    assert {"python", "plugins", "nli", "verifier", "embedding", "judge", "rl", "parquet"} <= set(findings)
    for finding in findings.values():
        assert finding["ok"] or "pip install" in finding["fix"]
    assert done.returncode == 0


class _Installed:
    """This distribution, with entry points of these groups."""

    def __init__(self, *groups):
        self.real = distribution("semantic-entropy")
        self.entry_points = [EntryPoint("semantic_entropy", "package.module", group) for group in groups]

    def __getattr__(self, name):
        return getattr(self.real, name)


def test_a_clone_newer_than_its_installation_lacks_the_pytest_plugin(monkeypatch):
    older, newer = _Installed("console_scripts"), _Installed("console_scripts", "pytest11")
    monkeypatch.setattr("importlib.metadata.distribution", lambda _name: older)
    found = check_pytest_plugin()
    assert not found.ok
    assert "assert_consistent is not registered" in found.detail
    assert "install" in found.fix
    monkeypatch.setattr("importlib.metadata.distribution", lambda _name: newer)
    assert check_pytest_plugin().ok


def test_help_names_every_command():
    text = call("--help").stdout
    assert all(command in text for command in ("estimate", "explain", "plugins", "doctor", "tune-judge"))


def test_nothing_is_listed_that_is_only_planned():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = (ROOT / "docs" / "install.md").read_text()
    assert all(f"| `{extra}` |" in table for extra in extras if extra != "qlora")
    for text in (call("doctor", "--json").stdout, call("plugins", "--json").stdout, table):
        assert "planned" not in text.lower()


@pytest.mark.parametrize("module", ["semantic_entropy", "semantic_entropy.cli"])
def test_the_command_line_runs_as_a_module(module):
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("semantic-entropy, version")
