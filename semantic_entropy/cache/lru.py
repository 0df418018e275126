"""A dict that keeps the most recently used entries."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class LRUCache(Generic[_K, _V]):
    """A dict that keeps the `size` most recently used entries. A value cannot be None.

    Threads and forked processes may share the cache. It needs no lock, because each step is one operation of the dict;
    so a fork cannot copy a locked lock. `functools.lru_cache` cannot replace this class: its function must compute the
    value, but here the caller computes the value and puts it into the cache.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._entries: OrderedDict[_K, _V] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        """Return the value of this key and mark it as most recently used. Return None if the key is not there."""
        value = self._entries.get(key)
        if value is not None:
            try:  # noqa: SIM105  # suppress() takes longer than the lookup itself
                self._entries.move_to_end(key)
            except KeyError:  # another thread has removed it
                pass
        return value

    def put(self, key: _K, value: _V) -> None:
        """Store the value. If the cache is full, remove the least recently used entry."""
        self.put_all([(key, value)])

    def put_all(self, entries: Iterable[tuple[_K, _V]]) -> None:
        """Store many values, like `put`."""
        self._entries.update(entries)
        while len(self._entries) > self.size:
            with contextlib.suppress(KeyError):  # another thread has removed the last entry
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()

    def discard(self, key: _K) -> None:
        """Remove the key if it is there."""
        self._entries.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)
