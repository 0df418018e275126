"""The judges that compare strings: the rule of `text` case by case, and the conformance checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import InputError, Pair, estimate, load_equivalence
from semantic_entropy.testing import check_equivalence
from semantic_entropy_plugins.text import fact_comparison
from semantic_entropy_plugins.text.fact_comparison import content
from semantic_entropy_plugins.text.text_judges import LONGEST
from tests.shared_data import rows

TEXT = [  # question, one answer, another, the same?
    ("Capital of France?", "Paris", "It is Paris.", True),
    ("Capital of France?", "Paris", "The capital of France is Paris", True),
    ("Capital of France?", "Paris", "Rome", False),
    (None, "42", "forty-two", True),
    (None, "1,000", "1000", True),
    (None, "in 1912", "in 1913", False),
    (None, "April 1912", "1912", True),
    ("Is 7 prime?", "Yes, 7 is prime.", "No, 7 is not prime.", False),
    ("Is 7 prime?", "Yes", "yes, it is", True),
    (None, "not guilty", "guilty", False),
    ("Ford or Howard?", "Ford", "Howard", False),  # all words are in the question
    ("Ford or Howard?", "Ford", "It is Ford", True),
    (None, "Wilhelm Conrad R\u00f6ntgen", "Wilhelm Rontgen", True),
    (None, "the red big house", "a big red house with garden", True),  # three of three
    (None, "alpha beta gamma delta", "alpha beta gamma epsilon", True),  # 3 of 4 words
    (None, "alpha beta gamma delta", "alpha beta zeta epsilon", False),  # 2 of 4
    (None, "\u6771\u4eac", "\u6771\u4eac\u90fd", True),
    (None, "\u041c\u043e\u0441\u043a\u0432\u0430", "\u043c\u043e\u0441\u043a\u0432\u0430!", True),
    (None, '{"city": "Paris", "year": 1900}', '{"year": 1900.0, "city": "paris"}', True),
    (None, '{"a": 1, "b": 2}', '{"a": 2, "b": 1}', False),
    (None, "[1, 2]", "[2, 1]", False),
    (None, '```json\n{"a": [1, "x"]}\n```', '{"a":[1,"X"]}', True),
    (None, '{"a": true}', '{"a": 1}', False),
    (None, '{"a": 1', '{"a": 1', True),  # not JSON: words
    (None, "the", "a", False),
    (None, "!!", "??", False),
    (None, "\U0001f642", "\U0001f641", False),
    (None, "C", "C++", False),
    (None, "-5", "5", False),
    (None, "1/2", "2", False),
    ("Capital of Australia?", "It is Canberra, not Sydney.", "Sydney", False),
    (None, "John F. Kennedy", "Robert F. Kennedy", True),  # wrong, and documented
    (None, "1945", "nineteen forty-five", True),
    (None, "before 1990", "after 1990", False),
    (None, "I think Paris", "think paris", True),
]


@pytest.mark.parametrize(("question", "left", "right", "same"), TEXT)
def test_the_rule_of_text(question, left, right, same):
    judge = load_equivalence("text")
    (there,) = judge.judge([Pair(question, left, right)])
    (back,) = judge.judge([Pair(question, right, left)])
    assert there.same is back.same is same


@pytest.mark.parametrize("name", ["exact", "text", "ngram"])
def test_they_pass_the_conformance_checks(name):
    check_equivalence(load_equivalence(name))


WORDS = st.lists(
    st.sampled_from("paris rome not yes no 1912 1,000 two the of Gr\u00fcn \u6771\u4eac".split()), max_size=6
)


@given(st.none() | st.just("Which city, Paris or Rome?"), WORDS, WORDS)
def test_text_is_symmetric_reflexive_and_its_keys_agree_with_it(question, one, other):
    judge = load_equivalence("text")
    left, right = " ".join(one), " ".join(other)
    there, back, self_ = judge.judge(
        [Pair(question, left, right), Pair(question, right, left), Pair(question, left, left)]
    )
    assert there == back
    assert self_.same is True
    if len(set(judge.keys(question, [left, right]))) == 1:
        assert there.same is True


# The accuracy of the first, crude rule on these pairs: the lower limit.
PAIRS = {
    "evouna_nq_gold_vs_answer": 0.889,
    "evouna_tq_gold_vs_answer": 0.907,
    "evouna_nq_answer_vs_answer": 0.719,
    "evouna_tq_answer_vs_answer": 0.893,
}


@pytest.mark.parametrize("source", PAIRS)
def test_text_agrees_with_human_labels(source):
    table = [row for row in rows("pairs.jsonl") if row["source"] == source]
    verdicts = load_equivalence("text").judge([Pair(row["question"], row["a"], row["b"]) for row in table])
    right = sum(bool(v.same) == row["equivalent"] for row, v in zip(table, verdicts, strict=True))
    assert right / len(table) >= PAIRS[source]


def test_ngram_scores_overlap_and_decides_by_the_threshold():
    loose, tight = (load_equivalence("ngram", n=2, threshold=t) for t in (0.3, 0.9))
    pair = Pair(None, "the colour red", "the color red")
    assert loose.judge([pair])[0].same is True
    assert tight.judge([pair])[0].same is False
    assert loose.judge([pair])[0].score == tight.judge([pair])[0].score == pytest.approx(11 / 14)


def test_regex_compares_the_matches_of_the_pattern():
    judge = load_equivalence("regex", pattern=r"(\d{4})-(\d\d)")
    check_equivalence(judge)
    pairs = [Pair(None, "2020-01-05", "on 2020-01"), Pair(None, "2020-01", "2020-02"), Pair(None, "2020-01", "never")]
    assert [verdict.same for verdict in judge.judge(pairs)] == [True, False, None]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("regex", {"pattern": "("}, "not a regular expression"),
        ("ngram", {"n": 0}, "ngram: n=0 must be a whole number of at least 1"),
        ("ngram", {"threshold": 2}, "threshold=2 must be a number above 0 and at most 1"),
    ],
)
def test_wrong_options_are_errors(name, options, says):
    with pytest.raises(InputError, match=says):
        load_equivalence(name, **options)


numbers = st.sets(
    st.sampled_from(["5", "5 km", "5000 m", "5 people", "5%", "1960", "the 1960s", "7 pounds", "8", "$5"])
)


@given(numbers, numbers)
def test_the_short_way_to_compare_numbers_agrees_with_the_rule_for_all_elements(one, other):
    left, right = (content(None, ", ".join(sorted(texts)) or "none") for texts in (one, other))
    missing = (
        fact_comparison._missing(left.numbers, right.numbers, left.facts, right.facts),
        fact_comparison._missing(right.numbers, left.numbers, right.facts, left.facts),
    )
    assert fact_comparison._different_numbers(left, right) == all(missing)


@pytest.mark.timeout(30)  # reading both answers would take minutes
def test_text_over_the_length_limit_is_equal_as_a_text_or_undecided_with_the_reason():
    long = "1 " * LONGEST
    result = estimate([long, long.replace(" ", "\n"), long + "2", "1"], equivalence="text")
    assert result.labels == (0, 0, 1, 2)
    assert len(result.undecided) == 3
    assert any(f"more than {LONGEST}" in undecided.reason for undecided in result.undecided)
    (verdict,) = load_equivalence("text").judge([Pair(None, long, long.upper() + "\n")])
    assert verdict.same is True
