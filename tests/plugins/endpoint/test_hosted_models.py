"""Models of hosted services that refuse usual parameters: the LLM judge and the sampler work with their defaults.

The servers here refuse like the services do. The sources are reports of users that quote the messages.
"""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from semantic_entropy import SamplingError, Scorer, estimate, load_equivalence, load_sampler
from tests.plugins.chat_server import ChatServer, choose_by, completion, says, status


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdefghijklmnop")


def refusal(message, parameter=None, code=None, kind="invalid_request_error"):
    return {"error": {"message": message, "type": kind, "param": parameter, "code": code}}


def unsupported(name):
    more = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
    message = f"Unsupported parameter: '{name}' is not supported with this model.{more}"
    return status(400, refusal(message, name, "unsupported_parameter"))


def openai_reasoning_model(body):
    """OpenAI's o-series and gpt-5 (glebm/i18n-tasks#672, tarasglek/chatcraft.org#852); log-probabilities are a 403."""
    if "max_tokens" in body:
        return unsupported("max_tokens")
    if body.get("temperature", 1) != 1:
        message = "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is"
        return status(400, refusal(f"{message} supported.", "temperature", "unsupported_value"))
    if "top_p" in body:
        return unsupported("top_p")
    if "logprobs" in body:
        return status(403, refusal("You are not allowed to request logprobs from this model"))
    return answer(body)


def claude_with_one_of_two(body):
    """Claude Opus 4.1 and later (anomalyco/opencode#1644); `n` must be 1."""
    if body.get("n", 1) != 1:
        return status(400, refusal("n: Input should be 1"))
    if "temperature" in body and "top_p" in body:
        message = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        return status(400, refusal(message))
    return answer(body)


def claude_without_sampling_parameters(body):
    """Claude Opus 4.7 and later (BoltAI/BoltAI#410)."""
    for name in ("temperature", "top_p"):
        if name in body:
            return status(400, refusal(f"`{name}` is deprecated for this model."))
    return claude_with_one_of_two(body)


def mistral(body):
    """A server that names an unknown field in the form of FastAPI."""
    for name in ("seed", "logprobs"):
        if name in body:
            return status(422, {"detail": [{"loc": ["body", name], "msg": "Extra inputs are not permitted"}]})
    return answer(body)


def answer(body):
    if "mean the same" in body["messages"][-1]["content"]:
        return says('{"same": true}')
    return lambda exchange, body: exchange.send(completion(*["It is Paris."] * body.get("n", 1)))


MODELS = {
    "openai": (openai_reasoning_model, {"temperature", "logprobs", "top_p", "max_tokens"}),
    "claude-one-of-two": (claude_with_one_of_two, {"top_p"}),
    "claude": (claude_without_sampling_parameters, {"temperature", "top_p"}),
    "mistral": (mistral, {"seed", "logprobs"}),
}


@pytest.mark.parametrize("model", MODELS)
def test_the_sampler_and_the_judge_work_with_their_defaults(model):
    with ChatServer(choose_by(MODELS[model][0])) as server:
        sampler = load_sampler("openai", model=model, base_url=server.url)
        judge = load_equivalence("judge", model=model, base_url=server.url)
        result = estimate(question="What is the capital of France?", sampler=sampler, n=3)
        judged = estimate(["Paris", "The city of light"], question="Capital of France?", equivalence=judge)
        assert (len(result.labels), result.entropy) == (3, 0)
        assert (judged.labels, judged.provenance.undecided) == ((0, 0), 0)
        assert all("top_p" not in body for body in server.requests)
        assert result.warnings == ()


def test_a_result_names_the_options_that_its_samples_were_drawn_without():
    with ChatServer(choose_by(openai_reasoning_model)) as server:
        options = {"model": "o3", "base_url": server.url, "temperature": 0.7, "top_p": 0.9}
        result = estimate(question="Capital of France?", sampler="openai", sampler_options=options, n=2)
    assert "the server refuses temperature=0.7, top_p=0.9: samples were drawn without it" in result.warnings


def test_a_model_without_temperatures_has_no_greedy_answer_even_after_it_refused_another_temperature():
    with ChatServer(choose_by(openai_reasoning_model)) as server:
        sampler = load_sampler("openai", model="o3", base_url=server.url, temperature=0.7, concurrency=1)
        with Scorer(sampler=sampler, n=2) as scorer:
            scorer.estimate(question="What?")
        server.requests.clear()
        with Scorer(sampler=sampler, n=2, greedy=True) as scorer, pytest.raises(SamplingError) as raised:
            scorer.estimate(question="Capital of France?")
    assert "'temperature' does not support 0 with this model" in str(raised.value)
    assert {body["temperature"] for body in server.requests} == {0}  # no response is paid for


@pytest.mark.parametrize("model", MODELS)
def test_each_refused_value_is_named_once_and_never_sent_again(model, caplog):
    refuses, parameters = MODELS[model]
    options = {"temperature": 0, "top_p": 0.5, "seed": 7, "concurrency": 1}
    with ChatServer(choose_by(refuses)) as server:
        sampler = load_sampler("openai", model=model, base_url=server.url, **options)
        with caplog.at_level(logging.WARNING, "semantic_entropy.endpoint"):
            estimate(question=["a", "b"], sampler=sampler, n=2)
            answered = [body for body in server.requests if not parameters & body.keys()]
            server.requests.clear()
            estimate(question=["c", "d"], sampler=sampler, n=2)
        assert answered
        assert not any(parameters & body.keys() for body in server.requests)
        kept = {"temperature", "top_p", "seed", "logprobs", "max_tokens"} - parameters
        assert all(kept <= body.keys() for body in server.requests)
        assert ("max_completion_tokens" in server.requests[0]) is ("max_tokens" in parameters)
    said = sorted(record.getMessage().partition(" refuses ")[2].partition("=")[0] for record in caplog.records)
    assert said == sorted(parameters - {"max_tokens"})
    assert all(f"for the model {model} (HTTP 4" in record.getMessage() for record in caplog.records)


def test_a_value_outside_a_range_is_an_error_and_is_not_dropped():
    message = "temperature: range: 0..1, but 1.5 was given"
    with ChatServer(choose_by(lambda body: status(400, message) if "temperature" in body else answer(body))) as server:
        sampler = load_sampler("openai", model="m", base_url=server.url, temperature=1.5)
        with pytest.raises(SamplingError, match=message), Scorer(sampler=sampler) as scorer:
            scorer.estimate(question="What?")


def test_the_command_line_prints_the_refused_value():
    with ChatServer(choose_by(openai_reasoning_model)) as server:
        options = [f"--sampler-option={option}" for option in (f"base_url={server.url}", "model=o3", "temperature=0")]
        command = ["-m", "semantic_entropy", "explain", "-q", "Capital of France?", "--sampler", "openai", *options]
        outcome = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    assert "refuses temperature=0 for the model o3 (HTTP 400: Unsupported value" in outcome.stderr
