"""What the judge said: a verdict where it is a boolean or a bare yes or no, undecided for all else.

Reasoning is set aside, and a fence around the reply. `{"same": true}` counts, and the words yes, no, true and false
with nothing but punctuation around them. "Yes, because ..." does not: what is prose may turn round at its end. Nor does
`{"same": "true"}`, or an object that says both.

The score is P(yes) / (P(yes) + P(no)) at the token that decides, from the log-probabilities that came along:
of the likeliest tokens there, those that read yes or true, and those that read no or false.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from semantic_entropy.plugin import Verdict, strip_reasoning
from semantic_entropy_plugins.endpoint.replies import Choice, Token
from semantic_entropy_plugins.text.fences import without_fence

_WORD = re.compile(r"\W*(yes|true|no|false)\W*", re.IGNORECASE)
_YES, _NO = frozenset(("yes", "true")), frozenset(("no", "false"))
_SHOWN = 80  # characters of what is no verdict


def read_verdict(choice: Choice) -> Verdict:
    """The verdict in a reply, with its score where there are log-probabilities."""
    said = strip_reasoning(choice.text).strip()
    same = _boolean(without_fence(said))
    if same is None:
        return Verdict(None, reason=_why(said, choice.finish_reason))
    return Verdict(same, _score(choice.tokens or ()))


def _boolean(said: str) -> bool | None:
    word = _WORD.fullmatch(said)
    if word:
        return word[1].lower() in _YES
    try:
        pairs = json.loads(said, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    found: list[Any] = [p[1] for p in pairs if isinstance(p, tuple) and p[0] == "same"] if type(pairs) is list else []
    return found[0] if len(found) == 1 and isinstance(found[0], bool) else None


def _why(said: str, finish_reason: str | None) -> str:
    if finish_reason == "length":
        return f"cut off before it said yes or no (raise max_tokens=): {said[:_SHOWN]!r}"
    ended = f", finish_reason {finish_reason}" if finish_reason not in (None, "stop") else ""
    return f"neither yes nor no{ended}: {said[:_SHOWN]!r}"


def _score(tokens: tuple[Token, ...]) -> float | None:
    """The last token that reads yes or no decides: all before it may be reasoning."""
    for token in reversed(tokens):
        if _folded(token.text) in _YES | _NO:
            likeliest = dict([*token.top, (token.text, token.logprob)])
            yes, no = (
                math.fsum(math.exp(value) for text, value in likeliest.items() if _folded(text) in words)
                for words in (_YES, _NO)
            )
            return yes / (yes + no) if yes + no else None
    return None


def _folded(text: str) -> str:
    """Without the spaces, quotes and marks that tokenizers put around a word."""
    return re.sub(r"[\W_]|\u0120|\u2581", "", text).lower()
