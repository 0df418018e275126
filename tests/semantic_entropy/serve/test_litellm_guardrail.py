"""The calls have the form of LiteLLM's `GenericGuardrailAPIRequest`, commit 4e705c6 of BerriAI/litellm."""

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from semantic_entropy.serve import ServiceSettings, create_app
from semantic_entropy.serve.litellm_guardrail import GUARDRAIL_PATH, OpenCalls
from tests.plugins.chat_server import ChatServer, prompt, says, slow, status
from tests.semantic_entropy.serve.serving import ask, sampler_choices

USER = [{"role": "user", "content": "Capital of France?"}]


def call(kind, texts, **fields):
    """A call as LiteLLM sends it, with all its fields."""
    body = {
        "input_type": kind,
        "litellm_call_id": "call-1",
        "litellm_trace_id": None,
        "structured_messages": None,
        "images": None,
        "tools": None,
        "texts": texts,
        "request_data": {"user_api_key_hash": "x"},
        "request_headers": {"authorization": "[present]"},
        "litellm_version": "1.90.0",
        "additional_provider_specific_params": {},
        "tool_calls": None,
        "model": "m",
        **fields,
    }
    return "POST", GUARDRAIL_PATH, {"json": body}


def guarded(server, *calls, **settings):
    choices = sampler_choices(server) if server else {}
    replies = ask(create_app(ServiceSettings(choices=choices, **{"fail_above": 0.7, **settings})), *calls)
    assert all(reply.status_code == 200 for reply in replies)
    return [reply.json() for reply in replies]


def test_the_question_of_the_request_is_asked_again_for_the_response():
    with ChatServer(says("Paris", "It is Paris.", "Paris", "Rome", "paris")) as server:
        before, after = guarded(
            server,
            call("request", ["Capital of France?"], structured_messages=USER),
            call("response", ["Paris."]),
        )
        assert [prompt(body) for body in server.requests] == ["Capital of France?"]
    assert (before["action"], before["semantic_entropy"]["known"]) == ("NONE", False)
    assert (after["action"], after["blocked_reason"], after["texts"]) == ("NONE", None, None)
    measured = after["semantic_entropy"]
    assert (measured["verified_count"], measured["total_samples"], measured["decision"]) == (4, 5, "allow")


def test_an_uncertain_model_is_blocked():
    with ChatServer(says("Paris", "Rome", "Lyon", "Nice", "Paris")) as server:
        (reply,) = guarded(server, call("response", ["Paris"], structured_messages=USER))
    assert reply["action"] == "BLOCKED"
    assert "above 0.7" in reply["blocked_reason"]
    assert reply["semantic_entropy"]["known"] is True


def test_a_response_that_is_not_the_main_answer_of_a_certain_model_is_blocked():
    with ChatServer(says(*["Paris"] * 5)) as server:
        (reply,) = guarded(server, call("response", ["Lyon"], structured_messages=USER))
    assert reply["action"] == "BLOCKED"
    assert "does not mean the same as the main answer" in reply["blocked_reason"]
    assert reply["semantic_entropy"]["verified_count"] == 0


def test_all_of_a_few_choices_must_be_the_main_answer():
    with ChatServer(says(*["Paris"] * 5)) as server:
        same, other = guarded(
            server,
            call("response", ["Paris", "It is Paris"], structured_messages=USER),
            call("response", ["Paris", "Rome"], structured_messages=USER),
        )
    assert (same["action"], other["action"]) == ("NONE", "BLOCKED")


@pytest.mark.parametrize(
    ("choices", "action"), [(["Paris"] * 5, "NONE"), (["Paris", "Rome", "Lyon", "Nice", "Paris"], "BLOCKED")]
)
def test_enough_choices_of_the_response_need_no_sampler(choices, action):
    (reply,) = guarded(None, call("response", choices))
    assert reply["action"] == action
    assert reply["semantic_entropy"]["known"] is True


CONVERSATION = [{"role": "system", "content": "Be short."}, *USER]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"texts": ["Paris"]}, "its question is not known"),
        ({"texts": ["Paris"], "structured_messages": CONVERSATION}, "the conversation has 2 messages"),
        ({"texts": []}, "no text"),
        ({"texts": [" "]}, "no text"),
        ({"texts": None, "tool_calls": [{"type": "function"}]}, "tool calls and no text"),
    ],
)
@pytest.mark.parametrize(("on_unknown", "action"), [("block", "BLOCKED"), ("allow", "NONE")])
def test_what_cannot_be_measured_has_the_configured_action_and_no_number(fields, reason, on_unknown, action):
    with ChatServer(says("Paris")) as server:
        (reply,) = guarded(server, call("response", **fields), on_unknown=on_unknown)
        assert server.requests == []
    assert reply["action"] == action
    measured = reply["semantic_entropy"]
    assert reason in measured["reason"]
    assert measured["known"] is False
    assert measured["entropy"] is measured["verified_count"] is measured["decision"] is None


def test_one_response_without_a_sampler_is_unknown():
    (reply,) = guarded(None, call("response", ["Paris"], structured_messages=USER))
    assert reply["action"] == "BLOCKED"
    assert "no sampler" in reply["blocked_reason"]


def test_without_a_rule_nothing_is_decided():
    (reply,) = guarded(None, call("response", ["Paris"] * 5), fail_above=None)
    assert reply["action"] == "BLOCKED"
    assert "--calibration or --fail-above" in reply["blocked_reason"]


def test_a_sampler_that_fails_is_unknown():
    with ChatServer(status(401, "no such key")) as server:
        (reply,) = guarded(server, call("response", ["Paris"], structured_messages=USER))
    assert reply["action"] == "BLOCKED"
    assert "the sampler failed" in reply["blocked_reason"]


def test_a_sampler_that_is_too_slow_is_an_http_error_so_that_the_fallback_of_litellm_applies():
    with ChatServer(slow(5, says("Paris"))) as server:
        app = create_app(ServiceSettings(choices=sampler_choices(server), fail_above=0.7, timeout=0.1))
        (reply,) = ask(app, call("response", ["Paris"], structured_messages=USER))
    assert reply.status_code == 504


def test_a_system_prompt_that_the_sampler_has_too_is_no_other_message():
    with ChatServer(says(*["Paris"] * 5)) as server:
        app = create_app(ServiceSettings(choices=sampler_choices(server, system="Be short."), fail_above=0.7))
        (reply,) = ask(app, call("response", ["Paris"], structured_messages=CONVERSATION))
        assert server.requests[0]["messages"] == CONVERSATION
    assert reply.json()["action"] == "NONE"


def test_the_last_turn_alone_is_asked_if_the_settings_say_so():
    with ChatServer(says(*["Paris"] * 5)) as server:
        (reply,) = guarded(server, call("response", ["Paris"], structured_messages=CONVERSATION), ask_last_turn=True)
        assert prompt(server.requests[0]) == "Capital of France?"
    assert reply["action"] == "NONE"


def test_a_question_in_the_parameters_is_asked():
    parameters = {"question": "Capital of France?"}
    with ChatServer(says(*["Paris"] * 5)) as server:
        (reply,) = guarded(server, call("response", ["Paris"], additional_provider_specific_params=parameters))
    assert reply["action"] == "NONE"


def test_a_question_in_the_parameters_does_not_replace_that_of_the_conversation():
    parameters = {"question": "Say Paris."}
    with ChatServer(says(*["Paris"] * 5)) as server:
        guarded(
            server,
            call("response", ["Paris"], structured_messages=USER, additional_provider_specific_params=parameters),
        )
        assert prompt(server.requests[0]) == "Capital of France?"


def test_blank_choices_count_as_invalid_answers():
    (reply,) = guarded(None, call("response", ["Paris", "Paris", "", " ", ""]))
    assert reply["action"] == "BLOCKED"
    assert "only 2 of 5 answers are valid" in reply["blocked_reason"]


def test_parts_of_a_message_are_its_text():
    parts = [{"role": "user", "content": [{"type": "text", "text": "Capital of France?"}]}]
    with ChatServer(says(*["Paris"] * 5)) as server:
        guarded(server, call("response", ["Paris"], structured_messages=parts))
        assert prompt(server.requests[0]) == "Capital of France?"


def test_open_calls_are_limited_in_number_and_age():
    calls = OpenCalls(most=2)
    for number in range(3):
        calls.put(f"call {number}", "?", None)
    assert [calls.get(f"call {number}") for number in range(3)] == [None, ("?", None), ("?", None)]
    old = OpenCalls(seconds=-1)
    old.put("call", "?", None)
    assert len(old) == 0


def test_open_calls_are_limited_in_characters_and_an_old_one_is_not_known():
    calls = OpenCalls(characters=10)
    calls.put("first", "123456", None)
    calls.put("first", "1234567", None)  # replaces it
    assert calls.get("first") == ("1234567", None)
    calls.put("second", "1234", None)
    assert (calls.get("first"), calls.get("second")) == (None, ("1234", None))
    calls.put("third", "12345678901", None)
    assert (len(calls), calls.get("third")) == (0, None)
    calls.put("fourth", "?", None)
    calls._seconds = -1.0  # as if the time were over
    assert calls.get("fourth") is None
