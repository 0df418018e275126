"""Group-normalised advantages: A_i = (r_i - mean) / (std + 1e-4).

mean is the mean of the group. `scale` says what the difference is divided by: `group`, the std of the group; `batch`,
the std of all rewards of the batch that are in the loss; `none`, nothing. std is the sample standard deviation (ddof 1)
and the constant is 1e-4, both as in TRL's GRPOTrainer (1.16), so that both give the same numbers; TRL computes in
float32, this module in float64. Leaves out advantages per token, and baselines other than the mean of the group.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from semantic_entropy import InputError

Scale = Literal["group", "batch", "none"]
EPSILON = 1e-4  # TRL 1.16's; it also keeps a group of equal rewards at exactly 0


def check_scale(scale: str) -> Scale:
    """The scale, or an error that lists the existing scales."""
    if scale not in get_args(Scale):
        raise InputError(f"scale={scale!r} does not exist. Choose one of: {', '.join(get_args(Scale))}.")
    return scale  # type: ignore[return-value]  # narrowed by the check above


def group_advantages(rewards: NDArray[np.float64], scale: Scale = "group") -> NDArray[np.float64]:
    """(B, G) rewards to (B, G) advantages. A nan reward is left out of each mean and std, and its advantage is 0."""
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
