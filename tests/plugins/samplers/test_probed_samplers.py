"""`semantic-entropy doctor --sampler` as a process, with servers that draw, repeat or cache, and with real models."""

import itertools
import json
import threading
import time

import pytest

from tests.plugins.chat_server import ChatServer, completion, says, status
from tests.plugins.tiny_samplers import checkpoint
from tests.semantic_entropy.cli.command import call

_NUMBERS = itertools.count()


def reply(*texts, tops=2):
    """A reply like those of OpenAI, with an id and a time, and log-probabilities of 20 tokens a text."""
    token = {
        "token": "a",
        "logprob": -0.5,
        "top_logprobs": [{"token": str(i), "logprob": -0.5 - i} for i in range(tops)],
    }
    body = completion(*texts, logprobs={"content": [token] * 20})
    return {**body, "id": f"chatcmpl-{next(_NUMBERS)}", "created": int(time.time())}


def draws(exchange, body):
    exchange.send(reply(*(f"Story {next(_NUMBERS)}." for _ in range(body.get("n", 1)))))


def temperature_0(exchange, body):
    exchange.send(reply(*["The same story."] * body.get("n", 1)))


def one_each(exchange, _):
    exchange.send(reply(f"Story {next(_NUMBERS)}."))


class Cache:
    """A proxy that sends its first reply to a request again."""

    def __init__(self, behaviour):
        self._texts, self._kept, self._lock = behaviour, {}, threading.Lock()

    def __call__(self, exchange, body):
        with self._lock:
            key = json.dumps(body, sort_keys=True)
            if key not in self._kept:
                self._kept[key] = reply(*self._texts(body.get("n", 1)))
        exchange.send(self._kept[key])


def probed(*behaviours, options=(), **more):
    with ChatServer(*behaviours) as server:
        given = [f"base_url={server.url}", "model=m", "api_key=", "retries=0", *options]
        arguments = [part for option in given for part in ("--sampler-option", option)]
        done = call("doctor", "--sampler", "openai", *arguments, "--json", **more)
    return done.returncode, {each["name"]: each for each in json.loads(done.stdout)} if done.stdout else done.stderr


def test_a_server_that_draws_is_fine():
    code, found = probed(draws, options=["top_logprobs=2", "input_price=1", "output_price=1"])
    assert code == 0, found
    assert found["variety"]["detail"].startswith("8 different texts in 8 answers")
    assert found["logprobs"]["detail"] == "with 8 of 8 responses"
    assert found["top_logprobs"]["detail"] == "with 8 of 8 responses, 2 a token"
    assert found["cost"]["detail"].startswith("2 requests, 20 tokens in, 160 out, cost ")
    assert "note" not in found


def test_a_server_without_choices_is_asked_once_for_each_response():
    code, found = probed(one_each)
    assert code == 0, found
    assert found["variety"]["detail"].startswith("8 different texts in 8 answers")
    assert found["cost"]["detail"].startswith("8 requests")


def test_a_server_with_temperature_0_is_found():
    code, found = probed(temperature_0)
    assert code == 1
    assert found["variety"]["detail"].startswith("all 8 answers are the same text, 'The same story.'")
    assert "1 in 10^30" in found["variety"]["detail"]  # 20 tokens of -0.5, 7 times
    assert "note" not in found


def test_a_cache_that_repeats_different_answers_is_found():
    cache = Cache(lambda n: [f"Story {i}." for i in range(n)])
    code, found = probed(cache)
    assert code == 1
    assert "4 different answers, and the second request got the same ones" in found["variety"]["detail"]
    assert found["note"]["detail"].startswith("replies that the server sent before: 1 (the same id, time and texts)")


def test_a_cache_of_single_answers_is_told_from_temperature_0_by_the_ids():
    cache = Cache(lambda _: ["The same story."])
    code, found = probed(cache)
    assert code == 1
    assert found["variety"]["detail"].startswith("all 8 answers are the same text")
    assert "a cache answers" in found["note"]["detail"]


def test_a_seed_of_the_user_is_no_cache():
    cache = Cache(lambda n: [f"Story {next(_NUMBERS)}." for _ in range(n)])
    code, found = probed(cache, options=["seed=5"])
    assert code == 0, found
    assert "note" not in found


def test_a_server_that_fails_is_an_error_with_its_reason():
    code, message = probed(status(401, "wrong key"))
    assert code == 1
    assert "wrong key" in message


def test_a_server_without_log_probabilities_is_a_warning():
    code, found = probed(says("One."), says("Two."), says("Three."), says("Four."), says("Five."), says("Six."))
    assert found["logprobs"] == found["logprobs"] | {"ok": False, "needed": False}
    assert code == 0


def test_what_a_server_sends_cannot_control_the_terminal():
    with ChatServer(says("\x1b[2Jevil")) as server:
        options = [f"base_url={server.url}", "model=m", "api_key="]
        arguments = [part for option in options for part in ("--sampler-option", option)]
        done = call("doctor", "--sampler", "openai", *arguments)
    assert done.returncode == 1
    assert "evil" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(("temperature", "code"), [(1, 0), (0, 1)])
def test_a_model_of_this_machine_is_probed(temperature, code, tmp_path):
    folder = checkpoint(tmp_path)
    options = [f"model={folder}", f"temperature={temperature}", "max_tokens=12", "device=cpu"]
    arguments = [part for option in options for part in ("--sampler-option", option)]
    done = call("doctor", "--sampler", "hf", *arguments, "--json", "-n", 2)
    assert done.returncode == code, done.stderr
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert found["variety"]["ok"] is (code == 0)
    assert found["logprobs"]["ok"]
    if code:
        assert "all 4 answers are the same text" in found["variety"]["detail"]
        assert "the chance of that for independent answers is 1 in 10^" in found["variety"]["detail"]


def test_options_of_a_sampler_need_a_sampler():
    done = call("doctor", "--sampler-option", "model=m")
    assert done.returncode == 2
    assert "need --sampler NAME" in done.stderr
