"""An HTTP server on the loopback address that answers chat completions, or fails in a scripted way.

    with ChatServer(says("yes"), status(500)) as server:  # the first request gets "yes", all others a status 500
        Endpoint(server.url)

A behaviour is a function of (exchange, body): `exchange` sends bytes, `body` is the request's JSON. Standard library
alone, so that a process may be started that serves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Body = dict[str, Any]
Behaviour = Callable[["Exchange", Body], None]


class Exchange(BaseHTTPRequestHandler):
    """One connection; each of its requests is recorded, and answered by the next behaviour of the script."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise every answer waits 40 ms for an acknowledgement
    owner: ChatServer

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(raw)
        behaviour = self.owner.receive(self.path, dict(self.headers), body)
        try:
            behaviour(self, body)
        finally:
            self.owner.done()

    def do_GET(self) -> None:
        self.owner.gets.append((self.path, dict(self.headers)))
        if self.path == "/v1/models" and self.owner.models is not None:
            self.send({"object": "list", "data": [{"id": name} for name in self.owner.models]})
        else:
            self.send({"detail": "Not Found"}, status=404)

    def send(
        self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None, length: int | None = None
    ) -> None:
        """Send JSON, or bytes unchanged. length: the value of Content-Length, if it is not the true one."""
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def hang_up(self, by_reset: bool = False) -> None:
        """Close the connection, or reset it."""
        if by_reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR) if not by_reset else self.connection.close()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class ChatServer:
    """Serves until the `with` block ends.

    Attributes:
        requests: the bodies of the requests.
        headers: their headers.
        gets: path and headers of each GET request.
        peak: the most requests at the same time.
        stopped: set when the block ends.
    """

    def __init__(self, *script: Behaviour, models: list[str] | None = None, port: int = 0) -> None:
        self._script, self.models, self._port = list(script), models, port
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.gets: list[tuple[str, dict[str, str]]] = []
        self.peak = self._now = 0
        self._lock = threading.Lock()
        self.stopped = threading.Event()

    def __enter__(self) -> Self:
        handler = type("Handler", (Exchange,), {"owner": self})
        self._http = _Quiet(("127.0.0.1", self._port), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._http.shutdown()
        self._http.drop_connections()
        self._http.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return self._http.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def receive(self, path: str, headers: dict[str, str], body: Body) -> Behaviour:
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            self._now += 1
            self.peak = max(self.peak, self._now)
            if path != "/v1/chat/completions":
                return status(404, {"detail": "Not Found"})
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]

    def done(self) -> None:
        with self._lock:
            self._now -= 1


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """Print nothing: many tests close the connection."""


def completion(*texts: str | None, usage: tuple[int, int] | None = (10, 2), **choice: Any) -> Body:
    """The JSON of a reply with these contents. `choice` is added to each choice, `message` to its message."""
    message = choice.pop("message", {})
    choices = [
        {
            "index": i,
            "message": {"role": "assistant", "content": text, **message},
            "finish_reason": "stop",
            **choice,
        }
        for i, text in enumerate(texts)
    ]
    reported = {} if usage is None else {"usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1]}}
    return {"id": "x", "object": "chat.completion", "choices": choices, **reported}


def says(*texts: str | None, **options: Any) -> Behaviour:
    """Send a reply with these contents."""
    return lambda exchange, body: exchange.send(completion(*texts, **options))


def samples(most: int | None = None, **options: Any) -> Behaviour:
    """Send `n` different choices, at most `most` per request."""
    numbers = itertools.count()

    def behave(exchange: Exchange, body: Body) -> None:
        n = min(body.get("n", 1), most or 10**9)
        exchange.send(completion(*(f"sample {next(numbers)}" for _ in range(n)), **options))

    return behave


def status(code: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Send an error; a text is sent in OpenAI's form."""
    value = {"error": {"message": body or "it went wrong"}} if isinstance(body, str | None) else body
    return lambda exchange, _: exchange.send(value, code, headers)


def sends(data: bytes, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Send these bytes with status 200."""
    return lambda exchange, _: exchange.send(data, headers=headers)


def truncated(exchange: Exchange, _: Body) -> None:
    """Send half a reply, and close the connection."""
    data = json.dumps(completion("half of this")).encode()
    exchange.send(data[: len(data) // 2], length=len(data))
    exchange.hang_up()


def reset(exchange: Exchange, _: Body) -> None:
    """Reset the connection."""
    exchange.hang_up(by_reset=True)


def silent(exchange: Exchange, _: Body) -> None:
    """Send nothing until the server stops."""
    exchange.owner.stopped.wait()
    exchange.close_connection = True


def trickle(exchange: Exchange, _: Body) -> None:
    """Send one byte at a time, so that a timeout between two bytes is never reached."""
    data = json.dumps(completion("slow")).encode()
    exchange.send(b"", length=len(data) + 10_000)
    with contextlib.suppress(OSError):
        for byte in itertools.cycle(data):
            exchange.wfile.write(bytes([byte]))
            if exchange.owner.stopped.wait(0.02):
                break
    exchange.close_connection = True


def slow(seconds: float, then: Behaviour) -> Behaviour:
    """Wait, and then do `then`."""

    def behave(exchange: Exchange, body: Body) -> None:
        exchange.owner.stopped.wait(seconds)
        then(exchange, body)

    return behave


def choose_by(choose: Callable[[Body], Behaviour]) -> Behaviour:
    """Choose the behaviour by the request's body."""
    return lambda exchange, body: choose(body)(exchange, body)


def prompt(body: Body) -> str:
    """The last message's text."""
    return body["messages"][-1]["content"]


def with_fast_retries(component: Any) -> Any:
    """The judge or sampler, with short waits before retries."""
    component.endpoint._options = dataclasses.replace(component.endpoint._options, backoff=0.005)
    return component
