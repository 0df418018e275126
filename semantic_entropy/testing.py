"""Conformance checks that a plugin's author runs on his own components.

    from semantic_entropy.testing import check_equivalence
    check_equivalence(MyJudge(), answers=["5 cm", "0.05 m", "7 kg"])

`check_clusterer`, `check_estimator` and `check_sampler` do the same for the other kinds.

Each raises `ConformanceError` (an AssertionError), which lists every rule broken, with the values that show it.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence

from semantic_entropy.clusters.clusterers import Clusterer
from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.errors import SemanticEntropyError
from semantic_entropy.estimators.base import EntropyEstimator
from semantic_entropy.pipeline import ask, by_first_appearance
from semantic_entropy.sampling import Sampler
from semantic_entropy.sampling.rules import QUESTIONS, sampler_rules
from semantic_entropy.types import Evidence, Pair, Verdict

ANSWERS = (
    *("Paris", "paris.", "It is Paris", "Rome", "42", "42.0", "forty-two", r"\frac{1}{2}", "0.5"),
    *("yes", "no", "\u6771\u4eac", "a\x00b", "1" * 400, "(((", " "),
)
"""What a judge may meet: words, numbers, LaTeX, another script, a null byte, long, broken and blank text."""


class ConformanceError(AssertionError):
    """A component breaks its interface's rules; the message lists all of them."""

    def __init__(self, name: str, broken: Sequence[str]) -> None:
        super().__init__(
            f"{name} breaks {len(broken)} rule{'s' * (len(broken) != 1)}:\n" + "\n".join(f"- {b}" for b in broken)
        )


def check_equivalence(
    equivalence: Equivalence, answers: Sequence[str] = ANSWERS, question: str | None = "What is it?"
) -> None:
    """One verdict a pair; symmetric; the same in any batch; equal keys only where the judge agrees.

    Give answers of the kind your judge is for: rules that these do not touch are not tested.
    """
    _report(equivalence.name, _equivalence_rules(equivalence, list(dict.fromkeys(answers)), question))


def check_clusterer(clusterer: Clusterer) -> None:
    """Finds the classes of a transitive relation in whatever order; asks sensible pairs; ends."""
    _report(clusterer.name, _clusterer_rules(clusterer))


def check_estimator(estimator: EntropyEstimator) -> None:
    """Finite; blind to the order of responses and the names of labels; probabilities (M,) that sum to 1."""
    _report(estimator.name, _estimator_rules(estimator))


def check_sampler(sampler: Sampler, questions: Sequence[str] = QUESTIONS, n: int = 3) -> None:
    """As many samples as asked for, or fewer and one failure; requests taken as it starts on them; closing stops it.

    And `settings` in plain values that stay the same, texts that are texts, log-probabilities that can be some. It
    draws 2 n samples for each question, and starts on a long list of more: mind what that costs where you pay.
    """
    _report(sampler.name, sampler_rules(sampler, list(dict.fromkeys(questions)), n))


def _report(name: str, rules: Iterator[str]) -> None:
    broken: list[str] = []
    try:
        broken.extend(rules)
    except SemanticEntropyError as error:  # a broken contract ends the examination
        broken.append(str(error))
    if broken:
        raise ConformanceError(name, broken)


def _equivalence_rules(equivalence: Equivalence, answers: list[str], question: str | None) -> Iterator[str]:
    if not equivalence.name:
        yield "name is empty: results could not say who judged"
    ask(equivalence, [])
    pairs = [Pair(question, left, right) for left, right in itertools.combinations(answers, 2)]
    judged = dict(zip(pairs, ask(equivalence, pairs), strict=True))
    yield from _symmetry(equivalence, judged)
    yield from _batches(equivalence, judged)
    yield from _keys(equivalence, answers, question)
    if equivalence.settings != equivalence.settings:
        yield "settings differ from one reading to the next: no verdict would ever be found in the cache"


def _symmetry(equivalence: Equivalence, judged: dict[Pair, Verdict]) -> Iterator[str]:
    swapped = ask(equivalence, [Pair(p.question, p.right, p.left) for p in judged])
    for (pair, there), back in zip(judged.items(), swapped, strict=True):
        if there.same != back.same:
            yield f"asymmetric: {pair.left!r}, {pair.right!r} -> {there.same}, but the other way round {back.same}"
            return


def _batches(equivalence: Equivalence, judged: dict[Pair, Verdict]) -> Iterator[str]:
    shuffled = list(judged)
    random.Random(0).shuffle(shuffled)
    in_one = ask(equivalence, shuffled)
    for pair, verdict in zip(shuffled, in_one, strict=True):
        if verdict.same != judged[pair].same:
            yield f"depends on the order of the batch: {pair} -> {judged[pair].same}, in another order {verdict.same}"
            return
    for pair in shuffled[:20]:  # enough to meet a batch effect; each is a call
        (alone,) = ask(equivalence, [pair])
        if alone.same != judged[pair].same:
            yield f"depends on the rest of the batch: {pair} -> {judged[pair].same}, alone {alone.same}"
            return


def _keys(equivalence: Equivalence, answers: list[str], question: str | None) -> Iterator[str]:
    keys = list(equivalence.keys(question, answers))
    if len(keys) != len(answers):
        yield f"keys() returned {len(keys)} keys for {len(answers)} answers"
        return
    try:
        set(keys)
    except TypeError as error:
        yield f"keys() returned a key that cannot be one: {error}"
        return
    if list(equivalence.keys(question, answers[::-1]))[::-1] != keys:
        yield "a key depends on the order of the answers, or changes from call to call"
    for (left, one), (right, other) in itertools.combinations(zip(answers, keys, strict=True), 2):
        if one is not None and one == other:
            (verdict,) = ask(equivalence, [Pair(question, left, right)])
            if verdict.same is False:
                yield f"{left!r} and {right!r} have equal keys, but the judge says they differ"


def _clusterer_rules(clusterer: Clusterer) -> Iterator[str]:
    if not clusterer.name:
        yield "name is empty: results could not say who clustered"
    draw = random.Random(0)
    for size in (0, 1, 2, 3, 8, 20):
        yield from _asks_sensibly(clusterer, [draw.randrange(1 + size // 3) for _ in range(size)])


def _asks_sensibly(clusterer: Clusterer, classes: list[int]) -> Iterator[str]:
    size, asked = len(classes), 0
    flow = clusterer.flow(size)
    wanted: list[tuple[int, int]] = []
    answers: list[bool] | None = None
    try:
        while asked <= 4 * size * size + 4:
            wanted = next(flow) if answers is None else flow.send(answers)
            asked += max(1, len(wanted))
            for i, j in wanted:
                if i == j or not (0 <= i < size and 0 <= j < size):
                    yield f"of {size} answers it asks for the pair ({i}, {j})"
                    return
            answers = [classes[i] == classes[j] for i, j in wanted]
        yield f"of {size} answers it asked for {asked} pairs and did not end"
    except StopIteration as done:
        labels = done.value
        if not isinstance(labels, list) or len(labels) != size:
            yield f"flow({size}) returned {labels!r}; it must return a list of {size} labels"
        elif by_first_appearance(labels) != by_first_appearance(classes):
            yield f"labels depend on more than the verdicts: a transitive judge's {classes} come out as {labels}"


def _estimator_rules(estimator: EntropyEstimator) -> Iterator[str]:
    if not estimator.name:
        yield "name is empty: its score would have none"
    unknown = estimator.requires - set(Evidence.__dataclass_fields__)
    if unknown:
        yield f"requires {sorted(unknown)}, which is no field of Evidence"
        return
    draw = random.Random(0)
    for labels in ((0,), (0, 0, 0), (0, 1, 2), (0, 1, 0, 2, 0, 1)):
        yield from _estimates(estimator, labels, draw)


def _estimates(estimator: EntropyEstimator, labels: tuple[int, ...], draw: random.Random) -> Iterator[str]:
    logprobs = tuple(tuple(-draw.random() for _ in range(draw.randint(1, 5))) for _ in labels)
    estimate = estimator.estimate(Evidence(labels, logprobs))
    if not math.isfinite(estimate.value):
        yield f"the value for labels {labels} is {estimate.value}"
        return
    order = list(range(len(labels)))
    draw.shuffle(order)
    shuffled = Evidence(by_first_appearance([labels[i] for i in order]), tuple(logprobs[i] for i in order))
    again = estimator.estimate(shuffled).value
    if not math.isclose(again, estimate.value, rel_tol=1e-9, abs_tol=1e-12):
        yield f"depends on the order of the responses: labels {labels} give {estimate.value}, reordered {again}"
    if estimate.probabilities is not None:
        if len(estimate.probabilities) != len(set(labels)):
            yield f"labels {labels} give {len(estimate.probabilities)} probabilities, not one a cluster"
        elif not math.isclose(sum(estimate.probabilities), 1.0, rel_tol=1e-9):
            yield f"probabilities for labels {labels} sum to {sum(estimate.probabilities)}"
