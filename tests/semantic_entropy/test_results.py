"""Results: what they print, and their JSON."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import BatchResult, InputError, Sample, Usage, estimate
from semantic_entropy.plain_text import to_json_value
from semantic_entropy.results import Cluster, DecidedBy, Provenance, Result, Undecided
from semantic_entropy.types import by_first_appearance

BOOKER = ["Arundhati Roy", "It was won by Arundhati Roy.", "Salman Rushdie", "arundhati roy", "I don't know."]


def test_a_result_prints_what_a_beginner_needs():
    result = estimate(BOOKER, question="Who won the 1997 Booker prize?")
    (warning,) = result.warnings
    assert repr(result).splitlines() == [
        "Result: entropy 0.950 nats (69% of the maximum), 2 meanings in 5 responses",
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
    estimators=st.lists(texts, max_size=2).map(tuple),
    stopping_rule=st.none() | texts,
    model=st.none() | texts,
    calibration=st.none() | texts,
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
any_results = st.builds(
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
    greedy_sample=st.none() | samples,
    p_wrong=st.none() | floats,
    flag=st.none() | st.booleans(),
    threshold=st.none() | floats,
)
shares = st.floats(0, 1) | st.just(math.nan)


@st.composite
def possible_results(draw):
    """Results whose labels, clusters, answers and probabilities agree; all other fields are anything."""
    labels = draw(st.lists(st.integers(-1, 2), max_size=3))
    numbers = by_first_appearance([label for label in labels if label >= 0])
    left = iter(numbers)
    labels = tuple([-1 if label < 0 else next(left) for label in labels])
    members = [tuple(i for i, label in enumerate(labels) if label == number) for number in range(len({*numbers}))]
    found = draw(any_results)
    if found.provenance.calibration is None or found.flag is None:
        bare = dataclasses.replace(found.provenance, calibration=None)
        found = dataclasses.replace(found, provenance=bare, p_wrong=None, flag=None, threshold=None)
    return dataclasses.replace(
        found,
        labels=labels,
        answers=tuple(draw(st.lists(st.none() | texts, min_size=len(labels), max_size=len(labels)))),
        clusters=tuple(Cluster(indices, draw(st.none() | texts), draw(shares)) for indices in members),
        probabilities=tuple(draw(st.lists(shares, max_size=3))),
    )


@given(any_results)
def test_to_dict_has_every_field_in_order_with_none_for_nan(result):
    expected = {key: to_json_value(value) for key, value in dataclasses.asdict(result).items()}
    for name in ("samples", "greedy_sample"):
        if getattr(result, name) is None:
            del expected[name]
    if result.flag is None:  # there is no calibration
        del expected["p_wrong"], expected["flag"], expected["threshold"]
    if result.long_answer is None:
        del expected["long_answer"]
    assert json.dumps(result.to_dict()) == json.dumps(expected)
    assert json.loads(result.to_json()) == json.loads(json.dumps(expected))


@given(possible_results())
def test_a_result_is_rebuilt_from_its_dict_and_from_its_json(result):
    fields = result.to_dict()
    assert repr(Result.from_dict(fields).to_dict()) == repr(fields)
    assert Result.from_dict(json.loads(result.to_json())).to_dict() == json.loads(result.to_json())
    rebuilt = Result.from_dict({**fields, "question": "another field of the row"})
    if all(map(math.isfinite, numbers_of(dataclasses.asdict(result)))):
        assert rebuilt == result


def numbers_of(value):
    """The floats in nested lists and dicts."""
    if isinstance(value, float):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [number for item in items for number in numbers_of(item)]


def test_fields_of_a_row_are_not_taken_for_those_of_a_calibration():
    result = estimate(BOOKER)
    assert Result.from_dict({**result.to_dict(), "flag": "red", "p_wrong": 2, "threshold": []}) == result


def test_a_measured_result_is_rebuilt_and_equal():
    result = estimate(BOOKER, question="Who won the 1997 Booker prize?", logprobs=[[-0.5]] * 5)
    assert Result.from_dict(result.to_dict()) == Result.from_dict(json.loads(result.to_json())) == result
    nothing = estimate([""], equivalence="exact")
    assert math.isnan(Result.from_dict(nothing.to_dict()).normalized)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entropy": "high"}, "the field entropy of a result is 'high'; it must have the type float"),
        ({"labels": [0, 1.5]}, r"the field labels\[1\] of a result is 1.5; it must have the type int"),
        ({"labels": "00"}, "the field labels of a result is '00'; it must have the type list"),
        (
            {"clusters": [{"indices": [0], "share": 1.0}]},
            r"the field clusters\[0\].representative of a result is missing",
        ),
        ({"provenance": None}, "the field provenance of a result is None; it must be a dict"),
        ({"entropy": 10**400}, "the field entropy of a result is 1000.*too large for a float"),
        ({"labels": []}, "the field labels of a result has 0 labels for 2 answers"),
        ({"labels": [0, -2]}, r"the field labels\[1\] of a result is -2; a label is -1"),
        ({"labels": [0, 0]}, r"the field clusters\[0\].indices of a result is \[0\]; the field labels .* at \[0, 1\]"),
        ({"clusters": []}, r"the field labels\[0\] of a result is 0; .* one of the 0 clusters"),
        ({"probabilities": [0.5, 1.5]}, r"the field probabilities\[1\] of a result is 1.5"),
        ({"scores": {"discrete": True}}, r"the field scores\['discrete'\] of a result is True"),
    ],
)
def test_a_wrong_field_of_a_dict_is_named(change, message):
    fields = estimate(["a", "b"], equivalence="exact").to_dict()
    with pytest.raises(InputError, match=message):
        Result.from_dict({**fields, **change})
    with pytest.raises(InputError, match="the field labels of a result is missing"):
        Result.from_dict({name: value for name, value in fields.items() if name != "labels"})
    with pytest.raises(InputError, match="a result is a dict"):
        Result.from_dict([fields])


def test_undecided_pairs_are_a_warning_of_the_result_and_of_the_batch():
    def nonsense(left, right):
        return None if "?" in left + right else left == right

    batch = estimate([["a?", "b?", "c?"], ["a", "a"]], equivalence=nonsense)
    assert batch[0].warnings[0].startswith("3 of 3 pairs undecided, counted as different; the first: 'a?' and 'b?'")
    assert batch.warnings == (
        "3 of 3 pairs (100%) are undecided and count as different: the entropies may be too high",
    )
    assert repr(batch).endswith(f"nats\n  warning: {batch.warnings[0]}")
    assert estimate([["a", "b"], ["a", "c"]], equivalence=nonsense).warnings == ()


def test_a_batch_with_few_undecided_pairs_has_no_warning():
    def rarely(left, right):
        return None if {left, right} == {"0", "1"} else False

    batch = estimate([[str(i) for i in range(10)]], equivalence=rarely)
    assert (batch[0].provenance.undecided, batch[0].provenance.pairs, batch.warnings) == (1, 45, ())


def test_a_batch_is_a_list_of_results():
    batch = estimate([["a", "a"], ["a", "b"], [""]], equivalence="exact", invalid="drop")
    assert isinstance(batch, BatchResult)
    assert batch == list(batch)
    assert batch[1:][0] == batch[1]
    assert math.isnan(batch.entropies[2])
    assert repr(batch) == "BatchResult: 3 groups, mean entropy 0.347 nats, 1 unknown (nan)"
    assert [fields["entropy"] for fields in batch.to_dicts()] == [0.0, batch[1].entropy, None]
