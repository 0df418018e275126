"""Verdict cache: what has been judged is not asked again.

A key holds everything a verdict depends on: the judge's settings, the question where it matters, and the two answers,
in an order that does not matter. Undecided verdicts are not kept: the next time may go better.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from semantic_entropy.cache.lru import LRUCache
from semantic_entropy.types import Verdict


class VerdictCache:
    """The `size` most recently used verdicts, in memory.

    Any thread may use it, and a process forked in the middle of it: there is no lock to be left held, each step is one
    operation of the dict.
    """

    def __init__(self, size: int = 100_000) -> None:
        self.size = size
        self.arrived = 0  # verdicts that judges have given, for whoever waits for many
        self.free: set[str] = set()  # judges whose verdicts cost less than a look here
        self._verdicts: LRUCache[Hashable, Verdict] = LRUCache(size)

    def get(self, key: Hashable) -> Verdict | None:
        """The verdict kept under this key."""
        return self._verdicts.get(key)

    def put(self, key: Hashable, verdict: Verdict) -> None:
        """Keep a decided verdict; the least recently used goes when the cache is full."""
        if verdict.same is None or self.size <= 0:
            return
        self._verdicts.put(key, verdict if verdict.usage is None else verdict._replace(usage=None))  # paid for once

    def put_all(self, verdicts: Iterable[tuple[Hashable, Verdict]]) -> None:
        """Keep those of many that are decided."""
        for key, verdict in verdicts:
            self.put(key, verdict)

    def close(self) -> None:
        """Let go of files; here there are none."""

    def __len__(self) -> int:
        return len(self._verdicts)
