"""LLM as judge: what is asked, what is read, what it costs; against a real server on the loopback address."""

from __future__ import annotations

import asyncio
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import EquivalenceError, Pair, aestimate, estimate, load_equivalence
from semantic_entropy.plugin import Usage, errors
from semantic_entropy.testing import check_equivalence
from semantic_entropy_plugins.endpoint.replies import Choice, Token
from semantic_entropy_plugins.judge.judge_prompts import FORM, PRESETS, SCHEMA, fill
from semantic_entropy_plugins.judge.llm_judge import Judge
from semantic_entropy_plugins.judge.verdict_reading import read_verdict
from tests.plugins.chat_server import ChatServer, by, prompt, says, silent, soon, status

PAIR = Pair("What is it?", "b", "a")
YES, NO = says('{"same": true}'), says('{"same": false}')


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def judge(server, **options):
    return soon(Judge("m", server.url, **{"timeout": 10.0, **options}))


def one(server, pair=PAIR, **options):
    (verdict,) = judge(server, **options).judge([pair])
    return verdict


READ = [  # what the model says, the verdict
    ('{"same": true}', True),
    ('{"same": false}', False),
    (' \n{"same":\ttrue} ', True),
    ('```json\n{"same": true}\n```', True),
    ("```\nno\n```", False),
    ('{"same": true, "why": "both name Paris"}', True),
    ('<think>yes? no!</think>{"same": false}', False),
    ("yes", True),
    ("Yes.", True),
    ("**No**", False),
    ("TRUE", True),
    ("false", False),
    ("`no`", False),
    ("<think>hm</think>\n\nYes", True),
    ('{"same": "true"}', None),
    ('{"same": 1}', None),
    ('{"same": null}', None),
    ('{"same": true, "same": false}', None),
    ('{"different": true}', None),
    ('[["same", true]]', None),
    ('[{"same": true}]', None),
    ("Yes, but no", None),
    ("Yes, they mean the same.", None),
    ('The verdict is {"same": true}', None),
    ("yes no", None),
    ("I cannot decide that.", None),
    ("maybe", None),
    ("1", None),
    ("", None),
    ("<think>yes", None),
    ('{"same": tru', None),
    ("[" * 100_000, None),
]


@pytest.mark.parametrize(("said", "same"), READ)
def test_a_verdict_is_a_boolean_or_a_bare_word(said, same):
    verdict = read_verdict(Choice(said))
    assert verdict.same is same
    assert (verdict.reason is None) == (same is not None)


@given(st.text())
def test_no_text_is_an_error(said):
    verdict = read_verdict(Choice(said))
    assert verdict.same is not None or verdict.reason


def test_what_is_no_verdict_is_shown_and_what_was_cut_off_says_so():
    assert "I cannot tell" in read_verdict(Choice("I cannot tell " * 50)).reason
    assert len(read_verdict(Choice("I cannot tell " * 50)).reason) < 150
    assert "raise max_tokens=" in read_verdict(Choice("<think>well", finish_reason="length")).reason
    assert "content_filter" in read_verdict(Choice("", finish_reason="content_filter")).reason


def token(text, p, **top):
    return Token(text.encode(), math.log(p), tuple((other, math.log(q)) for other, q in top.items()))


SCORES = [  # tokens, P(yes) / (P(yes) + P(no))
    ([token("yes", 0.6, yes=0.6, no=0.2, Yes=0.1)], 0.7 / 0.9),
    ([token('{"', 1), token("same", 1), token('":', 1), token(" true", 0.9, **{" true": 0.9, " false": 0.1})], 0.9),
    ([token("No", 0.8, No=0.8)], 0.0),
    ([token("no", 0.5), token("</think>", 1), token("yes", 0.9, no=0.1)], 0.9),
    ([token("\u0120yes", 0.5, **{"\u2581no": 0.25})], 2 / 3),
    ([token("ye", 1), token("s", 1)], None),
    ([], None),
]


@pytest.mark.parametrize(("tokens", "score"), SCORES)
def test_the_score_is_the_share_of_yes_at_the_token_that_decides(tokens, score):
    found = read_verdict(Choice("yes", tokens=tuple(tokens))).score
    assert found == (None if score is None else pytest.approx(score))


def test_the_prompt_holds_the_texts_between_marked_tags_and_says_what_to_reply():
    with ChatServer(YES) as server:
        assert one(server).same is True
    (body,) = server.requests
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.0, 1024)
    assert body["response_format"] == SCHEMA
    assert "logprobs" not in body
    (message,) = body["messages"]
    mark = re.search(r"<answer 1 (\w{12})>\na\n</answer 1 \1>", message["content"])[1]
    assert f"<answer 2 {mark}>\nb\n</answer 2 {mark}>" in message["content"]
    assert f"<question {mark}>\nWhat is it?\n</question {mark}>" in message["content"]
    assert message["content"].endswith(FORM[True])


@pytest.mark.parametrize("preset", PRESETS)
@given(left=st.text(), right=st.text(), question=st.none() | st.text())
def test_no_answer_can_write_the_tag_that_ends_it(preset, left, right, question):
    told = fill(PRESETS[preset], Pair(question, left, right))
    mark = re.search(r"marked (\w{12})", told)[1]
    assert mark not in left + right + (question or "")
    assert told.count(f"</answer 1 {mark}>") == told.count(f"</answer 2 {mark}>") == 1


def test_a_text_of_ones_own_is_filled_in_one_go_and_its_braces_stay():
    template = 'Q={question} L={left} R={right} {"same": {mark}} {left}'
    told = fill(template, Pair(None, "{right}", "x{left}{0}"))
    assert re.fullmatch(r'Q=\(not given\) L=\{right\} R=x\{left\}\{0\} \{"same": \w{12}\} \{right\}', told)


def test_a_server_without_response_format_is_asked_for_a_word_from_then_on():
    plain = by(lambda body: status(400, "unknown field response_format") if "response_format" in body else says("No."))
    with ChatServer(plain) as server:
        asked = judge(server, concurrency=1)
        verdicts = asked.judge([Pair("q", "a", str(i)) for i in range(3)])
        assert ["response_format" in body for body in server.requests] == [True, False, False, False]
    assert [verdict.same for verdict in verdicts] == [False] * 3
    assert verdicts[0].usage.requests == 2
    assert prompt(server.requests[0]).endswith(FORM[True])
    assert prompt(server.requests[1]).endswith(FORM[False])


def test_not_structured_never_sends_a_response_format():
    with ChatServer(says("yes")) as server:
        assert one(server, structured=False).same is True
    assert "response_format" not in server.requests[0]


def test_the_limit_goes_by_its_newer_name_where_the_server_wants_that():
    picky = by(
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
        assert one(server, max_tokens=77).same is True
    assert server.requests[1]["max_completion_tokens"] == 77


def test_log_probabilities_give_a_score_where_the_server_has_them_and_are_left_out_where_it_refuses():
    content = [{"token": "yes", "logprob": -0.1, "top_logprobs": [{"token": "no", "logprob": -2.0}]}]
    with ChatServer(says("yes", logprobs={"content": content})) as server:
        verdict = one(server, logprobs=True)
    assert (server.requests[0]["logprobs"], server.requests[0]["top_logprobs"]) == (True, 5)
    assert verdict.score == pytest.approx(1 / (1 + math.exp(-1.9)))
    refuses = by(lambda body: status(400, "logprobs are not supported") if "logprobs" in body else YES)
    with ChatServer(refuses) as server:
        verdict = one(server, logprobs=True)
    assert (verdict.same, verdict.score) == (True, None)
    assert "top_logprobs" not in server.requests[1]


def directions(there, back):
    """Says one thing of a before b, another of b before a; None is prose."""
    said = {True: "yes", False: "no", None: "well"}
    return by(lambda body: says(said[there if "1=a" in prompt(body) else back]))


POLICIES = [  # policy, a before b, b before a, the verdict, how many calls
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


@pytest.mark.parametrize(("policy", "there", "back", "same", "asked"), POLICIES)
@pytest.mark.parametrize("pair", [Pair("q", "a", "b"), Pair("q", "b", "a")])
def test_the_second_order_is_asked_only_where_the_first_leaves_it_open(policy, there, back, same, asked, pair):
    with ChatServer(directions(there, back)) as server:
        verdict = one(server, pair, policy=policy, template="1={left} 2={right}", input_price=1e6, output_price=0)
    assert verdict.same is same
    assert len(server.requests) == asked
    assert verdict.usage == Usage(asked, 10 * asked, 2 * asked, 10.0 * asked)
    assert (verdict.reason is None) == (same is not None)


def test_entailment_is_asked_both_ways_unless_said_otherwise():
    assert Judge("m", template="entails").policy == "both"
    assert Judge("m", template="entails", policy="either").policy == "either"
    assert Judge("m").policy == "forward"


def test_a_call_that_fails_leaves_its_pair_undecided_and_says_why():
    picky = by(lambda body: status(400, "context too long") if "long" in prompt(body) else YES)
    with ChatServer(picky) as server:
        verdicts = judge(server).judge([Pair("q", "a", "b"), Pair("q", "long", "b"), Pair("q", "a", "c")])
    assert [verdict.same for verdict in verdicts] == [True, None, True]
    assert verdicts[1].reason == "HTTP 400: context too long"


def test_verdicts_come_as_they_are_there_and_stand_when_a_later_call_ends_it_all():
    with ChatServer(YES, YES, status(401, "key withdrawn")) as server:
        came = []
        with pytest.raises(EquivalenceError, match="key withdrawn"):
            came += judge(server, concurrency=1).stream([Pair("q", "a", str(i)) for i in range(9)])
    assert [(index, verdict.same) for index, verdict in came] == [(0, True), (1, True)]


def test_a_fast_pair_does_not_wait_for_a_slow_one():
    with ChatServer(by(lambda body: silent if "slow" in prompt(body) else YES)) as server:
        stream = judge(server, timeout=3600).stream([Pair("q", "a", "slow"), Pair("q", "a", "b")])
        assert next(stream)[0] == 1
        stream.close()


def test_pairs_beyond_the_budget_are_undecided_and_cost_nothing():
    with ChatServer(YES) as server:
        verdicts = judge(server, token_budget=20, concurrency=1).judge([Pair("q", "a", str(i)) for i in range(4)])
    assert [verdict.same for verdict in verdicts] == [True, True, None, None]
    assert verdicts[2].reason == "the token budget of 20 is spent"
    assert verdicts[2].usage is None


def test_a_server_that_is_not_there_is_an_error_of_the_judge():
    with ChatServer(YES) as server:
        url = server.url
    with pytest.raises(EquivalenceError, match="Is the server running"):
        Judge("m", url).judge([PAIR])


def fold(body):
    """A judge that works: equal letters mean the same."""
    left, right = re.findall(r"\[\[(.*?)\]\]", prompt(body), re.DOTALL)
    return YES if re.sub(r"\W", "", left).lower() == re.sub(r"\W", "", right).lower() else NO


def test_it_passes_the_conformance_checks():
    with ChatServer(by(fold)) as server:
        answers = ["Paris", "paris.", "Rome", "42", "\u6771\u4eac", "a\x00b", "{left}", "(((", " "]
        check_equivalence(judge(server, template="[[{left}]] [[{right}]]"), answers=answers)


def test_estimate_uses_it():
    with ChatServer(by(fold)) as server:
        asked = judge(server, template="[[{left}]] [[{right}]]")
        result = estimate(["Paris", "paris!", "Rome", "PARIS"], question="Capital of France?", equivalence=asked)
    assert [len(cluster.indices) for cluster in result.clusters] == [3, 1]


def test_settings_hold_what_a_verdict_depends_on_and_nothing_else():
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


def test_it_describes_itself_by_what_is_not_the_default():
    assert Judge("m").describe() == "judge(model='m')"
    shown = Judge("m", template="entails", seed=3, extra={"top_k": 1}, api_key="a-secret-key").describe()
    assert shown == "judge(model='m', template='entails', seed=3, extra={'top_k': 1})"
    assert re.fullmatch(
        r"judge\(model='m', template='own text \w{8}'\)", Judge("m", template="{left}{right}").describe()
    )


def test_extra_goes_into_the_request():
    with ChatServer(YES) as server:
        one(server, extra={"reasoning_effort": "low"}, seed=7, temperature=None, max_tokens=None)
    body = server.requests[0]
    assert (body["reasoning_effort"], body["seed"]) == ("low", 7)
    assert not {"temperature", "max_tokens", "top_p", "n"} & set(body)


OPTIONS = [
    ({"model": ""}, "model=''"),
    ({"template": "sama"}, "Did you mean 'same'?"),
    ({"template": "{left} alone"}, "lacks {left} or {right}"),
    ({"template": 5}, "template=5"),
    ({"policy": "backward"}, "use one of forward, both, either"),
    ({"temperature": -1}, "temperature=-1"),
    ({"seed": 1.5}, "seed=1.5"),
    ({"max_tokens": 0}, "max_tokens=0"),
    ({"extra": {"temperature": 1}}, "extra holds 'temperature'"),
    ({"extra": {"stream": True}}, "extra holds 'stream'"),
    ({"extra": {"a": {1, 2}}}, "not an object that JSON can hold"),
    ({"extra": "top_k=1"}, "not an object that JSON can hold"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_an_option_that_cannot_be_used_is_refused_at_construction(options, message):
    with pytest.raises(errors.OptionError) as raised:
        load_equivalence("judge", **{"model": "m", **options})
    assert message in str(raised.value)


def test_the_model_is_required():
    with pytest.raises(errors.OptionError, match="needs the option 'model'"):
        load_equivalence("judge")


def test_a_template_without_the_question_asks_about_a_pair_once_whatever_the_question():
    groups, questions = [["a", "b"]] * 3, ["p", "q", "r"]
    for template, calls in (("Same? {left} / {right}", 1), ("{question}: same? {left} / {right}", 3)):
        with ChatServer(NO) as server:
            estimate(groups, question=questions, equivalence=judge(server, template=template))
            assert len(server.requests) == calls


def test_a_cancelled_task_waits_for_no_call_and_makes_no_further_one():
    class Counts(Judge):
        came = 0

        def stream(self, pairs):
            for one in super().stream(pairs):
                self.came += 1
                yield one

    async def cancelled(server):
        asked = soon(Counts("m", server.url, concurrency=1, retries=0, timeout=20.0))  # then a call has failed
        task = asyncio.create_task(aestimate(list("abcdef"), question="q", equivalence=asked))
        while len(server.requests) < 4:  # noqa: ASYNC110  # a thread counts
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return asked

    with ChatServer(NO, NO, NO, silent) as server:
        asked = asyncio.run(cancelled(server))  # which waits for its threads
        assert (len(server.requests), asked.came) == (4, 3)
