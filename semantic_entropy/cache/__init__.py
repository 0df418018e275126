"""Verdict caches, so that no pair is judged twice: in memory, and in an SQLite file (`cache.sqlite`)."""

from semantic_entropy.cache.lru import LRUCache
from semantic_entropy.cache.memory import VerdictCache

__all__ = ["LRUCache", "VerdictCache"]
