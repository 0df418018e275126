r"""Replay stored responses through the rule of `n="auto"`: the same decision, the responses drawn, and the AUROC.

    python benchmarks/fewer_samples.py [--orders 20] [--seed 0]

The groups are the real groups of `interval_coverage`: one model, at least 8 responses, clustered once. Each replay puts
the responses of a group into a random order, and draws from the front of it: 3, then 2 more, ..., up to all responses.
A decision (entropy above the threshold or not) is the same if it equals the decision on all responses of the group.

"fixed n" draws n responses of each group. "fixed n, as many" is the smallest n that costs as many responses as auto.
AUROC: the entropy against wrong groups (`group_label`), the mean over the sources that have both labels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.interval_coverage import real_groups
from semantic_entropy.decisions import group_label
from semantic_entropy.estimators import Discrete
from semantic_entropy.sampling import StoppingRule
from semantic_entropy.types import Evidence, Labels, by_first_appearance

THRESHOLDS = (0.3, 0.5, 0.7, 1.0)
FIXED = (3, 4, 5, 6, 8)


def entropy(labels: Sequence[int]) -> float:
    """The discrete entropy of the first responses, in nats."""
    return Discrete().estimate(Evidence(by_first_appearance(labels))).value


@dataclass
class Outcome:
    """One way to draw: for each group of each replay, its entropy, the number of its responses, the same decision."""

    entropies: list[float]
    drawn: list[int]
    same: list[bool]

    def add(self, labels: Labels, n: int, threshold: float) -> None:
        """Record a group whose first n responses were drawn."""
        found = entropy(labels[:n])
        self.entropies.append(found)
        self.drawn.append(n)
        self.same.append((found > threshold) == (entropy(labels) > threshold))


def auto(labels: Labels, threshold: float) -> int:
    """The number of responses that `n="auto"` draws."""
    rule = StoppingRule(threshold, max_n=len(labels))
    return next(n for n in rule.rounds() if rule.is_settled(labels[:n], rule.max_n - n))


def auroc(groups: Sequence[dict[str, Any]], wrong: Sequence[bool], entropies: Sequence[float]) -> float:
    """The mean over the sources; the entropies of all replays stand one after the other."""
    sources = np.array([row["source"] for row in groups] * (len(entropies) // len(groups)))
    labels, values = np.array([*wrong] * (len(entropies) // len(groups))), np.array(entropies)
    chosen = [source for source in np.unique(sources) if len(set(labels[sources == source])) > 1]
    return float(np.mean([roc_auc_score(labels[sources == s], values[sources == s]) for s in chosen]))


def main() -> None:
    """Print a table for the thresholds, and one for fixed numbers of responses."""
    parser = argparse.ArgumentParser(description='Replay of n="auto" on real groups.')
    parser.add_argument("--orders", type=int, default=20, help="random orders of each group's responses")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start, groups = time.process_time(), real_groups()
    found = [group_label(row, clusters=row["labels"]) for row in groups]
    labelled = [(row, label.wrong) for row, label in zip(groups, found, strict=True) if label is not None]
    groups, wrong = [row for row, _ in labelled], [is_wrong for _, is_wrong in labelled]
    rng = np.random.default_rng(options.seed)
    replays = [tuple(rng.permutation(row["labels"]).tolist()) for _ in range(options.orders) for row in groups]
    total = sum(map(len, replays))
    alike = np.mean([len(set(row["labels"])) == 1 for row in groups])
    whole = auroc(groups, wrong, list(map(entropy, replays)))
    print(
        f"{len(groups)} groups, {total / len(replays):.1f} responses each, {options.orders} orders; in {alike:.0%} of "
        f"the groups all responses agree; AUROC with all responses {whole:.3f}"
    )
    print(
        "\n| threshold | above it | auto: responses drawn | same decision | of those above | AUROC "
        "| fixed n, as many | same decision | of those above | AUROC |\n|---|" + "---:|" * 9
    )
    for threshold in THRESHOLDS:
        above = np.array([entropy(labels) > threshold for labels in replays])
        rule, fixed = Outcome([], [], []), Outcome([], [], [])
        for labels in replays:
            rule.add(labels, auto(labels, threshold), threshold)
        n = int(np.ceil(np.mean(rule.drawn)))
        for labels in replays:
            fixed.add(labels, n, threshold)
        cells = [f"{threshold}", f"{above.mean():.0%}"]
        for outcome, drawn in ((rule, ""), (fixed, f"n = {n}: ")):
            share = f"{drawn}{sum(outcome.drawn) / total:.0%}"
            same = np.array(outcome.same)
            score = auroc(groups, wrong, outcome.entropies)
            cells += [share, f"{same.mean():.1%}", f"{same[above].mean():.1%}", f"{score:.3f}"]
        print(f"| {' | '.join(cells)} |")
    print("\n| fixed n | responses drawn | AUROC |\n|---|---:|---:|")
    for n in FIXED:
        score = auroc(groups, wrong, [entropy(labels[:n]) for labels in replays])
        print(f"| {n} | {n * len(replays) / total:.0%} | {score:.3f} |")
    print(f"\n{time.process_time() - start:.0f} CPU seconds")


if __name__ == "__main__":
    main()
