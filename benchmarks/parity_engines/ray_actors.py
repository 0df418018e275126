"""Ray in `parity.py`: the groups travel through Ray Data to two actors, as in the bulk engine, four at a time.

Each actor has its own provider, and what is compared are the columns that come back to the driver. If the provider must
make one decision about the whole batch (`decides_as_one`: `scale="batch"`), all groups go to one actor.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import ray
import ray.data
from parity_engines.cases import Case, Group, Ran, Rows, rollouts, rows_of, run

from empo_rl import EmpoProvider

ACTORS, GROUPS = 2, 4


class Scorer:
    """An actor: decides about the groups of a block."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._provider = EmpoProvider(**options)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the columns rewards, loss_mask, advantages as JSON, and the process, of each group."""
        groups = [Group(**json.loads(text)) for text in batch["group"]]
        rows = [asdict(each) for each in rows_of(self._provider.step(rollouts(groups)))]
        columns = {name: [json.dumps(row[name]) for row in rows] for name in ("rewards", "loss_mask", "advantages")}
        return {"at": batch["at"], "process": [os.getpid()] * len(rows), **columns}


def decide(cases: Sequence[Case]) -> Ran:
    """Decide about each case in actors."""
    ray.init(num_cpus=ACTORS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    found, processes = {}, set()
    try:
        for case in cases:
            items = [{"at": at, "group": json.dumps(asdict(group))} for at, group in enumerate(case.groups)]
            with EmpoProvider(**case.provider) as provider:
                together = len(items) if provider.decides_as_one else GROUPS
            scored = ray.data.from_items(items, override_num_blocks=-(-len(items) // together)).map_batches(
                Scorer,
                fn_constructor_args=(case.provider,),
                batch_size=together,
                compute=ray.data.ActorPoolStrategy(size=ACTORS),
                num_cpus=1,
            )
            by_place = sorted(scored.iter_rows(), key=lambda row: row["at"])
            processes |= {row["process"] for row in by_place}
            found[case.name] = [
                Rows(*(json.loads(row[name]) for name in ("rewards", "loss_mask", "advantages"))) for row in by_place
            ]
    finally:
        ray.shutdown()
    assert os.getpid() not in processes
    return Ran(f"Ray {ray.__version__}, a pool of {ACTORS} actors for each case", found)


if __name__ == "__main__":
    run(decide)
