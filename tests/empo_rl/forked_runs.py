"""Run a script in processes that form a process group, as torchrun starts them, with one import for all runs.

To import torch and TRL takes longer than the few steps of a test. `ForkedRuns(script)` starts one Python process, which
imports the script; each run forks that process once for each rank and calls the `main` of the script.
"""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

_GRACE_SECONDS = 60  # after a process failed, the others must end by themselves in this time


class Ended(NamedTuple):
    """The exit statuses of the ranks (-9 for SIGKILL), and everything that they printed."""

    statuses: list[int]
    said: str


class ForkedRuns:
    """A process that has imported `script`, and forks itself for each run."""

    def __init__(self, script):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._server = subprocess.Popen([sys.executable, __file__, str(script)], env=environment, text=True, **pipes)

    def run(self, *arguments, log, processes=2, **environment):
        """Run `main` with these arguments in each process. log: a file for what the processes print."""
        request = {"arguments": [str(argument) for argument in arguments], "processes": processes}
        print(json.dumps({**request, "environment": environment, "log": str(log)}), file=self._server.stdin, flush=True)
        for line in self._server.stdout:
            ended = json.loads(line) if line.startswith('{"log":') else {}
            if ended.get("log") == str(log):  # not a run whose test has reached its time limit
                return Ended(ended["statuses"], Path(log).read_text())
        raise AssertionError("the script could not be imported; its error is printed above")

    def close(self):
        with self._server:  # closes the pipes, which ends the process
            pass


def serve(script):
    spec = importlib.util.spec_from_file_location("forked_script", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"log": request["log"], "statuses": run_ranks(module.main, **request)}), flush=True)


def run_ranks(main, *, arguments, processes, environment, log):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(processes):
        group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        pid = os.fork()
        if pid == 0:
            run_rank(main, arguments, {**environment, **(group if processes > 1 else {})}, log)
        children.append(pid)
    return wait(children)


def run_rank(main, arguments, environment, log):
    os.environ.update({name: str(value) for name, value in environment.items()})
    sys.argv[1:] = arguments
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    status = 0
    try:
        main()
    except BaseException:  # noqa: BLE001  # the exit status reports it
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a thread of gloo sometimes aborts a process that exits normally


def wait(children):
    statuses, deadline = {}, None
    while len(statuses) < len(children):
        for child in set(children) - statuses.keys():
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                statuses[child] = os.waitstatus_to_exitcode(status)
                deadline = deadline or (time.monotonic() + _GRACE_SECONDS if statuses[child] else None)
            elif deadline and time.monotonic() > deadline:
                os.kill(child, signal.SIGABRT)
        time.sleep(0.02)
    return [statuses[child] for child in children]


if __name__ == "__main__":
    serve(sys.argv[1])
