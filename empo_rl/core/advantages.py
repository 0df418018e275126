"""Group-normalised advantages: A_i = (r_i - mean) / (std + 1e-4).

r_i is the reward of completion i, and mean is the mean reward of its group. The option `scale` selects std:

    group  the standard deviation of the rewards of the group
    batch  the standard deviation of all rewards of the batch that are in the loss
    none   no division: A_i = r_i - mean
    fixed  neither mean nor std: A_i = r_i. The reward is the advantage, for signals that fix the advantages (DDRL,
           arXiv 2604.21327) or compute the advantages themselves (`restrain`)

std is the sample standard deviation (ddof 1). The formula and the constant 1e-4 are the same as in TRL's GRPOTrainer
(1.16), so this module and TRL compute the same numbers; TRL computes in float32, this module in float64. This module
has no advantages per token, and no baseline other than the mean of the group.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from semantic_entropy import InputError

Scale = Literal["group", "batch", "none", "fixed"]
EPSILON = 1e-4  # as in TRL 1.16; it also makes the advantages of a group with equal rewards exactly 0


def check_scale(scale: str) -> Scale:
    """Return the scale, or raise an error that lists the existing scales."""
    if scale not in get_args(Scale):
        raise InputError(f"scale={scale!r} does not exist. Choose one of: {', '.join(get_args(Scale))}.")
    return scale  # type: ignore[return-value]  # narrowed by the check above


def trl_scale(scale: Scale) -> str:
    """Return TRL's `scale_rewards` for this scale. TRL has no `fixed`; `EmpoGRPOTrainer` replaces TRL's advantages."""
    return "none" if scale == "fixed" else scale


def group_advantages(rewards: NDArray[np.float64], scale: Scale = "group") -> NDArray[np.float64]:
    """Compute the advantages (B, G) from the rewards (B, G).

    A nan reward is excluded from each mean and std, and has advantage 0.
    """
    if scale == "fixed":
        return np.nan_to_num(rewards, nan=0.0)
    centred = rewards - _rows(rewards, _mean)
    if scale == "group":
        centred = centred / (_rows(rewards, _std) + EPSILON)
    elif scale == "batch":
        centred = centred / (_std(rewards.ravel()) + EPSILON)
    return np.nan_to_num(centred, nan=0.0)


def _rows(rewards: NDArray[np.float64], statistic: object) -> NDArray[np.float64]:
    return np.array([statistic(row) for row in rewards]).reshape(-1, 1)  # type: ignore[operator]


def _mean(values: NDArray[np.float64]) -> float:
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if len(valid) else 0.0


def _std(values: NDArray[np.float64]) -> float:
    valid = values[~np.isnan(values)]
    return float(valid.std(ddof=1)) if len(valid) > 1 else 0.0
