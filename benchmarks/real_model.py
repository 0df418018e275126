r"""Train a real instruct model without labels: EMPO and the control `random`, with LoRA, on arithmetic in words.

    python benchmarks/real_model.py --model PATH --directory DIR [--arms empo random] [--steps 24]

The steps, each with a command of this package:

    1. difficulty   `empo-eval` with 4 samples of each of PROBED questions, from an easy level to harder or easier
                    ones, until the share of right samples is 30% to 60%; the level nearest to 45% is used
    2. before       `empo-eval`, greedy, on the held-out questions
    3. each arm     `empo-train` with 4 prompts x 8 completions of at most 64 tokens a step, then `empo-eval` of the
                    checkpoint in the middle and of the last step
    4. report       `empo-eval --compare`: pass@1 before and after, and of each arm against `random`, with 95% paired
                    bootstrap intervals over the questions; the numbers of each step; samples

The questions are made here from the seed. No question of the training is held out. Gold answers are read only to
choose the level and to report the accuracy (`empo.measure_gold`); no reward and no filter reads them. One seed: the
intervals cover the choice of the questions, not the seed of the training.

Everything is in DIR, with a checkpoint every 2 steps. After an interruption, the same command continues: finished
evaluations are read again, and a run continues from its last checkpoint. Progress is on stderr, the report on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

# Internal: the rows of a run have no public name.
from empo_rl.files.metrics_file import read_metrics

LEVELS = [(1, 20), (1, 100), (2, 20), (2, 50), (2, 100), (3, 100), (3, 1000)]
"""For each level, the number of operations and the largest number in a question."""
LOWEST, HIGHEST, TARGET = 0.3, 0.6, 0.45  # the share of right samples
PROBED, PROBE_SAMPLES = 24, 4
PROMPTS, COMPLETIONS, TOKENS = 4, 8, 64
SYSTEM = "Reply with one short line: the calculation, and its result as the last number. Write no words."
LEARNING_RATE = 2e-4  # of the adapter; 24 steps with the 1e-6 of full training would change nothing
NAMES = ["Ann", "Ben", "Carla", "David", "Elif", "Farid", "Grace", "Hugo", "Ines", "Jun", "Kofi", "Lena"]
THINGS = ["apples", "books", "coins", "marbles", "pencils", "stamps", "tickets", "shells", "buttons", "stickers"]


def make_question(dice: random.Random, operations: int, largest: int) -> dict[str, str]:
    """A question in words with this number of operations, each a sum, a difference, or a product with 2 to 9."""
    name, thing = dice.choice(NAMES), dice.choice(THINGS)
    value = dice.randint(largest // 4, largest)
    sentences = [f"{name} has {value} {thing}."]
    for _ in range(operations):
        kind = dice.choice(["more", "less", "less", "times"] if value <= largest else ["less", "more"])
        if kind == "more":
            number = dice.randint(2, largest)
            value += number
            sentences.append(dice.choice([f"{name} buys {number} more.", f"A friend gives {name} {number} {thing}."]))
        elif kind == "less" and value > 2:
            number = dice.randint(2, min(value, largest))
            value -= number
            sentences.append(dice.choice([f"{name} sells {number} of them.", f"{name} loses {number} {thing}."]))
        else:
            factor = dice.randint(2, 9)
            value *= factor
            sentences.append(f"Then {name} finds a box, and now has {factor} times as many {thing}.")
    return {"question": f"{' '.join(sentences)} How many {thing} does {name} have now?", "answer": str(value)}


def make_questions(seed: int, level: int, count: int, without: Sequence[dict[str, str]] = ()) -> list[dict[str, str]]:
    """Different questions of a level, none of which is in `without`. The seed decides them."""
    dice = random.Random(f"{seed} {level} {len(without)}")
    asked = {row["question"] for row in without}
    rows: list[dict[str, str]] = []
    while len(rows) < count:
        row = make_question(dice, *LEVELS[level])
        if row["question"] not in asked:
            asked.add(row["question"])
            rows.append(row)
    return rows


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Write the rows as JSONL, unless the file exists."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(command: str, *arguments: str, shown: bool = False) -> None:
    """Run a command of the package, in a process of its own, whose memory ends with it.

    What it prints goes to stderr, unless it is `shown`. If it fails, this command ends with its exit status.
    """
    print(f"$ {shlex.join([command, *arguments])}", file=sys.stderr, flush=True)
    program = f"import sys; from {COMMANDS[command]} import main; sys.argv[0] = {command!r}; main()"
    environment = {**os.environ, **({} if torch.cuda.is_available() else {"OMP_NUM_THREADS": str(THREADS)})}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], env=environment, stdout=None if shown else sys.stderr
    )
    # Ctrl-C reaches both processes: this one waits for the other. SIGTERM is passed on, and `empo-train` ends after its
    # step.
    before = [
        signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
    ]
    status = process.wait()
    for kind, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
        signal.signal(kind, handler)
    if status != 0:
        sys.exit(status if status > 0 else 128 - status)


COMMANDS = {"empo-train": "empo_rl.cli", "empo-eval": "empo_rl.evaluate.cli"}
THREADS = 1
PRECISION = "fp32"  # without a GPU
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


def evaluate(model: str, data: Path, output: Path, label: str, samples: int = 0) -> dict[str, Any]:
    """The numbers of `empo-eval` for these questions. A finished evaluation is not repeated."""
    if not (output / "results.json").exists():
        run(
            "empo-eval",
            *(model, "--data", str(data), "--output-dir", str(output)),
            *("--kind", "math", "--extract", "number", "--answer-column", "answer"),
            *("--system", SYSTEM, "--user", "{question}", "--max-tokens", str(TOKENS), "--label", label),
            *("--samples", str(samples), "--temperature", "1.0"),
            *([] if torch.cuda.is_available() else ["--engine-option", f"dtype={DTYPES[PRECISION]}"]),
        )
    (found,) = json.loads((output / "results.json").read_text(encoding="utf-8"))["sets"].values()
    return dict(found)


def choose_level(model: str, directory: Path, seed: int) -> tuple[int, dict[int, float]]:
    """The level whose share of right samples is nearest to TARGET among the measured levels; all measured shares."""
    shares: dict[int, float] = {}
    level = 2
    while 0 <= level < len(LEVELS) and level not in shares:
        data = write_rows(directory / f"level-{level}.jsonl", make_questions(seed + 1, level, PROBED))
        found = evaluate(model, data, directory / f"level-{level}", f"level {level}", samples=PROBE_SAMPLES)
        shares[level] = found[f"mean@{PROBE_SAMPLES}"]["value"]
        print(f"level {level}: {shares[level]:.0%} of the samples are right", file=sys.stderr, flush=True)
        if LOWEST <= shares[level] <= HIGHEST:
            break
        level += 1 if shares[level] > HIGHEST else -1
    return min(shares, key=lambda one: abs(shares[one] - TARGET)), shares


def train(model: str, arm: str, data: Path, directory: Path, steps: int, seed: int) -> Path:
    """The directory of the finished run of this arm."""
    output = directory / arm
    config = {
        "model": model,
        "output_dir": str(output),
        "seed": seed,
        "data": {"path": str(data), "columns": {"gold": "answer"}},
        "template": {"system": SYSTEM},
        "empo": {"reward": arm, "extract": "number", "measure_entropy": True, "measure_gold": True},
        "rollout": {"num_generations": COMPLETIONS, "max_completion_tokens": TOKENS},
        "training": {
            "steps": steps,
            "prompts_per_step": PROMPTS,
            "learning_rate": LEARNING_RATE,
            "gradient_checkpointing": False,
            "save_every": 2,
            **({} if torch.cuda.is_available() else {"precision": PRECISION}),
        },
        **({} if torch.cuda.is_available() else {"device": "cpu"}),
        "samples": {"every": max(1, steps // 4), "prompts": 1},
        "lora": {"r": 8, "alpha": 16},
    }
    if not (output / "final" / "adapter_config.json").exists():
        file = directory / f"{arm}.yaml"
        file.write_text(json.dumps(config, indent=1), encoding="utf-8")  # JSON is YAML
        run("empo-train", "run", str(file), "--resume")
    return output


def curve(directory: Path, arms: Sequence[str]) -> str:
    """A markdown table: for each step and arm, entropy, largest share, accuracy of the completions, and reward."""
    names = {"H": "empo/entropy", "max p": "empo/max_p", "right": "empo/accuracy", "tokens": "completions/mean_length"}
    rows = {arm: {row["step"]: row for row in read_metrics(directory / arm / "metrics.jsonl")} for arm in arms}
    header = ["step", *(f"{arm}: {name}" for arm in arms for name in names)]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for step in sorted(set[int]().union(*rows.values())):
        cells = [
            "-" if (value := rows[arm].get(step, {}).get(key)) is None else f"{value:.2f}"
            for arm in arms
            for key in names.values()
        ]
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Do what is not done yet, and print the report."""
    global THREADS, PRECISION  # options of the command
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder or a name on the hub")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=["empo", "random"])
    parser.add_argument("--level", type=int, choices=range(len(LEVELS)), help="use this level; default: measure levels")
    parser.add_argument("--steps", type=int, default=24, help="at least 4")
    parser.add_argument("--held-out", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--precision",
        choices=sorted(DTYPES),
        default="fp32",
        help="without a GPU; bf16 is several times faster on a CPU with AVX-512 BF16 or AMX (default: fp32)",
    )
    options = parser.parse_args()
    THREADS, PRECISION = options.threads, options.precision
    directory, steps, seed = options.directory.resolve(), options.steps, options.seed
    directory.mkdir(parents=True, exist_ok=True)
    level, shares = options.level, dict[int, float]()
    if level is None:
        level, shares = choose_level(options.model, directory / "difficulty", seed)
    rows = make_questions(seed, level, PROMPTS * steps)
    data = write_rows(directory / "train.jsonl", rows)
    held_out = write_rows(directory / "held_out.jsonl", make_questions(seed, level, options.held_out, without=rows))
    evaluations = {"before": directory / "eval-before"}
    evaluate(options.model, held_out, evaluations["before"], "before")
    for arm in options.arms:
        output = train(options.model, arm, data, directory, steps, seed)
        last = {
            f"{arm}, step {steps // 2}": output / f"checkpoint-{steps // 2}",
            f"{arm}, step {steps}": output / "final",
        }
        for label, folder in last.items():
            evaluations[label] = directory / f"eval-{arm}-{folder.name}"
            evaluate(str(folder), held_out, evaluations[label], label)
    precision = "" if torch.cuda.is_available() else f", {PRECISION}"
    size = f"{PROMPTS} prompts x {COMPLETIONS}, at most {TOKENS} tokens"
    print(f"{steps} steps of {size}, LoRA, lr {LEARNING_RATE:g}{precision}")
    print(f"level {level} of {len(LEVELS)}: {LEVELS[level][0]} operations with numbers up to {LEVELS[level][1]}")
    measured = ", ".join(f"{one}: {share:.0%}" for one, share in sorted(shares.items()))
    print(f"right samples by level: {measured or 'not measured'}\n")
    pairs = [("before", label) for label in evaluations if label != "before"]
    if "random" in options.arms:
        pairs += [(f"random, step {steps}", f"{arm}, step {steps}") for arm in options.arms if arm != "random"]
    for before, after in pairs:
        run("empo-eval", "--compare", str(evaluations[before]), str(evaluations[after]), shown=True)
        print(flush=True)
    print(curve(directory, options.arms))
    for arm in options.arms:
        print(f"\nSamples of {arm}, step 1 and the last:\n", flush=True)
        run("empo-train", "samples", str(directory / arm), "--step", "1", shown=True)
        run("empo-train", "samples", str(directory / arm), shown=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
