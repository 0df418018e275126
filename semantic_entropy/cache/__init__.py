"""Verdict caches in memory (`cache.memory`) and in an SQLite file (`cache.sqlite`): no pair is judged twice."""

from semantic_entropy.cache.lru import LRUCache
from semantic_entropy.cache.memory import VerdictCache

__all__ = ["LRUCache", "VerdictCache"]
