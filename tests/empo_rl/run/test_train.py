"""A training run: what it reports."""

from empo_rl.run.train import _note


def test_a_step_without_any_valid_answer_is_reported_as_such():
    assert _note({"empo/keep_fraction": 0.0}) == "no valid answer, kept 0%"
    assert _note({"empo/entropy": 0.5, "empo/keep_fraction": 1.0}) == "entropy 0.50 nats, kept 100%"
