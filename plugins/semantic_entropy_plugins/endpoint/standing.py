"""What an endpoint was given, and what is known of its server by now."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TypeAlias

from semantic_entropy.plugin import Usage
from semantic_entropy_plugins.endpoint.trouble import Parameter

Refused: TypeAlias = frozenset[Parameter]


@dataclass(frozen=True, slots=True)
class Terms:
    """`timeout` and `backoff` in seconds, prices per million tokens (in, out)."""

    url: str
    timeout: float
    retries: int
    backoff: float
    token_budget: int | None
    prices: tuple[float, float] | None
    max_reply_bytes: int

    def priced(self, usage: Usage) -> Usage:
        """With its cost, where there are prices and the server said how many tokens it took."""
        if self.prices is None or not (usage.input_tokens or usage.output_tokens):
            return usage
        put_in, out = self.prices
        return replace(usage, cost=(usage.input_tokens * put_in + usage.output_tokens * out) / 1e6)


class Standing:
    """Any thread may read and write it: there is no lock for a fork to leave held.

    A count of failures that two threads raise at the same moment may miss one; that of tokens does not.
    """

    def __init__(self) -> None:
        self.answered = False  # with whatever status
        self.succeeded = False
        self.failed_in_a_row = 0
        self.resume_at = 0.0  # of time.monotonic(): the shared pause
        self.refused: Refused = frozenset()
        self._tokens: dict[int, int] = {}  # by thread, each of which writes its own

    @property
    def tokens(self) -> int:
        """Used so far, in and out."""
        return sum(list(self._tokens.values()))

    def spend(self, usage: Usage) -> None:
        """Count an attempt's tokens."""
        thread = threading.get_ident()
        self._tokens[thread] = self._tokens.get(thread, 0) + usage.input_tokens + usage.output_tokens

    def success(self, without: Refused) -> None:
        """A reply came, without these parameters: they are left out from now on."""
        self.succeeded, self.failed_in_a_row = True, 0
        self.refused |= without

    def pause(self, seconds: float) -> None:
        """No attempt starts before that."""
        self.resume_at = max(self.resume_at, time.monotonic() + seconds)
