"""Runs over files of 10^3 to 10^6 rows: rows a second and peak memory, as a markdown table on stdout.

    python benchmarks/file_growth.py [ROWS ...] [--judge NAME]      default: 1000 10000 100000, the judge `text`

Each row has five short answers to one of 40 questions. For each format and size, the command
`semantic-entropy estimate` runs five times, each in a new process:

1. fresh: there is no output
2. unchanged: the output is finished, nothing is left to do
3. appended: the input got 10% more rows
4. reordered: the rows are in the opposite order, so the output is written again
5. shuffled: the rows are in random order, so the output is written again

Seconds are those of the processor: the machine may be shared. The memory is the peak resident set size of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from array import array
from pathlib import Path
from typing import Any

CITIES = ("Paris", "Rome", "Lyon", "Berlin", "Oslo", "It is Paris", "The capital is Rome.", "I think it is Lyon")


def main() -> int:
    """Print one line for each run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--judge", default="text")
    options = parser.parse_args()
    print("| output | rows | run | rows measured | CPU seconds | rows a CPU second | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for suffix in ("jsonl", "parquet"):
        for size in options.rows:
            with tempfile.TemporaryDirectory() as folder:
                measure_size(Path(folder), suffix, size, options.judge)
    return 0


def measure_size(folder: Path, suffix: str, size: int, judge: str) -> None:
    """Run the five cases for one size, and print them."""
    numbers = range(size * 11 // 10)
    shuffled = array("q", numbers)
    random.Random(0).shuffle(shuffled)
    source, output = folder / "in.jsonl", folder / f"out.{suffix}"
    runs = {
        "fresh": numbers[:size],
        "unchanged": numbers[:size],
        "appended": numbers,
        "reordered": numbers[::-1],
        "shuffled": shuffled,
    }
    measured_before = 0
    for name, given in runs.items():
        with source.open("w") as file:  # not all rows in memory: a child's peak begins with the size of this process
            file.writelines(json.dumps(row(number)) + "\n" for number in given)
        seconds, peak = run(
            [sys.executable, "-m", "semantic_entropy", "estimate", str(source), "-o", str(output), "-e", judge]
        )
        new = len(given) - measured_before if name in ("fresh", "appended") else 0
        measured_before = max(measured_before, len(given))
        rate = len(given) / seconds
        print(
            f"| {suffix} | {len(given):,} | {name} | {new:,} | {seconds:.1f} | {rate:,.0f} | {peak:.0f} |", flush=True
        )


def row(number: int) -> dict[str, Any]:
    """Return a row with five answers; no two rows are equal."""
    draw = random.Random(number)
    answers = [draw.choice(CITIES) for _ in range(4)]
    return {
        "id": number,
        "question": f"What is the capital of region {number % 40}?",
        "responses": [*answers, "Nowhere"],
    }


def run(command: list[str]) -> tuple[float, float]:
    """Run a command. Return its CPU seconds and its peak memory in MB."""
    process = subprocess.Popen([*command, "--quiet"], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    scale = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is in bytes on macOS, and in KB on Linux
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / scale


if __name__ == "__main__":
    raise SystemExit(main())
