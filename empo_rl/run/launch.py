"""`empo-train` on several processes: start one process per GPU through accelerate, and end all processes together.

    empo-train CONFIG --processes 8          one machine
    the same command on each machine, with   launch: {machines: 2, machine_rank: 0, main_address: ..., main_port: ...}

A process that torchrun or `accelerate launch` started does not start other processes. The strategy (whether a process
holds the whole model or a shard) is part of the training arguments (`empo_rl.config.trl_arguments`), not of the launch.

All processes end together. If a process fails or is killed, the launcher ends the other processes. Ctrl-C and SIGTERM
reach all processes. If the launcher is killed, its processes end, too (`end_with_launcher`).

While the first process downloads, judges the global batch, merges an adapter or writes a checkpoint, the others wait.
A process waits at most `trl.ddp_timeout` seconds (`join_process_group`).
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from empo_rl.files import write_atomically
from semantic_entropy import InputError, SemanticEntropyError

if TYPE_CHECKING:  # the import must be fast: `empo-train` handles signals from then on
    from accelerate import PartialState

    from empo_rl.config import Config

INTERRUPTED = 130  # exit status of an interrupted process, as shells expect
STOPPED = 3  # exit status if an alarm stopped the run
_LAUNCHER_PID = "EMPO_TRAIN_LAUNCHER"  # environment variable of the processes that `launch` starts
_ERROR_FILE = "TORCHELASTIC_ERROR_FILE"  # set by torch's elastic launcher for each of its processes
_POLL_SECONDS = 0.5
_WAIT_SECONDS = 10  # the launcher checks its processes every 0.1 s


class ProcessError(SemanticEntropyError):
    """A process of the run failed or was killed."""


class EndedRunError(SemanticEntropyError):
    """The user, a job queue or an alarm ended the run.

    Attributes:
        status: the exit status.
        reported: whether a process of the run has printed the last completed step.
    """

    def __init__(self, status: int, *, reported: bool = True) -> None:
        super().__init__(f"ended with status {status}")
        self.status, self.reported = status, reported


def is_one_of_many() -> bool:
    """Whether a launcher (`launch`, torchrun or accelerate) started this process."""
    return "LOCAL_RANK" in os.environ or "RANK" in os.environ


def is_first_process() -> bool:
    """Whether this process has rank 0, or is the only process."""
    return os.environ.get("RANK", "0") == "0"


def reports_for_all() -> bool:
    """Whether this process reports what all processes of the run would report: the launcher, or else the first one."""
    return is_first_process() and _LAUNCHER_PID not in os.environ


def needs_launch(config: Config) -> bool:
    """Whether this process starts other processes instead of training."""
    return not is_one_of_many() and config.launch.processes > 1


def check_single_process(config: Config) -> None:
    """Check a run of one process, and hide all GPUs except the first. Otherwise transformers splits the batch.

    Raises:
        InputError: the strategy shards the model, which needs at least two processes.
    """
    if is_one_of_many():
        return
    if config.launch.strategy != "ddp":
        raise InputError(
            f"launch.strategy={config.launch.strategy} shards the model among processes: give --processes 2 or more, "
            "or launch.strategy=ddp."
        )
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


def join_process_group(config: Config) -> PartialState:
    """Join the processes of the run, before the training arguments exist: they would join without the time limit.

    Raises:
        InputError: `trl.ddp_timeout` is not a positive number of seconds.
    """
    from accelerate import PartialState
    from torch.distributed import distributed_c10d

    from empo_rl.config.trl_arguments import process_timeout

    timeout = process_timeout(config)
    # DeepSpeed creates more groups, and torch gives each new group its default, not the limit of the first group
    defaults: Any = distributed_c10d
    defaults.default_pg_timeout = defaults.default_pg_nccl_timeout = timeout
    return PartialState(cpu=config.device == "cpu", timeout=timeout)


def leave_process_group() -> None:
    """End the threads of the process group, at the end of the work.

    A thread of gloo that still runs while the interpreter ends can abort the process: the run would count as failed
    although its files are complete, and the launcher on another machine would wait five minutes for this machine.
    """
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def run_process(command: Callable[[], object]) -> NoReturn:
    """Run the command that is all the work of this process, and end the process.

    All processes but the first end without the end of the interpreter if the command has succeeded: objects that live
    as long as the interpreter can hold a thread of gloo, which can then abort the process (`leave_process_group`).
    """
    status: str | int | None = None
    try:
        command()
    except SystemExit as ended:
        status = ended.code
    if not status and not is_first_process():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    sys.exit(status)


@contextmanager
def first_on_each_machine(state: PartialState) -> Iterator[None]:
    """Enter in turns: the first process, the first process of each other machine, all others. For downloads.

    Where the machines share a cache, the first process downloads into it. Otherwise one process of each machine does.
    """
    with state.main_process_first(), state.local_main_process_first():
        yield


def check_devices(config: Config) -> None:
    """Check the GPUs once before the launch, so that not every process reports the same problem.

    Raises:
        InputError: this machine has fewer GPUs than processes, or has no GPU although the run needs a GPU.
    """
    import torch

    from empo_rl.run.models import fit_to_device

    if config.device == "cpu":
        return
    count, local_processes = torch.cuda.device_count(), config.launch.processes // config.launch.machines
    if count == 0:
        fit_to_device(config, "cpu")
        if config.launch.strategy != "ddp":
            raise InputError(f"launch.strategy={config.launch.strategy} needs GPUs, and torch finds none here.")
    elif count < local_processes:
        raise InputError(
            f"launch.processes={config.launch.processes} needs {local_processes} GPUs on this machine, one per "
            f"process, and torch finds {count}. Give --processes {count}, or set launch.machines."
        )


def accelerate_arguments(config: Config) -> list[str]:
    """The arguments of `accelerate launch` before the module and its arguments."""
    launch = config.launch
    port = launch.main_port or 0  # 0: any free port
    machines = ["--main_process_ip", str(launch.main_address), "--same_network"] if launch.machines > 1 else []
    return [
        *("--num_processes", str(launch.processes), "--num_machines", str(launch.machines)),
        *("--machine_rank", str(launch.machine_rank), "--main_process_port", str(port), *machines),
        *("--multi_gpu", "--mixed_precision", "no", "--dynamo_backend", "no"),  # TrainingArguments set the precision
    ]


def launch(config: Config, command: Sequence[str]) -> None:
    """Start `empo-train COMMAND` in each process and wait for all processes.

    Raises:
        ProcessError: a process failed. The message names the rank, and the exit status or the signal.
        EndedRunError: Ctrl-C, SIGTERM or an alarm ended the run.
    """
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    local_processes = config.launch.processes // config.launch.machines
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // local_processes)))
    os.environ[_LAUNCHER_PID] = str(os.getpid())
    logging.disable(logging.CRITICAL)  # the failed process prints its error, and `_failure` names the process
    arguments = [*accelerate_arguments(config), "--module", "empo_rl.cli", *command]
    try:
        launch_command(launch_command_parser().parse_args(arguments))
    except ChildFailedError as error:
        rank, first = error.get_first_failure()
        if first.exitcode in {INTERRUPTED, STOPPED}:
            raise EndedRunError(first.exitcode) from error
        raise ProcessError(_failure(rank, first.exitcode, _recorded_error(first.error_file))) from error
    except SignalException as error:
        # SIGTERM ends the processes at once, before they can print anything
        raise EndedRunError(INTERRUPTED, reported=error.sigval != signal.SIGTERM) from error
    except KeyboardInterrupt as error:  # before the processes started: from then on, torch raises SignalException
        raise EndedRunError(INTERRUPTED, reported=False) from error
    finally:
        logging.disable(logging.NOTSET)
        del os.environ[_LAUNCHER_PID]


def end_with_launcher() -> None:
    """End this process when its launcher has died. Without `launch`, this function does nothing."""
    launcher = os.environ.get(_LAUNCHER_PID)
    if launcher is None or not is_one_of_many():
        return

    def watch() -> None:
        while os.getppid() == int(launcher):
            time.sleep(_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)  # a process that waits in a collective call reacts to no other signal

    threading.Thread(target=watch, daemon=True, name="end with the launcher").start()


def wait_for_launcher() -> None:
    """Wait until the launcher ends this process. A process calls this before it prints an error.

    If a process dies, the collective calls of the other processes also fail. The launcher reports the process that
    died, and ends the other processes within `_WAIT_SECONDS`. If the launcher does not end this process
    within this time, the caller prints its own error.
    """
    if _LAUNCHER_PID in os.environ and is_one_of_many():
        time.sleep(_WAIT_SECONDS)


def record_error(error: BaseException) -> None:
    """Give the error of this process to its launcher, for the launcher's last line. Does nothing without a launcher.

    The file and its format are those of torch's elastic launcher. The first error of a process is kept.
    """
    name = os.environ.get(_ERROR_FILE)
    if not name or Path(name).exists():
        return
    text = str(error) if isinstance(error, SemanticEntropyError) else f"{type(error).__name__}: {error}"
    content = {"message": {"message": text, "extraInfo": {"timestamp": str(int(time.time()))}}}
    with suppress(OSError):  # the process prints its error in any case
        write_atomically(Path(name), json.dumps(content))


def _recorded_error(file: str) -> str | None:
    """The text that a process recorded; None if it recorded nothing."""
    try:
        return str(json.loads(Path(file).read_text(encoding="utf-8"))["message"]["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _failure(rank: int, exitcode: int, recorded: str | None) -> str:
    if exitcode < 0:
        how = f"was killed by {signal.Signals(-exitcode).name}"
        why = " (out of memory is the usual reason)" if exitcode == -signal.SIGKILL else ""
        return f"process {rank} {how}{why}; the other processes were ended."
    how = f"failed with exit status {exitcode}"
    if recorded is None:
        return f"process {rank} {how}; its error is printed above. The other processes were ended."
    return f"process {rank} {how}: {recorded.rstrip('.')}. The other processes were ended."
