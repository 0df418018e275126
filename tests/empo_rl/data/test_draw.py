from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from empo_rl.data.draw import Draw


def drawn(rows, size, seed=42):
    draw = Draw(size, seed)
    for row in rows:
        draw.offer("somewhere", row)
    return [row["question"] for _, row in draw.rows()]


def questions(*texts):
    return [{"question": text} for text in texts]


@given(st.lists(st.sampled_from("abcdef"), max_size=12).flatmap(lambda q: st.tuples(st.just(q), st.permutations(q))))
def test_the_order_of_the_source_changes_neither_what_is_drawn_nor_its_order(both):
    given_order, other_order = both
    assert drawn(questions(*given_order), 5) == drawn(questions(*other_order), 5)


@given(st.lists(st.text(max_size=3), max_size=30), st.integers(1, 10), st.integers(0, 20))
def test_a_draw_is_the_beginning_of_a_larger_one(texts, size, more):
    assert drawn(questions(*texts), size) == drawn(questions(*texts), size + more)[:size]


@given(st.lists(st.text(max_size=3), max_size=30), st.integers(1, 30))
def test_no_row_is_drawn_more_often_than_it_is_there(texts, size):
    found = Counter(drawn(questions(*texts), size))
    assert found.total() == min(size, len(texts))
    assert found <= Counter(texts)


def test_seeds_draw_differently():
    rows = questions(*map(str, range(100)))
    assert drawn(rows, 10, seed=1) == drawn(rows, 10, seed=1) != drawn(rows, 10, seed=2)


def test_each_row_is_drawn_about_equally_often_over_seeds():
    rows = questions(*map(str, range(20)))
    counts = Counter(question for seed in range(2000) for question in drawn(rows, 5, seed))
    # Binomial(2000, 1/4): 500 expected, standard deviation 19; five of them
    assert set(counts) == {row["question"] for row in rows}
    assert max(abs(count - 500) for count in counts.values()) < 97


def test_equal_rows_have_a_chance_each_and_no_common_fate():
    rows = questions(*["twice", "twice"], *map(str, range(8)))
    counts = Counter(drawn(rows, 5, seed).count("twice") for seed in range(400))
    # both in: 5/10 * 4/9 = 0.22 of 400 is 89, sd 8; exactly one: 0.56 of 400 is 222, sd 10
    assert 49 < counts[2] < 129
    assert 172 < counts[1] < 272
