"""kill -9 and Ctrl-C of commands that decide: the final name never has half a file, and a rerun works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from semantic_entropy import estimate
from tests.semantic_entropy.cli.command import call, read, write
from tests.semantic_entropy.decisions.test_gate import CALIBRATION

SECONDS = 60.0  # a busy machine starts a process slowly
BLOCKED = """
import os, pathlib, time
def replace(*_):  # the new file is complete, and not yet at its name
    pathlib.Path("blocked").touch()
    time.sleep(600)
os.replace = replace
from semantic_entropy.cli import main
main()
"""
SLOW = """
import time
from semantic_entropy.scorer import Scorer
measure = Scorer.measure
def slow(self, groups):
    time.sleep(0.2)
    return measure(self, groups)
Scorer.measure = slow
from semantic_entropy.cli import main
main()
"""
LABELLED = [
    {**estimate(answers, equivalence="exact").to_dict(), "question": f"Question {i}?", "answer_correct": i % 10 != 1}
    for i, answers in enumerate([["a"] * 4, ["a", "b", "c", "d"]] * 40)
]
WRITING = {
    "calibrate": (["calibrate", "labelled.jsonl", "-o", "final.json", "--model", "m"], "final.json", (0, 3)),
    "report": (["report", "labelled.jsonl", "-o", "final.html"], "final.html", (0,)),
    "drift": (["drift", "calibration.json", "labelled.jsonl", "--picture", "final.png"], "final.png", (0, 3)),
}


def ended(command, folder, is_reached, number):
    """Start a command, send it a signal when it has reached a place, and return its exit status."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    end = time.monotonic() + SECONDS
    while not is_reached():
        assert process.poll() is None, process.returncode
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(process.pid, number)
    return process.wait(SECONDS)


@pytest.mark.parametrize(
    ("number", "before"), [(signal.SIGKILL, b"an earlier file"), (signal.SIGINT, None)], ids=["kill -9", "Ctrl-C"]
)
@pytest.mark.parametrize("command", WRITING)
def test_a_command_that_is_ended_before_its_file_is_complete_leaves_the_name_as_it_was(
    command, number, before, tmp_path
):
    if command != "report":
        pytest.importorskip("sklearn", reason="the extra stats is not installed")
        pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    arguments, name, statuses = WRITING[command]
    write(tmp_path / "labelled.jsonl", LABELLED)
    CALIBRATION.save(tmp_path / "calibration.json")
    final = tmp_path / name
    if before is not None:
        if command == "report":
            before = b'<!doctype html><meta name="generator" content="semantic-entropy report">'
        final.write_bytes(before)
    status = ended([sys.executable, "-c", BLOCKED, *arguments], tmp_path, (tmp_path / "blocked").exists, number)
    assert status not in statuses
    assert (final.read_bytes() if final.exists() else None) == before
    again = call(*arguments, cwd=tmp_path)
    assert again.returncode in statuses, again.stderr
    assert final.stat().st_size > 500
    if number == signal.SIGINT:
        expected = {"labelled.jsonl", "calibration.json", "blocked", name}
        assert {path.name for path in tmp_path.iterdir()} == expected  # no part of a file is left


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_gated_run_that_is_ended_continues_and_is_judged_as_a_whole(number, tmp_path):
    CALIBRATION.save(tmp_path / "calibration.json")
    rows = [{"id": i, "responses": ["Paris"] * 4 if i % 100 else ["a", "b", "c", str(i)]} for i in range(600)]
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    options = ["estimate", str(source), "-o", str(out), "-e", "exact", "--calibration", "calibration.json"]
    command = [sys.executable, "-c", SLOW, *options, "--model", "m", "--fail-on", "defer", "--quiet"]

    status = ended(command, tmp_path, lambda: out.exists() and out.stat().st_size > 0, number)
    assert status == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    lines = out.read_bytes().splitlines()
    assert 0 < len(lines) < len(rows)
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 3, again.stderr
    assert "gate: FAILED, 6 of 600 rows failed" in again.stderr
    assert "rows were done before" in again.stderr
    assert [row["id"] for row in read(out)] == list(range(600))
    assert all(json.loads(line)["flag"] in (True, False) for line in out.read_text().splitlines())
