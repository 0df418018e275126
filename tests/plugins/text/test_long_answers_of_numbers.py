"""Long answers: all numbers of two answers are compared by their value, and an answer is read once."""

from __future__ import annotations

import threading
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import Pair, SemanticEntropyError, load_equivalence
from semantic_entropy.progress import cancelled_by
from semantic_entropy_plugins.quantities import read_unit
from semantic_entropy_plugins.text import fact_comparison
from semantic_entropy_plugins.text.measured_numbers import Quantity, without_equal

UNITS = [read_unit(name)[0] for name in ("km", "m", "kg", "hours")]


def measured(number, unit, counted):
    if unit is None:
        return Quantity(Fraction(number), counted=counted)
    if isinstance(unit, str):
        return Quantity(Fraction(number), unit, Fraction(number))
    return Quantity(Fraction(number), unit.dimension, Fraction(number) * unit.factor)


QUANTITIES = st.builds(
    measured,
    st.sampled_from(["1", "2", "5", "1000", "2000", "1/2", "0", "-1"]),
    st.sampled_from([None, None, *UNITS, "percent", "decade", "era", "time of day"]),
    st.sampled_from(["", "people", "tons", "pounds"]),
)


@given(st.lists(QUANTITIES, max_size=30), st.lists(QUANTITIES, max_size=30))
def test_the_quantities_without_an_equal_one_are_those_of_all_comparisons(ones, others):
    expected = [one for one in ones if not any(map(one.agrees, others))]
    assert list(without_equal(ones, others)) == expected


NUMBERS = [str(number) for number in range(1_000_000, 1_004_000)]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (" km ".join(NUMBERS) + " km", " ".join(NUMBERS)),
        (" km ".join(NUMBERS) + " km", "000 m ".join(NUMBERS) + "000 m"),
        (", ".join(f"a{number}: {number}" for number in NUMBERS), ", ".join(f"a{n}: {n} km" for n in NUMBERS)),
    ],
)
def test_thousands_of_numbers_are_compared_with_few_others_each(left, right, monkeypatch):
    """All pairs of 4,000 numbers took half a minute."""
    compared, agrees = [], Quantity.agrees

    def counted(self, other):
        compared.append(None)
        return agrees(self, other)

    monkeypatch.setattr(Quantity, "agrees", counted)
    load_equivalence("text").judge([Pair(None, left[:49_000], right[:49_000])])
    assert len(compared) < 20 * len(NUMBERS)


def read_answers(monkeypatch):
    read, plain_read = [], fact_comparison._read

    def counted(question, answer):
        read.append(answer)
        return plain_read(question, answer)

    monkeypatch.setattr(fact_comparison, "_read", counted)
    return read


def test_a_long_answer_of_many_pairs_is_read_once(monkeypatch):
    answers = [f"{'alpha ' * 300}{number}" for number in range(8)]
    read = read_answers(monkeypatch)
    judge = load_equivalence("text")
    judge.keys("once?", answers)
    judge.judge([Pair("once?", one, other) for one in answers for other in answers])
    assert sorted(read) == answers


def test_the_cache_of_long_answers_has_a_limit_of_characters(monkeypatch):
    cache = fact_comparison._LongContents(5_000)
    monkeypatch.setattr(fact_comparison, "_long_contents", cache)
    read = read_answers(monkeypatch)
    answers = [f"{'beta ' * 300}{number}" for number in range(5)]  # 1,501 characters each
    for answer in (*answers, answers[4], answers[0]):
        assert fact_comparison.content(None, answer) == fact_comparison.content(None, answer)
    assert read == [*answers, answers[0]]
    assert sum(len(answer) for _, answer in cache._known) <= 5_000


def test_a_cancelled_task_reads_no_further_long_answer():
    cancelled = threading.Event()
    judge, long = load_equivalence("text"), "gamma " * 300
    with cancelled_by(cancelled):
        assert judge.judge([Pair(None, long, long + "5")])[0].same
        cancelled.set()
        with pytest.raises(SemanticEntropyError, match="cancelled while the judge text read long answers"):
            judge.judge([Pair(None, long, long + "6")])
        assert judge.judge([Pair(None, "gamma", "gamma")])[0].same
