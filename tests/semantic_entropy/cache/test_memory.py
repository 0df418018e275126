"""The verdict cache in memory: what it removes, and its use by threads and forked processes."""

from __future__ import annotations

import subprocess
import sys

from semantic_entropy import Verdict
from semantic_entropy.cache import VerdictCache
from semantic_entropy.types import Usage


def test_a_full_cache_removes_the_least_recently_used_verdict():
    cache = VerdictCache(size=2)
    for key in "ab":
        cache.put(key, Verdict(True))
    cache.get("a")
    cache.put("c", Verdict(True))
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]
    assert len(cache) == 2


def test_undecided_verdicts_are_not_kept_and_others_are_kept_without_their_usage():
    cache = VerdictCache()
    cache.put_all([("a", Verdict(None)), ("b", Verdict(True, usage=Usage(1)))])
    assert (cache.get("a"), cache.get("b")) == (None, Verdict(True))


FORKS = """
import os, threading
from semantic_entropy.cache.memory import VerdictCache
from semantic_entropy.types import Verdict

cache, done = VerdictCache(100), threading.Event()

def use():
    i = 0
    while not done.is_set():
        cache.put(i, Verdict(True))
        cache.get(i - 1)
        i += 1

threads = [threading.Thread(target=use) for _ in range(4)]
for thread in threads:
    thread.start()
failed = 0
for _ in range(20):
    child = os.fork()
    if child == 0:
        cache.put("x", Verdict(True))
        os._exit(0 if cache.get("x") else 1)
    failed += os.waitpid(child, 0)[1] != 0
done.set()
for thread in threads:
    thread.join()
assert failed == 0 and len(cache) <= 100
"""


def test_a_process_forked_while_threads_use_the_cache_can_use_it():
    # In a process of its own: one that measures coverage holds locks that a forked child would wait for.
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], check=True, timeout=60)
