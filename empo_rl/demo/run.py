"""The demo from end to end: pre-train, evaluate, train with EMPO, evaluate again, and write down what happened.

Offline, on one thread, and the same for the same seed on one machine. Leaves out nothing that the numbers
depend on: every choice is a constant of `task`, `base_model`, `evaluation` or `training`.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from empo_rl.demo import output
from empo_rl.demo.base_model import make_model, make_tokenizer, pretrain
from empo_rl.demo.evaluation import Evaluation, evaluate
from empo_rl.demo.picture import draw
from empo_rl.demo.task import split
from empo_rl.demo.training import train
from empo_rl.metrics_file import read_metrics
from empo_rl.provider import EmpoProvider
from semantic_entropy import Scorer

_RECORDED = ("semantic-entropy", "torch", "transformers", "trl")  # what the numbers depend on

Report = Callable[[str, int, int, str], None]
"""stage, steps done, steps in all, a note."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """base and final on the same held-out questions; seconds by stage; the choices and versions of the run."""

    base: Evaluation
    final: Evaluation
    auroc_base: float | None
    seconds: Mapping[str, float]
    seed: int
    run: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """`summary.json`."""
        return {
            "base": self.base.to_dict(),
            "final": self.final.to_dict(),
            "auroc_base": self.auroc_base,
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
            "seed": self.seed,
            "run": dict(self.run),
        }


def run_demo(
    directory: Path, *, seed: int, steps: int, learning_rate: float, pretrain_steps: int, reward: str, report: Report
) -> DemoResult:
    """Run into a prepared directory (`output.prepare`)."""
    started = time.perf_counter()
    torch.set_num_threads(1)  # as fast as two for so small a model, and the same sums in the same order
    questions = split(seed)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, seed)
    with (
        Scorer(equivalence="math", extract="boxed") as scorer,
        EmpoProvider(equivalence="math", extract="boxed", reward=reward, seed=seed) as provider,
    ):

        def measure() -> Evaluation:
            return evaluate(model, tokenizer, questions.evaluation, scorer, seed)

        def on_step(step: int, loss: float) -> None:
            report("pre-training", step, pretrain_steps, f"loss {loss:.3f}")

        pretrain(model, tokenizer, questions.pretraining, seed=seed, steps=pretrain_steps, on_step=on_step)
        pretrained = time.perf_counter()
        base = measure()
        _save(model, tokenizer, directory / output.BASE)
        training = time.perf_counter()
        evaluations = train(
            model,
            tokenizer,
            questions.unlabelled,
            provider,
            steps=steps,
            learning_rate=learning_rate,
            seed=seed,
            output_dir=directory,
            evaluate=measure,
            report=lambda step, total, logs: report("training", step, total, _note(logs)),
        )
        trained = time.perf_counter()
        _save(model, tokenizer, directory / output.FINAL)
    rows = read_metrics(directory / output.METRICS)
    title = f"EMPO demo: seed {seed}, reward {reward}, learning rate {learning_rate:g}"
    draw(directory / output.PICTURE, rows, {0: base, **evaluations}, title)
    result = DemoResult(
        base=base,
        final=evaluations[steps],
        auroc_base=base.auroc(),
        seconds={
            "pretrain": pretrained - started,
            "train": trained - training,
            "judging": sum(row["empo/judging_seconds"] for row in rows),
            "total": time.perf_counter() - started,
        },
        seed=seed,
        run={
            "steps": steps,
            "learning_rate": learning_rate,
            "reward": reward,
            "pretrain_steps": pretrain_steps,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in _RECORDED}},
        },
    )
    (directory / output.SUMMARY).write_text(json.dumps(result.to_dict(), indent=2) + "\n", encoding="utf-8")
    return result


def _note(logs: Mapping[str, Any]) -> str:
    return f"entropy {logs['empo/entropy']:.2f} nats, reward {logs['empo/reward']:.2f}"


def _save(model: Any, tokenizer: Any, directory: Path) -> None:
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
