"""Presets: the settings of the paper, its official code, TTRL and DDRL, as keyword arguments of `EmpoProvider`.

    EmpoProvider(**preset("official-trl-natural"), equivalence="verifier")

A preset sets the reward, the policy for invalid answers, the filters and the guards. A preset does not set the judge:
choose `equivalence` and `extract` yourself. The official code compares mathematical answers as strings, so 1/2 and 0.5
are different answers; `equivalence="exact"` compares strings too. The official code puts all invalid answers (answers
that cannot be extracted) into one cluster. Here each invalid answer is its own cluster, because two invalid answers do
not mean the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from semantic_entropy import InputError

_NO_WINDOW: Mapping[str, Any] = {"delta_low": -math.inf, "delta_high": math.inf}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Eq. 1-3. The paper gives no value for delta_low and delta_high: only groups with full agreement are dropped.
    "paper": {"reward": "empo", "invalid": "singleton_zero", "delta_low": 0.0, "delta_high": math.inf},
    # The reward is p if H < ln G, otherwise 0; of an invalid answer 0. All groups stay in the loss.
    "official-trl-math": {
        "reward": "empo",
        "invalid": "singleton_zero",
        "delta_low": -math.inf,
        "delta_high": 1.0,
        "delta_units": "normalized",
        "outside": "zero",
    },
    # The reward is p, or 0 if the largest share is below 0.2; of an invalid answer -0.5; of a copied answer 0.
    "official-trl-natural": {
        "reward": "empo",
        "invalid": "penalty",
        **_NO_WINDOW,
        "max_p_low": 0.2,
        "outside": "zero",
        "guards": {"copied": 0.0},
    },
    # The reward is count / n for all answers, valid or invalid.
    "official-verl": {"reward": "empo", "invalid": "singleton_prob", **_NO_WINDOW},
    # The majority answer is used as the gold answer.
    "ttrl": {"reward": "majority", "invalid": "singleton_zero"},
    # +1 for the majority and -1 for all other answers, as they are; only the most and the least frequent answers train.
    "ddrl": {
        "reward": "majority",
        "reward_options": {"others": -1.0},
        "invalid": "singleton_zero",
        "scale": "fixed",
        "guards": {"ambiguous": None},
    },
}


def preset(name: str) -> dict[str, Any]:
    """Return the keyword arguments of `EmpoProvider` for this preset, as a new dict."""
    if name not in PRESETS:
        raise InputError(f"preset {name!r} does not exist. Choose one of: {', '.join(PRESETS)}.")
    return dict(PRESETS[name])
