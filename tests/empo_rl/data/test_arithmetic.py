import random

import pytest

from empo_rl.data.arithmetic import ArithmeticQuestion, chain, direct, pretraining_answer, split


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_evaluation_question_is_in_the_training_sets_even_with_a_and_b_swapped(seed):
    parts = split(seed)
    held_out = {q for e in parts.evaluation for q in (e, ArithmeticQuestion(e.b, e.a, e.c, e.d))}
    assert held_out.isdisjoint(parts.unlabelled)
    assert held_out.isdisjoint(parts.pretraining)
    assert set(parts.unlabelled).isdisjoint(parts.pretraining)


def test_the_split_has_the_documented_sizes():
    parts = split(0)
    assert (len(set(parts.evaluation)), len(set(parts.unlabelled))) == (256, 2048)
    swapped = {ArithmeticQuestion(q.b, q.a, q.c, q.d) for q in parts.evaluation} - set(parts.evaluation)
    assert len(parts.pretraining) == 6561 - 256 - len(swapped) - 2048


def test_the_split_depends_only_on_the_seed():
    assert split(3) == split(3) != split(4)


def test_a_chain_shows_its_steps():
    assert chain(ArithmeticQuestion(2, 3, 4, 7)) == "2+3=5\n5*4=20\n20+7=27\n\\boxed{27}"
    assert ArithmeticQuestion(2, 3, 4, 7).text == "What is (2+3)*4+7?"


def test_direct_answers_are_wrong_in_30_percent_of_the_texts_by_1_to_10():
    rng, question = random.Random(0), ArithmeticQuestion(2, 3, 4, 7)
    off = [abs(int(direct(question, rng)[7:-1]) - 27) for _ in range(5000)]
    assert sum(map(bool, off)) / 5000 == pytest.approx(0.3, abs=0.02)
    assert set(off) == set(range(11))


def test_no_text_has_a_negative_answer():
    rng = random.Random(0)
    assert not any("-" in direct(ArithmeticQuestion(1, 1, 1, 1), rng) for _ in range(1000))


@pytest.mark.parametrize(("c", "share"), [(6, 0.7), (7, 0.35)])
def test_easy_questions_are_answered_directly_more_often(c, share):
    rng = random.Random(0)
    texts = [pretraining_answer(ArithmeticQuestion(2, 3, c, 7), rng) for _ in range(5000)]
    assert sum("\n" not in text for text in texts) / 5000 == pytest.approx(share, abs=0.02)
