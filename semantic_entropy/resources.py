"""What is dear to make and may be shared: judges loaded by name, and the verdict cache."""

from __future__ import annotations

import threading
from os import PathLike

from semantic_entropy.cache.memory import VerdictCache
from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.registry.components import load_equivalence
from semantic_entropy.registry.discovery import Entry, default_registry


class Resources:
    """Judges loaded by name, and the verdict cache: what several scorers may share."""

    def __init__(self, cache_size: int = 100_000, cache: str | PathLike[str] | None = None) -> None:
        self.cache = VerdictCache(cache_size) if cache is None else _cache_file(cache, cache_size)
        self._judges: dict[Entry, Equivalence] = {}
        self._lock = threading.RLock()

    def judge(self, name: str) -> Equivalence:
        """The judge of this name with its default options: loaded once, and again once it is registered anew."""
        entry = default_registry().find("equivalence", name)
        with self._lock:
            if entry not in self._judges:
                self._judges[entry] = load_equivalence(name)
            return self._judges[entry]

    def close(self) -> None:
        """Close the judges; the next call loads them anew."""
        with self._lock:
            judges, self._judges = list(self._judges.values()), {}
        for judge in judges:
            judge.close()
        self.cache.close()


def _cache_file(path: str | PathLike[str], size: int) -> VerdictCache:
    from semantic_entropy.cache.sqlite import CacheFile  # sqlite3 is for those who ask for it

    return CacheFile(path, size)
