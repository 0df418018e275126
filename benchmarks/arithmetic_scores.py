"""Which unsupervised score beats the mean log-probability of the greedy answer, on ../shared/data.

    python benchmarks/arithmetic_scores.py

The arithmetic of `whitebox_qwen05.jsonl`: 150 questions, a greedy answer and ten samples of a small model with
log-probabilities, the 15 most probable tokens and token entropies; 39 greedy answers are right. A row is an estimator
with a similarity: `jaccard`, or `math`, the judge that decides whether two answers are the same number. All forms are
published; none is fitted. The table has all forms that were tried, so the best of them is chosen after the fact. The
intervals are 95% bootstrap intervals; the differences are paired.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from scores import white_box_row

from semantic_entropy import Scorer, load_estimator
from semantic_entropy.evaluation import evaluate

# Internal: rows are read as a file is read.
from semantic_entropy.io import check_row
from semantic_entropy.plugin import EntropyEstimator
from semantic_entropy.tables import FieldNames
from tests.shared_data import SHARED, rows

ANSWER = ("perplexity", "discrete", "epr", "self_certainty", "min_probability", "likelihood", "predictive", "length")
COMPARED: Mapping[str, Sequence[Mapping[str, Any]]] = {  # the options of each form
    "cocoa": ({}, {"uncertainty": "mte"}, {"uncertainty": "msp"}),
    "semantic_density": ({},),
    "sentence_sar": ({},),
    "snne": ({},),
    "eigv": ({},),
    "deg": ({},),
    "kle": ({}, {"kernel": "matern"}),
}

Row = dict[str, Any]


def main() -> int:
    """Print the table."""
    if not (SHARED / "data").exists():
        print("the folder ../shared/data is missing (docs/explanation/data.md): nothing to measure")
        return 0
    table = [white_box_row(row, None) for row in rows("whitebox_qwen05.jsonl") if row["source"] == "arithmetic"]
    scores: list[dict[str, float]] = [{} for _ in table]
    add(scores, table, [load_estimator(name) for name in ANSWER])
    for similarity in ("jaccard", "math"):
        forms = [load_estimator(name, **options) for name, several in COMPARED.items() for options in several]
        add(scores, table, forms, similarity)
    certain = [name for name in scores[0] if name.startswith("semantic_density")]
    labelled = [{**row, "scores": own} for row, own in zip(table, scores, strict=True)]
    found = evaluate(labelled, confidence=certain, reference="perplexity")
    print("| score | AUROC, 95% | - perplexity, 95% |\n|---|---|---|")
    for name in sorted(scores[0], key=lambda name: -found.overall[name].auroc.value):
        of = found.overall[name].difference
        shown = f"{of.value:+.3f} ({of.low:+.3f} to {of.high:+.3f})" if of else ""
        print(f"| {name} | {found.overall[name].auroc} | {shown} |")
    print(f"\n{len(scores[0])} forms")
    return 0


def add(
    scores: list[dict[str, float]], table: list[Row], estimators: list[EntropyEstimator], similarity: str | None = None
) -> None:
    """Add the scores of these estimators to `scores`."""
    with Scorer("math", estimator=estimators, **({"similarity": similarity} if similarity else {})) as scorer:
        fields = FieldNames(evidence=scorer.needs - {"logprobs", "responses", "texts", "question"})
        groups = [group for row in table if (group := check_row(row, fields)[0])]
        for own, result in zip(scores, scorer.measure(groups), strict=True):
            own.update({f"{name}, {similarity}" if similarity else name: x for name, x in result.scores.items()})


if __name__ == "__main__":
    sys.exit(main())
