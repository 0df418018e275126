"""Sends one call: makes attempts, waits between attempts, leaves out refused parameters, and decides when to stop.

Before retry n the call waits backoff * 2^(n-1) seconds, times a random factor in [0.5, 1], so that calls that failed at
the same time are not sent again at the same time. If the server sends Retry-After, all calls wait at least for this
time. No wait is longer than 60 s: if the server asks for an hour, the call is retried after a minute, until no retry is
left.

A failed call is data (`Failure`); the other calls go on. All calls stop (`Fatal`)

- at a status that concerns every call (`endpoint.failures`);
- if the server has never answered, and no connection can be made or the retries of a call are used up;
- if the server has answered before, and no connection can be made in any retry;
- after 20 failed calls in a row. Refused calls count only until a call succeeds; after that, a refusal says
  nothing about other calls.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from urllib.request import getproxies

import anyio
import httpx

from semantic_entropy.plugin import Usage, errors
from semantic_entropy_plugins.endpoint.failures import (
    FailedAttempt,
    Failure,
    Fatal,
    Parameter,
    connection_failed,
    read_answer,
    timed_out,
)
from semantic_entropy_plugins.endpoint.key import VARIABLE, Key
from semantic_entropy_plugins.endpoint.replies import BodyReader, Reply, UnreadableBodyError, read_models

LONGEST_WAIT = 60.0  # seconds
_CONNECT_TIMEOUT = 10.0  # seconds: a running server accepts a connection within one second
_LOGGED_WAIT = 3.0  # seconds: a user wants to know the reason for a longer wait
_MODELS_TIMEOUT = 10.0  # seconds for the list of models, which is requested only for an error message
_MODELS_SHOWN = 20  # models in an error message
_MOST_FAILURES = 20  # failed calls in a row: their retries have taken minutes, and further calls would take hours
# The largest reply to a call with a token limit. A token with 20 alternatives takes 1,900 bytes; JSON takes up to 25
# times its size in memory, so a server must not send more than a call can need.
_BYTES_OF_REPLY, _BYTES_OF_TOKEN = 4_000_000, 2_000
_OMITTED = logging.getLogger("semantic_entropy.endpoint")
_LOG = logging.getLogger("semantic_entropy.waiting")  # the CLI shows it; elsewhere it is silent unless INFO is enabled

CallOutcome: TypeAlias = Reply | Failure | Fatal
RefusedParameters: TypeAlias = frozenset[Parameter]


@dataclass(frozen=True, slots=True)
class Call:
    """One request for a chat completion.

    Attributes:
        tag: an object of the caller that identifies the call.
        body: a function that takes the parameters that the server does not support, and returns the JSON to send.
        optional: the parameters that may be left out if the server refuses them.
        tentative: whether a refusal of this call says nothing about other calls.
    """

    tag: Any
    body: Callable[[RefusedParameters], Mapping[str, Any]]
    optional: tuple[Parameter, ...] = ()
    tentative: bool = False


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options of all calls: `timeout` and `backoff` in seconds, `prices` per million (input, output) tokens."""

    url: str
    timeout: float
    retries: int
    backoff: float
    token_budget: int | None
    prices: tuple[float, float] | None
    max_reply_bytes: int

    def with_cost(self, usage: Usage) -> Usage:
        """The usage with its cost, if prices are given and the server reported tokens."""
        if self.prices is None or not (usage.input_tokens or usage.output_tokens):
            return usage
        input_price, output_price = self.prices
        return replace(usage, cost=(usage.input_tokens * input_price + usage.output_tokens * output_price) / 1e6)


class ServerState:
    """The observations about the server so far. Any thread may read and change the object.

    There is no lock, because a fork could copy a lock that is held. So the number of failures can be too small by one
    if two threads change it at the same moment. The number of tokens is always exact.
    """

    def __init__(self) -> None:
        self.answered = False  # the server has sent any HTTP status
        self.succeeded = False
        self.failed_in_a_row = 0
        self.paused_until = 0.0  # no attempt starts before this value of time.monotonic()
        self.refused: RefusedParameters = frozenset()
        self._tokens: dict[int, int] = {}  # by thread; each thread changes only its own entry

    @property
    def tokens(self) -> int:
        """The number of input and output tokens used so far."""
        return sum(list(self._tokens.values()))

    def add_usage(self, usage: Usage) -> None:
        """Count the tokens of an attempt."""
        thread = threading.get_ident()
        self._tokens[thread] = self._tokens.get(thread, 0) + usage.input_tokens + usage.output_tokens

    def record_success(self, omitted: RefusedParameters) -> RefusedParameters:
        """A reply arrived without these parameters: leave them out from now on. Return those that are new."""
        self.succeeded, self.failed_in_a_row = True, 0
        new, self.refused = omitted - self.refused, self.refused | omitted
        return new

    def pause(self, seconds: float) -> None:
        """Start no attempt of any call for this number of seconds."""
        self.paused_until = max(self.paused_until, time.monotonic() + seconds)


class Retrier:
    """Sends calls to one server. While `no_more_attempts` is set, running attempts go on but no attempt starts."""

    def __init__(self, options: CallOptions, key: Key, state: ServerState, client: httpx.AsyncClient) -> None:
        self._options, self._key, self._state, self._client = options, key, state, client
        self.no_more_attempts = asyncio.Event()

    async def send(self, call: Call) -> CallOutcome:
        """Send the call. Errors of the server and the network are returned, not raised."""
        usage, omitted, attempts = Usage(), self._state.refused, 0
        refusals: dict[Parameter, str] = {}
        await self._wait_for_pause()
        while not (self.no_more_attempts.is_set() or self._is_budget_spent()):
            answer = await self._attempt(call.body(omitted))
            usage += self._options.with_cost(answer.usage)
            self._state.add_usage(answer.usage)
            if isinstance(answer, Reply):
                self._say_omitted(call, {name: refusals[name] for name in self._state.record_success(omitted)})
                return replace(answer, usage=usage)
            if refused := _refused_parameter(answer, call, omitted):
                omitted |= {refused}
                refusals[refused] = answer.reason
                continue
            attempts += 1
            if outcome := await self._final_outcome(answer, call, attempts, usage):
                return outcome
            await self._back_off(attempts, answer)
            await self._wait_for_pause()
        # If `no_more_attempts` ended the loop, the caller ignores this reason.
        reason = f"the token budget of {self._options.token_budget} is spent"
        return Failure(reason, usage=usage, transient=True)

    def _say_omitted(self, call: Call, refusals: Mapping[Parameter, str]) -> None:
        """Say which values do not count. `max_completion_tokens` replaces `max_tokens`, so this value counts."""
        given = call.body(frozenset())
        for name, reason in refusals.items():
            if name != "max_tokens":
                value = "" if isinstance(given[name], dict) else f"={given[name]}"
                text = "%s refuses %s%s for the model %s (%s). Requests are now sent without it"
                _OMITTED.warning(text, self._options.url, name, value, given.get("model"), reason)

    def unexpected_error(self, error: Exception, details: str) -> Fatal:
        """The outcome for a bug in this package. `details` is the traceback as text, without objects with the key."""
        reason = f"{self._options.url}: unexpected {type(error).__name__}: {error}; please report it"
        return Fatal(self._key.redact(reason), self._key.redact(details))

    async def _attempt(self, body: Mapping[str, Any]) -> Reply | FailedAttempt:
        content = json.dumps(body, ensure_ascii=False).encode(errors="replace")  # UTF-8 has no lone surrogates
        try:
            with anyio.fail_after(self._options.timeout):
                request = self._client.stream(
                    "POST",
                    f"{self._options.url}/chat/completions",
                    content=content,
                    headers={"Content-Type": "application/json"},
                    timeout=httpx.Timeout(None, connect=_CONNECT_TIMEOUT),
                )
                async with request as response:
                    self._state.answered = True
                    text = await self._read(response, _most_bytes(body))
        except TimeoutError:
            return timed_out(self._options.timeout)
        except (httpx.RequestError, OSError, UnicodeError) as error:  # UnicodeError: an invalid host name
            return connection_failed(error, self._key)
        except zlib.error as error:
            return FailedAttempt("retry", f"its answer is not valid gzip: {error}", response.status_code)
        except UnreadableBodyError as error:
            return FailedAttempt("refused", self._key.redact(str(error)), response.status_code)
        return read_answer(response.status_code, response.headers, text, self._key)

    async def _read(self, response: httpx.Response, most: float) -> str:
        """The body, of at most this many bytes. httpx would unpack it without a limit. Raises UnreadableBodyError."""
        body = BodyReader(response.headers.get("content-encoding", ""), int(min(most, self._options.max_reply_bytes)))
        async for part in response.aiter_raw():
            body.add(part)
        return body.text()

    async def _final_outcome(
        self, failed: FailedAttempt, call: Call, attempts: int, usage: Usage
    ) -> Failure | Fatal | None:
        """The outcome of the call after this failed attempt; None: make another attempt."""
        failure = Failure(failed.reason, failed.status, usage)
        if failed.kind == "refused":
            return failure if call.tentative or self._state.succeeded else self._count(failure)
        if failed.kind == "stop":
            return await self._stop(failed, failure, call)
        if failed.kind == "unreachable" and not self._state.answered:
            return Fatal(_unreachable(self._options.url, failed.reason))
        return self._give_up(failed, failure, attempts) if attempts > self._options.retries else None

    async def _stop(self, failed: FailedAttempt, failure: Failure, call: Call) -> Failure | Fatal:
        status, advice = failed.status, ""
        if status == 403 and self._state.succeeded:  # some content filters answer 403
            return self._count(failure)
        if status in (401, 403) and self._key:
            advice = f"check the key in api_key= or {VARIABLE}"
        elif status in (401, 403):
            advice = f"no key was given: pass api_key=, or set {VARIABLE}"
        elif status == 404:
            advice = self._not_found_advice(str(call.body(frozenset()).get("model")), await self._list_models())
        elif status is not None and 300 <= status < 400:
            advice = "redirects are not followed: pass the final address as base_url="
        return Fatal(f"{self._options.url}: {failed.reason}" + (f" ({advice})" if advice else ""))

    def _give_up(self, failed: FailedAttempt, failure: Failure, attempts: int) -> Failure | Fatal:
        url = self._options.url
        reason = f"gave up after {attempts} attempt{'s' * (attempts > 1)}; the last error: {failed.reason}"
        if not self._state.answered:
            return Fatal(f"{url} has never answered: {reason}. Check base_url=, and whether the server works")
        if failed.kind == "unreachable":
            return Fatal(f"{url} answered before, and now cannot be reached: {reason}. Is the server still running?")
        return self._count(replace(failure, reason=reason, transient=True))

    def _count(self, failure: Failure) -> Failure | Fatal:
        self._state.failed_in_a_row += 1
        if self._state.failed_in_a_row < _MOST_FAILURES:
            return failure
        return Fatal(f"{self._options.url}: {_MOST_FAILURES} calls in a row failed; the last error: {failure.reason}")

    def _not_found_advice(self, model: str, models: Sequence[str]) -> str:
        if not models:
            return f"check base_url={self._options.url!r}: it usually ends with /v1"
        if model in models:
            return f"the server lists this model: check whether base_url={self._options.url!r} has chat completions"
        more = ", ..." if len(models) > _MODELS_SHOWN else ""
        return f"the server has these models: {', '.join(models[:_MODELS_SHOWN])}{more}.{errors.nearest(model, models)}"

    async def _list_models(self) -> list[str]:
        failures = (httpx.RequestError, OSError, TimeoutError, UnreadableBodyError, zlib.error)
        with suppress(*failures), anyio.fail_after(_MODELS_TIMEOUT):
            async with self._client.stream("GET", f"{self._options.url}/models") as response:
                text = await self._read(response, _BYTES_OF_REPLY)
                if response.status_code == 200:
                    return sorted(self._key.redact(name) for name in read_models(text))
        return []

    async def _wait_for_pause(self) -> None:
        """Wait until the pause of all calls is over, plus a random time, so that the calls do not start together."""
        while not self.no_more_attempts.is_set() and (left := self._state.paused_until - time.monotonic()) > 0:
            await self._sleep(left + random.uniform(0, self._options.backoff))

    async def _back_off(self, attempts: int, failed: FailedAttempt) -> None:
        if failed.retry_after is not None:
            self._state.pause(min(failed.retry_after, LONGEST_WAIT))
        seconds = min(LONGEST_WAIT, self._options.backoff * 2.0 ** (attempts - 1)) * random.uniform(0.5, 1)
        wait = max(seconds, self._state.paused_until - time.monotonic())
        if wait > _LOGGED_WAIT:
            _LOG.info("%s: %s; trying again in %.0f s", self._options.url, failed.reason, wait)
        await self._sleep(seconds)

    async def _sleep(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self.no_more_attempts.wait()

    def _is_budget_spent(self) -> bool:
        budget = self._options.token_budget
        return budget is not None and self._state.tokens >= budget


def _refused_parameter(failed: FailedAttempt, call: Call, omitted: RefusedParameters) -> Parameter | None:
    """An optional parameter of the call that the server's refusal names, or None."""
    return next((name for name in call.optional if name not in omitted and failed.refuses(name)), None)


def _most_bytes(body: Mapping[str, Any]) -> float:
    """The size of the largest reply to this request."""
    tokens = body.get("max_tokens", body.get("max_completion_tokens"))
    if not isinstance(tokens, int):  # no limit is sent, or one that only the server can read
        return math.inf
    responses: int = body.get("n", 1)
    return _BYTES_OF_REPLY + _BYTES_OF_TOKEN * responses * tokens


def _unreachable(url: str, reason: str) -> str:
    has_proxy = any(scheme in getproxies() for scheme in ("http", "https", "all"))
    proxy = " through the proxy from the environment (NO_PROXY exempts hosts)" if has_proxy else ""
    return (
        f"{url} cannot be reached{proxy}: {reason}. Is the server running? base_url= sets the address; usual addresses "
        "are http://localhost:8000/v1 (vLLM), http://localhost:11434/v1 (Ollama) and http://localhost:8080/v1 "
        "(llama.cpp)"
    )
