"""Checks of what an endpoint, and a judge or sampler on top of it, is given: wrong options are refused at construction.

Every error is an OptionError: any other type would be reported together with all options, the key among them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import httpx

from semantic_entropy.plugin import errors

_CHAT = "/chat/completions"
_HOST = re.compile(r"[^\s%\[\]]+")
_N = TypeVar("_N", int, float)


def checked_url(owner: str, url: str) -> str:
    """The address without its end: no slash, no /chat/completions.

    Raises:
        OptionError: it is none, or holds a user or a query, which may be secrets: not shown, then.
    """
    parsed = _parsed(url)
    if parsed is None:
        wrong = f"base_url={url!r} is not an address" if "@" not in str(url) else "base_url is not an address"
    elif parsed.userinfo or parsed.query or parsed.fragment or "@" in url:
        del url, parsed
        wrong = "base_url holds a user, a query or a fragment: give the key as api_key=, and the address without them"
    elif parsed.scheme not in ("http", "https") or not _HOST.fullmatch(parsed.host) or (parsed.port or 80) > 65535:
        wrong = f"base_url={url!r} is not an address"
    else:
        return url.strip().rstrip("/").removesuffix(_CHAT).rstrip("/")
    raise errors.OptionError(f"{owner}: {wrong}; it looks like http://localhost:8000/v1")


def _parsed(url: Any) -> httpx.URL | None:
    try:
        return httpx.URL(url.strip())
    except (httpx.InvalidURL, AttributeError, TypeError):
        return None


def checked_number(owner: str, name: str, value: _N, least: float, *, most: float = 1e15, whole: bool = False) -> _N:
    """The value, a finite number within its bounds. Raises OptionError."""
    if not _is_number(value, whole) or not least <= value <= most:
        what = "a whole number" if whole else "a number"
        upper = "" if most >= 1e15 else f" and at most {most:g}"
        raise errors.OptionError(f"{owner}: {name}={value!r} must be {what} of at least {least:g}{upper}")
    return value


def _is_number(value: object, whole: bool) -> bool:
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool)


def checked_text(owner: str, name: str, value: Any) -> str:
    """The value, a text that is not empty. Raises OptionError."""
    if isinstance(value, str) and value.strip():
        return value
    raise errors.OptionError(f"{owner}: {name}={value!r} must be a text that is not empty")


def checked_prices(owner: str, put_in: float | None, out: float | None) -> tuple[float, float] | None:
    """Both prices, or None. Raises OptionError."""
    if put_in is None or out is None:
        if put_in == out:
            return None
        given, missing = ("output_price", "input_price") if put_in is None else ("input_price", "output_price")
        raise errors.OptionError(f"{owner}: {given} is given without {missing}: a cost needs both")
    return checked_number(owner, "input_price", put_in, 0), checked_number(owner, "output_price", out, 0)


def checked_extra(owner: str, extra: Mapping[str, Any] | None, taken: Mapping[str, str]) -> dict[str, Any]:
    """More of a request's body, as JSON can hold it. `taken`: what it may not hold, and what to use instead.

    Raises:
        OptionError: no mapping, nothing that JSON can hold, or a name that is taken.
    """
    if extra is None:
        return {}
    try:
        copy = json.loads(json.dumps(dict(extra), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        wrong = f"is not an object that JSON can hold: {error}"
    else:
        held = [name for name in taken if name in copy]
        if not held:
            return dict(copy)
        wrong = f"holds {held[0]!r}: {taken[held[0]]}"
    raise errors.OptionError(f"{owner}: extra {wrong}")
