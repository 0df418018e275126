"""Sets of choices of an `EmpoProvider` by name: the paper's, those of its official code, and TTRL's.

    EmpoProvider(**preset("official-trl-natural"), equivalence="verifier")

A preset says how agreement is paid, not who judges it: `equivalence` and `extract` stay yours. The official code
compares mathematics as strings, so that 1/2 and 0.5 differ; `equivalence="exact"` does that. It puts all answers
that it cannot read into one cluster, where here each is its own, since an answer that cannot be read is no meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from semantic_entropy import InputError

_NO_WINDOW: Mapping[str, Any] = {"delta_low": -math.inf, "delta_high": math.inf}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Eq. 1-3. The paper prints no value for either bound: groups that agree entirely go, no other.
    "paper": {"reward": "empo", "invalid": "singleton_zero", "delta_low": 0.0, "delta_high": math.inf},
    # p where H < ln G, else 0; unreadable answers 0. Groups stay in the loss.
    "official-trl-math": {
        "reward": "empo",
        "invalid": "singleton_zero",
        "delta_low": -math.inf,
        "delta_high": 1.0,
        "delta_units": "normalized",
        "outside": "zero",
    },
    # p; unreadable answers -0.5; copied from the question 0; a largest share below 0.2 pays 0.
    "official-trl-natural": {
        "reward": "empo",
        "invalid": "penalty",
        **_NO_WINDOW,
        "max_p_low": 0.2,
        "outside": "zero",
        "guards": {"copied": 0.0},
    },
    # count / n for every answer, readable or not.
    "official-verl": {"reward": "empo", "invalid": "singleton_prob", **_NO_WINDOW},
    # The majority's answer as if it were the gold one.
    "ttrl": {"reward": "majority", "invalid": "singleton_zero"},
}


def preset(name: str) -> dict[str, Any]:
    """The keyword arguments of `EmpoProvider` that make up the preset, as a fresh dict."""
    if name not in PRESETS:
        raise InputError(f"preset {name!r} does not exist. Choose one of: {', '.join(PRESETS)}.")
    return dict(PRESETS[name])
