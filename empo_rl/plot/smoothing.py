"""The running mean of a curve: at each step the mean of it and the steps before it, as in the paper's Figure 2.

    smooth(x, N)[t] = mean of x[max(0, t - N + 1)], ..., x[t]

It looks back alone: no value shows before it was measured. The first N - 1 are means of fewer.
"""

from __future__ import annotations

from collections.abc import Sequence

from semantic_entropy import InputError


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Shapes: values and the result (steps,). A window of 1 leaves them as they are."""
    if window < 1:
        raise InputError(f"a window of {window} steps has no mean: give 1 (as measured) or more.")
    means, total = [], 0.0
    for index, value in enumerate(values):
        total += value - (values[index - window] if index >= window else 0.0)
        means.append(total / min(index + 1, window))
    return means if window > 1 else list(values)
