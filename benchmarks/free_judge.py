"""The cost of everything except judging: 200 groups of 10 responses with judges that cost nothing.

    python benchmarks/free_judge.py

Each group has three meanings in two wordings each. The wordings differ between groups, so every group needs verdicts.
One call of `Scorer.estimate` takes all groups. Each run has a new scorer, so no run finds the verdicts of another
run. Exits with 1 if a median reaches 0.05 s.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence

from semantic_entropy import Equivalence, Pair, Scorer, Verdict

GROUPS, RESPONSES, RUNS, SECONDS = 200, 10, 15, 0.05


class FirstLetter(Equivalence):
    """A free judge that says so (`cheap`): its verdicts are not cached."""

    cheap = True

    def judge(self, pairs: Sequence[Pair]) -> list[Verdict]:
        return [Verdict(pair.left[0] == pair.right[0]) for pair in pairs]


class CachedFirstLetter(FirstLetter):
    """The same judge without `cheap`: every verdict goes through the cache."""

    cheap = False


def main() -> int:
    """Print the table; return 1 if a median reaches the limit."""
    groups = [[f"{'abc'[i % 3]} {group} {i // 5}" for i in range(RESPONSES)] for group in range(GROUPS)]
    print(f"| {GROUPS} groups of {RESPONSES}, median of {RUNS} runs | seconds | from | to |\n|---|---|---|---|")
    judges: dict[str, Callable[[], object]] = {
        "equal texts (`exact`)": lambda: "exact",
        "a free judge (`cheap`)": FirstLetter,
        "a judge whose verdicts are kept": CachedFirstLetter,
        "a function of two strings": lambda: lambda left, right: left[0] == right[0],
    }
    medians = [report(name, judge, groups) for name, judge in judges.items()]
    return 0 if max(medians) < SECONDS else 1


def report(name: str, judge: Callable[[], object], groups: list[list[str]]) -> float:
    """Measure one judge, print its row, return its median seconds."""
    seconds = sorted(once(judge(), groups) for _ in range(RUNS))
    median = statistics.median(seconds)
    print(f"| {name} | {median:.3f} | {seconds[0]:.3f} | {seconds[-1]:.3f} |")
    return median


def once(judge: object, groups: list[list[str]]) -> float:
    """Seconds for all groups in one call."""
    with Scorer(judge) as scorer:  # type: ignore[arg-type]
        start = time.perf_counter()
        results = scorer.estimate(groups)
        seconds = time.perf_counter() - start
    assert len(results) == GROUPS
    return seconds


if __name__ == "__main__":
    sys.exit(main())
