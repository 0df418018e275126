"""`empo-train` on several real processes: interrupted, killed, resumed; and the arguments for accelerate."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate.commands.launch import launch_command_parser

from empo_rl.config.load import load_config
from empo_rl.run.launch import accelerate_arguments, check_devices, check_single_process, needs_launch
from semantic_entropy import InputError

TINY = [
    "tiny",
    "demo.pretrain_steps=2",
    "data.limit=24",
    "training.prompts_per_step=4",
    "training.prompts_per_micro_batch=2",
    "rollout.num_generations=4",
    "rollout.max_completion_tokens=8",
    "training.save_every=2",
    "training.schedule=constant",
    "training.learning_rate=1e-3",
    "empo.equivalence=exact",
    "empo.reward=random",
]


def start(directory, *more):
    command = [sys.executable, "-m", "empo_rl.cli", *TINY, f"output_dir={directory}", "--processes", "2", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(process, file):
    deadline = time.monotonic() + 150
    while not file.exists():
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(child) for child in listed.split()]


def steps(directory):
    return [json.loads(line)["step"] for line in (directory / "metrics.jsonl").read_text().splitlines()]


def resumed(directory):
    """Resume the run, and wait until it has written a new checkpoint."""
    kept = {entry.name for entry in directory.glob("checkpoint-*")}
    process = start(directory, "training.steps=4000", "--resume")
    while {entry.name for entry in directory.glob("checkpoint-*")} == kept:
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.01)
    return process


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run on two processes, ended by Ctrl-C, by a killed process, by SIGTERM; returns its directory and ends."""
    directory, ends = tmp_path_factory.mktemp("two") / "run", []
    process = start(directory, "training.steps=4000")
    try:
        wait_for(process, directory / "checkpoint-2" / "trainer_state.json")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=90)[1]
        ends.append((process.returncode, said))
        process = resumed(directory)
        ranks = children(process)
        os.kill(ranks[-1], signal.SIGKILL)
        said = process.communicate(timeout=90)[1]
        ends.append((process.returncode, said))
        process = resumed(directory)
        ranks += children(process)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=90)[1]
        ends.append((process.returncode, said))
        for rank in ranks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rank, 0)
                pytest.fail(f"process {rank} is alive after the end of the run")
    finally:
        process.kill()
        process.communicate()
    return directory, ends


@pytest.mark.timeout(300)
def test_ctrl_c_ends_all_processes_with_one_line_and_status_130(stopped):
    _, ((status, said), *_) = stopped
    assert status == 130
    assert said.count("interrupted in training after step") == 1
    assert "the same command with --resume continues from it" in said
    assert "Traceback" not in said


def test_if_a_process_is_killed_the_launcher_ends_the_others_and_names_the_process_and_the_checkpoint(stopped):
    directory, (_, (status, said), _) = stopped
    assert status == 1
    assert "resuming from" in said
    assert "was killed by SIGKILL (out of memory is the usual reason); the other processes were ended. The last" in said
    assert "Traceback" not in said
    done = steps(directory)
    assert done == list(range(1, len(done) + 1))


@pytest.mark.timeout(300)
def test_if_the_launcher_is_killed_its_processes_end(tmp_path):
    process = start(tmp_path / "run", "training.steps=4000")
    try:
        wait_for(process, tmp_path / "run" / "checkpoint-2" / "trainer_state.json")
        ranks = children(process)
        assert len(ranks) == 2
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 60
    try:
        while any(map(is_alive, ranks)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        for rank in filter(is_alive, ranks):
            os.kill(rank, signal.SIGKILL)
        process.communicate()


def is_alive(pid):
    """Whether the process exists and is not a zombie, which only its parent can remove."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_sigterm_ends_all_processes_and_the_launcher_names_the_checkpoint(stopped):
    _, (*_, (status, said)) = stopped
    assert status == 130
    assert "interrupted. The last checkpoint is" in said
    assert "Traceback" not in said


FAIL_IN_RANK_1 = """
import os
if os.environ.get("RANK") == "1":
    import empo_rl.data.prompts
    from semantic_entropy import InputError

    def read_prompts(config):
        raise InputError("data.path: questions.jsonl does not exist on this machine.")

    empo_rl.data.prompts.read_prompts = read_prompts
"""


@pytest.mark.timeout(300)
def test_the_error_of_one_process_is_in_the_last_line_and_the_status_is_1(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(FAIL_IN_RANK_1)  # Python imports this module at its start
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "empo_rl.cli", *TINY, f"output_dir={tmp_path / 'run'}", "--processes", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    error = "data.path: questions.jsonl does not exist on this machine"
    assert last.startswith(f"Error: process 1 failed with exit status 1: {error}. The other processes were ended.")
    assert "There is no checkpoint yet" in last
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "run").glob("*")) == []


def test_the_arguments_for_accelerate_name_processes_and_machines():
    machines = "launch={processes: 16, machines: 2, machine_rank: 1, main_address: 10.0.0.1, main_port: 29500}"
    told = launch_command_parser().parse_args([*accelerate_arguments(load_config("tiny", [machines])), "script.py"])
    assert (told.num_processes, told.num_machines, told.machine_rank) == (16, 2, 1)
    assert (told.main_process_ip, told.main_process_port, told.same_network) == ("10.0.0.1", 29500, True)
    assert told.multi_gpu


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        ("{processes: 9, machines: 2, main_address: a, main_port: 1}", "must be a multiple of launch.machines=2"),
        ("{processes: 4, machines: 2}", "needs launch.main_address and launch.main_port of the machine with rank 0"),
        ("{machine_rank: 1}", "the ranks of 1 machines are 0 to 0"),
    ],
)
def test_inconsistent_machine_settings_are_refused(launch, message):
    with pytest.raises(InputError, match=message):
        load_config("tiny", [f"launch={launch}"])


def test_a_process_that_a_launcher_started_starts_no_others(monkeypatch):
    config = load_config("tiny", ["launch.processes=2"])
    assert needs_launch(config)
    assert not needs_launch(load_config("tiny"))
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert not needs_launch(config)


def test_fewer_gpus_than_processes_are_refused_before_the_launch(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="needs 4 GPUs on this machine, one per process, and torch finds 2. Give"):
        check_devices(load_config("math-1.5b-empo", ["launch.processes=4"]))
    check_devices(load_config("math-1.5b-empo", ["launch.processes=2"]))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="training.precision=bf16 needs a GPU"):
        check_devices(load_config("math-1.5b-empo"))
    with pytest.raises(InputError, match="launch.strategy=fsdp2 needs GPUs, and torch finds none"):
        check_devices(load_config("math-7b-empo", ["training.precision=fp32"]))


def test_a_single_process_uses_one_gpu_and_no_sharding(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    check_single_process(load_config("tiny"))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
    with pytest.raises(InputError, match="launch.strategy=fsdp2 shards the model among processes: give --processes 2"):
        check_single_process(load_config("math-1.5b-empo", ["launch.strategy=fsdp2"]))
