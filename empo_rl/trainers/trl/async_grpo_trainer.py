"""EMPO on TRL's AsyncGRPOTrainer (1.16): groups outside the window never reach the trainer, and are refilled.

TRL's asynchronous trainer trains on a queue of samples, which a worker process fills: the worker sends prompts to a
vLLM server and scores each group. `EmpoAsyncGRPOTrainer` has a worker with another loop (`async_rollouts`), which asks
an `EmpoProvider` about each group, and reads from the queue what the loop has dropped:

- A dropped group counts as trained where TRL looks for the first prompt that was not trained (`rollout_state.json` of a
  checkpoint) and where TRL counts prompts (`num_train_epochs`). Without this, a resumed run would start again at the
  first dropped prompt. `batch/groups_per_step` counts kept groups only.
- The metrics `empo/...` are those of all groups that were judged, also of the dropped groups, as in `EmpoGRPOTrainer`.
- The state of the provider (the random numbers of a signal, the memory of a guard) is in each checkpoint,
  `empo_state.json`: the state after the last group that was trained. The worker of a resumed run continues with it.

The loss is TRL's: for each micro-batch the sum over its trained tokens, divided by their number, and the mean of these
over the micro-batches of a step. All rows in a micro-batch are rows in the loss, so dropped groups and rows are in no
denominator. No step is without a kept group, so no step is skipped.

The class is not in `empo_rl.__all__`, because `trl.experimental` can change with each release of TRL.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer

from empo_rl.core.metrics import BatchNumbers
from empo_rl.core.provider import EmpoProvider
from empo_rl.trainers.trl.async_rollouts import MEASURES, EmpoRolloutWorker, JudgedSample
from empo_rl.trainers.trl.rollouts import group_size
from semantic_entropy import InputError

STATE = "empo_state.json"  # in the folder of a checkpoint
_LOG = logging.getLogger(__name__)
_REFUSED = {
    "reward_funcs": "the rewards come from the provider alone",
    "environment_factory": "the rewards come from the provider alone, and the prompts of a group must be equal",
    "rollout_worker": "the groups are decided in TRL's own worker",
}


class EmpoAsyncGRPOTrainer(AsyncGRPOTrainer):
    """An AsyncGRPOTrainer that takes its rewards, its filter and its advantages from an `EmpoProvider`.

    The dataset has a `prompt` column with conversations. The optional columns `question` and `gold` are those of
    `EmpoGRPOTrainer`.

    Args:
        model: the model directory or name, see AsyncGRPOTrainer.
        provider: a function that makes the provider: `functools.partial(EmpoProvider, "math", extract="boxed")`. The
            worker process calls it, so pickle must be able to store it.
        args: the AsyncGRPOConfig.
        max_dropped_in_a_row: the number of groups in a row without a kept group at which the run ends with an error.
        kwargs: see AsyncGRPOTrainer.

    Raises:
        InputError: the provider cannot decide about one group at a time without the model, or an argument would have
            no effect.
    """

    def __init__(
        self,
        model: str,
        provider: Callable[[], EmpoProvider],
        args: AsyncGRPOConfig,
        *,
        max_dropped_in_a_row: int = 256,
        **kwargs: Any,
    ) -> None:
        for name in _REFUSED.keys() & kwargs.keys():
            raise InputError(f"{name}={kwargs[name]!r:.200}: {_REFUSED[name]}. Remove {name}.")
        if max_dropped_in_a_row < 1:
            raise InputError(f"max_dropped_in_a_row={max_dropped_in_a_row}: set it to 1 or more.")
        self._keeps_state = check_provider(provider, group_size(args))
        super().__init__(model, args=args, **kwargs)
        self._judged: list[BatchNumbers] = []
        self._provider_states: list[tuple[int, Mapping[str, Any]]] = []  # by group, from the last trained group on
        trl_worker: Any = self.rollout_worker
        if trl_worker is not None:  # the main process
            worker: Any = EmpoRolloutWorker(
                **trl_worker._loop_kwargs,  # noqa: SLF001  # all that TRL's trainer has given to its worker
                provider=provider,
                max_dropped_in_a_row=max_dropped_in_a_row,
            )
            samples: Any = _JudgedQueue(worker.rollout_buffer, self._record)
            self.rollout_worker, self.rollout_queue = worker, samples

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> Any:
        worker: Any = self.rollout_worker
        if worker is not None:
            self._provider_states.clear()
            worker._loop_kwargs["provider_state"] = self._stored_state(kwargs.get("resume_from_checkpoint"))  # noqa: SLF001
        return super()._inner_training_loop(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _stored_state(self, checkpoint: str | None) -> Mapping[str, Any] | None:
        """The state of the provider in a checkpoint; None without a checkpoint, or if the provider keeps no state."""
        if checkpoint is None or not self._keeps_state:
            return None
        file = Path(checkpoint) / STATE
        if not file.is_file():
            _LOG.warning("%s does not exist: the random numbers and the memory of the provider start anew", file)
            return None
        state: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return state

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        worker: Any = self.rollout_worker
        if worker is not None and self._keeps_state:
            trained = [state for group, state in self._provider_states if group in self._trained_groups]
            state = trained[-1] if trained else worker._loop_kwargs["provider_state"]  # noqa: SLF001
            folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            if state is not None:
                folder.mkdir(parents=True, exist_ok=True)  # TRL writes into this folder next
                (folder / STATE).write_text(json.dumps(state), encoding="utf-8")
        super()._save_checkpoint(model, trial)  # type: ignore[no-untyped-call]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with TRL, and add the metrics of the groups that were judged since the last log."""
        if self._judged:
            numbers = BatchNumbers.join(self._judged)
            self._judged.clear()
            for name, value in {**numbers.metrics(), "groups_judged": float(len(numbers.keep))}.items():
                self._metrics["train"][f"empo/{name}"].append(value)
        super().log(logs, start_time)

    def _record(self, sample: JudgedSample) -> None:
        """Count the groups that were dropped before this sample as done, but not as groups of a training step."""
        self._trained_groups.update(sample.dropped)
        self._last_groups_trained += len(sample.dropped)
        if sample.numbers is not None:
            self._judged.append(sample.numbers)
        if sample.provider_state is not None:
            self._provider_states.append((sample.group_id, sample.provider_state))
            trained = [at for at, (group, _) in enumerate(self._provider_states) if group in self._trained_groups]
            del self._provider_states[: max(trained, default=0)]


class _JudgedQueue:
    """The queue of samples, as the trainer reads it. Calls `record` with the samples that carry a report."""

    def __init__(self, samples: Any, record: Callable[[JudgedSample], None]) -> None:
        self._samples, self._record = samples, record

    def get(self, timeout: float | None = None) -> Any:
        sample = self._samples.get(timeout=timeout)
        if isinstance(sample, JudgedSample):
            self._record(sample)
        return sample

    def qsize(self) -> int:
        return int(self._samples.qsize())


def check_provider(make: Any, size: int) -> bool:
    """Whether the provider keeps a state, such as random numbers.

    Raises:
        InputError: the worker cannot make the provider, or the provider needs the model or more than one group.
    """
    if isinstance(make, EmpoProvider) or not callable(make):
        raise InputError(
            f"provider is {make!r:.200}: the worker process makes its own provider, so pass a function that makes it, "
            'functools.partial(EmpoProvider, "math", extract="boxed").'
        )
    try:
        pickle.dumps(make)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"provider={make!r:.200} cannot be sent to the worker process ({error}): pass functools.partial("
            "EmpoProvider, ...) or a function of a module, with functions of modules as arguments."
        ) from error
    with make() as provider:
        provider.check(size)
        if unmeasured := provider.needs - MEASURES:
            raise InputError(
                f"reward={provider.reward!r} and the guards need the measures {sorted(unmeasured)}, and the worker "
                "process has no model to compute them. Use another reward, or EmpoGRPOTrainer."
            )
        if provider.scale == "batch":
            raise InputError(
                "EmpoProvider.scale='batch': the worker decides about one group at a time. Set scale to 'group', "
                "'none' or 'fixed', or use EmpoGRPOTrainer."
            )
        return bool(provider.decides_as_one)
