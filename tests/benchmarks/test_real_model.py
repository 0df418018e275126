"""benchmarks/real_model.py: its questions, and a run on a tiny model that is killed and started again."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from empo_rl.data.arithmetic import split
from empo_rl.run.tiny_model import make_model, make_tokenizer, pretrain

pytest.importorskip("peft", reason="the benchmark trains adapters (extra lora)")
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "real_model.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("real_model", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def solve(question):
    """The answer, from the words of the question alone."""
    value = 0
    for sentence in question.split(".")[:-1]:
        (number,) = map(int, re.findall(r"\d+", sentence))
        if "times" in sentence:
            value *= number
        elif "sells" in sentence or "loses" in sentence:
            value -= number
        else:  # has, buys, gives
            value += number
    return str(value)


def test_each_answer_follows_from_the_words_of_its_question(benchmark):
    for level, (operations, _) in enumerate(benchmark.LEVELS):
        rows = benchmark.make_questions(7, level, 200)
        assert [row["answer"] for row in rows] == [solve(row["question"]) for row in rows]
        assert all(len(re.findall(r"\d+", row["question"])) == operations + 1 for row in rows)
        assert min(int(row["answer"]) for row in rows) >= 0


def test_the_seed_decides_the_questions_and_no_training_question_is_held_out(benchmark):
    training = benchmark.make_questions(0, 0, 150)
    held_out = benchmark.make_questions(0, 0, 100, without=training)
    asked = {row["question"] for row in training + held_out}
    assert len(asked) == 250
    assert benchmark.make_questions(0, 0, 150) == training != benchmark.make_questions(1, 0, 150)


def test_the_search_for_a_level_goes_towards_the_target_and_takes_the_nearest(benchmark, tmp_path, monkeypatch):
    def found(shares):
        def measured(model, data, output, label, samples):
            return {f"mean@{samples}": {"value": shares[int(label.split()[1])]}}

        monkeypatch.setattr(benchmark, "evaluate", measured)
        return benchmark.choose_level("m", tmp_path, 0)

    assert found([1, 1, 0.9, 0.5, 0, 0, 0]) == (3, {2: 0.9, 3: 0.5})
    assert found([1, 0.7, 0.1, 0, 0, 0, 0]) == (1, {2: 0.1, 1: 0.7})
    assert found([0.2, 0.1, 0, 0, 0, 0, 0])[0] == 0
    assert found([1, 1, 0.65, 0.2, 0, 0, 0])[0] == 2


def test_a_command_ends_with_the_benchmark_that_sigterm_ends(tmp_path):
    (tmp_path / "sleeper.py").write_text(
        "import os, pathlib, time\n"
        "def main():\n"
        "    pathlib.Path('pid.new').write_text(str(os.getpid()))\n"
        "    os.replace('pid.new', 'pid')\n"
        "    time.sleep(300)\n"
    )
    program = (
        f"import importlib.util, sys; spec = importlib.util.spec_from_file_location('real_model', {str(BENCHMARK)!r})\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "module.COMMANDS['empo-train'] = 'sleeper'; module.run('empo-train')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environment)
    try:
        while not (tmp_path / "pid").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.terminate()
        assert process.wait() == 128 + signal.SIGTERM
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)
    finally:
        process.kill()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model that writes digits, whose window holds the questions."""
    folder, tokenizer = tmp_path_factory.mktemp("model"), make_tokenizer()
    tokenizer.model_max_length = 512
    made = make_model(tokenizer, seed=0)
    pretrain(made, tokenizer, split(0).pretraining, seed=0, steps=40)
    made.config.max_position_embeddings = 512
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.timeout(900)
def test_a_killed_run_continues_from_its_checkpoint_and_reports_both_arms(model, tmp_path):
    command = [sys.executable, str(BENCHMARK), "--model", str(model), "--directory", str(tmp_path / "real")]
    command += ["--level", "0", "--steps", "4", "--held-out", "3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    choices = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **choices, start_new_session=True)
    checkpoint = tmp_path / "real" / "empo" / "checkpoint-2" / "trainer_state.json"
    try:
        while not checkpoint.exists():
            assert process.poll() is None, process.communicate()[1][-3000:]
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the benchmark and the command that it runs
        process.communicate()
    before = (tmp_path / "real" / "eval-before" / "results.json").stat().st_mtime_ns
    done = subprocess.run(command, **choices, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"resuming from \S+checkpoint-[24]|all 4 steps are completed", done.stderr)
    assert (tmp_path / "real" / "eval-before" / "results.json").stat().st_mtime_ns == before  # not measured again
    for arm in ("empo", "random"):
        rows = [json.loads(line) for line in (tmp_path / "real" / arm / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows] == [1, 2, 3, 4]
        assert all({"empo/entropy", "empo/accuracy", "empo/max_p"} <= row.keys() for row in rows)
    assert done.stdout.count("| held_out | pass@1 |         3 |") == 5  # two steps of each arm, and empo against random
    assert "Samples of random, step 1 and the last" in done.stdout
