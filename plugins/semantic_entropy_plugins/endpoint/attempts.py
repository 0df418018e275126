"""How one call is answered: attempts, the waits between them, and what is left out for a server that does not know it.

The n-th retry waits backoff * 2^(n-1) seconds, half to all of it drawn at random, so that calls that failed together do
not come back together; or what the server's Retry-After asks for, where that is longer, and then all other calls wait
with it. No single wait is longer than 60 s: a server that asks for an hour is asked again after a minute, and at last
the call fails.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import httpx

from semantic_entropy.plugin import Usage
from semantic_entropy_plugins.endpoint.ends import Ends, Failure, Fatal
from semantic_entropy_plugins.endpoint.key import Key
from semantic_entropy_plugins.endpoint.replies import Reply, decode, read_models
from semantic_entropy_plugins.endpoint.standing import Refused, Standing, Terms
from semantic_entropy_plugins.endpoint.trouble import Parameter, Trouble, broken, no_answer, read_answer

LONGEST_WAIT = 60.0  # seconds
_CONNECT = 10.0  # seconds: a machine that is there accepts within one
_SILENT = 3.0  # seconds: who waits longer wants to know why
_LOG = logging.getLogger("semantic_entropy.waiting")  # the command line shows it; nobody else unless they ask for INFO
_MODELS = 10.0  # seconds for the list of models, which is only asked for to explain an error

Outcome: TypeAlias = Reply | Failure | Fatal


@dataclass(frozen=True, slots=True)
class Call:
    """One request for a chat completion.

    tag: the caller's own, to know it by. body: the JSON to send, given the parameters that the server does not take.
    optional: those it can do without. tentative: a refusal of it says nothing of the calls to come.
    """

    tag: Any
    body: Callable[[Refused], Mapping[str, Any]]
    optional: tuple[Parameter, ...] = ()
    tentative: bool = False


class Attempts:
    """Answers calls at one endpoint. `hurry` is set when what does not come at once is not wanted any more."""

    def __init__(self, terms: Terms, key: Key, standing: Standing, client: httpx.AsyncClient) -> None:
        self._terms, self._key, self._standing, self._client = terms, key, standing, client
        self._ends = Ends(terms.url, standing, bool(key))
        self.hurry = asyncio.Event()

    async def answer(self, call: Call) -> Outcome:
        """A reply, or why there is none. Never raises for what a server or the network does."""
        usage, without, tries = Usage(), self._standing.refused, 0
        await self._pause()
        while not (self.hurry.is_set() or self._is_spent()):
            got = await self._attempt(call.body(without))
            usage += self._terms.priced(got.usage)
            self._standing.spend(got.usage)
            if isinstance(got, Reply):
                self._standing.success(without)
                return replace(got, usage=usage)
            if dropped := _unknown(got, call, without):
                without |= {dropped}
                continue
            tries += 1
            if end := await self._end(got, call, tries, usage):
                return end
            await self._back_off(tries, got)
            await self._pause()
        # Where it is the hurry that ends this, nobody reads the reason.
        return Failure(f"the token budget of {self._terms.token_budget} is spent", usage=usage, transient=True)

    def unexpected(self, error: Exception, details: str) -> Fatal:
        """An error of this code, with its traceback as text: a traceback itself would hold the request's header."""
        reason = f"{self._terms.url}: unexpected {type(error).__name__}: {error}; please report it"
        return Fatal(self._key.redact(reason), self._key.redact(details))

    async def _end(self, got: Trouble, call: Call, tries: int, usage: Usage) -> Outcome | None:
        """How this trouble ends the call, unless there is an attempt left."""
        if got.kind == "refused":
            return self._ends.refused(got, usage, counts=not call.tentative)
        if got.status == 404:
            return self._ends.not_found(got, str(call.body(frozenset()).get("model")), await self._models())
        if got.kind == "stop":
            return self._ends.stopped(got, usage)
        if got.kind == "away" and not self._standing.answered:
            return self._ends.unreachable(got.reason)
        return self._ends.given_up(got, tries, usage) if tries > self._terms.retries else None

    async def _attempt(self, body: Mapping[str, Any]) -> Reply | Trouble:
        content = json.dumps(body, ensure_ascii=False).encode(errors="replace")  # a lone surrogate is no UTF-8
        try:
            async with asyncio.timeout(self._terms.timeout):
                request = self._client.stream(
                    "POST",
                    f"{self._terms.url}/chat/completions",
                    content=content,
                    headers={"Content-Type": "application/json"},
                    timeout=httpx.Timeout(None, connect=_CONNECT),
                )
                async with request as response:
                    self._standing.answered = True
                    text = await self._read(response)
        except TimeoutError:
            return no_answer(self._terms.timeout)
        except (httpx.RequestError, OSError, UnicodeError) as error:  # the last: a host's name that cannot be one
            return broken(error, self._key)
        if text is None:
            reason = f"its answer is larger than {self._terms.max_reply_bytes / 1e6:g} MB"
            return Trouble("refused", reason, response.status_code)
        return read_answer(response.status_code, response.headers, text, self._key)

    async def _read(self, response: httpx.Response) -> str | None:
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > self._terms.max_reply_bytes:
                return None
        return decode(bytes(body))

    async def _models(self) -> list[str]:
        """What exists instead of the model that does not."""
        with suppress(httpx.RequestError, OSError, TimeoutError):
            async with asyncio.timeout(_MODELS), self._client.stream("GET", f"{self._terms.url}/models") as response:
                text = await self._read(response)
                if text and response.status_code == 200:
                    return sorted(self._key.redact(name) for name in read_models(text))
        return []

    async def _pause(self) -> None:
        """Wait while all wait, and a little longer: not all calls come back at once."""
        while not self.hurry.is_set() and (left := self._standing.resume_at - time.monotonic()) > 0:
            await self._sleep(left + random.uniform(0, self._terms.backoff))

    async def _back_off(self, tries: int, got: Trouble) -> None:
        if got.wait is not None:
            self._standing.pause(min(got.wait, LONGEST_WAIT))
        seconds = min(LONGEST_WAIT, self._terms.backoff * 2.0 ** (tries - 1)) * random.uniform(0.5, 1)
        longest = max(seconds, self._standing.resume_at - time.monotonic())
        if longest > _SILENT:
            _LOG.info("%s: %s; trying again in %.0f s", self._terms.url, got.reason, longest)
        await self._sleep(seconds)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.hurry.wait()

    def _is_spent(self) -> bool:
        budget = self._terms.token_budget
        return budget is not None and self._standing.tokens >= budget


def _unknown(got: Trouble, call: Call, without: Refused) -> Parameter | None:
    """A parameter that the refusal names, and that the call can do without."""
    if got.kind != "refused":
        return None
    return next((one for one in call.optional if one not in without and got.refuses(one)), None)
