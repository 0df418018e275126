"""Chat completions from any server that speaks OpenAI's protocol: vLLM, Ollama, llama.cpp, hosted ones.

`Endpoint.stream(calls)` takes calls as slots become free and gives outcomes as they come. What a caller asks next may
depend on what came before: then it writes a `Plan`, and `Endpoint.drive(plan)` asks it.

Retries, waits and what is fatal: `endpoint.attempts`. The key's ways: `endpoint.key`. Proxies and certificates are
httpx's own affair (environment variables). Redirects are not followed, so that a key goes nowhere but to `base_url`.

Left out: answers that stream token by token; the older /completions; any key scheme but `Authorization: Bearer`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import ssl
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

import httpx

from semantic_entropy.plugin import Usage, errors
from semantic_entropy_plugins.endpoint.attempts import Attempts, Call
from semantic_entropy_plugins.endpoint.ends import Failure
from semantic_entropy_plugins.endpoint.key import Key
from semantic_entropy_plugins.endpoint.options import checked_number, checked_prices, checked_url
from semantic_entropy_plugins.endpoint.replies import Reply
from semantic_entropy_plugins.endpoint.standing import Standing, Terms
from semantic_entropy_plugins.endpoint.thread import Line

OPENAI = "https://api.openai.com/v1"
_PATIENCE = 86_400.0  # seconds: more is a mistake in the unit

T_co = TypeVar("T_co", covariant=True)


class Plan(Protocol[T_co]):
    """What to ask, given what has come so far."""

    def next(self) -> Call | None:
        """The next call; None: nothing to ask for now. Asked again after each outcome."""

    def take(self, call: Call, outcome: Reply | Failure) -> Iterable[T_co]:
        """What this outcome brings the caller."""


class Endpoint:
    """A server's address and the terms on which it is asked. Any thread may use it.

    Args:
        base_url: the server's address up to `/chat/completions`, such as `http://localhost:8000/v1`.
        api_key: sent as a bearer token. None: the environment variable `OPENAI_API_KEY`, read at each run; where that
            is missing, or for "", none is sent.
        owner: who asks, for messages.
        error: the type of what is raised when no call can succeed any more.
        concurrency: calls under way at a time, of all streams together; each has at least one.
        timeout: seconds for one attempt, from connecting to the last byte, waiting in the server's queue included.
        retries: attempts after the first.
        token_budget: tokens, in and out, that all calls together may use; once they have, no attempt is started. Those
            under way by then come on top, and so do tokens that a server does not report.
        input_price: money per million tokens sent; with `output_price`, or neither.
        output_price: money per million tokens received.
        backoff: seconds before the first retry; each further one waits twice as long.
        max_reply_mb: megabytes that one answer may have.

    Raises:
        OptionError: an option cannot be used; a key is not shown.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | Key | None = None,
        *,
        owner: str = "endpoint",
        error: type[errors.SemanticEntropyError] = errors.SemanticEntropyError,
        concurrency: int = 16,
        timeout: float = 60.0,
        retries: int = 6,
        token_budget: int | None = None,
        input_price: float | None = None,
        output_price: float | None = None,
        backoff: float = 0.5,
        max_reply_mb: float = 64.0,
    ) -> None:
        self._key = Key(api_key)
        del api_key  # an error below shows no local variable that holds it
        self._owner, self._error = owner, error
        self._check_key()
        self.base_url = checked_url(owner, base_url)
        self.concurrency = checked_number(owner, "concurrency", concurrency, 1, whole=True)
        self._terms = Terms(
            url=self.base_url,
            timeout=checked_number(owner, "timeout", timeout, 0.001, most=_PATIENCE),
            retries=checked_number(owner, "retries", retries, 0, whole=True),
            backoff=checked_number(owner, "backoff", backoff, 0),
            token_budget=None
            if token_budget is None
            else checked_number(owner, "token_budget", token_budget, 1, whole=True),
            prices=checked_prices(owner, input_price, output_price),
            max_reply_bytes=int(1e6 * checked_number(owner, "max_reply_mb", max_reply_mb, 0.001)),
        )
        self._standing = Standing()
        self._lines: set[Line] = set()

    @property
    def tokens_used(self) -> int:
        """By all calls so far, in and out, as far as the server reported them."""
        return self._standing.tokens

    def priced(self, usage: Usage) -> Usage:
        """With its cost by the prices, where there are some and tokens were reported."""
        return self._terms.priced(usage)

    def stream(self, calls: Iterable[Call]) -> Iterator[tuple[Call, Reply | Failure]]:
        """Each call with its outcome, as they come.

        `calls` is read in the caller's thread, one call as a slot becomes free. Closing the iterator, or Ctrl-C, drops
        what is under way at once.

        Raises:
            SemanticEntropyError: (or the type that was given) nothing more will come; says what to do. What was under
                way is given first, as far as it comes within half a minute.
        """
        return self.drive(_Given(iter(calls)))

    def drive(self, plan: Plan[T_co]) -> Iterator[T_co]:
        """What the plan makes of its calls' outcomes, as they come. Raises as `stream`, and what the plan raises."""
        first = plan.next()
        if first is None:
            return
        self._check_key()
        broken: Exception | None = None
        with self._key.quiet_logs(), self._line() as line, self._open(line):
            line.submit(first)
            while True:
                try:
                    while self._free(line) and not broken and (call := plan.next()):
                        line.submit(call)
                except Exception as error:  # noqa: BLE001  # raised below: what is under way comes first
                    broken = error
                if not line.pending:
                    break
                yield from plan.take(*line.wait())
            line.finish()
        if broken:
            raise broken

    def close(self) -> None:
        """End the streams that other threads read: they raise. What was given stands, and new streams can be begun."""
        for line in tuple(self._lines):
            line.abort()

    def _free(self, line: Line) -> bool:
        """Whether the line may start on a call. One with none under way may: nobody would tell it of a free slot.

        Without a lock, which a fork might leave held: a look may be a moment old, and a call too many be under way.
        """
        others = sum(one.pending for one in tuple(self._lines) if one is not line and one.pid == os.getpid())
        return line.free > (others if line.pending else 0)

    @contextlib.contextmanager
    def _open(self, line: Line) -> Iterator[None]:
        self._lines.add(line)
        try:
            yield
        finally:
            self._lines.discard(line)

    def _line(self) -> Line:
        client = self._client()
        return Line(Attempts(self._terms, self._key, self._standing, client), client, self.concurrency, self._error)

    def _client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self.concurrency)
        try:
            return httpx.AsyncClient(verify=_certificates(), limits=limits, auth=self._key.header())
        except (ImportError, ValueError) as error:  # a SOCKS proxy without its package, a proxy's URL that is none
            why = self._key.redact(str(error))
        raise self._error(f"{self._owner}: the proxy that the environment names cannot be used: {why}")

    def _check_key(self) -> None:
        if problem := self._key.problem:
            raise errors.OptionError(f"{self._owner}: {problem}")


class _Given:
    """The plan of calls that are known beforehand."""

    def __init__(self, calls: Iterator[Call]) -> None:
        self._calls = calls

    def next(self) -> Call | None:
        return next(self._calls, None)

    def take(self, call: Call, outcome: Reply | Failure) -> Iterable[tuple[Call, Reply | Failure]]:
        return [(call, outcome)]


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read once a process: it takes longer than a call to a server near by."""
    return httpx.create_ssl_context()
