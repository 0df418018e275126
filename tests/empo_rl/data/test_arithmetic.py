import random

import pytest

from empo_rl.data.arithmetic import ArithmeticQuestion, chain, direct, pretraining_answer, split


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_evaluation_question_is_trained_on_even_with_a_and_b_swapped(seed):
    parts = split(seed)
    held_out = {q for e in parts.evaluation for q in (e, ArithmeticQuestion(e.b, e.a, e.c, e.d))}
    assert held_out.isdisjoint(parts.unlabelled)
    assert held_out.isdisjoint(parts.pretraining)
    assert set(parts.unlabelled).isdisjoint(parts.pretraining)


def test_the_split_has_the_sizes_it_says():
    parts = split(0)
    assert (len(set(parts.evaluation)), len(set(parts.unlabelled))) == (256, 2048)
    swapped = {ArithmeticQuestion(q.b, q.a, q.c, q.d) for q in parts.evaluation} - set(parts.evaluation)
    assert len(parts.pretraining) == 6561 - 256 - len(swapped) - 2048


def test_the_split_is_the_seeds():
    assert split(3) == split(3) != split(4)


def test_a_chain_shows_its_working():
    assert chain(ArithmeticQuestion(2, 3, 4, 7)) == "2+3=5\n5*4=20\n20+7=27\n\\boxed{27}"
    assert ArithmeticQuestion(2, 3, 4, 7).text == "What is (2+3)*4+7?"


def test_direct_answers_are_wrong_in_three_of_ten_texts_by_one_to_ten():
    dice, question = random.Random(0), ArithmeticQuestion(2, 3, 4, 7)
    off = [abs(int(direct(question, dice)[7:-1]) - 27) for _ in range(5000)]
    assert sum(map(bool, off)) / 5000 == pytest.approx(0.3, abs=0.02)
    assert set(off) == set(range(11))


def test_no_text_has_a_negative_answer():
    dice = random.Random(0)
    assert not any("-" in direct(ArithmeticQuestion(1, 1, 1, 1), dice) for _ in range(1000))


@pytest.mark.parametrize(("c", "share"), [(6, 0.7), (7, 0.35)])
def test_most_texts_are_direct_where_it_is_easy(c, share):
    dice = random.Random(0)
    texts = [pretraining_answer(ArithmeticQuestion(2, 3, c, 7), dice) for _ in range(5000)]
    assert sum("\n" not in text for text in texts) / 5000 == pytest.approx(share, abs=0.02)
