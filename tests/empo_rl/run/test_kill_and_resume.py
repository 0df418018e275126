"""Runs of `empo-train tiny`, killed with SIGKILL and resumed: no step is lost or repeated, the numbers are equal."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

STEPS, SAVE_EVERY = 7, 3
COMMAND = [
    *(sys.executable, "-m", "empo_rl.cli", "tiny", f"training.steps={STEPS}", f"training.save_every={SAVE_EVERY}"),
    *("training.prompts_per_step=8", "training.prompts_per_micro_batch=4", "training.warmup_steps=0"),
    *("demo.pretrain_steps=15", "data.limit=24", "training.learning_rate=1e-3", "rollout.max_completion_tokens=12"),
    *("empo.reward=composite", "empo.reward_options.weights.empo=1.0", "empo.reward_options.weights.random=1.0"),
]  # three steps per epoch, so the last checkpoint is in the third epoch; a reward that uses random numbers


def start(directory, *more, **how):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*COMMAND, f"output_dir={directory}", *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, **pipes, **how)


def finish(directory, *more):
    process = start(directory, *more)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said[-3000:]
    return said


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def numbers(directory):
    """The logged values of each step, without times."""
    times = ("_seconds", "step_time", "cost/", "num_tokens")
    return [{k: v for k, v in row.items() if not any(word in k for word in times)} for row in rows(directory)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    finish(directory)
    return directory


def lines(count):
    def reached(directory):
        metrics = directory / "metrics.jsonl"
        return metrics.exists() and metrics.read_text().count("\n") >= count

    return reached


def exists(name):
    return lambda directory: (directory / name).exists()


@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    "moment",
    [lines(1), lines(5), exists("checkpoint-6"), exists("final")],
    ids=["before the first checkpoint", "in a step", "while a checkpoint is written", "while the model is written"],
)
def test_a_run_killed_at_any_moment_and_resumed_gives_the_numbers_of_an_uninterrupted_run(moment, whole, tmp_path):
    directory = tmp_path / "run"
    start_and_kill(directory, moment)
    finish(directory, "--resume")
    assert_as_whole(directory, whole)


def start_and_kill(directory, moment):
    process = start(directory)
    try:
        while not moment(directory):
            assert process.poll() is None, process.communicate()[1][-2000:]
            time.sleep(0.005)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()


def assert_as_whole(directory, whole):
    assert [row["step"] for row in rows(directory)] == list(range(1, STEPS + 1))
    assert numbers(directory) == numbers(whole)
    weights, expected = (load_file(run / "final" / "model.safetensors") for run in (directory, whole))
    assert all((weights[name] == expected[name]).all() for name in expected)


def little_space():
    """Limit every file to 600 kB: the weights fit, the state of the optimizer does not."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))


@pytest.mark.timeout(280)
def test_a_full_disk_ends_the_run_with_advice_and_keeps_the_checkpoint_before(whole, tmp_path):
    directory = tmp_path / "run"
    start_and_kill(directory, lines(4))
    process = start(directory, "--resume", preexec_fn=little_space)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "no space left to write in" in said
    assert "set training.keep_checkpoints=2" in said
    assert f"--resume continues from {directory / 'checkpoint-3'}" in said
    assert not (directory / "checkpoint-6").exists()
    finish(directory, "--resume")
    assert_as_whole(directory, whole)


def test_each_step_and_the_run_log_their_cost(whole):
    for row in rows(whole):
        parts = [row[f"cost/{part}_seconds"] for part in ("generation", "judging", "loss")]
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(row["cost/step_seconds"])
        assert row["cost/peak_memory_gib"] > 0.1  # torch alone needs that much
    total = json.loads((whole / "cost.json").read_text())
    assert total["steps"] == STEPS
    assert total["seconds"]["step"] == pytest.approx(sum(row["cost/step_seconds"] for row in rows(whole)), abs=0.01)
    assert sum(total["shares"].values()) == pytest.approx(1, abs=0.001)
