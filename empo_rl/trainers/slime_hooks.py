"""EMPO in slime (0.3): three functions for its hooks. slime passes whole groups to each of them.

    --group-rm --custom-rm-path empo_rl.trainers.slime_hooks.group_rewards
    --dynamic-sampling-filter-path empo_rl.trainers.slime_hooks.keep_group          new prompts replace dropped groups
    --custom-reward-post-process-path empo_rl.trainers.slime_hooks.advantages       required: advantages by group

The environment variable `EMPO_PROVIDER` holds the arguments of `EmpoProvider` as JSON. slime's own normalisation uses
the statistics of the whole batch if groups have different sizes (slime #1414, #1918); `advantages` groups by
`group_index`. A row that is not in the loss gets `remove_sample`, which empties its loss mask.

slime divides the loss of an optimizer step by all of its rows, and with `--calculate-per-token-loss` it counts a
removed row as one token. So `advantages` multiplies the advantages of each step, `global_batch_size` rows in turn, by
rows / kept rows, or by (kept tokens + removed rows) / kept tokens. The policy loss then equals that of the kept rows.
The factor does not reach the other terms of slime's loss, which have the same denominators. So `advantages` refuses
`--use-kl-loss` with a coefficient, `--entropy-coef` and `--use-opd`; and `--normalize-advantages`, which undoes the
factor. A reducer of `--custom-pg-loss-reducer-function-path` has its own denominator, which this module does not know.

A sample with the status ABORTED or FAILED has no whole answer. slime itself does not look at these statuses: with
`--group-rm` it asks for the reward of such a sample, its filter can keep it, and its loss trains on it. Here the sample
is in no cluster of its group, has the reward 0, and gets `remove_sample`; a group with fewer than two other samples is
dropped. PENDING is the status of a sample that a custom generation returned without a status: an error.

This module does not import slime: it reads the attributes of slime's `Sample`. It needs one training sample for each
completion, so a custom generation that returns a list is refused. The rewards and the filter decide about one group at
a time and change no state; `advantages` decides about the batch.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empo_rl.core.groups import RolloutGroup
from empo_rl.core.provider import EmpoProvider
from semantic_entropy import InputError

VARIABLE = "EMPO_PROVIDER"
_OTHER_TERMS = (  # of slime's loss: the coefficient, the switch, the option, the name
    ("entropy_coef", None, "--entropy-coef", "the entropy term"),
    ("kl_loss_coef", "use_kl_loss", "--use-kl-loss", "the KL term"),
    ("opd_kl_coef", "use_opd", "--use-opd", "the distillation term"),
)
_LOCK = threading.Lock()  # slime's event loop runs the rewards of several groups in threads
_ANSWERED = frozenset({"completed", "truncated"})  # the statuses that slime's `generate_and_rm` does not generate again
_WITHOUT_ANSWER = frozenset({"aborted", "failed"})
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SampleDecision:
    """The decision about all samples of B groups, in their order: (N,) each, and (B,) whether a group is kept."""

    rewards: NDArray[np.float64]
    advantages: NDArray[np.float64]
    loss_mask: NDArray[np.bool_]
    keep: NDArray[np.bool_]


@cache
def shared_provider(options: str) -> EmpoProvider:
    """The provider of this process with these options, a JSON object.

    Raises:
        InputError: the text is no JSON object, or the provider needs measures that slime does not give.
    """
    try:
        chosen = json.loads(options)
    except ValueError:
        chosen = None
    if not isinstance(chosen, dict):
        raise InputError(
            f"the environment variable {VARIABLE} is {options!r:.200}: set the arguments of EmpoProvider as a JSON "
            'object, {"equivalence": "math", "extract": "boxed"}.'
        )
    provider = EmpoProvider(**chosen)
    if unmeasured := provider.needs - {"tokens", "truncated"}:
        raise InputError(f"reward={provider.reward!r} needs the measures {sorted(unmeasured)}, which slime lacks.")
    return provider


async def group_rewards(args: Any, samples: Sequence[Any], **_: Any) -> list[float]:  # noqa: ARG001  # slime passes it
    """The rewards of a group, for `--custom-rm-path` with `--group-rm`; 0 for a row without a reward."""
    decision = await asyncio.to_thread(_decide, [list(samples)], training=False)
    return [float(reward) for reward in decision.rewards]


def keep_group(args: Any, samples: Sequence[Any], **_: Any) -> bool:  # noqa: ARG001  # slime passes it
    """Whether the group is inside the bounds of the provider, for `--dynamic-sampling-filter-path`."""
    return bool(_decide([list(samples)], training=False).keep[0])


def advantages(args: Any, samples: Sequence[Any]) -> tuple[list[float], list[float]]:
    """The rewards and the advantages of the batch, (N,) each, for `--custom-reward-post-process-path`.

    Args:
        args: the arguments of slime. Without `global_batch_size`, which slime always has, the advantages are those of
            the provider, without the factor of each step.
        samples: the samples of the batch, in the order in which slime divides them into steps.

    Raises:
        InputError: a sample has no `group_index` or no status, a group has only one sample, or the loss has a term that
            the factor does not reach.
    """
    _check_loss(args)
    groups: dict[int, list[int]] = {}
    for row, sample in enumerate(samples):
        if getattr(sample, "group_index", None) is None:
            raise InputError(f"sample {row} has no group_index, so its group is unknown: set it in the data source.")
        groups.setdefault(sample.group_index, []).append(row)
    decision = _decide([[samples[row] for row in rows] for rows in groups.values()], training=True)
    if failed := sum(not _has_answer(sample) for sample in samples):
        _LOG.warning("%d of %d samples are aborted or failed: they are not in the loss", failed, len(samples))
    order = [row for rows in groups.values() for row in rows]
    rewards, advantage = [0.0] * len(order), [0.0] * len(order)
    for at, row in enumerate(order):
        rewards[row] = float(decision.rewards[at])
        advantage[row] = float(decision.advantages[at])
        if not decision.loss_mask[at]:
            samples[row].remove_sample = True
    if (size := getattr(args, "global_batch_size", None)) is not None:
        per_token = bool(args.calculate_per_token_loss)
        for start in range(0, len(samples), size):
            factor = _step_factor(samples[start : start + size], per_token=per_token)
            for row in range(start, min(start + size, len(samples))):
                advantage[row] *= factor
    return rewards, advantage


def _check_loss(args: Any) -> None:
    """Raise InputError if slime's loss has a term that the factor does not reach, or normalises the advantages."""
    for coefficient, switch, option, term in _OTHER_TERMS:
        value = getattr(args, coefficient, 0.0)
        if value and (switch is None or getattr(args, switch, False)):
            raise InputError(
                f"{coefficient}={value}: slime divides {term} by all rows of a step, with the removed ones. EMPO can "
                "correct the policy loss only, so the weight of this term would depend on the number of removed rows. "
                f"Remove {option} from slime's arguments."
            )
    if getattr(args, "normalize_advantages", False):
        raise InputError(
            "normalize_advantages=True: slime would normalise the advantages a second time, over the whole batch. "
            "Remove --normalize-advantages; the argument `scale` of EmpoProvider divides by the deviation of a group."
        )


def _step_factor(samples: Sequence[Any], *, per_token: bool) -> float:
    """What slime's denominator of a step is, divided by the kept rows or tokens; 1 if no row is kept."""
    kept = [sample for sample in samples if not sample.remove_sample]
    if not per_token:
        return len(samples) / max(len(kept), 1)
    masks = (getattr(sample, "loss_mask", None) for sample in kept)
    tokens = sum(
        sample.response_length if mask is None else sum(mask) for sample, mask in zip(kept, masks, strict=True)
    )
    return (tokens + len(samples) - len(kept)) / max(tokens, 1)


def _decide(groups: Sequence[Sequence[Any]], *, training: bool) -> SampleDecision:
    """Decide about the samples that have an answer. A group whose other samples failed but one is dropped."""
    answered = [[_has_answer(sample) for sample in group] for group in groups]
    # The provider refuses a group of one sample: --n-samples-per-prompt is 1, so no group can be trained.
    judged = [sum(found) > 1 or (len(found) == 1 and found[0]) for found in answered]
    rollouts = [
        _rollout([sample for sample, has_answer in zip(group, found, strict=True) if has_answer])
        for group, found, decides in zip(groups, answered, judged, strict=True)
        if decides
    ]
    rows = np.array([decides and has for found, decides in zip(answered, judged, strict=True) for has in found])
    rewards, advantage, loss_mask = np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows), dtype=np.bool_)
    keep = np.zeros(len(groups), dtype=np.bool_)
    if rollouts:
        with _LOCK:
            decision = shared_provider(os.environ.get(VARIABLE, "")).step(rollouts, training=training)
        rewards[rows], advantage[rows] = np.nan_to_num(decision.rewards), decision.advantages
        loss_mask[rows], keep[np.array(judged)] = decision.loss_mask, decision.keep
    return SampleDecision(rewards, advantage, loss_mask, keep)


def _has_answer(sample: Any) -> bool:
    """Whether the sample is a completion: slime has ended it, or cut it off at the length limit."""
    if isinstance(sample, list):
        raise InputError("a completion has several samples (a list): EMPO needs one sample for each completion.")
    status = sample.status.value
    if status not in _ANSWERED | _WITHOUT_ANSWER:
        raise InputError(
            f"a sample has the status {status!r}, so its completion is not known to be whole: let the function of "
            "--custom-generate-function-path set sample.status to COMPLETED, TRUNCATED, ABORTED or FAILED."
        )
    return status in _ANSWERED


def _rollout(group: Sequence[Any]) -> RolloutGroup:
    prompt, metadata = group[0].prompt, group[0].metadata or {}
    for name in ("prompt", "label"):
        if any(getattr(sample, name) != getattr(group[0], name) for sample in group):
            raise InputError(
                f"the samples of one group have different values of {name}: give each prompt a group_index of its own."
            )
    if not isinstance(prompt, str):
        users = [message for message in prompt if message["role"] == "user"]
        prompt = str((users or prompt)[-1]["content"])
    asked = metadata.get("question")
    return RolloutGroup(
        completions=tuple(sample.response for sample in group),
        question=asked if str(asked or "").strip() else prompt,
        gold=None if group[0].label is None else str(group[0].label),
        measures={
            "tokens": [float(sample.response_length) for sample in group],
            "truncated": [float(sample.status.value == "truncated") for sample in group],
        },
    )
