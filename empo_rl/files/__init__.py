"""Files of a run: how they are named, written and checked. Imports no torch.

atomic_writes   replace a text file completely or not at all
disk_full       recognise a full disk and explain it
metrics_file    `metrics.jsonl`: one line a training step
checkpoints     find the latest complete checkpoint (their format is set in `config.trl_arguments`)
run_directory   the names in a run's directory, its lock, and how a run starts in it
"""

from empo_rl.files import checkpoints, run_directory
from empo_rl.files.atomic_writes import TEMPORARY_SUFFIX, open_atomically, write_atomically
from empo_rl.files.disk_full import DiskError, disk_full_message, explain_disk_full, is_disk_full
from empo_rl.files.metrics_file import MetricsFile, read_metrics, read_rows

__all__ = [
    "TEMPORARY_SUFFIX",
    "DiskError",
    "MetricsFile",
    "checkpoints",
    "disk_full_message",
    "explain_disk_full",
    "is_disk_full",
    "open_atomically",
    "read_metrics",
    "read_rows",
    "run_directory",
    "write_atomically",
]
