"""The API key: where it comes from, and that it leaves by the request's header alone.

A `Key` shows itself as `Key(***)`, so that neither an object's repr nor a traceback with local variables holds it; nor
does a pickle. What a server sends back is redacted before anyone sees it, and what httpx and its engine log while calls
are under way, too (at level DEBUG they log the headers of responses).
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
_VISIBLE = re.compile(r"[!-~]+")  # what a header can carry, spaces aside: no key has one
_LONG = 8  # characters: a shorter "key" (x, none, EMPTY, ollama) also occurs inside words


class Key:
    """The key as given, else the environment variable `OPENAI_API_KEY`, read when it is needed; or none."""

    __slots__ = ("_given",)

    def __init__(self, given: str | Key | None = None) -> None:
        self._given: str | None = given._given if isinstance(given, Key) else given  # noqa: SLF001  # its like

    def __repr__(self) -> str:
        return "Key(***)"

    def __reduce__(self) -> tuple[type[Key], tuple[str, ...]]:
        """None that was given goes into a pickle, which is kept and sent; one of the environment is read there anew."""
        if self._given:
            raise TypeError(
                "a key given as api_key= is not pickled, lest it be kept in plain text: leave api_key= out, and set "
                f"{VARIABLE} in both processes"
            )
        return Key, () if self._given is None else ("",)

    def __deepcopy__(self, memo: object) -> Key:
        return self  # which never changes, and stays in this process

    def __copy__(self) -> Key:
        return self

    def __bool__(self) -> bool:
        return bool(self._value())

    @property
    def problem(self) -> str | None:
        """Why it cannot be sent, without showing it."""
        where = VARIABLE if self._given is None else "api_key"
        value = self._value()
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            return f"{where} must be a str, not a {type(value).__name__}"
        if not _VISIBLE.fullmatch(value):
            return (
                f"{where} holds a character that no key has: a space, a line break (at its end, perhaps, where it was "
                "read from a file) or one that is not ASCII"
            )
        return None

    def redact(self, text: str) -> str:
        """The text with `***` in place of the key, also where it was quoted for a URL, a page or JSON.

        A short key is replaced only where it stands alone: few are secrets, and they occur inside words.
        """
        value = self._value()
        if not value:
            return text
        for form in _forms(value):
            if len(value) >= _LONG:
                text = text.replace(form, "***")
            else:
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", "***", text)
        return text

    def redact_answer(self, text: str) -> str:
        """For what a model said: only a key long enough to be a secret is cut out of it."""
        value = self._value()
        return text.replace(value, "***") if value and len(value) >= 2 * _LONG else text

    def header(self) -> httpx.Auth:
        """Puts the key into each request's header, at the last moment."""
        return _Bearer(self)

    @contextlib.contextmanager
    def quiet_logs(self) -> Iterator[None]:
        """Redact what httpx logs, while this holds."""
        redacting = _Redacting(self)
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        for logger in loggers:
            logger.addFilter(redacting)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(redacting)

    def _value(self) -> str | None:
        return os.environ.get(VARIABLE) if self._given is None else self._given


def _forms(value: str) -> list[str]:
    """How a text may hold it, the longest first; PHP's JSON escapes slashes, too."""
    in_json = json.dumps(value)[1:-1]
    forms = {value, quote(value, safe=""), html.escape(value), in_json}
    forms |= {value.replace("/", "\\/"), in_json.replace("/", "\\/")}
    return sorted(forms, key=len, reverse=True)


class _Bearer(httpx.Auth):
    def __init__(self, key: Key) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key._value()}"  # noqa: SLF001  # its other half
        yield request


class _Redacting(logging.Filter):
    def __init__(self, key: Key) -> None:
        super().__init__()
        self._key = key

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        clean = self._key.redact(message)
        if clean != message:
            record.msg, record.args = clean, None
        return True
