"""The rollout loop of TRL's asynchronous GRPO trainer (1.16), with groups that an `EmpoProvider` decides about.

TRL's loop runs in a process of its own, the worker. It sends prompts to vLLM without a pause, scores a group when its G
completions exist, and puts the samples of the group into the queue of the trainer. This loop scores the group with the
provider, which decides about one group at a time:

    kept group      its rows in the loss enter the queue, with the provider's advantages
    dropped group   nothing enters the queue. TRL's loop goes on with the next prompts, which refill the queue

A row that `invalid="drop"` or a guard takes out of a kept group does not enter the queue either: a sample without a
trained token would take a place in a micro-batch, and TRL's `compute_loss` fails on a micro-batch of such samples only.

The first sample of a kept group carries the ids of the groups that were dropped before it, the numbers of all groups
that were judged, and the state of the provider to the trainer (`async_grpo_trainer`). A group whose rows in the loss
have no token to train on is a dropped group, in the numbers too. If too many groups in a row are dropped, the loop
raises an error, and TRL ends the run with it.

The worker ends if the process of the trainer is killed. In TRL 1.16, a run whose worker has failed or was killed waits
without end instead of ending with the error: `multiprocessing.Event.set` waits for a thread of the ended process.
`EmpoRolloutWorker.stop` does not call it then.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from trl.experimental.async_grpo.async_rollout_worker import AsyncRolloutWorker, RolloutSample, _AsyncRolloutLoop
from trl.experimental.async_grpo.async_rollout_worker import RolloutGroup as TrlGroup

from empo_rl.core.decision import BatchDecision
from empo_rl.core.filters import DROPPED_HIGH, DROPPED_LOW, DROPPED_NO_ANSWER, DROPPED_NO_REWARD
from empo_rl.core.groups import group_by_position
from empo_rl.core.metrics import BatchNumbers
from empo_rl.core.provider import EmpoProvider
from empo_rl.trainers.trl.rollouts import length_measures, trl_columns
from semantic_entropy import SemanticEntropyError

MEASURES = frozenset({"tokens", "truncated"})  # the measures that this loop computes: it has no model
_PATIENCE = 15  # seconds for a failed worker to end by itself, as in TRL's `stop`
NO_TOKENS = "no completion has a token to train on"
_UNREADABLE = "The completions have no answer: check `extract` and max_completion_length."
_ADVICE = {
    DROPPED_LOW: "The completions of a prompt agree: lower delta_low, raise the temperature, or take harder prompts.",
    DROPPED_HIGH: "The completions of a prompt scatter: raise delta_high, lower the temperature, or check `extract`.",
    DROPPED_NO_ANSWER: _UNREADABLE,
    DROPPED_NO_REWARD: _UNREADABLE,
}


@dataclass(slots=True)
class JudgedSample(RolloutSample):
    """The first sample of a kept group, and what was decided since the kept group before it.

    Attributes:
        dropped: the ids of the groups that were dropped since then.
        numbers: the numbers of these groups and of the group of this sample.
        provider_state: the state of the provider after the group of this sample; None if the provider keeps none.
    """

    dropped: tuple[int, ...] = ()
    numbers: BatchNumbers | None = None
    provider_state: Mapping[str, Any] | None = None


class EmpoRolloutLoop(_AsyncRolloutLoop):
    """TRL's rollout loop with rewards, filter and advantages from an `EmpoProvider`.

    Args:
        provider: makes the provider, in the process of the worker. The loop closes the provider.
        max_dropped_in_a_row: the number of groups in a row without a kept group at which the run ends with an error.
        provider_state: the state with which the provider continues; None for a new run.
        kwargs: the arguments of TRL's loop.
    """

    _provides_rollout_reward = True  # TRL's declaration of a loop that needs no reward functions

    def __init__(
        self,
        *,
        provider: Callable[[], EmpoProvider],
        max_dropped_in_a_row: int,
        provider_state: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.provider = provider()
        if provider_state is not None:
            self.provider.load_state_dict(provider_state)
        self.reward_func_names.append(self.provider.reward)  # rewards/empo
        self._most_in_a_row = max_dropped_in_a_row
        self._in_a_row: list[tuple[str, float]] = []  # reason and entropy of the groups since the last kept group
        self._unreported: list[int] = []
        self._judged: list[BatchNumbers] = []

    def run(self) -> None:
        """Run until the trainer stops the loop, or until the process of the trainer has ended."""
        if multiprocessing.parent_process() is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes; the trainer stops this one
            threading.Thread(target=_end_with_trainer, name="end with trainer", daemon=True).start()
        try:
            super().run()
        finally:
            self.provider.close()
            if self._stop_event.is_set():  # the trainer reads no more, and this process would wait for it at its end
                self.rollout_buffer.cancel_join_thread()
                self._metrics_queue.cancel_join_thread()

    async def _score_group(self, group: TrlGroup) -> list[RolloutSample]:
        decision = await asyncio.to_thread(self._decide, group)
        samples = await self._kept_samples(group, decision)
        if not samples:
            self._count_dropped(group.group_id, decision)
            return []
        self._judged.append(decision.numbers)
        samples[0] = JudgedSample(
            **{field.name: getattr(samples[0], field.name) for field in fields(RolloutSample)},
            dropped=tuple(self._unreported),
            numbers=BatchNumbers.join(self._judged),
            provider_state=self.provider.state_dict() if self.provider.decides_as_one else None,
        )
        self._in_a_row, self._unreported, self._judged = [], [], []
        return samples

    def _decide(self, group: TrlGroup) -> BatchDecision:
        ends = {*self.eos_token_ids, self.tokenizer.pad_token_id}
        measures = length_measures(group.completions_ids, ends)
        columns = trl_columns(group.prompts, group.completions, group.reward_kwargs, measures)
        return self.provider.step(group_by_position(num_generations=self.num_generations, **columns))

    async def _kept_samples(self, group: TrlGroup, decision: BatchDecision) -> list[RolloutSample]:
        """The samples of the rows in the loss. TRL makes several samples of a conversation that it could not join."""
        if not decision.keep[0]:
            return []
        group.rollout_rewards = [None if np.isnan(reward) else float(reward) for reward in decision.rewards]
        samples = await super()._score_group(group)
        rows = [row for row, parts in enumerate(group.completions_sequences) for _ in parts]
        for row, sample in zip(rows, samples, strict=True):
            sample.advantage = float(decision.advantages[row])
        return [sample for row, sample in zip(rows, samples, strict=True) if decision.loss_mask[row]]

    def _count_dropped(self, group_id: int, decision: BatchDecision) -> None:
        reason = decision.drop_reasons[0] or NO_TOKENS
        self._judged.append(replace(decision.numbers, keep=np.array([False]), reasons=(reason,)))
        self._unreported.append(group_id)
        self._in_a_row.append((reason, float(decision.entropies[0])))
        if len(self._in_a_row) >= self._most_in_a_row:
            raise SemanticEntropyError(_endless(self._in_a_row, self.provider))


class EmpoRolloutWorker(AsyncRolloutWorker):
    """TRL's worker with `EmpoRolloutLoop`. Takes the arguments of that loop."""

    _loop_cls = EmpoRolloutLoop

    def stop(self) -> None:
        process = self._process
        if process is not None and process.pid is not None:
            if self._failed_event.is_set():
                process.join(_PATIENCE)
                process.kill()  # it waits for a reader of its samples
                process.join()
            if not process.is_alive():
                self._process = None
        super().stop()


def _endless(dropped: list[tuple[str, float]], provider: EmpoProvider) -> str:
    """The message of a run in which no group is kept."""
    reasons = Counter(reason for reason, _ in dropped).most_common()
    window, shares = provider.window, provider.shares
    entropies = [entropy for _, entropy in dropped if not np.isnan(entropy)]
    mean = f"{np.mean(entropies):.3f} nats" if entropies else "not known"
    return (
        f"the last {len(dropped)} groups were all dropped ({', '.join(f'{count} x {text}' for text, count in reasons)})"
        f", so the trainer gets nothing to train on. The bounds are {window.low} < H < {window.high} ({window.units}) "
        f"and {shares.low} <= max p <= {shares.high}; the mean H of these groups is {mean}. "
        f"{_ADVICE.get(reasons[0][0], 'Change the bounds or the filters of the provider.')} If you expect that so few "
        "groups are kept, raise max_dropped_in_a_row."
    )


def _end_with_trainer() -> None:
    """End this process when the process of the trainer has ended: after a kill, nothing else would end it."""
    trainer = multiprocessing.parent_process()
    assert trainer is not None, "this is a worker process"
    multiprocessing.connection.wait([trainer.sentinel])
    os._exit(1)
