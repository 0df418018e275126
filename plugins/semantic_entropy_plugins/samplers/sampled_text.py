"""Reads a response from generated tokens: the text, the reasoning before the text, and the tokens of the text.

    tokens:  <think> ... </think>  t_start ... t_end-1  [stop string]  [end token]
             reasoning             text                 neither

A reasoning block at the beginning is removed from the text; if the prompt has opened the block, the tokens contain only
the end of the block. If a block does not end, because the token limit is reached, the text is empty. The text ends
before the first stop string.

Left out: reasoning formats without <think>; later blocks in the text (`strip_reasoning` removes those).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

_OPEN_AT_START = re.compile(r"\s*<think>", re.IGNORECASE)
_CLOSE = re.compile(r"</think>\s*", re.IGNORECASE)
_OPEN = re.compile(r"<think>", re.IGNORECASE)
_INCOMPLETE = "\ufffd"  # tokenizers write it for bytes that are a part of a character


class Response(NamedTuple):
    """A response. The tokens of its text are ids[start:end], without stop string and end token."""

    text: str
    reasoning: str | None
    finish_reason: str
    start: int
    end: int

    def logprob_slice(self, tokens: int, *, with_end: bool) -> slice:
        """The tokens whose log-probabilities the sample contains: the tokens of the text.

        If the end token is the only token, its log-probability is included, like in the code of the Nature 2024 paper.

        Args:
            tokens: the number of generated tokens.
            with_end: whether to include the stop string and the end token.
        """
        only_end_token = tokens == 1 and self.end == 0
        return slice(self.start, tokens if with_end or only_end_token else self.end)


def read_response(
    decode: Callable[[Sequence[int]], str],
    ids: Sequence[int],
    *,
    ended: bool,
    stops: Sequence[str] = (),
    starts_in_reasoning: bool = False,
) -> Response:
    """Read a response.

    Args:
        decode: returns the text of tokens, without special tokens.
        ids: all generated tokens.
        ended: whether the last token is an end token.
        stops: stop strings.
        starts_in_reasoning: whether the prompt ends inside a <think> block.
    """
    tokens = ids[:-1] if ended else ids
    text = decode(tokens)
    text_end = min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))
    end = len(tokens) if text_end == len(text) else _tokens_until(decode, tokens, text_end)
    finish_reason = "stop" if ended or text_end < len(text) else "length"
    reasoning, text_start = _split_reasoning(text[:text_end], starts_in_reasoning)
    if reasoning is None:
        return Response(text[:text_end], None, finish_reason, 0, end)
    start = min(_first_token_after(decode, tokens, text_start), end) if text_start < text_end else end
    return Response(text[text_start:text_end], reasoning, finish_reason, start, end)


def token_texts(decode: Callable[[Sequence[int]], str], ids: Sequence[int]) -> list[str]:
    """The text that each token adds to the text of the tokens before it.

    A character belongs to the last of the tokens that write it. Each token is decoded after one other token, because
    some tokenizers drop a space at the beginning of a text.
    """
    texts: list[str] = []
    start, before, text = 0, "", ""
    for i in range(len(ids)):
        text = decode(ids[start : i + 1])
        if text.endswith(_INCOMPLETE) and i + 1 < len(ids):
            texts.append("")
            continue
        texts.append(text[len(before) :])
        start, before = i, decode(ids[i : i + 1])
    return texts


def _split_reasoning(text: str, starts_in_reasoning: bool) -> tuple[str | None, int]:
    """The reasoning without its tags, and the position at which the text after it begins."""
    opening = _OPEN_AT_START.match(text)
    closing = _CLOSE.search(text)
    if opening is None and not starts_in_reasoning:
        later = _OPEN.search(text)
        if closing is None or (later and later.start() < closing.start()):
            return None, 0
    begin = opening.end() if opening else 0
    if closing is None:
        return text[begin:].strip(), len(text)
    return text[begin : closing.start()].strip(), closing.end()


def _tokens_until(decode: Callable[[Sequence[int]], str], ids: Sequence[int], position: int) -> int:
    """The number of tokens that write the first `position` characters."""
    return bisect_left(range(len(ids)), position, key=lambda count: len(decode(ids[:count])))


def _first_token_after(decode: Callable[[Sequence[int]], str], ids: Sequence[int], position: int) -> int:
    """The first token that writes a character after the first `position` characters."""
    return max(0, bisect_right(range(len(ids) + 1), position, key=lambda count: len(decode(ids[:count]))) - 1)
