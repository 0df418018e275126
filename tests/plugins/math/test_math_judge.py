"""The math judge: decisions, hostile answers in threads and forked processes, and the end of the workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_entropy import OptionError, Pair, aestimate, estimate, load_equivalence
from semantic_entropy.testing import check_equivalence
from semantic_entropy_plugins.math import math_judge
from semantic_entropy_plugins.math.math_judge import LONGEST
from semantic_entropy_plugins.math.stated_answer import is_mathematics
from tests.shared_data import rows


@pytest.fixture(scope="module")
def math():
    judge = load_equivalence("math")
    yield judge
    judge.close()


def same(judge, left, right):
    (verdict,) = judge.judge([Pair(None, left, right)])
    return verdict.same


DECISIONS = [  # the table of docs/explanation/equivalences.md
    ("5 cm", "5 m", False),  # units are compared if both sides have one
    ("5 cm", "5", True),
    ("5 m", "500 cm", True),
    ("50", "50%", True),
    ("50%", "0.5", True),
    ("50", "0.5", False),
    ("x=3", "3", True),
    ("0.333", "1/3", False),
    ("0.333333", "1/3", True),  # six decimals
    ("(A) 5", "A", False),
    ("\u00bd", r"\frac12", True),
    ("1,000", "(1, 0)", False),
    ("1,000", "1000", True),
    ("1e5", "100000", True),
    ("x+1", "1+x", True),
    (r"\frac{x^2-1}{x-1}", "x+1", True),
    ("1,2", "2,1", True),
    (r"90^\circ", "90", True),
    (r"\text{even}", "even", True),
    ("x+1", "x+2", False),
    (r"1\frac12", "3/2", True),
    ("(1,2)", "(2,1)", False),
    # compared by math-verify in a worker
    (r"\frac{1}{2004!}", r"\frac{1}{2006!}", False),  # huggingface/Math-Verify#14
    (r"6.63\times10^{-34}x", r"1.38\times10^{-23}x", False),
    (r"\sin 30^\circ", "0.5", True),  # openwebwork/webwork-open-problem-library#471
    ("\\tan 45\u00b0", "1", True),
    (r"\frac{1}{i}", "-i", True),  # sympy/sympy#26098
    (r"\sqrt{-4}", "2i", True),
    (r"e^{i\pi}", "-1", True),
    ("3+4i", "4i+3", True),
    ("3+4i", "3-4i", False),
    (r"-\begin{pmatrix}1&0\\0&1\end{pmatrix}", r"\begin{pmatrix}-1&0\\0&-1\end{pmatrix}", True),  # rasbt/#133
    (r"\frac{1}{5}\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}0.2\\0.4\end{pmatrix}", True),
    (r"\begin{pmatrix}1\\2\end{pmatrix}+\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\4\end{pmatrix}", True),
    (r"2\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\5\end{pmatrix}", False),
    (r"\begin{pmatrix}0&0\\0&1\end{pmatrix}", r"\begin{bmatrix} 0 & 0 \\ 0 & 1 \end{bmatrix}", True),
    (r"x\text{ cm}", r"x\text{ kg}", False),
    (r"x^2\text{ cm}", "x^2", True),
    ("5m", "5 m", True),  # 5 times m, or 5 metres
]


@pytest.mark.parametrize(("left", "right", "verdict"), DECISIONS)
def test_each_decision_holds_in_both_directions(math, left, right, verdict):
    assert same(math, left, right) is verdict
    assert same(math, right, left) is verdict


def test_it_passes_the_conformance_checks(math):
    check_equivalence(math)
    check_equivalence(math, answers=["x+1", "1+x", "x=3", "3", "1,2", r"\{2,1\}", "[1,2)", "5 cm", "50%", "1/2"])


EXTRACTION = [
    (r"so \boxed{\frac12} it is, 7", r"\frac12"),
    (r"$\frac{1}{2}$", r"$\frac{1}{2}$"),
    ("x^2+1", "x^2+1"),
    ("the answer is 3 apples and 4 pears", "3 apples and 4 pears"),
    ("nothing", None),
    ("<think>\\boxed{1}</think>\\boxed{2}", "2"),
]


@pytest.mark.parametrize(("response", "answer"), EXTRACTION)
def test_the_answer_is_the_box_else_the_whole_text_else_what_is_stated(math, response, answer):
    assert list(math.extract([response])) == [answer]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("42", True),
        ("x+1", True),
        (r"\frac{a}{b}", True),
        ("Paris", False),
        ("in 1912", False),
        ("", False),
        ("A", False),
    ],
)
def test_prose_is_not_mathematics(text, is_one):
    assert is_mathematics(text) is is_one


def test_the_test_cases_of_math_verify_get_the_expected_verdicts(math):
    """Only cases in which both sides are answers without prose: extraction is another task."""
    table = [row for row in rows("pairs.jsonl") if row["source"] == "math_verify_tests"]
    table = [row for row in table if is_mathematics(row["a"]) and is_mathematics(row["b"])]
    verdicts = math.judge([Pair(None, row["a"], row["b"]) for row in table])
    wrong = [(r["a"], r["b"]) for r, v in zip(table, verdicts, strict=True) if bool(v.same) != r["equivalent"]]
    assert len(table) > 60
    assert len(wrong) < 0.1 * len(table), wrong


HOSTILE = [
    "9^{9^{9^9}}",
    "10^{10^{10}}",
    "(10^9)!",
    "(" * 200 + "1" + ")" * 200,
    r"\begin{pmatrix}"
    + r"\\".join("&".join(f"{i}^{{{j}}}" for j in range(12)) for i in range(12))
    + r"\end{pmatrix}^{50}",
    r"\binom{10^8}{5\cdot 10^7}",
    r"\sum_{i=1}^{10^9} i^i",
    r"\prod_{i=1}^{10^8} i",
    "x" * 100_000,
    "7" * 1_000_000,
    "\x00\x00",
    "\ud800",
    "\u202e123\u202c",
    "{" * 10_000,
    "__import__('os').system('touch /tmp/evaluated')",
    'exec("raise SystemExit") + \\pi',
]


@pytest.fixture(scope="module")
def quick():
    """A judge with a timeout of one second, to show that a limit holds."""
    judge = load_equivalence("math", timeout=1.0)
    yield judge
    judge.close()


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:24]))
def test_after_a_hostile_answer_the_next_task_is_judged(quick, text):
    start = time.monotonic()
    (verdict,) = quick.judge([Pair(None, text, "x+1")])
    assert verdict.same in (None, False)
    assert same(quick, "x+1", "1+x") is True
    assert time.monotonic() - start < 30  # limits of one second each, and the start of a worker


@pytest.mark.timeout(120)  # it takes less than 20 seconds; a first limit for each would take minutes
def test_a_large_group_of_hostile_answers_alone_has_a_budget_of_time():
    judge = load_equivalence("math")
    result = estimate([rf"\boxed{{\sum_{{i=1}}^{{10^9}} i^i + {k}}}" for k in range(100)], equivalence=judge)
    judge.close()
    assert result.labels == tuple(range(100))
    assert any(undecided.reason.startswith("not tried: ") for undecided in result.undecided)


@pytest.mark.timeout(60)  # a whole timeout for each would take minutes
def test_a_group_of_hostile_answers_takes_seconds_and_the_other_answers_are_compared():
    answers = [rf"\sum_{{i=1}}^{{10^9}} i^i + {k}" for k in range(14)] + ["x+1", "1+x"]
    judge = load_equivalence("math")
    result = estimate([rf"\boxed{{{answer}}}" for answer in answers], equivalence=judge)
    judge.close()
    assert result.labels == (*range(15), 14)


SLOW = [rf"\begin{{pmatrix}} \sin(x^{i}) & \frac{{x^{i}-1}}{{x-{i}}} \\ x & 1 \end{{pmatrix}}" for i in range(2, 9)]
HARMLESS = [r"\sin x + 1", r"1 + \sin x", r"\cos x"]


@pytest.mark.parametrize("together", [True, False])
def test_slow_comparisons_of_a_group_leave_other_groups_their_whole_budget(monkeypatch, together):
    monkeypatch.setattr(math_judge, "_MOST_OF_GROUP", 0.2)  # seconds of computing
    judge = load_equivalence("math", workers=1)
    groups = [[*SLOW, HARMLESS[0]], HARMLESS]  # both groups have HARMLESS[0], and there is no question
    calls = [groups] if together else [groups[:1], groups[1:]]
    hostile, other = [result for call in calls for result in estimate(call, equivalence=judge, extract="whole")]
    judge.close()
    assert any("take too long to compare" in undecided.reason for undecided in hostile.undecided)
    assert other.labels == (0, 0, 1)
    assert not other.undecided


def test_timeouts_of_a_group_leave_other_groups_their_whole_budget(monkeypatch):
    monkeypatch.setattr(math_judge, "_MOST_LOST", 0.4)  # seconds of the wall clock
    sums = [rf"\sum_{{i=1}}^{{10^9}} i^i + {k}" for k in range(6)]
    judge = load_equivalence("math", timeout=2.0, workers=1)
    hostile, other = estimate([[*sums, HARMLESS[0]], HARMLESS], equivalence=judge, extract="whole")
    judge.close()
    assert hostile.labels == tuple(range(7))
    # Why each pair is undecided depends on the order in which the answers reach the worker, which is not the same in
    # every process: out of seconds, out of retries, or an answer that exceeded its limit before.
    assert len(hostile.undecided) == 7 * 6 // 2
    assert other.labels == (0, 0, 1)
    assert not other.undecided


def test_a_gold_answer_is_readable_after_many_hostile_ones(monkeypatch):
    monkeypatch.setattr(math_judge, "_MOST_OF_GROUP", 0.2)
    judge = load_equivalence("math", timeout=0.5, workers=1)
    readable = judge.readable([rf"\sum_{{i=1}}^{{10^9}} i^i + {k}" for k in range(3)] + [r"\sin x + 1"])
    judge.close()
    assert readable == [False, False, False, True]


def test_an_answer_that_timed_out_is_not_tried_again_in_its_group(quick):
    result = estimate([r"\sum_{i=1}^{10^9} i^i + 1", "y", "z", "w"], equivalence=quick, extract="whole")
    assert len(result.undecided) == 3
    assert any("exceeded its limit of time or memory before" in undecided.reason for undecided in result.undecided)


def test_an_answer_over_the_length_limit_is_undecided_with_the_reason(math):
    (verdict,) = math.judge([Pair(None, "x" * (LONGEST + 1), "x")])
    assert verdict.same is None
    assert f"{LONGEST + 1} characters" in verdict.reason


@settings(max_examples=60)
@given(st.text(alphabet=r"\{}()[]^_+-*/=<>,.%$ 0123456789abxyfracsqrtpisumlntexdot", max_size=40))
def test_random_latex_always_gets_a_verdict(quick, text):
    (verdict,) = quick.judge([Pair(None, text, "x+1")])
    assert verdict.same in (True, False, None)


def all_hostile(judge):
    """Every hostile answer in one group, with two answers that mean the same."""
    answers = [*HOSTILE, "x+1", "1+x"]
    result = estimate(
        [f"\\boxed{{{answer}}}" for answer in answers], equivalence=judge, extract=lambda text: text[7:-1]
    )
    return result.labels[-1] == result.labels[-2] and len(set(result.labels)) == len(HOSTILE) + 1


def in_a_thread(judge):
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(all_hostile, judge).result()


def in_asyncio(judge):
    return asyncio.run(asyncio.to_thread(all_hostile, judge))


def in_a_forked_process(judge):
    child = os.fork()
    if child == 0:
        os._exit(0 if all_hostile(judge) else 1)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")  # the test forks deliberately
@pytest.mark.parametrize("somewhere", [all_hostile, in_a_thread, in_asyncio, in_a_forked_process])
def test_the_judge_survives_all_hostile_answers_in_one_group(somewhere):
    judge = load_equivalence("math", timeout=1.0)
    assert somewhere(judge)
    judge.close()


GROUP = [r"\boxed{x+1}", r"\boxed{1+x}", r"\boxed{\sum_{i=1}^{10^9} i^{i}}"]


def test_it_works_from_a_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(estimate(GROUP)))
    thread.start()
    thread.join()
    assert results[0].labels == (0, 0, 1)


def test_it_works_from_asyncio():
    assert asyncio.run(aestimate(GROUP)).labels == (0, 0, 1)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")  # the test forks deliberately
def test_it_works_in_a_forked_process(math):
    assert same(math, "x+1", "1+x")  # starts workers of the parent
    child = os.fork()
    if child == 0:
        os._exit(0 if same(math, "y+2", "2+y") else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert same(math, "z+1", "1+z")


def workers_of(pid):
    """The ids of the running math workers that this process has started, and of their children."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process may end meanwhile
            state, parent, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if state != "Z" and b"processes/worker.py" in (folder / "cmdline").read_bytes():
                found.append((folder.name, parent, session))
    own = {name for name, parent, _ in found if parent == str(pid)}
    return [name for name, _, session in found if session in own]


needs_proc = pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="looks for processes in /proc, which is Linux's"
)


@needs_proc
def test_closing_ends_the_workers():
    judge = load_equivalence("math")
    assert same(judge, "x+1", "1+x")
    assert workers_of(os.getpid())
    before = len(workers_of(os.getpid()))
    judge.close()
    judge.close()
    assert len(workers_of(os.getpid())) == before - 2  # the worker and its child
    assert same(judge, "x+1", "1+x")  # new workers start at the next use
    judge.close()


PARENT = r"""
import sys
from semantic_entropy import load_equivalence, Pair
judge = load_equivalence("math", timeout=4.0)
judge.judge([Pair(None, "x+1", "1+x")])
print("ready", flush=True)
judge.judge([Pair(None, "\\sum_{i=1}^{10^9} i^{i}", "x+1")])
"""


def alive(pid):
    return Path(f"/proc/{pid}").exists()


@needs_proc
def test_workers_end_after_the_parent_was_killed_even_during_a_task():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "ready\n"
    time.sleep(0.5)
    workers = workers_of(parent.pid)
    assert workers
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, workers))


FORKING_PARENT = r"""
import os, time
from semantic_entropy import load_equivalence, Pair
judge = load_equivalence("math")
judge.judge([Pair(None, "x+1", "1+x")])
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(600)
"""


@needs_proc
def test_workers_end_after_the_parent_was_killed_even_if_a_forked_child_lives():
    parent = subprocess.Popen([sys.executable, "-c", FORKING_PARENT], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    try:
        workers = workers_of(parent.pid)
        assert workers
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 20
        while any(map(alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(map(alive, workers))
        assert alive(child)
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"policy": "one"}, "Use one of: both, either, forward"),
        ({"timeout": 0}, "must be a number above 0 and at most 86400"),
        ({"limit": 1}, "no option"),
    ],
)
def test_wrong_options_are_errors(options, says):
    with pytest.raises(OptionError, match=says):
        load_equivalence("math", **options)


def test_no_text_is_ever_evaluated(math, tmp_path):
    canary = tmp_path / "evaluated"
    call = f"__import__('os').system('touch {canary}')"
    for text in (call, f"pi**{call}", f"1/{call}"):
        math.judge([Pair(None, text, "3")])
        estimate([rf"\boxed{{{text}}}", "3"], equivalence="math")
    assert not canary.exists()


@pytest.mark.parametrize(
    ("responses", "suits"),
    [
        ([r"so \boxed{1}", r"\boxed{2}", "I lost count"], True),
        ([r"\boxed{\frac12}", "so it is 0.5", "$1/2$"], True),
        (["42", "42", "forty-two"], True),  # number words are read too
        (["1912", "in 1912", "the year 1912"], False),
        (["Paris", "Rome"], False),
        (["", " "], False),
    ],
)
def test_math_suits_responses_whose_answers_it_can_read(math, responses, suits):
    assert math.suits(responses) is suits


def test_it_works_inside_a_ray_actor():
    ray = pytest.importorskip("ray", reason="ray is not installed")
    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
    try:
        actor = ray.remote(_Actor).remote()
        assert ray.get(actor.labels.remote(), timeout=120) == (0, 0, 1)
    finally:
        ray.shutdown()


class _Actor:
    def labels(self):
        return estimate(GROUP).labels


GREEDY = """
import os, sys
from semantic_entropy_plugins.math.processes import worker as math_worker

class Greedy:
    cpu = 0.0
    def verdict(self, left, right):
        bytearray(300 * 2**20)

math_worker._limit_memory(100)
sys.stdin = iter(['{"wall": 60, "tasks": [["a", "b", null, [0]]], "left": [60]}'])
print(math_worker._serve_in_child(Greedy(), sys.stdout) == math_worker.OUT_OF_MEMORY)
"""


def test_a_task_over_the_memory_limit_ends_its_child_with_a_status_of_its_own():
    done = subprocess.run([sys.executable, "-c", GREEDY], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
