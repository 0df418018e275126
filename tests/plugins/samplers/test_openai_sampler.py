"""The sampler `openai`: every response that was requested or paid for is reported, whatever the server does."""

from __future__ import annotations

import itertools
import json
import math
import threading

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_entropy import Result, estimate, load_sampler
from semantic_entropy.cli import main
from semantic_entropy.plugin import Request, Sample, SampleFailure, Usage, errors
from semantic_entropy.testing import check_sampler
from semantic_entropy_plugins.samplers.openai_sampler import OpenAISampler
from tests.plugins.chat_server import (
    ChatServer,
    choose_by,
    completion,
    prompt,
    samples,
    says,
    sends,
    silent,
    status,
    with_fast_retries,
)


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def make_sampler(server, **options):
    return with_fast_retries(OpenAISampler("m", server.url, **{"timeout": 10.0, **options}))


def draw(server, *requests, **options):
    return list(make_sampler(server, **options).stream(requests))


def draw_one(server, **options):
    ((_, sample),) = draw(server, Request(0, "q", 1), **options)
    return sample


def test_one_request_asks_for_all_responses():
    with ChatServer(samples()) as server:
        drawn = draw(server, Request(7, "What?", 5), system="Be brief.", extra={"top_k": 3})
    (body,) = server.requests
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}],
        "temperature": 1.0,
        "max_tokens": 1024,
        "logprobs": True,
        "n": 5,
        "top_k": 3,
    }
    assert sorted(sample.text for _, sample in drawn) == [f"sample {i}" for i in range(5)]
    assert {request.index for request, _ in drawn} == {7}


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_missing_responses_are_requested_and_no_later_request_asks_for_more_than_arrived(most):
    with ChatServer(samples(most)) as server:
        sampler = make_sampler(server, concurrency=1)
        first = list(sampler.stream([Request(0, "q", 7)]))
        assert len({sample.text for _, sample in first}) == len(first) == 7
        server.requests.clear()
        second = list(sampler.stream([Request(0, "q", 7)]))
        assert len({sample.text for _, sample in second}) == len(second) == 7
        assert sum(body.get("n", 1) for body in server.requests) == 7
        assert max(body.get("n", 1) for body in server.requests) == most


def limited(most, message="n must be smaller"):
    """A server that refuses a request for more than `most` responses."""
    numbers = samples()
    return choose_by(lambda body: status(400, message) if body.get("n", 1) > most else numbers)


@pytest.mark.parametrize("code", [400, 422])
def test_a_server_that_refuses_n_is_asked_for_one_response_per_request(code):
    numbers = samples()
    with ChatServer(choose_by(lambda body: status(code, "one choice only") if "n" in body else numbers)) as server:
        sampler = make_sampler(server, concurrency=4)
        drawn = list(sampler.stream(Request(i, "q", 3) for i in range(30)))
        assert len({sample.text for _, sample in drawn}) == len(drawn) == 90
        server.requests.clear()
        assert len(list(sampler.stream([Request(0, "q", 3)]))) == 3
        assert not any("n" in body for body in server.requests)


def test_many_refusals_of_n_at_the_same_time_do_not_stop_all_calls():
    barrier, singles = threading.Barrier(25, timeout=20), samples()  # seconds: all are refused before any retry

    def refuse(exchange, body):
        barrier.wait()
        status(400, "one choice only")(exchange, body)

    with ChatServer(choose_by(lambda body: refuse if "n" in body else singles)) as server:
        assert len(draw(server, *(Request(i, "q", 2) for i in range(25)), concurrency=25)) == 50


def test_after_a_refusal_requests_ask_for_as_many_as_the_server_sent_before():
    with ChatServer(limited(4)) as server:
        sampler = make_sampler(server, concurrency=1)
        assert len(list(sampler.stream([Request(0, "q", 4), Request(1, "q", 10), Request(2, "q", 10)]))) == 24
        assert [body.get("n", 1) for body in server.requests] == [4, 10, 1, 4, 4, 1, 4, 4, 2]


def test_a_refusal_for_another_reason_sets_no_limit():
    picky = samples()
    behaviour = choose_by(lambda body: status(400, "context too long") if "long" in prompt(body) else picky)
    with ChatServer(behaviour) as server:
        sampler = make_sampler(server, concurrency=1)
        drawn = list(sampler.stream([Request(0, "long", 3), Request(1, "q", 3), Request(2, "long", 3)]))
        assert [body.get("n", 1) for body in server.requests] == [3, 1, 3, 3]
    failures = [(request.index, entry.reason) for request, entry in drawn if isinstance(entry, SampleFailure)]
    assert failures == [(0, "HTTP 400: context too long"), (2, "HTTP 400: context too long")]
    assert len(drawn) == 5


def test_every_response_to_a_question_has_its_own_seed():
    with ChatServer(samples(1)) as server:
        sampler = make_sampler(server, seed=100, concurrency=1)
        list(sampler.stream([Request(0, "q", 4)]))
        list(sampler.stream([Request(0, "q", 3, first=4)]))
    seeds = [body["seed"] for body in server.requests]
    assert seeds == [100, 101, 102, 103, 104, 105, 106]


def test_without_a_seed_no_seed_is_sent():
    with ChatServer(samples()) as server:
        draw(server, Request(0, "q", 2))
    assert "seed" not in server.requests[0]


def test_responses_that_arrived_are_kept_when_a_later_call_fails():
    numbers = itertools.count()
    behaviour = choose_by(
        lambda body: says(f"s{next(numbers)}") if len(server.requests) < 4 else status(400, "filtered")
    )
    with ChatServer(behaviour) as server:
        drawn = draw(server, Request(0, "q", 9), concurrency=2)
    texts = [entry.text for _, entry in drawn[:-1]]
    assert len(texts) == len(set(texts)) == 3
    failure = drawn[-1][1]
    assert failure.reason == "HTTP 400: filtered"
    # A sample that arrives after a refusal carries the refusal's usage, the failure carries the rest.
    assert sum(entry.usage.requests for _, entry in drawn if entry.usage) == len(server.requests)


def test_the_failure_of_a_request_comes_after_its_samples():
    def behave(exchange, body):
        number = len(server.requests)
        if number == 1:
            says("first")(exchange, body)
        elif number == 2:
            exchange.owner.stopped.wait(0.2)
            says("late")(exchange, body)
        else:
            status(400, "filtered")(exchange, body)

    with ChatServer(behave) as server:
        drawn = draw(server, Request(0, "q", 3), concurrency=2)
    assert [getattr(entry, "text", "failure") for _, entry in drawn] == ["first", "late", "failure"]


def test_a_request_is_taken_only_when_a_slot_is_free():
    taken = []

    def source():
        for index in range(1000):
            taken.append(index)
            yield Request(index, str(index), 2)

    with ChatServer(samples()) as server:
        stream = make_sampler(server, concurrency=3).stream(source())
        next(stream)
        assert len(taken) == 3
        stream.close()


def test_samples_arrive_with_their_reply():
    with ChatServer(choose_by(lambda body: silent if prompt(body) == "slow" else samples())) as server:
        stream = make_sampler(server, timeout=3600).stream([Request(0, "slow", 2), Request(1, "q", 2)])
        assert [next(stream)[0].index, next(stream)[0].index] == [1, 1]
        stream.close()


def test_a_request_for_zero_responses_is_ignored():
    with ChatServer(samples()) as server:
        assert draw(server, Request(0, "q", 0), Request(1, "r", 1), Request(2, "s", 0))[0][0].index == 1
        assert draw(server) == []
    assert len(server.requests) == 1


@settings(max_examples=25)
@given(
    wanted=st.lists(st.integers(0, 7), max_size=6),
    most=st.integers(1, 8),
    refuses=st.integers(1, 8),
    concurrency=st.integers(1, 4),
)
def test_every_request_gets_all_its_responses_whatever_the_server_sends(wanted, most, refuses, concurrency):
    numbers = samples(most)
    with ChatServer(choose_by(lambda body: status(400, "n") if body.get("n", 1) > refuses else numbers)) as server:
        drawn = draw(server, *(Request(i, "q", n) for i, n in enumerate(wanted)), concurrency=concurrency)
        arrived = [request.index for request, _ in drawn]
    assert [arrived.count(i) for i in range(len(wanted))] == wanted
    assert len({sample.text for _, sample in drawn}) == sum(wanted)


LOGPROBS = {"content": [{"token": "Par", "logprob": -0.5}, {"token": "is", "logprob": -0.25}]}


def test_log_probabilities_are_kept_in_nats():
    with ChatServer(says("Paris", logprobs=LOGPROBS)) as server:
        sample = draw_one(server)
    assert (sample.logprobs, sample.tokens) == ((-0.5, -0.25), ("Par", "is"))


def _of_bytes(data, name="?"):
    return {"token": name, "bytes": list(data), "logprob": -0.5}


@pytest.mark.parametrize(
    ("text", "content", "expected"),
    [
        ("a \u20ac", [_of_bytes(b"a "), _of_bytes(b"\xe2\x82"), _of_bytes(b"\xac")], ("a ", "", "\u20ac")),
        ("Paris", [*LOGPROBS["content"], {"token": "<|end|>", "logprob": -0.1}], ("Par", "is", "")),
        (" Rome\n", [{"token": " Ro", "logprob": -1}, {"token": "me\n", "logprob": -1}], ("Ro", "me")),
        ("\u20ac", [{"token": r"\xe2\x82", "logprob": -1}, {"token": r"\xac", "logprob": -1}], None),  # names, no bytes
        ("", [{"token": "<|end|>", "logprob": -0.1}], ("",)),
    ],
)
def test_tokens_are_the_parts_of_the_text_that_they_write(text, content, expected):
    with ChatServer(says(text, logprobs={"content": content})) as server:
        sample = draw_one(server)
    assert len(sample.logprobs) == len(content)
    assert sample.tokens == expected


def test_token_sar_of_sampled_responses_compares_their_tokens(tmp_path):
    content = [{"token": "It is", "logprob": -1.0}, {"token": " Paris", "logprob": -3.0}]
    with ChatServer(says("It is Paris", logprobs={"content": content})) as server:
        for _ in range(2):  # drawn, then read from the file
            given = {"question": "q", "n": 2, "samples": tmp_path / "s.jsonl", "sampler": make_sampler(server)}
            result = estimate(equivalence="exact", estimator="token_sar", **given)
            # without " Paris" one of three words differs, without "It is" two: relevance 1/3 and 2/3
            assert result.scores["token_sar"] == pytest.approx(3.0 / 3 + 1.0 * 2 / 3)
            assert Result.from_dict(result.to_dict()).samples == result.samples
        assert len(server.requests) == 2


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": [{"token": "Par"}]}])
def test_samples_have_no_log_probabilities_if_the_server_sends_none(logprobs):
    with ChatServer(says("Paris", logprobs=logprobs)) as server:
        assert draw_one(server).logprobs is None


def test_refused_log_probabilities_are_not_requested_again():
    picky = choose_by(lambda body: status(400, "logprobs are not available") if "logprobs" in body else samples())
    with ChatServer(picky) as server:
        drawn = draw(server, Request(0, "q", 2), Request(1, "q", 2), concurrency=1)
        assert ["logprobs" in body for body in server.requests] == [True, False, False]
        assert [body["n"] for body in server.requests] == [2, 2, 2]
    assert len(drawn) == 4


def tokens(*texts):
    return {"content": [{"token": text, "logprob": -i / 8} for i, text in enumerate(texts)]}


def _with_alternative(token, logprob, other):
    top = [{"token": token, "logprob": logprob}, {"token": "x", "logprob": other}]
    return {"token": token, "logprob": logprob, "top_logprobs": top}


TOP = {"content": [_with_alternative(*each) for each in (("so", -0.1, -3), ("Par", -0.5, -1), ("is", -0.25, -2))]}


def test_the_alternatives_of_the_text_s_tokens_are_requested_and_kept():
    with ChatServer(says("Paris", logprobs=TOP, message={"reasoning_content": "so"})) as server:
        sample = draw_one(server, top_logprobs=15)
        assert (server.requests[0]["logprobs"], server.requests[0]["top_logprobs"]) == (True, 15)
    assert sample.logprobs == (-0.5, -0.25)
    assert sample.top_logprobs == ((-0.5, -1.0), (-0.25, -2.0))


def test_a_sample_has_no_alternatives_if_a_token_has_none():
    mixed = {"content": [*TOP["content"], {"token": "!", "logprob": -1.0, "top_logprobs": []}]}
    for logprobs in (LOGPROBS, mixed):
        with ChatServer(says("Paris", logprobs=logprobs)) as server:
            assert draw_one(server, top_logprobs=5).top_logprobs is None


def test_alternatives_are_not_requested_from_a_server_that_refuses_log_probabilities():
    picky = choose_by(lambda body: status(400, "logprobs are not available") if "logprobs" in body else samples())
    with ChatServer(picky) as server:
        draw_one(server, top_logprobs=5)
        assert ["top_logprobs" in body for body in server.requests] == [True, False]


def test_drawn_alternatives_reach_an_estimator_and_a_sample_file(tmp_path):
    with ChatServer(says("Paris", logprobs={"content": TOP["content"][1:]})) as server:
        for _ in range(2):  # the second call reads the file
            result = estimate(
                question="q", n=1, samples=tmp_path / "s.jsonl", sampler=make_sampler(server, top_logprobs=2),
                estimator="epr",
            )  # fmt: skip
            expected = sum(-math.exp(x) * x for x in (-0.5, -1.0, -0.25, -2.0)) / 2
            assert result.scores["epr"] == pytest.approx(expected)
        assert len(server.requests) == 1


SEPARATE_REASONING = [  # tokens, the text, positions of the text's tokens
    (("so", "</think>", "\n\n", "Par", "is", "<|end|>"), "Paris", (3, 4, 5)),
    (("Par", "is"), "Paris", (0, 1)),  # the reasoning's tokens are not included
    (("Paris", "?", "</think>", "Par", "is"), "Paris", (3, 4)),
    (("quite", " other"), "Paris", None),
    (("so",), "", None),
]


@pytest.mark.parametrize(("all_tokens", "text", "own"), SEPARATE_REASONING)
def test_log_probabilities_of_separate_reasoning_are_dropped(all_tokens, text, own):
    message = {"reasoning_content": "so Paris?"}
    with ChatServer(says(text, logprobs=tokens(*all_tokens), message=message)) as server:
        sample = draw_one(server)
    assert sample.reasoning == "so Paris?"
    assert sample.logprobs == (None if own is None else tuple(-i / 8 for i in own))


RESPONSES = [
    (says(None), Sample("", finish_reason="stop")),
    (says(""), Sample("", finish_reason="stop")),
    (says("cut o", finish_reason="length"), Sample("cut o", finish_reason="length")),
    (says("", finish_reason="content_filter"), Sample("", finish_reason="content_filter")),
    (says("x", finish_reason=None), Sample("x")),
    (says("<think>so</think>x"), Sample("<think>so</think>x", finish_reason="stop")),
    (says(None, message={"refusal": "I can't."}), Sample("I can't.", finish_reason="stop")),
]


@pytest.mark.parametrize(("behaviour", "expected"), RESPONSES)
def test_every_response_is_a_sample(behaviour, expected):
    with ChatServer(behaviour) as server:
        sample = draw_one(server)
    assert (sample.text, sample.finish_reason, sample.reasoning) == (expected.text, expected.finish_reason, None)


def test_usage_is_shared_among_the_samples():
    with ChatServer(says("a" * 9, "b" * 19, "c" * 29, usage=(100, 61))) as server:
        drawn = draw(server, Request(0, "q", 3), input_price=1.0, output_price=2.0)
    usages = [sample.usage for _, sample in drawn]
    assert usages[0] == Usage(1, 100, 10, pytest.approx((100 + 20) / 1e6))
    assert usages[1:] == [Usage(0, 0, 20, pytest.approx(40 / 1e6)), Usage(0, 0, 31, pytest.approx(62 / 1e6))]


def test_tokens_with_log_probabilities_are_counted_if_the_server_reports_fewer():
    with ChatServer(says("ab", "cd", logprobs=tokens("a", "b", "c"), usage=(10, 3))) as server:  # llama.cpp with n=2
        drawn = draw(server, Request(0, "q", 2))
    assert [sample.usage.output_tokens for _, sample in drawn] == [3, 3]


@settings(max_examples=15)
@given(st.lists(st.text("ab", max_size=5), min_size=1, max_size=6), st.integers(0, 50))
def test_shared_usage_adds_up_to_the_total(texts, used):
    with ChatServer(says(*texts, usage=(7, used))) as server:
        drawn = draw(server, Request(0, "q", len(texts)))
    total = sum((sample.usage for _, sample in drawn), Usage())
    assert (total.requests, total.input_tokens, total.output_tokens) == (1, 7, used)
    assert all(sample.usage.output_tokens >= 0 for _, sample in drawn)


def test_a_failure_is_transient_only_if_the_server_failed():
    def failure(behaviour, **options):
        with ChatServer(behaviour) as server:
            return draw(server, Request(0, "q", 2), **options)[-1][1]

    assert failure(status(500), retries=1).transient
    assert not failure(status(400, "filtered")).transient


def test_after_an_outage_the_same_command_requests_the_missing_responses(tmp_path):
    source, output = tmp_path / "q.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"id": i, "question": f"number {i}"}) + "\n" for i in range(17)))
    command = ["estimate", str(source), "-o", str(output), "--sampler", "openai", "-n", "2"]
    with ChatServer(status(500)) as server:
        command += ["--sampler-option", "model=m", "--sampler-option", f"base_url={server.url}"]
        down = CliRunner().invoke(main, [*command, "--sampler-option", "retries=0"])
        port = server.port
    assert "17 bad rows: see" in down.output
    assert "17 of the bad rows got no response: run the same command again to retry them" in down.output
    with ChatServer(samples(), port=port):
        up = CliRunner().invoke(main, command)
    assert up.exit_code == 0, up.output
    assert [json.loads(line)["id"] for line in output.read_text().splitlines()] == list(range(17))


def test_a_long_wait_is_logged_by_the_cli_only(monkeypatch, capfd, tmp_path):
    monkeypatch.setattr("semantic_entropy_plugins.endpoint.retry._LOGGED_WAIT", 0.0)
    (tmp_path / "q.jsonl").write_text('{"question": "one"}\n{"question": "two"}\n')
    busy = status(503, "no room")
    with ChatServer(busy, busy, busy, samples()) as server:
        options = ["model=m", f"base_url={server.url}"]
        command = ["estimate", str(tmp_path / "q.jsonl"), "-n", "1", "--sampler", "openai"]
        result = CliRunner().invoke(main, [*command, *(part for one in options for part in ("--sampler-option", one))])
        lines = [line for line in result.stderr.splitlines() if line.startswith("waiting: ")]
        assert lines == [f"waiting: {server.url}: HTTP 503: no room; trying again in {lines[0].split()[-2]} s"]
    with ChatServer(busy, samples()) as server:
        draw(server, Request(0, "q", 1))
    assert "no room" not in capfd.readouterr().err


def test_after_the_token_budget_each_remaining_request_fails():
    with ChatServer(samples(usage=(50, 50))) as server:
        drawn = draw(server, *(Request(i, "q", 2) for i in range(5)), token_budget=150, concurrency=1)
    failures = [entry.reason for _, entry in drawn if isinstance(entry, SampleFailure)]
    assert failures == ["the token budget of 150 is spent"] * 3
    assert len(drawn) == 2 * 2 + 3


def test_a_server_that_does_not_run_raises_sampling_error():
    with ChatServer(samples()) as server:
        url = server.url
    with pytest.raises(errors.SamplingError, match="Is the server running"):
        list(OpenAISampler("m", url).stream([Request(0, "q", 1)]))


def test_samples_arrive_before_a_later_fatal_error():
    with ChatServer(says("a", "b"), status(401, "key withdrawn")) as server:
        drawn = []
        with pytest.raises(errors.SamplingError, match="key withdrawn"):
            drawn += make_sampler(server, concurrency=1).stream(Request(i, "q", 2) for i in range(5))
    assert [sample.text for _, sample in drawn] == ["a", "b"]


@pytest.mark.parametrize("most", [None, 1, 2])
def test_it_passes_the_conformance_checks(most):
    with ChatServer(samples(most)) as server:
        check_sampler(make_sampler(server, seed=1))


def test_settings_hold_exactly_what_a_sample_depends_on():
    def settings_of(**options):
        return OpenAISampler(**{"model": "m", "base_url": "http://127.0.0.1:1/v1", **options}).settings

    assert settings_of() == settings_of(api_key="another-key", concurrency=2, timeout=5, retries=0, token_budget=5)
    different = [
        {"model": "n"},
        {"base_url": "http://127.0.0.1:2/v1"},
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"max_tokens": 5},
        {"seed": 0},
        {"system": "x"},
        {"logprobs": False},
        {"top_logprobs": 5},
        {"extra": {"top_k": 1}},
    ]
    assert len({settings_of(), *(settings_of(**options) for options in different)}) == len(different) + 1
    assert json.loads(json.dumps(settings_of())) == list(settings_of())


def test_it_is_found_by_name_and_describe_shows_the_options_that_are_not_defaults():
    found = load_sampler("openai", model="m", api_key="a-secret-key")
    assert isinstance(found, OpenAISampler)
    assert found.describe() == "openai(model='m')"
    shown = OpenAISampler("m", "http://127.0.0.1:1/v1", temperature=0.7, system="Be brief.").describe()
    assert shown == "openai(model='m', base_url='http://127.0.0.1:1/v1', temperature=0.7, system='Be brief.')"


OPTIONS = [
    ({"top_p": 0}, "top_p=0"),
    ({"top_logprobs": 21}, "top_logprobs=21"),
    ({"top_logprobs": 5, "logprobs": False}, "top_logprobs=5 needs logprobs=True"),
    ({"top_p": 1.5}, "top_p=1.5"),
    ({"temperature": "1"}, "temperature='1'"),
    ({"system": ""}, "system=''"),
    ({"extra": {"n": 5}}, "extra holds 'n'"),
    ({"model": None}, "model=None"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_an_invalid_option_is_refused_at_construction(options, message):
    with pytest.raises(errors.OptionError) as raised:
        load_sampler("openai", **{"model": "m", **options})
    assert message in str(raised.value)


def measured_usage(*behaviours, questions, n=1, **options):
    """The usage in each question's result, and the tokens that the endpoint counted."""
    with ChatServer(*behaviours) as server:
        sampler = make_sampler(server, concurrency=1, retries=0, input_price=1.0, output_price=1.0, **options)
        results = estimate(question=questions, sampler=sampler, n=n)
    return [result.provenance.sampling_usage for result in results], sampler.endpoint.tokens_used


def test_the_usage_of_a_call_without_responses_is_in_the_result():
    nothing = sends(json.dumps({**completion("x", usage=(1000, 500)), "choices": []}).encode())
    usages, counted = measured_usage(nothing, says("ok", usage=(1000, 5)), questions=["a", "b"])
    assert usages == [Usage(1, 1000, 500, 1500e-6), Usage(1, 1000, 5, 1005e-6)]
    assert counted == 2505


def test_the_usage_of_a_refusal_is_in_the_result_of_the_smaller_requests():
    refusal = {"error": {"message": "n is too large"}, "usage": {"prompt_tokens": 70, "completion_tokens": 0}}
    (usage,), counted = measured_usage(status(400, refusal), samples(usage=(10, 2)), questions=["a"], n=3)
    assert usage == Usage(4, 100, 6, pytest.approx(106e-6))
    assert counted == 106


def test_prompts_of_estimators_are_asked_without_the_options_of_the_users_questions(tmp_path):
    top = [{"token": token, "logprob": math.log(p)} for token, p in (("A", 0.75), ("B", 0.25))]
    said = completion("A", logprobs={"content": [{"token": "A", "logprob": math.log(0.75), "top_logprobs": top}]})
    with ChatServer(lambda exchange, _: exchange.send(said)) as server:
        for _ in range(2):
            sampler = make_sampler(server, system="Be brief.", top_p=0.5, seed=3)
            result = estimate(
                ["Rome", "Paris"],
                question="Capital of Italy?",
                estimator=["discrete", "p_true"],
                sampler=sampler,
                samples=tmp_path / "samples.jsonl",
            )
    assert result.scores["p_true"] == pytest.approx(0.75)
    assert result.provenance.replies_usage.input_tokens == 10
    (body,) = server.requests  # the second run found the reply in the file
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert {name: body.get(name) for name in ("temperature", "top_p", "seed", "logprobs", "top_logprobs", "n")} == {
        "temperature": 0.0,
        "top_p": None,
        "seed": None,
        "logprobs": True,
        "top_logprobs": 20,
        "n": None,
    }


def test_top_tokens_need_top_logprobs():
    with pytest.raises(errors.OptionError, match="needs top_logprobs=K"):
        OpenAISampler("m", top_tokens=True)


def test_the_greedy_answer_has_one_request_at_temperature_0_through_the_same_endpoint():
    def answers(body):
        return says("cold", usage=(10, 3)) if body["temperature"] == 0 else samples()

    with ChatServer(choose_by(answers)) as server:
        sampler = make_sampler(server, seed=5, top_p=0.9, input_price=1, output_price=1)
        greedy = sampler.greedy_sampler()
        result = estimate(question="q", sampler=sampler, n=4, greedy=True)
        assert greedy.settings != sampler.settings
        assert greedy.greedy_sampler().settings == greedy.settings
        first, second = server.requests
        assert {**second, "temperature": 0} == {**first, "n": 4}
        assert (result.greedy_sample.text, result.greedy_sample.usage) == ("cold", Usage(1, 10, 3, 1.3e-05))
        assert result.provenance.sampling_usage == Usage(2, 20, 5, 2.5e-05)
