"""Convert model output to text that JSON, a terminal and a tokenizer accept.

Model output may contain lone surrogates (half a UTF-16 pair, which UTF-8 cannot encode and tokenizers reject), control
characters that a terminal would obey, and floats that JSON does not have (nan, infinity).
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
IGNORABLE = re.compile(  # Default_Ignorable_Code_Point of Unicode: soft hyphens, spaces of no width, fillers, tags
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)


def has_surrogate(text: str) -> bool:
    """Whether the text contains a lone surrogate."""
    return _SURROGATE.search(text) is not None


def replace_surrogates(text: str) -> str:
    """Replace each lone surrogate in the text by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def to_json_line(value: Any) -> str:
    """Encode the value as one line of JSON. Text is escaped to ASCII only if the value has a lone surrogate."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return json.dumps(value, allow_nan=False) if has_surrogate(line) else line


def to_json_value(value: Any) -> Any:
    """Convert the value to lists and dicts, with None in place of nan and infinity."""
    if isinstance(value, Mapping):
        return {key: to_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def one_writing(text: str) -> str:
    """Return the text in one writing: Unicode's NFKC_Casefold, with single spaces.

    Case, spaces, the width of characters and characters that nobody sees make no other text. Nor do the form of quotes
    and dashes, and signs around the text, such as a question mark at its end or Markdown.
    """
    folded = IGNORABLE.sub("", unicodedata.normalize("NFKC", text).casefold()).translate(_ONE_SIGN)
    written = " ".join(unicodedata.normalize("NFKC", folded).split())
    return written.strip(_AROUND) or written


_AROUND = " .?!:;,*_`'\"#>\u3002\u061f\u0964"
_ONE_SIGN = {
    **dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032\u00b4`"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033"), '"'),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-"),
}


def plural(count: int, noun: str) -> str:
    """A count and its noun, for messages: "1 row", "2 rows", "20,000 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def one_line(text: str) -> str:
    """Put the text on one line: white space becomes single spaces, unprintable characters become U+FFFD."""
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))


def printable(text: str) -> str:
    """Return a message of one or more lines that a terminal shows: control characters become U+FFFD."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def shorten(text: str, width: int = 72) -> str:
    """Put the text on one line, and cut the line to at most `width` characters."""
    line = one_line(text)
    return line if len(line) <= width else line[: width - 3] + "..."


def show_value(value: object) -> str:
    """The repr of a value for a message, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
