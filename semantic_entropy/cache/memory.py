"""The verdict cache in memory.

A key holds everything that a verdict depends on: the judge's class, settings and versions, the question if the judge
uses it, and the two answers in sorted order. Undecided verdicts are not kept, because the next attempt may succeed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from semantic_entropy.cache.lru import LRUCache
from semantic_entropy.types import Verdict


class VerdictCache(LRUCache[Hashable, Verdict]):
    """The `size` most recently used verdicts, by their keys."""

    def __init__(self, size: int = 100_000) -> None:
        super().__init__(size)
        self.arrived = 0  # verdicts that judges have given, for a progress display
        self.free: set[str] = set()  # judges whose verdicts cost less than a look into the cache

    def put_all(self, entries: Iterable[tuple[Hashable, Verdict]]) -> None:
        """Keep the decided verdicts, without their usage: a verdict is paid for once."""
        if self.size > 0:
            super().put_all(
                [(key, v if v.usage is None else v._replace(usage=None)) for key, v in entries if v.same is not None]
            )

    def close(self) -> None:
        """Release files; a cache in memory has none."""
