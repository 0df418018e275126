"""Runs as a new user sets them up, which cannot learn: each is told so at its first step, with the cause.

The runs train the untrained tiny model for one step, so its completions are random characters.
"""

import json

import pytest

from empo_rl.config.load import load_config
from empo_rl.run.train import run_training
from semantic_entropy import InputError

TINY = [
    *("demo.pretrain_steps=1", "training.steps=1", "training.prompts_per_step=8", "training.warmup_steps=0"),
    *("training.prompts_per_micro_batch=8", "rollout.num_generations=4", "empo.equivalence=exact"),
]


def first_step(directory, *overrides):
    """Train for one step. Returns what the user sees: the messages, and the progress lines."""
    seen = []
    config = load_config("tiny", [*TINY, f"output_dir={directory}", *overrides])
    run_training(
        config,
        overwrite=False,
        progress=lambda stage, done, total, note: seen.append(f"{stage} {done}/{total} {note}"),
        say=seen.append,
    )
    firings = [json.loads(line) for line in (directory / "alarms.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {firing["step"] for firing in firings} <= {1}
    return {firing["alarm"]: firing["message"] for firing in firings}, "\n".join(seen)


def test_a_prompt_without_a_box_is_told_at_step_1_with_three_completions(tmp_path, tokenizer):
    box = tokenizer.encode("\\boxed{", add_special_tokens=False)
    alarms, seen = first_step(
        tmp_path / "run",
        *("empo.extract=boxed", "rollout.max_completion_tokens=100"),
        f"trl.generation_kwargs={{suppress_tokens: {box}}}",
    )
    assert list(alarms) == ["nothing_readable"]
    assert "the prompt does not ask for a box. Set template.name=math" in alarms["nothing_readable"]
    assert alarms["nothing_readable"].count("[no answer, reward 0") == 3
    first, rest = alarms["nothing_readable"].split("\n", 1)
    assert first in seen
    assert rest in seen
    assert "training 1/1 reward 0.00, entropy 1.39 nats, kept 100%, invalid 100%, cut off " in seen


def test_completions_that_are_all_cut_off_are_told_at_step_1(tmp_path):
    alarms, seen = first_step(
        tmp_path / "run",
        *("empo.extract=boxed", "rollout.max_completion_tokens=2", "trl.generation_kwargs={min_new_tokens: 2}"),
    )
    assert list(alarms) == ["nothing_readable", "cut_off"]
    for message in alarms.values():
        assert "completions are cut off before their answer. Raise rollout.max_completion_tokens." in message
    assert "invalid 100%, cut off " in seen


def test_gold_answers_that_equal_no_answer_are_told_at_step_1(tmp_path):
    rows = [{"question": f"{n}+2=", "gold": "We add the two numbers and obtain the sum."} for n in range(8)]
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    alarms, _ = first_step(
        tmp_path / "run",
        *(f"data={{path: {data}, columns: {{gold: gold}}}}", "empo.reward=golden", "empo.extract=whole"),
    )
    assert list(alarms) == ["no_signal"]
    assert "Compare the gold answers below with the answers" in alarms["no_signal"]
    assert alarms["no_signal"].count("gold 'We add the two numbers and obtain the sum.'") == 3


def test_a_learning_rate_that_changes_no_weight_is_told_at_step_1(tmp_path):
    alarms, _ = first_step(tmp_path / "run", "training.learning_rate=1e-12", "empo.extract=whole", "empo.reward=random")
    assert list(alarms) == ["no_update"]
    assert "(learning rate 1e-12). The model does not learn. Raise training.learning_rate." in alarms["no_update"]


def test_a_run_that_diverges_says_so(tmp_path):
    config = ["training.learning_rate=1e30", "training.steps=3", "empo.extract=whole", "empo.reward=random"]
    with pytest.raises(
        InputError, match=r"not finite after step 1: the training diverged. Lower training.learning_rate"
    ):
        first_step(tmp_path / "run", *config)


def test_a_learning_rate_of_0_is_refused_before_the_run():
    with pytest.raises(InputError, match=r"training.learning_rate=0: expected a number greater than 0.0."):
        load_config("tiny", ["training.learning_rate=0"])


def test_a_run_that_can_learn_raises_no_alarm_at_step_1(tmp_path):
    alarms, _ = first_step(tmp_path / "run", "empo.extract=whole", "empo.reward=random")
    assert alarms == {}
