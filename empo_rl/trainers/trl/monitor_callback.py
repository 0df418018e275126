"""The monitor in a TRL run: alarms said, written down, and where they ask for it the run stopped.

    monitor = Monitor(action="stop")
    GRPOTrainer(..., callbacks=[MonitorCallback(monitor, provider)])      any trainer that the provider serves

    alarms.jsonl   a line for each alarm that fired, where `directory` is given
    log rows       `alarm/NAME` and `watch/NAME` of the step

In several processes the numbers of a step are gathered, so that each process comes to the same decision about the whole
batch, and all of them stop after the same step.

From the moment an alarm's condition holds, the last checkpoint from before is kept from rotation: the trainer's own
`best_model_checkpoint` names it, which transformers never deletes. A run that chooses a best model by a metric of its
own keeps that one instead.

Leaves out the state: `RunTrainer(keep={"monitor": monitor})` puts it into checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from transformers import TrainerCallback

from empo_rl.core.decision import BatchDecision
from empo_rl.core.groups import RolloutGroup
from empo_rl.core.provider import EmpoProvider
from empo_rl.files import checkpoints
from empo_rl.files.metrics_file import MetricsFile
from empo_rl.files.run_directory import ALARMS
from empo_rl.monitor import Firing, Monitor, RunStoppedError, Seen


class MonitorCallback(TrainerCallback):
    """Feeds a monitor with what a provider decides, step after step.

    Args:
        monitor: the alarms.
        provider: the one that the trainer uses, of which this hears every decision.
        directory: where `alarms.jsonl` goes; None writes none.
        say: what is told of an alarm that fires, by the first process alone.

    Attributes:
        stopped: why it stopped the run, a sentence; None while it did not.
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
        self._heard: list[Seen] = []
        provider.listeners.append(self._hear)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin `alarms.jsonl`, or cut it back to the checkpoint; refuse to go on with a run that was stopped.

        Raises:
            RunStoppedError: it was, and the alarm still says stop.
        """
        if PartialState().num_processes > 1:  # a process that joins a resumed run has no state of its own
            (told,) = broadcast_object_list([self.monitor.state_dict()])
            self.monitor.load_state_dict(told)
        if self.monitor.stopping:
            raise RunStoppedError(f"the run was stopped after step {self.monitor.step}. {self._way_on(state, args)}")
        if self._directory and state.is_world_process_zero:
            self._file = MetricsFile(self._directory / ALARMS, after=state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget what an evaluation in between decided."""
        self._heard.clear()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decide. A step that trains on completions of an earlier one shows nothing new."""
        seen = Seen.joined(self._heard if PartialState().num_processes == 1 else gather_object(self._heard))
        self._heard.clear()
        if seen is None:
            return
        firings = self.monitor.see(seen, state.global_step)
        good = self._protect(state, args)
        for firing in firings:
            self._tell(firing, good, state)
        if self.monitor.stopping:
            control.should_training_stop = True
            control.should_save = args.save_strategy != "no"
            self.stopped = f"stopped after step {state.global_step}. {self._way_on(state, args)}"

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Add the columns to the trainer's history, and for the callbacks after this one."""
        if "loss" in logs:
            logs.update(self.monitor.columns())
            state.log_history[-1].update(self.monitor.columns())

    def _hear(self, groups: Sequence[RolloutGroup], decision: BatchDecision) -> None:
        self._heard.append(Seen.of(decision, _lengths(groups)))

    def _protect(self, state: Any, args: Any) -> Path | None:
        """The last checkpoint whose samples were not suspect yet; from now on rotation leaves it."""
        since = self.monitor.suspect_since
        good = None if since is None else checkpoints.latest(Path(args.output_dir), before=since - 1)[0]
        if args.metric_for_best_model is None and state.is_world_process_zero:
            state.best_model_checkpoint = good and str(good)
        return good

    def _tell(self, firing: Firing, good: Path | None, state: Any) -> None:
        if not state.is_world_process_zero:
            return
        kept = f"{good} is from before, and is kept." if good else "There is no checkpoint from before."
        self._say(f"{firing.message} {kept}")
        if self._file:
            self._file.append({**asdict(firing), "checkpoint": good and good.name})

    def _way_on(self, state: Any, args: Any) -> str:
        """What the one who stopped the run for can do."""
        names = self.monitor.stopping
        alarms = " and ".join(names)
        warn = " ".join(f"monitor.alarms.{name}.action=warn" for name in names)
        good = checkpoints.latest(Path(args.output_dir), before=(self.monitor.suspect_since or 1) - 1)[0]
        before = f"The last good checkpoint, from before the alarm's condition began, is {good}: train from it with"
        instead = "There is no checkpoint from before the alarm's condition began: begin anew with"
        return (
            f"Alarm {alarms} is on, and its action is stop. {before if good else instead} a lower learning rate. If "
            f"the alarm was false, go on with --resume {warn}"
        )


def _lengths(groups: Sequence[RolloutGroup]) -> list[float]:
    """In tokens where the trainer counted them, else in characters."""
    if all("tokens" in group.measures for group in groups):
        return [float(count) for group in groups for count in group.measures["tokens"]]
    return [float(len(text)) for group in groups for text in group.completions]
