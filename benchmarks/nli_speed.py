"""The cost of an NLI judge: one pair at a time, and all pairs together, with the same model and answers.

    python benchmarks/nli_speed.py [--groups 64] [--size 16] [--model NAME] [--device cpu] [--dtype float32] [--runs 3]

(a) is the method of the Nature 2024 code and of the EMPO code, written from their description: greedy clustering,
where the first match wins. For each pair of responses it tokenises one pair, runs the model, takes the argmax, and
does the same for the other direction. It also runs the model on equal texts. Here equal texts always count as the
same, because a model with random weights can decide otherwise. A second row leaves out the time for equal texts. (b)
is `nli` in a `Scorer`, with the convention that clusters in the same way. No verdict is kept between runs.

The answers are the first G samples of 64 questions of ../shared/data/samples.jsonl (uqnlg_triviaqa: one model, 20
samples a question); without the data they are generated. The models are those of `small_nli` in three sizes (hidden x
layers), or the model of --model. The wall time is the best of --runs, with a loaded and warm model.

The second table compares the directions per second of the judge in (b), with tokenising, with the forward pass of the
model alone on one full batch of the same mean length. With another --dtype than float32, the script also prints how
many verdicts differ from float32.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from small_nli import Groups, all_pairs, in_full, load_groups, make_model

from semantic_entropy import Scorer

# Internal: (a) must run the same loaded model as the judge, and the tables need its counters of forward passes.
from semantic_entropy_plugins.models.loading import LoadedModel, load_model
from semantic_entropy_plugins.nli.nli_judge import NLI
from semantic_entropy_plugins.nli.pair_classifier import batch_tokens

SIZES = ((64, 2), (128, 2), (256, 4))


class Run(NamedTuple):
    """The cost of a method (seconds, forward passes, judged directions), and the clusters that it found."""

    seconds: float
    calls: int
    directions: int
    labels: list[tuple[int, ...]]
    equal_seconds: float = 0.0
    equal_calls: int = 0


def main() -> int:
    """Print the tables; return 1 if the two methods find different clusters in float32."""
    chosen = _arguments()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    groups = load_groups(chosen.groups, chosen.size)
    texts = sum(len(set(responses)) for _, responses in groups) / len(groups)
    print(f"{len(groups)} questions x {chosen.size} responses, {texts:.1f} distinct texts a question.")
    if chosen.model:
        return report(chosen.model, chosen.model, groups, chosen)
    statuses = []
    for hidden, layers in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            make_model(Path(folder), groups, hidden, layers)
            statuses.append(report(folder, f"DeBERTa, {layers} layers of {hidden}", groups, chosen))
    return max(statuses)


def report(model: str, what: str, groups: Groups, chosen: argparse.Namespace) -> int:
    """Run both methods, take the best run of each, and print the tables."""
    place = {"device": chosen.device, "dtype": chosen.dtype}
    judge = NLI(model, **place)
    loaded = load_model("AutoModelForSequenceClassification", model, **place)
    size = sum(parameter.numel() for parameter in loaded.model.parameters()) / 1e6
    print(f"\n## {what}\n")
    print(f"{size:.1f} million weights; {loaded.dtype} on {loaded.device}, {torch.get_num_threads()} threads.\n")
    batched = best(lambda: together(judge, groups), chosen.runs)
    single = best(lambda: one_pair_at_a_time(loaded, groups), chosen.runs)
    fewer, less = single.calls - single.equal_calls, single.seconds - single.equal_seconds
    without = single._replace(seconds=less, calls=fewer, directions=fewer)
    print("| | wall s | forward passes | directions | ratio of wall | of passes |\n|---|---|---|---|---|---|")
    for name, run in (("one pair at a time", single), ("without equal texts", without), ("`nli`", batched)):
        ratios = f"{run.seconds / batched.seconds:.1f}x | {run.calls / batched.calls:.0f}x"
        print(f"| {name} | {run.seconds:.2f} | {run.calls} | {run.directions} | {ratios} |")
    same = sum(one == other for one, other in zip(single.labels, batched.labels, strict=True))
    meanings = sum(len(set(labels)) for labels in batched.labels) / len(groups)
    print(f"\nClusters are identical in {same} of {len(groups)} groups; {meanings:.1f} clusters a group.\n")
    throughput(judge, loaded, groups)
    if loaded.dtype == torch.float32:
        return 0 if same == len(groups) else 1
    differences(judge, loaded, groups)
    return 0


def one_pair_at_a_time(loaded: LoadedModel, groups: Groups) -> Run:
    """Method (a)."""
    entailment = [label.lower() for _, label in sorted(loaded.model.config.id2label.items())].index("entailment")
    calls, equal_calls, equal_seconds = 0, 0, 0.0

    def entails(premise: str, hypothesis: str) -> bool:
        inputs = loaded.tokenizer(premise, hypothesis, return_tensors="pt").to(loaded.device)
        with torch.no_grad():
            return int(loaded.model(**inputs).logits.argmax()) == entailment

    def same(question: str, one: str, other: str) -> bool:
        nonlocal calls, equal_calls, equal_seconds
        first, second, start = f"{question} {one}", f"{question} {other}", time.perf_counter()
        there, back = entails(first, second), entails(second, first)
        calls += 2
        if one != other:
            return there and back
        equal_calls += 2
        equal_seconds += time.perf_counter() - start
        return True

    start = time.perf_counter()
    labels = [clustered(responses, partial(same, question)) for question, responses in groups]
    return Run(time.perf_counter() - start, calls, calls, labels, equal_seconds, equal_calls)


def clustered(responses: list[str], same: Callable[[str, str], bool]) -> tuple[int, ...]:
    """Each response joins the first cluster whose first member means the same; otherwise it opens a new cluster."""
    labels: list[int] = []
    representatives: list[str] = []
    for response in responses:
        found = next((label for label, one in enumerate(representatives) if same(one, response)), len(representatives))
        labels.append(found)
        if found == len(representatives):
            representatives.append(response)
    return tuple(labels)


def together(judge: NLI, groups: Groups) -> Run:
    """Method (b)."""
    calls, rows = judge.forward_calls, judge.forward_rows
    with Scorer(judge, convention="lm-polygraph", estimator="discrete", extract="whole", cache_size=0) as scorer:
        start = time.perf_counter()
        results = scorer.estimate([responses for _, responses in groups], question=[question for question, _ in groups])
        seconds = time.perf_counter() - start
    labels = [result.labels for result in results]
    return Run(seconds, judge.forward_calls - calls, judge.forward_rows - rows, labels)


def best(run: Callable[[], Run], times: int) -> Run:
    """The fastest of several runs."""
    return min((run() for _ in range(times)), key=lambda one: one.seconds)


def throughput(judge: NLI, loaded: LoadedModel, groups: Groups) -> None:
    """Print directions per second: one call for all pairs, and the model alone on full batches of the mean length."""
    pairs = all_pairs(groups)
    judge.judge(pairs)
    before, start = judge.forward_rows, time.perf_counter()
    judge.judge(pairs)
    ours = (judge.forward_rows - before) / (time.perf_counter() - start)
    lengths = [len(ids) for ids in loaded.tokenizer(*map(list, zip(*map(in_full, pairs), strict=True)))["input_ids"]]
    length = round(sum(lengths) / len(lengths))
    batch = torch.full((max(1, batch_tokens(loaded.device) // length), length), 5, device=loaded.device)
    seconds = min(bare_forward(loaded, batch) for _ in range(5))
    own = len(batch) / seconds
    print("| | directions a second |\n|---|---|")
    print(f"| the model's own forward, {len(batch)} x {length} tokens | {own:.0f} |")
    print(f"| `nli` on {len(pairs)} pairs, {length} tokens in the mean | {ours:.0f} ({ours / own:.0%}) |\n")


def bare_forward(loaded: LoadedModel, batch: torch.Tensor) -> float:
    """Seconds of one forward pass."""
    start = time.perf_counter()
    with torch.inference_mode():
        loaded.model(input_ids=batch, attention_mask=torch.ones_like(batch)).logits.sum().item()
    return time.perf_counter() - start


def differences(judge: NLI, loaded: LoadedModel, groups: Groups) -> None:
    """Print the share of verdicts that differ from float32."""
    pairs, exact = all_pairs(groups), NLI(loaded.name, device=str(loaded.device), dtype="float32")
    both = zip(judge.judge(pairs), exact.judge(pairs), strict=True)
    count = sum(one.same != other.same for one, other in both)
    print(f"In {loaded.dtype} {count} of {len(pairs)} verdicts differ from float32 ({count / len(pairs):.2%}).")


def _arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--groups", type=int, default=64)
    options.add_argument("--size", type=int, default=16)
    options.add_argument("--model", help="an NLI model by name, or a folder")
    options.add_argument("--device")
    options.add_argument("--dtype")
    options.add_argument("--runs", type=int, default=3)
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
