"""The collapse step of a short run: how many steps this base model and this data take before agreement misleads.

He et al. (2026, arXiv 2603.08660) train a base model for a short time with a reward from agreement, and call the step
at which the reward is right for less than 1% of the completions the Model Collapse Step. It predicts how well a base
model trains. Their number needs labels. Here there are two numbers, and both are ours:

    without labels  the first step of the condition of an alarm for a collapse that fired (`COLLAPSE_ALARMS`)
    with labels     the first step at which the mean accuracy of the last 5 steps is more than 0.05 below its highest
                    value so far, while the mean majority share of the 5 steps is not below its value then

The budget is the number of steps whose weights are still good. The completions of step s are sampled from the weights
after step s - 1, so a condition that begins at step s leaves the budget s - 2; with labels, the budget is the step
before the one with the highest accuracy. A run in which neither is found says only that the budget is not smaller than
the run. Left out: a prediction for other settings. Another learning rate moves the step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLLAPSE_ALARMS = ("entropy_rise", "concentration", "variety", "unparsable", "length_drift")
_OVER = 5  # steps of a mean: the accuracy of one step is noisy
_DROP = 0.05  # of the accuracy; 32 prompts with 8 completions have a standard error of about 0.03 in a step


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A collapse alarm that fired: its name, and the first step of its condition."""

    alarm: str
    began: int


@dataclass(frozen=True, slots=True)
class Parting:
    """The steps at which the accuracy is highest, and at which it has fallen, with both means of the last 5 steps."""

    highest: int
    fallen: int
    accuracy: tuple[float, float]
    majority: tuple[float, float]


def find_suspicion(alarms: Sequence[Mapping[str, Any]]) -> Suspicion | None:
    """Return the earliest collapse alarm of the rows of `alarms.jsonl`; None if none fired."""
    found = [Suspicion(row["alarm"], row["began"]) for row in alarms if row.get("alarm") in COLLAPSE_ALARMS]
    return min(found, key=lambda suspicion: suspicion.began, default=None)


def has_accuracy(metrics: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the rows of `metrics.jsonl` have the accuracy and the majority share of enough steps."""
    return len(_measured(metrics)) >= _OVER


def find_parting(metrics: Sequence[Mapping[str, Any]]) -> Parting | None:
    """Return the steps at which majority and accuracy part; None if they do not, or if they were not measured.

    Args:
        metrics: the rows of `metrics.jsonl`, with `empo/accuracy` (empo.measure_gold) and `empo/max_p`.
    """
    means = list(_means(_measured(metrics)))
    if not means:
        return None
    highest = means[0]
    for step, accuracy, majority in means:
        if accuracy > highest[1]:
            highest = step, accuracy, majority
        elif accuracy < highest[1] - _DROP and majority >= highest[2]:
            return Parting(highest[0], step, (highest[1], accuracy), (highest[2], majority))
    return None


def budgets(suspicion: Suspicion | None, parting: Parting | None) -> tuple[int | None, int | None]:
    """Return the budget without labels and the budget with labels, in steps; None if there is none."""
    without_labels = None if suspicion is None else max(0, suspicion.began - 2)
    return without_labels, None if parting is None else max(0, parting.highest - 1)


def report(alarms: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a report about a run."""
    steps = max((int(row["step"]) for row in metrics), default=0)
    suspicion, parting = find_suspicion(alarms), find_parting(metrics)
    unlabelled, labelled = budgets(suspicion, parting)
    yield f"{steps} steps"
    if suspicion is None:
        yield f"without labels: no alarm for a collapse in {steps} steps. The budget is not known; it may be larger"
    else:
        yield f"without labels: alarm {suspicion.alarm} since step {suspicion.began}: a budget of {unlabelled} steps"
    if parting is not None:
        yield (
            f"with labels: the accuracy is highest at step {parting.highest} ({parting.accuracy[0]:.3f}) and "
            f"{parting.accuracy[1]:.3f} at step {parting.fallen}, while the majority share went from "
            f"{parting.majority[0]:.3f} to {parting.majority[1]:.3f}: a budget of {labelled} steps"
        )
    elif has_accuracy(metrics):
        yield f"with labels: the accuracy did not fall while the majority share stayed, in {steps} steps"
    else:
        yield "with labels: not measured. empo.measure_gold=true and a gold column measure the accuracy"
    known = [budget for budget in (unlabelled, labelled) if budget is not None]
    if known:
        yield f"monitor: {{alarms: {{step_budget: {{budget: {max(1, min(known))}, action: stop}}}}}}"


def _measured(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[int, float, float]]:
    """(step, accuracy, majority share) of the steps in which both were measured."""
    rows = [(row["step"], row.get("empo/accuracy"), row.get("empo/max_p")) for row in metrics]
    return [(step, float(a), float(p)) for step, a, p in rows if a is not None and p is not None]


def _means(rows: Sequence[tuple[int, float, float]]) -> Iterator[tuple[int, float, float]]:
    for end in range(_OVER, len(rows) + 1):
        last = rows[end - _OVER : end]
        yield last[-1][0], math.fsum(row[1] for row in last) / _OVER, math.fsum(row[2] for row in last) / _OVER
