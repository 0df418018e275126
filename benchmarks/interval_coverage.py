r"""Measure the bias of the entropy estimators, and how often `Result.interval` contains the true value.

    python benchmarks/interval_coverage.py [--trials 120] [--seed 0]

Each trial draws n meanings from a known distribution (a world), and compares estimates and intervals with the entropy
of the world, and with the probability of the meaning that was drawn most often. The worlds:

    uniform 3, uniform 10    3 and 10 meanings with equal probabilities
    zipf                     30 meanings, p proportional to 1 / rank
    dirichlet                10 meanings, a new distribution from Dirichlet(1, ..., 1) in each trial
    peaked                   one meaning with p = 0.9, five with p = 0.02
    real                     the clusters of a group of ../shared/data/samples.jsonl: groups of one model with at least
                             8 responses, clustered once with the judge that `auto` chooses; a new group in each trial

The worlds have no texts. For `coverage`, two responses have the similarity 1 if they have one meaning, else 0. An
average over worlds gives each world the same weight.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from semantic_entropy import Scorer
from semantic_entropy.estimators import Discrete, EntropyEstimator
from semantic_entropy.estimators.posterior import Bayes, Floats, interval
from semantic_entropy.estimators.unseen import ChaoShen, Coverage, Grassberger, MillerMadow, cluster_sizes
from semantic_entropy.types import Evidence, by_first_appearance
from tests.shared_data import rows

SIZES = (3, 5, 8, 10, 16, 32, 64)
ESTIMATORS: tuple[EntropyEstimator, ...] = (Discrete(), MillerMadow(), ChaoShen(), Coverage(), Grassberger(), Bayes())
FEWEST = 8  # responses of a real group: fewer say nothing about a distribution
World = Callable[[np.random.Generator], Floats]
"""A random generator -> the probabilities of the meanings."""


def real_groups() -> list[dict[str, Any]]:
    """The rows of one model with at least `FEWEST` responses, each with the `labels` of its clusters."""
    chosen = [row for row in rows("samples.jsonl") if not row["multi_model"] and len(row["responses"]) >= FEWEST]
    with Scorer() as scorer:
        results = scorer.estimate([row["responses"] for row in chosen], question=[row["question"] for row in chosen])
    return [{**row, "labels": result.labels} for row, result in zip(chosen, results, strict=True)]


def worlds() -> dict[str, World]:
    """The worlds by name."""
    real = [np.bincount(row["labels"]) / len(row["labels"]) for row in real_groups()]
    zipf = 1 / np.arange(1, 31)
    peaked = np.array([0.9, *[0.02] * 5])
    return {
        "uniform 3": lambda _: np.full(3, 1 / 3),
        "uniform 10": lambda _: np.full(10, 1 / 10),
        "zipf": lambda _: zipf / zipf.sum(),
        "dirichlet": lambda rng: rng.dirichlet(np.ones(10)),
        "peaked": lambda _: peaked,
        "real": lambda rng: real[rng.integers(len(real))],
    }


def trial(probabilities: Floats, n: int, rng: np.random.Generator) -> dict[str, float]:
    """Draw n meanings, and compare estimates and intervals with the truth."""
    drawn = rng.choice(len(probabilities), n, p=probabilities)
    labels = by_first_appearance(drawn.tolist())
    similarity = tuple(tuple(float(a == b) for b in labels) for a in labels)
    evidence = Evidence(labels, similarity=similarity)
    positive = probabilities[probabilities > 0]
    truth = float(-(positive * np.log(positive)).sum())
    largest = float(probabilities[max(drawn, key=np.bincount(drawn).__getitem__)])
    found = interval(cluster_sizes(labels))
    measured = {each.name: each.estimate(evidence).value - truth for each in ESTIMATORS}
    for name, (low, high), true in (("H", found.entropy, truth), ("p", found.majority, largest)):
        measured[f"{name} covered"] = float(low - 1e-9 <= true <= high + 1e-9)
        measured[f"{name} width"] = high - low
    return measured


def print_table(title: str, names: list[str], values: dict[tuple[str, int], float], digits: int) -> None:
    """Print a Markdown table with a row for each name, and a column for each n."""
    print(f"\n{title}\n\n| n | {' | '.join(map(str, SIZES))} |\n|---|{'---:|' * len(SIZES)}")
    for name in names:
        print(f"| {name} | {' | '.join(f'{values[name, n]:.{digits}f}' for n in SIZES)} |")


def main() -> None:
    """Run the trials, and print the tables."""
    parser = argparse.ArgumentParser(description="Bias of the estimators and coverage of the intervals.")
    parser.add_argument("--trials", type=int, default=120, help="for each world and n")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start, chosen = time.process_time(), worlds()
    means: dict[tuple[str, str, int], float] = {}
    for index, (world, distribution) in enumerate(chosen.items()):
        for n in SIZES:
            rng = np.random.default_rng([options.seed, index, n])
            trials = [trial(distribution(rng), n, rng) for _ in range(options.trials)]
            for name in trials[0]:
                means[world, name, n] = float(np.mean([each[name] for each in trials]))

    def averaged(name: str) -> dict[tuple[str, int], float]:
        return {(name, n): float(np.mean([means[world, name, n] for world in chosen])) for n in SIZES}

    def by_world(name: str) -> dict[tuple[str, int], float]:
        single = {(world, n): means[world, name, n] for world in chosen for n in SIZES}
        return single | {("average", n): averaged(name)[name, n] for n in SIZES}

    names = [each.name for each in ESTIMATORS]
    bias = {key: value for name in names for key, value in averaged(name).items()}
    print_table("Bias in nats, average over the worlds", names, bias, 2)
    for letter, what in (("H", "the entropy"), ("p", "the probability of the largest meaning")):
        rows_shown = [*chosen, "average"]
        print_table(f"Coverage of the interval for {what}", rows_shown, by_world(f"{letter} covered"), 2)
        print_table(f"Mean width of the interval for {what}", rows_shown, by_world(f"{letter} width"), 2)
    print(f"\n{options.trials} trials for each world and n, {time.process_time() - start:.0f} CPU seconds")


if __name__ == "__main__":
    main()
