"""Conformance checks for the components of a plugin.

    from semantic_entropy.testing import check_equivalence
    check_equivalence(MyJudge(), answers=["5 cm", "0.05 m", "7 kg"])

`check_clusterer`, `check_estimator` and `check_sampler` check the other kinds of component. Each function raises
`ConformanceError` (an AssertionError) if the component breaks a rule. The message lists all broken rules with values.
No check can see that a new release gives other results for the same input: raise the attribute `rules` of the class
then (see `semantic_entropy.plugin`).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

from semantic_entropy.clusters.clusterers import Clusterer
from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.clusters.given_evidence import EVIDENCE_FIELDS
from semantic_entropy.contracts import (
    check_component,
    check_requirements,
    checked_flow,
    describe,
    estimator_prompts,
    judge_pairs,
    run_estimator,
    stream_samples,
)
from semantic_entropy.errors import PluginError, SemanticEntropyError
from semantic_entropy.estimators import EntropyEstimator
from semantic_entropy.long_answers import Statement, assess
from semantic_entropy.measuring.supporting_samples import DirectedSupport
from semantic_entropy.sampling import Request, Sampler
from semantic_entropy.types import Evidence, Pair, Sample, Verdict, by_first_appearance

ANSWERS = (
    *("Paris", "paris.", "It is Paris", "Rome", "42", "42.0", "forty-two", r"\frac{1}{2}", "0.5"),
    *("yes", "no", "\u6771\u4eac", "a\x00b", "1" * 400, "(((", " "),
)
"""Answers that a judge must handle: words, numbers, LaTeX, another script, a null byte, long, broken and blank text."""

QUESTIONS = ("What is the capital of France?", "2 + 2 = ?", "\u6771\u4eac?", "a\x00b", "Why?\n\nBecause {question}.")
"""Questions that a sampler must handle: plain questions, another script, a null byte, braces and several lines."""
_REPLY = Sample("A", top_logprobs=((-0.3, -1.8),), top_tokens=(("A", "B"),))  # to every prompt of an estimator
_MANY_REQUESTS = 10_000  # many more than a sampler can start before its first sample


class ConformanceError(AssertionError):
    """A component breaks rules of its interface. The message lists all broken rules."""

    def __init__(self, name: str, broken: Sequence[str]) -> None:
        super().__init__(
            f"{name} breaks {len(broken)} rule{'s' * (len(broken) != 1)}:\n" + "\n".join(f"- {b}" for b in broken)
        )


def check_equivalence(
    equivalence: Equivalence, answers: Sequence[str] = ANSWERS, question: str | None = "What is it?"
) -> None:
    """Check a judge.

    The judge must return one verdict for each pair. A verdict must not change if the answers are exchanged or if other
    pairs are in the batch. Answers with equal keys must mean the same.

    Args:
        equivalence: the judge.
        answers: answers of the kind that your judge is made for, such as ["5 cm", "0.05 m"] for a judge of lengths.
        question: the question that the answers belong to.
    """
    _report(equivalence, _equivalence_rules(equivalence, list(dict.fromkeys(answers)), question))


def check_clusterer(clusterer: Clusterer) -> None:
    """Check a clusterer: it finds the classes of a transitive judge, asks for valid pairs only, and ends."""
    _report(clusterer, _clusterer_rules(clusterer))


def check_estimator(estimator: EntropyEstimator) -> None:
    """Check an estimator: its value is finite and independent of the responses' order; its probabilities sum to 1."""
    _report(estimator, _estimator_rules(estimator))


def check_sampler(sampler: Sampler, questions: Sequence[str] = QUESTIONS, n: int = 3) -> None:
    """Check a sampler.

    For each request, the sampler must yield n samples, or fewer samples and then one failure. It must take a request
    only when it can start work on the request, and stop when its stream is closed. `settings` must be plain values that
    stay the same, texts must be str, and log-probabilities at most 0. The sampler of its greedy answers, if it has one,
    keeps the same rules.

    The check draws 2 n samples for each question and starts a long list of other requests. This costs money on a paid
    API.
    """
    _report(sampler, _sampler_rules(sampler, list(dict.fromkeys(questions)), n))


def _report(component: Any, rules: Iterator[str]) -> None:
    broken = list(_component_rules(component))
    try:
        broken.extend(rules)
    except SemanticEntropyError as error:  # after a broken contract, the other rules cannot be checked
        broken.append(str(error))
    if broken:
        raise ConformanceError(component.name, broken)


def _component_rules(component: Any) -> Iterator[str]:
    try:
        check_component(type(component).__name__, component)
    except PluginError as error:
        yield str(error)


def _equivalence_rules(equivalence: Equivalence, answers: list[str], question: str | None) -> Iterator[str]:
    judge_pairs(equivalence, [])
    pairs = [Pair(question, left, right) for left, right in itertools.combinations(answers, 2)]
    judged = dict(zip(pairs, judge_pairs(equivalence, pairs), strict=True))
    yield from _symmetry(equivalence, judged)
    yield from _batches(equivalence, judged)
    yield from _keys(equivalence, answers, question)
    if type(equivalence).support is not Equivalence.support:
        yield from _supports(equivalence, answers, question)
    if equivalence.settings != equivalence.settings:
        yield "settings differ from one reading to the next: no verdict would be found in the cache"


def _supports(equivalence: Equivalence, answers: list[str], question: str | None) -> Iterator[str]:
    pairs = [Pair(question, left, right) for left, right in itertools.permutations(answers, 2)]
    together = _support_verdicts(equivalence, pairs)
    for pair in random.Random(0).sample(pairs, min(20, len(pairs))):
        alone, in_batch = _support_verdicts(equivalence, [pair])[0], together[pairs.index(pair)]
        if alone.same != in_batch.same:
            yield f"support depends on the rest of the batch: {pair} -> {in_batch.same}, but alone {alone.same}"
            return


def _support_verdicts(equivalence: Equivalence, pairs: Sequence[Pair]) -> list[Verdict]:
    return judge_pairs(DirectedSupport(equivalence), pairs)


def _symmetry(equivalence: Equivalence, judged: dict[Pair, Verdict]) -> Iterator[str]:
    swapped = judge_pairs(equivalence, [Pair(p.question, p.right, p.left) for p in judged])
    for (pair, there), back in zip(judged.items(), swapped, strict=True):
        if there.same != back.same:
            yield f"asymmetric: {pair.left!r}, {pair.right!r} -> {there.same}, but in the other direction {back.same}"
            return


def _batches(equivalence: Equivalence, judged: dict[Pair, Verdict]) -> Iterator[str]:
    shuffled = list(judged)
    random.Random(0).shuffle(shuffled)
    in_one = judge_pairs(equivalence, shuffled)
    for pair, verdict in zip(shuffled, in_one, strict=True):
        if verdict.same != judged[pair].same:
            yield f"depends on the order of the batch: {pair} -> {judged[pair].same}, in another order {verdict.same}"
            return
    for pair in shuffled[:20]:  # enough pairs to find a batch effect; each pair needs a call
        (alone,) = judge_pairs(equivalence, [pair])
        if alone.same != judged[pair].same:
            yield f"depends on the rest of the batch: {pair} -> {judged[pair].same}, but in a batch of one {alone.same}"
            return


def _keys(equivalence: Equivalence, answers: list[str], question: str | None) -> Iterator[str]:
    keys = list(equivalence.keys(question, answers))
    if len(keys) != len(answers):
        yield f"keys() returned {len(keys)} keys for {len(answers)} answers"
        return
    try:
        set(keys)
    except TypeError as error:
        yield f"keys() returned a key that cannot be hashed: {error}"
        return
    if list(equivalence.keys(question, answers[::-1]))[::-1] != keys:
        yield "a key depends on the order of the answers, or changes from call to call"
    for (left, one), (right, other) in itertools.combinations(zip(answers, keys, strict=True), 2):
        if one is not None and one == other:
            (verdict,) = judge_pairs(equivalence, [Pair(question, left, right)])
            if verdict.same is False:
                yield f"{left!r} and {right!r} have equal keys, but the judge says they differ"


def _clusterer_rules(clusterer: Clusterer) -> Iterator[str]:
    draw = random.Random(0)
    for size in (0, 1, 2, 3, 8, 20):
        yield from _flow_rules(clusterer, [draw.randrange(1 + size // 3) for _ in range(size)])


def _flow_rules(clusterer: Clusterer, classes: list[int]) -> Iterator[str]:
    size = len(classes)
    flow = checked_flow(clusterer, size)
    try:
        wanted = next(flow)
        while True:
            if any(i == j for i, j in wanted):
                yield f"for {size} answers it asks for a pair of an answer and itself: {wanted!r:.200}"
                return
            wanted = flow.send([classes[i] == classes[j] for i, j in wanted])
    except StopIteration as done:
        labels = done.value
    if by_first_appearance(labels) != by_first_appearance(classes):
        yield f"labels depend on more than the verdicts: {labels}, for a transitive judge with classes {classes}"


def _estimator_rules(estimator: EntropyEstimator) -> Iterator[str]:
    check_requirements(estimator)
    draw = random.Random(0)
    for labels in ((0,), (0, 0, 0), (0, 1, 2), (0, 1, 0, 2, 0, 1)):
        yield from _estimates(estimator, labels, draw)


def _estimates(estimator: EntropyEstimator, labels: tuple[int, ...], draw: random.Random) -> Iterator[str]:
    evidence = _random_evidence(labels, draw)
    if "replies" in estimator.requires:
        evidence = dataclasses.replace(evidence, replies=dict.fromkeys(estimator_prompts(estimator, evidence), _REPLY))
    [estimate] = run_estimator(estimator, [evidence])
    order = list(range(len(labels)))
    draw.shuffle(order)
    [again] = run_estimator(estimator, [_in_order(evidence, order)])
    undefined = math.isnan(estimate.value) and math.isnan(again.value)  # one response, or a reply without a score
    if not undefined and not math.isclose(again.value, estimate.value, rel_tol=1e-9, abs_tol=1e-12):
        yield f"depends on the order of the responses: labels {labels} give {estimate.value}, reordered {again.value}"
    if estimate.probabilities is not None and not math.isclose(sum(estimate.probabilities), 1.0, rel_tol=1e-9):
        yield f"probabilities for labels {labels} sum to {sum(estimate.probabilities)}"


def _random_evidence(labels: tuple[int, ...], draw: random.Random) -> Evidence:
    """All evidence that an estimator can require, for responses with these labels."""
    n = len(labels)
    lengths = [draw.randint(1, 5) for _ in labels]
    texts = tuple(f"answer {label} in {length} words" for label, length in zip(labels, lengths, strict=True))
    values = [[draw.random() for _ in labels] for _ in labels]
    tokens = tuple(tuple(draw.random() for _ in range(length)) for length in lengths)
    logprobs = tuple(tuple(math.log(p) for p in row) for row in tokens)
    top = tuple(tuple((value, min(value, math.log1p(-math.exp(value)))) for value in row) for row in logprobs)
    vectors = tuple(tuple(draw.gauss(0, 1) for _ in range(8)) for _ in labels)
    return Evidence(
        labels,
        logprobs,
        responses=texts,
        texts=texts,
        question="Which answer?",
        top_logprobs=top,
        token_entropies=tokens,
        tokens=tuple(tuple(f"{i} " for i in range(length)) for length in lengths),
        token_similarity=tokens,
        sentence_support=tuple(tuple(1.0 if i == j else values[i][j] for j in range(n)) for i in range(n)),
        similarity=tuple(tuple(1.0 if i == j else values[min(i, j)][max(i, j)] for j in range(n)) for i in range(n)),
        greedy_similarity=tuple(values[0]),
        embeddings=vectors,
        hidden_state=vectors,
        answers=texts,
        long_answer=assess(texts[0], [Statement(text, 0, len(text)) for text in texts], values),
        greedy=Sample(texts[0], logprobs[0], top_logprobs=top[0], hidden_state=vectors[0], token_entropies=tokens[0]),
    )


def _in_order(evidence: Evidence, order: Sequence[int]) -> Evidence:
    """The evidence with its responses in another order."""
    changed: dict[str, Any] = {"labels": by_first_appearance([evidence.labels[i] for i in order])}
    for name in ("logprobs", "responses", "texts", "answers", *EVIDENCE_FIELDS):
        if name != "greedy":
            changed[name] = tuple(getattr(evidence, name)[i] for i in order)
    for name in ("similarity", "sentence_support"):
        changed[name] = tuple(tuple(row[i] for i in order) for row in changed[name])
    return dataclasses.replace(evidence, **changed)


def _sampler_rules(sampler: Sampler, questions: Sequence[str], n: int) -> Iterator[str]:
    describe("sampler", sampler)
    yield from _settings_rules(sampler)
    yield from _outcome_rules(stream_samples(sampler, []))
    for first in (0, n):
        requests = [Request(index, question, n, first) for index, question in enumerate(questions)]
        yield from _outcome_rules(stream_samples(sampler, iter(requests)))
    yield from _laziness_rules(sampler, questions)
    if type(sampler).greedy_sampler is not Sampler.greedy_sampler:
        yield from _greedy_rules(sampler.greedy_sampler(), questions[0])


def _greedy_rules(greedy: Any, question: str) -> Iterator[str]:
    if not isinstance(greedy, Sampler):
        yield f"greedy_sampler() returned {greedy!r:.80}: it must return a Sampler"
        return
    yield from _settings_rules(greedy)
    yield from _outcome_rules(stream_samples(greedy, iter([Request(0, question, 1)])))


def _settings_rules(sampler: Sampler) -> Iterator[str]:
    if sampler.settings != sampler.settings:
        yield "settings differ from one reading to the next: no sample on disk would be found again"
    if wrong := [value for value in _leaves(sampler.settings) if not isinstance(value, str | int | float | None)]:
        yield (
            f"settings hold {wrong[0]!r:.80}, a {type(wrong[0]).__name__}: use only plain values, which are equal in "
            "every process"
        )


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, tuple | frozenset):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _outcome_rules(outcomes: Iterable[tuple[Request, Any]]) -> Iterator[str]:
    for request, outcome in outcomes:
        if outcome is None:
            yield f"for {request} samples are missing without a failure: yield one SampleFailure, which comes last"
        elif isinstance(outcome, Sample):
            yield from _sample_rules(outcome)


def _sample_rules(sample: Sample) -> Iterator[str]:
    for name, highest in (("logprobs", 1e-3), ("token_entropies", math.inf), ("hidden_state", math.inf)):
        values = getattr(sample, name) or ()
        if not all(map(math.isfinite, values)):
            yield f"a sample's {name} are {values!r:.80}: they must be finite, or None"
        elif any(value > highest for value in values):
            yield f"a sample's {name} hold {max(values)}: the logarithm of a probability is at most 0"
    if sample.logprobs and sample.token_entropies and len(sample.logprobs) != len(sample.token_entropies):
        yield f"a sample has {len(sample.logprobs)} logprobs and {len(sample.token_entropies)} token_entropies"
    if sample.logprobs and sample.tokens and len(sample.logprobs) != len(sample.tokens):
        yield f"a sample has {len(sample.logprobs)} logprobs and {len(sample.tokens)} tokens"


def _laziness_rules(sampler: Sampler, questions: Sequence[str]) -> Iterator[str]:
    taken = 0

    def requests() -> Iterator[Request]:
        nonlocal taken
        for index in range(_MANY_REQUESTS):
            taken += 1
            yield Request(index, f"{questions[index % len(questions)]} ({index})", 1)

    stream = sampler.stream(requests())
    if not isinstance(stream, Generator):
        yield f"stream() returned a {type(stream).__name__}: it must return a generator, which can be closed"
        return
    next(stream, None)
    if taken == _MANY_REQUESTS:
        yield (
            f"it took all of {_MANY_REQUESTS} requests before its first sample: it must take a request only when it "
            "can start on it"
        )
    stream.close()
    at_close = taken
    time.sleep(0.1)  # time for a thread that was not stopped to take more requests
    if taken != at_close:
        yield f"it did not stop when closed: it took {taken - at_close} more requests"
