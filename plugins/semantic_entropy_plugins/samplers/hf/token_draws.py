"""Drawing tokens inside `generate`: which one, and what is known about it, are settled at each step and kept.

    logits -> temperature -> top-k -> top-p -> q;  token = the first whose cumulative q exceeds u;  log q(token), H(q)

A logits processor draws the token itself and leaves `generate` one choice. So the log-probabilities are exactly those
of the distribution that was drawn from (in half precision a second pass of the model would give others), nothing of the
size (steps, rows, vocabulary) is kept, and torch's global generator is not touched.

The numbers u of each response come from a generator of its own, seeded by (seed, question, number of the response):
what a response meets does not depend on who shares its batch. The filters are transformers' own, in its order.

Left out: penalties, constraints, beams.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

_BYTES = 4  # of a character at most, and so tokens of a byte-level tokenizer
_ROWS = 32  # that are worked on at a time: with a vocabulary of 150,000, some 100 megabytes of sums and logarithms


@dataclass(frozen=True, slots=True)
class How:
    """How tokens are drawn. temperature 0: the likeliest one.

    own: keep log-probabilities and entropies of the model's own distribution, not of the one that is drawn from; at
    temperature 0, which leaves nothing to chance, they always are.
    """

    temperature: float
    top_p: float
    top_k: int | None
    max_tokens: int
    stop: tuple[str, ...]
    seed: int | None
    own: bool
    entropies: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    """One response: its tokens (T,), their log-probabilities and the entropies at them (T,) in nats.

    ended: whether the last token is an end token. entropies: empty where they were not asked for.
    """

    ids: list[int]
    logprobs: list[float]
    entropies: list[float]
    ended: bool


class Draws:
    """What the rows of a batch draw, from the first step to the last, over several calls of `generate`.

    A call ends when all rows in it are done, when half of them are (where `thins`), or when `halt` is set.

    Attributes:
        active: (k,) which of the rows the running call of `generate` holds.
        step: how many tokens each of them has drawn.

    Args:
        how: the options.
        keys: question and number of each row's response.
        ends: ids of end tokens.
        device: where the model is.
        decode: from tokens to text, for stop strings.
        halt: set when nobody wants the rest.
    """

    def __init__(
        self,
        how: How,
        keys: Sequence[tuple[str, int]],
        ends: Sequence[int],
        device: torch.device,
        decode: Callable[[Sequence[int]], str],
        halt: threading.Event,
    ) -> None:
        rows, steps = len(keys), how.max_tokens
        self._how, self._decode, self._halt = how, decode, halt
        self._filters = _filters(how)
        self._ends = torch.tensor(list(ends), dtype=torch.long, device=device)
        # A cumulative sum over 150,000 tokens in float32 would round the rare ones away; Apple's GPUs have no float64.
        self._wide = torch.float32 if device.type == "mps" else torch.float64
        drawn = [_numbers(how.seed, *key, steps) for key in keys] if how.temperature else []
        self._numbers = torch.tensor(drawn, dtype=self._wide, device=device)
        self._tokens = torch.zeros(rows, steps, dtype=torch.long, device=device)
        self._logprobs = torch.zeros(rows, steps, device=device)
        self._entropies = torch.zeros(rows, steps if how.entropies else 0, device=device)
        self._lengths = torch.full((rows,), steps, device=device)
        self._ended = torch.zeros(rows, dtype=torch.bool, device=device)
        self._done = torch.zeros(rows, dtype=torch.bool, device=device)
        self.active = torch.arange(rows, device=device)
        self.step, self.thins = 0, False

    @property
    def left(self) -> int:
        """How many tokens a row may still draw."""
        return self._how.max_tokens - self.step

    @property
    def halted(self) -> bool:
        """Whether nobody wants the rest."""
        return self._halt.is_set()

    @property
    def alive(self) -> torch.Tensor:
        """Places in `active` of the rows that go on."""
        return (~self._done[self.active]).nonzero()[:, 0] if self.left else self.active[:0]

    def draw(self, scores: torch.Tensor) -> None:
        """Logits (k, vocabulary) in; in their place 0 for the token that is drawn and -inf for all others."""
        if not self.left:  # where `generate` looks one step later whether it should stop
            return
        parts = zip(scores.split(_ROWS), self.active.split(_ROWS), strict=True)
        token = torch.cat([self._drawn(part, rows) for part, rows in parts])
        self._end(token)
        self.step += 1
        scores.fill_(-torch.inf).scatter_(1, token[:, None], 0.0)

    def finished(self) -> torch.Tensor:
        """(k,) which rows `generate` need not go on with: all of them where the call should end."""
        done = self._done[self.active]
        alive = len(done) - int(done.sum())
        if self.halted or (self.thins and 2 * alive <= len(done)):
            return torch.ones_like(done)
        return done

    def tokens(self) -> list[Tokens]:
        """What each row has drawn."""
        columns = (self._tokens, self._logprobs, self._entropies, self._lengths, self._ended)
        return [
            Tokens(ids[:length], logprobs[:length], entropies[:length], ended)
            for ids, logprobs, entropies, length, ended in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _drawn(self, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """A token for each of these rows; what is known of it is kept."""
        filtered: torch.Tensor = scores
        for one in self._filters:
            filtered = one(None, filtered)
        known = filtered.log_softmax(-1)
        token = self._chosen(known, rows)
        if self._how.own:
            known = scores.log_softmax(-1)
        self._tokens[rows, self.step] = token
        self._logprobs[rows, self.step] = known.gather(1, token[:, None])[:, 0]
        if self._how.entropies:
            self._entropies[rows, self.step] = torch.special.entr(known.exp()).sum(-1)
        return token

    def _chosen(self, logs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        if not self._how.temperature:
            return logs.argmax(-1)
        cumulative = logs.to(self._wide).exp_().cumsum(-1)
        # Times the sum, which rounding leaves a little beside 1; "right" skips the tokens of probability 0.
        numbers = self._numbers[rows, self.step, None] * cumulative[:, -1:]
        return torch.searchsorted(cumulative, numbers, right=True)[:, 0].clamp_(max=logs.shape[1] - 1)

    def _end(self, token: torch.Tensor) -> None:
        rows = self.active
        ended = torch.isin(token, self._ends)
        stopped = ended | self._said_stop() if self._how.stop else ended
        now = stopped & ~self._done[rows]
        self._lengths[rows[now]] = self.step + 1
        self._ended[rows[now]] = ended[now]
        self._done[rows[now]] = True

    def _said_stop(self) -> torch.Tensor:
        """(k,) whether a row's text holds a stop string, of which the last token has written something."""
        reach = _BYTES * max(map(len, self._how.stop)) + 1
        recent = self._tokens[self.active, max(0, self.step + 1 - reach) : self.step + 1].tolist()
        said = [any(stop in text for stop in self._how.stop) for text in map(self._decode, recent)]
        return torch.tensor(said, device=self._tokens.device)


class Drawing(LogitsProcessor):
    """`Draws.draw` as `generate` takes it."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._draws.draw(scores)  # in place: `generate` has made this copy for its processors
        return scores


class Finished(StoppingCriteria):
    """`Draws.finished` as `generate` takes it."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return self._draws.finished()


def _filters(how: How) -> list[Any]:
    if not how.temperature:
        return []
    wanted = {
        TemperatureLogitsWarper: (how.temperature, 1.0),
        TopKLogitsWarper: (how.top_k, None),
        TopPLogitsWarper: (how.top_p, 1.0),
    }
    return [made(value) for made, (value, neutral) in wanted.items() if value != neutral]


def _numbers(seed: int | None, question: str, number: int, count: int) -> list[float]:
    """In [0, 1): the same for the same seed, question and number, whatever torch's version; None: unforeseeable."""
    key = None if seed is None else hashlib.sha256(repr((seed, question, number)).encode()).digest()
    source = random.Random(key)
    return [source.random() for _ in range(count)]
