"""Name, write and check the files of a run. This package does not import torch.

atomic_writes   replace a text file completely or not at all
disk_full       recognise the errors of a full disk and explain them
metrics_file    read and write `metrics.jsonl`, which has one line per training step
cost_summary    compute `cost.json` from the metrics file
checkpoints     find the latest complete checkpoint (`config.trl_arguments` sets the format of a checkpoint)
run_directory   the file names in the directory of a run, the lock of the directory, and the start of a run
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
