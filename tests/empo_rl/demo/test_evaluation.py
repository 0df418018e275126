import math

import pytest

from empo_rl.data.arithmetic import ArithmeticQuestion
from empo_rl.demo import evaluation
from empo_rl.demo.evaluation import Evaluation, evaluate
from semantic_entropy import Scorer

ONE, TWO = ArithmeticQuestion(1, 1, 1, 1), ArithmeticQuestion(2, 2, 2, 2)  # 3 and 10


def box(*answers):
    return [rf"\boxed{{{answer}}}" for answer in answers]


def test_the_four_numbers_on_a_hand_worked_case(monkeypatch, model, tokenizer):
    greedy = [*box(3), "no answer"]
    samples = box(*[3] * 4, *[4] * 4) + box(*[9] * 6, 10, 10)
    answers = iter([greedy, samples])
    monkeypatch.setattr(evaluation, "complete", lambda *_, **__: next(answers))
    with Scorer(equivalence="exact", extract="boxed") as scorer:
        result = evaluate(model, tokenizer, [ONE, TWO], scorer, seed=0)
    assert result.pass_at_1 == 0.5
    assert result.mean_at_8 == pytest.approx((4 + 2) / 16)
    assert result.majority_at_8 == 0.5  # of a tie, the answer that appeared first
    expected = (math.log(2) - 0.75 * math.log(0.75) - 0.25 * math.log(0.25)) / 2
    assert result.semantic_entropy == pytest.approx(expected)
    assert result.wrong == (False, True)


def test_auroc_counts_equal_entropies_as_ties():
    entropies = (0.5, math.nextafter(0.5, 1), 0.5, 0.1)
    assert Evaluation(0, 0, 0, 0, (True, False, True, False), entropies, (0,) * 4).auroc() == pytest.approx(0.75)


@pytest.mark.parametrize("wrong", [(True, True), (False, False)])
def test_auroc_of_one_kind_alone_is_undefined(wrong):
    assert Evaluation(0, 0, 0, 0, wrong, (0.1, 0.2), (0, 0)).auroc() is None


def test_evaluating_leaves_the_trainings_random_numbers_alone(model, tokenizer):
    import torch

    with Scorer(equivalence="exact", extract="boxed") as scorer:
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        first = evaluate(model, tokenizer, [ONE], scorer, seed=0)
        assert torch.equal(torch.rand(3), expected)
        assert evaluate(model, tokenizer, [ONE], scorer, seed=0) == first
