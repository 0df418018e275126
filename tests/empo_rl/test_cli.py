"""`empo-train` as a user runs it: real processes, real files."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner

from empo_rl.cli import main
from empo_rl.config.recipes import recipe_names
from empo_rl.files.metrics_file import read_metrics

TINY = [
    "demo.pretrain_steps=2",
    "training.prompts_per_step=2",
    "training.prompts_per_micro_batch=2",
    "rollout.num_generations=4",
    "rollout.max_completion_tokens=8",
    "empo.equivalence=exact",
    "training.save_every=2",
]


def empo_train(*arguments, cwd, check=True):
    command = [sys.executable, "-m", "empo_rl.cli", *map(str, arguments)]
    no_gpu = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=no_gpu)
    if check:
        assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture
def run_here(tmp_path, monkeypatch):
    """Run `empo-train` in this process, in `tmp_path`: torch is imported once for all tests of a worker."""
    monkeypatch.chdir(tmp_path)

    def run_here(*arguments, check=True):
        handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
        with mock.patch.dict(os.environ):
            try:
                done = CliRunner().invoke(main, [str(argument) for argument in arguments])
            finally:
                for number, handler in handlers:
                    signal.signal(number, handler)
        if check:
            assert done.exit_code == 0, done.stderr[-3000:]
        return done

    return run_here


def test_help_names_the_uses_and_the_command_imports_no_heavy_library(tmp_path):
    code = "import sys, empo_rl.cli; print({'datasets', 'torch', 'transformers', 'trl'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
    shown = empo_train("--help", cwd=tmp_path).stdout
    starts = [re.split(" {2,}", line.strip())[0] for line in shown.splitlines()]
    for use in (
        "demo",
        "CONFIG.yaml [key=value ...]",
        "CONFIG.yaml --resume",
        "RUN_DIR --resume",
        "CONFIG.yaml --overwrite",
        "recipes",
    ):
        assert f"empo-train {use}" in starts  # each on its own line
    assert "\\b" not in shown
    assert max(map(len, shown.splitlines())) < 80


def test_recipes_are_listed_and_printed(run_here):
    listed = run_here("recipes").stdout
    assert [line.split()[0] for line in listed.splitlines()] == recipe_names()
    assert "Table 1, Qwen2.5-Math-1.5B w/ EMPO" in listed
    assert "model: demo" in run_here("recipes", "tiny").stdout
    assert "Recipes: control-random, " in run_here("recipes", "x", check=False).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny", "training.stepz=3"], "Did you mean 'training.steps'?"),
        (["nowhere.yaml"], "nowhere.yaml: no such file"),
        (["demmo"], "Did you mean 'demo'?"),
        (["tiny", "--resume", "--overwrite"], "give one of them"),
        (["tiny", "--allow-missing-data"], "is an option of --check"),
        (["tiny", "empo.delta_low=0.2", "empo.delta_high=0.3"], "keeps no group at G=8"),
        (
            ["tiny", "trl.use_vlm=true"],
            "is not an argument of trl.GRPOConfig. Did you mean 'trl.use_vllm'?",
        ),
        (["tiny", "trl.beta=0.1"], "trl.beta: decided by this configuration (it is 0.0)"),
        (["demo", "--output-dir", "."], "contains 'mine.txt', which is not a file of a demo"),
        (["math-1.5b-empo"], "Add device=cpu training.precision=fp32"),
        (["math-7b-sft", "--processes", "1"], "launch.strategy=fsdp2 shards the model among processes"),
        (["tiny", "data={path: nowhere.jsonl}"], "data.path: nowhere.jsonl does not exist or is not a file"),
        (["tiny", "empo.equivalence=mathh"], "Did you mean 'math'?"),
        (["tiny", "trl.report_to=wandb"], "trl.report_to=wandb needs wandb: pip install wandb"),
        (["tiny", "data.limit=8"], "data: 8 prompts cannot fill one step of training.prompts_per_step=32, so the run"),
        (["tiny", "model=nowhere", "training.steps=1"], "cannot load the tokenizer of 'nowhere'"),
    ],
)
def test_a_mistake_is_one_sentence_and_no_traceback(arguments, message, tmp_path, run_here):
    (tmp_path / "mine.txt").write_text("")
    done = run_here(*arguments, check=False)
    assert done.exit_code in (1, 2)
    assert isinstance(done.exception, SystemExit)  # another exception would be a traceback
    assert message in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]  # no new file that would block the next attempt


def test_a_run_on_a_users_own_file(tmp_path, run_here):
    questions = [{"problem": f"What is ({n}+1)*2+3?"} for n in range(1, 9)]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    data = ["data={path: questions.jsonl, columns: {question: problem}}", "output_dir=run", "training.steps=1"]
    data += ["device=auto", "training.precision=auto"]
    done = run_here("tiny", *TINY, *data)
    assert done.stdout.strip() == str(Path("run", "final"))
    assert "no GPU found: training on the CPU in fp32" in done.stderr
    assert "8 prompts" in done.stderr
    assert [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [1]
    again = run_here("tiny", "output_dir=run", check=False)
    assert "contains an earlier run" in again.stderr


def started(*arguments, cwd, until):
    """Start a run in its own process group, as a terminal does, and wait until the file `until` exists."""
    command = [sys.executable, "-m", "empo_rl.cli", *arguments]
    process = subprocess.Popen(
        command, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not until.exists():
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


def test_ctrl_c_reports_the_last_step_and_the_checkpoint(tmp_path):
    run = tmp_path / "run"
    arguments = ["tiny", *TINY, "empo.equivalence=math", "output_dir=run", "training.steps=400"]
    process = started(*arguments, cwd=tmp_path, until=run / "checkpoint-4")  # checkpoint-2 is complete
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(
        r"interrupted in training after step \d+ of 400\. The last checkpoint is run/checkpoint-\d+: ", said
    )
    assert "Traceback" not in said
    assert "Aborted" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_training_ends_with_one_line_and_status_130(number, tmp_path):
    program = (
        "import os\nfrom empo_rl.cli import main\nfrom empo_rl import start_run\n"
        f"start_run.load_run = lambda *_: os.kill(os.getpid(), {int(number)})\nmain(['tiny'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted before the first step. Nothing is written.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_interrupted_before_its_first_step_does_not_block_the_next(number, tmp_path, run_here):
    run = tmp_path / "run"
    slow = ["tiny", *TINY, "demo.pretrain_steps=100000", "output_dir=run"]
    process = started(*slow, cwd=tmp_path, until=run / "config.yaml")
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "There is no checkpoint yet (training.save_every=2): --resume starts at step 1." in said
    done = run_here("tiny", *TINY, "output_dir=run", "training.steps=1")
    assert "deleting the files of a run in run that ended before its first step" in done.stderr
    assert [row["step"] for row in read_metrics(run / "metrics.jsonl")] == [1]


def test_a_damaged_checkpoint_is_skipped_for_the_one_before(tmp_path, run_here):
    run, arguments = tmp_path / "run", ["tiny", *TINY, "output_dir=run", "training.steps=4"]
    run_here(*arguments)
    first = read_metrics(run / "metrics.jsonl")
    assert not (run / "README.md").exists()  # TRL's model card would name the wrong method and no base model
    os.truncate(run / "checkpoint-4" / "optimizer.pt", 1000)
    done = run_here(*arguments, "--resume")
    assert "skipping and renaming the broken run/checkpoint-4: optimizer.pt is truncated or unreadable" in done.stderr
    assert "resuming from run/checkpoint-2" in done.stderr
    rows = read_metrics(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert rows[:2] == first[:2]
    for step in (2, 4):
        os.truncate(run / f"checkpoint-{step}" / "model.safetensors", 1000)
    done = run_here(*arguments, "--resume")
    assert "no checkpoint to resume in run: starting at step 1" in done.stderr
    assert [row["step"] for row in read_metrics(run / "metrics.jsonl")] == [1, 2, 3, 4]


def test_a_killed_run_continues_from_its_checkpoint(tmp_path, run_here):
    """kill -9 after the first checkpoint; the resumed run repeats no step and skips none."""
    run = tmp_path / "run"
    arguments = ["tiny", *TINY, "output_dir=run", "training.steps=8"]
    process = started(*arguments, cwd=tmp_path, until=run / "checkpoint-2" / "trainer_state.json")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = read_metrics(run / "metrics.jsonl")
    assert not (run / "final").exists()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "lo')  # a kill in the middle of a line
    done = run_here(*arguments, "--resume")
    assert "resuming from run/checkpoint-" in done.stderr
    rows = read_metrics(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert rows[:2] == before[:2]
    assert (run / "final" / "model.safetensors").exists()


def test_resuming_a_finished_run_trains_no_further_step(tmp_path, run_here):
    arguments = ["tiny", *TINY, "output_dir=run", "training.steps=2"]
    run_here(*arguments)
    shutil.rmtree(tmp_path / "run" / "final")  # as after a kill between the last checkpoint and the end
    done = run_here(*arguments, "--resume")
    assert "all 2 steps are completed" in done.stderr
    assert [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [1, 2]
    assert (tmp_path / "run" / "final" / "model.safetensors").exists()
