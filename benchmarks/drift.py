"""How often `semantic-entropy drift` reports a drift: on halves of one source, and between sources.

    python benchmarks/drift.py

Each group is measured with the judge `text` (discrete entropy). "false alarms": a source is split into two random
halves, of which one is the calibration. "power": 100 groups of a source are the calibration, and 50 groups of another
source are compared with it. All draws with seed 0; level 0.05.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
from scipy import stats

from semantic_entropy import estimate
from semantic_entropy.decisions import Calibration, learn_then_test
from semantic_entropy.decisions.calibration import CalibratedScore, LabelCounts, Mapped
from semantic_entropy.decisions.score_drift import compare_scores
from tests.shared_data import SHARED, rows

STEPS, DRAWS = 100, 400


def learned_from(values: np.ndarray) -> Calibration:
    """A calibration that has only what `drift` reads: the quantiles and the counts."""
    known = sorted(value for value in values if math.isfinite(value))
    ranks = [max(0, -(-k * len(known) // STEPS) - 1) for k in range(STEPS + 1)]
    return Calibration(
        scores=(CalibratedScore("discrete", higher_is_uncertain=True),),
        method="platt",
        parameters=Mapped(0.0, (1.0,), (0.0,), (1.0,)),
        conditions=None,
        labels=LabelCounts(len(values), 0, 0, 0, "main"),
        guarantee=learn_then_test([], [], [], 0.1),
        quantiles=tuple(known[rank] for rank in ranks),
        unknown=len(values) - len(known),
    )


def is_drift(then: np.ndarray, now: np.ndarray) -> bool:
    """Whether a drift is reported."""
    return compare_scores(learned_from(then), [{"discrete": float(value)} for value in now]).is_seen


def is_shift(then: np.ndarray, now: np.ndarray) -> bool:
    """Whether the test of Mann and Whitney, which `drift` does not use, sees a shift."""
    ranked = [np.nan_to_num(values, nan=99.0) for values in (then, now)]
    return bool(stats.mannwhitneyu(*ranked, method="asymptotic").pvalue < 0.05)


def measured() -> dict[str, np.ndarray]:
    """The entropies of each source in which one model answered; nan: fewer than two valid answers."""
    sources = defaultdict(list)
    for row in rows("samples.jsonl"):
        if not row.get("multi_model"):
            sources[row["source"]].append(row)
    found = {}
    for source, of_source in sources.items():
        responses = [row["responses"][:10] for row in of_source]
        results = estimate(responses, question=[row["question"] or None for row in of_source], equivalence="text")
        values = [each.entropy if each.n_valid > 1 else math.nan for each in results]
        found[source] = np.array([float(f"{value:.9g}") for value in values])  # equal entropies are equal: `risk_score`
    return found


def main() -> None:
    """Print both tables."""
    if not (SHARED / "data").exists():
        print("the folder ../shared/data is missing (docs/explanation/data.md): nothing to measure")
        return
    rng = np.random.default_rng(0)
    sources = measured()
    print("| source | groups | false alarms |\n|---|---|---|")
    for source, values in sources.items():
        alarms = 0
        for _ in range(DRAWS):
            order, half = rng.permutation(len(values)), len(values) // 2
            alarms += is_drift(values[order[:half]], values[order[half:]])
        print(f"| {source} | {len(values)} | {alarms / DRAWS:.1%} |")
    print("\n| then | now | AUC | drift seen | by Mann-Whitney |\n|---|---|---|---|---|")
    for then, now in itertools.combinations(sources, 2):
        pairs = [(rng.choice(sources[then], 100), rng.choice(sources[now], 50)) for _ in range(DRAWS // 4)]
        auc = compare_scores(learned_from(sources[then]), [{"discrete": float(v)} for v in sources[now]]).risk.auc
        seen = [np.mean(list(itertools.starmap(test, pairs))) for test in (is_drift, is_shift)]
        print(f"| {then} | {now} | {auc:.3f} | {seen[0]:.0%} | {seen[1]:.0%} |")


if __name__ == "__main__":
    main()
