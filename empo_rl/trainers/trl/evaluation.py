"""Evaluate the model on held-out questions during training, and keep the best checkpoint.

The model answers each question n times at the temperature of the run. The provider clusters and grades the answers:

    eval/accuracy          mean over the questions with a gold answer of the share of right answers (mean@n)
    eval/majority          share of these questions where the answer of the largest cluster is right
    eval/semantic_entropy  mean over the questions of the entropy of the n answers, in nats
    eval/invalid_fraction  share of the completions without an extractable answer

Without gold answers there is no accuracy. The evaluation runs before the first step, every `every` steps, and after the
last step. Each evaluation uses the same random seed, and the random state of the training is not changed: a run trains
the same with and without evaluation (vLLM has its own random state). Several processes share the questions; the numbers
are means over all questions, each counted once.

The best checkpoint is that of the step with the highest accuracy. transformers keeps it (`best_global_step` in the
trainer's state). Without gold answers no checkpoint is the best unless `best` is `entropy`, the lowest entropy: a
collapsed model has a low entropy too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import TrainerCallback

from empo_rl.core.groups import group_by_position
from empo_rl.core.provider import EmpoProvider
from empo_rl.files.metrics_file import MetricsFile
from empo_rl.files.run_directory import EVALUATION
from empo_rl.trainers.trl.distributed import attempt, fail_everywhere
from empo_rl.trainers.trl.rollouts import trl_columns
from empo_rl.trainers.trl.sharding import whole_models

Best = Literal["accuracy", "entropy"]
NUMBERS = ("accuracy", "majority", "semantic_entropy", "invalid_fraction")


class EvaluationCallback(TrainerCallback):
    """Evaluates the trainer's model. Set `trainer` before the training starts.

    Args:
        provider: clusters and grades the answers.
        rows: the held-out questions: `prompt`, `question`, and `gold` (None: no gold answer).
        n: the number of completions of a question.
        every: the number of steps between two evaluations.
        best: the number that selects the best checkpoint; None: accuracy if there are gold answers, otherwise none.
        batch: the number of completions that a process generates at a time.
        seed: the seed of the sampling.
        directory: the folder of `evaluation.jsonl`.
        report: a function that is called with (completed questions, all questions).
        say: a function that is called with a line about each evaluation.

    Attributes:
        trainer: the trainer, an EmpoGRPOTrainer.
    """

    def __init__(
        self,
        provider: EmpoProvider,
        rows: Sequence[Mapping[str, Any]],
        *,
        n: int,
        every: int,
        best: Best | None,
        batch: int,
        seed: int,
        directory: Path,
        report: Callable[[int, int], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.trainer: Any = None
        self._provider, self._rows, self._n, self._every, self._seed = provider, list(rows), n, every, seed
        has_gold = any(row.get("gold") is not None for row in rows)
        self._best: Best | None = best or ("accuracy" if has_gold else None)
        self._batch, self._questions_at_a_time = batch, max(1, batch // n)
        self._path, self._report, self._say = directory / EVALUATION, report, say
        self._file: MetricsFile | None = None
        self._columns: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Evaluate before the first step. In a resumed run, delete the evaluations after the checkpoint."""
        first = state.global_step == 0
        if state.is_world_process_zero:
            self._file = MetricsFile(self._path, after=-1 if first else state.global_step)
        if first:
            self._write(0, self.evaluate(), is_best=False, state=state)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Evaluate every `every` steps and after the last step. Save a checkpoint if the step is the best so far."""
        self._columns = {}
        if state.global_step % self._every and state.global_step != state.max_steps:
            return
        numbers = self.evaluate()
        is_best = self._is_best(numbers, state)
        if is_best:
            state.best_global_step = state.global_step
            control.should_save = args.save_strategy != "no"
        self._columns = {f"eval/{name}": numbers[name] for name in NUMBERS if name in numbers}
        self._write(state.global_step, numbers, is_best=is_best, state=state)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Add the numbers to the log row of the step, for the callbacks after this one."""
        if "loss" in logs:
            logs.update(self._columns)
            state.log_history[-1].update(self._columns)

    def evaluate(self) -> dict[str, float]:
        """Return the numbers of the current model. Every process must call this method."""
        process, started, model = PartialState(), time.perf_counter(), self.trainer.model
        mine = list(range(process.process_index, len(self._rows), process.num_processes))
        size = math.ceil(len(self._rows) / process.num_processes)
        padded = mine + [0] * (size - len(mine))  # all processes generate equally often: a sharded model needs all
        was_training, found = model.training, []
        cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        model.eval()
        try:
            with torch.random.fork_rng(devices=cuda):
                torch.manual_seed(self._seed + process.process_index)
                for start in range(0, size, self._questions_at_a_time):
                    batch = padded[start : start + self._questions_at_a_time]
                    found += self._answer([self._rows[index] for index in batch])
                    if self._report and process.is_main_process:
                        done = (start + len(batch)) * process.num_processes
                        self._report(min(done, len(self._rows)), len(self._rows))
        finally:
            model.train(was_training)
        numbers = found[: len(mine)]
        everyone = numbers if process.num_processes == 1 else gather_object(numbers)
        return {**summarize_questions(everyone), "seconds": time.perf_counter() - started}

    def _answer(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
        """Generate n completions of each question, and return the numbers of each question."""
        repeated = [row for row in rows for _ in range(self._n)]
        prompts = [row["prompt"] for row in repeated]
        data = {name: [row[name] for row in repeated] for name in ("question", "gold")}
        completions = []
        for start in range(0, len(prompts), self._batch):  # n can be larger than the batch
            completions += self.trainer.sample_completions(prompts[start : start + self._batch])
        columns = trl_columns(prompts, completions, data)
        with whole_models():  # the judge may load a model
            measured, error = attempt(
                lambda: self._provider.measure_answers(group_by_position(num_generations=self._n, **columns))
            )
        if PartialState().num_processes > 1:
            fail_everywhere(error)
        elif error is not None:
            raise error
        assert measured is not None, "no process failed"
        return measured

    def _is_best(self, numbers: Mapping[str, float], state: Any) -> bool:
        if self._best is None:
            return False
        value = numbers.get("accuracy") if self._best == "accuracy" else numbers.get("semantic_entropy")
        if value is None:
            return False
        score = value if self._best == "accuracy" else -value
        if state.best_metric is not None and score <= state.best_metric:
            return False
        state.best_metric = score
        return True

    def _write(self, step: int, numbers: Mapping[str, float], *, is_best: bool, state: Any) -> None:
        if self._file is not None and state.is_world_process_zero:
            self._file.append({"step": step, **numbers, "n": self._n, "best": is_best})
        if self._say is not None and state.is_world_process_zero:
            shown = ", ".join(f"{name} {numbers[name]:.3f}" for name in NUMBERS if name in numbers)
            self._say(f"held-out evaluation at step {step}: {shown}{' (the best so far)' if is_best else ''}")


def summarize_questions(questions: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The means over the questions, and their counts. A number without a question that has it is left out."""

    def mean(name: str) -> float:
        values = [question[name] for question in questions if not math.isnan(question[name])]
        return math.fsum(values) / len(values) if values else math.nan

    means = {name: mean(name) for name in NUMBERS}
    graded = sum(not math.isnan(question["accuracy"]) for question in questions)
    known = {name: value for name, value in means.items() if not math.isnan(value)}
    return {**known, "questions": len(questions), "questions_with_gold": graded}
