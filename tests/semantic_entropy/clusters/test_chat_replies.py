"""Replies of chat models as responses."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pytest

from semantic_entropy import InputError, estimate
from semantic_entropy.clusters import read_replies


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
        ([choice(None, refusal="I can't help with that."), choice(None)], ["I can't help with that.", ""], None),
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
