"""The running mean of a curve: at each step the mean of it and the steps before it, as in the paper's Figure 2.

    smooth(x, N)[t] = mean of x[max(0, t - N + 1)], ..., x[t]

It looks back alone: no value shows before it was measured. The first N - 1 are means of fewer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from semantic_entropy import InputError


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Shapes: values and the result (steps,). A window of 1 leaves them as they are."""
    if window < 1:
        raise InputError(f"a window of {window} steps has no mean: give 1 (as measured) or more.")
    if window == 1:
        return list(values)
    parts = (values[max(0, end - window) : end] for end in range(1, len(values) + 1))
    return [_mean(part) for part in parts]


def _mean(values: Sequence[float]) -> float:
    """Each window is summed anew: of a running sum, a large value would leave its rounding, and nan or inf itself."""
    if all(map(math.isfinite, values)):
        return math.fsum(values) / len(values)
    return sum(values) / len(values)  # nan, or an infinity; fsum refuses inf - inf
