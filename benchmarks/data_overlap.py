"""The time of the search for duplicates and overlap: processor seconds for N rows against M questions.

    python benchmarks/data_overlap.py QUESTIONS.jsonl [ROWS ...]

QUESTIONS.jsonl holds real questions (column question). If more questions are needed, the words of real questions are
shuffled, which keeps their lengths and words; few of these are near. M is 18,623, about the number of questions in
all sets of `empo-eval` (MATH-500, Minerva, OlympiadBench, AIME24, AMC23, Omni-MATH, MMLU-Pro, GPQA diamond and main).
"""

from __future__ import annotations

import itertools
import random
import resource
import sys
import time
from pathlib import Path

# Internal: `empo-data` does not report the time of the index and of the rows separately.
from empo_rl.data.comparison_sets import EvaluationSet
from empo_rl.data.overlap import ComparedQuestion, NearCriterion, OverlapIndex
from empo_rl.data.records import jsonl_records

M = 500 + 272 + 675 + 30 + 40 + 4428 + 12032 + 198 + 448
ROWS = (5_000, 10_000, 20_000, 40_000)


def make_questions(texts: list[str], count: int, seed: int) -> list[ComparedQuestion]:
    """`count` questions: first the real ones, then shuffled ones."""
    random_ = random.Random(seed)
    found = []
    for number, text in zip(range(count), itertools.cycle(texts), strict=False):
        words = text.split()
        if number >= len(texts):
            random_.shuffle(words)
        found.append(ComparedQuestion(f"{seed}:{number}", " ".join(words)))
    return found


def main() -> None:
    """Print one line for each number of rows."""
    path, *counts = sys.argv[1:]
    texts = [str(record["question"]) for _, record in jsonl_records(Path(path))]
    print(f"{'rows':>8} {'against':>8} {'index s':>8} {'rows s':>8} {'ms a row':>9} {'found':>6} {'peak MiB':>9}")
    for count in [int(one) for one in counts] or ROWS:
        sets = [EvaluationSet("all", tuple(make_questions(texts[::2], M, seed=1)))]
        begun = time.process_time()
        overlap_index = OverlapIndex(sets, NearCriterion())
        indexed = time.process_time()
        found = 0
        for question in make_questions(texts[1::2], count, seed=2):
            found += len(overlap_index.find(question))
            overlap_index.add(question)
        took = time.process_time() - indexed
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        index = indexed - begun
        print(f"{count:>8,} {M:>8,} {index:>8.1f} {took:>8.1f} {took / count * 1e3:>9.2f} {found:>6} {peak:>9.0f}")


if __name__ == "__main__":
    main()
