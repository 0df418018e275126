"""The demo with several seeds, with labels, and with the random reward: a markdown table on stdout.

    python benchmarks/demo_seeds.py [--seeds 0 1 2] [--rewards empo golden random] [--directory DIR]

Each row is a separate process, `empo-train demo --seed S --reward R`, one after another. CPU seconds count the
process and its workers, with imports. `golden` runs only on the first seed. Exits with 1 if an EMPO row misses RISE,
FALL or CPU_SECONDS, or if the random control rises by more than NOISE.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

# The targets of a run: accuracy up by 0.25, entropy down by 0.6 nats, within three minutes of one core.
RISE, FALL, CPU_SECONDS = 0.25, 0.6, 180.0
NOISE = 0.0625  # two standard errors of a share near one half over 256 questions


def run(seed: int, reward: str, directory: Path) -> dict[str, object]:
    """Run one demo; return its summary, with the CPU seconds of the process and its workers."""
    output = directory / f"{reward}-{seed}"
    command = [str(Path(sysconfig.get_path("scripts")) / "empo-train"), "demo", "--seed", str(seed), "--reward", reward]
    before = _children_seconds()
    done = subprocess.run(
        [*command, "--output-dir", str(output)],
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    return {**summary, "reward": reward, "cpu": _children_seconds() - before}


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def row(result: dict[str, object]) -> str:
    """One line of the table."""
    base, final = result["base"], result["final"]
    assert isinstance(base, dict)
    assert isinstance(final, dict)
    changes = [f"{base[name]:.3f} -> {final[name]:.3f}" for name in base]
    auroc = result["auroc_base"]
    shown = "-" if auroc is None else f"{auroc:.3f}"
    cells = [str(result["reward"]), str(result["seed"]), *changes, shown, f"{result['cpu']:.0f}"]
    return "| " + " | ".join(cells) + " |"


def reached(result: dict[str, object]) -> bool:
    """Whether an EMPO run reached its targets, or the random control did not rise."""
    base, final = result["base"], result["final"]
    assert isinstance(base, dict)
    assert isinstance(final, dict)
    rises = [final[name] - base[name] for name in ("pass@1", "mean@8")]
    if result["reward"] == "random":
        return max(rises) <= NOISE
    learned = min(rises) >= RISE and base["semantic_entropy"] - final["semantic_entropy"] >= FALL
    return learned and float(str(result["cpu"])) < CPU_SECONDS


def main() -> int:
    """Run all demos, and print each row when it is finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rewards", nargs="+", default=["empo", "golden", "random"])
    parser.add_argument("--directory", type=Path, help="keep the runs here; default: a temporary directory")
    options = parser.parse_args()
    runs = [(seed, r) for r in options.rewards for seed in (options.seeds[:1] if r == "golden" else options.seeds)]
    print("| reward | seed | pass@1 | mean@8 | majority@8 | semantic entropy (nats) | AUROC before | CPU s |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    missed = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed, reward in runs:
            result = run(seed, reward, options.directory or Path(temporary))
            print(row(result), flush=True)
            if not reached(result):
                missed.append(f"{reward} seed {seed}")
    print(f"\nmissed: {', '.join(missed)}" if missed else "\nall runs reached their targets", flush=True)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
