"""Train the tiny model with each reward, and with clustering mistakes: two markdown tables on stdout.

    python benchmarks/tiny_rewards.py [--directory DIR] [--seeds 0 1 2] [--arms none random empo ...]

Each seed has one base model. `random` and `format` are the controls of every comparison. Every arm starts from it and
trains 50 steps with the settings of the demo. The arm `flip-P` is `empo` with a judge that gets every pair of
completions (equal texts too), and is wrong with probability P/100: it merges different answers and splits equal answers
(Appendix I of the paper is about the quality of clustering). Intervals are 95%, by a percentile bootstrap over seeds
and, within each seed, over its questions. They are paired: with the base model, or with `golden`, on the same seeds and
questions. With three seeds the intervals are wide.

A finished run is a JSON file in DIR, and is not run again. After an interruption, the same command continues. A run
takes one to two minutes of one core.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset
from transformers.trainer_callback import PrinterCallback

from empo_rl import EmpoGRPOTrainer, EmpoProvider, preset

# Internal: the questions, the base model and the evaluation of the demo have no public names.
from empo_rl.config import load_config
from empo_rl.config.trl_arguments import training_arguments
from empo_rl.data.prompts import read_prompts
from empo_rl.demo.held_out import HeldOutEvaluations
from empo_rl.run.tiny_model import PRETRAIN_STEPS, load_or_make, make_tokenizer
from semantic_entropy import Equivalence, Pair, Verdict, load_equivalence
from semantic_entropy.plugin import boxed

ARMS = ["none", "random", "format", "empo", "log_share", "majority", "self_certainty", "token_entropy"]
ARMS += ["scrl", "vote_certainty", "ddrl", "restrain", "evol", "golden", "flip-0", "flip-5", "flip-20"]
STEPS, LEARNING_RATE = 50, 1e-4  # of the recipe `tiny`
DRAWS = 2000
QUANTITIES = {"pass@1": "pass@1", "mean@8": "mean@8", "semantic_entropy": "entropy, nats"}


def common_words(left: str, right: str) -> float:
    """The share of common words in all words of both texts, for `evol`."""
    a, b = set(left.split()), set(right.split())
    return len(a & b) / max(len(a | b), 1)


CHOICES: Mapping[str, Mapping[str, Any]] = {
    # At G=8 no answer has a share below 0.125, the default; 0.15 is the value of the authors' configuration file.
    "scrl": {"reward": "scrl", "reward_options": {"negative_share": 0.15}},
    "vote_certainty": {"reward": "vote_certainty", "scale": "none"},  # the advantages of the paper
    "ddrl": preset("ddrl"),
    # without the weights of the prompts, which need responses of the base model to all training questions
    "restrain": {"reward": "restrain", "reward_options": {"base_votes": "none"}, "scale": "fixed"},
    # not cosines of embeddings: a sentence model says nothing about chains of arithmetic
    "evol": {"reward": "evol", "reward_options": {"similarity": common_words}},
}
"""The arguments of `EmpoProvider` for the arms that are not just the name of a reward."""


class Flipped(Equivalence):
    """A judge of numbered answers whose verdicts are wrong with the given probability.

    The pair and the seed decide which verdicts are wrong, so a repeated call gives the same verdict.
    """

    def __init__(self, judge: Equivalence, probability: float, seed: int) -> None:
        self.name = f"{judge.name} flipped {probability}"
        self._judge, self._probability, self._seed = judge, probability, seed

    def judge(self, pairs: Sequence[Pair]) -> list[Verdict]:
        plain = [Pair(None, without_number(pair.left), without_number(pair.right)) for pair in pairs]
        different = [pair for pair in plain if pair.left != pair.right]
        same = dict(zip(different, (verdict.same for verdict in self._judge.judge(different)), strict=True))
        return [
            Verdict(bool(same.get(short, True)) != self._wrong(pair)) for pair, short in zip(pairs, plain, strict=True)
        ]

    def close(self) -> None:
        self._judge.close()

    def _wrong(self, pair: Pair) -> bool:
        text = json.dumps([self._seed, *sorted((pair.left, pair.right))])
        draw = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
        return draw < self._probability


class Numbered:
    """An extractor that adds a unique number to the boxed answer, so that the judge gets equal texts too."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def __call__(self, completion: str) -> str | None:
        answer = boxed(completion)
        return None if answer is None else f"{answer}#{next(self._numbers)}"


def without_number(answer: str) -> str:
    """The answer without its number."""
    return answer.rpartition("#")[0]


def run(directory: Path, arm: str, seed: int) -> dict[str, Any]:
    """Run one arm of one seed; return the evaluation of its final model."""
    kept = directory / f"{arm}-{seed}.json"
    if not kept.exists():
        reward = "golden" if arm == "golden" else "empo"  # decides whether the rows have gold answers
        folder = directory / f"{arm}-{seed}"
        overrides = [f"seed={seed}", f"empo.reward={reward}", f"output_dir={json.dumps(str(folder))}"]
        overrides.append(f"empo.scale={CHOICES.get(arm, {}).get('scale', 'group')}")
        overrides += [f"training.steps={STEPS}", f"training.learning_rate={LEARNING_RATE}", "training.save_every=1000"]
        config, tokenizer = load_config("tiny", overrides), make_tokenizer()
        base = load_or_make(
            tokenizer, directory / f"base-{seed}", seed=seed, steps=PRETRAIN_STEPS, report=lambda *_: None
        )
        held_out = HeldOutEvaluations(config)
        with provider("empo" if arm == "none" else arm, seed) as chosen:
            trainer = EmpoGRPOTrainer(
                model=base,
                provider=chosen,
                args=training_arguments(config, 1),
                train_dataset=Dataset.from_list(read_prompts(config)),
                processing_class=tokenizer,
                callbacks=[held_out],
            )
            trainer.remove_callback(PrinterCallback)
            if arm == "none":
                held_out.evaluate(STEPS, trainer.model, tokenizer)
            else:
                trainer.train()
        held_out.close()
        unfinished = kept.with_suffix(".tmp")
        unfinished.write_text(json.dumps(held_out.by_step[STEPS]), encoding="utf-8")
        unfinished.rename(kept)
    return json.loads(kept.read_text(encoding="utf-8"))


def provider(arm: str, seed: int) -> EmpoProvider:
    """The provider of this arm; with some wrong verdicts if the arm is flip-P."""
    kind, _, percent = arm.partition("-")
    if kind != "flip":
        return EmpoProvider("math", extract="boxed", **CHOICES.get(arm, {"reward": arm}), seed=seed)
    judge = Flipped(load_equivalence("math"), int(percent) / 100, seed)
    return EmpoProvider(judge, extract=Numbered(), seed=seed)


def per_question(results: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """For each quantity, an array of shape (seeds, questions)."""
    return {name: np.array([result[name] for result in results]) for name in QUANTITIES}


def resampled(values: np.ndarray) -> np.ndarray:
    """Bootstrap means (draws,) of values (seeds, questions): draws seeds with repetition, then questions in each seed.

    The draws are always the same, so that differences are computed on the same seeds and questions.
    """
    dice = np.random.default_rng(0)
    count, questions = values.shape
    seeds = dice.integers(count, size=(DRAWS, count))
    means = [values[chosen[:, None], dice.integers(questions, size=values.shape)].mean() for chosen in seeds]
    return np.array(means)


def interval(draws: np.ndarray, form: str = "+.3f") -> str:
    """The 95% interval of the draws, as text."""
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return f"{low:{form}} to {high:{form}}"


def change(before: np.ndarray, after: np.ndarray) -> str:
    """The text `before -> after (95% interval of the change)`."""
    return f"{before.mean():.3f} -> {after.mean():.3f} ({interval(resampled(after - before))})"


def table(results: Mapping[str, Sequence[Mapping[str, Any]]], arms: Sequence[str]) -> str:
    """A row for each arm; with `golden`, also the share of its gain in mean@8 and the difference from it."""
    base = per_question(results["none"])
    last = ["mean@8 by seed", "of the gain with labels", "mean@8 beyond `golden`"]
    columns = ["reward", *QUANTITIES.values(), *last]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for arm in arms:
        after = per_question(results[arm])
        cells = [change(base[name], after[name]) for name in QUANTITIES]
        seeds = " ".join(f"{mean:.3f}" for mean in after["mean@8"].mean(axis=1))
        lines.append(f"| {arm} | {' | '.join([*cells, seeds, *compared_with_golden(results, base, after)])} |")
    return "\n".join(lines)


def compared_with_golden(
    results: Mapping[str, Sequence[Mapping[str, Any]]], base: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
) -> tuple[str, str]:
    """The gain in mean@8 as a share of the gain of `golden`, and the difference from `golden`, with intervals."""
    if "golden" not in results:
        return "-", "-"
    labelled = per_question(results["golden"])["mean@8"]
    gain, whole = after["mean@8"] - base["mean@8"], labelled - base["mean@8"]
    shares = resampled(gain) / resampled(whole)
    share = f"{gain.mean() / whole.mean():.0%} ({interval(shares, '.0%')})"
    beyond = after["mean@8"] - labelled
    return share, f"{beyond.mean():+.3f} ({interval(resampled(beyond))})"


def main() -> int:
    """Run all missing runs, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=ARMS)
    parser.add_argument("--directory", type=Path, help="keep the runs here; default: a temporary directory")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    directory = options.directory or Path(tempfile.mkdtemp(prefix="tiny-rewards-"))
    directory.mkdir(parents=True, exist_ok=True)
    arms = ["none", *(arm for arm in options.arms if arm != "none")]
    results: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for seed in options.seeds:
        for arm in arms:
            print(f"{arm}, seed {seed}", file=sys.stderr, flush=True)
            results[arm].append(run(directory, arm, seed))
    print(f"{len(options.seeds)} seeds, {STEPS} steps, learning rate {LEARNING_RATE:g}\n")
    print(table(results, arms))
    return 0


if __name__ == "__main__":
    sys.exit(main())
