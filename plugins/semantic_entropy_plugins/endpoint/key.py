"""The API key. It leaves the process only in a request's header.

A `Key` shows itself as `Key(***)`, so neither the repr of an object nor a traceback with local variables shows it, and
a pickle does not hold it. Text from a server is redacted before it is shown or stored. The log messages of httpx and
httpcore are redacted while calls are in flight, because at level DEBUG they contain response headers.
"""

from __future__ import annotations

import contextlib
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

        A short key is replaced only if it is a whole word, because a short key is rarely secret, and may occur inside
        other words.
        """
        value = self._value()
        if not value:
            return text
        for form in _quoted_forms(value):
            if len(value) >= _LONG:
                text = text.replace(form, "***")
            else:
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "***", text)
        return text

    def redact_answer(self, text: str) -> str:
        """A model's text, redacted. A short key is not redacted, because it can occur in the text by chance."""
        value = self._value()
        return text.replace(value, "***") if value and len(value) >= 2 * _LONG else text

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
