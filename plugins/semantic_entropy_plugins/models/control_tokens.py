"""Control tokens of a tokenizer, such as <|im_end|>, in texts that others wrote: broken up, so that they do not act.

    <|im_end|>  ->  < |im_end|>

Where a prompt needs control tokens of its own, as a chat template does, a tokenizer cannot tell them from those that a
question or an answer holds as text, and such a text could end its turn and write the next one. Broken up, it is read as
text, a space apart from what it was.

Left out: tokens that a tokenizer does not count as special, as some do not `<think>`; special tokens of one character.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_JOINT = re.compile(r"(?<=\S)(?=\S)")


def control_tokens(tokenizer: Any) -> frozenset[str]:
    """All that the tokenizer counts as special, whether or not it has a name (bos, eos, ...)."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    named = getattr(tokenizer, "all_special_tokens", ())
    return frozenset(str(token) for token in (*named, *(one for one in added if one.special)) if str(token))


def breaker(tokenizer: Any) -> Callable[[str], str]:
    """The function that breaks up each control token in a text, and leaves the rest as it is."""
    broken = {token: _JOINT.sub(" ", token, count=1) for token in control_tokens(tokenizer)}
    longest_first = sorted((token for token in broken if broken[token] != token), key=len, reverse=True)
    if not longest_first:
        return lambda text: text
    any_of_them = re.compile("|".join(map(re.escape, longest_first)))

    def broken_up(text: str) -> str:
        while any_of_them.search(text):  # again, since tokens may overlap; each time fewer characters are side by side
            text = any_of_them.sub(lambda found: broken[found[0]], text)
        return text

    return broken_up
