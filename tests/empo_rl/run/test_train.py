"""A training run: what it reports."""

from empo_rl.run.train import _note


def test_the_progress_line_shows_reward_entropy_kept_invalid_and_cut_off():
    logs = {
        "empo/reward": 0.5,
        "empo/entropy": 0.512,
        "empo/keep_fraction": 0.75,
        "empo/invalid_fraction": 0.1,
        "completions/clipped_ratio": 0.25,
    }
    assert _note(logs) == "reward 0.50, entropy 0.51 nats, kept 75%, invalid 10%, cut off 25%"


def test_a_number_that_a_step_does_not_have_is_left_out_of_the_progress_line():
    assert _note({"empo/keep_fraction": 0.0, "empo/invalid_fraction": 1.0}) == "kept 0%, invalid 100%"
    assert _note({"loss": 0.25}) == "loss 0.250"
