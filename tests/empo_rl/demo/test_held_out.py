import math
from types import SimpleNamespace

import pytest
import torch

from empo_rl.config import load_config
from empo_rl.data.arithmetic import ArithmeticQuestion
from empo_rl.demo import held_out
from empo_rl.demo.held_out import (
    HeldOutEvaluations,
    RunClock,
    complete,
    entropy_auroc,
    evaluate_model,
    grade_texts,
    summarize,
)
from empo_rl.evaluate.grades import Judges

FIRST, SECOND = ArithmeticQuestion(1, 1, 1, 1), ArithmeticQuestion(2, 2, 2, 2)  # 3 and 10


def box(*answers):
    return [rf"\boxed{{{answer}}}" for answer in answers]


@pytest.fixture
def judges():
    judges = Judges("math", extract="boxed")
    yield judges
    judges.close()


def test_the_four_numbers_on_a_hand_worked_case(judges):
    samples = [box(*[3] * 4, *[4] * 4), box(*[9] * 6, 10, 10)]
    evaluation = grade_texts([FIRST, SECOND], [*box(3), "no answer"], samples, judges)
    numbers = summarize(evaluation)
    assert numbers["pass@1"] == 0.5
    assert numbers["mean@8"] == pytest.approx((4 + 2) / 16)
    assert numbers["majority@8"] == 0.5  # of equally large clusters, the one that appears first
    expected = (math.log(2) - 0.75 * math.log(0.75) - 0.25 * math.log(0.25)) / 2
    assert numbers["semantic_entropy"] == pytest.approx(expected)
    assert evaluation["pass@1"] == [1.0, 0.0]


def test_auroc_counts_entropies_that_differ_in_the_last_bit_as_equal():
    entropies = (0.5, math.nextafter(0.5, 1), 0.5, 0.1)
    assert entropy_auroc({"pass@1": [0, 1, 0, 1], "semantic_entropy": entropies}) == pytest.approx(0.75)


@pytest.mark.parametrize("right", [[1, 1], [0, 0]])
def test_auroc_is_undefined_if_all_answers_are_right_or_all_are_wrong(right):
    assert entropy_auroc({"pass@1": right, "semantic_entropy": [0.1, 0.2]}) is None


def test_an_evaluation_does_not_change_the_random_numbers_of_the_training(model, tokenizer, judges):
    options = {"max_new_tokens": 8, "seed": 0}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = evaluate_model(model, tokenizer, [FIRST], judges, **options)
    assert torch.equal(torch.rand(3), expected)
    assert evaluate_model(model, tokenizer, [FIRST], judges, **options) == first


def test_padding_does_not_change_greedy_completions(model, tokenizer):
    prompts = ["What is (1+2)*3+4?", "1+2="]
    in_one_batch = complete(model, tokenizer, prompts, max_new_tokens=6, greedy=True)
    one_by_one = [complete(model, tokenizer, [prompt], max_new_tokens=6, greedy=True)[0] for prompt in prompts]
    assert in_one_batch == one_by_one


@pytest.fixture
def callback(monkeypatch):
    """Evaluates nothing: each evaluation is one question with the value step / 100."""
    evaluations = iter([{name: [step / 100] for name in held_out.NUMBERS} for step in (0, 10, 12)])
    monkeypatch.setattr(held_out, "evaluate_model", lambda *_, **__: next(evaluations))
    return HeldOutEvaluations(load_config("tiny", ["training.steps=12"]))


def state(step):
    return SimpleNamespace(global_step=step)


OBJECTS = {"model": None, "processing_class": None}


def test_the_model_is_evaluated_before_the_first_step_every_ten_steps_and_after_the_last(callback):
    callback.on_train_begin(None, state(0), None, **OBJECTS)
    for step in range(1, 13):
        callback.on_step_end(None, state(step), None, **OBJECTS)
    assert list(callback.by_step) == [0, 10, 12]
    logs = {step: {"loss": 0.0} for step in (9, 10)}
    for step, log in logs.items():
        callback.on_log(None, state(step), None, logs=log)
    assert logs[9] == {"loss": 0.0}
    assert logs[10] == {"loss": 0.0, **{f"eval/{name}": 0.1 for name in held_out.NUMBERS}}


def test_evaluations_are_continued_from_a_checkpoint(callback):
    callback.on_train_begin(None, state(0), None, **OBJECTS)
    resumed = HeldOutEvaluations(load_config("tiny"))
    resumed.load_state_dict(callback.state_dict())
    resumed.on_train_begin(None, state(5), None)
    assert resumed.by_step == callback.by_step


class Clock:
    """Shows the time that a test sets."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(held_out, "time", clock)
    return clock


def test_the_seconds_of_earlier_processes_count_up_to_their_last_checkpoint(clock):
    first = RunClock(before=20)
    clock.now = 5
    first.on_train_begin(None, None, None)
    clock.now = 30
    kept = first.state_dict()
    clock.now = 50  # lost: after the checkpoint
    clock.now = 1000
    second = RunClock(before=20)
    clock.now = 1004  # loading
    second.load_state_dict(kept)
    clock.now = 1005
    second.on_train_begin(None, None, None)
    clock.now = 1025
    second.on_train_end(None, None, None)
    clock.now = 1027
    assert kept == {"train": 25, "total": 50}
    assert second.seconds() == {"train": 45, "total": 77}
