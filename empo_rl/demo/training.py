"""The demo's EMPO run: EmpoGRPOTrainer on unlabelled questions, with the held-out accuracy measured along the way.

32 prompts x G=8 a step, lr 1e-4 constant after 5 warm-up steps, temperature 1, no KL,
`loss_type="grpo"`, groups with H > 0 kept. At lr 5e-4 and above the same run loses
what it had learned, while the entropy goes on falling (docs/empo/demo.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig

from empo_rl.adapters.callbacks import ReportProgress, WriteMetrics
from empo_rl.adapters.trl import EmpoGRPOTrainer
from empo_rl.demo.evaluation import MAX_NEW_TOKENS, Evaluation
from empo_rl.demo.task import Question
from empo_rl.metrics_file import MetricsFile
from empo_rl.provider import EmpoProvider

STEPS, PROMPTS, GENERATIONS = 50, 32, 8
WARMUP = 5
EVALUATE_EVERY = 10  # steps


def training_rows(questions: Sequence[Question], labelled: bool) -> list[dict[str, Any]]:
    """Prompts for the trainer. The gold answer is there for the labelled comparison alone."""
    rows: list[dict[str, Any]] = []
    for question in questions:
        row: dict[str, Any] = {
            "prompt": [{"role": "user", "content": question.text}],
            "question": question.text,
        }
        rows.append({**row, "gold": question.gold} if labelled else row)
    return rows


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    provider: EmpoProvider,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    output_dir: Path,
    evaluate: Callable[[], Evaluation],
    report: Callable[[int, int, dict[str, float]], None],
) -> dict[int, Evaluation]:
    """Train in place, write `metrics.jsonl`, and return the evaluations by step."""
    along = _EvaluateAlong(evaluate, steps)
    columns = WriteMetrics(MetricsFile(output_dir / "metrics.jsonl"), along.columns)
    trainer = EmpoGRPOTrainer(
        model=model,
        provider=provider,
        args=_arguments(output_dir, steps=steps, learning_rate=learning_rate, seed=seed),
        train_dataset=Dataset.from_list(training_rows(questions, labelled=provider.reward == "golden")),
        processing_class=tokenizer,
        callbacks=[along, columns, ReportProgress(report)],
    )
    trainer.remove_callback(PrinterCallback)  # it prints every row to stdout
    trainer.train()
    return along.evaluations


def _arguments(output_dir: Path, *, steps: int, learning_rate: float, seed: int) -> GRPOConfig:
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
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,  # saves memory that so small a model does not need
    )


class _EvaluateAlong(TrainerCallback):
    """Evaluates every few steps; the last step is evaluated with the final model."""

    def __init__(self, evaluate: Callable[[], Evaluation], steps: int) -> None:
        self.evaluations: dict[int, Evaluation] = {}
        self._evaluate = evaluate
        self._steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % EVALUATE_EVERY == 0 or state.global_step == self._steps:
            self.evaluations[state.global_step] = self._evaluate()

    def columns(self, step: int) -> dict[str, float]:
        """The columns of this step's row in `metrics.jsonl`."""
        evaluation = self.evaluations.get(step)
        return {f"eval/{name}": value for name, value in evaluation.to_dict().items()} if evaluation else {}
