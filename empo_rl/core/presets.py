"""Settings of an `EmpoProvider` by name: those of the paper, of its official code, and of TTRL.

    EmpoProvider(**preset("official-trl-natural"), equivalence="verifier")

A preset sets how agreement is paid. It does not set the judge: choose `equivalence` and `extract` yourself. The
official code compares mathematics as strings, so that 1/2 and 0.5 differ; `equivalence="exact"` does that. It puts all
answers that cannot be extracted into one cluster. Here each such answer is its own cluster, because two answers that
cannot be extracted do not mean the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from semantic_entropy import InputError

_NO_WINDOW: Mapping[str, Any] = {"delta_low": -math.inf, "delta_high": math.inf}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Eq. 1-3. The paper gives no value for either bound: only groups with full agreement are dropped.
    "paper": {"reward": "empo", "invalid": "singleton_zero", "delta_low": 0.0, "delta_high": math.inf},
    # p if H < ln G, otherwise 0; invalid answers 0. All groups stay in the loss.
    "official-trl-math": {
        "reward": "empo",
        "invalid": "singleton_zero",
        "delta_low": -math.inf,
        "delta_high": 1.0,
        "delta_units": "normalized",
        "outside": "zero",
    },
    # p; invalid answers -0.5; answers copied from the question 0; 0 if the largest share is below 0.2.
    "official-trl-natural": {
        "reward": "empo",
        "invalid": "penalty",
        **_NO_WINDOW,
        "max_p_low": 0.2,
        "outside": "zero",
        "guards": {"copied": 0.0},
    },
    # count / n for all answers, valid or not.
    "official-verl": {"reward": "empo", "invalid": "singleton_prob", **_NO_WINDOW},
    # The majority answer is used as the gold answer.
    "ttrl": {"reward": "majority", "invalid": "singleton_zero"},
}


def preset(name: str) -> dict[str, Any]:
    """The keyword arguments of `EmpoProvider` for this preset, as a new dict."""
    if name not in PRESETS:
        raise InputError(f"preset {name!r} does not exist. Choose one of: {', '.join(PRESETS)}.")
    return dict(PRESETS[name])
