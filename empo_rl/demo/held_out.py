"""Evaluate the demo's model on held-out questions: a callback of the trainer.

The model answers each question once greedily and eight times at temperature 1. `empo_rl.evaluate` grades the answers:

    pass@1            share of questions whose greedy answer is right
    mean@8            share of the samples that are right
    majority@8        share of questions where the answer of the largest cluster of samples is right
    semantic_entropy  mean over the questions of the entropy of the clusters of the 8 samples, in nats

This module has its own sampling loop, because the published numbers depend on its random numbers: one seed for all
questions. The `hf` sampler has one seed for each question.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from empo_rl.config import Config
from empo_rl.data.arithmetic import ArithmeticQuestion, split
from empo_rl.evaluate.grades import Judges, grade
from empo_rl.evaluate.numbers import auroc
from empo_rl.evaluate.questions import EvaluationQuestion
from empo_rl.evaluate.responses import Response
from empo_rl.evaluate.results import values_per_question
from empo_rl.run.tiny_model import prompt_text

NUMBERS = ("pass@1", "mean@8", "majority@8", "semantic_entropy")
SAMPLES = 8
EVALUATE_EVERY = 10  # steps
_BATCH = 512  # on a CPU, `generate` on one large batch is many times faster than continuous batching

Evaluation = Mapping[str, Sequence[float]]
"""One value per question for each of `NUMBERS`."""


def summarize(evaluation: Evaluation) -> dict[str, float]:
    """The mean over the questions of each of the four `NUMBERS`."""
    return {name: float(np.mean(evaluation[name])) for name in NUMBERS}


def entropy_auroc(evaluation: Evaluation) -> float | None:
    """AUROC of the entropy against wrong greedy answers; None if all greedy answers are right, or all are wrong."""
    wrong = 1 - np.array(evaluation["pass@1"], dtype=float)
    value = auroc(np.column_stack([wrong, evaluation["semantic_entropy"]]))
    return None if math.isnan(value) else value


def evaluate_model(
    model: Any,
    tokenizer: Any,
    questions: Sequence[ArithmeticQuestion],
    judges: Judges,
    *,
    max_new_tokens: int,
    seed: int,
) -> Evaluation:
    """Sample and grade responses. Torch's random generators keep their state, so training is not affected."""
    prompts = [prompt_text(question) for question in questions]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        greedy = complete(model, tokenizer, prompts, max_new_tokens=max_new_tokens, greedy=True)
        repeated = [prompt for prompt in prompts for _ in range(SAMPLES)]
        samples = complete(model, tokenizer, repeated, max_new_tokens=max_new_tokens)
    groups = [samples[start : start + SAMPLES] for start in range(0, len(samples), SAMPLES)]
    return grade_texts(questions, greedy, groups, judges)


def grade_texts(
    questions: Sequence[ArithmeticQuestion], greedy: Sequence[str], samples: Sequence[Sequence[str]], judges: Judges
) -> Evaluation:
    """Grade one greedy text and `SAMPLES` sampled texts per question."""
    asked = [EvaluationQuestion(id=q.text, text=q.text, gold=q.gold, place=q.text) for q in questions]
    texts = {1: [[text] for text in greedy], SAMPLES: samples}
    grades = {
        n: grade(
            asked, [[Response(text, False, 0) for text in one] for one in groups], n, "math", judges, lambda *_: None
        )
        for n, groups in texts.items()
    }
    values = values_per_question(grades[1], grades[SAMPLES], SAMPLES)
    return {name: [float(value) for value in values[name]] for name in NUMBERS}


def complete(
    model: Any, tokenizer: Any, prompts: Sequence[str], *, max_new_tokens: int, greedy: bool = False
) -> list[str]:
    """One completion per prompt, greedy or at temperature 1, without special tokens.

    Prompts are padded on the left. Sampling uses torch's global random generator.
    """
    completions: list[str] = []
    choice = {"do_sample": False} if greedy else {"do_sample": True, "temperature": 1.0, "top_k": 0}
    was_training = model.training
    model.eval()
    for start in range(0, len(prompts), _BATCH):
        batch = list(prompts[start : start + _BATCH])
        encoded = tokenizer(batch, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            output = model.generate(
                input_ids=encoded["input_ids"],
                attention_mask=encoded["attention_mask"],
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                **choice,
            )
        new = output[:, encoded["input_ids"].shape[1] :]
        completions += tokenizer.batch_decode(new, skip_special_tokens=True)
    model.train(was_training)
    return completions


class HeldOutEvaluations(TrainerCallback):
    """A callback that evaluates before the first step, every `EVALUATE_EVERY` steps and after the last step.

    The callback adds the columns `eval/*` to the log of these steps. Checkpoints keep all evaluations (`Stateful`).

    Attributes:
        by_step: step -> evaluation; step 0 is the base model.
    """

    def __init__(self, config: Config) -> None:
        self.by_step: dict[int, Evaluation] = {}
        self._config = config
        self._questions = split(config.seed).evaluation
        self._judges = Judges(config.empo.equivalence, extract=config.empo.extract)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self.evaluate(0, kwargs["model"], kwargs["processing_class"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % EVALUATE_EVERY == 0 or state.global_step == self._config.training.steps:
            self.evaluate(state.global_step, kwargs["model"], kwargs["processing_class"])

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Add the columns to the log, for the callbacks after this one."""
        if "loss" in logs and state.global_step in self.by_step:
            numbers = summarize(self.by_step[state.global_step])
            logs.update({f"eval/{name}": value for name, value in numbers.items()})

    def evaluate(self, step: int, model: Any, tokenizer: Any) -> None:
        """Evaluate the model, and store the result in `by_step[step]`."""
        self.by_step[step] = evaluate_model(
            model,
            tokenizer,
            self._questions,
            self._judges,
            max_new_tokens=self._config.rollout.max_completion_tokens,
            seed=self._config.seed,
        )

    def state_dict(self) -> dict[str, Any]:
        """All evaluations, for a checkpoint."""
        return {str(step): evaluation for step, evaluation in self.by_step.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.by_step = {int(step): evaluation for step, evaluation in state.items()}

    def close(self) -> None:
        """End the judge's worker processes."""
        self._judges.close()


class RunClock(TrainerCallback):
    """A callback that counts the seconds of training and of the whole run, over all processes of a resumed run.

    The clock leaves out the time after the last checkpoint of a killed process, and the time between two processes.

    Args:
        before: seconds that earlier processes spent before training.
    """

    def __init__(self, before: float = 0.0) -> None:
        self._earlier = {"train": 0.0, "total": before}
        self._start = time.perf_counter()
        self._train_start: float | None = None
        self._train_end: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._train_start = time.perf_counter()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._train_end = time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """The seconds up to now: `train` of training, `total` of the whole run."""
        now = time.perf_counter()
        train = 0.0 if self._train_start is None else (self._train_end or now) - self._train_start
        return {"train": self._earlier["train"] + train, "total": self._earlier["total"] + now - self._start}

    def state_dict(self) -> dict[str, float]:
        """`seconds()`, for a checkpoint."""
        return self.seconds()

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from a checkpoint: add the seconds of this process to the seconds of the earlier processes."""
        self._earlier = dict(state)
