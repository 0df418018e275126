"""Reads answers in JSON: a canonical key of the value, and removal of the Markdown fence around a text."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Hashable, Sequence
from decimal import Decimal
from typing import Any

from semantic_entropy_plugins.text.content_words import fold, tokens

_FENCE = "```"
_LONGEST_LITERAL = 1000  # characters
FEWEST_PAIRS = 2
_PAIR = re.compile(r"\s*(?:[-*] )?([^\W\d_][^:,;]{0,40}):\s([^:,;]{1,40})")
_CALL = re.compile(r"[A-Za-z]{3,20}(?=\([^()]{1,200}\)$)")
_LANGUAGE = re.compile(r"[A-Za-z]*")


def json_key(text: str) -> Hashable | None:
    """A key of a JSON object or list. The order of names, the number format, case and spacing do not change the key.

    An object that has a name twice is another one than the object with one of the two values: programs differ in which
    value they read. The order of its names then counts too.

    Returns None if the text is not a JSON object or list.
    """
    text = without_fence(text, "json")
    if called := _CALL.match(text):  # rgb(255, 0, 0)
        key = _python_key(text[called.end() :])
        return None if key is None else (called[0], key)
    if text[:1] not in ("{", "[", "(") or text[-1:] not in ("}", "]", ")"):
        return _pairs(text)
    try:
        return _key(json.loads(text, object_pairs_hook=_Pairs, parse_float=_exact))
    except (ValueError, RecursionError):  # not JSON, or nested too deeply
        return _python_key(text)


def _python_key(text: str) -> Hashable | None:
    """The key of a literal of Python, such as `{'a': 1}` or `(1, 2)`. Nothing is evaluated."""
    if len(text) > _LONGEST_LITERAL:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text, mode="eval")
            value = ast.literal_eval(tree)
        if not isinstance(value, dict | list | tuple):
            return None
        twice = any(_repeats_a_name(node) for node in ast.walk(tree))
        return ("a name twice", " ".join(fold(text).split())) if twice else _key(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _exact(number: str) -> Hashable:
    """The value of a number with a point or an exponent: as a float, 1e400 and 1e500 would be equal."""
    try:
        return Decimal(number)
    except ArithmeticError:  # more than 10^18 digits
        return "number", number


class _Pairs(list[tuple[str, Any]]):
    """The names and values of an object, in order."""


def _repeats_a_name(node: ast.AST) -> bool:
    """Whether a node is a dict of a literal in which a name stands twice."""
    if not isinstance(node, ast.Dict):
        return False
    names = [ast.literal_eval(name) for name in node.keys if name is not None]
    return len(set(names)) < len(names)  # of `{1: "x", True: "y"}`, Python keeps one value


def _pairs(text: str) -> Hashable | None:
    """The key of an answer of short pairs: `Alice: 3, Bob: 5`."""
    if ":" not in text or len(text) > _LONGEST_LITERAL:
        return None
    found = [_PAIR.fullmatch(part) for part in re.split(r"[,;\n]", text.strip(" .\n"))]
    pairs = [(pair[1], pair[2]) for pair in found if pair]
    if len(pairs) < len(found) or len(pairs) < FEWEST_PAIRS:
        return None
    return "object", frozenset((" ".join(tokens(name)), " ".join(tokens(value))) for name, value in pairs)


def _key(value: Any) -> Hashable:
    if isinstance(value, _Pairs | dict):
        return _object_key(list(value.items() if isinstance(value, dict) else value))
    if isinstance(value, list | tuple):
        return "list", tuple(map(_key, value))
    if isinstance(value, str):
        return " ".join(tokens(value)) or fold(value)
    if isinstance(value, float) and math.isfinite(value):  # of a literal
        value = _exact(repr(value))
    return type(value) is bool, value  # true differs from 1; 1 equals 1.0


def _object_key(pairs: Sequence[tuple[Any, Any]]) -> Hashable:
    """The key of an object. Case does not distinguish names, unless two names of the object differ in it alone."""
    names = [fold(name) if isinstance(name, str) else name for name, _ in pairs]
    if len(set(names)) < len(names):
        names = [name for name, _ in pairs]
    found = tuple((name, _key(item)) for name, (_, item) in zip(names, pairs, strict=True))
    return ("object", frozenset(found)) if len(set(names)) == len(names) else ("a name twice", found)


def without_fence(text: str, *languages: str) -> str:
    """The text without white space at its ends and without a Markdown fence around the whole text.

    The function reads a text once. A regular expression with white space on both sides of the content would try every
    division of that white space, and take seconds for a degenerate answer of a fence and a thousand line breaks.

    Args:
        text: the answer.
        languages: the languages that the fence may name, such as "json"; any other word after the fence belongs to the
            content. Empty: the fence may name any language.
    """
    text = text.strip()
    if len(text) < 2 * len(_FENCE) or not (text.startswith(_FENCE) and text.endswith(_FENCE)):
        return text
    content = text[len(_FENCE) : -len(_FENCE)]
    language = _LANGUAGE.match(content)
    if language and (not languages or language[0] in languages):
        content = content[language.end() :]
    return content.strip()
