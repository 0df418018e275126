"""SIGTERM, which `kill` and job queues send: the run completes its step, saves a checkpoint, and ends with status 130.

    SIGTERM during training         the step is completed, a checkpoint is saved, the run ends
    SIGTERM before or after it      the run ends at once, also with status 130
    SIGINT (Ctrl-C)                 the run ends at once; the last checkpoint remains

A job queue sends SIGKILL some time after SIGTERM (SLURM: KillWait, 30 seconds). If the step takes longer, the run
continues from the checkpoint before. The handler does not use SIGINT, because a shell starts a command with `&` in a
script with SIGINT ignored. With several processes, the launcher handles SIGTERM (`empo_rl.run.launch`).
"""

from __future__ import annotations

import os
import signal
from typing import Any

from empo_rl.run.launch import is_one_of_many

_NOTE = b"SIGTERM: ending after this step, with a checkpoint. (kill -9 ends the run at once.)\n"


class StopRequest:
    """A request of SIGTERM to end the run.

    Attributes:
        in_training: whether the trainer checks `requested` at the end of the current step.
        requested: whether the run ends after the current step.
    """

    def __init__(self) -> None:
        self.in_training = False
        self.requested = False
        self._process = os.getpid()

    def install(self) -> None:
        """Handle SIGTERM from now on. One of several processes keeps the default, because its launcher handles it."""
        if not is_one_of_many():
            signal.signal(signal.SIGTERM, self._handle)

    def ignore_signals(self) -> None:
        """Ignore SIGTERM and SIGINT from now on: the run is ending, and a second signal would cut off its last line."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _handle(self, number: int, frame: Any) -> None:
        if os.getpid() != self._process:  # a forked worker: end as without a handler
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        elif not self.in_training:
            raise KeyboardInterrupt
        elif not self.requested:
            self.requested = True
            os.write(2, _NOTE)  # a signal may interrupt another write, so `print` could fail here
