"""The share of judging in a training step: the `math` judge in `EmpoProvider`, and the official method, in one run.

    python benchmarks/judging_cost.py [--prompts 256] [--generations 16] [--steps 2] [--step-seconds 392]

A step has 256 prompts with 16 completions, as in the paper's 7B runs on mathematics. The default duration of a step,
392 s, is that of the paper: its GRPO run took 8.5 hours on 8 A100s (Table 4) for 20,000 / 256 steps of one epoch.
Give the duration of your own step. One process judges all completions; several processes would share the work.

    own        responses of one question, drawn with repetition; all questions of a step differ: 66 competition
               questions answered by one model, the others school questions answered by six systems
    mixed      final answers of several competition questions in surface variants; this is harder than the answers of
               a policy, and no two groups are equal

`official` is the method of the official TRL code, written from its description, one group after the other: it parses
each response with math-verify, and compares it with the representatives so far by `verify`. Its seconds are those of
`--sample` groups, scaled to the step. Nothing is remembered between steps. Each row also shows the mean number of
distinct answers and the mean semantic entropy of a group. Exits with 1 if `own` takes 1% of the step or more.
"""

from __future__ import annotations

import argparse
import logging
import random
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.clustering_math import mixed, parse_and_verify, wrapped
from empo_rl import EmpoProvider
from semantic_entropy.plugin import boxed
from tests.shared_data import SHARED, rows

SOURCES = ("qwen_math_cot_100", "gsm8k_openai_tora")
PAPER_STEP = 8.5 * 3600 / (20_000 / 256)


def steps_of(regime: str, count: int, prompts: int, size: int) -> list[list[list[str]]]:
    """`count` batches of `prompts` groups of `size` completions."""
    make = mixed if regime == "mixed" else own_answers
    return [make(size, prompts, random.Random(f"{regime} {step}")) for step in range(count)]


def own_answers(size: int, count: int, draw: random.Random) -> list[list[str]]:
    """Groups of different questions: first all competition questions, then school questions."""
    by_source = {source: [row for row in rows("samples.jsonl") if row["source"] == source] for source in SOURCES}
    competition, school = (draw.sample(found, len(found)) for found in by_source.values())
    questions = [*competition[:count], *school][:count]
    if len(questions) < count:
        raise SystemExit(f"--prompts {count}: only {len(questions)} questions have answers of real models")
    return [draw.choices([boxed_text(row, i) for i in range(len(row["responses"]))], k=size) for row in questions]


def boxed_text(row: Mapping[str, Any], index: int) -> str:
    """The response; if it has no box, its final answer is added in a box."""
    response: str = row["responses"][index]
    return response if boxed(response) is not None else f"{response}\n{wrapped(row['preds'][index])}"


def ours(batches: list[list[list[str]]]) -> tuple[float, float]:
    """Median seconds of a step, without the start of the workers; mean entropy of its groups, in nats."""
    times, entropies = [], []
    for batch in batches:
        with EmpoProvider("math", extract="boxed") as provider:
            provider.step([[r"\boxed{1}", r"\boxed{2}", r"\boxed{\sqrt{2}}"]])
            start = time.perf_counter()
            decision = provider.step(batch)
            times.append(time.perf_counter() - start)
            entropies.append(decision.metrics["entropy"])
    return statistics.median(times), statistics.mean(entropies)


def official(groups: list[list[str]], prompts: int) -> float:
    """Seconds of a step, estimated from a part of its groups."""
    start = time.perf_counter()
    for group in groups:
        parse_and_verify(group)
    return (time.perf_counter() - start) * prompts / len(groups)


def main() -> int:
    """Print a row for each regime."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--generations", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--sample", type=int, default=32, help="number of groups for the time of the official method")
    parser.add_argument("--step-seconds", type=float, default=PAPER_STEP)
    options = parser.parse_args()
    if not SHARED.exists():
        print("the folder ../shared/data is missing (docs/explanation/data.md): nothing to judge", file=sys.stderr)
        return 1
    logging.disable(logging.WARNING)  # math-verify logs each timeout
    print(
        f"{options.prompts} prompts x {options.generations} completions a step of {options.step_seconds:.0f} s\n\n"
        "| answers | distinct answers a group | H, nats | `math`, s | share | official, s | share | times faster |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    worst = 0.0
    for regime in ("own", "mixed"):
        batches = steps_of(regime, options.steps, options.prompts, options.generations)
        mine, entropy = ours(batches)
        texts = statistics.mean(len({boxed(text) for text in group}) for batch in batches for group in batch)
        theirs = official(random.Random(0).sample(batches[0], min(options.sample, options.prompts)), options.prompts)
        share = mine / options.step_seconds
        worst = max(worst, share if regime == "own" else 0.0)
        print(
            f"| {regime} | {texts:.1f} | {entropy:.2f} | {mine:.2f} | {share:.2%} | {theirs:.1f} | "
            f"{theirs / options.step_seconds:.2%} | {theirs / mine:.0f} |",
            flush=True,
        )
    return int(worst >= 0.01)


if __name__ == "__main__":
    sys.exit(main())
