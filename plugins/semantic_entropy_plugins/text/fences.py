"""A fence of Markdown around the whole of a text: what stands inside it.

Without a regular expression, since one with white space on both sides of what it looks for tries every division of that
white space: a degenerate answer of a fence and a thousand line breaks takes it seconds. This reads a text once.
"""

from __future__ import annotations

import re

_FENCE = "```"
_LANGUAGE = re.compile(r"[A-Za-z]*")


def without_fence(text: str, *languages: str) -> str:
    """The text without white space at its ends, and without a fence around it, which may name its language.

    languages: those that a fence may name; another word belongs to the text. Without any: whatever it names.
    """
    text = text.strip()
    if len(text) < 2 * len(_FENCE) or not (text.startswith(_FENCE) and text.endswith(_FENCE)):
        return text
    inside = text[len(_FENCE) : -len(_FENCE)]
    named = _LANGUAGE.match(inside)
    if named and (not languages or named[0] in languages):
        inside = inside[named.end() :]
    return inside.strip()
