"""The API key. It leaves the process only in a request's header.

A `Key` shows itself as `Key(***)`, so neither the repr of an object nor a traceback with local variables shows it, and
a pickle does not hold it. Text from a server is redacted before it is shown or stored: also a long part of the key, and
the key in capitals, with other characters between its own, reversed, in base64 or in hexadecimal digits. The log
messages of httpx and httpcore are redacted while calls are in flight, because at level DEBUG they contain response
headers.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import html
import json
import logging
import os
import re
from collections.abc import Generator, Iterator
from urllib.parse import quote

import httpx

VARIABLE = "OPENAI_API_KEY"
_LOGGERS = ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))
_HEADER_CHARACTERS = re.compile(r"[!-~]+")  # the characters of a header, without spaces, because no key has spaces
_LONG = 8  # characters: a shorter "key" (x, none, EMPTY, ollama) also occurs inside words
_LONG_PART = 16  # characters of a key that no text contains by chance: `sk-ant-api03-` has 13
_LETTER = re.compile(r"[A-Za-z0-9]")
_NO_LETTERS = bytes(byte for byte in range(128) if not _LETTER.match(chr(byte)))
_LONGEST_TEXT = 100_000  # characters: a longer text with a part of the key is replaced as a whole, which takes no time


class Key:
    """An API key: the given text, or else the environment variable `OPENAI_API_KEY`, which is read at each use."""

    __slots__ = ("_given",)

    def __init__(self, given: str | Key | None = None) -> None:
        self._given: str | None = given._given if isinstance(given, Key) else given  # noqa: SLF001  # the same class

    def __repr__(self) -> str:
        return "Key(***)"

    def __reduce__(self) -> tuple[type[Key], tuple[str, ...]]:
        """Pickle without the key, because a pickle may be stored or sent. The loaded `Key` reads the environment."""
        if self._given:
            raise TypeError(
                f"a key given as api_key= cannot be pickled, because the pickle would show it: set {VARIABLE} in both "
                "processes, and leave api_key= out"
            )
        return Key, () if self._given is None else ("",)

    def __deepcopy__(self, memo: object) -> Key:
        return self  # immutable; unlike a pickle, the copy stays in this process

    def __copy__(self) -> Key:
        return self

    def __bool__(self) -> bool:
        return bool(self._value())

    @property
    def problem(self) -> str | None:
        """Why the key cannot be sent, as a text without the key; None: the key can be sent."""
        source = VARIABLE if self._given is None else "api_key"
        value = self._value()
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            return f"{source} must be a str, not a {type(value).__name__}"
        if not _HEADER_CHARACTERS.fullmatch(value):
            return (
                f"{source} holds a character that is not allowed in a key: a space, a line break (often the last "
                "character of a file) or a character that is not ASCII"
            )
        return None

    def redact(self, text: str) -> str:
        """The text with `***` in place of the key, even if the text quotes the key for a URL, HTML or JSON.

        Of a long key, the text keeps at most 7 letters and digits that stand next to each other in the key. A short key
        is replaced only if it is a whole word, because a short key is rarely secret, and may occur inside other words.
        """
        value = self._value()
        if not value:
            return text
        for form in _quoted_forms(value):
            if len(value) >= _LONG:
                text = text.replace(form, "***")
            else:
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "***", text)
        return _without_parts(text, value, _LONG) if len(value) >= _LONG else text

    def redact_answer(self, text: str) -> str:
        """A model's text, redacted. A short key or part is not redacted, because it can occur in the text by chance."""
        value = self._value()
        if not value or len(value) < _LONG_PART:
            return text
        return _without_parts(text.replace(value, "***"), value, _LONG_PART)

    def header(self) -> httpx.Auth:
        """An object that adds the key to the header of each request, just before httpx sends the request."""
        return _BearerAuth(self)

    @contextlib.contextmanager
    def redact_logs(self) -> Iterator[None]:
        """Redact the log messages of httpx and httpcore inside the `with` block."""
        log_filter = _RedactingFilter(self)
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        for logger in loggers:
            logger.addFilter(log_filter)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(log_filter)

    def _value(self) -> str | None:
        return os.environ.get(VARIABLE) if self._given is None else self._given


def _quoted_forms(value: str) -> list[str]:
    """The quoted forms of the key in a text; the longest form comes first. PHP's JSON also escapes slashes."""
    in_json = json.dumps(value)[1:-1]
    forms = {value, quote(value, safe=""), html.escape(value), in_json}
    forms |= {value.replace("/", "\\/"), in_json.replace("/", "\\/")}
    return sorted(forms, key=len, reverse=True)


def _without_parts(text: str, value: str, size: int) -> str:
    """The text without runs of `size` or more letters and digits of the key, in any of its forms.

    Case and all other characters are ignored: `S K - A B` is a part of `sk-ab`.
    """
    letters = _letters(text)
    step = (size + 1) // 2  # each run of `size` letters contains one of the parts that begin at a multiple of `step`
    forms = [f for f in _forms(value) if any(f[i : i + step] in letters for i in range(0, len(f) - step + 1, step))]
    secret = bytearray(len(letters))
    for part in {form[i : i + size] for form in forms for i in range(len(form) - size + 1)}:
        at = letters.find(part)
        while at >= 0:
            if len(text) > _LONGEST_TEXT:
                return "***"
            secret[at : at + size] = b"\1" * size
            at = letters.find(part, at + 1)
    runs = list(re.finditer(b"\1+", secret))
    places = [match.start() for match in _LETTER.finditer(text)] if runs else []
    for run in reversed(runs):
        text = text[: places[run.start()]] + "***" + text[places[run.end() - 1] + 1 :]
    return text


def _letters(text: str) -> bytes:
    """The ASCII letters, in lower case, and digits of a text."""
    return text.encode("ascii", "ignore").translate(None, _NO_LETTERS).lower()


@functools.lru_cache(maxsize=16)
def _forms(value: str) -> tuple[bytes, ...]:
    """The letters and digits, in lower case, of the key, of the key reversed, in hexadecimal digits, and in base64.

    The base64 form of a text that contains the key depends on the number of characters before the key, modulo 3. The
    first and the last characters of the form also depend on the text around the key.
    """
    data = value.encode()
    base64_forms = [base64.b64encode(b"\0" * shift + data).decode()[-(-8 * shift // 6) :] for shift in range(3)]
    forms = [value, value[::-1], data.hex(), *base64_forms]
    return tuple(map(_letters, forms))


class _BearerAuth(httpx.Auth):
    def __init__(self, key: Key) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key._value()}"  # noqa: SLF001  # a part of `Key`
        yield request


class _RedactingFilter(logging.Filter):
    def __init__(self, key: Key) -> None:
        super().__init__()
        self._key = key

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        redacted = self._key.redact(message)
        if redacted != message:
            record.msg, record.args = redacted, None
        return True
