"""Behaviour that needs a separate process: Ctrl-C, forks, a silent name server, and the end of the interpreter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins.chat_server import ChatServer, choose_by, prompt, says, silent

LIMIT = 60  # seconds: far more than a test takes, and far less than the timeout of its calls
ROOT = Path(__file__).parents[3]

BEGIN = """
import os, signal, socket, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal; a background process may ignore it
from semantic_entropy.plugin import Pair, Request
from semantic_entropy_plugins.judge.llm_judge import Judge
from semantic_entropy_plugins.samplers.openai_sampler import OpenAISampler
URL = sys.argv[1]
PAIRS = [Pair("q", "a", f"{i} b") for i in range(20)]
judge = Judge("m", URL, "a-key-of-this-test", timeout=3600, concurrency=4)
sampler = OpenAISampler("m", URL, "a-key-of-this-test", timeout=3600, concurrency=4)
"""
ONE_ANSWER = choose_by(lambda body: says("yes") if prompt(body).count("0 b") or prompt(body) == "0" else silent)

INTERRUPTED = {
    "judge": "for index, verdict in judge.stream(PAIRS): print(index, verdict.same, flush=True)",
    "sampler": """
for request, sample in sampler.stream(Request(i, str(i), 2) for i in range(20)):
    print(request.index, sample.text, flush=True)
""",
    "in a running event loop": """
import asyncio
async def main():
    for index, verdict in judge.stream(PAIRS): print(index, verdict.same, flush=True)
asyncio.run(main())
""",
    "a silent name server": """
print("asking", flush=True)
socket.getaddrinfo = lambda *_, **__: (print("looking up", flush=True), time.sleep(3600))
list(Judge("m", "http://no-such-host.example/v1").stream(PAIRS))
""",
}


def start(code, url):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", BEGIN + code, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"},
    )


@pytest.mark.parametrize("what", INTERRUPTED)
def test_ctrl_c_ends_the_stream_at_once_after_the_results_that_arrived(what):
    with ChatServer(ONE_ANSWER) as server, start(INTERRUPTED[what], server.url) as process:
        try:
            first = process.stdout.readline()
            if what == "a silent name server":
                process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert first.strip() in ("0 True", "0 yes", "asking")
    assert process.returncode in (-signal.SIGINT, 130, 1)
    assert "KeyboardInterrupt" in errors
    assert "a-key-of-this-test" not in errors
    assert "never retrieved" not in errors


def run(code, url):
    with start(code, url) as process:
        try:
            out, errors = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert errors == ""
    return out.split()


def test_a_process_can_end_while_a_stream_is_open():
    ended = """
stream = judge.stream(PAIRS)
print(next(stream)[0], flush=True)
"""
    with ChatServer(ONE_ANSWER) as server:
        assert run(ended, server.url) == ["0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_process_can_fork_between_streams():
    forked = """
print(judge.judge(PAIRS[:1])[0].same, flush=True)
child = os.fork()
if not child:
    print(judge.judge(PAIRS[:1])[0].same, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(judge.judge(PAIRS[:1])[0].same, flush=True)
"""
    with ChatServer(ONE_ANSWER) as server:
        assert run(forked, server.url) == ["True"] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_during_a_stream_leaves_both_processes_working():
    forked = """
import warnings; warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn about the thread
from semantic_entropy.plugin import errors
stream = judge.stream(PAIRS[:1] * 30)
print(next(stream)[0] >= 0, flush=True)
child = os.fork()
if not child:
    try:
        for _ in stream: pass
    except errors.EquivalenceError as error:
        print("fork" in str(error), flush=True)
    stream.close()
    print(judge.judge(PAIRS[:1])[0].same, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(sum(1 for _ in stream), flush=True)
"""
    with ChatServer(ONE_ANSWER) as server:
        assert run(forked, server.url) == ["True", "True", "True", "29"]
