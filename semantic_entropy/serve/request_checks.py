"""The ASGI layer in front of the routes: Host, token, form and size of the body, clients that hang up, errors.

The body is read before the app runs, up to the limit, so that a route never sees a part of it. While the app runs, the
layer waits for the client to hang up, and then cancels the work of the request.

A web page of another site can send a request to 127.0.0.1, or let a name of its own point there and read the reply (DNS
rebinding). Without a token, three checks stop it: the Host header must name this machine, a body must be declared as
JSON, which a browser asks permission for (CORS), and nothing gives this permission. Starlette's TrustedHostMiddleware
is not used: it compares names, and cannot say "any address of loopback"; and it reads `[::1]:80` as `[`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from semantic_entropy.errors import SemanticEntropyError
from semantic_entropy.serve.problems import ServiceProblem, error_problem, wrong_field
from semantic_entropy.serve.service_metrics import ServiceMetrics
from semantic_entropy.serve.service_settings import ServiceSettings, is_loopback

OPEN_PATHS = frozenset({"/health", "/ready"})
"""The paths that need no token."""
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/@?#\\\s]+)(?::\d{1,5})?")
_JSON = re.compile(r"application/([\w.-]+\+)?json\s*(;.*)?", re.IGNORECASE)


class RequestChecks:
    """Checks each HTTP request before the app gets it.

    Args:
        app: the app with the routes.
        settings: the token and the limits.
        metrics: counts the requests.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: ServiceMetrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self._token = None if settings.token is None else settings.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._start_and_stop(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, is_counted = time.monotonic(), 499, False  # 499: the client hung up, as nginx counts it

        def count() -> None:
            nonlocal is_counted
            if not is_counted:
                is_counted = True
                route = getattr(scope.get("route"), "path", "other")
                self.metrics.requests.labels(route, str(status)).inc()
                self.metrics.seconds.labels(route).observe(time.monotonic() - started)

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body"):
                count()  # before the end is sent: a reply that a client has is in the metrics, even if a kill comes now
            await send(message)

        try:
            await self._handle(scope, receive, counted)
        finally:
            count()

    async def _start_and_stop(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and stop the app. If it cannot start, the server prints the message of the error alone."""

        async def shortened(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                message = {**message, "message": message["message"].strip().rpartition("\n")[2]}
            await send(message)

        with contextlib.suppress(SemanticEntropyError):
            await self.app(scope, receive, shortened)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            self._check_host(scope)
            self._check_token(scope)
            body = await self._body(scope, receive)
            if body is not None:
                _check_json(scope, body)
                await self._run(scope, body, receive, noted)
        except ServiceProblem as problem:
            await problem.reply()(scope, receive, noted)
        except Exception as error:  # noqa: BLE001  # no text of a request may reach the log
            reply = error_problem(error).reply()
            if not begun:
                await reply(scope, receive, noted)

    def _check_host(self, scope: Scope) -> None:
        """Without a token, refuse a name of another machine: a web page can point such a name at this machine."""
        if self._token is not None:
            return
        hosts = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
        host = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if host is None or not is_loopback(host[1]):
            given = f"is {hosts[0]!r:.80}" if len(hosts) == 1 else f"is there {len(hosts)} times"
            raise ServiceProblem(
                403,
                f"the Host header {given}, and without a token the service answers to this machine alone: use "
                "http://127.0.0.1:PORT or http://localhost:PORT, or start the service with a token",
            )

    def _check_token(self, scope: Scope) -> None:
        if self._token is None or scope["path"] in OPEN_PATHS:
            return
        kind, _, bearer = _header(scope, b"authorization").partition(b" ")
        given = bearer.strip() if kind.lower() == b"bearer" else _header(scope, b"x-api-key")
        if not hmac.compare_digest(given, self._token):
            raise ServiceProblem(
                401,
                "the token is missing or wrong: send the header 'Authorization: Bearer TOKEN' or 'X-API-Key: TOKEN'",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Read the body; None: the client hung up."""
        limit = self.settings.max_body
        length = _header(scope, b"content-length")
        if length.isdigit() and int(length[:20]) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                return await _read(receive, limit)
        except TimeoutError:
            raise ServiceProblem(
                408, f"the body did not arrive in {self.settings.body_seconds:g} seconds: send it again"
            ) from None

    async def _run(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        sent = False

        async def replay() -> MutableMapping[str, Any]:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await asyncio.Event().wait()  # the layer itself waits for the client to hang up
            raise AssertionError

        work = asyncio.ensure_future(_awaited(self.app(scope, replay, send)))
        hang_up = asyncio.ensure_future(_hung_up(receive))
        try:
            await asyncio.wait({work, hang_up}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await work
            else:
                work.result()
        finally:
            for task in (work, hang_up):
                task.cancel()


async def _awaited(work: Awaitable[None]) -> None:
    await work


async def _hung_up(receive: Callable[[], Awaitable[Message]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive, limit: int) -> bytes | None:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return b"".join(parts)


class _DuplicateKeyError(Exception):
    """An object of the body has a key twice."""


def _check_json(scope: Scope, body: bytes) -> None:
    """Refuse a body that is not declared as JSON, and one with an object that has a key twice.

    A JSON parser keeps one of the two values, and another program on the way may have read the other one. The app names
    the place where other JSON is wrong.
    """
    if not body:
        return
    kind = _header(scope, b"content-type").decode("latin-1")
    if not _JSON.fullmatch(kind.strip()):
        given = f"is {kind!r:.80}" if kind else "is missing"
        raise ServiceProblem(
            415, f"the header Content-Type {given}: send a JSON object with the header 'Content-Type: application/json'"
        )
    try:
        json.loads(body, object_pairs_hook=_unique_keys)
    except _DuplicateKeyError as error:
        key = str(error)
        raise wrong_field(f"body.{key:.80}", key, "the key is there twice in one object", "send it once") from None
    except json.JSONDecodeError:
        return
    except RecursionError:
        raise ServiceProblem(400, "the body is nested too deeply: send at most a few levels of lists") from None
    except ValueError:  # a number with more than 4300 digits, bytes that are no text
        raise ServiceProblem(
            400, "the body has a number with thousands of digits, or is not in UTF-8: send JSON in UTF-8"
        ) from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> None:
    keys = set()
    for key, _ in pairs:
        if key in keys:
            raise _DuplicateKeyError(key)
        keys.add(key)


def _too_large(limit: int) -> ServiceProblem:
    return ServiceProblem(
        413, f"the body has more than {limit:,} bytes: send less, or raise --max-body", headers={"Connection": "close"}
    )


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")
