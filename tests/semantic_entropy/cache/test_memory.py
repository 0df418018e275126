"""The verdict cache in memory: what it removes, and its use by threads and forked processes."""

from __future__ import annotations

import gc
import operator
import subprocess
import sys

import pytest

from semantic_entropy import Equivalence, Scorer, Verdict, estimate
from semantic_entropy.cache import VerdictCache
from semantic_entropy.clusters.equivalence import FunctionEquivalence
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


def test_the_verdicts_of_a_plain_function_are_kept_from_call_to_call():
    calls = []

    def same_initial(left, right):
        calls.append((left, right))
        return left[0] == right[0]

    for _ in range(50):
        assert estimate(["ab", "ac", "b"], equivalence=same_initial).labels == (0, 0, 1)
    assert sorted(calls) == [("ab", "ac"), ("ac", "ab"), ("b", "ab"), ("b", "ac")]  # False decides in one direction


def test_each_policy_of_a_function_has_its_own_verdicts():
    def shorter(left, right):
        return len(left) < len(right)

    for policy, labels in (("both", (0, 1)), ("either", (0, 0)), ("both", (0, 1))):
        assert estimate(["a", "bb"], equivalence=FunctionEquivalence(shorter, policy)).labels == labels


@pytest.mark.parametrize(
    "make", [lambda: lambda left, right: left == right, lambda: Comparison().compare, lambda: operator.eq]
)
def test_the_verdicts_of_a_function_that_is_deleted_leave_the_cache(make):
    with Scorer("exact") as scorer:
        for _ in range(50):
            scorer.derive(equivalence=make()).estimate(["a", "b", "c"])
        gc.collect()
        assert len(scorer.cache) == 0
        kept = make()
        judged = scorer.derive(equivalence=kept)
        assert [judged.estimate(["a", "b"]).provenance.cached for _ in range(2)] == [0, 1]


class Comparison:
    def compare(self, left, right):
        return left == right


@pytest.mark.parametrize("other", [1.0, True])
def test_settings_that_are_equal_but_of_another_type_have_their_own_verdicts(other):
    class Answers(Equivalence):
        def __init__(self, option):
            self.option = option

        @property
        def settings(self):
            return ("answers", (self.option,))

        def judge(self, pairs):
            return [Verdict(self.option is one) for _ in pairs]

    one = 1
    with Scorer(Answers(one)) as scorer:
        assert scorer.estimate(["a", "b"]).labels == (0, 0)
        assert scorer.derive(equivalence=Answers(other)).estimate(["a", "b"]).labels == (0, 1)


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
