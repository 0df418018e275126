"""The verdict cache in memory.

A key contains everything that changes a verdict: the judge's class, settings and versions, the question if the judge
uses the question, and the two answers in sorted order. Undecided verdicts are not stored, because the next attempt may
succeed. The verdicts of a judge with `PrivateSettings`, such as a plain function, leave the cache with the judge.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from semantic_entropy.cache.identity import PrivateSettings
from semantic_entropy.cache.lru import LRUCache
from semantic_entropy.types import Verdict


class VerdictCache(LRUCache[Hashable, Verdict]):
    """A cache of the `size` most recently used verdicts. `pipeline.verdict_key` makes the keys."""

    def __init__(self, size: int = 100_000) -> None:
        super().__init__(size)
        self.arrived = 0  # number of verdicts that judges have returned, for the progress bar
        self.free: set[str] = set()  # names of judges that answer faster than the cache
        self._private: WeakKeyDictionary[PrivateSettings, LRUCache[Hashable, Verdict]] = WeakKeyDictionary()

    def get(self, key: Hashable) -> Verdict | None:
        """Return the verdict of this key and mark it as most recently used. Return None if the key is not there."""
        private = _private_settings(key)
        if private is None:
            return super().get(key)
        kept = self._private.get(private)
        return None if kept is None else kept.get(_without_settings(key))

    def put_all(self, entries: Iterable[tuple[Hashable, Verdict]]) -> None:
        """Store the decided verdicts without their usage, because a cached verdict costs nothing."""
        if self.size <= 0:
            return
        shared = []
        for key, verdict in entries:
            if verdict.same is None:
                continue
            free = verdict if verdict.usage is None else verdict._replace(usage=None)
            private = _private_settings(key)
            if private is None:
                shared.append((key, free))
            else:
                kept = self._private.setdefault(private, LRUCache(self.size))
                kept.put(_without_settings(key), free)
        super().put_all(shared)

    def clear(self) -> None:
        """Remove all verdicts from memory."""
        super().clear()
        self._private.clear()

    def __len__(self) -> int:
        return super().__len__() + sum(map(len, list(self._private.values())))

    def close(self) -> None:
        """Close the cache file. A cache in memory has no file: do nothing."""


def _private_settings(key: Any) -> PrivateSettings | None:
    """Return the settings in a key of `pipeline.verdict_key`, if they mean one object of this process."""
    return key[1] if type(key) is tuple and type(key[1]) is PrivateSettings else None


def _without_settings(key: Any) -> Hashable:
    """Return the key without its settings: a reference in the cache would keep them, and their verdicts, forever."""
    return (key[0], *key[2:])
