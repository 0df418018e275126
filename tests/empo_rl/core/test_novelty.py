"""The reward `evol`: cases by hand, a second computation with numpy, and properties."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl import EmpoProvider, RolloutGroup
from empo_rl.core.rewards.novelty import EvolReward
from empo_rl.testing import GROUPS, check_reward
from semantic_entropy import InputError


def answer_of(text):
    """The last word is the answer; a dot is no answer."""
    return None if text.endswith(".") else text.split()[-1]


def overlap(left, right):
    """The share of common words."""
    a, b = set(left.split()), set(right.split())
    return len(a & b) / len(a | b)


def pay(completions, similarity=overlap, **more):
    options = {"similarity": similarity}
    with EmpoProvider("exact", extract=answer_of, reward="evol", reward_options=options, **more) as provider:
        return provider.step([RolloutGroup(tuple(completions))]).rewards.tolist()


def test_evol_by_hand():
    # majority "4": texts A "x 4", B "x y 4", C "z 4"; other answer: D "z 5"
    # s: AB 2/3, AC 1/3, AD 0, BC 1/4, BD 0, CD 1/3
    # u(A) = 1 - ((2/3+1/3)/2 + 2/3)/2 = .4167   u(B) = 1 - ((2/3+1/4)/2 + 2/3)/2 = .4375
    # u(C) = 1 - ((1/3+1/4)/2 + 1/3)/2 = .6875   v = 0, .0769, 1   r = .5 + .5 v; D is alone on its side: -.5
    v = (0.4375 - 5 / 12) / (0.6875 - 5 / 12)
    assert pay(["x 4", "x y 4", "z 4", "z 5"]) == pytest.approx([0.5, 0.5 + 0.5 * v, 1.0, -0.5])


@pytest.mark.parametrize(
    ("completions", "expected"),
    [
        (["a 4"] * 4, [0.75] * 4),  # equal novelty: the middle
        (["no ."] * 3, [-1] * 3),
        (["a 4", "no .", "no ."], [1, -1, -1]),  # alone on its side
        (["a 4", "b 4", "c 5", "c 5"], [0.75, 0.75, -0.75, -0.75]),
        (["think 4 </think> a 4", "other </think> a 4"], [0.75, 0.75]),  # the reasoning is not compared
    ],
)
def test_evol_with_equal_texts_and_without_answers(completions, expected):
    assert pay(completions) == pytest.approx(expected)


def evol_from_its_definition(answers, matrix):
    """The formula on a matrix of similarities, one row at a time."""
    valid = [i for i, answer in enumerate(answers) if answer != "."]
    winner = Counter(answers[i] for i in valid).most_common(1)[0][0] if valid else None
    novelty = {}
    for i in valid:
        others = [j for j in valid if j != i]
        side = [j for j in others if (answers[j] == winner) == (answers[i] == winner)] or others
        novelty[i] = 1 - (matrix[i, side].mean() + matrix[i, others].max()) / 2 if others else 0.0
    paid = np.full(len(answers), -1.0)
    for wins, low in ((True, 0.5), (False, -1.0)):
        side = [i for i in valid if (answers[i] == winner) == wins]
        values = np.array([novelty[i] for i in side])
        if len(side) == 1:
            paid[side] = low + 0.5
        elif len(side) > 1:
            spread = np.ptp(values)
            paid[side] = low + 0.5 * ((values - values.min()) / spread if spread > 1e-6 else 0.5)
    return paid


GROUP = st.lists(st.tuples(st.sampled_from("aab."), st.integers(0, 30)), min_size=2, max_size=10)


def texts_of(rows):
    return [f"{' '.join(format(number, 'b').replace('0', 'o '))}{number % 7} {answer}" for answer, number in rows]


@given(GROUP)
def test_evol_is_its_definition(rows):
    texts = texts_of(rows)
    matrix = np.array([[1.0 if a == b else overlap(a, b) for b in texts] for a in texts])
    expected = evol_from_its_definition([answer for answer, _ in rows], matrix)
    assert pay(texts) == pytest.approx(expected.tolist())


@given(GROUP, st.randoms())
def test_the_sign_is_that_of_the_majority_and_the_order_changes_nothing(rows, dice):
    texts, counts = texts_of(rows), Counter(answer for answer, _ in rows if answer != ".").most_common(2)
    if len(counts) == 2 and counts[0][1] == counts[1][1]:
        return  # the first of two largest clusters is the majority
    straight = pay(texts)
    for (answer, _), reward in zip(rows, straight, strict=True):
        assert 0.5 <= reward <= 1 if counts and answer == counts[0][0] else -1 <= reward <= -0.5
    order = dice.sample(range(len(rows)), len(rows))
    assert pay([texts[i] for i in order]) == pytest.approx([straight[i] for i in order])


def test_a_group_is_paid_alone_also_in_a_batch():
    groups = [["x 4", "x y 4", "z 5", "x z 5"], ["x 4", "q 5", "q y 5", "x z 5"]]
    with EmpoProvider("exact", extract=answer_of, reward=EvolReward(overlap)) as provider:
        together = provider.step(groups).rewards.tolist()
    assert together == pytest.approx([*pay(groups[0]), *pay(groups[1])])


def test_noise_of_float32_does_not_spread_equal_texts_over_the_range():
    noise = iter([0.5, 0.5 + 1e-8, 0.5 - 1e-8])
    assert pay(["a 4", "b 4", "c 4"], lambda *_: next(noise)) == pytest.approx([0.75] * 3)


def test_evol_under_drop_pays_nothing_to_an_invalid_answer():
    paid = pay(["x 4", "no .", "y 4"], invalid="drop")
    assert [paid[0], paid[2]] == pytest.approx([0.75, 0.75])
    assert math.isnan(paid[1])


@pytest.mark.parametrize("value", [math.nan, 1.5, -0.1, None, "0.5"])
def test_a_similarity_that_is_no_share_is_an_error_and_never_a_reward(value):
    with pytest.raises(InputError, match=r"the similarity of 'a 4' and 'b 4' is .*: evol needs a number in \[0, 1\]"):
        pay(["a 4", "b 4"], lambda *_: value)


def test_evol_says_what_to_set():
    with pytest.raises(InputError, match="evol needs similarity: set similarity='embedding' and similarity_options="):
        EmpoProvider("exact", reward="evol")
    with pytest.raises(InputError, match="similarity_options needs similarity as the name of a judge"):
        EvolReward(overlap, {"model": "m"})


def test_evol_keeps_the_contract_of_rewards():
    check_reward(EvolReward(overlap), GROUPS)


def test_evol_asks_a_judge_with_scores_and_closes_it(tmp_path):
    options = {"similarity": "ngram"}
    with EmpoProvider("exact", extract=answer_of, reward="evol", reward_options=options) as provider:
        paid = provider.step([["the red house 4", "the red home 4", "blue 4"]]).rewards
    assert paid.argmax() == 2


def test_evol_finds_a_similarity_in_a_file(tmp_path):
    (tmp_path / "similar.py").write_text("def same_length(a, b):\n    return float(len(a) == len(b))\n")
    file = f"{tmp_path / 'similar.py'}:same_length"
    assert pay(["a 4", "b 4", "long 4"], file) == pytest.approx([0.5, 0.5, 1.0])
