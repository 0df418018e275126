"""The service in `parity.py`: `empo-serve` in a process of its own for each case, asked over HTTP on loopback."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import fastapi
import httpx
from parity_engines.cases import Case, Ran, Rows, run

START_SECONDS = 120.0


@contextmanager
def served(provider: dict[str, Any]) -> Iterator[httpx.Client]:
    """Start the service with these arguments of the provider, and yield a client of it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    options = [
        text for name, value in provider.items() for text in ("--provider-option", f"{name}={json.dumps(value)}")
    ]
    command = [sys.executable, "-m", "empo_rl.serve.cli", "--port", str(port), "--equivalence", "exact", *options]
    process = subprocess.Popen(command)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            end = time.monotonic() + START_SECONDS
            while True:
                with suppress(httpx.TransportError):
                    if client.get("/ready").status_code == 200:
                        break
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"empo-serve did not start; its exit status is {process.poll()}")
                time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait()


def decide(cases: Sequence[Case]) -> Ran:
    """Send each case in one request to POST /v1/score."""
    found = {}
    for case in cases:
        groups = [
            {
                "completions": group.completions,
                "question": group.question,
                "gold": group.gold,
                "measures": group.measures(),
            }
            for group in case.groups
        ]
        with served(case.provider) as client:
            reply = client.post("/v1/score", json={"groups": groups})
            if reply.status_code != 200:
                raise SystemExit(f"POST /v1/score: {reply.status_code} {reply.text}")
        scored = reply.json()["groups"]
        found[case.name] = [Rows(row["rewards"], row["loss_mask"], row["advantages"]) for row in scored]
    return Ran(f"`empo-serve` on loopback, FastAPI {fastapi.__version__}", found)


if __name__ == "__main__":
    run(decide)
