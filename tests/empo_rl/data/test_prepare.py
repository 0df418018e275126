from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from empo_rl.data.prepare import SeededSample


def sampled(rows, size, seed=42):
    sample = SeededSample(size, seed)
    for row in rows:
        sample.add("somewhere", row)
    return [row["question"] for _, row in sample.rows()]


def questions(*texts):
    return [{"question": text} for text in texts]


@given(st.lists(st.sampled_from("abcdef"), max_size=12).flatmap(lambda q: st.tuples(st.just(q), st.permutations(q))))
def test_the_order_of_the_source_does_not_change_the_sample_or_its_order(both):
    given_order, other_order = both
    assert sampled(questions(*given_order), 5) == sampled(questions(*other_order), 5)


@given(st.lists(st.text(max_size=3), max_size=30), st.integers(1, 10), st.integers(0, 20))
def test_a_sample_is_the_beginning_of_a_larger_sample(texts, size, more):
    assert sampled(questions(*texts), size) == sampled(questions(*texts), size + more)[:size]


@given(st.lists(st.text(max_size=3), max_size=30), st.integers(1, 30))
def test_no_row_is_sampled_more_often_than_the_source_contains_it(texts, size):
    found = Counter(sampled(questions(*texts), size))
    assert found.total() == min(size, len(texts))
    assert found <= Counter(texts)


def test_different_seeds_give_different_samples():
    rows = questions(*map(str, range(100)))
    assert sampled(rows, 10, seed=1) == sampled(rows, 10, seed=1) != sampled(rows, 10, seed=2)


def test_each_row_is_sampled_about_equally_often_over_seeds():
    rows = questions(*map(str, range(20)))
    counts = Counter(question for seed in range(2000) for question in sampled(rows, 5, seed))
    # Binomial(2000, 1/4): mean 500, standard deviation 19; the limit is five standard deviations
    assert set(counts) == {row["question"] for row in rows}
    assert max(abs(count - 500) for count in counts.values()) < 97


def test_equal_rows_are_sampled_independently():
    rows = questions(*["twice", "twice"], *map(str, range(8)))
    counts = Counter(sampled(rows, 5, seed).count("twice") for seed in range(400))
    # both sampled: 5/10 * 4/9 = 0.22 of 400 is 89, sd 8; exactly one: 0.56 of 400 is 222, sd 10
    assert 49 < counts[2] < 129
    assert 172 < counts[1] < 272
