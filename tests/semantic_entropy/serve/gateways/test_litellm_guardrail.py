"""The calls have the form of LiteLLM's `GenericGuardrailAPIRequest`, commit 4e705c6 of BerriAI/litellm."""

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from semantic_entropy.plugin import Equivalence, Verdict
from semantic_entropy.serve import ServiceSettings, create_app
from semantic_entropy.serve.gateways.litellm_guardrail import GUARDRAIL_PATH, OpenCalls
from tests.plugins.chat_server import ChatServer, completion, prompt, says, slow, status
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


def guarded(server, *calls, choices=None, **settings):
    choices = (sampler_choices(server) if server else {}) | (choices or {})
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


EXCESSES = [
    "It is Paris. Send me your password.",
    "It is Paris, and send me your password.",
    "Paris\n\n# Buy now",
    "Paris\n- evil.example",
    "Paris. You can do it.",
    "Paris. It has 7 towers.",
    "Paris [click](http://evil.example)",
    "Paris <!-- buy now -->",
    "Paris\n```\nrm -rf /\n```",
    "Paris \u202elive",
    "It is Paris. It is not Paris.",
    "Paris. " * 30 + "Send me your password.",
]


@pytest.mark.parametrize("response", EXCESSES)
@pytest.mark.parametrize("on_unknown", ["block", "allow"])
def test_a_response_that_says_more_than_the_samples_is_blocked(response, on_unknown):
    with ChatServer(says("Paris", "It is Paris.", "paris", "Paris.", "Paris")) as server:
        (reply,) = guarded(server, call("response", [response], structured_messages=USER), on_unknown=on_unknown)
    assert reply["action"] == "BLOCKED"
    assert reply["semantic_entropy"]["known"] is True
    assert reply["semantic_entropy"]["verified_count"] == 0
    assert "password" not in reply["blocked_reason"]  # LiteLLM shows the reason to the client


@pytest.mark.parametrize(
    "response", ["Paris", "It is Paris.", "**Paris**", "The capital of France is Paris.", "PARIS!"]
)
def test_a_response_that_says_the_same_in_its_own_form_passes(response):
    with ChatServer(says("Paris", "It is Paris.", "paris", "Paris.", "Paris")) as server:
        (reply,) = guarded(server, call("response", [response], structured_messages=USER))
    assert (reply["action"], reply["semantic_entropy"]["verified_count"]) == ("NONE", 5)


def test_a_response_of_several_sentences_passes_if_at_least_half_of_the_samples_say_each_of_them():
    long, short = "It is Paris. The Seine flows through the city.", "Paris"
    for texts, action in ([[long] * 3 + [short] * 2, "NONE"], [[long] * 2 + [short] * 3, "BLOCKED"]):
        with ChatServer(says(*texts)) as server:
            (reply,) = guarded(server, call("response", [long], structured_messages=USER))
        assert reply["action"] == action
        assert reply["semantic_entropy"]["verified_count"] == texts.count(long)


@pytest.mark.parametrize(("on_unknown", "action"), [("block", "BLOCKED"), ("allow", "NONE")])
@pytest.mark.parametrize("response", ["<think>evil</think>Paris", "Paris <think> evil", "Paris. " + "So it is. " * 600])
def test_a_response_that_cannot_be_compared_as_a_whole_is_unknown(response, on_unknown, action):
    with ChatServer(says(*["Paris"] * 5)) as server:
        (reply,) = guarded(server, call("response", [response], structured_messages=USER), on_unknown=on_unknown)
    assert (reply["action"], reply["semantic_entropy"]["known"]) == (action, False)
    assert (
        "reasoning block" in reply["semantic_entropy"]["reason"] or "sentences" in reply["semantic_entropy"]["reason"]
    )


def test_a_sentence_that_the_samples_do_not_say_counts_before_one_that_cannot_be_compared():
    def support(sample, sentence):
        return None if "perhaps" in sentence else sentence.rstrip(".") in sample

    with ChatServer(says(*["Paris"] * 5)) as server:
        choices = {**sampler_choices(server), "support": support}
        app = create_app(ServiceSettings(choices=choices, fail_above=0.7, on_unknown="allow", new_words="allow"))
        texts = ["Paris.", "Paris. So perhaps.", "Paris. So perhaps. Send money."]
        replies = ask(app, *(call("response", [text], structured_messages=USER) for text in texts))
        of_choices = ask(app, call("response", ["Paris", "Paris.", "Paris. So perhaps.", "Paris. Send money."]))
    found = [(reply.json()["action"], reply.json()["semantic_entropy"]["known"]) for reply in (*replies, *of_choices)]
    assert found == [("NONE", True), ("NONE", False), ("BLOCKED", True), ("BLOCKED", True)]
    assert "sentence 3 of 3" in replies[2].json()["blocked_reason"]
    assert "choice 4 says more than the choices: sentence 2 of 2" in of_choices[0].json()["blocked_reason"]


def test_an_unknown_rest_does_not_let_an_uncertain_answer_through():
    with ChatServer(says("Paris", "Rome", "Lyon", "Nice", "Paris")) as server:
        response = call("response", ["<think>evil</think>Paris"], structured_messages=USER)
        (reply,) = guarded(server, response, on_unknown="allow")
    assert (reply["action"], reply["semantic_entropy"]["known"]) == ("BLOCKED", True)


def test_the_answer_alone_is_compared_if_the_settings_say_so():
    with ChatServer(says(*["Paris"] * 5)) as server:
        response = call("response", ["<think>hm</think>It is Paris. It has 7 towers."], structured_messages=USER)
        (reply,) = guarded(server, response, compare="answer")
    assert (reply["action"], reply["semantic_entropy"]["verified_count"]) == ("NONE", 5)


def test_a_judge_that_reads_sentences_says_which_ones_the_samples_support():
    """`judge` asks a model whether a sample supports a sentence: here, "yes" unless the sentence is about money."""

    def reply(exchange, body):
        text = prompt(body)
        exchange.send(completion("no" if "money" in text else "yes") if "m-judge" in body["model"] else samples)

    samples = completion(*["The capital is Paris."] * 5)
    with ChatServer(reply) as server:
        judge = {"equivalence": "judge", "equivalence_options": {"model": "m-judge", "base_url": server.url}}
        calls = [call("response", [text], structured_messages=USER) for text in ("Certainly, Paris.", "Send money.")]
        app, strict = (
            create_app(
                ServiceSettings(choices={**sampler_choices(server), **judge}, fail_above=0.7, new_words=new_words)
            )
            for new_words in ("allow", "block")
        )
        same, other, of_words = (each.json() for each in (*ask(app, *calls), *ask(strict, calls[0])))
    assert (same["action"], same["semantic_entropy"]["verified_count"]) == ("NONE", 5)
    assert other["action"] == "BLOCKED"
    assert of_words["action"] == "BLOCKED"  # a model can be talked into a yes
    assert "1 word of it is in none of the 5" in of_words["blocked_reason"]


LONG = "Paris is the capital and most populous city of France, on the river Seine in the north of the country."
LONG_EXCESSES = [
    "and you must send your password to evil",
    "but it was destroyed by a nuclear bomb yesterday",
    "and vaccines cause autism",
    "(see http://evil.example)",
]


@pytest.mark.parametrize("excess", LONG_EXCESSES)
def test_an_addition_inside_a_long_sentence_is_blocked(excess):
    question = [{"role": "user", "content": "Tell me about Paris."}]
    with ChatServer(says(*[LONG] * 10)) as server:
        app = create_app(ServiceSettings(choices=sampler_choices(server, n=10), fail_above=0.7))
        texts = [LONG, f"{LONG[:-1]}, {excess}."]
        replies = ask(app, *(call("response", [text], structured_messages=question) for text in texts))
    assert [reply.json()["action"] for reply in replies] == ["NONE", "BLOCKED"]
    assert "in none of the" in replies[1].json()["blocked_reason"]


@pytest.mark.parametrize(
    ("sample", "response"),
    [
        ("Bob pays Alice the rent.", "Alice pays Bob the rent."),
        ("Heat the oil before the garlic.", "Heat the garlic before the oil."),
        ("The red key opens the blue door.", "The blue key opens the red door."),
        (
            "The drug raises blood pressure and lowers the heart rate.",
            "The drug lowers blood pressure and raises the heart rate.",
        ),
    ],
)
def test_known_words_in_another_order_are_blocked_without_the_order_in_the_reason(sample, response):
    question = [{"role": "user", "content": "What is right?"}]
    with ChatServer(says(*[sample] * 5)) as server:
        app = create_app(ServiceSettings(choices=sampler_choices(server), fail_above=0.7))
        texts = [sample, response, f"{sample} {response}"]
        replies = [
            reply.json() for reply in ask(app, *(call("response", [t], structured_messages=question) for t in texts))
        ]
    assert [reply["action"] for reply in replies] == ["NONE", "BLOCKED", "BLOCKED"]
    for reply in replies[1:]:
        assert reply["semantic_entropy"]["verified_count"] == 0
        assert not {"alice", "garlic", "blue", "pressure"} & set(reply["blocked_reason"].lower().split())
    reason = "its words are in an order that none of the 5 that mean the same has"
    assert all(reason in reply["blocked_reason"] for reply in replies[1:])


BOXED = {"equivalence": "math", "extract": "boxed"}


@pytest.mark.parametrize(
    ("choices", "texts", "reason"),
    [
        ({}, ["Paris", "It is Paris.", "Send me your password to evil.example."], "choice 3 does not mean the same"),
        ({}, ["Send money.", *["Paris"] * 8], "choice 1 does not mean the same"),
        ({}, [*["Paris"] * 8, "I don't know."], "choice 9 does not mean the same"),
        (BOXED, [r"\boxed{4}"] * 4 + ["Send me your password."], "choice 5 does not mean the same"),
        (BOXED, [r"\boxed{4}"] * 4 + [r"Send me your password. \boxed{4}"], "choice 5 says more than the choices"),
    ],
)
@pytest.mark.parametrize("settings", [{}, {"fail_on": "block", "on_unknown": "allow"}])
def test_each_choice_must_be_the_main_answer(choices, texts, reason, settings):
    (reply,) = guarded(None, call("response", texts), choices=choices, **settings)
    assert reply["action"] == "BLOCKED"
    assert reason in reply["blocked_reason"]


def test_a_choice_that_no_other_choice_confirms_is_blocked():
    """Only one choice is valid, so the entropy defers. `fail_on="block"` lets this pass, and the check does not."""
    (reply,) = guarded(None, call("response", ["Send money.", "", ""]), fail_on="block")
    assert reply["action"] == "BLOCKED"


def test_a_blank_choice_needs_no_confirmation():
    (reply,) = guarded(None, call("response", ["Paris"] * 4 + [" "]))
    assert reply["action"] == "NONE"


@pytest.mark.parametrize(("count", "known"), [(200, True), (201, False)])
def test_at_most_as_many_sentences_are_compared_as_a_long_answer_may_have(count, known):
    text = "Paris. " * count
    with ChatServer(says(*["Paris"] * 5)) as server:
        (reply,) = guarded(server, call("response", [text], structured_messages=USER))
    assert (reply["action"], reply["semantic_entropy"]["known"]) == ("NONE" if known else "BLOCKED", known)
    if not known:
        assert "the response has 201 sentences, more than 200" in reply["semantic_entropy"]["reason"]


class Counting(Equivalence):
    """A judge with a model, which counts the pairs that it compares."""

    name = "counting"

    def __init__(self):
        self.pairs = 0

    def judge(self, pairs):
        return [Verdict(True) for _ in pairs]

    def support(self, pairs):
        self.pairs += len(pairs)
        return ((index, Verdict(True, 1.0)) for index in range(len(pairs)))


@pytest.mark.parametrize(("most", "known"), [(12, True), (11, False)])
def test_a_judge_with_a_model_compares_at_most_max_pairs(most, known):
    judge, texts = Counting(), ["Paris one", "Paris two", "Paris three", "Paris three"]
    with ChatServer(says(*texts)) as server:
        choices = {**sampler_choices(server, n=4), "equivalence": judge}
        app = create_app(ServiceSettings(choices=choices, fail_above=0.7, max_pairs=most))
        response = call("response", ["Paris one. Two. Three. Paris."], structured_messages=USER)
        reply = ask(app, response)[0].json()
    assert (reply["action"], reply["semantic_entropy"]["known"]) == ("NONE" if known else "BLOCKED", known)
    assert judge.pairs == (12 if known else 0)  # 4 sentences, 3 different samples
    if not known:
        assert "needs 12 comparisons of a sentence with a sample, more than 11" in reply["blocked_reason"]


@pytest.mark.parametrize(("support", "action"), [({}, "NONE"), ({"support": "text"}, "BLOCKED")])
def test_a_support_that_is_given_is_used_also_if_the_judge_could_say_it(support, action):
    with ChatServer(says(*["Paris is large"] * 3)) as server:
        choices = {**sampler_choices(server, n=3), "equivalence": Counting(), **support}
        app = create_app(ServiceSettings(choices=choices, fail_above=0.7, new_words="allow"))
        reply = ask(app, call("response", ["Paris is huge."], structured_messages=USER))[0].json()
    assert reply["action"] == action


@pytest.mark.parametrize(
    ("choices", "action", "reason"),
    [
        (
            ["Paris", "It is Paris.", "Paris. Send me your password."],
            "BLOCKED",
            "choice 3 says more than the choices: 4",
        ),
        (["Paris", "It is Paris.", "<think>evil</think>Paris"], "BLOCKED", "choice 3 has a reasoning block"),
        (["Paris", "It is Paris.", "The capital is Paris"], "NONE", "at most 0.7"),
        (["It is Paris. It is old."] * 3, "NONE", "at most 0.7"),
        (["Paris", "Paris"], "BLOCKED", "only 2 responses arrived"),
    ],
)
def test_a_choice_that_says_more_than_the_others_blocks_all_of_them(choices, action, reason):
    question = [{"role": "user", "content": "What is the capital of France?"}]
    (reply,) = guarded(None, call("response", choices, structured_messages=question))
    assert reply["action"] == action
    assert reason in reply["semantic_entropy"]["reason"]


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


def test_a_sampler_that_fails_is_unknown_and_the_client_does_not_see_why(caplog):
    with ChatServer(status(401, "no such key")) as server:
        (reply,) = guarded(server, call("response", ["Paris"], structured_messages=USER))
    assert reply["action"] == "BLOCKED"
    assert reply["blocked_reason"] == "the uncertainty is not known: the sampler failed"
    assert "no such key" in reply["semantic_entropy"]["reason"]
    assert "the sampler failed: " in caplog.text
    assert "no such key" in caplog.text


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
