"""How early which alarm fires in runs that collapse, and how often in runs that do not: a markdown table on stdout.

    python benchmarks/collapse_alarms.py --directory DIR [--runs healthy-2 rate-1e-3-2 ...]   records what is missing
    python benchmarks/collapse_alarms.py --directory DIR --replay [--alarms '{"concentration": {"share": 0.3}}']

DIR holds the recordings of benchmarks/collapse_runs.py, one JSON a run: alarms are judged on them without training
again.
Accuracy, on held-out questions, judges the alarms and is shown to none of them.

    fell     the first measured step from which accuracy stays more than 10% under the best it had reached by then
    fired    an alarm's first step, and how many steps before (-) or after (+) the fall that is
    when it fired, kept   the accuracy at the first alarm's step, as measured last; and at the checkpoint that it keeps,
                          of one every 10 steps, 0 being the base model

The defaults were chosen on seed 0. The runs of other seeds are the report; all take about 20 minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from empo_rl.core.guards import plain
from empo_rl.monitor import ALARMS, Firing, Monitor, Seen

FALL = 0.1  # of the best accuracy so far
SAVE_EVERY = 10  # steps
REPORT = [f"healthy-{seed}" for seed in (1, 2, 3, 4)]
REPORT += [
    f"{kind}-{seed}"
    for kind in ("rate-5e-4", "rate-1e-3", "rate-1.5e-3", "undertrained", "noise-40")
    for seed in (2, 3)
]


def seen(step: Mapping[str, Any]) -> Seen:
    """What the alarms see of a recorded step."""
    return Seen(
        size=len(step["answers"][0]),
        entropies=tuple(step["entropies"]),
        main=tuple(None if answer is None else plain(answer) for answer in step["main"]),
        unread=sum(answer is None for group in step["answers"] for answer in group),
        lengths=tuple(float(count) for group in step["tokens"] for count in group),
    )


def replay(recording: Mapping[str, Any], alarms: Mapping[str, Any]) -> list[Firing]:
    """All that fires in a recorded run."""
    monitor = Monitor(alarms)
    return [firing for step in recording["steps"] for firing in monitor.see(seen(step), step["step"])]


def accuracies(recording: Mapping[str, Any]) -> dict[int, float]:
    """Held-out pass@1 by step; 0 is the base model."""
    return {int(step): value for step, value in recording["held_out"].items()}


def fell(accuracy: Mapping[int, float]) -> int | None:
    """The first measured step from which accuracy stays under the best so far; None where it did not fall."""
    steps = sorted(accuracy)
    for place, step in enumerate(steps[:-1]):  # a dip in the last measurement alone is no fall yet
        least = (1 - FALL) * max(accuracy[earlier] for earlier in steps[: place + 1])
        if all(accuracy[later] < least for later in steps[place:]):
            return step
    return None


def kept(firings: Sequence[Firing]) -> int | None:
    """The step of the checkpoint that the first firing keeps; None where it keeps none, 0 being the base model."""
    if not firings:
        return None
    return max(firings[0].began - 2, 0) // SAVE_EVERY * SAVE_EVERY


def fired(name: str, firings: Sequence[Firing], fall: int | None) -> str:
    """`34 (-6)`: six steps before the fall."""
    first = next((firing.step for firing in firings if firing.alarm == name), None)
    if first is None:
        return "-"
    return str(first) if fall is None else f"{first} ({first - fall:+d})"


def row(name: str, recording: Mapping[str, Any], alarms: Mapping[str, Any]) -> str:
    """One run's line of the table."""
    accuracy, firings = accuracies(recording), replay(recording, alarms)
    fall, last = fell(accuracy), max(accuracy)
    best = max(accuracy, key=lambda step: accuracy[step])
    checkpoint = kept(firings)
    shown = ["-", "-"]
    if firings and checkpoint is not None:
        measured = max(step for step in accuracy if step <= firings[0].step)
        shown = [f"{accuracy[measured]:.2f}", f"{accuracy[checkpoint]:.2f} (step {checkpoint})"]
    course = f"{accuracy[0]:.2f}, {accuracy[best]:.2f} (step {best}), {accuracy[last]:.2f} (step {last})"
    cells = [name, course, str(fall or "-"), *(fired(alarm, firings, fall) for alarm in ALARMS), *shown]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Record what is missing, replay, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--runs", nargs="+", default=REPORT, metavar="KIND-SEED")
    parser.add_argument("--replay", action="store_true", help="of --runs those that are recorded; train nothing")
    parser.add_argument("--alarms", type=json.loads, default={}, help="options as JSON, on top of the defaults")
    options = parser.parse_args()
    if not options.replay:
        from collapse_runs import record_all

        record_all(options.directory, options.runs)
    print(f"| run | pass@1 at first, at best, at last | fell | {' | '.join(ALARMS)} | when it fired | kept |")
    print(f"|---|---|---|{'---|' * len(ALARMS)}---|---|")
    for name in options.runs:
        file = options.directory / f"{name}.json"
        if file.exists():
            print(row(name, json.loads(file.read_text(encoding="utf-8")), options.alarms))
    return 0


if __name__ == "__main__":
    sys.exit(main())
