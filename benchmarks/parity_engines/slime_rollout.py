"""slime in `parity.py`: slime's own code calls the three hooks.

slime is not in the package index: `parity.py --slime FOLDER` puts a checkout on the path. slime's own functions then
call the hooks: `batched_async_rm` (the rewards), `call_dynamic_filter` (the filter), and
`RolloutManager._convert_samples_to_train_data`, which makes the data of a training step. The module of this class
imports SGLang, which needs a GPU: it is replaced by empty modules.

The filter is optional in slime. In the cases FILTERED it drops groups before the training data is made; in the other
cases the rows of dropped groups stay in the batch, and the hook `advantages` removes them. Every second case has the
loss per token.

What is compared: the reward of each sample, whether any token is in its loss mask, and its advantage, which slime calls
`rewards`. `advantages` multiplies the advantages of an optimizer step by slime's denominator divided by the kept rows
or tokens. This module computes that factor from the loss masks of slime's training data, and divides by it. The samples
of a group that the filter drops have a reward only.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import types
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any
from unittest.mock import MagicMock

from parity_engines.cases import Case, Group, Ran, Rows, refusal, run

from empo_rl.trainers import slime_hooks

HOOKS = "empo_rl.trainers.slime_hooks"
FILTERED = {"window", "gold", "sizes"}
STEP = 16  # rows of an optimizer step: two groups of 8 completions


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


class Slime:
    """The functions of slime that call the hooks."""

    def __init__(self) -> None:
        if find_spec("sglang") is None:
            sys.meta_path.append(_EmptyModules())  # type: ignore[arg-type]
        from slime.ray.rollout import RolloutManager
        from slime.rollout.filter_hub.base_types import call_dynamic_filter
        from slime.rollout.rm_hub import batched_async_rm
        from slime.utils.misc import load_function
        from slime.utils.types import Sample

        self.sample = Sample
        self._rewards, self._filter = batched_async_rm, call_dynamic_filter
        self._keep = load_function(f"{HOOKS}.keep_group")
        self._manager = object.__new__(RolloutManager.__ray_metadata__.modified_class)
        self._manager.custom_reward_post_process_func = load_function(f"{HOOKS}.advantages")
        self._manager.custom_convert_samples_to_train_data_func = None

    def rewards(self, args: Namespace, samples: list[Any]) -> list[float]:
        """The rewards of a group."""
        return list(asyncio.run(self._rewards(args, samples)))

    def keep(self, args: Namespace, samples: list[Any]) -> bool:
        """Whether the filter keeps the group."""
        return bool(self._filter(self._keep, args, samples).keep)

    def train_data(self, args: Namespace, samples: list[Any]) -> dict[str, Any]:
        """The training data of a batch."""
        self._manager.args = args
        return dict(self._manager._convert_samples_to_train_data(samples))  # noqa: SLF001  # slime's training calls it


def arguments(*, per_token: bool) -> Namespace:
    """The arguments of slime that these functions and the hooks read."""
    return Namespace(
        custom_rm_path=f"{HOOKS}.group_rewards",
        advantage_estimator="grpo",
        rewards_normalization=True,
        rollout_top_p=1.0,
        global_batch_size=STEP,
        calculate_per_token_loss=per_token,
        entropy_coef=0.0,
        use_kl_loss=False,
        kl_loss_coef=0.0,
        use_opd=False,
        normalize_advantages=False,
    )


def step_factors(masks: Sequence[Sequence[int]], *, per_token: bool) -> list[float]:
    """For each row, (N,): slime's denominator of the step of the row, divided by the kept rows or tokens of the step.

    The denominators are those of `loss_function` in slime/backends/megatron_utils/loss.py at commit 624b824: the number
    of rows, or the sum of the tokens in the loss with at least one for each row.
    """
    found: list[float] = []
    for start in range(0, len(masks), STEP):
        tokens = [sum(mask) for mask in masks[start : start + STEP]]
        if per_token:
            all_of_step, kept = sum(max(count, 1) for count in tokens), sum(tokens)
        else:
            all_of_step, kept = len(tokens), sum(count > 0 for count in tokens)
        found += [all_of_step / kept if kept else 1.0] * len(tokens)
    return found


def make_samples(slime: Slime, number: int, group: Group) -> list[Any]:
    """The samples of a group. Their tokens are not read."""
    states = slime.sample.Status
    return [
        slime.sample(
            group_index=number,
            prompt=group.question,
            label=group.gold,
            response=text,
            response_length=int(length),
            status=states.TRUNCATED if cut else states.COMPLETED,
        )
        for text, cut, length in zip(group.completions, group.truncated, group.measures()["tokens"], strict=True)
    ]


def step(slime: Slime, case: Case, *, per_token: bool) -> tuple[list[Rows], list[float]]:
    """What slime does with the groups of a step: rewards, the filter, then the training data.

    Returns the rows, and the factor of each row in the training data.
    """
    os.environ[slime_hooks.VARIABLE] = json.dumps(case.provider)
    args = arguments(per_token=per_token)
    groups = [make_samples(slime, number, group) for number, group in enumerate(case.groups)]
    rewards = [slime.rewards(args, samples) for samples in groups]
    kept = [slime.keep(args, samples) for samples in groups]
    in_batch = [case.name not in FILTERED or keep for keep in kept]
    flat = [sample for samples, stays in zip(groups, in_batch, strict=True) if stays for sample in samples]
    data = slime.train_data(args, flat)
    factors = step_factors(data["loss_masks"], per_token=per_token)
    columns = zip(flat, data["loss_masks"], data["rewards"], factors, strict=True)
    found = {id(sample): (any(mask), float(scaled) / factor) for sample, mask, scaled, factor in columns}
    rows = []
    for reward, samples in zip(rewards, groups, strict=True):
        masks, advantages = zip(*(found.get(id(sample), (False, 0.0)) for sample in samples), strict=True)
        rows.append(Rows(reward, list(masks), list(advantages)))
    if kept != [any(row.loss_mask) for row in rows]:
        raise SystemExit(f"case {case.name}: the filter and the training data do not keep the same groups")
    return rows, factors


def decide(cases: Sequence[Case]) -> Ran:
    """Run the hooks on each case that they accept."""
    slime, found, left_out = Slime(), {}, {}
    scaled = {False: 0, True: 0}  # steps with removed rows: mean over completions, per token
    for number, case in enumerate(cases):
        per_token = bool(number % 2)
        if reason := refusal(partial(slime_hooks.shared_provider, json.dumps(case.provider))):
            left_out[case.name] = reason
            continue
        found[case.name], factors = step(slime, case, per_token=per_token)
        scaled[per_token] += sum(factor > 1 for factor in factors[::STEP])
    if not all(scaled.values()):
        raise SystemExit("in no optimizer step of one of the two reductions is a row removed: the factor is not tested")
    return Ran(
        f"slime's `Sample`, rewards, filter and training data ({os.environ.get('SLIME_VERSION', 'its source')}), "
        f"without SGLang; {scaled[False]} + {scaled[True]} steps with a factor (per completion + per token)",
        found,
        left_out,
    )


if __name__ == "__main__":
    run(decide)
