"""Runs and helpers that several plot tests use."""

import math

from empo_rl.plot.run_files import RaisedAlarm, Run

ALARM = RaisedAlarm(3, "entropy_floor")


def example_run(name="run", *, shift=0.0, steps=12, alarms=(ALARM,)):
    rows = [
        {
            "step": step,
            "empo/entropy": 1 / step + shift,
            "empo/accuracy": 1 - 1 / step,
            "empo/golden_correlation": math.sin(step),
            "empo/reward": -step,
            "empo/keep_fraction": 0.5,
            "empo/step_skipped": float(step == 7),
            "completions/mean_length": 30.0,
            "cost/generation_seconds": 1.0,
            "cost/judging_seconds": 0.5,
            "cost/loss_seconds": 2.5,
            "cost/step_seconds": 4.0,
            "cost/peak_memory_gib": 0.5 + step,
        }
        for step in range(1, steps + 1)
    ]
    return Run(name, tuple(rows), {}, tuple(alarms))


def lines(axes):
    """The points of each line on the axes."""
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()]
