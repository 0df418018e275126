"""`empo-train --engine verl` up to the command: the files of the run. A stand-in for verl prints what it was given.

The command with the real verl is in tests/empo_rl/trainers/verl.
"""

import json
import os
import subprocess
import sys

import pytest
from pyarrow import parquet

from empo_rl.run.tiny_model import make_model, make_tokenizer
from empo_rl.run.verl_run import write_prompts

STAND_IN = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    package = tmp_path / "packages" / "verl" / "trainer"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "main_ppo.py").write_text(STAND_IN)
    (tmp_path / "packages" / "transfer_queue.py").touch()
    paths = [str(tmp_path / "packages"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(tmp_path / "model")
    make_model(tokenizer, seed=0).save_pretrained(tmp_path / "model")
    rows = [{"question": f"What is {n}+1?"} for n in range(8)]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "run.yaml").write_text(
        "model: model\noutput_dir: out\ndata: {path: questions.jsonl}\nempo: {equivalence: exact, extract: boxed}\n"
        "rollout: {num_generations: 4, engine: vllm-colocate}\ntraining: {prompts_per_step: 4, steps: 2}\n"
        "launch: {strategy: fsdp2}\n"
    )
    return tmp_path


def train(folder, *arguments):
    command = [sys.executable, "-W", "ignore", "-m", "empo_rl.cli", "--engine", "verl", "run.yaml", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_process_becomes_verl_with_the_command_and_the_module(folder):
    done = train(folder)
    assert done.returncode == 0, done.stderr
    arguments, environment = json.loads(done.stdout)
    assert f"data.train_files='{folder / 'out' / 'prompts.parquet'}'" in arguments
    assert environment["VERL_USE_EXTERNAL_MODULES"] == "empo_rl.trainers.verl"
    assert environment["VERL_FILE_LOGGER_PATH"] == str(folder / "out" / "verl_metrics.jsonl")
    assert "trainer.v1.trainer_mode='empo'" in arguments
    assert {path.name for path in (folder / "out").iterdir()} >= {"config.yaml", "prompts.parquet", "verl_command.sh"}
    rows = parquet.read_table(folder / "out" / "prompts.parquet").to_pylist()
    assert len(rows) == 8
    assert rows[0]["prompt"] == [{"role": "user", "content": rows[0]["extra_info"]["question"]}]


def test_the_written_command_runs_in_a_shell(folder):
    train(folder)
    again = subprocess.run(["sh", "out/verl_command.sh"], cwd=folder, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)[1]["VERL_USE_EXTERNAL_MODULES"] == "empo_rl.trainers.verl"


def test_an_earlier_run_is_continued_replaced_or_refused(folder):
    train(folder)
    checkpoint = folder / "out" / "checkpoints" / "global_step_1"
    checkpoint.mkdir(parents=True)
    refused = train(folder)
    assert refused.returncode == 1
    assert "contains an earlier run (global_step_1). Add --resume" in refused.stderr
    resumed = train(folder, "--resume")
    assert "trainer.resume_mode='auto'" in json.loads(resumed.stdout)[0]
    changed = train(folder, "--resume", "training.learning_rate=1e-3")
    assert changed.returncode == 1
    assert "training.learning_rate: the run has" in changed.stderr
    assert train(folder, "--overwrite").returncode == 0
    assert not checkpoint.exists()


def test_missing_verl_and_unusable_settings_are_reported_before_a_file_is_written(folder):
    (folder / "packages" / "transfer_queue.py").unlink()
    if "transfer_queue" not in sys.modules:
        missing = train(folder)
        assert missing.returncode == 1
        assert "--engine verl needs transfer_queue" in missing.stderr
    wrong = train(folder, "launch.strategy=ddp")
    assert wrong.returncode == 1
    assert "verl shards with FSDP2" in wrong.stderr
    assert not (folder / "out").exists()


def test_prompts_have_the_columns_of_verl(tmp_path):
    rows = [{"prompt": [{"role": "user", "content": "q?"}], "question": "q", "gold": "4"}]
    write_prompts(rows, tmp_path / "prompts.parquet")
    (row,) = parquet.read_table(tmp_path / "prompts.parquet").to_pylist()
    assert row == {
        "prompt": [{"role": "user", "content": "q?"}],
        "data_source": "empo",
        "reward_model": {"style": "rule", "ground_truth": "4"},
        "extra_info": {"index": 0, "question": "q"},
    }
