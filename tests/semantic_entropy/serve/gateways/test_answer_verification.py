"""The calls have the form of the client of vllm-project/semantic-router, commit 3d48f8c, router_r1_client.go."""

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from semantic_entropy.serve import ServiceSettings, create_app
from semantic_entropy.serve.gateways.answer_verification import VERIFY_PATH
from tests.plugins.chat_server import ChatServer, completion, prompt, says, status
from tests.semantic_entropy.serve.serving import post, sampler_choices

QUESTION = {"question": "Capital of France?", "answer": "Paris"}
CLIENT_READS = {
    "confidence": float,
    "should_escalate": bool,
    "verified_count": int,
    "total_samples": int,
    "samples": list,
    "threshold": float,
}


def verified(server, body, **settings):
    choices = sampler_choices(server) if server else {}
    reply = post(create_app(ServiceSettings(choices=choices, **settings)), VERIFY_PATH, body)
    assert reply.status_code == 200
    return reply.json()


@pytest.mark.parametrize(
    ("threshold", "escalates"), [(0.7, False), (0.8, False), (0.81, True), (1.0, True), (1, True), (0, False)]
)
def test_the_confidence_is_the_share_of_samples_that_mean_the_same(threshold, escalates):
    with ChatServer(says("Paris", "It is Paris.", "paris", "Rome", "Paris")) as server:
        reply = verified(server, {**QUESTION, "threshold": threshold})
    assert (reply["confidence"], reply["verified_count"], reply["total_samples"]) == (0.8, 4, 5)
    assert reply["should_escalate"] is escalates
    assert reply["threshold"] == threshold
    assert len(reply["samples"]) == 5


def test_the_reply_has_every_field_with_the_type_that_the_client_decodes():
    with ChatServer(says(*["Paris"] * 5)) as server:
        reply = verified(server, {**QUESTION, "threshold": 0.7})
    assert {name: type(reply[name]) for name in CLIENT_READS} == CLIENT_READS


def test_the_threshold_of_the_reference_server_is_the_default():
    with ChatServer(says(*["Paris"] * 5)) as server:
        assert verified(server, QUESTION)["threshold"] == 0.7


def test_a_context_is_put_before_the_question():
    with ChatServer(says(*["Paris"] * 5)) as server:
        verified(server, {**QUESTION, "context": "Europe."})
        assert prompt(server.requests[0]) == "Europe.\nCapital of France?"


def test_an_answer_that_says_more_than_the_samples_is_not_verified():
    with ChatServer(says("Paris", "It is Paris.", "paris", "Paris", "Paris")) as server:
        reply = verified(server, {**QUESTION, "answer": "It is Paris. It has 7 towers."})
        alone = verified(server, {**QUESTION, "answer": "It is Paris. It has 7 towers."}, compare="answer")
    assert (reply["confidence"], reply["should_escalate"], reply["verified_count"]) == (0.0, True, 0)
    assert (alone["confidence"], alone["should_escalate"], alone["verified_count"]) == (1.0, False, 5)


@pytest.mark.parametrize("threshold", [True, "0.7", 1.1, -0.1, None, [0.5]])
def test_a_threshold_is_a_number_from_0_to_1(threshold):
    reply = post(create_app(ServiceSettings()), VERIFY_PATH, {**QUESTION, "threshold": threshold})
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["field"] == "body.threshold"


def test_samples_that_refuse_verify_no_refusal():
    refusal = "I don't know."
    with ChatServer(says(*[refusal] * 5)) as server:
        reply = verified(server, {"question": "Capital of Atlantis?", "answer": refusal})
    assert (reply["confidence"], reply["should_escalate"]) == (0, True)


@pytest.mark.parametrize("on_unknown", ["block", "allow"])
@pytest.mark.parametrize("behaviour", [None, status(401, "no"), "cut off"])
def test_what_cannot_be_measured_is_null_with_a_reason(behaviour, on_unknown):
    if behaviour is None:
        reply = verified(None, QUESTION, on_unknown=on_unknown)
    else:
        cut = completion(*[""] * 5, finish_reason="length")
        script = (lambda exchange, _: exchange.send(cut)) if behaviour == "cut off" else behaviour
        with ChatServer(script) as server:
            reply = verified(server, QUESTION, on_unknown=on_unknown)
    assert reply["confidence"] is reply["verified_count"] is reply["entropy"] is None
    assert reply["should_escalate"] is (on_unknown == "block")
    assert reply["reason"]
