"""Samples on disk: found again by sampler and question, and complete after kills and full disks."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import Scorer
from semantic_entropy.errors import InputError
from semantic_entropy.sampling.store import SampleStore
from semantic_entropy.types import Sample, Usage
from tests.semantic_entropy.sampling.dice import Dice

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "samples.jsonl"


numbers = st.floats(allow_nan=False, allow_infinity=False)
lists = st.none() | st.lists(numbers).map(tuple)
samples = st.builds(
    Sample,
    text=st.text(),
    logprobs=lists,
    finish_reason=st.none() | st.text(),
    reasoning=st.none() | st.text(),
    token_entropies=lists,
    hidden_state=lists,
    usage=st.none() | st.builds(Usage, st.integers(0), st.integers(0), st.integers(0), st.none() | numbers),
)


@given(st.lists(st.tuples(st.text(), samples), max_size=8))
def test_added_samples_are_found_when_the_file_is_opened_again(tmp_path_factory, drawn):
    path = tmp_path_factory.mktemp("store") / "samples.jsonl"
    store, dice = SampleStore(path), Dice()
    for question, sample in drawn:
        store.add(dice, question, sample)
    store.close()
    again = SampleStore(path)
    for question in {question for question, _ in drawn}:
        assert again.get(dice, question, 99) == [sample for asked, sample in drawn if asked == question]
    again.close()


def test_samples_differ_by_settings_and_by_question(path):
    store = SampleStore(path)
    store.add(Dice(sides=2), "q", Sample("a"))
    assert store.get(Dice(sides=3), "q", 9) == store.get(Dice(sides=2), "p", 9) == []
    assert store.get(Dice(sides=2, wait=5.0), "q", 9) == [Sample("a")]
    store.close()


def test_samples_of_older_rules_are_not_found(path):
    store, dice = SampleStore(path), Dice()
    store.add(dice, "q", Sample("a"))
    dice.rules = 2
    assert store.get(dice, "q", 9) == []
    store.close()


def test_samples_after_a_removed_partial_line_are_read_from_their_place(path):
    with closing(SampleStore(path)) as store:
        store.add(Dice(), "first", Sample("1"))
    path.write_bytes(path.read_bytes() + b'{"key": "cut')
    with closing(SampleStore(path)) as store:
        store.add(Dice(), "second", Sample("2"))
        assert store.get(Dice(), "second", 1) == [Sample("2")]


def test_a_partial_last_line_is_removed_and_the_rest_stays(path):
    store = SampleStore(path)
    for text in "abc":
        store.add(Dice(), "q", Sample(text))
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    store = SampleStore(path)
    assert [sample.text for sample in store.get(Dice(), "q", 9)] == ["a", "b"]
    store.add(Dice(), "q", Sample("c"))
    store.close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("kept", [0, 1, 30])
def test_zeros_at_the_end_are_removed_with_the_partial_line_before_them(path, kept):
    store = SampleStore(path)
    for text in "abc":
        store.add(Dice(), "q", Sample(text))
    store.close()
    *whole, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole) + last[:kept] + b"\0" * 5000)
    store = SampleStore(path)
    assert [sample.text for sample in store.get(Dice(), "q", 9)] == ["a", "b"]
    store.close()
    assert path.read_bytes() == b"".join(whole)


def test_numbers_that_are_not_finite_are_left_out_and_the_sample_is_stored(path):
    store = SampleStore(path)
    kept = {"logprobs": (-1.0,), "token_entropies": (0.5,), "hidden_state": (2.0,)}
    for name, bad in (("logprobs", math.nan), ("token_entropies", math.inf), ("hidden_state", -math.inf)):
        store.add(Dice(), name, Sample("a", **{**kept, name: (-0.1, bad)}))
        assert store.get(Dice(), name, 9) == [Sample("a", **{**kept, name: None})]
    store.close()


OTHER = ["notes", "[]", "{}", '{"key": 1, "sample": 2}']


@pytest.mark.parametrize("content", [*OTHER, *(f"{line}\n" for line in OTHER), '{"key": "k", "sample": {"text": 3}}\n'])
def test_a_file_that_is_not_a_store_is_an_error_with_the_line_and_stays_unchanged(path, content):
    path.write_text(content)
    with pytest.raises(InputError, match=r"samples\.jsonl, line 1: not a sample"):
        SampleStore(path)
    assert path.read_text() == content


@pytest.mark.skipif(sys.platform == "win32", reason="no flock there")
def test_a_second_open_store_is_refused(path):
    store = SampleStore(path)
    again = "import sys; from semantic_entropy.sampling.store import SampleStore; SampleStore(sys.argv[1])"
    other = subprocess.run([sys.executable, "-c", again, path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "InputError: another run is writing" in other.stderr
    with pytest.raises(InputError, match=r"this process is already writing .*share one Scorer\("):
        SampleStore(path.parent / "." / path.name)
    store.close()
    SampleStore(path).close()


@pytest.mark.skipif(sys.platform == "win32", reason="no flock there")
def test_concurrent_tasks_share_a_file_through_one_scorer(path):
    async def ask(estimate):
        return await asyncio.gather(*(estimate(question=f"question {i}") for i in range(3)))

    with Scorer(sampler=Dice(wait=0.01), n=2, samples=path) as scorer:
        assert [len(result.samples) for result in asyncio.run(ask(scorer.aestimate))] == [2, 2, 2]
        assert scorer.store.added == 6


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes there")
def test_a_full_disk_is_an_error_that_says_how_to_continue_and_stored_samples_stay(path):
    fill = (
        "import resource, signal, sys\n"
        "from semantic_entropy.errors import SemanticEntropyError\n"
        "from semantic_entropy.sampling.store import SampleStore\n"
        "from semantic_entropy.types import Sample\n"
        "from tests.semantic_entropy.sampling.dice import Dice\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "store = SampleStore(sys.argv[1])\n"
        "try:\n"
        "    for _ in range(99):\n"
        "        store.add(Dice(), 'q', Sample('a' * 100))\n"
        "except SemanticEntropyError as error:\n"
        "    print(store.added, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", fill, path], cwd=ROOT, capture_output=True, text=True, check=True)
    added, said = done.stdout.split(" ", 1)
    assert "run again to continue" in said
    store = SampleStore(path)
    assert len(store.get(Dice(), "q", 99)) == int(added) > 5
    store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_a_killed_run_draws_no_response_twice(path, tmp_path):
    questions, output = tmp_path / "q.jsonl", tmp_path / "out.jsonl"
    questions.write_text("".join(f'{{"id": {i}, "question": "question {i}?"}}\n' for i in range(30)))
    measure = (
        "import sys\n"
        "from semantic_entropy import register\n"
        "from tests.semantic_entropy.sampling.dice import Dice\n"
        "register('sampler', 'dice', Dice)\n"
        "from semantic_entropy.cli import main\n"
        "main()\n"
    )
    arguments = ["estimate", questions, "-o", output, "--sampler", "dice", "-n", "4", "--samples", path]
    command = [sys.executable, "-c", measure, *map(str, arguments), "--sampler-option"]
    running = subprocess.Popen([*command, "wait=0.02"], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not path.exists() or path.stat().st_size < 4000:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert path.read_bytes().count(b"\n") < 120
    done = subprocess.run([*command, "wait=0"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = path.read_bytes().splitlines()
    assert len(lines) == 120, done.stderr
    assert output.read_bytes().count(b"\n") == 30
