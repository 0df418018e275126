"""What went wrong with an attempt, and what follows from it. No IO here.

    408, 409, 425, 429, 5xx, no JSON, no choices, half an answer, no answer in time    again
    nothing can be reached at the address                                              again, or stop if it never could
    400, 413, 422 and what else concerns this call (context too long, a filter)        refused: the call fails
    3xx, 401, 402, 403, 404, 405, 410, a quota used up                                 stop: no call can succeed

A refusal may name a parameter that this server does not know; a call that can do without is sent again so.
"""

from __future__ import annotations

import math
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Literal

import httpx

from semantic_entropy.plugin import Usage
from semantic_entropy_plugins.endpoint.key import Key
from semantic_entropy_plugins.endpoint.replies import Choice, Reply, load, read_choices, read_usage, read_words, shorten

_AGAIN = frozenset((408, 409, 425, 429))
_STOP = frozenset((401, 402, 403, 404, 405, 407, 410))
_QUOTA = "insufficient_quota"  # OpenAI's 429 for an account without credit: no patience helps

_NO_CONNECTION = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, UnicodeError),
    *(ssl.SSLError, socket.gaierror, ConnectionRefusedError),  # older versions of httpx's engine let these through
)
_HEARD = 10_000  # characters of a server's words that are looked through: a refusal says what it refuses before that
_USER = re.compile(r"//[^/]*@")

Parameter = Literal["response_format", "logprobs", "max_tokens"]
_REFUSALS: Mapping[Parameter, re.Pattern[str]] = {
    "response_format": re.compile(r"response_format|json[_ ]schema|structured output|grammar"),
    "logprobs": re.compile(r"logprobs?\b"),
    # A context that is too long names both limits as well: that is no refusal of the parameter. From the beginning
    # alone: tried at every place, it would read the rest of a page once for each of its characters.
    "max_tokens": re.compile(r"\A(?=.*max_completion_tokens)(?=.*(unsupported|not supported|instead))", re.DOTALL),
}
"""How a refusal of each parameter that a call can do without reads, in lower case. Without `max_tokens` a call says
`max_completion_tokens`, its name at newer servers."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an attempt brought no reply. `wait`: seconds that the server asks for. `said`: its words, in lower case."""

    kind: Literal["again", "away", "refused", "stop"]
    reason: str
    status: int | None = None
    wait: float | None = None
    said: str = ""
    usage: Usage = field(default=Usage(requests=1))

    def refuses(self, parameter: Parameter) -> bool:
        """Whether this names the parameter as the reason."""
        return _REFUSALS[parameter].search(self.said) is not None


def read_answer(status: int, headers: httpx.Headers, text: str, key: Key) -> Reply | Trouble:
    """The reply in an answer, or what is wrong with it."""
    if 200 <= status < 300:
        return _read_reply(status, text, key)
    words = read_words(text)
    said = key.redact(" ".join(words)).lower()[:_HEARD]
    reason = f"HTTP {status}: {shorten(key.redact(words.message))}"
    usage = read_usage(load(text))
    if 300 <= status < 400:
        return Trouble("stop", f"HTTP {status}: moved{_target(headers, key)}", status)
    if status in _STOP or words.code == _QUOTA:  # its code alone: a message may quote a text that speaks of it
        return Trouble("stop", reason, status, said=said, usage=usage)
    if status in _AGAIN or status >= 500:
        return Trouble("again", reason, status, read_retry_after(headers.get("retry-after")), said, usage)
    return Trouble("refused", reason, status, said=said, usage=usage)


def _read_reply(status: int, text: str, key: Key) -> Reply | Trouble:
    body = load(text)
    choices, usage = read_choices(body, key.redact_answer), read_usage(body)
    if choices:
        return Reply(choices, _counted(usage, choices))
    what = "its answer is not JSON" if body is None else "its answer holds no choices"
    return Trouble("again", f"HTTP {status}, but {what}: {shorten(key.redact(text))!r}", status, usage=usage)


def _counted(usage: Usage, choices: Sequence[Choice]) -> Usage:
    """llama.cpp reports the tokens of one choice of several; the others' are seen where they have log-probabilities."""
    seen = sum(len(choice.tokens or ()) for choice in choices)
    return replace(usage, output_tokens=seen) if len(choices) > 1 and 0 < usage.output_tokens < seen else usage


def read_retry_after(value: str | None) -> float | None:
    """Seconds from now in a Retry-After header: a number of seconds or an HTTP date; None where it is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def no_answer(seconds: float) -> Trouble:
    """The deadline passed."""
    return Trouble(
        "again",
        f"no complete answer within {seconds:g} s (raise timeout=; lower concurrency= where the server answers one "
        "call after the other)",
    )


def broken(error: Exception, key: Key) -> Trouble:
    """What httpx raised, in plain words; `away` where there was no connection at all."""
    words = shorten(key.redact(_plainly(error)))
    if isinstance(error, _NO_CONNECTION):
        return Trouble("away", words, usage=Usage())
    return Trouble("again", words)


def _plainly(error: Exception) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy refuses: {error}"
    causes = list(_causes(error))
    known = next((said for cause in causes if (said := _known(cause))), None)
    return known or f"the connection broke: {str(error) or type(causes[-1]).__name__}"


def _known(cause: BaseException) -> str | None:
    match cause:
        case socket.gaierror():
            return f"the host's name cannot be resolved ({cause.strerror})"
        case ConnectionRefusedError():
            return "connection refused"
        case ssl.SSLCertVerificationError():
            return f"its TLS certificate is not valid here: {cause.verify_message}"
        case ssl.SSLError():
            return f"no TLS there ({cause.reason}); is it http://, not https://?"
        case UnicodeError():
            return f"the host's name cannot be one: {cause}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, the last first; each branch of a group."""
    seen: list[BaseException] = [error]
    for one in seen:  # grows
        yield one
        found = [one.__cause__ or one.__context__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]
        seen += [cause for cause in found if cause is not None and not any(cause is other for other in seen)]


def _target(headers: httpx.Headers, key: Key) -> str:
    """Where a redirect points: without its user and its query, which may be secrets."""
    location = _USER.sub("//", key.redact(headers.get("location", "")).partition("?")[0])
    return f" to {shorten(location)!r}" if location else ""
