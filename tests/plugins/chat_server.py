"""A real HTTP server on the loopback address that answers chat completions, or misbehaves as its script says.

    with ChatServer(says("yes"), status(500)) as server:   # the first request, the second; then the last one for ever
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
    """One connection; every request on it is counted, kept and answered by the next behaviour of the script."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for an acknowledgement
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
        """JSON, or bytes as they are; `length` is what Content-Length claims."""
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def hang_up(self, rudely: bool = False) -> None:
        """Close the connection; rudely: with a reset."""
        if rudely:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR) if not rudely else self.connection.close()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class ChatServer:
    """Serves until the block ends. `requests` are the bodies, `headers` theirs; `peak` is the most at a time."""

    def __init__(self, *script: Behaviour, models: list[str] | None = None, port: int = 0) -> None:
        self._script, self.models, self._port = list(script), models, port
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.gets: list[tuple[str, dict[str, str]]] = []
        self.peak = self._now = 0
        self._lock = threading.Lock()
        self.over = threading.Event()

    def __enter__(self) -> Self:
        handler = type("Handler", (Exchange,), {"owner": self})
        self._http = _Quiet(("127.0.0.1", self._port), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
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
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """A client that went away is what half of the tests are about."""


def completion(*texts: str | None, usage: tuple[int, int] | None = (10, 2), **choice: Any) -> Body:
    """The JSON of a reply with these contents; `choice` goes into each choice, `message` into its message."""
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
    told = {} if usage is None else {"usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1]}}
    return {"id": "x", "object": "chat.completion", "choices": choices, **told}


def says(*texts: str | None, **options: Any) -> Behaviour:
    """A reply with these contents, whatever was asked."""
    return lambda exchange, body: exchange.send(completion(*texts, **options))


def samples(most: int | None = None, **options: Any) -> Behaviour:
    """`n` numbered choices, of which no two are equal; at most `most` a request."""
    numbers = itertools.count()

    def behave(exchange: Exchange, body: Body) -> None:
        n = min(body.get("n", 1), most or 10**9)
        exchange.send(completion(*(f"sample {next(numbers)}" for _ in range(n)), **options))

    return behave


def status(code: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Behaviour:
    """An error, in OpenAI's form where `body` is a text."""
    value = {"error": {"message": body or "it went wrong"}} if isinstance(body, str | None) else body
    return lambda exchange, _: exchange.send(value, code, headers)


def sends(data: bytes, headers: Mapping[str, str] | None = None) -> Behaviour:
    """A 200 with these bytes."""
    return lambda exchange, _: exchange.send(data, headers=headers)


def half(exchange: Exchange, _: Body) -> None:
    """Half an answer: the connection ends before what Content-Length claims."""
    data = json.dumps(completion("half of this")).encode()
    exchange.send(data[: len(data) // 2], length=len(data))
    exchange.hang_up()


def reset(exchange: Exchange, _: Body) -> None:
    """No answer: the connection is reset."""
    exchange.hang_up(rudely=True)


def silent(exchange: Exchange, _: Body) -> None:
    """Never answers, until the server ends."""
    exchange.owner.over.wait()
    exchange.close_connection = True


def trickle(exchange: Exchange, _: Body) -> None:
    """A byte at a time, so that no time-out between bytes is ever reached."""
    data = json.dumps(completion("slow")).encode()
    exchange.send(b"", length=len(data) + 10_000)
    with contextlib.suppress(OSError):
        for byte in itertools.cycle(data):
            exchange.wfile.write(bytes([byte]))
            if exchange.owner.over.wait(0.02):
                break
    exchange.close_connection = True


def slow(seconds: float, then: Behaviour) -> Behaviour:
    """`then`, a little later."""

    def behave(exchange: Exchange, body: Body) -> None:
        exchange.owner.over.wait(seconds)
        then(exchange, body)

    return behave


def by(choose: Callable[[Body], Behaviour]) -> Behaviour:
    """The behaviour that the request asks for."""
    return lambda exchange, body: choose(body)(exchange, body)


def prompt(body: Body) -> str:
    """The last message's text."""
    return body["messages"][-1]["content"]


def with_fast_retries(component: Any) -> Any:
    """The judge or sampler, with short waits before retries."""
    component.endpoint._options = dataclasses.replace(component.endpoint._options, backoff=0.005)
    return component
