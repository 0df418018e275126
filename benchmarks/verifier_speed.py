"""The cost of the verifier, compared with one pair at a time and all logits: markdown tables on stdout.

    python benchmarks/verifier_speed.py                       # with a generated checkpoint, on the CPU
    python benchmarks/verifier_speed.py --model TIGER-Lab/general-verifier --device cuda --dtype bfloat16

The pairs are one question with 16 candidates, each compared with the same reference, and three such questions. The
first row is the method of the official EMPO code: one prompt at a time, logits for every position and token, a
softmax. Each further row adds one change to the row above it. The last row is the judge itself (`policy="forward"`:
one order, as in the official code). Below the table, the judge in a `Scorer` is compared with the official method on
the pairs of the scorer.

The checkpoint has random weights and the shape of a small Qwen2. The gain of each row depends on the output head's
share of the weights, and on the shared part of the prompts. Both are printed, with the number of tokens in the model,
with padding. Each row is timed `--runs` times, the rows in turn; the table shows medians. On a shared machine, set
OMP_NUM_THREADS=1: otherwise the time depends on the other processes.

Exits with 1 if float32 verdicts differ, or (with the generated checkpoint, on the CPU) if the judge is less than 7
times faster than the official method with the template `instruction-first`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers, trainers

from semantic_entropy import Equivalence, Pair, Scorer, Verdict

# Internal: the methods before the judge's must use the same model, prompts and shared prefixes as the judge.
from semantic_entropy_plugins.models.loading import LoadedModel, load_model
from semantic_entropy_plugins.verifier.prompts import TEMPLATES, canonical_order, prompt_encoder, prompt_writer
from semantic_entropy_plugins.verifier.shared_prefixes import (
    Continuation,
    cache_prefixes,
    continue_prefixes,
    group_by_prefix,
)
from semantic_entropy_plugins.verifier.verifier_judge import Verifier
from semantic_entropy_plugins.verifier.yes_no_scores import YesNoTokens, before_decision, find_yes_no
from tests.shared_data import SHARED, rows

CANDIDATES, QUESTIONS, REACHED = 16, 3, 7.0
HEADS = "Qwen2.5-1.5B, of which general-verifier is one, 15%; Qwen2.5-0.5B 28%; Llama-3.2-1B 21%"

END = "<|endoftext|>"

Prompt = list[int]
Scores = list[float]


class Question(NamedTuple):
    """A question, its reference answer, and its candidates."""

    text: str
    reference: str
    candidates: tuple[str, ...]

    @property
    def pairs(self) -> list[Pair]:
        """The pairs of the reference and each candidate."""
        return [Pair(self.text, self.reference, candidate) for candidate in self.candidates]


def main() -> int:
    """Print the tables; return 1 if a target is not reached."""
    options = arguments()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        options.name = options.model or str(make_checkpoint(Path(folder), options))
        loaded = load_model("AutoModelForCausalLM", options.name, device=options.device, dtype=options.dtype)
        describe(loaded, options)
        reached = [
            table(loaded, template, questions()[:count], options)
            for template in ("instruction-first", "paper")
            for count in (1, QUESTIONS)
        ]
    return 0 if all(reached) else 1


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a causal language model; default: generate one")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--words", type=int, default=32_768, help="size of the vocabulary")
    return parser.parse_args()


def questions() -> list[Question]:
    """Questions with 17 different answers: TriviaQA with 20 samples each, or generated ones without the data."""
    found = []
    if (SHARED / "data").exists():
        for row in rows("samples.jsonl"):
            answers = sorted(set(row["responses"]), key=lambda text: (len(text), text))
            if row["source"] == "uqnlg_triviaqa" and len(answers) > CANDIDATES:
                found.append(Question(row["question"], answers[0], tuple(answers[1 : CANDIDATES + 1])))
    else:
        for year in range(1901, 1901 + QUESTIONS):
            answers = tuple(f"The writer of volume {n} of the collection." for n in range(CANDIDATES))
            found.append(
                Question(f"Who was awarded the prize for literature in {year}, and why?", "A writer.", answers)
            )
    return found[:QUESTIONS]


def make_checkpoint(folder: Path, options: argparse.Namespace) -> Path:
    """Make a Qwen2 with random weights, and a byte-level tokenizer trained on the templates, questions and answers."""
    texts = ["".join(template) for template in TEMPLATES.values()] * 4
    texts += [" ".join([question.text, *question.candidates]) for question in questions()]
    if (SHARED / "data").exists():
        texts += [" ".join([row["question"], *row["responses"]]) for row in rows("samples.jsonl")]
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=options.words - 1, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END)
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=options.words,
        hidden_size=options.hidden,
        intermediate_size=int(5.4 * options.hidden) // 64 * 64,  # the ratio of Qwen2.5-0.5B and 1.5B
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 64,
        num_key_value_heads=max(1, options.hidden // 256),
        initializer_range=0.1,  # large, so that verdicts differ between pairs
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def describe(loaded: LoadedModel, options: argparse.Namespace) -> None:
    """Print what is measured."""
    model = loaded.model
    head, words = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    passed = sum(parameter.numel() for parameter in model.parameters()) - (0 if head is words else words.numel())
    print(
        f"{type(model).__name__}, {options.model or 'generated, random weights'}: a token uses {passed / 1e6:.0f} M "
        f"weights, {head.numel() / passed:.0%} of them in the output head (other models: {HEADS}); "
        f"{loaded.device}, {loaded.dtype}, {torch.get_num_threads()} threads\n"
    )


def table(loaded: LoadedModel, template: str, asked: list[Question], options: argparse.Namespace) -> bool:
    """Time and compare the methods with one template, and print; return whether the targets are reached."""
    judge = Verifier(options.name, template=template, policy="forward", device=options.device, dtype=options.dtype)
    by_hand = ByHand(loaded, template)
    pairs = [pair for question in asked for pair in question.pairs]
    prompts = by_hand.prompts(pairs)
    lengths, prefixes = [len(ids) for ids in prompts], [group.prefix for group in group_by_prefix(prompts)]
    print(f"### {template}: {len(asked)} x {CANDIDATES} prompts, {min(lengths)} to {max(lengths)} tokens long, shared")
    print(f"prefixes of {', '.join(map(str, prefixes))}\n")
    methods: dict[str, Callable[[], Scores]] = {
        "one pair at a time, all logits": lambda: by_hand.all_logits(prompts),
        "the last position's logits": lambda: by_hand.last_logits(prompts),
        "+ batched": lambda: by_hand.batched(prompts),
        "+ shared prefix": lambda: by_hand.shared(prompts),
        "+ Yes/No rows only: the judge": lambda: [verdict.score or 0.0 for verdict in judge.judge(pairs)],
    }
    scores, calls, tokens = {}, {}, {}
    for method, run in methods.items():
        run()  # warm-up; the judge tests its methods at the first use
        before = by_hand.calls + judge.forward_calls, by_hand.tokens + judge.forward_tokens
        scores[method] = run()
        calls[method] = by_hand.calls + judge.forward_calls - before[0]
        tokens[method] = by_hand.tokens + judge.forward_tokens - before[1]
    seconds = timed(methods, options.runs)
    first, *_, last = methods
    print(f"{sum(score > 0.5 for score in scores[first])} of {len(pairs)} verdicts are Yes.\n")
    print(
        "| method | seconds | times faster | forward calls | tokens | largest difference of a score | same verdicts |"
    )
    print("|---|---|---|---|---|---|---|")
    for method in methods:
        both = list(zip(scores[method], scores[first], strict=True))
        same, off = sum((a > 0.5) == (b > 0.5) for a, b in both), max(abs(a - b) for a, b in both)
        ratio = seconds[first] / seconds[method]
        count = f"{calls[method]} | {tokens[method]}"
        print(f"| {method} | {seconds[method]:.3f} | {ratio:.1f} | {count} | {off:.1e} | {same} of {len(both)} |")
    print()
    if len(asked) == 1:
        through_scorer(by_hand, judge, asked[0], options.runs)
    agreed = [score > 0.5 for score in scores[first]] == [score > 0.5 for score in scores[last]]
    fast = seconds[first] / seconds[last] >= REACHED
    bound = template == "instruction-first" and not options.model and options.device == "cpu"
    return (agreed or options.dtype != "float32") and (fast or not bound)


def through_scorer(by_hand: ByHand, judge: Verifier, asked: Question, runs: int) -> None:
    """Print the cost of only the pairs that a scorer needs for this group."""
    responses = [asked.reference, *asked.candidates]
    recorder = RecordingJudge(judge)

    def estimate(equivalence: Equivalence) -> None:
        with Scorer(equivalence=equivalence, extract="whole") as scorer:
            scorer.estimate(responses, question=asked.text)

    estimate(recorder)
    prompts, before = by_hand.prompts(recorder.pairs), judge.forward_calls
    estimate(judge)
    calls = judge.forward_calls - before
    seconds = timed({"one": lambda: by_hand.all_logits(prompts), "all": lambda: estimate(judge)}, runs)
    print(f"Through the whole `Scorer`: {len(prompts)} pairs, {calls} forward calls, {seconds['all']:.3f} s.")
    print(
        f"These one at a time with all logits: {seconds['one']:.3f} s, {seconds['one'] / seconds['all']:.1f} times.\n"
    )


def timed(methods: dict[str, Callable[[], Any]], runs: int) -> dict[str, float]:
    """Median seconds of each method. They run in turn, so that a busy minute of the machine affects all of them."""
    found: dict[str, list[float]] = {method: [] for method in methods}
    for _ in range(runs):
        for method, run in methods.items():
            start = time.perf_counter()
            run()
            found[method].append(time.perf_counter() - start)
    return {method: statistics.median(seconds) for method, seconds in found.items()}


class RecordingJudge(Equivalence):
    """A judge that records its pairs."""

    def __init__(self, judge: Equivalence) -> None:
        self.judge_itself, self.pairs = judge, list[Pair]()

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        self.pairs += pairs
        return self.judge_itself.judge(pairs)


class ByHand:
    """The methods before the judge's, with the whole output head. Scores are lists, which waits for the device."""

    def __init__(self, loaded: LoadedModel, template: str) -> None:
        self._device, self._model = loaded.device, loaded.model
        self.calls = self.tokens = 0
        self._write = prompt_writer(TEMPLATES[template], loaded.tokenizer, chat=False, lead=True)
        self._encode = prompt_encoder(TEMPLATES[template], loaded.tokenizer, chat=False)
        self._words: YesNoTokens = find_yes_no(loaded.tokenizer, self._encode, self._write("Why?", "So", "Thus"))

    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt]:
        """The tokens of the judge's prompts."""
        texts = [self._write(pair.question, *canonical_order(pair.left, pair.right)) for pair in pairs]
        return [ids or [] for ids in before_decision(self._encode, self._words)(texts)]

    @torch.inference_mode()
    def all_logits(self, prompts: list[Prompt]) -> Scores:
        """The method of the official code."""
        return [self._scores(self._call(input_ids=self._ids([ids])).logits[:, -1])[0] for ids in prompts]

    @torch.inference_mode()
    def last_logits(self, prompts: list[Prompt]) -> Scores:
        """One pair at a time; the output head gets only the last position."""
        return [
            self._scores(self._call(input_ids=self._ids([ids]), use_cache=False, logits_to_keep=1).logits[:, -1])[0]
            for ids in prompts
        ]

    @torch.inference_mode()
    def batched(self, prompts: list[Prompt]) -> Scores:
        """All prompts in one batch, padded on the left, so that the last position is the same for all."""
        longest = max(map(len, prompts))
        ids = self._ids([[ids[0]] * (longest - len(ids)) + ids for ids in prompts])
        mask = self._ids([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts])
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        out = self._call(input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False, logits_to_keep=1)
        return self._scores(out.logits[:, -1])

    @torch.inference_mode()
    def shared(self, prompts: list[Prompt]) -> Scores:
        """All prefixes in one batch, then all rows in one batch; the head gets only the last position of each row."""
        groups = group_by_prefix(prompts)
        held = cache_prefixes(self._call, [prompts[group.rows[0]][: group.prefix] for group in groups], self._device)
        rows = [
            Continuation(row, prompts[row][group.prefix :], index)
            for index, group in enumerate(groups)
            for row in group.rows
        ]
        inputs, last = continue_prefixes(held[0][0], rows)
        self._count(inputs)
        hidden = self._model.base_model(**inputs).last_hidden_state
        scores = self._scores(self._model.get_output_embeddings()(hidden[torch.arange(len(rows)), last]))
        return [score for _, score in sorted(zip([row.prompt for row in rows], scores, strict=True))]

    def _call(self, **inputs: Any) -> Any:
        self._count(inputs)
        return self._model(**inputs)

    def _count(self, inputs: dict[str, Any]) -> None:
        self.calls += 1
        self.tokens += inputs["input_ids"].numel()

    def _ids(self, ids: list[list[int]]) -> torch.Tensor:
        return torch.tensor(ids, device=self._device)

    def _scores(self, logits: torch.Tensor) -> Scores:
        """Scores from logits (rows, words): a softmax over all words as in the official code, then Yes against No."""
        chances = torch.softmax(logits.float(), dim=-1)
        yes, no = chances[:, self._words.yes], chances[:, self._words.no]
        scores: Scores = (yes / (yes + no)).tolist()
        return scores


if __name__ == "__main__":
    sys.exit(main())
