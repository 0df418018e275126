"""`semantic-entropy doctor`, and the help of the command group."""

from __future__ import annotations

import json

from tests.semantic_entropy.cli.command import call


def test_doctor_tries_the_math_workers_and_names_every_extra():
    done = call("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert findings["math"]["ok"]
    assert {"python", "plugins", "nli", "verifier", "embedding", "judge", "rl", "parquet", "ray"} <= set(findings)
    for finding in findings.values():
        assert finding["ok"] or "pip install" in finding["fix"] or "planned" in finding["detail"]
    assert done.returncode == 0


def test_help_names_every_command():
    text = call("--help").stdout
    assert all(command in text for command in ("estimate", "explain", "plugins", "doctor", "threshold"))
