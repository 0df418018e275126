"""The time of a request to `semantic-entropy serve`, and the most requests a second, on loopback.

    python benchmarks/serve.py            the table of docs/how-to/serve.md
    python benchmarks/serve.py --tune     threads and batch of one worker

The floor is an empty endpoint of the same framework, with the same body and the same reply size, in the same run. Each
row: one client process sends requests over C connections, each one after the last reply, for some seconds, after a
second that is not counted. Requests have ten answers of the shared data (or made-up names of towns), each group
once in turn, so that the verdict cache does not answer everything. A guardrail gets them as the choices of one
response, and compares each as a whole with the others. p50 and p99 are over all replies with status 200.
"CPU" is the processor time of the server's processes for a reply: it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from semantic_entropy.serve.gateways.litellm_guardrail import GUARDRAIL_PATH
from tests.shared_data import SHARED, rows

SECONDS, WARM_UP = 5.0, 1.0
FLOOR = "benchmarks.serve:floor"


class FloorBody(BaseModel):
    """The body of the floor."""

    responses: list[str]
    question: str | None = None


def floor() -> object:
    """An endpoint that reads the same body and sends a constant of the size of a result."""
    from fastapi import FastAPI

    app, text = FastAPI(), {"result": "x" * 2000}

    @app.post("/v1/estimate")
    async def estimate(_: FloorBody) -> Response:
        return JSONResponse(text)

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        return {}

    return app


@dataclass(frozen=True)
class Outcome:
    """The replies of a run: times in milliseconds, processor time of the server in seconds, number of each status."""

    milliseconds: list[float]
    cpu: float
    statuses: Counter[str]
    seconds: float

    def row(self, name: str, connections: int) -> str:
        """A row of the table."""
        ordered = sorted(self.milliseconds)
        p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
        refused = sum(count for status, count in self.statuses.items() if status != "200")
        rate, cpu = len(ordered) / self.seconds, 1000 * self.cpu / max(1, self.statuses.total())
        return f"| {name} | {connections} | {p50:.1f} | {p99:.1f} | {rate:,.0f} | {cpu:.2f} | {refused:,} |"


@contextlib.contextmanager
def server(command: list[str]) -> Iterator[tuple[int, psutil.Process]]:
    """Start a server process, and yield its port and the process when it is ready."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    process = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL, env=os.environ)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                if b" 200 " in connection.recv(100):
                    break
            time.sleep(0.1)
        else:
            raise SystemExit(f"{command} does not answer")
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def processor_time(process: psutil.Process) -> float:
    """The seconds that a process and its children have used."""
    return sum(sum(each.cpu_times()[:2]) for each in [process, *process.children(recursive=True)])


async def send(port: int, process: psutil.Process, path: str, connections: int) -> Outcome:
    """Send requests over several connections. The client reads no more of a reply than it must."""
    times: list[float] = []
    statuses: Counter[str] = Counter()
    start = time.perf_counter() + WARM_UP
    end, turn = start + SECONDS, bodies(path)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < end:
            body = next(turn)
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            lines = answer.lower().split(b"\r\n")
            length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            if began >= start:
                status = lines[0].split()[1].decode()
                statuses[status] += 1
                if status == "200":
                    times.append(1000 * (time.perf_counter() - began))
        writer.close()

    async def used() -> float:
        await asyncio.sleep(WARM_UP)
        before = processor_time(process)
        await asyncio.sleep(SECONDS)
        return processor_time(process) - before

    cpu, *_ = await asyncio.gather(used(), *(client() for _ in range(connections)))
    return Outcome(times, cpu, statuses, SECONDS)


def bodies(path: str) -> Iterator[bytes]:
    """Bodies of requests with ten answers, in the form of the route, in turn, for ever."""
    if (SHARED / "samples.jsonl").exists():
        groups = [(row.get("question"), row["responses"][:10]) for row in rows("samples.jsonl")]
    else:
        towns = "Lima Quito Cuzco Paris Lyon Nice Rome Milan Turin".split()
        groups = [(f"Question {i}?", [towns[(i * k) % 9] for k in range(10)]) for i in range(500)]
    body = _choices if path == GUARDRAIL_PATH else _responses
    return itertools.cycle([json.dumps(body(question, answers)).encode() for question, answers in groups])


def _responses(question: str | None, answers: list[str]) -> dict[str, object]:
    return {"question": question, "responses": answers}


def _choices(question: str | None, answers: list[str]) -> dict[str, object]:
    messages = [{"role": "user", "content": question}]
    return {"input_type": "response", "texts": answers, "structured_messages": messages}


def measure(name: str, command: list[str], connections: list[int], path: str = "/v1/estimate") -> None:
    """Print the rows of one server."""
    with server(command) as (port, process):
        for count in connections:
            print(asyncio.run(send(port, process, path, count)).row(name, count), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tune", action="store_true", help="vary threads and batch")
    chosen = parser.parse_args()
    uvicorn = [sys.executable, "-m", "uvicorn", "--factory", FLOOR, "--no-access-log", "--log-level", "warning"]
    service = [sys.executable, "-m", "semantic_entropy", "serve", "--equivalence", "text", "--fail-above", "0.7"]
    print(f"{os.cpu_count()} cores, {Path(sys.executable).name}, judge text, load {os.getloadavg()[0]:.1f}")
    print(
        "| server | connections | p50 (ms) | p99 (ms) | replies/s | CPU (ms) | refused |\n|---|---|---|---|---|---|---|"
    )
    if chosen.tune:
        for threads, batch in itertools.product((1, 2, 4), (1, 8, 32)):
            options = ["--threads", str(threads), "--batch", str(batch)]
            measure(f"threads {threads}, batch {batch}", [*service, *options], [1, 32])
        return
    measure("floor, 1 worker", uvicorn, [1, 8, 32])
    measure("estimate, 1 worker", service, [1, 8, 32, 128])
    measure("decide, 1 worker", service, [1, 8, 32], "/v1/decide")
    measure("guardrail, 1 worker", service, [1, 8, 32], GUARDRAIL_PATH)
    measure("floor, 2 workers", [*uvicorn, "--workers", "2"], [32])
    measure("estimate, 2 workers", [*service, "--workers", "2"], [32])


if __name__ == "__main__":
    main()
