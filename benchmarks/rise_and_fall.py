r"""Train the tiny model for long with each reward: where it falls, and what `empo-train probe` says before.

    python benchmarks/rise_and_fall.py --directory DIR [--seeds 0 1] [--rewards empo majority ...] [--picture FILE.png]

Prints a markdown table. The runs are those of the recipe `tiny` with STEPS steps, four times those of the demo, and a
learning rate at which runs are known to fall (benchmarks/collapse_alarms.py). Each seed has one base model.

    mean@8, pass@1   on 256 held-out questions every 10 steps: first, highest, last; no training and no probe reads them
    fell             the first evaluated step from which mean@8 stays more than 10% below its highest value so far
    majority         the mean share of the largest cluster in training, over 5 steps: at the highest mean@8, at the end
    probe K          the two budgets that `empo-train probe` finds in the first K steps, without and with labels, each
                     with the held-out mean@8 of the last evaluation within the budget; `-`: no budget is found. The
                     schedule is constant, so a run of K steps has the same first K steps

A finished run is DIR/REWARD-SEED/result.json, and is not run again. After an interruption, the same command continues
from the last checkpoint. A run takes four to eight minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
import transformers
from collapse_alarms import fell
from tiny_rewards import CHOICES

# Internal: the base model and the evaluation of the demo, and the rules of the probe, have no public names.
from empo_rl.config import load_config
from empo_rl.demo.held_out import HeldOutEvaluations, summarize
from empo_rl.files import checkpoints
from empo_rl.files.metrics_file import read_metrics
from empo_rl.files.run_directory import ALARMS, METRICS
from empo_rl.monitor.collapse_step import budgets, find_parting, find_suspicion
from empo_rl.run.tiny_model import PRETRAIN_STEPS, load_or_make, make_tokenizer
from empo_rl.run.train import RunAdditions, run_training

REWARDS = ["empo", "majority", "scrl", "ddrl", "restrain", "vote_certainty", "golden", "random"]
STEPS, LEARNING_RATE = 200, 5e-4
PROBES = (50, 100, STEPS)  # steps
OVER = 5  # steps of a mean, as in the probe
HELD_OUT = "held_out"  # the name of the evaluations in a checkpoint

Run = Mapping[str, Any]
"""The content of result.json: `held_out` (numbers by step), `metrics` and `alarms` (rows)."""


def record(directory: Path, reward: str, seed: int) -> Run:
    """The result of a run; the run is trained if it is not there."""
    folder = directory / f"{reward}-{seed}"
    result = folder / "result.json"
    if not result.exists():
        base = directory / f"base-{seed}"
        load_or_make(make_tokenizer(), base, seed=seed, steps=PRETRAIN_STEPS, report=lambda *_: None)
        values = {
            "model": str(base),
            "output_dir": str(folder),
            "resume": True,
            "seed": seed,
            **{f"empo.{name}": value for name, value in CHOICES.get(reward, {"reward": reward}).items()},
            "empo.measure_gold": True,
            "training.steps": STEPS,
            "training.learning_rate": LEARNING_RATE,
            "training.keep_checkpoints": 2,
        }
        config = load_config("tiny", [f"{key}={json.dumps(value)}" for key, value in values.items()])
        with closing(HeldOutEvaluations(config)) as held_out:
            additions = RunAdditions(callbacks={HELD_OUT: held_out})
            run_training(config, overwrite=False, progress=lambda *_: None, say=_say, additions=additions)
        last, _ = checkpoints.latest(folder)
        assert last is not None, "the last step has a checkpoint"
        evaluations = json.loads(checkpoints.state_file(last, 0).read_text(encoding="utf-8"))[HELD_OUT]
        made = {
            "held_out": {step: summarize(values) for step, values in evaluations.items()},
            "metrics": read_metrics(folder / METRICS),
            "alarms": read_metrics(folder / ALARMS),
        }
        unfinished = result.with_suffix(".tmp")
        unfinished.write_text(json.dumps(made), encoding="utf-8")
        unfinished.rename(result)
    return dict(json.loads(result.read_text(encoding="utf-8")))


def curve(run: Run, name: str) -> dict[int, float]:
    """A held-out number by step; 0 is the base model."""
    return {int(step): numbers[name] for step, numbers in run["held_out"].items()}


def smoothed(run: Run, name: str) -> dict[int, float]:
    """The mean of a number of the training over the last `OVER` steps, by step."""
    values = {int(row["step"]): float(row[name]) for row in run["metrics"] if row.get(name) is not None}
    steps = sorted(values)
    ends = range(OVER, len(steps) + 1)
    return {steps[end - 1]: sum(values[step] for step in steps[end - OVER : end]) / OVER for end in ends}


def probed(run: Run, steps: int) -> tuple[int | None, int | None]:
    """The budgets without and with labels that the probe finds in the first steps of the run."""
    metrics, alarms = ([row for row in run[kind] if row["step"] <= steps] for kind in ("metrics", "alarms"))
    return budgets(find_suspicion(alarms), find_parting(metrics))


def course(values: Mapping[int, float]) -> str:
    """For example `0.43, 0.91 (step 40), 0.62`: first, highest, last."""
    best = max(values, key=lambda step: values[step])
    return f"{values[min(values)]:.2f}, {values[best]:.2f} (step {best}), {values[max(values)]:.2f}"


def with_accuracy(budget: int | None, accuracy: Mapping[int, float]) -> str:
    """For example `23 (0.82)`: a budget of 23 steps, and the accuracy at the last evaluation until then."""
    return "-" if budget is None else f"{budget} ({accuracy[max(step for step in accuracy if step <= budget)]:.2f})"


def row(name: str, run: Run) -> str:
    """The line of one run in the table."""
    accuracy, majority = curve(run, "mean@8"), smoothed(run, "empo/max_p")
    best = max(accuracy, key=lambda step: accuracy[step])
    share = f"{majority[max(best, min(majority))]:.2f}, {majority[max(majority)]:.2f}"
    found = [" / ".join(with_accuracy(budget, accuracy) for budget in probed(run, steps)) for steps in PROBES]
    cells = [name, course(accuracy), course(curve(run, "pass@1")), str(fell(accuracy) or "-"), share, *found]
    return f"| {' | '.join(cells)} |"


def draw(runs: Mapping[str, Run], path: Path) -> None:
    """Write a picture: for each run, held-out mean@8, and the majority share in training, by step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    names = list(dict.fromkeys(name.rpartition("-")[0] for name in runs))
    for name, run in runs.items():
        reward, _, seed = name.rpartition("-")
        style = {"color": f"C{names.index(reward)}", "linestyle": ["-", "--", ":"][int(seed) % 3], "label": name}
        for axes, values in ((left, curve(run, "mean@8")), (right, smoothed(run, "empo/max_p"))):
            axes.plot(list(values), list(values.values()), linewidth=1.5, **style)
    left.set(xlabel="step", ylabel="mean@8, held out", ylim=(0, 1))
    right.set(xlabel="step", ylabel="share of the largest cluster, training", ylim=(0, 1))
    right.legend(fontsize="small")
    figure.savefig(path, dpi=110)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Run all missing runs, print the table, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rewards", nargs="+", default=REWARDS, choices=REWARDS)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    options.directory.mkdir(parents=True, exist_ok=True)
    names = [(reward, seed) for seed in options.seeds for reward in options.rewards]
    runs: dict[str, Run] = {}
    for reward, seed in names:
        _say(f"{reward}, seed {seed}")
        runs[f"{reward}-{seed}"] = record(options.directory, reward, seed)
    columns = ["run", "mean@8: first, highest, last", "pass@1: first, highest, last", "fell", "majority"]
    columns += [f"probe {steps}" for steps in PROBES]
    print(f"{STEPS} steps, learning rate {LEARNING_RATE:g}\n")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for name, run in runs.items():
        print(row(name, run))
    if options.picture:
        draw(runs, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
