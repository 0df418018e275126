"""The score of a long answer: how little the other samples support its sentences. Higher is MORE uncertain.

`semantic_entropy.long_answers` has the formulas and their sources.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.estimators.base import EntropyEstimator, name_with_options
from semantic_entropy.types import Estimate, Evidence

RollUp = Literal["mean", "max"]


class Unsupported(EntropyEstimator):
    """How little the samples support the sentences of an answer, in [0, 1].

    Args:
        roll_up: "mean": the mean over the sentences, as in SelfCheckGPT and LUQ; "max": the least supported sentence.

    Raises:
        InputError: the roll-up is unknown.
    """

    name = "unsupported"
    requires = frozenset({"long_answer"})

    def __init__(self, roll_up: str = "mean") -> None:
        if roll_up not in get_args(RollUp):
            raise InputError(
                f"roll_up={roll_up!r} of the estimator 'unsupported' is unknown: use one of "
                f"{', '.join(get_args(RollUp))}"
            )
        self.roll_up = roll_up

    def describe(self) -> str:
        return name_with_options(self.name, roll_up=(self.roll_up, "mean"))

    def check(self, evidence: Evidence) -> None:
        if evidence.long_answer is None:
            raise EvidenceError(
                f"estimator {self.name!r} needs the sentences of a long answer: pass long=True (--long), and responses"
            )

    def estimate(self, evidence: Evidence) -> Estimate:
        assert evidence.long_answer is not None
        found = evidence.long_answer
        value = found.uncertainty if self.roll_up == "mean" else found.highest
        if math.isnan(value):
            return Estimate(value, note=f"{self.name} is unknown: too few {found.unit}s have a known support")
        return Estimate(value)
