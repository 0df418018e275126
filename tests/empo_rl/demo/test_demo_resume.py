"""`empo-train demo`, killed with SIGKILL in every stage and resumed, gives the numbers of an uninterrupted demo."""

import json
import os
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from empo_rl.files.metrics_file import read_metrics

STEPS = 6  # one more than the steps between two checkpoints
# a reward that uses random numbers
OPTIONS = ("--steps", str(STEPS), "--pretrain-steps", "12", "--seed", "3", "--reward", "random")
FILES = ["alarms.jsonl", "base", "config.yaml", "cost.json", "final", "metrics.jsonl"]
FILES += ["samples.jsonl", "summary.json", "training.png"]
TIMES = ("_seconds", "step_time", "cost/")


def start(directory, *options):
    command = [sys.executable, "-m", "empo_rl.cli", "demo", *OPTIONS, "--output-dir", str(directory), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(directory, *options):
    process = start(directory, *options)
    printed, said = process.communicate(timeout=400)
    assert process.returncode == 0, said[-3000:]
    return printed, said


def kill(process, moment, directory):
    try:
        while not moment(directory):
            assert process.poll() is None, process.communicate()[1][-2000:]
            time.sleep(0.002)
    finally:
        process.kill()  # SIGKILL
        _, said = process.communicate()
    return said


def exists(name):
    return lambda directory: (directory / name).exists()


def in_the_second_evaluation(directory):
    """The row of the last step is written after its evaluation; the step takes about as long as the one before."""
    rows = read_metrics(directory / "metrics.jsonl")
    if len(rows) != STEPS - 1 or not exists("checkpoint-5/trainer_state.json")(directory):
        return False
    time.sleep(1.5 * rows[-1]["cost/step_seconds"])
    return True


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole") / "demo"
    return directory, finish(directory)[0]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """One demo, killed in each stage; returns the stderr of each process, and the stdout of the last."""
    directory = tmp_path_factory.mktemp("killed") / "demo"
    moments = {
        "pre-training": exists("config.yaml"),
        "first evaluation": exists("base"),
        "training": lambda run: read_metrics(run / "metrics.jsonl") and not exists("checkpoint-5")(run),
        "second evaluation": in_the_second_evaluation,
        "picture": exists(".training.png"),
    }
    said = {}
    for number, (stage, moment) in enumerate(moments.items()):
        said[stage] = kill(start(directory, *(["--resume"] if number else [])), moment, directory)
    printed, said["end"] = finish(directory, "--resume")
    return directory, said, printed


def numbers(directory):
    """The logged values of each step, without times."""
    rows = read_metrics(directory / "metrics.jsonl")
    return [{k: v for k, v in row.items() if not any(word in k for word in TIMES)} for row in rows]


@pytest.mark.timeout(900)
def test_a_demo_killed_in_every_stage_gives_the_numbers_of_an_uninterrupted_demo(whole, killed):
    assert [row["step"] for row in numbers(killed[0])] == list(range(1, STEPS + 1))
    assert numbers(killed[0]) == numbers(whole[0])
    for model in ("base", "final"):
        weights, expected = (load_file(run / model / "model.safetensors") for run in (killed[0], whole[0]))
        assert all((weights[name] == expected[name]).all() for name in expected)
    summaries = [json.loads((run / "summary.json").read_text()) for run in (killed[0], whole[0])]
    for summary in summaries:
        summary.pop("seconds")
    assert [summary.pop("resumed_from") for summary in summaries] == [STEPS, None]
    assert summaries[0] == summaries[1]
    table = [printed.split("AUROC")[0] for printed in (killed[2], whole[1])]
    assert table[0] == table[1]


def test_each_process_reports_where_it_continues(killed):
    said = killed[1]
    assert "resum" not in said["pre-training"]
    assert "starting at step 1" in said["first evaluation"]
    assert "the base model" in said["training"]
    assert "starting at step 1" in said["second evaluation"]
    assert "checkpoint-5" in said["picture"]
    assert f"checkpoint-{STEPS}" in said["end"]
    assert f"all {STEPS} steps are completed: nothing to train." in said["end"]
    assert "training.steps" not in said["end"]  # a key that the demo does not have


def test_a_resumed_demo_leaves_the_files_of_an_uninterrupted_demo(whole, killed):
    left = [sorted(path.name for path in run.iterdir()) for run in (killed[0], whole[0])]
    assert left[0] == left[1] == FILES


def test_the_seconds_of_all_processes_count_up_to_the_checkpoint_that_the_next_one_used(killed):
    summary = json.loads((killed[0] / "summary.json").read_text())
    seconds, rows = summary["seconds"], read_metrics(killed[0] / "metrics.jsonl")
    assert seconds["train"] > sum(row["cost/step_seconds"] for row in rows)  # an earlier process made five of them
    assert seconds["pretrain"] > 0
    assert seconds["total"] > seconds["pretrain"] + seconds["train"]
