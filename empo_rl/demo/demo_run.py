"""The demo from end to end: pre-train, evaluate, train with EMPO, evaluate again, and write down what happened.

Offline, on one thread, and the same for the same seed on one machine, whether or not it was killed and resumed. Leaves
out nothing that the numbers depend on: every choice is a constant of `task`, `base_model`, `evaluation` or `training`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from empo_rl.core.provider import EmpoProvider
from empo_rl.data.arithmetic import ArithmeticSplit, split
from empo_rl.demo import output
from empo_rl.demo.demo_options import DemoOptions
from empo_rl.demo.evaluation import Evaluation, evaluate
from empo_rl.demo.stopwatch import Stopwatch
from empo_rl.demo.training import SAVE_EVERY, EvaluationsAlong, train
from empo_rl.files import checkpoints, explain_disk_full, write_atomically
from empo_rl.files.metrics_file import read_metrics
from empo_rl.files.run_directory import BASE, FINAL, METRICS
from empo_rl.plot.figures import PlotData, draw_figure
from empo_rl.plot.run_files import SUMMARY, demo_run
from empo_rl.run.tiny_model import make_model, make_tokenizer, pretrain, save_whole
from semantic_entropy import Scorer

Report = Callable[[str, int, int, str], None]
"""stage, steps done, steps in all, a note."""


def run_demo(directory: Path, start: output.DemoStart, options: DemoOptions, report: Report) -> dict[str, Any]:
    """Run in a directory that `output.prepare` or `output.resume` made ready. Returns `summary.json`."""
    if start.finished:
        return dict(json.loads((directory / SUMMARY).read_text(encoding="utf-8")))
    torch.set_num_threads(1)  # as fast as two for so small a model, and the same sums in the same order
    watch = Stopwatch()
    with explain_disk_full(directory, "Free some space."), watch.stage("total"):
        evaluations = _Demo(directory, options, report, watch).run(start.checkpoint)
        rows = read_metrics(directory / METRICS)
        title = f"EMPO demo: seed {options.seed}, reward {options.reward}, learning rate {options.learning_rate:g}"
        drawn = PlotData((demo_run(directory.name, rows, evaluations[0].to_dict()),))
        draw_figure(("entropy", "accuracy"), drawn, [directory / output.PICTURE], title)
    run = options.to_dict()
    base = evaluations[0]
    summary = {
        "base": base.to_dict(),
        "final": evaluations[options.steps].to_dict(),
        "auroc_base": base.auroc(),
        "seconds": _seconds(watch, rows),
        "resumed_from": start.resumed_from,
        "seed": run.pop("seed"),
        "run": run,
    }
    write_atomically(directory / SUMMARY, json.dumps(summary, indent=2) + "\n")
    output.tidy(directory)
    return summary


class _Demo:
    """The stages, each of which finds what an earlier process has done."""

    def __init__(self, directory: Path, options: DemoOptions, report: Report, watch: Stopwatch) -> None:
        self._directory = directory
        self._options = options
        self._report = report
        self._watch = watch
        self._questions: ArithmeticSplit = split(options.seed)
        self._tokenizer = make_tokenizer()

    def run(self, checkpoint: Path | None) -> dict[int, Evaluation]:
        """Evaluations by step, the base model's at 0; both models are saved."""
        model = self._base_model()
        with Scorer(equivalence="math", extract="boxed") as scorer:

            def measure() -> Evaluation:
                return evaluate(model, self._tokenizer, self._questions.evaluation, scorer, self._options.seed)

            along = EvaluationsAlong(measure, self._options.steps, base=None if checkpoint else measure())
            if checkpoints.step(checkpoint) == self._options.steps:
                assert checkpoint is not None
                model = self._trained_model(checkpoint, along)
            else:
                self._train(model, along, checkpoint)
        shutil.rmtree(self._directory / FINAL, ignore_errors=True)  # a kill may have come after it
        save_whole(model, self._tokenizer, self._directory / FINAL)
        return along.by_step

    def _base_model(self) -> Any:
        folder, kept = self._directory / BASE, self._directory / output.SECONDS
        if folder.exists():
            self._watch.load_state_dict(json.loads(kept.read_text(encoding="utf-8")))
            return AutoModelForCausalLM.from_pretrained(folder)
        steps = self._options.pretrain_steps
        with self._watch.stage("pretrain"):
            model = make_model(self._tokenizer, self._options.seed)
            pretrain(
                model,
                self._tokenizer,
                self._questions.pretraining,
                seed=self._options.seed,
                steps=steps,
                on_step=lambda step, loss: self._report("pre-training", step, steps, f"loss {loss:.3f}"),
            )
        write_atomically(kept, json.dumps(self._watch.state_dict()))
        save_whole(model, self._tokenizer, folder)
        return model

    def _train(self, model: Any, along: EvaluationsAlong, checkpoint: Path | None) -> None:
        options = self._options
        with (
            EmpoProvider(equivalence="math", extract="boxed", reward=options.reward, seed=options.seed) as provider,
            self._watch.stage("train"),
        ):
            train(
                model,
                self._tokenizer,
                self._questions.unlabelled,
                provider,
                steps=options.steps,
                learning_rate=options.learning_rate,
                seed=options.seed,
                output_dir=self._directory,
                along=along,
                report=lambda step, total, logs: self._report("training", step, total, _note(logs)),
                stateful={"seconds": self._watch},
                checkpoint=checkpoint,
                save_every=SAVE_EVERY,
            )

    def _trained_model(self, checkpoint: Path, along: EvaluationsAlong) -> Any:
        """From the last step's checkpoint, where a kill came after it."""
        states = json.loads(checkpoints.state_file(checkpoint, 0).read_text(encoding="utf-8"))
        along.load_state_dict(states["evaluations"])
        self._watch.load_state_dict(states["seconds"])
        return AutoModelForCausalLM.from_pretrained(checkpoint)


def _seconds(watch: Stopwatch, rows: list[dict[str, Any]]) -> dict[str, float]:
    counted = watch.seconds()
    judging = sum(row["empo/judging_seconds"] for row in rows)
    named = {"pretrain": counted["pretrain"], "train": counted["train"], "judging": judging, "total": counted["total"]}
    return {stage: round(seconds, 3) for stage, seconds in named.items()}


def _note(logs: Mapping[str, Any]) -> str:
    return f"entropy {logs['empo/entropy']:.2f} nats, reward {logs['empo/reward']:.2f}"
