"""The demo's EMPO run: RunTrainer on unlabelled questions, with the held-out accuracy measured along the way.

32 prompts x G=8 a step, lr 1e-4 constant after 5 warm-up steps, temperature 1, no KL,
`loss_type="grpo"`, groups with H > 0 kept. At lr 5e-4 and above the same run loses
what it had learned, while the entropy goes on falling (docs/empo/demo.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig

from empo_rl.core.provider import EmpoProvider
from empo_rl.data.arithmetic import ArithmeticQuestion
from empo_rl.demo.evaluation import MAX_NEW_TOKENS, Evaluation
from empo_rl.files import checkpoints
from empo_rl.files.metrics_file import MetricsFile
from empo_rl.files.run_directory import METRICS
from empo_rl.trainers.trl.callbacks import ReportProgress, WriteMetrics
from empo_rl.trainers.trl.run_trainer import RunTrainer, Stateful

STEPS, PROMPTS, GENERATIONS = 50, 32, 8
WARMUP = 5
EVALUATE_EVERY = 10  # steps
SAVE_EVERY = 5  # steps; a checkpoint of so small a model takes 14 ms of CPU, a step 1 s


def training_rows(questions: Sequence[ArithmeticQuestion], labelled: bool) -> list[dict[str, Any]]:
    """Prompts for the trainer. The gold answer is there for the labelled comparison alone."""
    rows: list[dict[str, Any]] = []
    for question in questions:
        row: dict[str, Any] = {
            "prompt": [{"role": "user", "content": question.text}],
            "question": question.text,
        }
        rows.append({**row, "gold": question.gold} if labelled else row)
    return rows


class EvaluationsAlong(TrainerCallback):
    """Evaluates every few steps; the last step is evaluated with the final model. Kept in checkpoints (`Stateful`).

    Args:
        measure: evaluates the model as it is.
        steps: the last one.
        base: what the model could do before it.
    """

    def __init__(self, measure: Callable[[], Evaluation], steps: int, base: Evaluation | None = None) -> None:
        self.by_step: dict[int, Evaluation] = {} if base is None else {0: base}
        self._measure = measure
        self._steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % EVALUATE_EVERY == 0 or state.global_step == self._steps:
            self.by_step[state.global_step] = self._measure()

    def columns(self, step: int) -> dict[str, float]:
        """The columns of this step's row in `metrics.jsonl`."""
        evaluation = self.by_step.get(step)
        return {f"eval/{name}": value for name, value in evaluation.to_dict().items()} if evaluation else {}

    def state_dict(self) -> dict[str, Any]:
        """All evaluations so far."""
        return {str(step): asdict(evaluation) for step, evaluation in self.by_step.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.by_step = {int(step): _from_json(values) for step, values in state.items()}


def _from_json(values: Mapping[str, Any]) -> Evaluation:
    """JSON has lists where an evaluation has tuples."""
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return Evaluation(**fields)


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[ArithmeticQuestion],
    provider: EmpoProvider,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    output_dir: Path,
    along: EvaluationsAlong,
    report: Callable[[int, int, dict[str, float]], None],
    stateful: Mapping[str, Stateful] | None = None,
    checkpoint: Path | None = None,
    save_every: int | None = None,
) -> None:
    """Train in place and write `metrics.jsonl`; the evaluations are then in `along`.

    With `save_every`, checkpoints of all that the run needs and of `keep` are written, to be gone on from with
    `checkpoint`.
    """
    metrics = MetricsFile(output_dir / METRICS, after=checkpoints.step(checkpoint))
    trainer = RunTrainer(
        model=model,
        provider=provider,
        args=_arguments(output_dir, steps, learning_rate, seed, save_every),
        train_dataset=Dataset.from_list(training_rows(questions, labelled=provider.reward == "golden")),
        processing_class=tokenizer,
        stateful={"evaluations": along, **(stateful or {})},
        callbacks=[along, WriteMetrics(metrics, along.columns), ReportProgress(report)],
    )
    trainer.remove_callback(PrinterCallback)  # it prints every row to stdout
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _arguments(output_dir: Path, steps: int, learning_rate: float, seed: int, save_every: int | None) -> GRPOConfig:
    return GRPOConfig(
        output_dir=str(output_dir),
        seed=seed,
        max_steps=steps,
        per_device_train_batch_size=PROMPTS * GENERATIONS,
        num_generations=GENERATIONS,
        max_completion_length=MAX_NEW_TOKENS,
        temperature=1.0,
        learning_rate=learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=WARMUP,
        beta=0.0,
        loss_type="grpo",
        logging_steps=1,
        save_strategy="steps" if save_every else "no",
        save_steps=save_every or steps,
        save_total_limit=2,  # the last one, and the one before for the case that a kill cuts the last short
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,  # saves memory that so small a model does not need
    )
