"""HTML files that need no network: a page with its style, its script and its data, which may hold untrusted texts.

The template has the slots `@POLICY@`, `@STYLE@`, `@SCRIPT@` and `@DATA@`. The data is JSON in an element that no
browser executes, with `<`, `>`, `&` and the line separators of JavaScript escaped. The Content-Security-Policy permits
only this script and this style, by their SHA-256; it loads nothing, sends nothing, and forbids every conversion of a
text into HTML or code (trusted types), so a mistake of the script does not become an execution of a text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from semantic_entropy.plain_text import replace_surrogates

_SLOT = re.compile("@(POLICY|STYLE|SCRIPT|DATA)@")
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def offline_page(template: str, style: str, script: str, data: Any) -> str:
    """Return the text of a page, to be written as UTF-8 with the line ends that it has.

    Args:
        template: the HTML, with the four slots. `@STYLE@` and `@SCRIPT@` are all that their elements contain.
        style: the style sheet.
        script: the script. It shows texts of the data as text, never as HTML, which the policy would stop.
        data: lists, dicts, texts and finite numbers.
    """
    parts = {
        "POLICY": f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        "STYLE": style,
        "SCRIPT": script,
        "DATA": json_island(data),
    }
    return _SLOT.sub(lambda slot: parts[slot[1]], template)  # one pass: a text with a slot's name is a text


def json_island(data: Any) -> str:
    """Return JSON that ends no script element, whatever texts it holds. Lone surrogates become U+FFFD."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return replace_surrogates(text).translate(_ESCAPES)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
