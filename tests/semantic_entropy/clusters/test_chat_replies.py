"""Replies of chat models as responses."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pytest

from semantic_entropy import EvidenceError, InputError, Sample, estimate
from semantic_entropy.clusters import greedy_answer, read_replies


def choice(text, tokens=None, **message):
    logprobs = tokens and {"content": [{"token": token, "logprob": value} for token, value in tokens]}
    return {"index": 0, "message": {"role": "assistant", "content": text, **message}, "logprobs": logprobs}


class Model:
    """An object of a client library, such as openai's ChatCompletion."""

    def __init__(self, fields):
        self._fields = fields

    def model_dump(self):
        return self._fields


TOKENS = [("Par", -0.1), ("is", -0.2)]
RESPONSE = {  # the form of OpenAI's Responses API
    "object": "response",
    "output": [
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Paris", "logprobs": []}]},
    ],
}


@pytest.mark.parametrize(
    ("value", "texts", "logprobs"),
    [
        ([choice("Paris", TOKENS), choice("", [("", -1.0)])], ["Paris", ""], [[-0.1, -0.2], [-1.0]]),
        ([choice("Paris", TOKENS), choice("Rome")], ["Paris", "Rome"], None),
        ({"choices": [choice("Paris")]}, ["Paris"], None),
        (Model({"choices": [choice("Paris")]}), ["Paris"], None),
        ([Model(choice("Paris")), Model(choice("Rome"))], ["Paris", "Rome"], None),
        ([{"choices": [choice("a"), choice("b")]}, {"choices": [choice("c")]}], ["a", "b", "c"], None),
        ([choice(None, refusal="I can't help with that."), choice(None)], ["", ""], None),
        ([choice([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Rome"}])], ["Rome"], None),
        (
            [choice("Paris", [("Let me", -0.3), (" see.", -0.4), *TOKENS], reasoning_content="Let me see.")],
            ["Paris"],
            [[-0.1, -0.2]],
        ),
        ([choice("Paris", [("?", -0.3)], reasoning="other tokens")], ["Paris"], None),
        ([{"text": "Paris", "finish_reason": "stop", "logprobs": {"token_logprobs": [-0.1]}}], ["Paris"], [[-0.1]]),
        (RESPONSE, ["Paris"], None),
        ([{"role": "assistant", "content": "Paris"}, "Rome"], ["Paris", "Rome"], None),
        ({"model": "llama3", "message": {"role": "assistant", "content": "Paris"}, "done": True}, ["Paris"], None),
    ],
)
def test_the_texts_and_log_probabilities_of_replies_are_read(value, texts, logprobs):
    assert read_replies(value)[:2] == (texts, logprobs)


@pytest.mark.parametrize("value", [["Paris"], "Paris", [], [1], {"a": 1}, None, [{"text": "no reply"}], [choice(5)]])
def test_other_values_are_no_replies(value):
    assert read_replies(value) is None


def test_choices_are_responses_of_a_call_and_of_a_table():
    choices = [choice("Paris", TOKENS), choice("Paris", TOKENS), choice("Rome", TOKENS)]
    plain = estimate(["Paris", "Paris", "Rome"], logprobs=[[-0.1, -0.2]] * 3)
    assert estimate(choices).scores == plain.scores
    assert estimate(Model({"choices": choices})).scores == plain.scores
    assert estimate([choices, choices])[1].scores == plain.scores
    for kind in (pd.DataFrame, pl.DataFrame):
        table = estimate(kind({"responses": [choices]}), equivalence="exact")
        assert table["entropy"].to_list() == [plain.entropy]
    with pytest.raises(InputError, match="response 1 is 5"):
        estimate(["Paris", 5])


@pytest.mark.parametrize(
    ("reply", "cut_off"),
    [
        ({"message": {"role": "assistant", "content": "It is"}, "finish_reason": "length"}, True),
        ({"text": "It is", "index": 0, "finish_reason": "length"}, True),
        ({"role": "assistant", "content": [{"type": "text", "text": "It is"}], "stop_reason": "max_tokens"}, True),
        ({"message": {"role": "assistant", "content": "It is"}, "done_reason": "length"}, True),
        ({"object": "response", "output": [], "incomplete_details": {"reason": "max_output_tokens"}}, True),
        ({"message": {"role": "assistant", "content": "length"}, "finish_reason": "stop"}, False),
    ],
)
def test_replies_that_were_cut_off_are_counted_and_the_result_warns(reply, cut_off):
    assert read_replies([reply, reply]).cut_off == 2 * cut_off
    warnings = " ".join(estimate([reply, reply], equivalence="exact").warnings)
    assert ("2 of 2 responses were cut off" in warnings) is cut_off


# Evidence.

TOP = [[-0.1, -2.5], [-0.3, -1.5]]  # of two tokens


def with_top(tokens=("Par", "is"), top=TOP, **message):
    """A choice with the most probable tokens, as OpenAI's reference documents it."""
    content = [
        {
            "token": token,
            "logprob": values[0],
            "bytes": None,
            "top_logprobs": [{"token": f"t{i}", "logprob": value, "bytes": None} for i, value in enumerate(values)],
        }
        for token, values in zip(tokens, top, strict=True)
    ]
    return {**choice("Paris", **message), "finish_reason": "stop", "logprobs": {"content": content, "refusal": None}}


PARTS = [{"type": "output_text", "text": "Paris", "logprobs": with_top()["logprobs"]["content"]}]
COMPLETION = {"tokens": ["Par", "is"], "token_logprobs": [-0.1, -0.3]}
SAMPLE = {"text": "Paris", "logprobs": [-0.1, -0.3], "top_logprobs": TOP}


@pytest.mark.parametrize(
    "reply",
    [
        with_top(),
        with_top(("Let", " me", "Par", "is"), [[-1.0], [-2.0], *TOP], reasoning_content="Let me"),
        {"object": "response", "output": [{"type": "message", "role": "assistant", "content": PARTS}]},
        {"message": {"role": "assistant", "content": "Paris"}, "logprobs": with_top()["logprobs"]["content"]},
        {
            "text": "Paris",
            "index": 0,
            "logprobs": {
                **COMPLETION,
                "top_logprobs": [{"Par": -0.1, "Lon": -2.5}, {"is": -0.3, "ma": -1.5}],
            },
        },
        SAMPLE,
        Sample("Paris", (-0.1, -0.3), top_logprobs=tuple(map(tuple, TOP))),
    ],
)
def test_the_most_probable_tokens_of_a_reply_are_evidence(reply):
    given = estimate(
        ["Paris"] * 2, logprobs=[[-0.1, -0.3]] * 2, top_logprobs=[TOP] * 2, estimator=["epr", "predictive"]
    )
    read = estimate([reply, reply], estimator=["epr", "predictive"])
    assert read.scores == given.scores
    assert estimate([[reply, reply]] * 2, estimator=["epr", "predictive"])[1].scores == given.scores
    table = estimate(pd.DataFrame({"responses": [[reply] * 2]}), equivalence="exact", estimator=["epr", "predictive"])
    assert table["scores"][0] == given.scores
    greedy = estimate(["Paris", "Rome"], greedy=reply, estimator=["discrete", "epr"])
    assert greedy.scores["epr"] == given.scores["epr"]


def test_all_that_a_sample_knows_is_evidence():
    sample = {**SAMPLE, "token_entropies": [0.5, 0.7], "hidden_state": [0.1, 0.2, -1.0], "finish_reason": "length"}
    other = {**sample, "text": "Rome", "hidden_state": [1.0, 0.0, 0.5], "finish_reason": "stop"}
    read = read_replies([sample, other])
    assert (read.texts, read.cut_off, read.logprobs) == (["Paris", "Rome"], 1, [[-0.1, -0.3]] * 2)
    assert read.evidence["hidden_state"] == [[0.1, 0.2, -1.0], [1.0, 0.0, 0.5]]
    result = estimate([sample, other], estimator="eigenscore")
    states = [[0.1, 0.2, -1.0], [1.0, 0.0, 0.5]]
    assert result.scores == estimate(["Paris", "Rome"], hidden_state=states, estimator="eigenscore").scores
    assert greedy_answer(other) == Sample(
        "Rome",
        (-0.1, -0.3),
        "stop",
        None,
        (0.5, 0.7),
        (1.0, 0.0, 0.5),
        None,
        (
            (-0.1, -2.5),
            (-0.3, -1.5),
        ),
    )


def test_evidence_that_the_caller_gives_is_used_in_place_of_that_of_the_replies():
    other = [[[-0.5, -1.0], [-0.5, -1.0]]] * 2
    given = estimate(["Paris"] * 2, top_logprobs=other, estimator="epr")
    assert estimate([with_top()] * 2, top_logprobs=other, estimator="epr").scores == given.scores


@pytest.mark.parametrize(
    "lacking",
    [
        choice("Paris", TOKENS),
        {
            **choice("Paris"),
            "logprobs": {"content": [PARTS[0]["logprobs"][0], {"token": "is", "logprob": -1}]},
        },
        {"text": "Paris", "index": 0, "logprobs": {**COMPLETION, "top_logprobs": [None, {"is": -0.3}]}},
        {**SAMPLE, "top_logprobs": None},
        {**SAMPLE, "top_logprobs": []},
        "Paris",
    ],
)
def test_one_reply_without_alternatives_is_missing_evidence_and_never_certainty(lacking):
    with pytest.raises(EvidenceError, match="estimator 'epr' needs top_logprobs"):
        estimate([with_top(), lacking], estimator="epr")
    assert estimate([with_top(), lacking], estimator="discrete").entropy == 0


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({**SAMPLE, "top_logprobs": [[-0.1]]}, "response 0 has 2 logprobs and 1 top_logprobs"),
        ({**SAMPLE, "top_logprobs": [[0.7], [-0.1]]}, "top_logprobs of token 0 hold 0.7"),
        ({**SAMPLE, "logprobs": "high"}, "logprobs of response 0 are 'high'"),
    ],
)
def test_impossible_numbers_of_a_sample_are_errors(sample, message):
    with pytest.raises(EvidenceError, match=message):
        estimate([sample, sample], estimator="epr")


def test_a_greedy_answer_is_one_reply():
    with pytest.raises(EvidenceError, match="greedy has 2 replies, and the greedy answer is one of them"):
        estimate(["a", "b"], greedy={"choices": [choice("a"), choice("b")]}, estimator=["discrete", "cocoa"])


@pytest.mark.parametrize(
    "reply",
    [
        {**choice("I"), "finish_reason": "content_filter"},
        choice("I can't", refusal="I can't"),
        {"role": "assistant", "content": [{"type": "text", "text": "I will"}], "stop_reason": "refusal"},
        Sample("I", finish_reason="content_filter"),
    ],
    ids=["filtered", "refused", "stopped by a refusal", "a filtered sample"],
)
def test_a_reply_that_was_refused_is_no_response_whatever_it_says(reply):
    assert read_replies([reply, reply]).texts == ["", ""]
