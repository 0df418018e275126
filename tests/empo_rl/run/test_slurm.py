"""The script of docs/empo/slurm.md, extracted from the page, with the environment of sbatch.

Two nodes are two processes on this machine. `srun` and `scontrol` are replaced by small scripts: `srun` starts its
command once for each node, with the variables of SLURM, forwards SIGTERM, ends the other nodes when one fails
(`--kill-on-bad-exit`), and returns the highest exit status.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_docs import ROOT, blocks

SRUN = f"""\
#!{sys.executable}
import os, signal, subprocess, sys, time

command = sys.argv[1:]
while command[0].startswith("--"):
    with open(os.environ["SRUN_OPTIONS"], "a") as options:
        print(command.pop(0), file=options)
tasks = []
for node in map(str, range(int(os.environ["SLURM_NNODES"]))):
    names = dict(SLURM_NODEID=node, SLURM_PROCID=node, SLURM_LOCALID="0")
    tasks.append(subprocess.Popen(command, env=os.environ | names))
signal.signal(signal.SIGTERM, lambda *_: [task.terminate() for task in tasks])
seconds_left = 10.0  # of the other nodes after a failure
while any(task.poll() is None for task in tasks) and seconds_left > 0:
    time.sleep(0.1)
    seconds_left -= 0.1 * any(task.poll() for task in tasks)
for task in tasks:
    task.kill()
worst = max(task.wait() % 256 for task in tasks)
sys.exit(int(os.environ.get("SRUN_STATUS", worst)))
"""
SCONTROL = """\
#!/bin/bash
case "$1 $2" in
    "show hostnames") for ((node = 0; node < SLURM_NNODES; node++)); do echo 127.0.0.1; done ;;
    requeue*) echo "$2" >> "$REQUEUED" ;;
    *) exit 1 ;;
esac
"""
PRINTS = """\
#!/bin/bash
printf '%s\\n' "$@" > "$PRINTED.$SLURM_NODEID"
exit "$STATUS"
"""
SLEEPS = """\
#!/bin/bash
trap 'exit 130' TERM
touch "$PRINTED.$SLURM_NODEID"
for ((second = 0; second < 600; second++)); do sleep 0.1; done
"""
TINY = [
    "tiny",
    "demo.pretrain_steps=2",
    "data.limit=8",
    "training.steps=2",
    "training.save_every=2",
    "training.prompts_per_step=4",
    "training.prompts_per_micro_batch=2",
    "rollout.num_generations=4",
    "rollout.max_completion_tokens=8",
    "empo.equivalence=exact",
    "empo.reward=random",
]


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def job(tmp_path):
    """The script of the page, and the environment of a job on two nodes with one GPU each."""
    (script,) = [block.text for block in blocks(ROOT / "docs/empo/slurm.md") if block.language == "bash"]
    (tmp_path / "train.sbatch").write_text(script)
    commands = tmp_path / "commands"
    commands.mkdir()
    executable(commands / "srun", SRUN)
    executable(commands / "scontrol", SCONTROL)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "activate").write_text(f'PATH="{tmp_path}/own:{Path(sys.executable).parent}:$PATH"\n')
    return {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "VENV": str(tmp_path / "venv"),
        "OMP_NUM_THREADS": "1",
        "SRUN_OPTIONS": str(tmp_path / "options"),
        "REQUEUED": str(tmp_path / "requeued"),
        "PRINTED": str(tmp_path / "printed"),
        "SLURM_JOB_ID": str(os.getpid()),  # the script computes the port from it
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "1",
        "SLURM_CPUS_PER_TASK": "1",
    }


def start(job, tmp_path, *arguments):
    command = ["bash", str(tmp_path / "train.sbatch"), *map(str, arguments)]
    pipes = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=tmp_path, env=job, start_new_session=True, **pipes)


def test_the_script_of_the_page_trains_on_two_nodes(job, tmp_path):
    process = start(job, tmp_path, *TINY, f"output_dir={tmp_path / 'run'}")
    try:
        printed, said = process.communicate(timeout=240)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, said[-3000:]
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert (tmp_path / "run" / "checkpoint-2" / "rng_state_1.pth").exists()  # the process of the second node
    assert printed.splitlines() == [str(tmp_path / "run" / "final")]  # only the first node prints the result
    assert not Path(job["REQUEUED"]).exists()
    assert "--kill-on-bad-exit=1" in Path(job["SRUN_OPTIONS"]).read_text()


@pytest.mark.parametrize(("status", "requeued"), [(0, False), (1, False), (3, False), (137, False), (130, True)])
def test_only_a_run_that_sigterm_ended_is_queued_again(status, requeued, job, tmp_path):
    (tmp_path / "own").mkdir()
    executable(tmp_path / "own" / "empo-train", PRINTS)
    process = start({**job, "STATUS": str(status)}, tmp_path, "mine.yaml", "template.system=Be brief.")
    _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert Path(job["REQUEUED"]).exists() == requeued
    for node in range(2):
        config, system, *rest = Path(f"{job['PRINTED']}.{node}").read_text().splitlines()
        assert (config, system) == ("mine.yaml", "template.system=Be brief.")
        port = 20_000 + int(job["SLURM_JOB_ID"]) % 20_000
        assert rest == [
            "--resume",
            "launch.machines=2",
            f"launch.machine_rank={node}",
            "launch.processes=2",
            "launch.main_address=127.0.0.1",
            f"launch.main_port={port}",
        ]


def start_sleeping(job, tmp_path):
    """Start the script with an empo-train that waits for SIGTERM; return when both nodes have started it."""
    (tmp_path / "own").mkdir()
    executable(tmp_path / "own" / "empo-train", SLEEPS)
    process = start(job, tmp_path, "mine.yaml")
    while not all(Path(f"{job['PRINTED']}.{node}").exists() for node in range(2)):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    return process


def test_sigterm_to_the_job_step_reaches_both_nodes_and_queues_the_job_again(job, tmp_path):
    process = start_sleeping(job, tmp_path)
    (srun,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(srun), signal.SIGTERM)  # a preemption with a grace time signals the steps, not the script
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert Path(job["REQUEUED"]).read_text().split() == [job["SLURM_JOB_ID"]]


@pytest.mark.parametrize("status", [130, 137, 143])
def test_sigterm_to_the_script_queues_the_job_again_whatever_status_srun_returns(status, job, tmp_path):
    process = start_sleeping({**job, "SRUN_STATUS": str(status)}, tmp_path)
    process.terminate()  # --signal=B:TERM@120
    _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert Path(job["REQUEUED"]).read_text().split() == [job["SLURM_JOB_ID"]]
