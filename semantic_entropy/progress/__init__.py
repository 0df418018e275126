"""Cancellation of long calls, progress bars, and log lines about long waits."""

from semantic_entropy.progress.cancellation import cancel_event, cancelled_by, is_cancelled, is_stopped, run_cancellable
from semantic_entropy.progress.display import progress_bar, show_waits

__all__ = [
    "cancel_event",
    "cancelled_by",
    "is_cancelled",
    "is_stopped",
    "progress_bar",
    "run_cancellable",
    "show_waits",
]
