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
        self.put_all([(key, verdict)])

    def put_all(self, verdicts: Iterable[tuple[Hashable, Verdict]]) -> None:
        """Keep the decided ones of many verdicts, without their usage: a verdict is paid for once."""
        if self.size > 0:
            self._verdicts.put_all(
                [(key, v if v.usage is None else v._replace(usage=None)) for key, v in verdicts if v.same is not None]
            )

    def close(self) -> None:
        """Release files; a cache in memory has none."""

    def __len__(self) -> int:
        return len(self._verdicts)
