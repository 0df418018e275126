"""Requests chat completions from any server with OpenAI's protocol, such as vLLM, Ollama or llama.cpp.

A caller implements a `CallPlan`, which decides which call to send next, given the outcomes so far.
`Endpoint.run_plan(plan)` sends the plan's calls when slots are free, and yields the plan's results when calls end.

Retries, waits and fatal errors: `endpoint.retry`. The API key: `endpoint.key`. httpx reads proxies and certificates
from the environment. Redirects are not followed, so that the key is sent to `base_url` only.

Left out: streaming of tokens; the older protocol /completions; keys in other headers than `Authorization: Bearer`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import ssl
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar

import httpx

from semantic_entropy.plugin import Usage, errors
from semantic_entropy_plugins.endpoint.call_thread import CallThread
from semantic_entropy_plugins.endpoint.failures import Failure
from semantic_entropy_plugins.endpoint.key import Key
from semantic_entropy_plugins.endpoint.replies import ENCODING, Reply
from semantic_entropy_plugins.endpoint.retry import Call, CallOptions, RefusedParameters, Retrier, ServerState
from semantic_entropy_plugins.options import checked_number

OPENAI = "https://api.openai.com/v1"
_LONGEST_TIMEOUT = 86_400.0  # seconds: a larger value probably has another unit, such as milliseconds
_CHAT_PATH = "/chat/completions"
_HOST = re.compile(r"[^\s%\[\]]+")

T_co = TypeVar("T_co", covariant=True)


class CallPlan(Protocol[T_co]):
    """Decides which call to send next, given the outcomes so far."""

    def next_call(self) -> Call | None:
        """The next call; None: there is no call to send now. The method is called again after each outcome."""

    def results(self, call: Call, outcome: Reply | Failure) -> Iterable[T_co]:
        """The results that `run_plan` yields for this outcome."""


class Endpoint:
    """A server's address, and the options for its calls. Any thread may use it.

    Args:
        base_url: the server's address up to `/chat/completions`, such as `http://localhost:8000/v1`.
        api_key: sent as a bearer token. None: the environment variable `OPENAI_API_KEY`, read at each run. No key is
            sent if the variable is not set, or if api_key is "".
        owner: the component's name, for messages.
        error: the type of the exception that is raised when no call can succeed.
        concurrency: the largest number of calls in flight, in all streams together; each stream may always have one
            call in flight.
        timeout: seconds for one attempt, from connecting to the last byte, including the time in the server's queue.
        retries: the number of attempts after the first attempt.
        token_budget: input and output tokens that all calls together may use. After that no attempt starts; attempts
            in flight are completed. Tokens that a server does not report are not counted.
        input_price: price of a million input tokens. Set both prices or no price.
        output_price: price of a million output tokens.
        backoff: seconds before the first retry; the wait doubles with each retry.
        max_reply_mb: the largest reply, in megabytes, after it is unpacked.

    Raises:
        OptionError: an option is not valid. The message never shows a key.
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
        del api_key  # a traceback with local variables must not show it
        self._owner, self._error = owner, error
        self._check_key()
        self.base_url = _checked_url(owner, base_url)
        self.concurrency = checked_number(owner, "concurrency", concurrency, 1, whole=True)
        self._options = CallOptions(
            url=self.base_url,
            timeout=checked_number(owner, "timeout", timeout, 0.001, most=_LONGEST_TIMEOUT),
            retries=checked_number(owner, "retries", retries, 0, whole=True),
            backoff=checked_number(owner, "backoff", backoff, 0),
            token_budget=checked_number(owner, "token_budget", token_budget, 1, whole=True, optional=True),
            prices=_checked_prices(owner, input_price, output_price),
            max_reply_bytes=int(1e6 * checked_number(owner, "max_reply_mb", max_reply_mb, 0.001)),
        )
        self._state = ServerState()
        self._threads: set[CallThread] = set()

    @property
    def tokens_used(self) -> int:
        """The number of input and output tokens of all calls so far, without tokens that the server did not report."""
        return self._state.tokens

    @property
    def refused(self) -> RefusedParameters:
        """The parameters that the server has refused so far: calls are sent without them."""
        return self._state.refused

    def with_cost(self, usage: Usage) -> Usage:
        """The usage with its cost, if prices are given and the server reported tokens."""
        return self._options.with_cost(usage)

    def run_plan(self, plan: CallPlan[T_co]) -> Iterator[T_co]:
        """Yield the plan's results, in the order in which the calls end.

        The methods of the plan run in the caller's thread. Closing the iterator or Ctrl-C cancels the calls in flight
        at once.

        Raises:
            SemanticEntropyError: (or the type `error` of the constructor) no call can succeed; the message names the
                fix. Before that, the results of the calls in flight are yielded if they arrive within 30 seconds.
            Exception: an exception of the plan; it is raised after the results of the calls in flight.
        """
        first = plan.next_call()
        if first is None:
            return
        self._check_key()
        plan_error: Exception | None = None
        with self._key.redact_logs(), self._start_thread() as thread, self._registered(thread):
            thread.submit(first)
            while True:
                try:
                    while self._has_free_slot(thread) and not plan_error and (call := plan.next_call()):
                        thread.submit(call)
                except Exception as error:  # noqa: BLE001  # raised below, after the calls in flight
                    plan_error = error
                if not thread.pending:
                    break
                yield from plan.results(*thread.next_outcome())
            thread.raise_fatal()
        if plan_error:
            raise plan_error

    def close(self) -> None:
        """End all running streams: other threads that read a stream get an error. New streams can be started."""
        for thread in tuple(self._threads):
            thread.abort()

    def _has_free_slot(self, thread: CallThread) -> bool:
        """Whether the stream of this thread may start a call.

        A stream without a call in flight may always start a call, because no outcome would wake up the stream later.
        There is no lock, because a fork could copy a lock that is held. So two streams may start a call at the same
        moment, and exceed the limit by one call.
        """
        others = (other for other in tuple(self._threads) if other is not thread and other.pid == os.getpid())
        return thread.free_slots > (sum(other.pending for other in others) if thread.pending else 0)

    @contextlib.contextmanager
    def _registered(self, thread: CallThread) -> Iterator[None]:
        self._threads.add(thread)
        try:
            yield
        finally:
            self._threads.discard(thread)

    def _start_thread(self) -> CallThread:
        client = self._make_client()
        retrier = Retrier(self._options, self._key, self._state, client)
        return CallThread(retrier, client, self.concurrency, self._error)

    def _make_client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self.concurrency)
        try:
            return httpx.AsyncClient(
                verify=_certificates(), limits=limits, auth=self._key.header(), headers={"Accept-Encoding": ENCODING}
            )
        except (ImportError, ValueError) as error:  # a SOCKS proxy without its package, or an invalid proxy URL
            problem = self._key.redact(str(error))
        raise self._error(f"{self._owner}: the proxy that the environment sets cannot be used: {problem}")

    def _check_key(self) -> None:
        if problem := self._key.problem:
            raise errors.OptionError(f"{self._owner}: {problem}")


@functools.cache
def _certificates() -> ssl.SSLContext:
    """The trusted certificates. They are read once, because reading takes longer than a call to a local server."""
    return httpx.create_ssl_context()


def _checked_url(owner: str, url: str) -> str:
    """The address without a final slash or /chat/completions. Messages show no user or query, which may be secret."""
    parsed = _parsed_url(url)
    if parsed is None:
        problem = f"base_url={url!r} is not an address" if "@" not in str(url) else "base_url is not an address"
    elif parsed.userinfo or parsed.query or parsed.fragment or "@" in url:
        del url, parsed  # a traceback with local variables must not show them
        problem = "base_url holds a user, a query or a fragment: pass the key as api_key=, and the address without them"
    elif parsed.scheme not in ("http", "https") or not _HOST.fullmatch(parsed.host) or (parsed.port or 80) > 65535:
        problem = f"base_url={url!r} is not an address"
    else:
        return url.strip().rstrip("/").removesuffix(_CHAT_PATH).rstrip("/")
    raise errors.OptionError(f"{owner}: {problem}; an address looks like http://localhost:8000/v1")


def _parsed_url(url: Any) -> httpx.URL | None:
    try:
        return httpx.URL(url.strip())
    except (httpx.InvalidURL, AttributeError, TypeError):
        return None


def _checked_prices(owner: str, input_price: float | None, output_price: float | None) -> tuple[float, float] | None:
    if input_price is None and output_price is None:
        return None
    if input_price is None or output_price is None:
        given, missing = ("output", "input") if input_price is None else ("input", "output")
        raise errors.OptionError(f"{owner}: {given}_price is given without {missing}_price: the cost needs both")
    return (
        checked_number(owner, "input_price", input_price, 0),
        checked_number(owner, "output_price", output_price, 0),
    )
