"""What the body of a reply says: choices, log-probabilities, tokens used; or the server's own words for an error.

Lenient in form, since each server has its own: content as text or in parts, reasoning under one of three names, usage
and log-probabilities where they are given and well-formed. Bytes that are not UTF-8 become U+FFFD: what was paid for is
not thrown away for them. No IO here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from semantic_entropy.plugin import Usage

_SHOWN = 500  # characters of a server's message: it may be a page of HTML
_LEAST, _ABOVE_ZERO = -1e300, 1e-3  # a log-probability a little above 0 is rounding, more is something else


class Token(NamedTuple):
    """A token of a choice: its log-probability in nats, and the likeliest at its place with theirs."""

    data: bytes
    logprob: float
    top: tuple[tuple[str, float], ...] = ()

    @property
    def text(self) -> str:
        """As text; a token may hold a part of a character."""
        return self.data.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Choice:
    """One response. `text` is empty where there is none; where the model declined in a field of its own, that.

    tokens: None where the server gives none. They may count the reasoning's, too.
    """

    text: str
    reasoning: str | None = None
    finish_reason: str | None = None
    tokens: tuple[Token, ...] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call brought: one choice or more, and what it took, with the attempts that failed."""

    choices: tuple[Choice, ...]
    usage: Usage = field(default=Usage())


class Words(NamedTuple):
    """What a server says of an error: its message, and the code and the parameter it names, each possibly empty."""

    message: str
    code: str = ""
    parameter: str = ""


def decode(body: bytes) -> str:
    """As UTF-8; what is not, as U+FFFD."""
    return body.decode("utf-8-sig", errors="replace")


def load(text: str) -> Any:
    """The JSON in it, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # no JSON, a number of 5,000 digits, nested past reading
        return None


def read_choices(body: Any, redact: Callable[[str], str]) -> tuple[Choice, ...]:
    """The choices of a reply's JSON; none where it holds none."""
    items = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(items, list):
        return ()
    return tuple(_choice(item, redact) for item in items if isinstance(item, dict) and _is_message(item.get("message")))


def read_usage(body: Any) -> Usage:
    """One request, and the tokens that its reply reports."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return Usage(requests=1)
    return Usage(1, _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def read_words(text: str) -> Words:
    """The message in an error's body, whatever the server's form; the beginning of the text where it has none."""
    body = load(text)
    error = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or error.get("error")
        code, parameter = error.get("code"), error.get("param")
        known = _said(message)
        if known:
            return Words(known, _said(code), _said(parameter))
    return Words(_said(error) or " ".join(text.split()) or "(no message)")


def read_models(text: str) -> list[str]:
    """The names that GET /models lists."""
    body = load(text)
    items = body.get("data") if isinstance(body, dict) else None
    named = [item.get("id") for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return [name for name in named if isinstance(name, str)]


def shorten(text: str) -> str:
    """On one line, and not a page long. A key is redacted before this, lest the cut leave half of it."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 3] + "..."


def _said(value: Any) -> str:
    """A message as text. FastAPI gives a list of {loc, msg}."""
    if isinstance(value, list):
        return "; ".join(filter(None, map(_said, value)))
    if isinstance(value, dict):
        where = value.get("loc")
        place = ".".join(map(str, where)) + ": " if isinstance(where, list) else ""
        said = value.get("msg") or value.get("message")
        return place + said if isinstance(said, str) else ""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("content"), str | list | None)


def _choice(item: dict[str, Any], redact: Callable[[str], str]) -> Choice:
    message = item["message"]
    text, thoughts = _content(message.get("content"))
    named = (message.get(name) for name in ("reasoning_content", "reasoning"))
    reasoning = next((value for value in named if isinstance(value, str) and value), thoughts)
    refusal = message.get("refusal")
    finish = item.get("finish_reason")
    return Choice(
        redact(text or (refusal if isinstance(refusal, str) else "")),
        redact(reasoning) or None,
        redact(finish) if isinstance(finish, str) else None,
        _tokens(item.get("logprobs")),
    )


def _content(content: Any) -> tuple[str, str]:
    """(text, reasoning) of a message's content: a text, nothing, or a list of parts."""
    if not isinstance(content, list):
        return content or "", ""
    parts = [part for part in content if isinstance(part, dict)]
    thoughts = [_content(p["thinking"])[0] for p in parts if isinstance(p.get("thinking"), str | list)]
    return "".join(p["text"] for p in parts if isinstance(p.get("text"), str)), "".join(thoughts)


def _tokens(logprobs: Any) -> tuple[Token, ...] | None:
    """All of them well-formed and at most 0, or None."""
    items = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(items, list) or not items:
        return None
    tokens = tuple(_token(item) for item in items)
    return None if None in tokens else tuple(token for token in tokens if token)


def _token(item: Any) -> Token | None:
    if not isinstance(item, dict) or not isinstance(item.get("token"), str):
        return None
    value = _logprob(item.get("logprob"))
    if value is None:
        return None
    data = item.get("bytes")
    is_bytes = isinstance(data, list) and all(type(byte) is int and 0 <= byte < 256 for byte in data)
    others = item.get("top_logprobs")
    top = [other for other in others if isinstance(other, dict)] if isinstance(others, list) else []
    likeliest = [(o["token"], _logprob(o.get("logprob"))) for o in top if isinstance(o.get("token"), str)]
    return Token(
        bytes(data) if isinstance(data, list) and is_bytes else item["token"].encode(errors="replace"),
        value,
        tuple((text, logprob) for text, logprob in likeliest if logprob is not None),
    )


def _logprob(value: Any) -> float | None:
    """In nats, at most 0; None where it is no such number (neither comparison holds of nan)."""
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return min(float(value), 0.0) if is_number and _LEAST < value <= _ABOVE_ZERO else None


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
