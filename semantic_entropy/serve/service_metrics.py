"""Numbers for Prometheus. They are counts and times: no text of a request is in them.

With several worker processes, prometheus_client keeps the numbers in files of a directory, and each process can report
the sum. The files of a killed process stay, so that counters never go back; its gauges are removed.
"""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # the name that prometheus_client reads
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_NATS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)


class ServiceMetrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        prefix = "semantic_entropy"
        self.requests = Counter(f"{prefix}_requests", "Requests", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            f"{prefix}_request_seconds", "Time of a request", ["route"], buckets=_SECONDS, registry=registry
        )
        self.entropy = Histogram(f"{prefix}_entropy_nats", "Measured entropies", buckets=_NATS, registry=registry)
        self.unknown = Counter(f"{prefix}_unknown", "Checks without a measurement", ["route"], registry=registry)
        self.decisions = Counter(f"{prefix}_decisions", "Decisions", ["route", "action"], registry=registry)
        self.waiting = Gauge(
            f"{prefix}_waiting_requests",
            "Requests that wait in the queue",
            ["queue"],
            registry=registry,
            multiprocess_mode="livesum",
        )

    def text(self) -> bytes:
        """Return the metrics of all processes, in the text format of Prometheus."""
        directory = os.environ.get(DIRECTORY_VARIABLE)
        if directory is None:
            return generate_latest(self._registry)
        for path in Path(directory).glob("gauge_live*_*.db"):
            process = int(path.stem.rpartition("_")[2])
            if not _is_alive(process):
                mark_process_dead(process, directory)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
