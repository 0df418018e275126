r"""Record healthy and collapsing runs of the tiny model, for benchmarks/collapse_alarms.py.

    python benchmarks/collapse_runs.py --directory DIR [--runs healthy-2 rate-1e-3-2 ...]

A recording holds the values of each step that are known without labels (answers, entropies, lengths). It also holds
the accuracy on held-out questions, which is only used to evaluate the alarms. A recorded run is the file
KIND-SEED.json in DIR, and is not run again.

    healthy          lr 1e-4, the settings of the demo
    rate-5e-4 ...    the same with a higher learning rate
    undertrained     a base model with half of the pre-training, lr 1.5e-3
    noise-8, -40     a base model whose chains are wrong with probability 8% or 40% in each step, lr 1e-4 and 5e-4
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForCausalLM, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from empo_rl import BatchDecision, EmpoGRPOTrainer, EmpoProvider

# Internal: the questions, the base model and the evaluation of the demo have no public names.
from empo_rl.config import Config, load_config
from empo_rl.config.trl_arguments import training_arguments
from empo_rl.data.arithmetic import (
    DIRECT_IF_EASY,
    DIRECT_IF_HARD,
    EASY_UP_TO,
    ArithmeticQuestion,
    direct,
    pretraining_answer,
    split,
)
from empo_rl.data.prompts import read_prompts
from empo_rl.demo.held_out import complete
from empo_rl.run.tiny_model import PRETRAIN_STEPS, make_model, make_tokenizer, pretrain, prompt_text
from semantic_entropy.plugin import boxed

MAX_NEW_TOKENS = load_config("tiny").rollout.max_completion_tokens
MEASURE_EVERY = 5  # steps between two evaluations on the held-out questions


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of run. Runs with the same `base` and seed share the pre-trained model."""

    learning_rate: float
    steps: int
    base: str = "demo"


KINDS = {
    "healthy": Kind(1e-4, 60),
    "rate-5e-4": Kind(5e-4, 80),
    "rate-1e-3": Kind(1e-3, 50),
    "rate-1.5e-3": Kind(1.5e-3, 30),
    "undertrained": Kind(1.5e-3, 30, "undertrained"),
    "noise-8": Kind(1e-4, 100, "noise-8"),
    "noise-8-5e-4": Kind(5e-4, 60, "noise-8"),
    "noise-40": Kind(5e-4, 60, "noise-40"),
}
NOISE = {"noise-8": 0.08, "noise-40": 0.4}
PRETRAINING = {"undertrained": PRETRAIN_STEPS // 2}


def noisy_answer(question: ArithmeticQuestion, dice: random.Random, noise: float) -> str:
    """A text as in the demo's corpus; each result of a chain is wrong by 1 to 10 with probability `noise`."""

    def off(value: int) -> int:
        return abs(value + dice.randint(1, 10) * dice.choice((-1, 1))) if dice.random() < noise else value

    if dice.random() < (DIRECT_IF_EASY if question.c <= EASY_UP_TO else DIRECT_IF_HARD):
        return direct(question, dice)
    total = off(question.a + question.b)
    product = off(total * question.c)
    value = off(product + question.d)
    lines = (
        f"{question.a}+{question.b}={total}",
        f"{total}*{question.c}={product}",
        f"{product}+{question.d}={value}",
        rf"\boxed{{{value}}}",
    )
    return "\n".join(lines)


def base_model(directory: Path, base: str, seed: int) -> Path:
    """The folder of the pre-trained model of this seed; the model is made if it does not exist."""
    folder = directory / f"base-{base}-{seed}"
    if not folder.exists():
        tokenizer = make_tokenizer()
        model = make_model(tokenizer, seed)
        text = partial(noisy_answer, noise=NOISE[base]) if base in NOISE else pretraining_answer
        steps = PRETRAINING.get(base, PRETRAIN_STEPS)
        pretrain(model, tokenizer, split(seed).pretraining, seed=seed, steps=steps, text=text)
        unfinished = folder.with_suffix(".tmp")
        model.save_pretrained(unfinished)
        unfinished.rename(folder)
    return folder


class Recorded(EmpoProvider):
    """A provider that records its decisions."""

    def __init__(self, golds: dict[str, str], **choices: Any) -> None:
        super().__init__(**choices)
        self.steps: list[dict[str, Any]] = []
        self._golds = golds

    def step(self, groups: Sequence[Any], *, training: bool = True) -> BatchDecision:
        decision = super().step(groups, training=training)
        if training:
            results = decision.results
            golds = [self._golds[str(group.question)] for group in groups]
            right = [a == gold for result, gold in zip(results, golds, strict=True) for a in result.answers]
            self.steps.append(
                {
                    "step": len(self.steps) + 1,
                    "entropies": [round(float(entropy), 6) for entropy in decision.entropies],
                    "main": [result.answer for result in results],
                    "answers": [list(result.answers) for result in results],
                    "tokens": [[int(n) for n in group.measures["tokens"]] for group in groups],
                    "right": sum(right) / len(right),
                }
            )
        return decision


class HeldOut(TrainerCallback):
    """Greedy pass@1 on the held-out questions, by step; step 0 is the base model."""

    def __init__(self, model: Any, tokenizer: Any, questions: Sequence[ArithmeticQuestion], steps: int) -> None:
        self.accuracy: dict[int, float] = {}
        self._of, self._questions, self._steps = (model, tokenizer), questions, steps

    def measure(self, step: int) -> None:
        prompts = [prompt_text(question) for question in self._questions]
        texts = complete(*self._of, prompts, max_new_tokens=MAX_NEW_TOKENS, greedy=True)
        right = [boxed(text) == question.gold for text, question in zip(texts, self._questions, strict=True)]
        self.accuracy[step] = sum(right) / len(right)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % MEASURE_EVERY == 0 or state.global_step == self._steps:
            self.measure(state.global_step)


def record(directory: Path, name: str, seed: int) -> dict[str, Any]:
    """The recording of a run; the run is trained if it is not recorded."""
    kept = directory / f"{name}-{seed}.json"
    if not kept.exists():
        kind, tokenizer, questions = KINDS[name], make_tokenizer(), split(seed)
        config = run_config(directory / "trainer", kind, seed)
        model = AutoModelForCausalLM.from_pretrained(base_model(directory, kind.base, seed))
        held_out = HeldOut(model, tokenizer, questions.evaluation, kind.steps)
        held_out.measure(0)
        golds = {question.text: question.gold for question in questions.unlabelled}
        with Recorded(golds, equivalence="math", extract="boxed", seed=seed) as provider:
            trainer = EmpoGRPOTrainer(
                model=model,
                provider=provider,
                args=training_arguments(config, 1),
                train_dataset=Dataset.from_list(read_prompts(config)),
                processing_class=tokenizer,
                callbacks=[held_out],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            recording = {
                "kind": name,
                "seed": seed,
                "learning_rate": kind.learning_rate,
                "pretrain_steps": PRETRAINING.get(kind.base, PRETRAIN_STEPS),
                "held_out": held_out.accuracy,
                "steps": provider.steps,
            }
        unfinished = kept.with_suffix(".tmp")
        unfinished.write_text(json.dumps(recording, separators=(",", ":")), encoding="utf-8")
        unfinished.rename(kept)
    return json.loads(kept.read_text(encoding="utf-8"))


def run_config(directory: Path, kind: Kind, seed: int) -> Config:
    """The configuration of the demo, with the learning rate and length of this kind."""
    training = [f"training.steps={kind.steps}", f"training.learning_rate={kind.learning_rate}"]
    unsaved = ["training.save_every=1000"]
    return load_config("tiny", [f"seed={seed}", f"output_dir={json.dumps(str(directory))}", *training, *unsaved])


def record_all(directory: Path, runs: Sequence[str]) -> None:
    """Record all runs without a recording; print a line for each run on stderr."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    directory.mkdir(parents=True, exist_ok=True)
    for name in runs:
        kind, _, seed = name.rpartition("-")
        made = record(directory, kind, int(seed))
        course = ", ".join(f"{step}: {accuracy:.2f}" for step, accuracy in made["held_out"].items())
        print(f"{name}: pass@1 by step {course}", file=sys.stderr, flush=True)


def main() -> int:
    """Record all runs without a recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--runs", nargs="+", required=True, metavar="KIND-SEED")
    options = parser.parse_args()
    record_all(options.directory, options.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
