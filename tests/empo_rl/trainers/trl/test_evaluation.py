"""The held-out evaluation without a training run: its means, and which step is the best."""

import math
from types import SimpleNamespace

import pytest
import torch

from empo_rl import EmpoProvider, RolloutGroup
from empo_rl.trainers.trl.evaluation import EvaluationCallback, summarize_questions

NAN = math.nan


def question(accuracy, majority, entropy):
    return {"accuracy": accuracy, "majority": majority, "semantic_entropy": entropy, "invalid_fraction": 0.25}


def test_the_numbers_of_a_question_need_no_reward_and_change_no_state():
    groups = [
        RolloutGroup((r"\boxed{4}", r"\boxed{4}", r"\boxed{5}", "none"), gold="4"),
        RolloutGroup((r"\boxed{4}", r"\boxed{5}", r"\boxed{5}", "none"), gold="4"),
        RolloutGroup(("a", "b", "c", "d"), gold="4"),
        RolloutGroup((r"\boxed{4}",) * 4),
    ]
    with EmpoProvider("exact", extract="boxed", reward="random") as provider:
        before = provider.state_dict()
        first, second, third, fourth = provider.measure_answers(groups)
        assert provider.state_dict() == before
    assert (first["accuracy"], first["majority"], first["invalid_fraction"]) == (0.5, 1.0, 0.25)
    assert (second["accuracy"], second["majority"]) == (0.25, 0.0)
    assert (third["accuracy"], third["majority"], third["invalid_fraction"]) == (0.0, 0.0, 1.0)
    assert math.isnan(fourth["accuracy"])
    assert math.isnan(fourth["majority"])
    assert fourth["semantic_entropy"] == 0


def test_the_accuracy_is_the_mean_over_questions_with_a_gold_answer():
    summary = summarize_questions([question(1.0, 1.0, 0.5), question(0.5, 0.0, 1.0), question(NAN, NAN, 0.0)])
    assert summary == {
        "accuracy": 0.75,
        "majority": 0.5,
        "semantic_entropy": 0.5,
        "invalid_fraction": 0.25,
        "questions": 3,
        "questions_with_gold": 2,
    }


def test_without_gold_answers_there_is_no_accuracy():
    summary = summarize_questions([question(NAN, NAN, 0.5)])
    assert "accuracy" not in summary
    assert summary["questions_with_gold"] == 0


def test_no_pass_generates_more_completions_than_a_step_of_the_training(tmp_path):
    rows = [{"prompt": str(n), "question": str(n), "gold": "4"} for n in range(2)]
    passes = []

    class Trainer:
        model = torch.nn.Linear(1, 1)

        def sample_completions(self, prompts):
            passes.append(len(prompts))
            return [r"\boxed{4}"] * len(prompts)

    with EmpoProvider("exact", extract="boxed") as provider:
        callback = EvaluationCallback(provider, rows, n=5, every=1, best=None, batch=2, seed=0, directory=tmp_path)
        callback.trainer = Trainer()
        numbers = callback.evaluate()
    assert passes == [2, 2, 1, 2, 2, 1]
    assert (numbers["accuracy"], numbers["questions"]) == (1.0, 2)


def best_steps(tmp_path, gold, best, *evaluations):
    """The steps, counted from 1, that are the best so far."""
    rows = [{"prompt": "q", "question": "q", "gold": gold}]
    fixed = {"n": 2, "every": 1, "batch": 2, "seed": 0, "directory": tmp_path}
    callback = EvaluationCallback(SimpleNamespace(), rows, best=best, **fixed)
    state = SimpleNamespace(best_metric=None)
    return [step for step, numbers in enumerate(evaluations, start=1) if callback._is_best(numbers, state)]


@pytest.mark.parametrize(
    ("gold", "best", "steps"),
    [
        ("4", None, [1, 3]),  # the accuracy; an equal accuracy later is no better
        ("4", "entropy", [1, 2]),
        (None, None, []),  # the lowest entropy may be that of a collapsed model
        (None, "entropy", [1, 2]),
        (None, "accuracy", []),
    ],
)
def test_the_best_step_has_the_highest_accuracy_or_on_request_the_lowest_entropy(tmp_path, gold, best, steps):
    values = [(0.5, 0.9), (0.5, 0.2), (0.75, 0.4), (0.6, 0.3)]
    evaluations = [
        {"semantic_entropy": entropy, **({"accuracy": accuracy} if gold else {})} for accuracy, entropy in values
    ]
    assert best_steps(tmp_path, gold, best, *evaluations) == steps
