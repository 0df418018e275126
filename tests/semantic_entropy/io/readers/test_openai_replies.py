"""Replies of an OpenAI-compatible API: chat completions, and the output of a batch."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from semantic_entropy import InputError
from semantic_entropy.cli import main
from semantic_entropy.io.formats import InputOptions
from tests.semantic_entropy.io.measured_files import measure, read, write


def completion(*texts, **message):
    """A chat completion in the form that OpenAI's reference documents, with one choice for each text."""
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": None, **message},
            "logprobs": {"content": [{"token": str(text), "logprob": -0.5, "bytes": None, "top_logprobs": []}]},
            "finish_reason": "stop",
        }
        for index, text in enumerate(texts)
    ]
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}


def batch_line(custom_id, body, status=200, error=None):
    response = {"status_code": status, "request_id": "r", "body": body} if error is None else None
    return {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": response, "error": error}


def request(custom_id, question):
    body = {"model": "m", "messages": [{"role": "system", "content": "x"}, {"role": "user", "content": question}]}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


@pytest.mark.parametrize("form", ["lines", "array", "object"])
def test_the_choices_of_a_completion_are_its_responses(tmp_path, form, capsys):
    reply = completion("Paris", "It is Paris", None, refusal=None)
    source = tmp_path / "in.json"
    text = {"lines": json.dumps(reply) + "\n" + json.dumps(reply), "array": json.dumps([reply], indent=1)}
    source.write_text(text.get(form, json.dumps(reply, indent=1)))
    measure(source, tmp_path / "out.jsonl")
    rows = read(tmp_path / "out.jsonl")
    assert len(rows) == (2 if form == "lines" else 1)
    assert rows[0]["answers"] == ["Paris", "It is Paris", None]
    assert "likelihood" in rows[0]["scores"]
    assert rows[0]["choices"] == reply["choices"]  # the row is unchanged
    assert "in.json: read as replies of an OpenAI-compatible API" in capsys.readouterr().err


def test_a_batch_output_gets_its_questions_from_the_requests_and_failures_are_bad_rows(tmp_path):
    source = write(
        tmp_path / "output.jsonl",
        [
            batch_line("b", completion("half full", "half empty")),
            batch_line("c", None, error={"code": "batch_expired", "message": "This request could not be executed."}),
            batch_line("a", completion("Paris", "Rome")),
            batch_line("d", {"error": {"message": "Rate limit", "type": "rate"}}, status=429),
            batch_line("unknown", completion("x", "y")),
        ],
    )
    requests = write(
        tmp_path / "input.jsonl", [request(id_, f"{id_}: half full or half empty?") for id_ in ("a", "b", "c", "d")]
    )
    options = InputOptions(requests=str(requests))
    summary = measure(source, tmp_path / "out.jsonl", options=options, equivalence="text")
    assert [row["custom_id"] for row in read(tmp_path / "out.jsonl")] == ["b", "a"]
    assert not summary.warning
    assert [(row["line"], row["problem"]) for row in read(tmp_path / "out.jsonl.bad.jsonl")] == [
        (2, "the request failed: This request could not be executed."),
        (4, "the request failed with status 429: Rate limit"),
        (5, "no request with the custom_id 'unknown' is in the file of --requests"),
    ]
    summary = measure(source, tmp_path / "without.jsonl", equivalence="text")
    assert "3 of 3 rows have no field with a question" in summary.warning
    assert "--requests FILE (the input of the batch) or --question FIELD" in summary.warning


def test_a_batch_with_one_request_for_each_response_is_grouped_by_its_question(tmp_path):
    lines = [("q1-0", "Paris"), ("q2-0", "Rome"), ("q1-1", "Paris"), ("q2-1", "Milan"), ("q1-2", "Lyon")]
    source = write(tmp_path / "output.jsonl", [batch_line(id_, completion(text)) for id_, text in lines])
    requests = write(tmp_path / "input.jsonl", [request(id_, f"{id_[:2]}?") for id_, _ in lines])
    measure(source, tmp_path / "out.jsonl", options=InputOptions(group_by="question", requests=str(requests)))
    rows = read(tmp_path / "out.jsonl")
    assert [row["answers"] for row in rows] == [["Paris", "Paris", "Lyon"], ["Rome", "Milan"]]
    assert rows[0]["custom_id"] == ["q1-0", "q1-1", "q1-2"]
    assert "likelihood" in rows[0]["scores"]


def test_two_requests_with_one_custom_id_are_an_error(tmp_path):
    source = write(tmp_path / "output.jsonl", [batch_line("a", completion("x", "y"))])
    requests = write(tmp_path / "input.jsonl", [request("a", "one?"), request("a", "two?")])
    with pytest.raises(InputError, match=r"input\.jsonl, line 2: the custom_id 'a' was in a line before"):
        measure(source, tmp_path / "out.jsonl", options=InputOptions(requests=str(requests)))


def test_anthropics_batches_are_read(tmp_path):
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Rome"}]
    message = {"type": "message", "role": "assistant", "content": content}
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    rows = [
        {"custom_id": "a", "result": {"type": "succeeded", "message": message}},
        {"custom_id": "b", "result": {"type": "errored", "error": error}},
    ]
    measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl")[0]["answers"] == ["Rome"]
    assert read(tmp_path / "out.jsonl.bad.jsonl")[0]["problem"] == "the request is errored: Overloaded"


def test_requests_are_refused_as_the_input_and_for_other_inputs(tmp_path):
    requests = write(tmp_path / "input.jsonl", [request("a", "b?")])
    with pytest.raises(InputError, match="give the output of the batch as the input, and this file as --requests"):
        measure(requests, tmp_path / "out.jsonl")
    rows = write(tmp_path / "rows.jsonl", [{"responses": ["a"]}])
    with pytest.raises(InputError, match="--requests is for the output of a batch, and .* is read as jsonl"):
        measure(rows, tmp_path / "out.jsonl", options=InputOptions(requests=str(requests)))
    output = write(tmp_path / "output.jsonl", [batch_line("a", completion("x"))])
    with pytest.raises(InputError, match=r"rows\.jsonl, line 1: not a request of a batch"):
        measure(output, tmp_path / "out.jsonl", options=InputOptions(requests=str(rows)))


def test_a_batch_output_can_be_standard_input(tmp_path):
    lines = json.dumps(batch_line("a", completion("x" * 20_000, "y"))) + "\n"
    done = CliRunner().invoke(main, ["estimate", "-", "-o", str(tmp_path / "out.jsonl")], input=lines)
    assert done.exit_code == 0, done.output
    assert read(tmp_path / "out.jsonl")[0]["n_valid"] == 2


def test_rows_grouped_by_the_question_of_a_batch_have_it_and_the_warning_of_their_cut_off_replies(tmp_path):
    write(tmp_path / "requests.jsonl", [request(f"q{n}", "Where?") for n in range(3)])
    replies = [completion("It is"), completion("Paris"), completion("It is")]
    for cut in (0, 2):
        replies[cut]["choices"][0]["finish_reason"] = "length"
    source = write(tmp_path / "batch.jsonl", [batch_line(f"q{n}", reply) for n, reply in enumerate(replies)])
    options = InputOptions(requests=str(tmp_path / "requests.jsonl"), group_by="question")
    done = measure(source, tmp_path / "out.jsonl", options=options)
    assert (done.responses, done.cut_off) == (3, 2)
    (row,) = read(tmp_path / "out.jsonl")
    assert row["question"] == "Where?"
    assert any("2 of 3 responses were cut off at the token limit" in warning for warning in row["warnings"])
    measure(source, tmp_path / "single.jsonl", options=InputOptions(requests=options.requests))
    single = [" ".join(each["warnings"]) for each in read(tmp_path / "single.jsonl")]
    assert ["cut off" in warnings for warnings in single] == [True, False, True]


def test_replies_that_reached_the_token_limit_without_a_text_are_counted_and_named(tmp_path):
    reply = completion("", "Paris")
    reply["choices"][0]["finish_reason"] = "length"
    source = write(tmp_path / "batch.jsonl", [batch_line("a", reply)])
    done = measure(source, tmp_path / "out.jsonl")
    assert "1 of 2 responses (50.0%) were cut off at the token limit: raise max_tokens" in str(done)
    (row,) = read(tmp_path / "out.jsonl")
    assert any("1 of 2 responses were cut off at the token limit" in warning for warning in row["warnings"])


def with_alternatives(reply, *values):
    """The reply with the most probable tokens of each choice."""
    for choice, value in zip(reply["choices"], values, strict=True):
        (token,) = choice["logprobs"]["content"]
        token["top_logprobs"] = [{"token": "x", "logprob": each, "bytes": None} for each in value]
    return reply


TOP = ([-0.5, -2.0], [-0.5, -1.0])


def test_the_most_probable_tokens_of_a_batch_are_evidence_also_of_one_request_for_each_response(tmp_path):
    plain = [{"responses": ["Paris", "Rome"], "logprobs": [[-0.5], [-0.5]], "top_logprobs": [[top] for top in TOP]}]
    choices = {"estimator": ["discrete", "epr", "predictive"]}
    measure(write(tmp_path / "plain.jsonl", plain), tmp_path / "expected.jsonl", **choices)
    (expected,) = read(tmp_path / "expected.jsonl")
    together = [batch_line("a", with_alternatives(completion("Paris", "Rome"), *TOP))]
    measure(write(tmp_path / "batch.jsonl", together), tmp_path / "together.jsonl", **choices)
    (row,) = read(tmp_path / "together.jsonl")
    assert row["scores"] == expected["scores"]
    answers = zip(("Paris", "Rome"), TOP, strict=True)
    lines = [batch_line(text, with_alternatives(completion(text), top)) for text, top in answers]
    requests = write(tmp_path / "requests.jsonl", [request("Paris", "Capital?"), request("Rome", "Capital?")])
    options = InputOptions(requests=str(requests), group_by="question")
    measure(write(tmp_path / "each.jsonl", lines), tmp_path / "grouped.jsonl", options=options, **choices)
    (row,) = read(tmp_path / "grouped.jsonl")
    assert row["scores"] == expected["scores"]


def test_a_reply_without_the_alternatives_is_a_bad_row(tmp_path):
    lines = [batch_line("a", with_alternatives(completion("a", "b"), *TOP)), batch_line("b", completion("a", "b"))]
    summary = measure(write(tmp_path / "batch.jsonl", lines), tmp_path / "out.jsonl", estimator=["discrete", "epr"])
    assert (summary.rows, summary.rejected) == (1, 1)
    (bad,) = read(tmp_path / "out.jsonl.bad.jsonl")
    assert bad["problem"].startswith("estimator 'epr' needs top_logprobs")


def test_alternatives_that_no_estimator_reads_do_not_change_the_key_of_a_row(tmp_path):
    for name, reply in (("a", completion("a", "b")), ("b", with_alternatives(completion("a", "b"), *TOP))):
        measure(write(tmp_path / f"{name}.jsonl", [batch_line("1", reply)]), tmp_path / f"{name}-out.jsonl")
    keys = [read(tmp_path / f"{name}-out.jsonl")[0]["row_key"] for name in "ab"]
    assert keys[0] == keys[1]
