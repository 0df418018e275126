"""`empo-train demo` in real processes, very short."""

import json
import os
import subprocess
import sys

import pytest

from empo_rl.data.arithmetic import split
from empo_rl.data.prompts import read_prompts
from empo_rl.demo.demo_directory import DemoOptions
from empo_rl.demo.demo_run import demo_config
from empo_rl.files.metrics_file import read_metrics

NUMBERS = {"pass@1", "mean@8", "majority@8", "semantic_entropy"}


def demo(directory, *options):
    command = [sys.executable, "-m", "empo_rl.cli", "demo", "--pretrain-steps", "3", "--steps", "2"]
    return subprocess.run(
        [*command, "--output-dir", str(directory), *options],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100"},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    return directory, demo(directory, "--seed", "7")


def test_the_summary_has_precisely_its_shape(run):
    summary = json.loads((run[0] / "summary.json").read_text())
    assert set(summary) == {"base", "final", "auroc_base", "seconds", "resumed_from", "seed", "run"}
    assert summary["resumed_from"] is None
    assert set(summary["base"]) == set(summary["final"]) == NUMBERS
    assert set(summary["seconds"]) == {"pretrain", "train", "judging", "total"}
    assert summary["seed"] == 7
    versions = summary["run"].pop("versions")
    assert set(versions) == {"python", "semantic-entropy", "torch", "transformers", "trl"}
    assert all(text[0].isdigit() for text in versions.values())
    assert summary["run"] == {"steps": 2, "learning_rate": 1e-4, "reward": "empo", "pretrain_steps": 3}
    assert all(0 <= summary["base"][name] <= 1 for name in NUMBERS - {"semantic_entropy"})
    assert 0 < summary["base"]["semantic_entropy"] <= 2.08
    assert summary["seconds"]["total"] >= summary["seconds"]["pretrain"] + summary["seconds"]["train"]


def test_metrics_have_one_line_a_step(run):
    rows = read_metrics(run[0] / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert {"loss", "empo/entropy", "empo/keep_fraction", "empo/reward"} <= set(row)
    assert {f"eval/{name}" for name in NUMBERS} <= set(rows[-1])


def test_the_picture_and_the_models_are_there(run):
    assert (run[0] / "training.png").read_bytes().startswith(b"\x89PNG")
    for name in ("base", "final"):
        assert (run[0] / name / "model.safetensors").exists()
    assert sorted(entry.name for entry in run[0].iterdir()) == [
        "alarms.jsonl",
        "base",
        "config.yaml",
        "cost.json",
        "final",
        "metrics.jsonl",
        "samples.jsonl",
        "summary.json",
        "training.png",
    ]


def test_the_table_is_on_stdout_and_the_progress_on_stderr(run):
    _, done = run
    for label in ("pass@1, greedy", "mean@8", "majority@8", "semantic entropy (nats)", "AUROC of entropy"):
        assert label in done.stdout
    assert "pre-training" in done.stderr
    assert "Warning" not in done.stderr


def test_the_labelled_comparison_runs_and_an_earlier_demo_is_replaced(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 99}\n')
    done = demo(tmp_path, "--reward", "golden")
    assert "replacing the earlier demo" in done.stderr
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["empo/keep_fraction"] == 1 for row in rows)
    assert "rewards/golden/mean" in rows[0]


def test_training_reads_gold_answers_only_if_the_reward_is_golden(tmp_path):
    questions = split(0).unlabelled
    for reward, golds in {"empo": None, "golden": [question.gold for question in questions]}.items():
        options = DemoOptions(seed=0, steps=2, learning_rate=1e-4, reward=reward, pretrain_steps=3)
        rows = read_prompts(demo_config(options, tmp_path, resume=False))
        assert [row["question"] for row in rows] == [question.text for question in questions]
        assert all("gold" not in row for row in rows) if golds is None else [row["gold"] for row in rows] == golds
