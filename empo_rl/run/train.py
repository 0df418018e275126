"""Run `empo-train CONFIG.yaml`: train from a checked `Config`, and write the folder of the trained model.

    directory and lock -> prompts -> model -> trainer of `method` (EMPO, SFT, online DPO) -> final/ -> hub

TRL and transformers provide checkpoints, schedules, mixed precision and several processes. Each process of a run calls
`run_training`; `empo_rl.run.launch` starts the processes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from transformers.integrations.integration_utils import get_reporting_integration_callbacks
from transformers.trainer_callback import PrinterCallback

from empo_rl.config import Config
from empo_rl.config.batch_layout import process_count_notes, sequences_per_generation, with_processes
from empo_rl.config.trl_arguments import training_arguments
from empo_rl.core.provider import EmpoProvider
from empo_rl.files import checkpoints, explain_disk_full, run_directory, write_atomically
from empo_rl.files.cost_summary import cost_sentence, summarize_costs
from empo_rl.files.metrics_file import MetricsFile, read_metrics
from empo_rl.monitor import RunStoppedError
from empo_rl.run import final_model, tiny_model
from empo_rl.run.launch import first_on_each_machine, join_process_group
from empo_rl.run.model_card import best_sentence, write_model_card
from empo_rl.run.models import (
    download_model,
    fit_to_device,
    load_model,
    lora_config,
    trained_weights_in_fp32,
)
from empo_rl.run.prompt_rows import limit_vllm_context, load_held_out, load_prompts, provider_notes
from empo_rl.run.stop_request import StopRequest
from empo_rl.trainers.trl.callbacks import (
    EndOnRequest,
    MonitorCallback,
    ReportProgress,
    WriteMetrics,
    WriteSamples,
    refuse_stopped,
)
from empo_rl.trainers.trl.evaluation import EvaluationCallback
from empo_rl.trainers.trl.sharding import whole_models
from semantic_entropy import InputError
from semantic_entropy.plain_text import plural

Progress = Callable[[str, int, int, str], None]
"""A function that is called with (stage, completed steps, total steps, note)."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunAdditions:
    """The additions of a program, such as the demo, to a run of `method: empo`.

    Attributes:
        callbacks: name -> callback of the trainer. The checkpoints keep the state of each callback (`state_dict`,
            `load_state_dict`).
        settings: the content of `config.yaml`; None: `config.yaml` contains the configuration.
        locked: whether the caller holds the lock of the directory.
    """

    callbacks: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] | None = None
    locked: bool = False


def run_training(
    config: Config,
    *,
    overwrite: bool,
    progress: Progress,
    say: Say,
    additions: RunAdditions | None = None,
    stop: StopRequest | None = None,
) -> Path:
    """Train, and return the folder of the final model.

    Every problem of the configuration is reported before a model is loaded or created, and before a file is written.

    Raises:
        RunStoppedError: an alarm with the action `stop` stopped the run. The checkpoints remain; there is no final
            model.
        KeyboardInterrupt: `stop` requested the end of the run. The last step has a checkpoint; there is no final model.
    """
    additions = additions or RunAdditions()
    state = join_process_group(config)
    tell = say if state.is_main_process else _ignore
    config, notes = fit_to_device(with_processes(config, state.num_processes), state.device.type)
    directory = Path(config.output_dir)
    arguments = training_arguments(config, state.num_processes)
    with ExitStack() as stack:
        stack.enter_context(_lock(directory, state, additions))
        start = run_directory.plan_start(
            directory, resume=config.resume, overwrite=overwrite, stateful=config.method == "empo"
        )
        loss_notes = process_count_notes(config, state.num_processes)
        for note in [*notes, *loss_notes, *start.notes]:
            tell(note)
        if start.checkpoint and checkpoints.step(start.checkpoint) >= (config.training.steps or math.inf):
            return _finish_completed(start.checkpoint, config, state, additions, tell)
        inputs = _load_inputs(config, start.checkpoint, state, stack, tell)
        limit_vllm_context(arguments, config, [*inputs.rows, *inputs.held_out], inputs.tokenizer)
        model = None if config.model == "demo" else _hub_model(config, state)
        callbacks: list[Any] = []
        state.wait_for_everyone()  # every process must check the directory before the first process writes into it
        with state.main_process_first():  # the first process creates the base model, and the others load it
            if state.is_main_process:
                callbacks = _begin(directory, start, config, inputs, additions, progress, tell)
            _check_shared(directory, state)
            with explain_disk_full(directory, "Free some space."), whole_models():
                model = model or _demo_model(config, inputs.tokenizer, directory, progress)
        trainer, monitor_callback = _make_trainer(
            config,
            model=model,
            inputs=inputs,
            arguments=arguments,
            kept_callbacks=additions.callbacks,
            callbacks=callbacks,
            tell=tell,
            progress=progress,
        )
        with explain_disk_full(directory, "Free some space, or set training.keep_checkpoints=2."):
            if state.is_main_process:
                run_directory.delete_final(directory)  # it is not the model of the last step
            is_complete = _train(trainer, start.checkpoint, stop or StopRequest())
            stopped = monitor_callback.stopped if monitor_callback else None
            if not is_complete and not stopped:
                raise KeyboardInterrupt
            if not stopped:
                final = final_model.save(trainer, config, directory)
            if state.is_main_process:
                _summarize(directory, trainer.memory, tell)
                if not stopped:
                    write_model_card(final, config, directory)
    if stopped:
        raise RunStoppedError(stopped)
    return _push(final, config, state, tell)


def _finish_completed(
    checkpoint: Path, config: Config, state: PartialState, additions: RunAdditions, tell: Say
) -> Path:
    """Write the final model of a run whose last checkpoint is its last step, and return its folder."""
    _refuse_stopped(checkpoint, config)
    directory = Path(config.output_dir)
    # the user of a program with other settings (the demo) does not know the key training.steps
    advice = "" if additions.settings else " Raise training.steps to train further."
    done, steps = checkpoints.step(checkpoint), config.training.steps or 0
    completed = f"all {plural(steps, 'step')}" if done == steps else f"{done} steps, more than training.steps={steps},"
    tell(f"{completed} are completed: nothing to train.{advice}")
    with state.main_process_first(), whole_models():  # the first process writes the files
        final = final_model.finish_from(checkpoint, config, directory)
        write_model_card(final, config, directory)  # each process writes the same text
    return _push(final, config, state, tell)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a trainer needs besides the model. `provider`: None for `sft`. `held_out`: empty without `evaluation`."""

    rows: Sequence[dict[str, Any]]
    held_out: Sequence[dict[str, Any]]
    tokenizer: Any
    provider: EmpoProvider | None


def _load_inputs(config: Config, checkpoint: Path | None, state: PartialState, stack: ExitStack, tell: Say) -> _Inputs:
    """Load the judge and the prompts. `stack` closes the judge."""
    provider = None
    if config.method != "sft":
        with first_on_each_machine(state), whole_models():  # the first process downloads the judge
            provider = stack.enter_context(EmpoProvider(**config.empo.choices(), seed=config.seed))
    rows, tokenizer = load_prompts(config, checkpoint, tell)
    for note in provider_notes(provider, config, rows) if provider and state.is_main_process else ():
        tell(note)
    with whole_models():  # the judge that grades may be loaded here
        held_out = load_held_out(config, checkpoint, rows, tokenizer, provider, tell)
    return _Inputs(rows, held_out, tokenizer, provider)


def _lock(directory: Path, state: PartialState, additions: RunAdditions) -> AbstractContextManager[None]:
    """The lock of the directory in the first process, unless the caller of `run_training` holds it."""
    return run_directory.lock(directory) if state.is_main_process and not additions.locked else nullcontext()


def _hub_model(config: Config, state: PartialState) -> Any:
    """Download the model in turns, then load it in all processes together."""
    with first_on_each_machine(state):
        download_model(config)
    return load_model(config)


def _refuse_stopped(checkpoint: Path, config: Config) -> None:
    """Refuse to finish a run that an alarm stopped at its last step."""
    if config.method == "empo":
        monitor = config.monitor.make_monitor()
        saved = json.loads(checkpoints.state_file(checkpoint, 0).read_text(encoding="utf-8"))
        monitor.load_state_dict(saved["monitor"])
        refuse_stopped(monitor, checkpoint.parent)


def _check_shared(directory: Path, state: PartialState) -> None:
    if not directory.is_dir():
        raise InputError(
            f"output_dir: the first process created {directory}, and process {state.process_index} does not see it. "
            "All machines must see the same directory: choose one on a shared disk."
        )


def _demo_model(config: Config, tokenizer: Any, directory: Path, progress: Progress) -> Any:
    steps = config.demo.pretrain_steps
    return tiny_model.load_or_make(
        tokenizer,
        directory / run_directory.BASE,
        seed=config.seed,
        steps=steps,
        report=lambda step, loss: progress("pre-training", step, steps, f"loss {loss:.3f}"),
    )


def _make_trainer(
    config: Config,
    *,
    model: Any,
    inputs: _Inputs,
    arguments: Any,
    kept_callbacks: Mapping[str, Any],
    callbacks: Sequence[Any],
    tell: Say,
    progress: Progress,
) -> tuple[Any, MonitorCallback | None]:
    """The trainer of `method`, and the callback of the monitor (None unless EMPO)."""
    provider = inputs.provider
    common: dict[str, Any] = {
        "model": model,
        "args": arguments,
        "train_dataset": Dataset.from_list(list(inputs.rows)),
        "processing_class": inputs.tokenizer,
        "callbacks": list(callbacks),
        "peft_config": lora_config(config),
    }
    monitor_callback: MonitorCallback | None = None
    trainer: Any
    if provider is None:
        from empo_rl.trainers.baselines.sft import SftRunTrainer

        trainer = SftRunTrainer(**common)
    elif config.method == "online_dpo":
        from empo_rl.trainers.baselines.online_dpo import OnlineDpoRunTrainer

        trainer = OnlineDpoRunTrainer(provider=provider, **common)
    else:
        from empo_rl.trainers.trl.run_trainer import RunTrainer

        monitor = config.monitor.make_monitor()
        monitor_callback = MonitorCallback(monitor, provider, directory=Path(config.output_dir), say=tell)
        shown: list[Any] = []
        if config.samples.every:
            shown.append(WriteSamples(provider, Path(config.output_dir), **config.samples.model_dump()))
        evaluation = _make_evaluation(config, provider, inputs.held_out, progress, tell)
        # the callbacks before WriteMetrics add columns to the log, which WriteMetrics writes
        before = [monitor_callback, *kept_callbacks.values(), *([evaluation] if evaluation else [])]
        common["callbacks"] = [*before, *shown, *callbacks]
        stateful = {"monitor": monitor, **kept_callbacks}
        trainer = RunTrainer(provider=provider, stateful=stateful, **common)
        if evaluation:
            evaluation.trainer = trainer
        _report_last(trainer)
    if config.lora is not None and config.lora.load_in_4bit:
        trained_weights_in_fp32(trainer.model)
    trainer.remove_callback(PrinterCallback)  # PrinterCallback prints every row to stdout
    return trainer, monitor_callback


def _make_evaluation(
    config: Config, provider: EmpoProvider, held_out: Sequence[dict[str, Any]], progress: Progress, tell: Say
) -> EvaluationCallback | None:
    if config.evaluation is None:
        return None
    return EvaluationCallback(
        provider,
        held_out,
        n=config.evaluation.n,
        every=config.evaluation.every,
        best=config.evaluation.best,
        batch=int(sequences_per_generation(config)),
        seed=config.seed,
        directory=Path(config.output_dir),
        report=lambda done, total: progress("evaluation", done, total, ""),
        say=tell,
    )


def _report_last(trainer: Any) -> None:
    """Move the callbacks of experiment trackers to the end: they then receive the columns of all other callbacks."""
    trackers = tuple(get_reporting_integration_callbacks(trainer.args.report_to))
    callbacks = trainer.callback_handler.callbacks
    callbacks.sort(key=lambda callback: isinstance(callback, trackers))


def _train(trainer: Any, checkpoint: Path | None, stop: StopRequest) -> bool:
    """Train until the last step; False after a request to stop. In both cases the last step has a checkpoint.

    Raises:
        InputError: the training diverged, or it completed no step.
    """
    trainer.add_callback(EndOnRequest(stop))
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except RuntimeError as error:
        if not _has_diverged(trainer):
            raise
        raise InputError(
            f"the model's logits are not finite after step {trainer.state.global_step}: the training diverged. Lower "
            "training.learning_rate or training.max_grad_norm in a new run."
        ) from error
    if stop.requested and trainer.state.global_step < trainer.state.max_steps:
        return False
    if trainer.state.global_step == 0:
        raise InputError("the trainer completed no step. Give more questions, or lower training.prompts_per_step.")
    return True


def _has_diverged(trainer: Any) -> bool:
    """Whether the logits of the model are not finite. False with several processes, where a forward pass needs all."""
    if trainer.accelerator.num_processes > 1:
        return False
    try:
        some_tokens = torch.arange(16, device=trainer.model.device).unsqueeze(0)  # any tokens
        with torch.no_grad():
            logits = trainer.model(input_ids=some_tokens).logits
        return not bool(torch.isfinite(logits).all())
    except RuntimeError:  # the GPU that reported the error can be unusable
        return False


def _push(final: Path, config: Config, state: PartialState, tell: Say) -> Path:
    if config.push_to_hub is not None and state.is_main_process:
        tell(f"pushed to {final_model.push(final, config.push_to_hub)}")
    return final


def _summarize(directory: Path, memory: str, tell: Say) -> None:
    """Write `cost.json`, and tell the costs, the best checkpoint, and the alarms of the run."""
    spent = summarize_costs(read_metrics(directory / run_directory.METRICS), memory)
    write_atomically(directory / run_directory.COSTS, json.dumps(spent, indent=2) + "\n")
    tell(cost_sentence(spent))
    if best := best_sentence(directory):
        tell(best)
    alarms = directory / run_directory.ALARMS
    rows = read_metrics(alarms) if alarms.is_file() else []
    first = {row["alarm"]: row["step"] for row in reversed(rows)}
    if first:
        listed = ", ".join(f"{name} at step {step}" for name, step in sorted(first.items(), key=lambda item: item[1]))
        tell(f"alarms: {listed}. Read {alarms} before you use the model")


def _begin(
    directory: Path,
    start: run_directory.StartPlan,
    config: Config,
    inputs: _Inputs,
    additions: RunAdditions,
    progress: Progress,
    tell: Say,
) -> list[Any]:
    """Write the first files of a run, and return the callbacks that write metrics and report progress."""
    run_directory.prepare(directory, start)
    if additions.settings is None:
        run_directory.write_questions(directory, inputs.rows)
        if inputs.held_out:
            run_directory.write_questions(directory, inputs.held_out, run_directory.HELD_OUT)
        run_directory.write_code(directory, config.reward_files())
    settings = additions.settings or config.model_dump(exclude={"resume"})
    for change in run_directory.write_config(directory, settings):
        tell(f"changed since this run began: {change}")
    metrics = MetricsFile(directory / run_directory.METRICS, after=checkpoints.step(start.checkpoint))
    report = ReportProgress(lambda step, steps, logs: progress("training", step, steps, _note(logs)))
    return [WriteMetrics(metrics), report]


def _ignore(line: str) -> None:
    """Print nothing: this function replaces `say` in every process except the first."""


def _note(logs: Mapping[str, float]) -> str:
    """The numbers of a step for the progress line. A number that the step does not have is left out."""
    if "empo/keep_fraction" not in logs:  # SFT or online DPO
        return f"loss {logs['loss']:.3f}"
    parts = [
        ("reward", "empo/reward", ".2f", ""),
        ("entropy", "empo/entropy", ".2f", " nats"),
        ("kept", "empo/keep_fraction", ".0%", ""),
        ("invalid", "empo/invalid_fraction", ".0%", ""),
        ("cut off", "completions/clipped_ratio", ".0%", ""),
    ]
    return ", ".join(f"{word} {logs[key]:{form}}{unit}" for word, key, form, unit in parts if logs.get(key) is not None)
