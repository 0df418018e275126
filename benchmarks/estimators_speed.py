"""The time of each estimator for a group, beside lm-polygraph's own; and of 10,000 groups: two markdown tables.

    python benchmarks/estimators_speed.py            without lm-polygraph, its column is empty
    python3 noxfile.py estimators_speed              in an environment of its own, with lm-polygraph

1. Microseconds a group, for groups of 10 and of 16 synthetic responses with all evidence (seed 0): 8 tokens each, 64
   dimensions, 15 alternatives. Both codes get the finished similarities, embeddings and log-probabilities, so that
   no model is timed. The number is the median of 5 repetitions over 40 groups; each repetition has new groups.
2. Seconds for 10,000 groups of 16 responses, from an array of labels (10000, 16) for `discrete`, and with an array of
   log-probabilities (10000, 16, 8) for `likelihood`, to an array of scores. The conversion from arrays is included.

Times are processor time of one thread (OMP_NUM_THREADS=1), which other processes change little. Exits with 1 if a time
of table 2 is 1 second or more.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is imported, which reads it

import numpy as np

from semantic_entropy import load_estimator
from semantic_entropy.errors import SemanticEntropyError
from semantic_entropy.registry import default_registry
from semantic_entropy.types import Evidence, Sample

SIZES, GROUPS, REPETITIONS, TOKENS, DIMENSIONS, ALTERNATIVES = (10, 16), 40, 5, 8, 64, 15
MANY, MANY_SIZE, LIMIT_SECONDS = 10_000, 16, 1.0
WORDS = ("the", "capital", "of", "France", "is", "Paris", "Lyon", "maybe", "about", "42")


def main() -> int:
    """Print both tables; return 1 if the second exceeds its limit."""
    peers = lm_polygraph()
    columns = [f"{who}, G = {size}" for size in SIZES for who in ("ours", "lm-polygraph")]
    print(f"| estimator | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    registry = default_registry()
    for name in sorted(registry.name_of(entry) for entry in registry.entries("estimator")):
        print(f"| `{name}` | {' | '.join(cells(name, peers.get(name)))} |", flush=True)
    print("\nmicroseconds a group; -: lm-polygraph has no such score, or is not installed\n")
    return many_groups()


def cells(name: str, peer: Any) -> list[str]:
    """The cells of a row: our time and the peer's for each size, or the reason why there is none."""
    try:
        estimator = load_estimator(name)
        found = []
        for size in SIZES:
            ours = microseconds(estimator.estimate_batch, size)
            theirs = None if peer is None else microseconds(lambda groups: [peer(each) for each in groups], size, stats)
            found += [f"{ours:.0f}", "-" if theirs is None else f"{theirs:.0f}"]
    except (SemanticEntropyError, TypeError) as error:  # a missing extra; an estimator that needs an option
        return [str(error).splitlines()[0][:60].replace("|", "/"), *[""] * (2 * len(SIZES) - 1)]
    return found


def microseconds(
    run: Callable[[list[Any]], object], size: int, prepare: Callable[[Evidence], Any] = lambda evidence: evidence
) -> float:
    """The median time of a group. The first repetition, which loads libraries, is not counted."""
    draw = random.Random(0)
    times = []
    for _ in range(REPETITIONS + 1):
        groups = [prepare(evidence(size, draw)) for _ in range(GROUPS)]
        start = time.process_time()
        run(groups)
        times.append((time.process_time() - start) / GROUPS * 1e6)
    return statistics.median(times[1:])


def evidence(size: int, draw: random.Random) -> Evidence:
    """All evidence of a group. A third of the responses are repeated."""
    labels = [0, *(draw.randrange(3) for _ in range(size - 1))]
    seen = list(dict.fromkeys(labels))
    texts = [" ".join(draw.choices(WORDS, k=TOKENS)) for _ in range(size)]
    texts[-(size // 3) :] = texts[: size // 3]
    rows = np.array([[draw.random() for _ in range(size)] for _ in range(size)])
    rows = (rows + rows.T) / 2
    np.fill_diagonal(rows, 1.0)
    similarity = tuple(map(tuple, rows.tolist()))
    logprobs = tuple(tuple(-draw.expovariate(1.0) for _ in range(TOKENS)) for _ in range(size))
    top = tuple(tuple(tuple(-2.0 - i / 4 for i in range(ALTERNATIVES)) for _ in range(TOKENS)) for _ in range(size))
    positive = tuple(tuple(draw.random() for _ in range(TOKENS)) for _ in range(size))
    vectors = tuple(tuple(draw.gauss(0, 1) for _ in range(DIMENSIONS)) for _ in range(size))
    return Evidence(
        tuple(seen.index(label) for label in labels),
        logprobs,
        responses=tuple(texts),
        texts=tuple(texts),
        question="What is the capital of France?",
        top_logprobs=top,
        token_entropies=positive,
        token_similarity=positive,
        similarity=similarity,
        greedy_similarity=similarity[0],
        embeddings=vectors,
        hidden_state=vectors,
        greedy=Sample(texts[0], logprobs[0], top_logprobs=top[0], token_entropies=positive[0], hidden_state=vectors[0]),
    )


def lm_polygraph() -> dict[str, Any]:
    """The estimators of lm-polygraph by our names; none if it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from lm_polygraph import estimators as theirs
    except ImportError as error:
        print(f"lm-polygraph is not installed ({error}): `python3 noxfile.py estimators_speed` installs it\n")
        return {}
    return {
        "eigv": theirs.EigValLaplacian(),
        "deg": theirs.DegMat(),
        "ecc": theirs.Eccentricity(),
        "kle": theirs.KernelLanguageEntropy(),
        "luq": theirs.LUQ(),
        "lexical": theirs.LexicalSimilarity("rougeL"),
        "sar": theirs.SAR(),
        "sentence_sar": theirs.SentenceSAR(),
        "eigenscore": theirs.EigenScore(),
        "cocoa": theirs.CocoaPPL(),
        "semantic_density": theirs.SemanticDensity(concat_input=False),
        "predictive": theirs.MonteCarloNormalizedSequenceEntropy(),
        "perplexity": theirs.Perplexity(),
    }


def stats(group: Evidence) -> dict[str, Any]:
    """The group in the format of lm-polygraph: a batch of one, as arrays."""
    similarity = np.asarray(group.similarity)
    contradiction = (1 - similarity) / 2
    logits = np.log(np.maximum(similarity, 1e-9))
    greedy = np.asarray(group.greedy.logprobs if group.greedy else ())
    return {
        "sample_texts": [list(group.texts or ())],
        "semantic_matrix_entail": similarity[None],
        "semantic_matrix_contra": contradiction[None],
        "semantic_matrix_entail_logits": logits[None],
        "semantic_matrix_contra_logits": np.log(contradiction + 1e-9)[None],
        "sample_sentence_similarity": similarity[None],
        "sample_token_similarity": [[np.asarray(row) for row in group.token_similarity or ()]],
        "sample_log_probs": [[sum(row) for row in group.logprobs or ()]],
        "sample_log_likelihoods": [[list(row) for row in group.logprobs or ()]],
        "sample_tokens": [[list(range(TOKENS)) for _ in group.labels]],
        "sample_embeddings": [np.asarray(group.embeddings)],
        "greedy_sentence_similarity": [np.asarray(group.greedy_similarity)],
        "greedy_log_likelihoods": [greedy],
        "greedy_semantic_matrix_contra_forward": [contradiction[0]],
        "greedy_semantic_matrix_neutral_forward": [contradiction[0]],
    }


def many_groups() -> int:
    """Print the time of table 2."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 4, (MANY, MANY_SIZE))
    logprobs = -draw.exponential(1.0, (MANY, MANY_SIZE, TOKENS))
    print(f"| {MANY} groups of {MANY_SIZE}, arrays to scores | seconds |\n|---|---:|")
    runs = [
        seconds("discrete", lambda: [Evidence(tuple(row)) for row in numbered(labels)]),
        seconds(
            "likelihood",
            lambda: [
                Evidence(tuple(row), tuple(map(tuple, tokens)))
                for row, tokens in zip(numbered(labels), logprobs.tolist(), strict=True)
            ],
        ),
    ]
    return 0 if max(runs) < LIMIT_SECONDS else 1


def numbered(labels: Any) -> Sequence[Sequence[int]]:
    """The labels of each group as 0, 1, ... without gaps."""
    present = np.stack([(labels == label).any(axis=1) for label in range(labels.max() + 1)], axis=1)
    numbers = np.cumsum(present, axis=1) - 1
    return np.take_along_axis(numbers, labels, axis=1).tolist()  # type: ignore[no-any-return]


def seconds(name: str, evidences: Callable[[], list[Evidence]]) -> float:
    """Print and return the median of 3 runs from the arrays to an array of scores."""
    estimator = load_estimator(name)
    times = []
    for _ in range(3):
        start = time.process_time()
        np.array([estimate.value for estimate in estimator.estimate_batch(evidences())])
        times.append(time.process_time() - start)
    print(f"| `{name}` | {statistics.median(times):.2f} |")
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
