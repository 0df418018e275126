"""One run of `empo-train CONFIG.yaml`: the model, the prompts, and `EmpoGRPOTrainer` from a checked `Config`.

Checkpoints, schedules, mixed precision and many processes are TRL's and transformers' own; this module only
translates. Launch it with `accelerate launch -m empo_rl.cli CONFIG.yaml` for several GPUs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_callback import PrinterCallback

from empo_rl import checkpoints, costs, run_directory
from empo_rl.adapters.callbacks import ReportProgress, WriteMetrics
from empo_rl.adapters.monitoring import MonitorCallback, RunStoppedError
from empo_rl.adapters.run_trainer import RunTrainer
from empo_rl.arguments import grpo_arguments
from empo_rl.config import Config
from empo_rl.device import fit_to_device
from empo_rl.disk import explained, write_whole
from empo_rl.metrics_file import MetricsFile, read_metrics
from empo_rl.models import count_tokens, load_model, load_tokenizer, make_demo_model
from empo_rl.prompts import read_prompts, short_enough
from empo_rl.provider import EmpoProvider

Progress = Callable[[str, int, int, str], None]
Say = Callable[[str], None]


def run_training(config: Config, *, overwrite: bool, progress: Progress, say: Say) -> Path:
    """Train, and return the directory of the final model.

    What can be wrong with the configuration is found before a model is loaded or made, and before anything is written.

    Raises:
        RunStoppedError: an alarm whose action is `stop` did; its checkpoints lie there, and no final model.
    """
    state = PartialState(cpu=config.device == "cpu")
    tell = say if state.is_main_process else _silent
    config, notes = fit_to_device(config, state.device.type)
    directory = Path(config.output_dir)
    arguments = grpo_arguments(config, state.num_processes)
    start = run_directory.look(directory, resume=config.resume, overwrite=overwrite)
    for note in [*notes, *config.window_notes(), *start.notes]:
        tell(note)
    if start.checkpoint and checkpoints.step(start.checkpoint) >= (config.training.steps or math.inf):
        tell(f"step {config.training.steps} is done already: nothing to train. Raise training.steps to go on.")
        return _finish_from(start.checkpoint, directory / run_directory.FINAL)
    with EmpoProvider(**config.empo.choices(), seed=config.seed + state.process_index) as provider:
        rows = read_prompts(config)
        tokenizer = load_tokenizer(config)
        prompts = short_enough(rows, config.data.max_prompt_tokens, lambda turns: count_tokens(tokenizer, turns))
        left_out = f", {prompts.too_long} left out as too long" if prompts.too_long else ""
        tell(f"{len(prompts.rows)} prompts{left_out}")
        with state.main_process_first():  # it downloads, and the others find the files
            model = None if config.model == "demo" else load_model(config)
        callbacks: list[Any] = []
        state.wait_for_everyone()  # all have looked at the directory before one writes into it
        with state.main_process_first():  # it makes a demo's base model, and the others read it
            if state.is_main_process:
                callbacks = _begin(directory, start, config, progress, tell)
            model = model or make_demo_model(config, tokenizer, directory / run_directory.BASE, progress)
        monitor = config.monitor.made()
        watch = MonitorCallback(monitor, provider, directory=directory, say=tell)
        trainer = RunTrainer(
            keep={"monitor": monitor},
            columns=monitor.columns,
            model=model,
            provider=provider,
            args=arguments,
            train_dataset=Dataset.from_list(list(prompts.rows)),
            processing_class=tokenizer,
            callbacks=[watch, *callbacks],
        )
        trainer.remove_callback(PrinterCallback)  # it prints every row to stdout
        final = directory / run_directory.FINAL
        with explained(directory, "Free some, or keep fewer with training.keep_checkpoints=2."):
            trainer.train(resume_from_checkpoint=str(start.checkpoint) if start.checkpoint else None)
            if not watch.stopped:
                trainer.save_model(str(final))
            if state.is_main_process:
                tell(costs.sentence(_write_costs(directory, trainer.memory)))
    if watch.stopped:
        raise RunStoppedError(watch.stopped)
    return final


def _write_costs(directory: Path, memory: str) -> dict[str, Any]:
    spent = costs.summary(read_metrics(directory / run_directory.METRICS), memory)
    write_whole(directory / run_directory.COSTS, json.dumps(spent, indent=2) + "\n")
    return spent


def _finish_from(checkpoint: Path, final: Path) -> Path:
    """The last checkpoint as the final model, for a run that was killed before it had written one."""
    if checkpoints.weights_fault(final):
        AutoModelForCausalLM.from_pretrained(checkpoint).save_pretrained(final)
        AutoTokenizer.from_pretrained(checkpoint).save_pretrained(final)
    return final


def _begin(directory: Path, start: run_directory.Start, config: Config, progress: Progress, tell: Say) -> list[Any]:
    """The first writes of a run."""
    run_directory.prepare(directory, start)
    for change in run_directory.write_config(directory, config.model_dump()):
        tell(f"changed since this run began: {change}")
    return _callbacks(directory, checkpoints.step(start.checkpoint), progress)


def _callbacks(directory: Path, done: int, progress: Progress) -> list[Any]:
    metrics = MetricsFile(directory / run_directory.METRICS, after=done)
    report = ReportProgress(lambda step, steps, logs: progress("training", step, steps, _note(logs)))
    return [WriteMetrics(metrics), report]


def _silent(line: str) -> None:
    """What a process other than the first has to say."""


def _note(logs: dict[str, float]) -> str:
    """Under invalid=drop a batch may hold no valid answer, and so no entropy."""
    entropy = f"entropy {logs['empo/entropy']:.2f} nats" if "empo/entropy" in logs else "no valid answer"
    return f"{entropy}, kept {logs['empo/keep_fraction']:.0%}"
