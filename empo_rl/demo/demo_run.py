"""Run the demo: train the recipe `tiny` with held-out evaluations, write the summary, print the table.

The demo needs no network and uses one thread. On one machine, equal seeds produce equal numbers, even if a demo was
killed and resumed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from empo_rl.config import Config, load_config
from empo_rl.demo.demo_directory import HELD_OUT, PICTURE, DemoOptions, DemoStart, tidy
from empo_rl.demo.held_out import Evaluation, HeldOutEvaluations, RunClock, entropy_auroc, summarize
from empo_rl.files import checkpoints, explain_disk_full, write_atomically
from empo_rl.files.metrics_file import read_metrics
from empo_rl.files.run_directory import BASE, METRICS
from empo_rl.plot.figures import PlotData, draw_figure
from empo_rl.plot.run_files import SUMMARY, demo_run
from empo_rl.progress import StageProgress
from empo_rl.run.tiny_model import pretraining_seconds
from empo_rl.run.train import RunAdditions, run_training

_SAVE_EVERY = 5  # steps; a checkpoint of this model takes 14 ms of CPU time, a training step 1 s
_KEEP_CHECKPOINTS = 2  # if a kill damages the last checkpoint, the checkpoint before it remains
_LABELS = {
    "pass@1": "pass@1, greedy",
    "mean@8": "mean@8",
    "majority@8": "majority@8",
    "semantic_entropy": "semantic entropy (nats)",
}


def run_demo(directory: Path, start: DemoStart, options: DemoOptions, progress: StageProgress) -> dict[str, Any]:
    """Run the demo in a locked directory that `demo_directory` prepared. Returns the content of `summary.json`."""
    if start.finished:
        return dict(json.loads((directory / SUMMARY).read_text(encoding="utf-8")))
    config = demo_config(options, directory, resume=start.resumed)
    clock = RunClock(before=pretraining_seconds(directory / BASE))
    with closing(HeldOutEvaluations(config)) as held_out:
        additions = RunAdditions(
            callbacks={HELD_OUT: held_out, "clock": clock}, settings=options.to_dict(), locked=True
        )
        run_training(config, overwrite=False, progress=progress, say=progress.say, additions=additions)
    if options.steps not in held_out.by_step:  # an earlier process completed the training
        states = _last_state(directory)
        held_out.load_state_dict(states[HELD_OUT])
        clock.load_state_dict(states["clock"])
    with explain_disk_full(directory, "Free some space."):
        return _write_results(directory, start, options, held_out.by_step, clock)


def demo_config(options: DemoOptions, directory: Path, *, resume: bool) -> Config:
    """The recipe `tiny` with the options of the demo."""
    values = {
        "output_dir": str(directory),
        "resume": resume,
        "seed": options.seed,
        "training.steps": options.steps,
        "training.learning_rate": options.learning_rate,
        "training.save_every": _SAVE_EVERY,
        "training.keep_checkpoints": _KEEP_CHECKPOINTS,
        "empo.reward": options.reward,
        "demo.pretrain_steps": options.pretrain_steps,
    }
    return load_config("tiny", [f"{key}={json.dumps(value)}" for key, value in values.items()])


def print_table(summary: Mapping[str, Any], directory: Path) -> None:
    """Print the numbers before and after training, the AUROC, the seconds, and the output directory."""
    console = Console()
    table = Table(title="256 held-out questions")
    table.add_column("")
    for column in ("before", "after", "change"):
        table.add_column(column, justify="right")
    before, after = summary["base"], summary["final"]
    for name, label in _LABELS.items():
        table.add_row(label, f"{before[name]:.3f}", f"{after[name]:.3f}", f"{after[name] - before[name]:+.3f}")
    console.print(table)
    base_auroc, seconds = summary["auroc_base"], summary["seconds"]
    auroc = "undefined (all answers are right, or all are wrong)" if base_auroc is None else f"{base_auroc:.3f}"
    console.print(f"AUROC of entropy against wrong answers, before training: {auroc}", highlight=False)
    console.print(
        f"{seconds['total']:.0f} s: pre-training {seconds['pretrain']:.0f}, training {seconds['train']:.0f}, "
        f"of which judging {seconds['judging']:.1f}",
        highlight=False,
    )
    console.print(f"written to {directory}", highlight=False, soft_wrap=True)


def _last_state(directory: Path) -> dict[str, Any]:
    checkpoint, _ = checkpoints.latest(directory)
    assert checkpoint is not None, "run_training found it"
    return dict(json.loads(checkpoints.state_file(checkpoint, 0).read_text(encoding="utf-8")))


def _write_results(
    directory: Path, start: DemoStart, options: DemoOptions, evaluations: Mapping[int, Evaluation], clock: RunClock
) -> dict[str, Any]:
    """Write the picture, then `summary.json`, which marks the demo as finished; delete the checkpoints."""
    rows = read_metrics(directory / METRICS)
    base, final = summarize(evaluations[0]), summarize(evaluations[options.steps])
    title = f"EMPO demo: seed {options.seed}, reward {options.reward}, learning rate {options.learning_rate:g}"
    shown = PlotData((demo_run(directory.name, rows, base),))
    draw_figure(("entropy", "accuracy"), shown, [directory / PICTURE], title)
    settings, counted = options.to_dict(), clock.seconds()
    seconds = {
        "pretrain": pretraining_seconds(directory / BASE),
        "train": counted["train"],
        "judging": sum(row["empo/judging_seconds"] for row in rows),
        "total": counted["total"],
    }
    summary = {
        "base": base,
        "final": final,
        "auroc_base": entropy_auroc(evaluations[0]),
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "resumed_from": start.resumed_from,
        "seed": settings.pop("seed"),
        "run": settings,
    }
    write_atomically(directory / SUMMARY, json.dumps(summary, indent=2) + "\n")
    tidy(directory)
    return summary
