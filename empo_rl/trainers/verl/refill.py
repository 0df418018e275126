"""A replay buffer of verl that evicts the groups which the provider drops, and asks for new prompts in their place.

verl's own buffer (DAPO's dynamic sampling) polls the queue, evicts groups without a signal, and submits new prompts
until `train_batch_size` groups are left. Its rule is "all rewards are equal"; this buffer asks the provider instead, so
the rule is the entropy window and the filters of EMPO. All else is verl's: how many prompts are asked for, what happens
to surplus groups, and the metric `training/filter_groups/evicted_samples`.

A group is judged twice: here, where nothing is trained, and in the batch. The verdicts of a judge are in the memory of
the provider's scorer, so the second time costs no judge call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from empo_rl.core.metrics import BatchNumbers
from empo_rl.core.provider import EmpoProvider
from empo_rl.trainers.verl.queue_groups import QueueGroup, keys_by_prompt


class EmpoReplayBuffer(ReplayBuffer):
    """The replay buffer of the trainer mode `empo`.

    Args:
        provider: decides which groups stay.
        read: reads the groups of these keys of the partition `train`.
        options: the arguments of verl's `ReplayBuffer`. With `filter_groups_metric=None`, nothing is evicted.
    """

    def __init__(
        self, provider: EmpoProvider, read: Callable[[Sequence[str]], list[QueueGroup]], **options: Any
    ) -> None:
        self._provider = provider
        self._read = read
        self._evicted: list[BatchNumbers] = []
        super().__init__(**options)

    def take_evicted(self) -> list[BatchNumbers]:
        """The numbers of the groups that were evicted since the last call, for the metrics of the step."""
        taken, self._evicted = self._evicted, []
        return taken

    def _dapo_filtered_keys(self, partition_id: str) -> tuple[set[str], Counter[str]]:
        """The uids of the finished groups that the provider drops, and how often for which reason."""
        if partition_id == "val" or self.filter_groups_metric is None:
            return set(), Counter()
        finished, kept = self.finished_keys[partition_id], self._dapo_classification_cache[partition_id]
        for uid in kept.keys() - finished:
            del kept[uid]
        prompts = keys_by_prompt(list(self.partitions[partition_id]))
        new = {uid: prompts.get(uid, []) for uid in finished - kept.keys()}
        too_small = {uid for uid, keys in new.items() if len(keys) < 2}  # no advantage can be computed
        judged = self._read([key for uid, keys in new.items() if uid not in too_small for key in keys])
        reasons = Counter({"fewer than two completions": len(too_small)} if too_small else {})
        if not judged:
            return too_small, reasons
        decision = self._provider.step([one.group for one in judged], training=False)
        self._evicted.append(decision.numbers.select(~decision.keep))
        dropped = {one.uid for one, keep in zip(judged, decision.keep, strict=True) if not keep}
        kept.update(dict.fromkeys({one.uid for one in judged} - dropped))
        reasons.update(reason for reason in decision.drop_reasons if reason is not None)
        return too_small | dropped, reasons
