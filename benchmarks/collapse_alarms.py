"""How early each alarm fires in runs that collapse, and how often in healthy runs: a markdown table on stdout.

    python benchmarks/collapse_alarms.py --directory DIR [--runs healthy-2 rate-1e-3-2 ...]   trains missing runs
    python benchmarks/collapse_alarms.py --directory DIR --replay [--alarms '{"concentration": {"share": 0.3}}']

DIR holds the recordings of benchmarks/collapse_runs.py, one JSON file for each run. The alarms run on the recordings,
without new training. The accuracy on held-out questions evaluates the alarms; no alarm reads it.

    fell     the first measured step from which the accuracy stays more than 10% below its best value so far
    fired    the first step of an alarm, and the number of steps before (-) or after (+) the fall
    last two columns   the accuracy at its last measurement before the first alarm, and at the protected checkpoint;
                       there is a checkpoint every 10 steps, and step 0 is the base model

The defaults were chosen on seed 0. The report uses other seeds. All runs take about 20 minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from empo_rl import Firing, Monitor

# Internal: recordings hold the observed numbers of each step, and `Monitor.update` takes only whole decisions.
from empo_rl.core.guards import normalize_answer
from empo_rl.monitor import ALARMS, Observation

# The alarms for signs of a collapse. The others watch whether a run can learn, and need numbers that recordings lack.
COLLAPSE = ("entropy_floor", "entropy_rise", "concentration", "variety", "unparsable", "length_drift")
FALL = 0.1  # of the best accuracy so far
SAVE_EVERY = 10  # steps
REPORT = [f"healthy-{seed}" for seed in (1, 2, 3, 4)]
REPORT += [
    f"{kind}-{seed}"
    for kind in ("rate-5e-4", "rate-1e-3", "rate-1.5e-3", "undertrained", "noise-40")
    for seed in (2, 3)
]


def observation_of(step: Mapping[str, Any]) -> Observation:
    """The numbers of a recorded step that alarms watch."""
    return Observation(
        size=len(step["answers"][0]),
        entropies=tuple(step["entropies"]),
        main_answers=tuple(None if answer is None else normalize_answer(answer) for answer in step["main"]),
        invalid=sum(answer is None for group in step["answers"] for answer in group),
        lengths=tuple(float(count) for group in step["tokens"] for count in group),
    )


def replay(recording: Mapping[str, Any], alarms: Mapping[str, Any]) -> list[Firing]:
    """All firings in a recorded run."""
    monitor = Monitor({**{name: None for name in ALARMS if name not in COLLAPSE}, **alarms})
    return [firing for step in recording["steps"] for firing in monitor.observe(observation_of(step), step["step"])]


def accuracies(recording: Mapping[str, Any]) -> dict[int, float]:
    """Held-out pass@1 by step; 0 is the base model."""
    return {int(step): value for step, value in recording["held_out"].items()}


def fell(accuracy: Mapping[int, float]) -> int | None:
    """The first measured step from which the accuracy stays below its best value so far; None if it did not fall."""
    steps = sorted(accuracy)
    for place, step in enumerate(steps[:-1]):  # a dip only in the last measurement is not a fall
        least = (1 - FALL) * max(accuracy[earlier] for earlier in steps[: place + 1])
        if all(accuracy[later] < least for later in steps[place:]):
            return step
    return None


def kept(firings: Sequence[Firing]) -> int | None:
    """The step of the checkpoint that the first firing protects; None without a firing; 0 is the base model."""
    if not firings:
        return None
    return max(firings[0].began - 2, 0) // SAVE_EVERY * SAVE_EVERY


def fired(name: str, firings: Sequence[Firing], fall: int | None) -> str:
    """For example `34 (-6)`: step 34, six steps before the fall."""
    first = next((firing.step for firing in firings if firing.alarm == name), None)
    if first is None:
        return "-"
    return str(first) if fall is None else f"{first} ({first - fall:+d})"


def row(name: str, recording: Mapping[str, Any], alarms: Mapping[str, Any]) -> str:
    """The line of one run in the table."""
    accuracy, firings = accuracies(recording), replay(recording, alarms)
    fall, last = fell(accuracy), max(accuracy)
    best = max(accuracy, key=lambda step: accuracy[step])
    checkpoint = kept(firings)
    shown = ["-", "-"]
    if firings and checkpoint is not None:
        measured = max(step for step in accuracy if step <= firings[0].step)
        shown = [f"{accuracy[measured]:.2f}", f"{accuracy[checkpoint]:.2f} (step {checkpoint})"]
    course = f"{accuracy[0]:.2f}, {accuracy[best]:.2f} (step {best}), {accuracy[last]:.2f} (step {last})"
    cells = [name, course, str(fall or "-"), *(fired(alarm, firings, fall) for alarm in COLLAPSE), *shown]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Record missing runs, replay all runs, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--runs", nargs="+", default=REPORT, metavar="KIND-SEED")
    parser.add_argument("--replay", action="store_true", help="use only the recorded runs of --runs; train nothing")
    parser.add_argument(
        "--alarms", type=json.loads, default={}, help="options as JSON; they replace the defaults of the same name"
    )
    options = parser.parse_args()
    if not options.replay:
        from collapse_runs import record_all

        record_all(options.directory, options.runs)
    header = ["run", "pass@1 first, best, last", "fell", *COLLAPSE, "at the first alarm", "at the checkpoint"]
    print(f"| {' | '.join(header)} |")
    print(f"|---|---|---|{'---|' * len(COLLAPSE)}---|---|")
    for name in options.runs:
        file = options.directory / f"{name}.json"
        if file.exists():
            print(row(name, json.loads(file.read_text(encoding="utf-8")), options.alarms))
    return 0


if __name__ == "__main__":
    sys.exit(main())
