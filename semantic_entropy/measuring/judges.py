"""Judges loaded by name with their options, the judge that `auto` chooses, and the verdict cache."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

from semantic_entropy.cache import VerdictCache
from semantic_entropy.clusters import Equivalence, strip_reasoning
from semantic_entropy.errors import InputError
from semantic_entropy.registry import Entry, default_registry, load_equivalence
from semantic_entropy.types import Group

Options: TypeAlias = Mapping[str, Any] | None
AUTO = ("semantic-entropy/math", "semantic-entropy/text")  # `auto` uses the first judge that suits a group's responses
_JudgeKey: TypeAlias = tuple[Entry, str]


class Resources:
    """Judges loaded by name, and the verdict cache. Several scorers may share them."""

    def __init__(self, cache_size: int = 100_000, cache: str | PathLike[str] | None = None) -> None:
        self.cache = VerdictCache(cache_size) if cache is None else _open_cache_file(cache, cache_size)
        self._judges: dict[_JudgeKey, tuple[Equivalence, Options]] = {}  # the options live as long as their repr counts
        self._loads: dict[_JudgeKey, threading.RLock] = {}  # a judge that loads for minutes must not block the others
        self._lock = threading.Lock()

    def judge(self, name: str, options: Options = None) -> Equivalence:
        """Return the judge of this name with these options. Reload it if the name is re-registered."""
        key = default_registry().find("equivalence", name), repr(sorted((options or {}).items()))
        with self._lock:
            load = self._loads.setdefault(key, threading.RLock())
        with load:
            if key not in self._judges:
                self._judges[key] = load_equivalence(name, **(options or {})), options
            return self._judges[key][0]

    def close(self) -> None:
        """Close the judges and the cache. The next call loads the judges again."""
        with self._lock:
            judges, self._judges = list(self._judges.values()), {}
        for judge, _ in judges:
            judge.close()
        self.cache.close()


def check_options(kind: str, component: object, options: Any) -> None:
    """Check that options are given for a name only. Messages show no values, because one may be an API key."""
    if options is None:
        return
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        found = type(options).__name__
        raise InputError(f'{kind}_options is a {found}; it must be a dict from names to values: {{"model": "..."}}')
    if not isinstance(component, str) or component in ("auto", "jaccard"):
        given = "auto" if component in (None, "auto") and kind == "equivalence" else f"{component!r:.80}"
        raise InputError(
            f"{kind}_options ({', '.join(options)}) needs the name of a component as {kind}=, and {kind} is {given}; "
            "a component that is built already has its options"
        )


def first_suited(
    candidates: Sequence[tuple[Equivalence, str]], group: Group, answers: Sequence[str | None] | None
) -> tuple[Equivalence, str]:
    """Return the first judge that suits the answers; that suits the responses if there are no answers yet."""
    *special, general = candidates
    if special:
        shown = [answer or "" for answer in answers] if answers else list(map(strip_reasoning, group.responses))
        for candidate in special:
            if candidate[0].suits(shown):
                return candidate
    return general


def _open_cache_file(path: str | PathLike[str], size: int) -> VerdictCache:
    from semantic_entropy.cache.sqlite import CacheFile  # importing sqlite3 takes time, and few users need this module

    return CacheFile(path, size)
