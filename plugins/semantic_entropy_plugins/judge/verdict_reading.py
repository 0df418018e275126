"""Reads the LLM judge's reply: a JSON boolean or a bare yes or no is a verdict; anything else is undecided.

Reasoning before the reply and a Markdown fence around the reply are removed. Then the reply must be `{"same": true}`,
`{"same": false}`, or one of the words yes, no, true and false, with only punctuation around the word. "Yes, because
..." is not a verdict, because the prose may say the opposite at its end. `{"same": "true"}` and an object with two
values for "same" are not verdicts either.

The score is P(yes) / (P(yes) + P(no)) at the token of the verdict. P(yes) is the sum over the likeliest tokens at this
position that mean yes or true, and P(no) is the sum over the likeliest tokens that mean no or false. The score needs
log-probabilities.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from semantic_entropy.plugin import Verdict, strip_reasoning
from semantic_entropy_plugins.endpoint.replies import Choice, Token
from semantic_entropy_plugins.text.json_answers import without_fence

_BARE_WORD = re.compile(r"\W*(yes|true|no|false)\W*", re.IGNORECASE)
_YES, _NO = frozenset(("yes", "true")), frozenset(("no", "false"))
_SHOWN = 80  # characters of a reply without a verdict that are shown


def read_verdict(choice: Choice) -> Verdict:
    """The verdict in a reply, with its score if there are log-probabilities."""
    reply = strip_reasoning(choice.text).strip()
    same = _read_boolean(without_fence(reply))
    if same is None:
        return Verdict(None, reason=_explain(reply, choice.finish_reason))
    return Verdict(same, _score(choice.tokens or ()))


def _read_boolean(reply: str) -> bool | None:
    word = _BARE_WORD.fullmatch(reply)
    if word:
        return word[1].lower() in _YES
    try:
        pairs = json.loads(reply, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    values: list[Any] = [p[1] for p in pairs if isinstance(p, tuple) and p[0] == "same"] if type(pairs) is list else []
    return values[0] if len(values) == 1 and isinstance(values[0], bool) else None


def _explain(reply: str, finish_reason: str | None) -> str:
    if finish_reason == "length":
        return f"the reply was cut off before yes or no (raise max_tokens=): {reply[:_SHOWN]!r}"
    ending = f", finish_reason {finish_reason}" if finish_reason not in (None, "stop") else ""
    return f"the reply is neither yes nor no{ending}: {reply[:_SHOWN]!r}"


def _score(tokens: tuple[Token, ...]) -> float | None:
    """The score at the last token that means yes or no, because earlier tokens may belong to the reasoning."""
    for token in reversed(tokens):
        if _fold(token.text) in _YES | _NO:
            likeliest = dict([*token.top, (token.text, token.logprob)])
            yes, no = (
                math.fsum(math.exp(value) for text, value in likeliest.items() if _fold(text) in words)
                for words in (_YES, _NO)
            )
            return yes / (yes + no) if yes + no else None
    return None


def _fold(text: str) -> str:
    """The word, in lower case, without the spaces, quotes and marks that tokenizers put around it."""
    return re.sub(r"[\W_]|\u0120|\u2581", "", text).lower()
