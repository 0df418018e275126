"""Draws tokens inside `generate`, and keeps the log-probability and the entropy of each step.

    logits -> temperature -> top-k -> top-p -> q;  token = the first whose cumulative q exceeds u
    kept of each step: log q(token); if requested, H(q) over the whole vocabulary, and the k largest log q

A logits processor draws the token, and changes the logits so that `generate` must choose this token. This has three
advantages. The log-probabilities belong exactly to the distribution that the token was drawn from (in half precision, a
second pass of the model would return other values). No tensor of the size (steps, rows, vocabulary) is kept. torch's
global random generator is not used.

The random numbers u of a response come from a separate generator with the seed (seed, question, number of the
response), so they do not depend on the other responses in the batch. The filters and their order are the same as in
transformers.

Left out: penalties, constraints, beams.
"""

from __future__ import annotations

import hashlib
import math
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

_BYTES_PER_CHARACTER = 4  # the largest number of tokens of a byte-level tokenizer for one character
# Rows drawn together. With a vocabulary of 150,000, 32 rows need about 100 megabytes. A GPU has more memory, and each
# operation takes as long for 256 rows as for 32.
_ROWS = {"cpu": 32}
_ROWS_GPU = 256


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """The options of `HFSampler` for drawing tokens and for the content of samples, under the same names.

    At temperature 0 the likeliest token is drawn, and log-probabilities always belong to the model's own distribution.
    """

    temperature: float
    top_p: float
    top_k: int | None
    max_tokens: int
    stop: tuple[str, ...] | None
    seed: int | None
    logprobs: str | bool
    end_token: bool
    token_entropies: bool
    hidden_states: bool
    top_logprobs: int = 0
    top_tokens: bool = False
    hidden_layer: int = -1
    hidden_token: str = "last"
    tokens: bool = False


@dataclass(frozen=True, slots=True)
class DrawnTokens:
    """One response: its tokens (T,), and their log-probabilities and entropies (T,) in nats.

    `entropies` and `top` are empty unless requested. `top` has the largest log-probabilities at each token, the largest
    first, without tokens of probability 0, and `top_ids` these tokens. `ended` says whether the last token is an end
    token.
    """

    ids: list[int]
    logprobs: list[float]
    entropies: list[float]
    ended: bool
    top: list[list[float]] = field(default_factory=list)
    top_ids: list[list[int]] = field(default_factory=list)


class TokenDrawer:
    """Draws the tokens of a batch, from the first step to the last, over several calls of `generate`.

    A call ends when all its rows have ended, when half of its rows have ended and `drops_rows` is true, or when the
    event `cancelled` is set.

    Attributes:
        active: (k,) the rows of the batch that are part of the current call of `generate`.
        step: the number of tokens that each active row has drawn.
        drops_rows: whether a call ends when half of its rows have ended.

    Args:
        options: the options for drawing tokens.
        keys: for each row, the question and the number of the response.
        end_ids: the end tokens.
        device: the model's device.
        decode: returns the text of tokens, in which stop strings are searched.
        cancelled: an event that cancels the draw.
    """

    def __init__(
        self,
        options: DrawOptions,
        keys: Sequence[tuple[str, int]],
        end_ids: Sequence[int],
        device: torch.device,
        decode: Callable[[Sequence[int]], str],
        cancelled: threading.Event,
    ) -> None:
        rows, steps = len(keys), options.max_tokens
        self._options, self._decode, self._cancelled = options, decode, cancelled
        self._filters = _filters(options)
        self._end_ids = torch.tensor(list(end_ids), dtype=torch.long, device=device)
        # In float32, a cumulative sum over 150,000 tokens rounds rare tokens away. Apple's GPUs have no float64.
        self._sum_dtype = torch.float32 if device.type == "mps" else torch.float64
        numbers = [_random_numbers(options.seed, *key, steps) for key in keys] if options.temperature else []
        self._numbers = torch.tensor(numbers, dtype=self._sum_dtype, device=device)
        self._tokens = torch.zeros(rows, steps, dtype=torch.long, device=device)
        self._logprobs = torch.zeros(rows, steps, device=device)
        self._entropies = torch.zeros(rows, steps if options.token_entropies else 0, device=device)
        self._top = torch.full((rows, steps, options.top_logprobs), -torch.inf, device=device)
        self._top_ids = torch.zeros(rows, steps, options.top_logprobs, dtype=torch.long, device=device)
        self._lengths = torch.full((rows,), steps, device=device)
        self._ended = torch.zeros(rows, dtype=torch.bool, device=device)
        self._done = torch.zeros(rows, dtype=torch.bool, device=device)
        self.active = torch.arange(rows, device=device)
        self.step, self.drops_rows = 0, False

    @property
    def steps_left(self) -> int:
        """The number of tokens that a row may still draw."""
        return self._options.max_tokens - self.step

    @property
    def cancelled(self) -> bool:
        """Whether the draw is cancelled."""
        return self._cancelled.is_set()

    @property
    def unfinished(self) -> torch.Tensor:
        """The positions, in `active`, of the rows that continue."""
        return (~self._done[self.active]).nonzero()[:, 0] if self.steps_left else self.active[:0]

    def draw(self, scores: torch.Tensor) -> None:
        """Replace logits (k, vocabulary) by 0 for the drawn token and -inf for all others."""
        if not self.steps_left:  # `generate` may run one step too many before it checks whether to stop
            return
        count = _ROWS.get(scores.device.type, _ROWS_GPU)
        parts = zip(scores.split(count), self.active.split(count), strict=True)
        tokens = torch.cat([self._draw_rows(part, rows) for part, rows in parts])
        self._mark_done(tokens)
        self.step += 1
        scores.fill_(-torch.inf).scatter_(1, tokens[:, None], 0.0)

    def finished(self) -> torch.Tensor:
        """(k,) whether `generate` may stop a row; true for all rows if the call should end."""
        done = self._done[self.active]
        unfinished = len(done) - int(done.sum())
        if self.cancelled or (self.drops_rows and 2 * unfinished <= len(done)):
            return torch.ones_like(done)
        return done

    def responses(self) -> list[DrawnTokens]:
        """The drawn tokens of each row."""
        columns = (self._tokens, self._logprobs, self._entropies, self._lengths, self._ended)
        return [
            DrawnTokens(ids[:length], logprobs[:length], entropies[:length], ended, *self._top_of(row, length))
            for row, (ids, logprobs, entropies, length, ended) in enumerate(
                zip(*(column.tolist() for column in columns), strict=True)
            )
        ]

    def _top_of(self, row: int, length: int) -> tuple[list[list[float]], list[list[int]]]:
        """The log-probabilities and the ids of the most probable tokens at each step."""
        if not self._options.top_logprobs:
            return [], []
        steps = self._top[row, :length].tolist()
        found = [[value for value in step if value > -math.inf] for step in steps]  # they come last
        ids = self._top_ids[row, :length].tolist()
        return found, [step[: len(values)] for step, values in zip(ids, found, strict=True)]

    def _draw_rows(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Draw a token for each of these rows, and keep its log-probability and what else is requested."""
        filtered: torch.Tensor = scores
        for apply_filter in self._filters:
            filtered = apply_filter(None, filtered)
        logprobs = filtered.log_softmax(-1)
        tokens = self._choose(logprobs, rows)
        if self._options.logprobs == "model":
            logprobs = scores.log_softmax(-1)
        self._tokens[rows, self.step] = tokens
        self._logprobs[rows, self.step] = logprobs.gather(1, tokens[:, None])[:, 0]
        if self._options.token_entropies:
            self._entropies[rows, self.step] = torch.special.entr(logprobs.exp()).sum(-1)
        if count := min(self._options.top_logprobs, logprobs.shape[-1]):
            top = logprobs.topk(count, dim=-1)
            self._top[rows, self.step, :count] = top.values
            self._top_ids[rows, self.step, :count] = top.indices
        return tokens

    def _choose(self, logprobs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        if not self._options.temperature:
            return logprobs.argmax(-1)
        cumulative = logprobs.to(self._sum_dtype).exp_().cumsum(-1)
        # Rounding leaves the sum slightly different from 1, so the number is scaled by it. "right" skips tokens of
        # probability 0.
        numbers = self._numbers[rows, self.step, None] * cumulative[:, -1:]
        return torch.searchsorted(cumulative, numbers, right=True)[:, 0].clamp_(max=logprobs.shape[1] - 1)

    def _mark_done(self, tokens: torch.Tensor) -> None:
        rows = self.active
        ended = torch.isin(tokens, self._end_ids)
        stopped = ended | self._has_stop_string() if self._options.stop else ended
        newly_done = stopped & ~self._done[rows]
        # `where` instead of an index of booleans, for which the CPU would wait for the GPU at each step.
        self._lengths[rows] = torch.where(newly_done, self.step + 1, self._lengths[rows])
        self._ended[rows] |= newly_done & ended
        self._done[rows] |= newly_done

    def _has_stop_string(self) -> torch.Tensor:
        """(k,) whether a row's text contains a stop string that its last token completes."""
        stops = self._options.stop or ()
        reach = _BYTES_PER_CHARACTER * max(map(len, stops)) + 1
        recent = self._tokens[self.active, max(0, self.step + 1 - reach) : self.step + 1].tolist()
        found = [any(stop in text for stop in stops) for text in map(self._decode, recent)]
        return torch.tensor(found, device=self._tokens.device)


class DrawProcessor(LogitsProcessor):
    """Calls `TokenDrawer.draw` from `generate`."""

    def __init__(self, drawer: TokenDrawer) -> None:
        self._drawer = drawer

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._drawer.draw(scores)  # in place: `generate` has made this copy for its processors
        return scores


class DrawStoppingCriteria(StoppingCriteria):
    """Calls `TokenDrawer.finished` from `generate`."""

    def __init__(self, drawer: TokenDrawer) -> None:
        self._drawer = drawer

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return self._drawer.finished()


def _filters(options: DrawOptions) -> list[Any]:
    if not options.temperature:
        return []
    filters = {
        TemperatureLogitsWarper: (options.temperature, 1.0),
        TopKLogitsWarper: (options.top_k, None),
        TopPLogitsWarper: (options.top_p, 1.0),
    }
    return [make_filter(value) for make_filter, (value, neutral) in filters.items() if value != neutral]


def _random_numbers(seed: int | None, question: str, number: int, count: int) -> list[float]:
    """Random numbers in [0, 1). Equal arguments have equal numbers in every version of torch, unless seed is None."""
    key = None if seed is None else hashlib.sha256(repr((seed, question, number)).encode()).digest()
    source = random.Random(key)
    return [source.random() for _ in range(count)]
