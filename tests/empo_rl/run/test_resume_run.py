"""A run that SIGTERM ends and `--resume` continues, as real processes: the configuration, the steps, the files."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

TINY = [
    *("demo.pretrain_steps=2", "training.prompts_per_step=2", "training.prompts_per_micro_batch=2"),
    *("rollout.num_generations=4", "rollout.max_completion_tokens=8", "training.save_every=1000"),
    *("training.steps=4000", "training.learning_rate=5e-4", "training.warmup_steps=0", "empo.equivalence=exact"),
]
COMMANDS = """
import json, sys
from pathlib import Path
from click.testing import CliRunner
from empo_rl.cli import main

def empo_train(*arguments):
    done = CliRunner().invoke(main, arguments)
    print(json.dumps([done.exit_code, done.output]), flush=True)

last = int(sys.argv[1])
empo_train("run", "--resume", "training.learning_rate=1e-3")
empo_train("run", "--resume", f"training.steps={last + 2}")
empo_train("mine.yaml", "--resume")
Path("run", f"checkpoint-{last + 2}", "empo_state_0.json").unlink()
empo_train("run", "--resume")
"""


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A run that SIGTERM ended after some steps: its directory, exit status and messages."""
    folder = tmp_path_factory.mktemp("ended")
    (folder / "mine.yaml").write_text("extends: tiny\noutput_dir: run\n")
    # a shell ignores SIGINT for `command &` in a script, and its child inherits this
    background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "empo_rl.cli"]
    command = [*background, "mine.yaml", *TINY]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        while not (folder / "run" / "metrics.jsonl").exists() or len(metrics(folder / "run")) < 3:
            assert process.poll() is None, process.communicate()[1][-3000:]
            time.sleep(0.01)
        process.terminate()
        said = process.communicate(timeout=100)[1]
    finally:
        process.kill()
        process.communicate()
    return folder / "run", process.returncode, said


@pytest.fixture(scope="module")
def resumed(ended):
    """The exit statuses and outputs of COMMANDS in the directory of the run, one process for all."""
    run, *_ = ended
    command = [sys.executable, "-c", COMMANDS, str(metrics(run)[-1]["step"])]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=run.parent, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(900)
def test_sigterm_ends_a_background_run_after_its_step_with_a_checkpoint(ended):
    run, status, said = ended
    assert status == 130
    assert "SIGTERM: ending after this step, with a checkpoint." in said
    (last,) = re.findall(r"interrupted in training after step (\d+) of 4000\. The last checkpoint is run/", said)
    assert metrics(run)[-1]["step"] == int(last)
    assert [entry.name for entry in run.glob("checkpoint-*")] == [f"checkpoint-{last}"]
    assert not (run / "final").exists()
    assert "Traceback" not in said


@pytest.mark.timeout(900)
def test_a_key_that_differs_from_the_run_is_refused_before_torch_trains(ended, resumed):
    status, output = resumed[0]
    assert status == 1
    assert "training.learning_rate: the run has 0.0005, given 0.001" in output


def test_the_directory_of_a_run_is_enough_to_resume_it_and_to_change_its_length(ended, resumed):
    run, _, said = ended
    (last,) = re.findall(r"after step (\d+) of", said)
    status, output = resumed[1]
    assert status == 0, output
    assert f"changed since this run began: training.steps: 4000 -> {int(last) + 2}" in output
    rows = metrics(run)
    assert [row["step"] for row in rows] == list(range(1, int(last) + 3))
    assert {row["learning_rate"] for row in rows} == {5e-4}
    assert (run / "final" / "model.safetensors").exists()


def test_a_finished_run_is_not_extended_by_the_steps_of_its_file(ended, resumed):
    run, *_ = ended
    status, output = resumed[2]
    assert status == 0
    assert f"all {metrics(run)[-1]['step']} steps are completed: nothing to train" in output
    assert "training.learning_rate (the run keeps 0.0005, mine.yaml has 0.0001)" in output


def test_a_checkpoint_without_the_state_of_the_run_is_not_resumed(resumed):
    status, output = resumed[3]
    assert status == 1
    assert "has no file empo_state_0.json, so the random rewards, the guards and the alarms would start again" in output


FIRST_WAITS = """
import sys
from pathlib import Path
from empo_rl.config.load import load_config
from empo_rl.run.train import run_training

def say(line):
    if line.endswith("prompts"):  # after the checks, before the first file
        print("ready", flush=True)
        sys.stdin.readline()

run_training(load_config("tiny", sys.argv[1:]), overwrite=False, progress=lambda *_: None, say=say)
"""


@pytest.mark.timeout(900)
def test_a_second_start_before_the_first_has_written_a_file_is_refused(tmp_path):
    arguments = [*TINY, "training.steps=1", "output_dir=run", "device=cpu"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    first = subprocess.Popen([sys.executable, "-c", FIRST_WAITS, *arguments], cwd=tmp_path, text=True, **pipes)
    try:
        assert first.stdout.readline() == "ready\n", first.communicate()[1][-3000:]
        second = [sys.executable, "-m", "empo_rl.cli", "tiny", *arguments, "seed=7"]
        done = subprocess.run(second, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "output_dir: another process is running in run." in done.stderr
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
        _, said = first.communicate("go on\n", timeout=500)
        assert first.returncode == 0, said[-3000:]
    finally:
        first.kill()
        first.communicate()
    assert "seed: 0\n" in Path(tmp_path, "run", "config.yaml").read_text()
    assert [row["step"] for row in metrics(tmp_path / "run")] == [1]
