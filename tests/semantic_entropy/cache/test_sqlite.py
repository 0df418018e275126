"""The verdict cache in a file: what is stored, how keys differ, and concurrent and killed processes."""

from __future__ import annotations

import copy
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import Equivalence, InputError, Scorer, SemanticEntropyError, Verdict
from semantic_entropy.cache.sqlite import CacheFile


class Kept(Equivalence):
    """Same first letter means the same. Has settings, so its verdicts are stored. Counts the pairs it is asked."""

    release = "1"

    def __init__(self, settings=("kept", 1), verdict=None):
        self.asked, self._settings, self._verdict = 0, settings, verdict

    @property
    def settings(self):
        return self._settings

    @property
    def versions(self):
        return {"mine": self.release}

    def judge(self, pairs):
        self.asked += len(pairs)
        return [self._verdict or Verdict(pair.left[0] == pair.right[0]) for pair in pairs]


class Asking(Kept):
    uses_question = True


class NewVersion(Kept):
    release = "2"


class NewRules(Kept):
    rules = 2


class NoSettings(Equivalence):
    """Does not override `settings`."""

    def __init__(self):
        self.asked = 0

    def judge(self, pairs):
        self.asked += len(pairs)
        return [Verdict(False) for _ in pairs]


class Nested(NoSettings):
    @property
    def settings(self):
        return ("nested", super().settings)


def asked(path, judge, responses=("aa", "ab", "ba"), question=None):
    """The number of pairs that a new scorer asks the judge, as in another process."""
    before = judge.asked
    with Scorer(judge, cache=path) as scorer:
        result = scorer.estimate(list(responses), question=question)
        assert result.provenance.asked == judge.asked - before
    return judge.asked - before


@pytest.fixture
def path(tmp_path):
    return tmp_path / "verdicts.sqlite"


def test_a_verdict_is_found_by_the_next_scorer(path):
    assert asked(path, Kept()) == 2
    assert asked(path, Kept()) == 0
    assert asked(path, Kept(), ["ba", "ab", "aa"]) == 0
    with Scorer(Kept(), cache=path) as scorer:
        result = scorer.estimate(["aa", "ab", "ba"])
        assert result.labels == (0, 0, 1)
        assert (result.provenance.asked, result.provenance.cached) == (0, 2)
        assert str(scorer.cache) == f"{path}: 2 verdicts found, 0 added"


@pytest.mark.parametrize(
    "other", [Kept(("kept", 2)), Kept(("kept", 1.0)), Kept(("kept", True)), NewVersion(), NewRules(), Asking()]
)
def test_verdicts_differ_by_settings_version_rules_and_class(path, other):
    assert asked(path, Kept()) == 2
    assert asked(path, other) == 2


def test_verdicts_differ_by_question_only_for_a_judge_that_uses_it(path):
    assert [asked(path, Kept(), question=question) for question in ("q1", "q2")] == [2, 0]
    assert [asked(path, Asking(), question=question) for question in ("q1", "q2", "q1")] == [2, 2, 0]


@pytest.mark.parametrize("judge", [NoSettings(), Nested(), Kept(("kept", object())), Kept(("kept", np.float64(1)))])
def test_verdicts_without_plain_settings_are_not_stored(path, judge):
    asked(path, judge)
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM verdicts").fetchone() == (0,)
    file.close()
    assert asked(path, copy.copy(judge)) > 0


class Word(str):
    """A subclass of str, like torch's version, whose repr() is its address."""

    __slots__ = ()

    def __repr__(self):
        return f"<Word at {id(self)}>"


class WordVersion(Kept):
    release = Word("1")


def test_a_subclass_of_str_in_a_key_counts_as_its_text(path):
    assert asked(path, WordVersion((Word("kept"), 1))) == 2
    assert asked(path, WordVersion((Word("kept"), 1))) == 0
    assert asked(path, WordVersion(("kept", 1))) == 0


@pytest.mark.parametrize(
    ("judge", "says"),
    [
        (NoSettings(), "  NoSettings: no verdict is stored, because it does not override `settings`"),
        (lambda a, b: a == b, "  FunctionEquivalence: no verdict is stored, because it does not override `settings`"),
        (
            Kept(("kept", np.float64(1))),
            "  Kept: no verdict is stored, because its settings hold np.float64(1.0), a float64",
        ),
        ("exact", "  exact: no verdict is stored, because asking again is faster than reading the file"),
        (Kept(), None),
    ],
)
def test_the_summary_says_why_nothing_is_stored(path, judge, says):
    with Scorer(judge, cache=path) as scorer:
        scorer.estimate(["aa", "ba"])
        _, *why = str(scorer.cache).splitlines()
    assert (why == []) if says is None else why[0].startswith(says)


def test_verdicts_of_functions_and_of_free_judges_are_not_stored(path):
    with Scorer(lambda a, b: a == b, cache=path) as scorer:
        scorer.estimate(["a", "b"])
        assert scorer.cache.added == 0
        assert scorer.estimate(["a", "b"]).provenance.cached == 1  # it is in memory
    with Scorer("text", cache=path) as scorer:
        assert scorer.estimate(["the cat sat", "a dog ran"]).provenance.asked == 1
        assert scorer.cache.added == 0


def test_scores_and_reasons_are_stored_and_undecided_is_not(path):
    assert asked(path, Kept(verdict=Verdict(None, reason="too long"))) == 3
    assert asked(path, Kept(verdict=Verdict(False, np.float32(0.25), "far \udc80 apart"))) == 3
    cache = CacheFile(path)
    with sqlite3.connect(path) as file:
        rows = file.execute("SELECT same, score, reason FROM verdicts").fetchall()
    file.close()
    assert rows == [(0, 0.25, "far \\udc80 apart")] * 3
    cache.close()


texts = st.text(max_size=5)


@given(texts, texts, st.sampled_from([Verdict(True), Verdict(False, 0.5), Verdict(True, None, "why")]))
def test_any_text_is_found_again(tmp_path_factory, left, right, verdict):
    path = tmp_path_factory.mktemp("any") / "verdicts.sqlite"
    caches = CacheFile(path), CacheFile(path)
    caches[0].put((Kept, ("x",), (), None, left, right), verdict)
    assert caches[1].get((Kept, ("x",), (), None, left, right)) == verdict
    assert (caches[1].get((Kept, ("x",), (), None, right, left)) is None) == (left != right)
    for cache in caches:
        cache.close()


def test_verdicts_of_the_math_workers_are_stored(path):
    group = [r"\boxed{(x+1)^2}", r"\boxed{x^2+2x+1}", r"\boxed{x^2}"]
    provenances = []
    for _ in range(2):
        with Scorer("math", cache=path) as scorer:
            provenances.append(scorer.estimate(group).provenance)
    first, again = provenances
    assert first.asked + first.cached == again.cached
    assert again.asked == 0


def test_a_file_that_is_not_a_cache_is_an_error_and_stays_unchanged(path, tmp_path):
    path.write_bytes(
        b"my notes, longer than the header of a database is, so that nobody can take them for a new one" * 9
    )
    notes = path.read_bytes()
    with pytest.raises(InputError, match="not a database: it is not a verdict cache: name another file$"):
        Scorer(cache=path)
    assert path.read_bytes() == notes
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(InputError, match="SQLite file of another application"):
        Scorer(cache=tmp_path / "other.sqlite")
    with pytest.raises(InputError, match="a folder that exists and is writable"):
        Scorer(cache=tmp_path / "nowhere" / "verdicts.sqlite")
    CacheFile(tmp_path / "new.sqlite").close()
    newer = sqlite3.connect(tmp_path / "new.sqlite")
    newer.execute("PRAGMA user_version = 3")
    newer.close()
    with pytest.raises(InputError, match="has format 3, this version reads 2"):
        Scorer(cache=str(tmp_path / "new.sqlite"))


def test_a_damaged_file_is_an_error_that_names_it(path):
    cache = CacheFile(path)
    cache.put_all([((Kept, ("x",), (), None, str(i), "x"), Verdict(True)) for i in range(5000)])
    cache.close()
    content = bytearray(path.read_bytes())
    content[4096 : len(content) - 4096] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    damaged = CacheFile(path)

    def read_all():
        for i in range(5000):
            damaged.get((Kept, ("x",), (), None, str(i), "x"))

    with pytest.raises(SemanticEntropyError, match=r"verdicts\.sqlite: .*it is damaged: name another file; if"):
        read_all()
    damaged.close()


def many(cache, count=5000):
    cache.put_all([((Kept, ("x",), (), None, str(i), "x"), Verdict(True)) for i in range(count)])


def test_a_full_disk_is_an_error_and_loses_no_stored_verdict(path):
    cache = CacheFile(path)
    many(cache, 10)
    cache._connection().execute("PRAGMA max_page_count = 4")
    with pytest.raises(SemanticEntropyError, match="the disk is full: free some space and run again") as full:
        many(cache)
    assert "delete" not in str(full.value)
    cache.close()
    assert rows_of(path) == 10


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from semantic_entropy.cache.sqlite import CacheFile
from semantic_entropy import Equivalence, Verdict
CacheFile(sys.argv[1]).put_all([((Equivalence, ("x",), (), None, str(i), "x"), Verdict(True)) for i in range(9000)])
"""


def test_a_file_size_limit_is_an_error_that_does_not_tell_to_delete_the_file(path):
    done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=False)
    assert (
        "disk I/O error: a quota or a limit on file sizes is reached, or the disk fails: free some space" in done.stderr
    )


def test_threads_share_a_file(path):
    with Scorer(Kept(), cache=path) as scorer:
        groups = [[f"{i} a", f"{i} b", f"{j} c"] for i in range(20) for j in range(2)]
        threads = [threading.Thread(target=scorer.estimate, args=([*groups[i::4]],)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    judge = Kept()
    with Scorer(judge, cache=path) as scorer:
        scorer.estimate(groups)
    assert judge.asked == 0


def test_the_connections_of_threads_that_have_ended_are_closed(path):
    with Scorer(Kept(), cache=path) as scorer:
        for i in range(20):
            thread = threading.Thread(target=scorer.estimate, args=([f"{i} a", f"{i} b"],))
            thread.start()
            thread.join()
        scorer.estimate(["aa", "ab"])
        (owner,) = scorer.cache._connections
        assert owner[1] is threading.current_thread()


def forked(scorer, results):
    judge = scorer.equivalence
    found = scorer.estimate(["aa", "ab", "ba"]).provenance.cached
    scorer.estimate(["child", "of", "fork"])
    results.put((found, judge.asked))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_opens_its_own_connection(path):
    with Scorer(Kept(), cache=path) as scorer:
        scorer.estimate(["aa", "ab", "ba"])
        context = get_context("fork")
        results = context.SimpleQueue()
        child = context.Process(target=forked, args=(scorer, results))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert results.get() == (2, 2 + 3)
        assert asked(path, Kept(), ["child", "of", "fork"]) == 0
        scorer.estimate(["parent", "goes", "on"])
    assert asked(path, Kept(), ["parent", "goes", "on"]) == 0


WRITER = """
import sys
from semantic_entropy.cache.sqlite import CacheFile
from semantic_entropy.types import Verdict
from semantic_entropy import Equivalence

path, name, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
cache = CacheFile(path)
print("open", flush=True)
for i in range(rounds):
    key = lambda j: (Equivalence, (name,), (), None, f"{i} {j}", "x")
    cache.put_all([(key(j), Verdict(j % 2 == 0, i / 7)) for j in range(200)])
print(cache, flush=True)
"""


def writer(path, name, rounds):
    command = [sys.executable, "-c", WRITER, str(path), name, str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


CREATOR = """
import os, sys
from semantic_entropy.cache.sqlite import CacheFile
from semantic_entropy import Equivalence, Verdict

folder, name = sys.argv[1:]
for i in range(40):
    while not os.path.exists(f"{folder}/{i}.go"):
        pass
    cache = CacheFile(f"{folder}/{i}.sqlite")
    cache.put((Equivalence, (name,), (), None, "x", "y"), Verdict(True))
    cache.close()
"""


def test_processes_can_create_a_file_at_the_same_time(tmp_path):
    commands = [[sys.executable, "-c", CREATOR, str(tmp_path), str(i)] for i in range(4)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for i in range(40):
        (tmp_path / f"{i}.go").touch()
        time.sleep(0.02)  # long enough that all wait for the next one
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert {rows_of(tmp_path / f"{i}.sqlite") for i in range(40)} == {4}


def rows_of(path):
    file = sqlite3.connect(path)
    try:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return file.execute("SELECT count(*) FROM verdicts").fetchone()[0]
    finally:
        file.close()


def test_a_killed_writer_leaves_whole_transactions(path):
    others = [writer(path, str(i), 60) for i in range(2)]
    for attempt in range(5):
        victim = writer(path, f"victim {attempt}", 1_000_000)
        assert victim.stdout.readline() == "open\n"
        time.sleep(0.05 + 0.07 * attempt)
        os.kill(victim.pid, signal.SIGKILL)  # the victim is always writing
        victim.communicate()
        assert victim.returncode == -signal.SIGKILL
    for process in others:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert rows_of(path) % 200 == 0  # each transaction has 200 verdicts
    cache = CacheFile(path)
    for name in ("0", "1"):
        for i, j in ((0, 0), (30, 7), (59, 199)):
            key = (Equivalence, (name,), (), None, f"{i} {j}", "x")
            assert cache.get(key) == Verdict(j % 2 == 0, i / 7)
    cache.close()


COUNTING = """
from semantic_entropy import Equivalence, Verdict, register
class Counting(Equivalence):
    settings = ("counting",)
    def judge(self, pairs):
        return [Verdict(pair.left[0] == pair.right[0]) for pair in pairs]
register("equivalence", "counting", Counting)
from semantic_entropy.cli import main
main()
"""


def test_the_command_line_stores_verdicts_for_later_runs(path, tmp_path):
    rows = [{"responses": [f"{i} a", f"{i} b", "c"]} for i in range(5)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    printed = []
    for out in ("1.jsonl", "2.jsonl"):
        arguments = ["estimate", "in.jsonl", "-o", out, "-e", "counting", "--cache", path.name]
        command = [sys.executable, "-c", COUNTING, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        printed.append(done.stderr.splitlines()[-1])
    assert printed == [
        "cache verdicts.sqlite: 0 verdicts found, 15 added",
        "cache verdicts.sqlite: 15 verdicts found, 0 added",
    ]
