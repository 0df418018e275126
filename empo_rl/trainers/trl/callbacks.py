"""Callbacks of a TRL run: the monitor's alarms, the metrics file, samples of completions, the progress bar.

    monitor = Monitor(action="stop")
    GRPOTrainer(..., callbacks=[MonitorCallback(monitor, provider)])      any trainer that uses the provider

    alarms.jsonl   one line for each alarm that fired, if `directory` is passed
    log rows       the columns `alarm/NAME` and `watch/NAME` of the step

With several processes, the observations of a step are gathered: each process makes the same decision about the whole
batch, and all processes stop after the same step.

While the condition of an alarm holds, the last checkpoint from before the condition is protected: the callback stores
the name of the checkpoint in `best_model_checkpoint` of the trainer's state, and transformers never deletes this
checkpoint. If a run selects its best model (by a metric, or by `EvaluationCallback`), transformers protects the best
model, and the callback protects no checkpoint.

The callback does not save the state of the monitor: `RunTrainer(stateful={"monitor": monitor})` saves the state in
checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from transformers import TrainerCallback

from empo_rl.core.decision import BatchDecision
from empo_rl.core.groups import RolloutGroup
from empo_rl.core.provider import EmpoProvider
from empo_rl.files import checkpoints
from empo_rl.files.metrics_file import MetricsFile
from empo_rl.files.run_directory import ALARMS, SAMPLES
from empo_rl.monitor import Firing, Monitor, Observation, RunStoppedError, Update
from empo_rl.monitor.samples import TABLE_COLUMNS, sample_rows, table_rows

_SAMPLED_WEIGHTS = 1024  # of each weight matrix: enough to see whether a step changed anything, at almost no cost
_LOW_RATE = 0.01  # of the configured learning rate: the end of a decaying schedule, where few weights change


class MonitorCallback(TrainerCallback):
    """Passes the decisions of a provider to a monitor, and stops the run if an alarm requires a stop.

    Args:
        monitor: the alarms.
        provider: the trainer's provider. The callback adds a function to `provider.listeners`.
        directory: the folder of `alarms.jsonl`; None writes no file.
        say: a function that shows a message. The callback calls it for each alarm that fires, in process 0 only.

    Attributes:
        stopped: a message with the reason why the callback stopped the run; None if the callback did not stop the run.
    """

    def __init__(
        self,
        monitor: Monitor,
        provider: EmpoProvider,
        *,
        directory: Path | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.monitor = monitor
        self.stopped: str | None = None
        self._say = say
        self._directory = directory
        self._file: MetricsFile | None = None
        self._observations: list[Observation] = []
        self._prompt: str | None = None
        self._probe = _UpdateProbe()
        provider.listeners.append(self._observe)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Create `alarms.jsonl`. In a resumed run, delete the lines of the file after the checkpoint's step.

        Raises:
            RunStoppedError: an alarm stopped the run before, and the action of this alarm is still `stop`.
        """
        if PartialState().num_processes > 1:  # a process that is new in a resumed run has no saved state
            (monitor_state,) = broadcast_object_list([self.monitor.state_dict()])
            self.monitor.load_state_dict(monitor_state)
        refuse_stopped(self.monitor, Path(args.output_dir))
        self._prompt = _first_prompt(kwargs.get("train_dataloader"))
        if self._directory and state.is_world_process_zero:
            self._file = MetricsFile(self._directory / ALARMS, after=state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Delete the observations of an evaluation between two steps.

        Only the stock trainers make them: a reward function does not know whether TRL calls it for an evaluation.
        """
        self._observations.clear()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Read the gradient and a part of the weights before the optimizer step."""
        self._probe.before_step(kwargs["model"], kwargs.get("optimizer"), args, state)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Compare the weights with the weights before the optimizer step."""
        self._probe.after_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Update the alarms. A step that trains on the completions of an earlier step has no observation."""
        seen = [replace(part, prompt=self._prompt, update=self._probe.update) for part in self._observations]
        parts = seen if PartialState().num_processes == 1 else gather_object(seen)
        observation = Observation.join(parts)
        self._observations.clear()
        if observation is None:
            return
        firings = self.monitor.observe(observation, state.global_step)
        good = self._protect_checkpoint(state, args)
        for firing in firings:
            self._report(firing, good, state, args)
        if self.monitor.stopping:
            control.should_training_stop = True
            control.should_save = args.save_strategy != "no"
            self.stopped = f"stopped after step {state.global_step}. {_advice(self.monitor, Path(args.output_dir))}"

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Add the monitor's columns to the trainer's history and to the log row that the next callbacks receive."""
        if "loss" in logs:
            logs.update(self.monitor.columns())
            state.log_history[-1].update(self.monitor.columns())

    def _observe(self, groups: Sequence[RolloutGroup], decision: BatchDecision) -> None:
        self._observations.append(Observation.of(decision, _lengths(groups), groups))

    def _protect_checkpoint(self, state: Any, args: Any) -> Path | None:
        """Protect the last checkpoint from before the alarm's condition from deletion, and return its path."""
        since = self.monitor.suspect_since
        good = None if since is None else checkpoints.latest(Path(args.output_dir), before=since - 1)[0]
        selects_best = args.metric_for_best_model is not None or state.best_global_step
        if not selects_best and state.is_world_process_zero:
            state.best_model_checkpoint = good and str(good)
        return good

    def _report(self, firing: Firing, good: Path | None, state: Any, args: Any) -> None:
        if not state.is_world_process_zero:
            return
        is_kept = args.metric_for_best_model is None and not state.best_global_step
        kept = (
            f"The checkpoint {good} is from before the alarm's condition began{' and is kept' if is_kept else ''}."
            if good
            else "There is no checkpoint from before the alarm's condition began."
        )
        message, newline, evidence = firing.message.partition("\n")
        self._say(f"{message} {kept}{newline}{evidence}")
        if self._file:
            self._file.append({**asdict(firing), "checkpoint": good and good.name})


def refuse_stopped(monitor: Monitor, directory: Path) -> None:
    """Refuse to continue or to finish a run that an alarm stopped.

    Args:
        monitor: the monitor of the run, with the state of the last checkpoint.
        directory: the directory of the run.

    Raises:
        RunStoppedError: an alarm is on, and its action is still `stop`.
    """
    if monitor.stopping:
        raise RunStoppedError(f"the run was stopped after step {monitor.step}. {_advice(monitor, directory)}")


def _advice(monitor: Monitor, directory: Path) -> str:
    """Advice how to continue after an alarm stopped the run."""
    names = monitor.stopping
    alarms = " and ".join(names)
    warn = " ".join(f"monitor.alarms.{name}.action=warn" for name in names)
    good = checkpoints.latest(directory, before=(monitor.suspect_since or 1) - 1)[0]
    restart = (
        f"The last checkpoint from before the alarm's condition began is {good}: train from this checkpoint"
        if good
        else "There is no checkpoint from before the alarm's condition began: start a new run"
    )
    return (
        f"Alarm {alarms} is on, and its action is stop. {restart} with a lower learning rate. If the alarm was "
        f"false, continue with --resume {warn}"
    )


class EndOnRequest(TrainerCallback):
    """Ends the training after the current step, with a checkpoint, if a signal requested the end.

    Args:
        request: has `requested`, and `in_training`, which this callback sets (`empo_rl.run.stop_request.StopRequest`).
    """

    def __init__(self, request: Any) -> None:
        self._request = request

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """From now on, a signal ends the run after its step."""
        self._request.in_training = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the training, if a signal requested the end."""
        if self._request.requested:
            control.should_training_stop = control.should_save = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """From now on, a signal ends the run at once."""
        self._request.in_training = False


class WriteMetrics(TrainerCallback):
    """Writes a row of `metrics.jsonl` for each logged step."""

    def __init__(self, file: MetricsFile) -> None:
        self._file = file

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and "loss" in logs:  # the summary at the end of the run has no loss
            self._file.append({"step": state.global_step, **logs})


class WriteSamples(TrainerCallback):
    """Writes completions of a few prompts to `samples.jsonl` and to the tables of experiment trackers.

    It writes at step 1 and every `every` steps. If one sampling serves several steps (`trl.steps_per_generation`), it
    writes at the next step that samples. Of several processes, the first writes groups that it decided about.

    Args:
        provider: the trainer's provider. The callback adds a function to `provider.listeners`.
        directory: the folder of `samples.jsonl`.
        every: the number of steps between two samples.
        prompts: the number of prompts of a sample.
    """

    def __init__(self, provider: EmpoProvider, directory: Path, *, every: int, prompts: int) -> None:
        self._path, self._every, self._prompts = directory / SAMPLES, every, prompts
        self._file: MetricsFile | None = None
        self._due = False
        self._rows: list[dict[str, Any]] = []
        provider.listeners.append(self._collect)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Create the file. In a resumed run, delete the samples after the checkpoint's step."""
        if state.is_world_process_zero:
            self._file = MetricsFile(self._path, after=state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decide whether the next batch is sampled."""
        step = state.global_step + 1
        self._due = self._due or (self._file is not None and (step == 1 or step % self._every == 0))
        self._rows = []  # a batch between two steps is an evaluation of a stock trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the samples of the step."""
        rows = [{"step": state.global_step, **row} for row in self._rows[: self._prompts]]
        if self._file is None or not rows:
            return  # a step that trains on the completions of an earlier step: the samples stay due
        self._due = False
        for row in rows:
            self._file.append(row)
        _log_table(args.report_to, rows)

    def _collect(self, groups: Sequence[RolloutGroup], decision: BatchDecision) -> None:
        if self._due:
            self._rows += sample_rows(groups, decision, self._prompts)


def _log_table(trackers: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Log the samples as a table. wandb and trackio have tables; other trackers do not."""
    for name in ("wandb", "trackio"):
        if name in trackers:
            tracker = import_module(name)
            if name == "wandb" and tracker.run is None:
                continue
            pandas: Any = import_module("pandas")  # a dependency of datasets
            data = pandas.DataFrame(table_rows(rows), columns=list(TABLE_COLUMNS))
            tracker.log({"samples": tracker.Table(dataframe=data)})


class ReportProgress(TrainerCallback):
    """Calls `report(step, steps, logs)` after each logged step."""

    def __init__(self, report: Callable[[int, int, dict[str, float]], None]) -> None:
        self._report = report

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and "loss" in logs:
            self._report(state.global_step, state.max_steps, logs)


def _lengths(groups: Sequence[RolloutGroup]) -> list[float]:
    """The lengths of the completions: in tokens if the trainer counted tokens, otherwise in characters."""
    if all("tokens" in group.measures for group in groups):
        return [float(count) for group in groups for count in group.measures["tokens"]]
    return [float(len(text)) for group in groups for text in group.completions]


class _UpdateProbe:
    """Measures whether a step has a gradient, and which share of the weights the optimizer changes.

    It compares the first `_SAMPLED_WEIGHTS` numbers of each trained weight matrix, or of the shard of this process.
    Under DeepSpeed, whose engine holds the gradients, it measures nothing.

    Attributes:
        update: the measurement of the last step.
    """

    def __init__(self) -> None:
        self.update = Update()
        self._weights: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []  # weight, copy, has a gradient

    def before_step(self, model: Any, optimizer: Any, args: Any, state: Any) -> None:
        """Read the gradients, and copy a part of the weights."""
        self.update, self._weights = Update(), []
        if args.deepspeed is not None:
            return
        trained = [weight for weight in model.parameters() if weight.requires_grad and weight.grad is not None]
        rates = [float(group["lr"]) for group in optimizer.param_groups] if optimizer is not None else []
        rate = max(rates, default=None)
        self.update = Update(any(bool(_local(weight.grad).any()) for weight in trained), None, rate)
        warming_up = state.global_step < args.get_warmup_steps(state.max_steps)
        if self.update.gradient and not warming_up and not 0 < (rate or 0) < _LOW_RATE * args.learning_rate:
            self._weights = [(weight, _sample(weight).clone(), _sample(weight.grad) != 0) for weight in trained]

    def after_step(self) -> None:
        """Compare the weights."""
        total = sum(int(mask.sum()) for _, _, mask in self._weights)
        if total:
            moved = sum(int(((_sample(weight) != copy) & mask).sum()) for weight, copy, mask in self._weights)
            self.update = replace(self.update, moved=moved / total)
        self._weights = []


def _local(tensor: Any) -> torch.Tensor:
    """The part of a tensor that this process holds."""
    part: torch.Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part.detach()


def _sample(weight: Any) -> torch.Tensor:
    return _local(weight).reshape(-1)[:_SAMPLED_WEIGHTS]


def _first_prompt(dataloader: Any) -> str | None:
    """The first prompt of the dataset as text; None if it cannot be read."""
    dataset: Any = getattr(dataloader, "dataset", None)
    if not hasattr(dataset, "__getitem__") or not len(dataset):
        return None
    prompt = dataset[0].get("prompt")
    if isinstance(prompt, str):
        return prompt
    return "\n".join(str(turn.get("content")) for turn in prompt) if prompt else None
