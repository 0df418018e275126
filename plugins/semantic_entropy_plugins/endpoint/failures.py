"""Classifies failed attempts: retry, fail this call, or stop all calls. No IO here.

    408, 409, 425, 429, 5xx, no JSON, no choices, an incomplete body, a timeout    "retry"
    no connection                                                                  "unreachable": retried, unless the
                                                                                   server has never answered
    400, 413, 422 and any other status that concerns this request                  "refused": the call fails
    3xx, 401, 402, 403, 404, 405, 407, 410, a used-up quota                        "stop": no call can succeed

A refusal may name a parameter that the server or the model does not support: OpenAI's reasoning models refuse
`max_tokens`, `top_p`, `logprobs` (with a 403) and each temperature but 1; Claude models refuse `top_p` beside
`temperature`, and the newest of them both. If the parameter is optional, the call is sent again without the parameter
(`endpoint.retry`). A value outside a range ("must be at most 1") is not such a refusal: the user has to correct it.
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
from semantic_entropy_plugins.endpoint.replies import (
    Choice,
    Reply,
    parse_json,
    read_choices,
    read_error,
    read_origin,
    read_usage,
    shorten,
)

_RETRY_STATUSES = frozenset((408, 409, 425, 429))
_STOP_STATUSES = frozenset((401, 402, 403, 404, 405, 407, 410))
_QUOTA_CODE = "insufficient_quota"  # OpenAI's 429 for an account without credit: waiting does not help

_NO_CONNECTION = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, UnicodeError),
    *(ssl.SSLError, socket.gaierror, ConnectionRefusedError),  # older versions of httpcore do not wrap these
)
_SEARCHED = 10_000  # characters of a server's message that are searched for the name of a refused parameter
_URL_USER = re.compile(r"//[^/]*@")

Parameter = Literal["response_format", "logprobs", "max_tokens", "top_p", "temperature", "seed"]
_UNSUPPORTED = re.compile(
    r"unsupported|(not|n't) support|no longer|not (allowed|permitted|available|enabled)|deprecated|unrecogni[sz]ed|"
    r"unknown|unexpected|"
    r"only the default|only be set to|cannot both|extra (inputs|fields)|extra_forbidden"
)
_REFUSALS: Mapping[Parameter, re.Pattern[str]] = {
    "response_format": re.compile(r"response_format|json[_ ]schema|structured output|grammar"),
    "logprobs": re.compile(r"logprobs?\b"),
    # A message about a too long context also names the parameters, but does not refuse them. The
    # pattern is anchored: tried at every position, it would read the rest of the text once for each character.
    "max_tokens": re.compile(r"\A(?=.*max_completion_tokens)(?=.*(unsupported|not supported|instead))", re.DOTALL),
}
"""Pattern of the message, in lower case, that refuses an optional parameter; for all other parameters, the message has
the parameter's name and one of the words `_UNSUPPORTED`. A call without `max_tokens` sends
`max_completion_tokens` instead, the parameter's name at newer servers."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A call without a reply. A `Failure` does not stop other calls.

    Attributes:
        reason: the reason, as a text for the user.
        status: the HTTP status, if the server sent one.
        usage: the tokens and requests used by all attempts of the call.
        transient: whether the same call may succeed at another time.
    """

    reason: str
    status: int | None = None
    usage: Usage = field(default=Usage())
    transient: bool = False


@dataclass(frozen=True, slots=True)
class Fatal:
    """An error after which no call can succeed.

    Attributes:
        reason: the reason and the fix, as a text for the user.
        details: a traceback, if the error is a bug in this package; else empty.
    """

    reason: str
    details: str = ""


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt without a reply.

    Attributes:
        kind: the class of the failure; the module's docstring lists the classes.
        reason: the reason, as a text for the user.
        status: the HTTP status, if the server sent one.
        retry_after: the seconds until the next attempt that the server requests; None: no request.
        message: the server's message, in lower case.
        usage: the tokens and requests used by the attempt.
    """

    kind: Literal["retry", "unreachable", "refused", "stop"]
    reason: str
    status: int | None = None
    retry_after: float | None = None
    message: str = ""
    usage: Usage = field(default=Usage(requests=1))

    def refuses(self, parameter: Parameter) -> bool:
        """Whether the server's message names the parameter as the reason."""
        if self.kind != "refused" and self.status != 403:
            return False
        if pattern := _REFUSALS.get(parameter):
            return pattern.search(self.message) is not None
        named = re.search(rf"\b{parameter}\b", self.message)
        return named is not None and _UNSUPPORTED.search(self.message) is not None


def read_answer(status: int, headers: httpx.Headers, text: str, key: Key) -> Reply | FailedAttempt:
    """The reply in an HTTP response, or the failed attempt."""
    if 200 <= status < 300:
        return _read_reply(status, text, key)
    if 300 <= status < 400:
        return FailedAttempt("stop", f"HTTP {status}: moved{_redirect_target(headers, key)}", status)
    error = read_error(text)
    message = key.redact(" ".join(error)).lower()[:_SEARCHED]
    reason = f"HTTP {status}: {shorten(key.redact(error.message))}"
    usage, retry_after = read_usage(parse_json(text)), None
    # Only the code counts: the message may quote a text that contains the code.
    if status in _STOP_STATUSES or error.code == _QUOTA_CODE:
        kind: Literal["retry", "refused", "stop"] = "stop"
    elif status in _RETRY_STATUSES or status >= 500:
        kind, retry_after = "retry", read_retry_after(headers.get("retry-after"))
    else:
        kind = "refused"
    return FailedAttempt(kind, reason, status, retry_after, message, usage)


def _read_reply(status: int, text: str, key: Key) -> Reply | FailedAttempt:
    body = parse_json(text)
    choices, usage = read_choices(body, key.redact_answer), read_usage(body)
    if choices:
        return Reply(choices, _with_all_choices(usage, choices), read_origin(body))
    problem = "its answer is not JSON" if body is None else "its answer holds no choices"
    return FailedAttempt("retry", f"HTTP {status}, but {problem}: {shorten(key.redact(text))!r}", status, usage=usage)


def _with_all_choices(usage: Usage, choices: Sequence[Choice]) -> Usage:
    """Correct the usage of llama.cpp, which reports the tokens of only one choice: count log-probabilities."""
    tokens = sum(len(choice.tokens or ()) for choice in choices)
    is_too_low = len(choices) > 1 and 0 < usage.output_tokens < tokens
    return replace(usage, output_tokens=tokens) if is_too_low else usage


def read_retry_after(value: str | None) -> float | None:
    """The seconds in a Retry-After header, which holds seconds or an HTTP date; None: the value is not valid."""
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


def timed_out(seconds: float) -> FailedAttempt:
    """The failed attempt of a call that took longer than `seconds`."""
    return FailedAttempt(
        "retry",
        f"no complete answer within {seconds:g} s (raise timeout=, or lower concurrency= if the server answers one "
        "call at a time)",
    )


def connection_failed(error: Exception, key: Key) -> FailedAttempt:
    """The failed attempt for an exception of httpx; its kind is "unreachable" if there was no connection."""
    reason = shorten(key.redact(_explain(error)))
    if isinstance(error, _NO_CONNECTION):
        return FailedAttempt("unreachable", reason, usage=Usage())
    return FailedAttempt("retry", reason)


def _explain(error: Exception) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "the connection timed out"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy refuses the connection: {error}"
    causes = list(_causes(error))
    explained = next((text for cause in causes if (text := _explain_cause(cause))), None)
    return explained or f"the connection broke: {str(error) or type(causes[-1]).__name__}"


def _explain_cause(cause: BaseException) -> str | None:
    match cause:
        case socket.gaierror():
            return f"the host name cannot be resolved ({cause.strerror})"
        case ConnectionRefusedError():
            return "connection refused"
        case ssl.SSLCertVerificationError():
            return f"the TLS certificate is not valid on this machine: {cause.verify_message}"
        case ssl.SSLError():
            return f"TLS failed ({cause.reason}); if the server has no TLS, use http:// instead of https://"
        case UnicodeError():
            return f"the host name is not valid: {cause}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields the error, then its causes and the members of exception groups, breadth-first."""
    found: list[BaseException] = [error]
    for current in found:  # the loop appends to this list
        yield current
        branches = current.exceptions if isinstance(current, BaseExceptionGroup) else ()
        for cause in (current.__cause__ or current.__context__, *branches):
            if cause is not None and not any(cause is known for known in found):
                found.append(cause)


def _redirect_target(headers: httpx.Headers, key: Key) -> str:
    """The target of a redirect, without user and query, which may be secrets."""
    location = _URL_USER.sub("//", key.redact(headers.get("location", "")).partition("?")[0])
    return f" to {shorten(location)!r}" if location else ""
