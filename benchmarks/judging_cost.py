"""What judging costs of a training step: the `math` judge in `EmpoProvider` and the official way of clustering, in one
run.

    python benchmarks/judging_cost.py [--prompts 256] [--generations 16] [--steps 2] [--step-seconds 392]

A step has 256 prompts with 16 completions, as the paper's 7B mathematics runs. The default length of a step is the
paper's: 8.5 hours of its GRPO run on 8 A100s (Table 4) over 20,000 / 256 steps of one epoch, 392 s; give the length of
your own. All completions are judged in one place, as for one process that trains on all of them; more processes share
the work.

    own        a question's own responses, drawn with repetition, every question of a step another one: 66 competition
               questions answered by one model and, for the rest, school questions answered by six systems
    mixed      final answers of several competition questions, each in surface variants: harder than a policy's own
               answers, and no two groups agree

`official` is the way of the official TRL code written from its description, one group after the other: parse each
response with math-verify, then compare it with the representatives so far by `verify`; its seconds are those of
`--sample` groups scaled to the step. Nothing is remembered from step to step. Beside each row stand its distinct
answers and the mean semantic entropy of a group: what there is to judge. Ends with 1 where `own` takes 1% of the step.
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
    """Each group another question: as many competition questions as there are, then school questions."""
    by_source = {source: [row for row in rows("samples.jsonl") if row["source"] == source] for source in SOURCES}
    competition, school = (draw.sample(found, len(found)) for found in by_source.values())
    questions = [*competition[:count], *school][:count]
    if len(questions) < count:
        raise SystemExit(f"--prompts {count}: there are {len(questions)} questions with answers of real models")
    return [draw.choices([boxed_text(row, i) for i in range(len(row["responses"]))], k=size) for row in questions]


def boxed_text(row: Mapping[str, Any], index: int) -> str:
    """The response, or where it has no box its final answer in one."""
    response: str = row["responses"][index]
    return response if boxed(response) is not None else f"{response}\n{wrapped(row['preds'][index])}"


def ours(batches: list[list[list[str]]]) -> tuple[float, float]:
    """Median seconds of a step, workers started before the clock; and the mean H of its groups, in nats."""
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
    """Seconds of a step, from a part of its groups."""
    start = time.perf_counter()
    for group in groups:
        parse_and_verify(group)
    return (time.perf_counter() - start) * prompts / len(groups)


def main() -> int:
    """Both regimes, a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--generations", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--sample", type=int, default=32, help="groups that the official way is timed on")
    parser.add_argument("--step-seconds", type=float, default=PAPER_STEP)
    options = parser.parse_args()
    if not SHARED.exists():
        print("the answers of real models are not beside this checkout: nothing to judge", file=sys.stderr)
        return 1
    logging.disable(logging.WARNING)  # math-verify reports each of its time-outs
    print(
        f"{options.prompts} prompts x {options.generations} completions a step of {options.step_seconds:.0f} s\n\n"
        "| answers | answers a group | H, nats | `math`, s | of the step | official, s | of the step | times faster |\n"
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
