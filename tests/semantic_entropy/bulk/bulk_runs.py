"""Inputs and commands of bulk runs, for the tests of this folder."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from semantic_entropy.files import unsealed
from tests.semantic_entropy.cli.command import COMMAND

CITIES = ("Paris", "Rome", "Lyon", "It is Paris", "The capital is Rome.", "I think it is Lyon", "8 km", "8000 m", "")
SECONDS = 120.0  # a busy machine starts a process slowly
# Each group takes this long, so that a kill comes in the middle of a shard.
SLOW = """
import os, sys, time
from semantic_entropy.scorer import Scorer
measure = Scorer.measure
def slow(self, groups):
    time.sleep(0.01 * len(groups))
    return measure(self, groups)
Scorer.measure = slow
"""
# A judge that ends its own process on one row, as the system does when the memory is exhausted.
DEADLY = """
import os, signal
from semantic_entropy.scorer import Scorer
measure = Scorer.measure
def deadly(self, groups):
    if any("poison" in group.responses for group in groups):
        os.kill(os.getpid(), signal.SIGKILL)
    return measure(self, groups)
Scorer.measure = deadly
"""


def rows(count, **extra):
    """Rows with five short answers; no two rows are equal."""
    draw = random.Random(0)
    return [
        {"id": i, "question": f"Question {i % 7}?", "responses": [draw.choice(CITIES) for _ in range(5)], **extra}
        for i in range(count)
    ]


def write(path, given):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in given))
    return path


def estimate(*arguments, **options):
    """Run the command, and return the finished process."""
    return subprocess.run(
        [*COMMAND, "estimate", *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


def shards(folder):
    """The content of each shard by its name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*.parquet"))}


def scored(folder):
    """All rows of the shards, in order."""
    return [row for path in sorted(folder.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def manifest(folder):
    return unsealed((folder / "_manifest.json").read_bytes())


def sitecustomize(folder, text):
    """Return an environment in which every Python process runs this text first: also those that a run starts."""
    folder.mkdir(exist_ok=True)
    hook = "import sys\nif any('semantic_entropy' in each or 'spawn' in each for each in [*sys.orig_argv]) {0}:\n{1}"
    body = "".join(f"    {line}\n" for line in text.splitlines())
    (folder / "sitecustomize.py").write_text(hook.format("or any('ray' in each for each in sys.orig_argv)", body))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


def start(*arguments, **options):
    """Start the command in a process group of its own."""
    return subprocess.Popen(
        [*COMMAND, "estimate", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def wait_for(is_reached, process):
    end = time.monotonic() + SECONDS
    while not is_reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def children(pid):
    """The process ids of the direct children of a process."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("the processes of this system are not listed in /proc")
    return [int(each) for each in path.read_text().split()]


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait(SECONDS)
    process.stderr.close()
