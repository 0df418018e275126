"""One run of `empo-train CONFIG.yaml`: the model, the rows, and the trainer, from a checked `Config`.

Checkpoints, schedules, mixed precision and many processes are TRL's and transformers' own; this module only
translates. Each process of a run calls `run_training` (`empo_rl.run.launch` starts them).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers.trainer_callback import PrinterCallback

from empo_rl.config.schema import Config
from empo_rl.config.trl_arguments import training_arguments
from empo_rl.core.provider import EmpoProvider
from empo_rl.data.prompts import drop_long_prompts, prompt_token_limit, read_prompts
from empo_rl.files import checkpoints, explain_disk_full, run_directory, write_atomically
from empo_rl.files.cost_summary import cost_sentence, summarize_costs
from empo_rl.files.metrics_file import MetricsFile, read_metrics
from empo_rl.monitor import RunStoppedError
from empo_rl.run import final_model
from empo_rl.run.device import fit_to_device
from empo_rl.run.models import count_tokens, load_model, load_tokenizer, make_demo_model
from empo_rl.run.trainer_choice import make_trainer
from empo_rl.trainers.trl.callbacks import MonitorCallback, ReportProgress, WriteMetrics

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
    arguments = training_arguments(config, state.num_processes)
    with ExitStack() as open_until_the_end:
        there = _hold(directory, state, open_until_the_end)
        start = run_directory.plan_start(directory, resume=config.resume, overwrite=overwrite)
        for note in [*notes, *config.window_notes(), *start.notes]:
            tell(note)
        if start.checkpoint and checkpoints.step(start.checkpoint) >= (config.training.steps or math.inf):
            tell(f"step {config.training.steps} is done already: nothing to train. Raise training.steps to go on.")
            with state.main_process_first():  # it writes, and the others find it written
                final = final_model.finish_from(start.checkpoint, config, directory)
            return _push(final, config, state, tell)
        provider = None
        if config.method != "sft":
            choices = config.empo.choices()
            provider = open_until_the_end.enter_context(EmpoProvider(**choices, seed=config.seed))
        rows = read_prompts(config)
        tokenizer = load_tokenizer(config)
        longest, key = prompt_token_limit(config)
        prompts = drop_long_prompts(rows, longest, lambda turns: count_tokens(tokenizer, turns), key)
        left_out = f", {prompts.too_long} left out as too long" if prompts.too_long else ""
        tell(f"{len(prompts.rows)} prompts{left_out}")
        with state.main_process_first():  # it downloads, and the others find the files
            model = None if config.model == "demo" else load_model(config)
        callbacks: list[Any] = []
        state.wait_for_everyone()  # all have looked at the directory before one writes into it
        with state.main_process_first():  # it makes a demo's base model, and the others read it
            if state.is_main_process:
                callbacks = _begin(directory, start, config, progress, tell)
                there = there or _hold(directory, state, open_until_the_end)
            with explain_disk_full(directory, "Free some space."):
                model = model or make_demo_model(config, tokenizer, directory / run_directory.BASE, progress)
        watch = None
        if config.method == "empo":
            assert provider is not None, "only SFT has none"
            watch = MonitorCallback(config.monitor.make_monitor(), provider, directory=directory, say=tell)
        trainer = make_trainer(
            config,
            model=model,
            tokenizer=tokenizer,
            arguments=arguments,
            rows=prompts.rows,
            provider=provider,
            watch=watch,
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)  # it prints every row to stdout
        with explain_disk_full(directory, "Free some space, or set training.keep_checkpoints=2."):
            trainer.train(resume_from_checkpoint=str(start.checkpoint) if start.checkpoint else None)
            if watch is None or not watch.stopped:
                final = final_model.save(trainer, config, directory)
            if state.is_main_process:
                tell(cost_sentence(_write_costs(directory, trainer.memory)))
    if watch is not None and watch.stopped:
        raise RunStoppedError(watch.stopped)
    return _push(final, config, state, tell)


def _hold(directory: Path, state: PartialState, until: ExitStack) -> bool:
    """Whether the directory is there; the first process then holds it against other runs."""
    if state.is_main_process:
        until.enter_context(run_directory.lock(directory))
    return directory.is_dir()


def _push(final: Path, config: Config, state: PartialState, tell: Say) -> Path:
    if config.push_to_hub is not None and state.is_main_process:
        tell(f"pushed to {final_model.push(final, config.push_to_hub)}")
    return final


def _write_costs(directory: Path, memory: str) -> dict[str, Any]:
    spent = summarize_costs(read_metrics(directory / run_directory.METRICS), memory)
    write_atomically(directory / run_directory.COSTS, json.dumps(spent, indent=2) + "\n")
    return spent


def _begin(directory: Path, start: run_directory.StartPlan, config: Config, progress: Progress, tell: Say) -> list[Any]:
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
    if "empo/keep_fraction" not in logs:  # SFT or online DPO
        return f"loss {logs['loss']:.3f}"
    entropy = f"entropy {logs['empo/entropy']:.2f} nats" if "empo/entropy" in logs else "no valid answer"
    return f"{entropy}, kept {logs['empo/keep_fraction']:.0%}"
