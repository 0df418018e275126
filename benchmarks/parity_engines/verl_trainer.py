"""verl in `parity.py`: the real trainer of the mode `empo`, and a TransferQueue on Ray with the rows of each case.

The steps are those of verl's training step from the sampling to the advantages. What is compared is read from the
queue, where verl's update reads it: `rm_scores`, `response_mask` and `advantages` of each row. The rows of a dropped
group have left the queue. No model is loaded, and nothing is updated: tests/empo_rl/trainers/verl says what stands in
its place.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from parity_engines.cases import LIMIT, SIZE, Case, Group, Ran, Rows, refusal, run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import empo_rl.trainers.verl  # registers the mode `empo` in verl

# By its path: the wheels of verl and TransferQueue install a package with the name `tests`.
_QUEUE = Path(__file__).parents[2] / "tests" / "empo_rl" / "trainers" / "verl" / "verl_queue.py"
_SPEC = importlib.util.spec_from_file_location("verl_queue", _QUEUE)
assert _SPEC is not None
assert _SPEC.loader is not None
verl_queue: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(verl_queue)
FIELDS = ["rm_scores", "response_mask", "advantages"]


def make_trainer(case: Case) -> Any:
    """The trainer of the mode `empo` for a case."""
    return verl_queue.make_trainer(
        f"data.max_response_length={LIMIT}",
        f"actor_rollout_ref.rollout.n={SIZE}",
        "actor_rollout_ref.actor.ppo_mini_batch_size=1",
        f"data.train_batch_size={len(case.groups)}",
        provider=case.provider,
    )


def step(tq: Any, case: Case) -> list[Rows]:
    """Run the trainer on the groups of a case, and read the rows of the queue."""
    trainer = make_trainer(case)
    assert type(trainer) is empo_rl.trainers.verl.EmpoPPOTrainer
    uids = [
        verl_queue.put_group(group.completions, question=group.question, gold=group.gold, truncated=group.truncated)
        for group in case.groups
    ]
    batch, metrics = trainer.replay_buffer.sample(global_steps=1, partition_id="train", batch_size=len(uids))
    metrics = dict(metrics)
    batch = trainer._compute_advantage(trainer._balance_batch(batch, metrics), metrics)  # noqa: SLF001
    data = tq.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=FIELDS)
    columns = [list(data[name].unbind()) for name in FIELDS]
    found = {key: _row(*values) for key, *values in zip(batch.keys, *columns, strict=True)}
    left = list(tq.kv_list()["train"])
    tq.kv_clear(keys=left, partition_id="train")
    assert set(found) <= set(left)
    return [_group(group, uid, found) for group, uid in zip(case.groups, uids, strict=True)]


def _row(scores: Any, mask: Any, advantages: Any) -> tuple[float, bool, float]:
    """The reward, the mask and the advantage of a row, from the values of its tokens."""
    in_loss = bool(mask.any())
    assert bool(mask.all()) == in_loss
    assert advantages.unique().numel() == 1
    return float(scores.sum()), in_loss, float(advantages[0])


def _group(group: Group, uid: str, found: dict[str, tuple[float, bool, float]]) -> Rows:
    rows = [found.get(f"{uid}_{place}_0", (None, False, 0.0)) for place in range(len(group.completions))]
    rewards, masks, advantages = zip(*rows, strict=True)
    return Rows(list(rewards), list(masks), list(advantages))


def decide(cases: Sequence[Case]) -> Ran:
    """Run the steps on each case that the trainer accepts."""
    found, left_out = {}, {}
    with verl_queue.queue() as tq:
        for case in cases:
            if reason := refusal(partial(make_trainer, case)):
                left_out[case.name] = reason
            else:
                found[case.name] = step(tq, case)
    where = f"verl {version('verl')}, TransferQueue {version('TransferQueue')} on Ray {version('ray')}"
    return Ran(where, found, left_out)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run(decide)
