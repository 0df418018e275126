"""Real runs that show themselves: samples, held-out evaluation, best checkpoint, model card; killed, resumed, in two
processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from click.testing import CliRunner

from empo_rl.cli import main

STEPS = 5
COMMAND = [
    *(sys.executable, "-m", "empo_rl.cli", "tiny", f"training.steps={STEPS}", "training.save_every=2"),
    *("training.prompts_per_step=4", "training.prompts_per_micro_batch=2", "training.warmup_steps=0"),
    *("training.keep_checkpoints=2", "training.learning_rate=1e-3", "demo.pretrain_steps=15"),
    *("rollout.num_generations=4", "rollout.max_completion_tokens=10", "empo.equivalence=exact", "samples.every=2"),
]
EVALUATION = "evaluation={data: {dataset: demo, limit: 5}, every: 2, n: 2}"


def start(directory, *more):
    command = [*COMMAND, f"output_dir={directory}", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(directory, *more):
    process = start(directory, *more)
    _, said = process.communicate(timeout=250)
    assert process.returncode == 0, said[-3000:]
    return said


def rows(directory, name):
    """The rows of a file, without times."""
    lines = (directory / name).read_text(encoding="utf-8").splitlines()
    times = ("seconds", "step_time", "cost/", "num_tokens")
    return [{k: v for k, v in json.loads(line).items() if not any(t in k for t in times)} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole") / "run"
    return directory, finish(directory, EVALUATION)


def test_samples_are_written_at_step_1_and_each_n_steps_with_clusters_rewards_and_keep(whole):
    directory, _ = whole
    found = rows(directory, "samples.jsonl")
    assert [row["step"] for row in found] == [1, 1, 2, 2, 4, 4]
    for row in found:
        assert row["question"].startswith("What is")
        assert row["kept"] is (row["reason"] is None)
        assert len(row["completions"]) == 4
        for item in row["completions"]:
            assert (item["answer"] is None) <= (item["reward"] == 0)
            assert item["tokens"] <= 10
    assert any(item["reward"] > 0 for row in found for item in row["completions"])


def test_the_command_shows_the_samples_of_a_step(whole):
    directory, _ = whole
    last = CliRunner().invoke(main, ["samples", str(directory)])
    assert last.exit_code == 0, last.output
    assert last.output.startswith("step 4: ")
    assert "[cluster 0, " in last.output
    assert last.output.endswith("steps with samples: 1, 2, 4\n")
    assert CliRunner().invoke(main, ["samples", str(directory), "--step", "1"]).output.startswith("step 1: ")
    missing = CliRunner().invoke(main, ["samples", str(directory), "--step", "3"])
    assert (missing.exit_code, missing.output) == (1, "Error: step 3 has no samples. Steps with samples: 1, 2, 4.\n")


def test_held_out_questions_are_evaluated_before_during_and_after_the_training(whole):
    directory, said = whole
    assert "5 held-out questions, 5 with a gold answer" in said
    found = rows(directory, "evaluation.jsonl")
    assert [row["step"] for row in found] == [0, 2, 4, 5]
    for row in found:
        assert (row["questions"], row["questions_with_gold"], row["n"]) == (5, 5, 2)
        assert 0 <= row["accuracy"] <= 1
        assert 0 <= row["semantic_entropy"] <= 0.6932
    logged = {row["step"]: row for row in rows(directory, "metrics.jsonl")}
    assert [step for step, row in logged.items() if "eval/accuracy" in row] == [2, 4, 5]
    assert all(logged[row["step"]]["eval/accuracy"] == row["accuracy"] for row in found[1:])


def test_the_best_checkpoint_is_kept_and_named(whole):
    directory, said = whole
    found = rows(directory, "evaluation.jsonl")[1:]
    first_best = max(found, key=lambda row: (row["accuracy"], -row["step"]))
    best = [row["step"] for row in found if row["best"]][-1]
    assert best == first_best["step"]
    kept = {entry.name for entry in directory.glob("checkpoint-*")}
    assert kept == {f"checkpoint-{best}", f"checkpoint-{STEPS}"} | ({"checkpoint-4"} if best == STEPS else set())
    assert f"best held-out evaluation: checkpoint-{best} (accuracy {first_best['accuracy']:.3f}" in said


def test_a_run_with_evaluation_trains_like_a_run_without(whole, tmp_path):
    finish(tmp_path / "run", "samples.every=0")
    assert not (tmp_path / "run" / "samples.jsonl").exists()
    without = rows(tmp_path / "run", "metrics.jsonl")
    with_evaluation = [
        {key: value for key, value in row.items() if not key.startswith("eval/")}
        for row in rows(whole[0], "metrics.jsonl")
    ]
    assert with_evaluation == without


@pytest.mark.timeout(280)
def test_a_killed_and_resumed_run_writes_each_sample_and_evaluation_once(whole, tmp_path):
    directory = tmp_path / "run"
    process = start(directory, EVALUATION)
    try:
        while not ((directory / "evaluation.jsonl").exists() and len(rows(directory, "evaluation.jsonl")) >= 3):
            assert process.poll() is None, process.communicate()[1][-2000:]
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    finish(directory, EVALUATION, "--resume")
    for name in ("samples.jsonl", "evaluation.jsonl", "metrics.jsonl"):
        assert rows(directory, name) == rows(whole[0], name)


@pytest.mark.timeout(280)
def test_two_processes_share_the_held_out_questions_and_count_each_once(tmp_path):
    finish(tmp_path / "run", EVALUATION, "training.steps=2", "--processes", "2")
    found = rows(tmp_path / "run", "evaluation.jsonl")
    assert [row["step"] for row in found] == [0, 2]
    for row in found:
        assert row["questions"] == 5
        assert row["accuracy"] * 10 == pytest.approx(round(row["accuracy"] * 10))
    assert [row["step"] for row in rows(tmp_path / "run", "samples.jsonl")] == [1, 1, 2, 2]


def test_the_final_folder_has_a_model_card_with_method_data_numbers_versions_and_limits(whole):
    directory, _ = whole
    card = (directory / "final" / "README.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "transformers"
    for title in ("Method", "Data", "Settings", "Numbers", "Versions and cost", "Limits"):
        assert f"\n## {title}\n" in body
    last = rows(directory, "evaluation.jsonl")[-1]
    assert "| | before (step 0) | best (step " in body
    assert f" {last['accuracy']:.4g} |\n" in body
    assert "The reward reads no gold answer: it pays agreement, not correctness." in body
    assert "trl 1.16" in body
    assert str(directory.parent) not in card
