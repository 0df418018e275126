"""`empo-train` on several processes: it starts itself once a process through accelerate, and ends with them.

    empo-train CONFIG --processes 8          one machine
    the same command on each machine, with   launch: {machines: 2, machine_rank: 0, main_address: ..., main_port: ...}

A run that torchrun or `accelerate launch` has started already starts nothing more. What each process holds of the model
is part of the training arguments (`empo_rl.config.strategies`), not of the launch.

However one of them ends, all do: a process that fails or is killed ends the others, Ctrl-C and SIGTERM reach each of
them, and where the first one is killed the others notice (`end_with_the_launcher`).
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Sequence

from empo_rl.config.schema import Config
from semantic_entropy import InputError, SemanticEntropyError

_STARTED_HERE = "EMPO_TRAIN_LAUNCHER"  # the launcher's process id, for those that it started
_NOTICE_EVERY = 0.5  # seconds
INTERRUPTED = 130  # what a process that was interrupted ends with, as shells expect
STOPPED = 3  # an alarm stopped the run
_PATIENCE = 10  # seconds; the launcher looks every 0.1
_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "DistBackendError", "NCCL")


class ProcessError(SemanticEntropyError):
    """One of a run's processes failed or was killed."""


class EndedRunError(SemanticEntropyError):
    """The user, a queue or an alarm ended the run.

    status: of the process. told: whether one of the run's processes has said how far it came.
    """

    def __init__(self, status: int, *, told: bool = True) -> None:
        super().__init__(f"ended with status {status}")
        self.status, self.told = status, told


def is_one_of_many() -> bool:
    """Whether a launcher, ours or another's, started this process."""
    return "LOCAL_RANK" in os.environ or "RANK" in os.environ


def wants_launch(config: Config) -> bool:
    """Whether this process is to start others rather than train."""
    return not is_one_of_many() and config.launch.processes > 1


def check_one_process(config: Config) -> None:
    """Refuse to share a model with nobody; and let one process see one GPU, which transformers would else split.

    Raises:
        InputError: a sharding strategy without a second process.
    """
    if is_one_of_many():
        return
    if config.launch.strategy != "ddp":
        raise InputError(
            f"launch.strategy={config.launch.strategy} shares the model among processes: give --processes 2 or more, "
            "or launch.strategy=ddp."
        )
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


def check_devices(config: Config) -> None:
    """What each process would find out by itself, said once.

    Raises:
        InputError: fewer GPUs are here than processes; or none, where the run needs them.
    """
    import torch

    from empo_rl.run.device import fit_to_device

    if config.device == "cpu":
        return
    count, here = torch.cuda.device_count(), config.launch.processes // config.launch.machines
    if count == 0:
        fit_to_device(config, "cpu")
        if config.launch.strategy != "ddp":
            raise InputError(f"launch.strategy={config.launch.strategy} needs GPUs, and torch finds none here.")
    elif count < here:
        raise InputError(
            f"launch.processes={config.launch.processes} puts {here} processes on this machine, a GPU each, and torch "
            f"sees {count}. Give --processes {count}, or launch.machines."
        )


def accelerate_arguments(config: Config) -> list[str]:
    """Of `accelerate launch`, before the module and its arguments."""
    launch = config.launch
    port = launch.main_port or 0  # 0: any free one
    several = ["--main_process_ip", str(launch.main_address), "--same_network"] if launch.machines > 1 else []
    return [
        *("--num_processes", str(launch.processes), "--num_machines", str(launch.machines)),
        *("--machine_rank", str(launch.machine_rank), "--main_process_port", str(port), *several),
        *("--multi_gpu", "--mixed_precision", "no", "--dynamo_backend", "no"),  # precision is TrainingArguments' affair
    ]


def launch(config: Config, command: Sequence[str]) -> None:
    """Start `empo-train COMMAND` in each process and wait for all.

    Raises:
        ProcessError: one of them failed, with its number and how it ended.
        EndedRunError: by Ctrl-C or SIGTERM, or by an alarm.
    """
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    here = config.launch.processes // config.launch.machines
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // here)))
    os.environ[_STARTED_HERE] = str(os.getpid())
    # the processes say themselves what went wrong, and `_failure` which of them it was
    logging.disable(logging.CRITICAL)
    arguments = [*accelerate_arguments(config), "--module", "empo_rl.cli", *command]
    try:
        launch_command(launch_command_parser().parse_args(arguments))
    except ChildFailedError as error:
        rank, first = error.get_first_failure()
        if first.exitcode in {INTERRUPTED, STOPPED}:
            raise EndedRunError(first.exitcode) from error
        raise ProcessError(_failure(rank, first.exitcode)) from error
    except (SignalException, KeyboardInterrupt) as error:
        silent = isinstance(error, SignalException) and error.sigval == signal.SIGTERM  # it ended them at once
        raise EndedRunError(INTERRUPTED, told=not silent) from error
    finally:
        logging.disable(logging.NOTSET)
        del os.environ[_STARTED_HERE]


def end_with_the_launcher() -> None:
    """In a process that `launch` started: end when it is gone, since nobody else would end it."""
    launcher = os.environ.get(_STARTED_HERE)
    if launcher is None or not is_one_of_many():
        return

    def watch() -> None:
        while os.getppid() == int(launcher):
            time.sleep(_NOTICE_EVERY)
        os.kill(os.getpid(), signal.SIGKILL)  # it may wait in a collective call, which hears nothing gentler

    threading.Thread(target=watch, daemon=True, name="end with the launcher").start()


def wait_to_be_ended(error: BaseException) -> None:
    """Before a process speaks of an error that another one has to tell: the launcher ends it meanwhile.

    Where a peer is gone, the next collective call fails, and the launcher knows why. What is wrong for all of them, the
    first one says.
    """
    if _STARTED_HERE not in os.environ or not is_one_of_many():
        return
    if _peer_is_gone(error) or os.environ.get("RANK", "0") != "0":
        time.sleep(_PATIENCE)


def _peer_is_gone(error: BaseException) -> bool:
    said = f"{type(error).__name__}: {error}"
    return isinstance(error, RuntimeError) and any(word in said for word in _GONE)


def _failure(rank: int, exitcode: int) -> str:
    if exitcode < 0:
        how = f"was killed by {signal.Signals(-exitcode).name}"
        why = " (out of memory is the usual reason)" if exitcode == -signal.SIGKILL else ""
        return f"process {rank} {how}{why}; the others were ended."
    return f"process {rank} failed with exit status {exitcode}; what it said stands above. The others were ended."
