"""Reads response bodies: choices, log-probabilities and token counts, or the server's error message. No IO here.

A body is unpacked up to a limit, whatever it unpacks to, and has at most one content encoding, gzip: the only one that
requests allow.

Servers differ in form, so reading is lenient: the content is a text or a list of parts, the field of the reasoning has
one of three names, and token counts and log-probabilities are optional. Bytes that are not UTF-8 become U+FFFD, so that
a paid reply is not lost.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from semantic_entropy.plugin import Usage

ENCODING = "gzip"  # the content encoding that requests allow
_MOST_TOKENS = 2**40  # of one call: no context window is that large
_MESSAGE_LENGTH = 500  # characters of a server's message that are shown: the message may be an HTML page
_GZIP = ("gzip", "x-gzip")
_LOWEST_LOGPROB = -1e300
_ROUNDING = 1e-3  # a log-probability up to this is a rounded 0; a larger one is not a log-probability


class Token(NamedTuple):
    """One token of a choice.

    Attributes:
        logprob: the log-probability in nats.
        top: the likeliest tokens at this position, with their log-probabilities.
    """

    data: bytes
    logprob: float
    top: tuple[tuple[str, float], ...] = ()

    @property
    def text(self) -> str:
        """The token as text; U+FFFD if the token is only a part of a character."""
        return self.data.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Choice:
    """One response.

    Attributes:
        text: the content, or the refusal if the server sends it in a separate field; may be empty.
        reasoning: None if the server sends none.
        finish_reason: None if the server sends none.
        tokens: None if the server sends none. The tokens of the reasoning may be included.
    """

    text: str
    reasoning: str | None = None
    finish_reason: str | None = None
    tokens: tuple[Token, ...] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to a call, with at least one choice.

    Attributes:
        choices: the responses.
        usage: the cost of all attempts of the call.
        origin: the server's id of the reply and the time at which it says to have created it; None: it sends none.
    """

    choices: tuple[Choice, ...]
    usage: Usage = field(default=Usage())
    origin: tuple[str, float] | None = None


class ServerError(NamedTuple):
    """A server's error message, error code, and the name of the refused parameter. Code and name may be empty."""

    message: str
    code: str = ""
    parameter: str = ""


class UnreadableBodyError(Exception):
    """The body of a response cannot be read, for the reason in the message."""


class BodyReader:
    """Unpacks a response body, part by part. The memory that it needs has a limit, whatever the parts unpack to.

    Args:
        encoding: the header Content-Encoding; empty: none.
        most: the largest body, in bytes.

    Raises:
        UnreadableBodyError: the body has another encoding than gzip, or several.
    """

    def __init__(self, encoding: str, most: int) -> None:
        self._body, self._most = bytearray(), most
        self._unpacker = _new_unpacker() if encoding.strip().lower() in _GZIP else None
        if self._unpacker is None and encoding.strip().lower() not in ("", "identity"):
            raise UnreadableBodyError(
                f"its answer has the content encoding {shorten(encoding)!r}, but the request allows only {ENCODING}"
            )

    def add(self, part: bytes) -> None:
        """Unpack the next part. Raises UnreadableBodyError if the body is too large, zlib.error if it is not gzip."""
        while part:
            part = self._add_member(part)
            if len(self._body) > self._most:
                raise UnreadableBodyError(f"its answer is larger than {self._most / 1e6:g} MB")

    def _add_member(self, part: bytes) -> bytes:
        """Unpack up to the end of a gzip member, and return the rest. Zeros may follow a member."""
        if self._unpacker is None:
            self._body += part
            return b""
        if self._unpacker.eof:
            part = part.lstrip(b"\0")
            self._unpacker = _new_unpacker() if part else self._unpacker
        if not part:
            return b""
        room = self._most - len(self._body) + 1  # at least 1: zlib takes 0 for no limit
        self._body += self._unpacker.decompress(part, room)
        return bytes(self._unpacker.unused_data)

    def text(self) -> str:
        """The body as UTF-8; invalid bytes become U+FFFD."""
        return self._body.decode("utf-8-sig", errors="replace")


def _new_unpacker() -> Any:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


def parse_json(text: str) -> Any:
    """The JSON value; None if the text is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # not JSON, a number of more than 4,300 digits, or nested too deeply
        return None


def read_choices(body: Any, redact: Callable[[str], str]) -> tuple[Choice, ...]:
    """The choices in a reply's JSON, possibly none. `redact` is applied to each text."""
    items = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(items, list):
        return ()
    return tuple(_choice(item, redact) for item in items if isinstance(item, dict) and _is_message(item.get("message")))


def read_usage(body: Any) -> Usage:
    """The usage of one request, with the numbers of tokens that the reply reports."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return Usage(requests=1)
    return Usage(1, _token_count(usage.get("prompt_tokens")), _token_count(usage.get("completion_tokens")))


def read_origin(body: Any) -> tuple[str, float] | None:
    """The id and the time of creation of a reply; None if one is missing."""
    name, created = (body.get("id"), body.get("created")) if isinstance(body, dict) else (None, None)
    return (name, created) if isinstance(name, str) and name and isinstance(created, int | float) else None


def read_error(text: str) -> ServerError:
    """The error in the body of a response, in the form of any known server; else the whole text as the message."""
    body = parse_json(text)
    error = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(error, dict):
        message = _message_text(error.get("message") or error.get("detail") or error.get("error"))
        if message:
            return ServerError(message, _message_text(error.get("code")), _message_text(error.get("param")))
    return ServerError(_message_text(error) or " ".join(text.split()) or "(no message)")


def read_models(text: str) -> list[str]:
    """The model names in the reply to GET /models."""
    body = parse_json(text)
    items = body.get("data") if isinstance(body, dict) else None
    names = [item.get("id") for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return [name for name in names if isinstance(name, str)]


def shorten(text: str) -> str:
    """The text on one line, cut to 500 characters. Redact the text before: a cut key is not found."""
    line = " ".join(text.split())
    return line if len(line) <= _MESSAGE_LENGTH else line[: _MESSAGE_LENGTH - 3] + "..."


def _message_text(value: Any) -> str:
    """A message as text; FastAPI sends a list of {loc, msg}."""
    if isinstance(value, list):
        return "; ".join(filter(None, map(_message_text, value)))
    if isinstance(value, dict):
        location = value.get("loc")
        prefix = ".".join(map(str, location)) + ": " if isinstance(location, list) else ""
        message = value.get("msg") or value.get("message")
        return prefix + message if isinstance(message, str) else ""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("content"), str | list | None)


def _choice(item: dict[str, Any], redact: Callable[[str], str]) -> Choice:
    message = item["message"]
    text, thinking = _content(message.get("content"))
    fields = (message.get(name) for name in ("reasoning_content", "reasoning"))
    reasoning = next((value for value in fields if isinstance(value, str) and value), thinking)
    refusal = message.get("refusal")
    finish_reason = item.get("finish_reason")
    return Choice(
        redact(text or (refusal if isinstance(refusal, str) else "")),
        redact(reasoning) or None,
        redact(finish_reason) if isinstance(finish_reason, str) else None,
        _tokens(item.get("logprobs")),
    )


def _content(content: Any) -> tuple[str, str]:
    """(text, reasoning) in a message's content, which is a text, null, or a list of parts."""
    if not isinstance(content, list):
        return content or "", ""
    parts = [part for part in content if isinstance(part, dict)]
    thinking = [_content(p["thinking"])[0] for p in parts if isinstance(p.get("thinking"), str | list)]
    return "".join(p["text"] for p in parts if isinstance(p.get("text"), str)), "".join(thinking)


def _tokens(logprobs: Any) -> tuple[Token, ...] | None:
    """All tokens; None if one of them is malformed."""
    items = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(items, list) or not items:
        return None
    tokens = tuple(_token(item) for item in items)
    return None if None in tokens else tuple(token for token in tokens if token)


def _token(item: Any) -> Token | None:
    if not isinstance(item, dict) or not isinstance(item.get("token"), str):
        return None
    logprob = _logprob(item.get("logprob"))
    if logprob is None:
        return None
    data = item.get("bytes")
    is_bytes = isinstance(data, list) and all(type(byte) is int and 0 <= byte < 256 for byte in data)
    top = item.get("top_logprobs")
    entries = [entry for entry in top if isinstance(entry, dict)] if isinstance(top, list) else []
    likeliest = [(e["token"], _logprob(e.get("logprob"))) for e in entries if isinstance(e.get("token"), str)]
    return Token(
        bytes(data) if isinstance(data, list) and is_bytes else item["token"].encode(errors="replace"),
        logprob,
        tuple((text, value) for text, value in likeliest if value is not None),
    )


def _logprob(value: Any) -> float | None:
    """A log-probability in nats, at most 0; None for any other value (both comparisons are false for nan)."""
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return min(float(value), 0.0) if is_number and _LOWEST_LOGPROB < value <= _ROUNDING else None


def _token_count(value: Any) -> int:
    """The number of tokens; 0 if it is not known: a server can send any number, and files hold 64 bits."""
    return value if type(value) is int and 0 < value <= _MOST_TOKENS else 0
