"""slime in `parity.py`: the three hooks, called by slime's own code if its source is on the path.

slime is not in the package index: `parity.py --slime FOLDER` puts a checkout on the path. slime's own functions then
call the hooks: `batched_async_rm` (the rewards), `call_dynamic_filter` (the filter), and
`RolloutManager._convert_samples_to_train_data`, which makes the data of a training step from the groups that the filter
kept. The module of this class imports SGLang, which needs a GPU: it is replaced by empty modules. Without slime's
source, a class with the attributes of slime's `Sample` is passed to the hooks. The output says which.

What is compared: the reward of each sample, whether any token is in its loss mask, and its advantage, which slime calls
`rewards`. The samples of a group that the filter drops have a reward only.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import types
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib.util import find_spec
from typing import Any
from unittest.mock import MagicMock

from parity_engines.cases import Case, Group, Ran, Rows, run

from empo_rl.trainers import slime_hooks

HOOKS = "empo_rl.trainers.slime_hooks"
ARGS = Namespace(
    custom_rm_path=f"{HOOKS}.group_rewards",
    advantage_estimator="grpo",
    rewards_normalization=True,
    rollout_top_p=1.0,
)


class Status(Enum):
    """The states of a sample that the hooks read."""

    COMPLETED = "completed"
    TRUNCATED = "truncated"


@dataclass
class StandIn:
    """The attributes of slime's `Sample` that the hooks read."""

    group_index: int
    prompt: str
    response: str
    response_length: int
    status: Status
    label: str | None = None
    remove_sample: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trainer:
    """How the hooks are called: on the class itself, or by the functions of slime."""

    where: str
    sample: Any
    states: Any
    rewards: Callable[[list[Any]], list[float]]
    keep: Callable[[list[Any]], bool]
    train: Callable[[list[Any]], tuple[list[bool], list[float]]]


def directly() -> Trainer:
    """Call the hooks themselves, on the class with the attributes."""

    def train(samples: list[Any]) -> tuple[list[bool], list[float]]:
        advantages = slime_hooks.advantages(ARGS, samples)[1]
        return [not sample.remove_sample for sample in samples], advantages

    return Trainer(
        "the hooks alone, on a class with the attributes of slime's `Sample`",
        StandIn,
        Status,
        lambda samples: asyncio.run(slime_hooks.group_rewards(ARGS, samples)),
        lambda samples: slime_hooks.keep_group(ARGS, samples),
        train,
    )


class _Empty(types.ModuleType):
    """A module in which every name exists and does nothing."""

    __path__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock(name=name)


class _EmptyModules:
    """Finds `sglang` and its modules, as empty modules."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        chosen = name.partition(".")[0].startswith("sglang")
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if chosen else None  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is in the module."""


def by_slime() -> Trainer:
    """Let slime's functions call the hooks."""
    if find_spec("sglang") is None:
        sys.meta_path.append(_EmptyModules())  # type: ignore[arg-type]
    from slime.ray.rollout import RolloutManager
    from slime.rollout.filter_hub.base_types import call_dynamic_filter
    from slime.rollout.rm_hub import batched_async_rm
    from slime.utils.misc import load_function
    from slime.utils.types import Sample

    manager = RolloutManager.__ray_metadata__.modified_class
    itself = object.__new__(manager)
    itself.args = ARGS
    itself.custom_reward_post_process_func = load_function(f"{HOOKS}.advantages")
    itself.custom_convert_samples_to_train_data_func = None
    keep = load_function(f"{HOOKS}.keep_group")

    def train(samples: list[Any]) -> tuple[list[bool], list[float]]:
        data = itself._convert_samples_to_train_data(samples)  # slime's training calls it
        return [any(mask) for mask in data["loss_masks"]], data["rewards"]

    return Trainer(
        f"slime's `Sample`, rewards, filter and training data ({os.environ.get('SLIME_VERSION', 'its source')}), "
        "without SGLang",
        Sample,
        Sample.Status,
        lambda samples: asyncio.run(batched_async_rm(ARGS, samples)),
        lambda samples: call_dynamic_filter(keep, ARGS, samples).keep,
        train,
    )


def make_samples(trainer: Trainer, number: int, group: Group) -> list[Any]:
    """The samples of a group. Their tokens are not read."""
    return [
        trainer.sample(
            group_index=number,
            prompt=group.question,
            response=text,
            response_length=int(length),
            status=trainer.states.TRUNCATED if cut else trainer.states.COMPLETED,
        )
        for text, cut, length in zip(group.completions, group.truncated, group.measures()["tokens"], strict=True)
    ]


def step(trainer: Trainer, case: Case) -> list[Rows]:
    """What slime does with the groups of a step: rewards, the filter, then the training data of the kept groups."""
    os.environ[slime_hooks.VARIABLE] = json.dumps(case.provider)
    groups = [make_samples(trainer, number, group) for number, group in enumerate(case.groups)]
    rewards = [trainer.rewards(samples) for samples in groups]
    kept = [samples for samples in groups if trainer.keep(samples)]
    flat = [sample for samples in kept for sample in samples]
    masks, advantages = trainer.train(flat)
    found = {id(sample): row for sample, *row in zip(flat, masks, advantages, strict=True)}
    return [
        Rows(
            list(reward),
            [bool(found[id(sample)][0]) if id(sample) in found else False for sample in samples],
            [float(found[id(sample)][1]) if id(sample) in found else 0.0 for sample in samples],
        )
        for reward, samples in zip(rewards, groups, strict=True)
    ]


def decide(cases: Sequence[Case]) -> Ran:
    """Run the hooks on each case."""
    trainer = directly() if find_spec("slime") is None else by_slime()
    return Ran(trainer.where, {case.name: step(trainer, case) for case in cases})


if __name__ == "__main__":
    run(decide)
