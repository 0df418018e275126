"""A dict that keeps the most recently used entries."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class LRUCache(Generic[_K, _V]):
    """The `size` most recently used entries. None is not a value.

    Threads and forked processes may share it without a lock: each step is one operation of the dict, so a fork cannot
    leave a lock held. `functools.lru_cache` cannot be used where another function computes the value.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._entries: OrderedDict[_K, _V] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        """The value of this key, now the most recently used; None where there is none."""
        value = self._entries.get(key)
        if value is not None:
            try:  # noqa: SIM105  # suppress() takes longer than the rest of a lookup
                self._entries.move_to_end(key)
            except KeyError:  # another thread has removed it
                pass
        return value

    def put(self, key: _K, value: _V) -> None:
        """Keep the value; the least recently used entry is removed when the cache is full."""
        self.put_all([(key, value)])

    def put_all(self, entries: Iterable[tuple[_K, _V]]) -> None:
        """Keep many values, as `put`."""
        self._entries.update(entries)
        while len(self._entries) > self.size:
            with contextlib.suppress(KeyError):  # another thread has removed the last entry
                self._entries.popitem(last=False)

    def discard(self, key: _K) -> None:
        """Remove the key if it is there."""
        self._entries.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)
