"""How well entropy without a model detects wrong answers: AUROC on ../shared/data/samples.jsonl.

    python benchmarks/hallucination.py

If the main answer of a group has a human label, the label decides whether the group is wrong. Otherwise the group is
wrong if fewer than half of its responses are right. If a row has `preds` (extracted final answers), these are compared.
Columns: `string`, clusters of equal normalised strings (the floor); `auto`, the default of `estimate`; the intervals
are those of `semantic_entropy.evaluation`. In the last two sources the model is confidently wrong, which no consistency
method can detect: they are reported, but not in the average. The second table shows the accuracy of the `text` judge on
labelled pairs, and of a simple rule: one normalised text contains the other.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from semantic_entropy import Pair, estimate, load_equivalence
from semantic_entropy.decisions import group_label
from semantic_entropy.evaluation import compare

# Internal: the baseline must normalise words as the `text` judge does.
from semantic_entropy_plugins.text.content_words import tokens
from tests.shared_data import SHARED, rows

SOURCES = (
    *("uqnlg_triviaqa", "sac3_nq", "sac3_hotpot", "qwen_math_cot_100"),
    *("gsm8k_openai_tora", "evouna_nq", "evouna_tq"),
)
CONFIDENTLY_WRONG = ("sac3_prime", "sac3_senator")
MATHEMATICS = ("gsm8k", "qwen_math", "math_verify", "nemo")


def main() -> int:
    """Print both tables."""
    if not (SHARED / "data").exists():
        print("the folder ../shared/data is missing (docs/explanation/data.md): nothing to measure")
        return 0
    samples = rows("samples.jsonl")
    print("| source | groups | wrong | string | auto | auto - string, 95% | judged by |\n|---|---|---|---|---|---|---|")
    measured = [one_source(source, samples) for source in SOURCES]
    means = [sum(column) / len(measured) for column in zip(*measured, strict=True)]
    print(f"| **mean** | | | {means[0]:.3f} | {means[1]:.3f} | | |")
    for source in CONFIDENTLY_WRONG:
        one_source(source, samples)
    pairs()
    return 0


def one_source(source: str, samples: list[dict[str, Any]]) -> tuple[float, float]:
    """Print a row of the first table; return both AUROC."""
    groups = [row for row in samples if row["source"] == source]
    wrong = [is_wrong(row) for row in groups]
    responses = [[answer or "" for answer in row.get("preds", row["responses"])] for row in groups]
    auto = estimate(responses, question=[row["question"] for row in groups])
    string = estimate(responses, equivalence="exact", extract=normalised)
    judges = Counter(result.provenance.equivalence for result in auto)
    table = compare({"string": string.entropies, "auto": auto.entropies}, wrong)
    scores = table["string"].auroc.value, table["auto"].auroc.value
    judged = ", ".join(f"{name} {count}" for name, count in judges.most_common())
    difference = table["auto"].difference
    assert difference is not None
    print(
        f"| {source} | {len(groups)} | {sum(wrong)} | {scores[0]:.3f} | {scores[1]:.3f} "
        f"| {difference.low:+.3f} to {difference.high:+.3f} | {judged} |"
    )
    return scores


def is_wrong(row: dict[str, Any]) -> bool:
    """Whether the answer is wrong. Clusters are not used, so that the truth is the same for all judges."""
    label = group_label(row)
    assert label is not None
    return label.wrong


def normalised(text: str) -> str:
    """The words and numbers of a text in order, in lower case."""
    return " ".join(tokens(text))


def pairs() -> None:
    """Print the accuracy on labelled pairs."""
    judge, table = load_equivalence("text"), rows("pairs.jsonl")
    print("\n| pairs | n | containment | text | text: wrongly the same |\n|---|---|---|---|---|")
    for source in dict.fromkeys(row["source"] for row in table if not row["source"].startswith(MATHEMATICS)):
        some = [row for row in table if row["source"] == source]
        truth = [row["equivalent"] for row in some]
        verdicts = [bool(v.same) for v in judge.judge([Pair(row["question"], row["a"], row["b"]) for row in some])]
        contained = [contains(row["a"], row["b"]) for row in some]
        wrongly = sum(v and not t for v, t in zip(verdicts, truth, strict=True)) / len(some)
        cells = [f"{accuracy(contained, truth):.3f}", f"{accuracy(verdicts, truth):.3f}", f"{wrongly:.3f}"]
        print(f"| {source} | {len(some)} | {' | '.join(cells)} |")


def contains(left: str, right: str) -> bool:
    """Whether one normalised text contains the other."""
    one, other = f" {normalised(left)} ", f" {normalised(right)} "
    return one in other or other in one


def accuracy(verdicts: list[bool], truth: list[bool]) -> float:
    """Share of right verdicts."""
    return sum(v == t for v, t in zip(verdicts, truth, strict=True)) / len(truth)


if __name__ == "__main__":
    sys.exit(main())
