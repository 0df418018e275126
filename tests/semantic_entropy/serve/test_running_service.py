"""The command as a real process: several workers, kill -9 under load, SIGTERM, the token."""

import contextlib
import doctest
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
import psutil

from semantic_entropy import estimate
from semantic_entropy.serve import launching
from tests.plugins.chat_server import ChatServer, says, slow

TOKEN = "correct-horse-battery"
get, post = partial(httpx.get, timeout=60), partial(httpx.post, timeout=60)  # a busy machine replies slowly


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(*options, module="semantic_entropy", command=("serve",), env=None):
    """Start the command, wait until it is ready, and yield the process and its address."""
    port = free_port()
    arguments = [sys.executable, "-m", module, *command, "--port", str(port), *options]
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        assert any(
            f":{port} (" in line for line in process.stderr
        )  # from now on, a worker that is killed is started again
        yield process, url
    finally:
        try:
            process.terminate()
            process.wait(60)
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def wait_until_ready(url, process):
    for _ in range(1200):
        assert process.poll() is None, process.stderr.read()
        with contextlib.suppress(httpx.HTTPError):
            if get(f"{url}/ready").status_code == 200:
                return
        time.sleep(0.05)
    pytest.fail("the service did not start")


def workers(process):
    """The worker processes: the children that uvicorn spawned, without the resource tracker."""
    found = []
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):  # killed, and not yet noticed
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def group(number):
    """A group whose result tells which request it belongs to."""
    return [f"city {number}"] * (1 + number % 4) + [f"town {number}"] * (1 + number % 3)


class Load:
    """Threads that send requests until they are stopped, and note each outcome."""

    def __init__(self, url, threads=6):
        self.url, self.right, self.wrong, self.failed = url, 0, [], 0
        self._numbers, self._lock, self._stop = iter(range(10**9)), threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for_more(self, count):
        start = self.right
        for _ in range(1200):
            if self.right >= start + count:
                return
            time.sleep(0.05)
        pytest.fail(f"only {self.right - start} of {count} requests were served")

    def _send(self):
        new_connections = httpx.Limits(max_keepalive_connections=0)  # so that both workers get requests
        with httpx.Client(base_url=self.url, limits=new_connections, timeout=30) as client:
            self._send_with(client)

    def _send_with(self, client):
        while not self._stop.is_set():
            with self._lock:
                number = next(self._numbers)
            responses = group(number)
            try:
                reply = client.post("/v1/estimate", json={"responses": responses})
            except httpx.HTTPError:
                with self._lock:
                    self.failed += 1
                continue
            expected = estimate(responses)
            with self._lock:
                if reply.status_code != 200:
                    self.failed += 1
                elif (reply.json()["result"]["answers"], reply.json()["result"]["entropy"]) == (
                    list(expected.answers),
                    expected.entropy,
                ):
                    self.right += 1
                else:
                    self.wrong.append(reply.json())


def test_a_worker_that_is_killed_under_load_loses_nothing_silently_and_is_started_again():
    with running("--workers", "2") as (process, url):
        before = {child.pid for child in workers(process)}
        assert len(before) == 2
        with Load(url) as load:
            load.wait_for_more(30)
            victim = before.pop()
            os.kill(victim, signal.SIGKILL)
            load.wait_for_more(30)
            for _ in range(600):
                now = {child.pid for child in workers(process)}
                if len(now) == 2 and victim not in now:
                    break
                time.sleep(0.1)
            assert len(now) == 2
            load.wait_for_more(30)
        assert load.wrong == []
        metrics = get(f"{url}/metrics").text
    served = re.search(r'requests_total\{route="/v1/estimate",status="200"\} ([\d.]+)', metrics)
    # the counter of the killed worker stays; a request that it counted may have been lost before the client read it
    assert load.right <= float(served[1]) <= load.right + load.failed


def test_the_workers_of_a_killed_service_end_and_free_the_port():
    with running("--workers", "2") as (process, url):
        left = workers(process)
        assert len(left) == 2
        process.kill()
        process.wait(60)
        _, alive = psutil.wait_procs(left, timeout=60)
        assert alive == []
        with pytest.raises(httpx.ConnectError):
            get(f"{url}/health")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_first_commands_of_the_page_give_the_reply_that_it_shows():
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
    start = re.search(r"^semantic-entropy serve (.*)$", page, re.MULTILINE)[1]
    command, shown = (
        re.search(r"^(curl .*)$", page, re.MULTILINE)[1],
        re.search(r"```json\n(.*?)```", page, re.DOTALL)[1],
    )
    with running(*start.split()) as (_, url):
        ask = command.replace("http://127.0.0.1:8000", url)
        done = subprocess.run(ask, shell=True, capture_output=True, text=True, check=True)
    checker = doctest.OutputChecker()
    assert checker.check_output(shown, done.stdout + "\n", doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE), done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page_for_rewards_and_for_another_host_work(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")

    def ran(command, url):
        command = re.sub(r"http://127\.0\.0\.1:8000", url, command)
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, cwd=tmp_path)
        return json.loads(done.stdout)

    start, score = re.search(r"^empo-serve (.*?)  .*\n(curl (?:.*\n)+?)```", page, re.MULTILINE).groups()
    with running(*start.split(), module="empo_rl.serve.cli", command=()) as (_, url):
        (group,) = ran(score, url)["groups"]
    shown = re.search(r"has `rewards` \[2/3, 2/3, 1/3\] and `advantages` \[(.*?)\]\.", page)[1]
    assert [round(value, 2) for value in group["advantages"]] == [float(value) for value in shown.split(",")]
    assert group["rewards"] == pytest.approx([2 / 3, 2 / 3, 1 / 3])

    example = r"^  (\(umask.*)\n  semantic-entropy serve (.*)\n.*\n  (curl .*)\n"
    write, start, ask = re.search(example, page, re.MULTILINE).groups()
    subprocess.run(write.replace("openssl rand -hex 32", f"echo {TOKEN}"), shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / "token").stat().st_mode & 0o077 == 0
    with running(*start.replace("file token", f"file {tmp_path / 'token'}").split()) as (_, url):
        assert ran(ask, url)["decision"]["action"] == "allow"
        assert post(f"{url}/v1/decide", json={"responses": ["a"]}).status_code == 401


def test_sigterm_ends_the_service_after_the_running_requests():
    with ChatServer(slow(1.0, says("yes"))) as server:
        judge = ["--option", "model=m", "--option", f"base_url={server.url}", "--option", "timeout=20"]
        with running("--equivalence", "judge", *judge) as (process, url):
            replies = []

            def send():
                body = {"question": "Who?", "responses": ["Marie Curie", "Pierre Curie"]}
                replies.append(post(f"{url}/v1/estimate", json=body))

            sender = threading.Thread(target=send)
            sender.start()
            while not server.requests:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            sender.join(60)
            process.wait(60)
            assert process.returncode in (0, -signal.SIGTERM)
    assert [reply.status_code for reply in replies] == [200]
    assert replies[0].json()["result"]["labels"] == [0, 0]
    with pytest.raises(httpx.ConnectError):
        get(f"{url}/health")


def test_a_token_from_the_environment_is_needed_and_nothing_of_a_request_is_logged():
    with running(env={"SEMANTIC_ENTROPY_TOKEN": TOKEN}) as (process, url):
        body = {"responses": ["my secret answer", "b"]}
        assert post(f"{url}/v1/estimate", json=body).status_code == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert post(f"{url}/v1/estimate", json=body, headers=headers).status_code == 200
        assert post(f"{url}/v1/estimate", content="my secret", headers=headers).status_code == 415
        process.terminate()
        process.wait(60)
        log = process.stderr.read()
    assert "secret" not in log
    assert TOKEN not in log


def test_the_token_is_in_no_environment_and_no_command_line_of_a_worker():
    with running("--workers", "2", env={"SEMANTIC_ENTROPY_TOKEN": TOKEN}) as (process, url):
        headers = {"X-API-Key": TOKEN}
        mathematics = {"responses": ["$x^2 + 1$", "$1 + x^2$", "$x$"]}  # its judge starts processes of its own
        assert post(f"{url}/v1/estimate", json=mathematics, headers=headers).status_code == 200
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(workers(process)) == 2
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                assert TOKEN not in str([child.environ(), child.cmdline()])


def test_clients_that_send_slowly_or_hang_up_do_not_stop_the_others():
    head = b"POST /v1/estimate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: 90\r\n\r\n{"
    with running() as (process, url), contextlib.ExitStack() as stack:
        port = int(url.rpartition(":")[2])
        for number in range(60):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(head[: 1 + number * 3])  # some end in the headers, some in the body
            if number % 3 == 0:
                client.close()
        body = {"responses": ["Paris", "Paris", "Rome"]}
        assert [post(f"{url}/v1/estimate", json=body).status_code for _ in range(5)] == [200] * 5
        stack.close()
        metrics = get(f"{url}/metrics").text
        assert 'semantic_entropy_requests_total{route="/v1/estimate",status="200"} 5.0' in metrics
        assert process.poll() is None


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_that_cannot_start_ends_with_the_reason(workers, tmp_path):
    (tmp_path / "calibration.json").write_text("{}")
    arguments = ["serve", "--port", str(free_port()), "--workers", workers]
    arguments += ["--calibration", str(tmp_path / "calibration.json")]
    ended = subprocess.run(
        [sys.executable, "-m", "semantic_entropy", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode != 0
    assert "calibration.json is no calibration" in ended.stderr
    assert "Traceback" not in ended.stderr


COMMANDS = [("semantic_entropy", "serve"), ("empo_rl.serve.cli", "--reward-equivalence", "exact")]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("command", COMMANDS, ids=["semantic-entropy serve", "empo-serve"])
def test_a_port_in_use_is_one_line_and_no_address(command, workers):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        arguments = [sys.executable, "-m", *command, "--port", str(port), "--workers", workers]
        ended = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert ended.stdout + ended.stderr == (
        f"Error: port {port} of 127.0.0.1 is in use: choose another --port, or end the program that uses it\n"
    )


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("command", COMMANDS, ids=["semantic-entropy serve", "empo-serve"])
def test_the_address_is_printed_when_the_service_answers_at_it(command, workers):
    arguments = [sys.executable, "-m", *command, "--port", str(free_port()), "--workers", workers, "--fail-above", "1"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr:
                if found := re.match(r"(http://\S+) ", line):
                    break
            # at once, without another try
            assert get(f"{found[1]}/ready").status_code == 200
        finally:
            process.terminate()
            process.stderr.read()


def test_an_address_of_another_machine_is_one_line(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    for host, reason in (("192.0.2.1", "cannot listen on port"), ("no.such.name.invalid", "is not an address")):
        arguments = ["serve", "--host", host, "--token-file", str(tmp_path / "token"), "--port", str(free_port())]
        ended = subprocess.run(
            [sys.executable, "-m", "semantic_entropy", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ended.returncode == 1
        assert ended.stderr.startswith("Error: ")
        assert reason in ended.stderr
        assert ended.stderr.count("\n") == 1


def test_a_port_that_is_taken_while_the_judge_is_loaded_is_one_line():
    port = free_port()
    program = f"""
import socket
from semantic_entropy.serve import ServiceSettings, create_app, run_service

def taken(settings):
    global other
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(("127.0.0.1", {port}))
    other.listen()
    return create_app(settings)

try:
    run_service(ServiceSettings(port={port}), taken, lambda: print("ready"))
except Exception as error:
    print(type(error).__name__, error)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert ended.stdout.startswith(f"InputError port {port} of 127.0.0.1 is in use")


DYING = "import os, signal\n\ndef app(settings):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
FAILING = "def app(settings):\n    raise ValueError\n"


@pytest.mark.parametrize("app", [DYING, FAILING], ids=["killed", "failed"])
def test_workers_that_never_serve_end_the_service_and_are_not_started_for_ever(app, tmp_path):
    (tmp_path / "worker_app.py").write_text(app)
    program = f"""
from semantic_entropy.serve import ServiceSettings, run_service
from worker_app import app

if __name__ == "__main__":
    run_service(ServiceSettings(port={free_port()}, workers=2), app, lambda: print("ready"))
"""
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "a worker process ended before it served: the service ends" in ended.stderr


def test_late_replies_of_a_worker_do_not_delay_the_next_check():
    """A worker that imports for ten seconds has several checks to answer; the address was printed a second late."""
    ours, its = multiprocessing.Pipe()
    worker = SimpleNamespace(exitcode=None, parent_conn=ours, is_ready=lambda timeout: False)
    for has_started in (False, False, True):
        its.send(has_started)
    assert launching._serves(worker)
    assert not ours.poll()
    its.send(True)
    worker.exitcode = -9  # it replied before it was killed
    assert not launching._serves(worker)


def test_ctrl_c_before_the_workers_serve_is_no_failed_start(tmp_path):
    """A terminal sends Ctrl-C to all processes of the command: the workers have ended when the supervisor looks."""
    (tmp_path / "waiting_app.py").write_text("import time\n\ndef app(settings):\n    time.sleep(600)\n")
    program = f"""
from semantic_entropy.serve import ServiceSettings, run_service
from waiting_app import app

if __name__ == "__main__":
    run_service(ServiceSettings(port={free_port()}, workers=2), app, lambda: print("ready"))
"""
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        for _ in range(1200):
            if len(workers(process)) == 2:
                break
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (0, "")
    assert "before it served" not in error


def test_empo_serve_answers_with_several_workers():
    options = ["--workers", "2", "--reward-equivalence", "exact", "--reward-extract", "whole"]
    with running(*options, module="empo_rl.serve.cli", command=()) as (_, url):
        reply = post(f"{url}/v1/score", json={"groups": [{"completions": ["a", "a", "b"]}]})
    assert reply.json()["groups"][0]["rewards"] == pytest.approx([2 / 3, 2 / 3, 1 / 3])
