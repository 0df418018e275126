"""The verdict cache in memory.

A key contains everything that changes a verdict: the judge's class, settings and versions, the question if the judge
uses the question, and the two answers in sorted order. Undecided verdicts are not stored, because the next attempt may
succeed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from semantic_entropy.cache.lru import LRUCache
from semantic_entropy.types import Verdict


class VerdictCache(LRUCache[Hashable, Verdict]):
    """A cache of the `size` most recently used verdicts. `pipeline.verdict_key` makes the keys."""

    def __init__(self, size: int = 100_000) -> None:
        super().__init__(size)
        self.arrived = 0  # number of verdicts that judges have returned, for the progress bar
        self.free: set[str] = set()  # names of judges that answer faster than the cache

    def put_all(self, entries: Iterable[tuple[Hashable, Verdict]]) -> None:
        """Store the decided verdicts without their usage, because a cached verdict costs nothing."""
        if self.size > 0:
            super().put_all(
                [(key, v if v.usage is None else v._replace(usage=None)) for key, v in entries if v.same is not None]
            )

    def close(self) -> None:
        """Close the cache file. A cache in memory has no file: do nothing."""
