"""Results: what they print, and their JSON."""

from __future__ import annotations

import dataclasses
import json
import math

from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import BatchResult, Sample, Usage, estimate
from semantic_entropy.plain_text import to_json_value
from semantic_entropy.results import Cluster, DecidedBy, Provenance, Result, Undecided

BOOKER = ["Arundhati Roy", "It was won by Arundhati Roy.", "Salman Rushdie", "arundhati roy", "I don't know."]


def test_a_result_prints_what_a_beginner_needs():
    result = estimate(BOOKER, question="Who won the 1997 Booker prize?")
    (warning,) = result.warnings
    assert repr(result).splitlines() == [
        "Result: entropy 0.950 nats (69% of the maximum), 3 meanings in 5 responses",
        "   60.0%    3 x  Arundhati Roy",
        "   20.0%    1 x  Salman Rushdie",
        "   20.0%    1 x  (no answer)",
        "  invalid answers: 1",
        f"  warning: {warning}",
        "  judge: text (auto) \u00b7 2 pairs compared \u00b7 details: result.provenance",
    ]


def test_a_result_prints_the_eight_most_probable_clusters_and_the_judge_that_was_asked_for():
    lines = repr(estimate(list("aabcdefghi"), equivalence="exact")).splitlines()
    assert lines[1] == "   20.0%    2 x  a"
    assert lines[9:] == [
        "  ... and 1 more",
        "  judge: exact \u00b7 36 pairs compared \u00b7 details: result.provenance",
    ]


floats = st.floats()
texts = st.text(max_size=4)
usages = st.none() | st.builds(Usage, st.integers(), st.integers(), st.integers(), st.none() | floats)
float_lists = st.none() | st.lists(floats, max_size=3).map(tuple)
provenances = st.builds(
    Provenance,
    *[texts] * 7,
    *[st.integers()] * 3,
    versions=st.dictionaries(texts, texts, max_size=2),
    decided_by=st.lists(st.builds(DecidedBy, texts, st.integers()), max_size=2).map(tuple),
    usage=usages,
    sampler=st.none() | texts,
    sampling_usage=usages,
    n=st.none() | st.integers(),
)
samples = st.builds(
    Sample,
    text=texts,
    logprobs=float_lists,
    finish_reason=st.none() | texts,
    reasoning=st.none() | texts,
    token_entropies=float_lists,
    hidden_state=float_lists,
    usage=usages,
)
results = st.builds(
    Result,
    entropy=floats,
    normalized=floats,
    probabilities=st.lists(floats, max_size=3).map(tuple),
    labels=st.lists(st.integers(), max_size=3).map(tuple),
    clusters=st.lists(st.builds(Cluster, st.just((0, 2)), st.none() | texts, floats), max_size=2).map(tuple),
    answer=st.none() | texts,
    answers=st.lists(st.none() | texts, max_size=3).map(tuple),
    n_valid=st.integers(),
    invalid=st.integers(),
    scores=st.dictionaries(texts, floats, max_size=2),
    warnings=st.lists(texts, max_size=2).map(tuple),
    provenance=provenances,
    undecided=st.lists(st.builds(Undecided, texts, texts, texts), max_size=2).map(tuple),
    samples=st.none() | st.lists(samples, min_size=1, max_size=2).map(tuple),
)


@given(results)
def test_to_dict_has_every_field_in_order_with_none_for_nan(result):
    expected = {key: to_json_value(value) for key, value in dataclasses.asdict(result).items()}
    if result.samples is None:
        del expected["samples"]
    assert json.dumps(result.to_dict()) == json.dumps(expected)
    assert json.loads(result.to_json()) == json.loads(json.dumps(expected))


def test_a_batch_is_a_list_of_results():
    batch = estimate([["a", "a"], ["a", "b"], [""]], equivalence="exact", invalid="drop")
    assert isinstance(batch, BatchResult)
    assert batch == list(batch)
    assert batch[1:][0] == batch[1]
    assert math.isnan(batch.entropies[2])
    assert repr(batch) == "BatchResult: 3 groups, mean entropy 0.347 nats"
    assert [fields["entropy"] for fields in batch.to_dicts()] == [0.0, batch[1].entropy, None]
