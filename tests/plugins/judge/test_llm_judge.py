"""The LLM judge: prompts, verdicts and costs, against a real server on the loopback address."""

from __future__ import annotations

import asyncio
import json
import math
import re

import pytest

from semantic_entropy import EquivalenceError, Pair, aestimate, estimate, load_equivalence
from semantic_entropy.plugin import Usage, errors
from semantic_entropy.testing import check_equivalence
from semantic_entropy_plugins.judge.judge_prompts import REPLY_FORMAT, SCHEMA
from semantic_entropy_plugins.judge.llm_judge import Judge
from tests.plugins.chat_server import ChatServer, choose_by, prompt, says, silent, status, with_fast_retries

PAIR = Pair("What is it?", "b", "a")
YES, NO = says('{"same": true}'), says('{"same": false}')


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def make_judge(server, **options):
    return with_fast_retries(Judge("m", server.url, **{"timeout": 10.0, **options}))


def judge_one(server, pair=PAIR, **options):
    (verdict,) = make_judge(server, **options).judge([pair])
    return verdict


def test_the_prompt_holds_the_texts_between_marked_tags_and_the_reply_format():
    with ChatServer(YES) as server:
        assert judge_one(server).same is True
    (body,) = server.requests
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.0, 1024)
    assert body["response_format"] == SCHEMA
    assert "logprobs" not in body
    (message,) = body["messages"]
    mark = re.search(r"<answer 1 (\w{12})>\na\n</answer 1 \1>", message["content"])[1]
    assert f"<answer 2 {mark}>\nb\n</answer 2 {mark}>" in message["content"]
    assert f"<question {mark}>\nWhat is it?\n</question {mark}>" in message["content"]
    assert message["content"].endswith(REPLY_FORMAT[True])


def test_a_server_without_response_format_is_asked_for_a_word():
    plain = choose_by(
        lambda body: status(400, "unknown field response_format") if "response_format" in body else says("No.")
    )
    with ChatServer(plain) as server:
        judge = make_judge(server, concurrency=1)
        verdicts = judge.judge([Pair("q", "a", str(i)) for i in range(3)])
        assert ["response_format" in body for body in server.requests] == [True, False, False, False]
    assert [verdict.same for verdict in verdicts] == [False] * 3
    assert verdicts[0].usage.requests == 2
    assert prompt(server.requests[0]).endswith(REPLY_FORMAT[True])
    assert prompt(server.requests[1]).endswith(REPLY_FORMAT[False])


def test_structured_false_sends_no_response_format():
    with ChatServer(says("yes")) as server:
        assert judge_one(server, structured=False).same is True
    assert "response_format" not in server.requests[0]


def test_max_completion_tokens_replaces_max_tokens_if_the_server_requires_it():
    picky = choose_by(
        lambda body: (
            status(
                400,
                {
                    "error": {
                        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
                        "Use 'max_completion_tokens' instead.",
                        "param": "max_tokens",
                    }
                },
            )
            if "max_tokens" in body
            else YES
        )
    )
    with ChatServer(picky) as server:
        assert judge_one(server, max_tokens=77).same is True
    assert server.requests[1]["max_completion_tokens"] == 77


def test_log_probabilities_give_a_score_and_are_not_sent_to_a_server_that_refuses_them():
    content = [{"token": "yes", "logprob": -0.1, "top_logprobs": [{"token": "no", "logprob": -2.0}]}]
    with ChatServer(says("yes", logprobs={"content": content})) as server:
        verdict = judge_one(server, logprobs=True)
    assert (server.requests[0]["logprobs"], server.requests[0]["top_logprobs"]) == (True, 5)
    assert verdict.score == pytest.approx(1 / (1 + math.exp(-1.9)))
    refuses = choose_by(lambda body: status(400, "logprobs are not supported") if "logprobs" in body else YES)
    with ChatServer(refuses) as server:
        verdict = judge_one(server, logprobs=True)
    assert (verdict.same, verdict.score) == (True, None)
    assert "top_logprobs" not in server.requests[1]


def directions(forward, reverse):
    """Replies `forward` to a before b, and `reverse` to b before a; None is prose."""
    replies = {True: "yes", False: "no", None: "well"}
    return choose_by(lambda body: says(replies[forward if "1=a" in prompt(body) else reverse]))


POLICY_CASES = [  # policy, a before b, b before a, the verdict, the number of calls
    ("forward", True, False, True, 1),
    ("forward", False, True, False, 1),
    ("forward", None, True, None, 1),
    ("both", True, True, True, 2),
    ("both", True, False, False, 2),
    ("both", False, True, False, 1),
    ("both", None, False, False, 2),
    ("both", None, True, None, 2),
    ("both", True, None, None, 2),
    ("either", True, False, True, 1),
    ("either", False, True, True, 2),
    ("either", False, False, False, 2),
    ("either", None, True, True, 2),
    ("either", False, None, None, 2),
]


@pytest.mark.parametrize(("policy", "forward", "reverse", "same", "calls"), POLICY_CASES)
@pytest.mark.parametrize("pair", [Pair("q", "a", "b"), Pair("q", "b", "a")])
def test_the_reverse_order_is_asked_only_if_the_verdict_is_open(policy, forward, reverse, same, calls, pair):
    with ChatServer(directions(forward, reverse)) as server:
        verdict = judge_one(server, pair, policy=policy, template="1={left} 2={right}", input_price=1e6, output_price=0)
    assert verdict.same is same
    assert len(server.requests) == calls
    assert verdict.usage == Usage(calls, 10 * calls, 2 * calls, 10.0 * calls)
    assert (verdict.reason is None) == (same is not None)


def test_the_default_policy_of_the_preset_entails_is_both():
    assert Judge("m", template="entails").policy == "both"
    assert Judge("m", template="entails", policy="either").policy == "either"
    assert Judge("m").policy == "forward"


def test_a_failed_call_leaves_its_pair_undecided_with_the_reason():
    picky = choose_by(lambda body: status(400, "context too long") if "long" in prompt(body) else YES)
    with ChatServer(picky) as server:
        verdicts = make_judge(server).judge([Pair("q", "a", "b"), Pair("q", "long", "b"), Pair("q", "a", "c")])
    assert [verdict.same for verdict in verdicts] == [True, None, True]
    assert verdicts[1].reason == "HTTP 400: context too long"


def test_verdicts_arrive_before_a_later_fatal_error():
    with ChatServer(YES, YES, status(401, "key withdrawn")) as server:
        arrived = []
        with pytest.raises(EquivalenceError, match="key withdrawn"):
            arrived += make_judge(server, concurrency=1).stream([Pair("q", "a", str(i)) for i in range(9)])
    assert [(index, verdict.same) for index, verdict in arrived] == [(0, True), (1, True)]


def test_a_fast_pair_does_not_wait_for_a_slow_one():
    with ChatServer(choose_by(lambda body: silent if "slow" in prompt(body) else YES)) as server:
        stream = make_judge(server, timeout=3600).stream([Pair("q", "a", "slow"), Pair("q", "a", "b")])
        assert next(stream)[0] == 1
        stream.close()


def test_pairs_beyond_the_budget_are_undecided_and_cost_nothing():
    with ChatServer(YES) as server:
        verdicts = make_judge(server, token_budget=20, concurrency=1).judge([Pair("q", "a", str(i)) for i in range(4)])
    assert [verdict.same for verdict in verdicts] == [True, True, None, None]
    assert verdicts[2].reason == "the token budget of 20 is spent"
    assert verdicts[2].usage is None


def test_a_server_that_does_not_run_raises_equivalence_error():
    with ChatServer(YES) as server:
        url = server.url
    with pytest.raises(EquivalenceError, match="Is the server running"):
        Judge("m", url).judge([PAIR])


def fold(body):
    """A model that compares letters only, by the own template and by the question of `support`."""
    asked = prompt(body)
    tags = [re.search(rf"<{tag} \w+>\n(.*?)\n</{tag} ", asked, re.DOTALL) for tag in ("text", "sentence")]
    left, right = [found[1] for found in tags] if all(tags) else re.findall(r"\[\[(.*?)\]\]", asked, re.DOTALL)
    return YES if re.sub(r"\W", "", left).lower() == re.sub(r"\W", "", right).lower() else NO


def test_it_passes_the_conformance_checks():
    with ChatServer(choose_by(fold)) as server:
        answers = ["Paris", "paris.", "Rome", "42", "\u6771\u4eac", "a\x00b", "{left}", "(((", " "]
        check_equivalence(make_judge(server, template="[[{left}]] [[{right}]]"), answers=answers)


def test_estimate_uses_it():
    with ChatServer(choose_by(fold)) as server:
        judge = make_judge(server, template="[[{left}]] [[{right}]]")
        result = estimate(["Paris", "paris!", "Rome", "PARIS"], question="Capital of France?", equivalence=judge)
    assert [len(cluster.indices) for cluster in result.clusters] == [3, 1]


def test_settings_hold_exactly_what_a_verdict_depends_on():
    def settings(**options):
        return Judge(**{"model": "m", "base_url": "http://127.0.0.1:1/v1", **options}).settings

    assert settings() == settings(api_key="another-key", concurrency=2, timeout=5, retries=0, token_budget=5)
    assert settings() == settings(base_url="http://127.0.0.1:1/v1/")
    different = [
        {"model": "n"},
        {"base_url": "http://127.0.0.1:2/v1"},
        {"template": "{left}{right}"},
        {"policy": "both"},
        {"structured": False},
        {"logprobs": True},
        {"temperature": 0.5},
        {"temperature": None},
        {"seed": 1},
        {"max_tokens": 5},
        {"extra": {"top_k": 1}},
    ]
    assert len({settings(), *(settings(**options) for options in different)}) == len(different) + 1
    assert settings(extra={"a": 1, "b": 2}) == settings(extra={"b": 2, "a": 1})
    flat = json.dumps(settings())
    assert "another-key" not in flat


def test_describe_shows_the_options_that_are_not_defaults():
    assert Judge("m").describe() == "judge(model='m')"
    shown = Judge("m", template="entails", seed=3, extra={"top_k": 1}, api_key="a-secret-key").describe()
    assert shown == "judge(model='m', template='entails', seed=3, extra={'top_k': 1})"
    assert re.fullmatch(
        r"judge\(model='m', template='own text \w{8}'\)", Judge("m", template="{left}{right}").describe()
    )


def test_extra_goes_into_the_request():
    with ChatServer(YES) as server:
        judge_one(server, extra={"reasoning_effort": "low"}, seed=7, temperature=None, max_tokens=None)
    body = server.requests[0]
    assert (body["reasoning_effort"], body["seed"]) == ("low", 7)
    assert not {"temperature", "max_tokens", "top_p", "n"} & set(body)


OPTIONS = [
    ({"model": ""}, "model=''"),
    ({"template": "sama"}, "Did you mean 'same'?"),
    ({"template": "{left} alone"}, "lacks {left} or {right}"),
    ({"template": 5}, "template=5"),
    ({"policy": "backward"}, "Use one of: both, either, forward"),
    ({"temperature": -1}, "temperature=-1"),
    ({"seed": 1.5}, "seed=1.5"),
    ({"max_tokens": 0}, "max_tokens=0"),
    ({"extra": {"temperature": 1}}, "extra holds 'temperature'"),
    ({"extra": {"stream": True}}, "extra holds 'stream'"),
    ({"extra": {"a": {1, 2}}}, "not an object that JSON can hold"),
    ({"extra": "top_k=1"}, "not an object that JSON can hold"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_an_invalid_option_is_refused_at_construction(options, message):
    with pytest.raises(errors.OptionError) as raised:
        load_equivalence("judge", **{"model": "m", **options})
    assert message in str(raised.value)


def test_the_model_is_required():
    with pytest.raises(errors.OptionError, match="needs the option 'model'"):
        load_equivalence("judge")


def test_a_template_without_the_question_judges_a_pair_once_for_all_questions():
    groups, questions = [["a", "b"]] * 3, ["p", "q", "r"]
    for template, calls in (("Same? {left} / {right}", 1), ("{question}: same? {left} / {right}", 3)):
        with ChatServer(NO) as server:
            estimate(groups, question=questions, equivalence=make_judge(server, template=template))
            assert len(server.requests) == calls


def test_a_cancelled_task_waits_for_no_call_and_sends_no_other():
    class Counts(Judge):
        arrived = 0

        def stream(self, pairs):
            for one in super().stream(pairs):
                self.arrived += 1
                yield one

    async def cancelled(server):
        judge = with_fast_retries(
            Counts("m", server.url, concurrency=1, retries=0, timeout=20.0)
        )  # then a call has failed
        task = asyncio.create_task(aestimate(list("abcdef"), question="q", equivalence=judge))
        while len(server.requests) < 4:  # noqa: ASYNC110  # a thread counts
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return judge

    with ChatServer(NO, NO, NO, silent) as server:
        judge = asyncio.run(cancelled(server))  # which waits for its threads
        assert (len(server.requests), judge.arrived) == (4, 3)


def test_the_support_is_what_the_model_says_about_each_sentence_and_sample():
    pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")

    def reply(body):
        asked = prompt(body)
        if "Oslo" in asked:
            return says("I am not sure.")
        parts = [re.search(rf"<{tag} (\w+)>\n(.*?)\n</{tag} \1>", asked, re.DOTALL)[2] for tag in ("text", "sentence")]
        text, sentence = parts
        return YES if sentence in text else NO

    answer = "Ada lived in London. She wrote letters. She saw Oslo."
    samples = ["Ada lived in London.", "She wrote letters. Ada lived in London."]
    with ChatServer(choose_by(reply)) as server:
        result = estimate(
            [answer, *samples], question="Who?", equivalence="exact", long=True, support=make_judge(server)
        )
        assert len(server.requests) == 6
    found = result.long_answer
    assert [each.uncertainty for each in found.sentences[:2]] == [0.0, 0.5]
    assert math.isnan(found.sentences[2].uncertainty)
    assert found.sentences[2].undecided == 2
    assert found.usage.requests == 6
    assert any("the reply is neither yes nor no" in warning for warning in result.warnings)
