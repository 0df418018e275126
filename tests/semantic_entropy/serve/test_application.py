import asyncio
import json
import math
import threading
import time

import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from semantic_entropy import estimate, register
from semantic_entropy.cli import main
from semantic_entropy.decisions import Calibration, decide
from semantic_entropy.plugin import Equivalence, Verdict
from semantic_entropy.serve import ServiceSettings, create_app
from semantic_entropy.serve.gateways.litellm_guardrail import GUARDRAIL_PATH
from tests.plugins.chat_server import ChatServer, says, status
from tests.semantic_entropy.serve.serving import ask, post, sampler_choices, serving

ANSWERS = ["Paris", "It is Paris.", "Rome"]


def plain(**settings):
    return create_app(ServiceSettings(**settings))


def numbers(result):
    return {
        name: result[name] for name in ("entropy", "normalized", "labels", "answer", "answers", "scores", "n_valid")
    }


def test_estimate_returns_the_result_of_estimate():
    reply = post(plain(), "/v1/estimate", {"responses": ANSWERS, "question": "Capital of France?"})
    assert reply.status_code == 200
    assert numbers(reply.json()["result"]) == numbers(estimate(ANSWERS, question="Capital of France?").to_dict())


def test_log_probabilities_are_evidence():
    tokens = [[-0.1], [-0.2, -0.3], [-1.0]]
    reply = post(plain(), "/v1/estimate", {"responses": ANSWERS, "logprobs": tokens, "interval": True})
    expected = estimate(ANSWERS, logprobs=tokens)
    assert reply.json()["result"]["scores"] == pytest.approx(expected.to_dict()["scores"])
    assert len(expected.scores) > len(estimate(ANSWERS).scores)
    assert reply.json()["result"]["interval"]["entropy"] == pytest.approx(list(expected.interval.entropy))


def test_concurrent_requests_get_the_results_of_their_own_responses():
    groups = [[f"city {i}", f"city {i}", f"town {i % 3}"] for i in range(40)]

    async def run():
        async with serving(plain(queue=100)) as client:
            return await asyncio.gather(*(client.post("/v1/estimate", json={"responses": group}) for group in groups))

    for group, reply in zip(groups, asyncio.run(run()), strict=True):
        assert numbers(reply.json()["result"]) == numbers(estimate(group).to_dict())


def test_a_request_that_cannot_be_measured_fails_alone_in_its_batch():
    good, bad = {"responses": ANSWERS, "logprobs": [[-1.0]] * 3}, {"responses": ANSWERS, "logprobs": [[-1.0]]}

    async def run():
        async with serving(plain(threads=1)) as client:
            return await asyncio.gather(*(client.post("/v1/estimate", json=body) for body in [good, bad, good, good]))

    replies = asyncio.run(run())
    assert [reply.status_code for reply in replies] == [200, 422, 200, 200]
    assert "log-probabilities" in replies[1].json()["detail"]


def test_an_entropy_that_is_not_known_is_null_with_a_reason_and_the_decision_is_defer():
    reply = post(plain(fail_above=1.0), "/v1/decide", {"responses": ["I don't know.", "", "Paris"]})
    fields = json.loads(reply.text, parse_constant=pytest.fail)
    assert fields["decision"]["action"] == "defer"
    assert fields["answer"] is None
    assert fields["result"]["normalized"] is None
    assert "1 of 3 answers are valid" in fields["result"]["null_reason"]


@pytest.mark.parametrize(
    ("limit", "answers", "action"),
    [
        (0.7, ANSWERS, "allow"),
        (0.6, ANSWERS, "defer"),
        (0.7, [*ANSWERS, "I don't know."], "defer"),
        (0, ["a"], "defer"),
        (0.7, ["Paris", "It is Paris."], "defer"),
        (0.7, ["Paris", "It is Paris.", ""], "defer"),
    ],
)
def test_the_limit_of_the_entropy_decides(limit, answers, action):
    reply = post(plain(fail_above=limit), "/v1/decide", {"responses": answers}).json()
    assert reply["decision"]["action"] == action
    assert reply["answer"] == ("Paris" if action == "allow" else None)


def test_the_fewest_answers_of_a_decision_are_those_of_the_command(tmp_path):
    body = {"responses": ["Paris", "It is Paris."]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(body))
    reason = "2 of 2 answers are valid, and a decision needs 3 (min_samples)"
    for limit, action, ends in (([], "defer", 3), (["--min-samples", "2"], "allow", 0)):
        decision = post(plain(fail_above=0.7, **({"min_samples": 2} if limit else {})), "/v1/decide", body).json()
        command = ["estimate", str(tmp_path / "rows.jsonl"), "--fail-above", "0.7", "--quiet", *limit]
        ended = CliRunner().invoke(main, command)
        assert (decision["decision"]["action"], ended.exit_code) == (action, ends)
        assert (reason in ended.stderr) is (reason in decision["decision"]["reasons"]) is (action == "defer")


def test_without_a_rule_every_decision_is_that_of_decide():
    reply = post(plain(), "/v1/decide", {"responses": ANSWERS}).json()
    assert reply["decision"] == decide(estimate(ANSWERS)).to_dict()


def calibration_file(path):
    """A calibration of the score `discrete` for the judge text, of 3 responses, learned from 400 rows."""
    from semantic_entropy.evaluation import calibrate

    rows = []
    for number in range(400):
        certain = number % 2 == 0
        answers = ["Paris"] * 3 if certain else ["Paris", "Rome", "Lyon"]
        result = estimate(answers, question=f"question {number}?", equivalence="text", model="m")
        rows.append({**result.to_dict(), "question": f"question {number}?", "correct": certain})
    calibrate(rows).calibration.save(path)
    return path


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    pytest.importorskip("sklearn")
    return str(calibration_file(tmp_path_factory.mktemp("calibration") / "calibration.json"))


def test_a_calibration_decides_as_the_function_decide(calibration):
    choices = {"equivalence": "text", "model": "m"}
    app = plain(choices=choices, calibration=calibration)
    for answers in (["Paris"] * 3, ["Paris", "Rome", "Lyon"], ["Paris"] * 5):
        reply = post(app, "/v1/decide", {"responses": answers}).json()["decision"]
        expected = decide(estimate(answers, **choices), Calibration.load(calibration))
        assert reply == expected.to_dict()
    assert post(app, "/v1/decide", {"responses": ["Paris"] * 3}).json()["decision"]["action"] == "allow"


def test_the_stricter_one_of_two_rules_holds(calibration):
    app = plain(choices={"equivalence": "text", "model": "m"}, calibration=calibration, fail_above=1.2)
    reply = post(app, "/v1/decide", {"responses": ["Paris", "Rome", "Lyon"]}).json()["decision"]
    assert reply["action"] == "block"
    assert reply["p_wrong"] is not None


def test_a_question_alone_is_asked_of_the_sampler():
    with ChatServer(says("Paris", "Paris", "It is Paris.", "Rome", "Paris")) as server:
        app = plain(choices=sampler_choices(server), fail_above=0.7)
        reply = post(app, "/v1/decide", {"question": "Capital of France?"}).json()
    assert reply["result"]["entropy"] == pytest.approx(-(0.8 * math.log(0.8) + 0.2 * math.log(0.2)))
    assert reply["answer"] == "Paris"
    assert reply["result"]["provenance"]["n"] == 5


class Counting(Equivalence):
    """Counts how many threads judge at the same time."""

    name = "counting"
    lock, running, most = threading.Lock(), 0, 0

    def judge(self, pairs):
        with self.lock:
            Counting.running += 1
            Counting.most = max(Counting.most, Counting.running)
        time.sleep(0.02)
        with self.lock:
            Counting.running -= 1
        return [Verdict(pair.left[:1] == pair.right[:1]) for pair in pairs]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_threads_of_the_sampler_do_not_judge_more_groups_at_once_than_the_settings_allow(threads):
    Counting.most = 0
    register("equivalence", "counting", Counting)
    with ChatServer(says("Paris", "Prague", "Rome", "Lima", "Oslo")) as server:
        app = plain(choices={**sampler_choices(server), "equivalence": "counting"}, threads=threads, fail_above=0.7)

        async def run():
            async with serving(app) as client:
                bodies = [{"question": f"Question {n}?", "answer": "Paris"} for n in range(6)]
                checks = [client.post("/verify", json=body) for body in bodies]
                measured = [client.post("/v1/estimate", json={"responses": [f"a{n}", f"b{n}"]}) for n in range(6)]
                drawn = [client.post("/v1/estimate", json={"question": f"Other {n}?"}) for n in range(6)]
                return await asyncio.gather(*checks, *measured, *drawn)

        assert {reply.status_code for reply in asyncio.run(run())} == {200}
    assert 1 <= Counting.most <= threads


def test_a_sampler_that_fails_is_status_502():
    with ChatServer(status(401, "no such key")) as server:
        reply = post(plain(choices=sampler_choices(server)), "/v1/estimate", {"question": "Capital of France?"})
    assert reply.status_code == 502
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "field", "fix"),
    [
        ({}, "body.responses", "--sampler"),
        ({"responses": []}, "body.responses", "at least 1 item"),
        ({"responses": "Paris"}, "body.responses", "a valid list"),
        ({"responses": ["a", 3]}, "body.responses.1", "a valid string"),
        ({"respones": ["a"]}, "body.respones", "correct its name"),
        ({"responses": ["a"] * 65}, "body.responses", "--max-responses"),
        ({"responses": ["a"], "logprobs": [[0.5]]}, "body.logprobs.0.0", "less than or equal to 0"),
    ],
)
def test_an_error_names_the_field_the_value_and_the_fix(body, field, fix):
    reply = post(plain(), "/v1/estimate", body)
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"
    (error,) = reply.json()["errors"]
    assert error["field"] == field
    assert fix in error["fix"] + error["problem"]
    assert error["value"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b"9" * 10_000, b"null", b'{"responses": NaN}', b""])
def test_a_body_that_is_not_the_documented_json_is_an_error_of_the_client(body):
    call = ("POST", "/v1/estimate", {"content": body, "headers": {"content-type": "application/json"}})
    (reply,) = ask(plain(), call)
    assert reply.status_code in (400, 422)
    assert reply.json()["status"] == reply.status_code


@pytest.mark.parametrize(
    ("value", "status", "reason"),
    [
        ("9" * 5000, 400, "thousands of digits"),
        ("[" * 100_000, 400, "nested too deeply"),
        ("[" * 500 + "]" * 500, 422, "valid string"),
        ('{"a":' * 500 + "1" + "}" * 500, 422, "valid string"),
        ("1e999", 422, "valid string"),
    ],
)
@pytest.mark.parametrize(
    "frame", ['{"responses": [%s]}', '{"question": %s}', '{"responses": ["a"], "question": %s}', '{"responses": %s}']
)
def test_a_hostile_value_is_an_error_of_the_client(value, status, reason, frame):
    call = ("POST", "/v1/decide", {"content": frame % value, "headers": {"content-type": "application/json"}})
    (reply,) = ask(plain(), call)
    assert reply.status_code == status
    assert reason in reply.text or "valid list" in reply.text


NUMBERS = ["-1e-400", "-5e-324", "-0.0", "-1e-300", "-746", "-1e15", "-1e154", "-1" + "0" * 300, "-1e300"]


@pytest.mark.parametrize("number", NUMBERS)
def test_log_probabilities_of_any_size_give_finite_scores(number):
    content = f'{{"responses": ["a", "b", "c"], "logprobs": [[{number}], [{number}, {number}], [-1]]}}'
    call = ("POST", "/v1/decide", {"content": content, "headers": {"content-type": "application/json"}})
    (reply,) = ask(plain(fail_above=0.7), call)
    result = json.loads(reply.text, parse_constant=pytest.fail)["result"]
    expected = estimate(["a", "b", "c"], logprobs=[[float(number)], [float(number)] * 2, [-1]])
    assert result["scores"] == expected.to_dict()["scores"]
    assert all(map(math.isfinite, expected.scores.values()))


@pytest.mark.parametrize("number", ["-1e308", "-1.1e300", "1e308", "0.1", "-1e400", "1e400"])
def test_an_impossible_log_probability_is_an_error_that_names_the_value(number):
    content = f'{{"responses": ["a", "b"], "logprobs": [[-1], [-1, {number}]]}}'
    call = ("POST", "/v1/estimate", {"content": content, "headers": {"content-type": "application/json"}})
    (reply,) = ask(plain(), call)
    (error,) = reply.json()["errors"]
    assert (reply.status_code, error["field"], error["value"]) == (422, "body.logprobs.1.1", str(float(number)))


def test_the_fields_of_a_result_are_what_their_descriptions_say():
    """`normalized` is limited to 1, `entropy` counts invalid answers, and `null_reason` names what is null."""
    responses = ["a", "b", "", "", ""]
    result = post(plain(), "/v1/estimate", {"responses": responses, "interval": True}).json()["result"]
    assert result["normalized"] == 1 < result["entropy"] / math.log(result["n_valid"])
    assert [result["answers"][at] for at in (0, 2)] == ["a", None]
    assert [cluster["representative"] for cluster in result["clusters"]] == ["a", "b", None, None, None]
    assert len(result["interval"]["entropy"]) == 2
    none = post(plain(), "/v1/estimate", {"responses": ["", ""]}).json()["result"]
    assert (none["entropy"], none["normalized"], none["answer"]) == (math.log(2), None, None)
    assert none["null_reason"] == "0 of 2 answers are valid: fewer than 2 have nothing to compare"
    dropped = post(plain(choices={"invalid": "drop"}), "/v1/estimate", {"responses": ["", ""]}).json()["result"]
    assert (dropped["entropy"], dropped["labels"]) == (None, [-1, -1])
    fields = plain().openapi()["components"]["schemas"]["ResultFields"]["properties"]
    assert fields["normalized"]["description"].startswith("min(1, entropy / ln(n_valid))")
    assert "--invalid drop" in fields["labels"]["description"]


MESSAGES = ["[{}]", '[{"role": 5, "content": null}]', '[{"role": "user", "content": [{"type": [], "text": {}}]}]']
MESSAGES += [f'[{{"role": "user", "content": {nested}}}]' for nested in ("[" * 400 + "]" * 400, '"\\ud800"')]


@pytest.mark.parametrize("messages", MESSAGES)
def test_a_guardrail_gets_any_messages_and_never_fails(messages):
    content = f'{{"input_type": "response", "texts": ["a", "a", "a"], "structured_messages": {messages}}}'
    call = ("POST", GUARDRAIL_PATH, {"content": content, "headers": {"content-type": "application/json"}})
    (reply,) = ask(plain(fail_above=0.7), call)
    assert (reply.status_code, reply.json()["action"]) == (200, "NONE")


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "\u202e", "NaN", "{}", "\U0001f600" * 50])
def test_any_text_of_a_model_is_measured_and_sent_back(text):
    content = json.dumps({"responses": [text, text, "b"]}).encode()
    call = ("POST", "/v1/estimate", {"content": content, "headers": {"content-type": "application/json"}})
    (reply,) = ask(plain(), call)
    assert reply.status_code == 200
    assert reply.json()["result"]["labels"] == list(estimate([text, text, "b"]).labels)


def test_health_and_readiness_and_metrics():
    calls = [("POST", "/v1/estimate", {"json": {"responses": ANSWERS}})]
    calls += [("GET", path, {}) for path in ("/health", "/ready", "/metrics", "/nowhere")]
    measured, health, ready, metrics, nowhere = ask(plain(), *calls)
    assert [reply.status_code for reply in (measured, health, ready, metrics, nowhere)] == [200, 200, 200, 200, 404]
    assert 'semantic_entropy_requests_total{route="/v1/estimate",status="200"} 1.0' in metrics.text
    assert "semantic_entropy_entropy_nats_count 1.0" in metrics.text
    assert "Paris" not in metrics.text
    assert nowhere.headers["content-type"] == "application/problem+json"


def test_a_wrong_path_or_method_is_an_error_that_says_what_to_send():
    calls = [
        ("GET", "/v1/estimate", {}),
        ("POST", "/health", {}),
        ("GET", "/v1/estimat", {}),
        ("GET", "/" + "a" * 200, {}),
    ]
    wrong_method, wrong_post, wrong_path, long_path = ask(plain(), *calls)
    assert (wrong_method.status_code, wrong_method.headers["allow"]) == (405, "POST")
    assert wrong_method.json()["detail"] == "the route '/v1/estimate' has no method GET: send POST"
    assert wrong_post.json()["detail"] == "the route '/health' has no method POST: send GET"
    assert wrong_path.status_code == 404
    assert wrong_path.json()["detail"] == "there is no route '/v1/estimat': GET /openapi.json lists the routes"
    assert len(long_path.json()["detail"]) < 150


def test_without_the_lifespan_the_service_is_not_ready():
    import httpx

    async def run():
        transport = httpx.ASGITransport(app=plain())
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/ready"), await client.post("/v1/estimate", json={"responses": ANSWERS})

    for reply in asyncio.run(run()):
        assert reply.status_code == 503
        assert reply.headers["retry-after"] == "1"
