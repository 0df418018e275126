"""The verdict cache in memory.

A key holds everything that a verdict depends on: the judge's class, settings and versions, the question if the judge
uses it, and the two answers in sorted order. Undecided verdicts are not kept, because the next attempt may succeed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from semantic_entropy.cache.lru import LRUCache
from semantic_entropy.types import Verdict


class VerdictCache:
    """The `size` most recently used verdicts.

    Threads and forked processes may use it at any time: it has no lock that a fork could leave held, because each step
    is one operation of the dict.
    """

    def __init__(self, size: int = 100_000) -> None:
        self.size = size
        self.arrived = 0  # verdicts that judges have given, for a progress display
        self.free: set[str] = set()  # judges whose verdicts cost less than a look into the cache
        self._verdicts: LRUCache[Hashable, Verdict] = LRUCache(size)

    def get(self, key: Hashable) -> Verdict | None:
        """The verdict under this key."""
        return self._verdicts.get(key)

    def put(self, key: Hashable, verdict: Verdict) -> None:
        """Keep a decided verdict; the least recently used verdict is removed when the cache is full."""
        if verdict.same is None or self.size <= 0:
            return
        # without its usage: a verdict is paid for once
        self._verdicts.put(key, verdict if verdict.usage is None else verdict._replace(usage=None))

    def put_all(self, verdicts: Iterable[tuple[Hashable, Verdict]]) -> None:
        """Keep the decided ones of many verdicts."""
        for key, verdict in verdicts:
            self.put(key, verdict)

    def close(self) -> None:
        """Release files; a cache in memory has none."""

    def __len__(self) -> int:
        return len(self._verdicts)
