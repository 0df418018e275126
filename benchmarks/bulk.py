"""Bulk runs: groups a second and peak memory of the engines `local` and `ray`, as a markdown table on stdout.

    python benchmarks/bulk.py [GROUPS ...] [--runs local:1 local:2 ray:2 file:1 file:2] [--judge NAME]
                                                                                       default: 10000 100000

A group has five short answers to one of 40 questions; the input is one file of JSON lines. Each run is the command
`semantic-entropy estimate in.jsonl -o out/` in a new process. `local:2` is the engine `local` with two workers, `ray:2`
the engine `ray` with two actors, on a Ray that starts for this run. `file:2` writes one file, `-o out.jsonl`, with two
workers. 10^6 groups take minutes.

Memory is the peak of the sum of resident sets, sampled every 0.2 s: of the command with its workers, and for `ray` of
the command and its actors, without Ray's own servers. Pages that processes share are counted in each of them. CPU
seconds are those of the sampled processes. They say more than the seconds of the clock if the machine is shared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from file_growth import row

MARK = "BULK_BENCHMARK"  # a variable of the environment, which a run and all its processes have
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Print one line for each run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("groups", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--runs", nargs="+", default=["local:1", "local:2", "ray:2", "file:1", "file:2"])
    parser.add_argument("--judge", default="text")
    options = parser.parse_args()
    print("| groups | engine | seconds | groups a second | CPU seconds | groups a CPU second | peak MB | output MB |")
    print("|---|---|---|---|---|---|---|---|")
    for size in options.groups:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "in.jsonl"
            with source.open("w") as file:
                file.writelines(json.dumps(row(number)) + "\n" for number in range(size))
            for run in options.runs:
                measure(source, size, run, options.judge)
    return 0


def measure(source: Path, size: int, run: str, judge: str) -> None:
    """Run the command once, and print its numbers."""
    engine, _, count = run.partition(":")
    is_file = engine == "file"
    out = source.parent / f"out-{engine}-{count}{'.jsonl' if is_file else '/'}"
    workers = ["--actors" if engine == "ray" else "--workers", count]
    command = [
        sys.executable,
        "-m",
        "semantic_entropy",
        "estimate",
        str(source),
        "-o",
        str(out) + "/" * (not is_file),
        "-e",
        judge,
    ]
    mark = uuid.uuid4().hex
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--engine", "local" if is_file else engine, *workers, "--quiet"],
        env={**os.environ, MARK: mark},
        stderr=subprocess.PIPE,
        text=True,
    )
    peak, cpu = 0, dict[int, float]()
    while process.poll() is None:
        peak = max(peak, sample(mark, cpu))
        time.sleep(0.2)
    seconds = time.perf_counter() - start
    said = process.stderr.read() if process.stderr else ""
    assert process.returncode == 0, said
    if is_file:
        with out.open("rb") as lines:
            rows = sum(1 for _ in lines)
    else:
        rows = json.loads((out / "_manifest.json").read_text())["rows"]
    assert rows == size, rows
    written = sum(path.stat().st_size for path in ([out] if is_file else out.glob("*.parquet"))) / 1e6
    used = sum(cpu.values())
    print(
        f"| {size:,} | {engine}, {count} | {seconds:.1f} | {size / seconds:,.0f} | {used:.1f} | {size / used:,.0f} "
        f"| {peak / 1e6:,.0f} | {written:,.1f} |",
        flush=True,
    )


def sample(mark: str, cpu: dict[int, float]) -> int:
    """Return the bytes of all processes of a run now, and note the CPU seconds of each so far."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() not in (folder / "environ").read_bytes():
                continue
            name = (folder / "cmdline").read_text()
            if "/ray/core/" in name or "ray/_private" in name or "ray/dashboard" in name or "ray::IDLE" in name:
                continue
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (OSError, UnicodeDecodeError):  # it has ended, or belongs to another user
            continue
        cpu[int(folder.name)] = (int(fields[11]) + int(fields[12])) / TICK
        total += int(fields[21]) * PAGE
    return total


if __name__ == "__main__":
    sys.exit(main())
