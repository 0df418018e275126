"""From generated tokens to a response: its text, the reasoning before it, and which of the tokens are the text's.

    tokens:  <think> ... </think>  t_first ... t_last-1  [stop string]  [end token]
             reasoning             the text's            not the text's

A reasoning block at the beginning is set aside; where the prompt has opened it, there is no tag to see. One that never
closes (the tokens ran out) leaves an empty text. The text ends before the first stop string.

Left out: reasoning formats without <think>; blocks further on in the text (`strip_reasoning` finds those).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

_OPEN = re.compile(r"\s*<think>", re.IGNORECASE)
_CLOSE = re.compile(r"</think>\s*", re.IGNORECASE)
_ANY_OPEN = re.compile(r"<think>", re.IGNORECASE)


class Response(NamedTuple):
    """What was said. first, last: the text's tokens are ids[first:last]; neither the stop string's nor an end token."""

    text: str
    reasoning: str | None
    finish_reason: str
    first: int
    last: int

    def kept(self, tokens: int, *, whole: bool) -> slice:
        """Whose log-probabilities to keep, of so many tokens.

        The text's; where it is empty and nothing else was said, the end token's alone, as in the Nature 2024 code.
        whole: all tokens from the text's first, end token and stop string included.
        """
        nothing_else = tokens == 1 and self.last == 0
        return slice(self.first, tokens if whole or nothing_else else self.last)


def read(
    decode: Callable[[Sequence[int]], str],
    ids: Sequence[int],
    *,
    ended: bool,
    stops: Sequence[str] = (),
    opened: bool = False,
) -> Response:
    """Read a response.

    Args:
        decode: from tokens to text, without special tokens.
        ids: all tokens that were generated.
        ended: whether the last of them is an end token.
        stops: stop strings.
        opened: whether the prompt has opened a reasoning block.
    """
    tokens = ids[:-1] if ended else ids
    whole = decode(tokens)
    end = min((at for stop in stops if (at := whole.find(stop)) >= 0), default=len(whole))
    last = len(tokens) if end == len(whole) else _reaching(decode, tokens, end)
    finish_reason = "stop" if ended or end < len(whole) else "length"
    reasoning, start = _reasoning(whole[:end], opened)
    if reasoning is None:
        return Response(whole[:end], None, finish_reason, 0, last)
    first = min(_beyond(decode, tokens, start), last) if start < end else last
    return Response(whole[start:end], reasoning, finish_reason, first, last)


def _reasoning(text: str, opened: bool) -> tuple[str | None, int]:
    """The reasoning without its tags, and where the text after it begins."""
    opening = _OPEN.match(text)
    close = _CLOSE.search(text)
    if opening is None and not opened:
        later = _ANY_OPEN.search(text)
        if close is None or (later and later.start() < close.start()):
            return None, 0
    begin = opening.end() if opening else 0
    if close is None:
        return text[begin:].strip(), len(text)
    return text[begin : close.start()].strip(), close.end()


def _reaching(decode: Callable[[Sequence[int]], str], ids: Sequence[int], end: int) -> int:
    """How many tokens it takes to write the first `end` characters."""
    return bisect_left(range(len(ids)), end, key=lambda count: len(decode(ids[:count])))


def _beyond(decode: Callable[[Sequence[int]], str], ids: Sequence[int], start: int) -> int:
    """The first token that writes anything after the first `start` characters."""
    return max(0, bisect_right(range(len(ids) + 1), start, key=lambda count: len(decode(ids[:count]))) - 1)
