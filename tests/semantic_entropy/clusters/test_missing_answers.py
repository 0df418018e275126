"""Texts where an answer is missing: markup without text, error messages, and placeholders, which may be answers."""

from __future__ import annotations

import pytest

from semantic_entropy import Result, estimate
from semantic_entropy.clusters.missing_answers import has_no_text, is_error_message, is_placeholder
from semantic_entropy.decisions import entropy_rule, why_unusable
from semantic_entropy.plugin import load_extractor

NO_TEXT = [
    "\\boxed{}",
    "**\\boxed{}**",
    "$\\boxed{\\text{ }}$",
    "$$\\boxed{ }$$",
    "$$",
    "\\( \\)",
    "\\[ \\]",
    "<br><br>",
    "<p></p>",
    "<p>&nbsp;</p>",
    "<div><p></p></div>",
    "<answer>\n</answer>",
    "<!-- -->",
    "&nbsp;",
    "```\n```",
    "```python\n\n```",
    "``````",
    "</s>",
    "<unk>",
    "<|im_end|>",
    "<|endoftext|> <|endoftext|>",
    "[INST]",
]
ERRORS = [
    "Error: 429 Too Many Requests",
    "**Error:** 429 Too Many Requests",
    "HTTP 429: Too Many Requests",
    "Error code: 429 - {'error': {'message': 'Rate limit reached'}}",
    "Error 529",
    "API Error: 529 Overloaded",
    "status code 503",
    "503 Service Unavailable: try again later",
    "504 Gateway Timeout\nThe server did not respond",
    "500 Server Error: Internal Server Error for url: http://localhost",
    "Error: Internal Server Error",
    "Error: Request failed with status code 429",
    "Error: fetch failed",
    "Error: socket hang up",
    "[ERROR] timeout after 30s",
    "openai.RateLimitError: Error code: 429",
    "litellm.APIConnectionError: connection refused",
    "requests.exceptions.ConnectionError: HTTPSConnectionPool",
    "HTTPError: 500 Server Error for url",
    "ReadTimeout: HTTPSConnectionPool(host='x')",
    '{"error": {"message": "Rate limit", "code": 429}}',
    '[{"error": {"code": 503, "status": "UNAVAILABLE"}}]',
    '{"error":"model not found"}',
    '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    '{"object":"error","message":"no such model","code":404}',
    "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>",
    "<html><body><h1>Service Unavailable</h1></body></html>",
    "Request timed out.",
    "Connection error.",
    "upstream request timeout",
    "no healthy upstream",
    "upstream connect error or disconnect/reset before headers. reset reason: connection failure",
    "The server had an error while processing your request. Sorry about that!",
    "You exceeded your current quota, please check your plan and billing details.",
    "Rate limit exceeded. Try again in 20s",
    "Rate limit reached for gpt-4 in organization org-1 on tokens per min",
    "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
    "An error occurred while processing your request.",
    "An error occurred (ThrottlingException) when calling the InvokeModel operation: Too many requests",
    'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nopenai.RateLimitError: 429',
    "CUDA out of memory. Tried to allocate 2 GiB.",
    "Server busy, please try again later.",
    "Please try again later.",
    "RESOURCE_EXHAUSTED",
    "Sorry, an unexpected error occurred.",
    "Oops! Something went wrong.",
    "Incorrect API key provided: sk-x",
    "The model is currently overloaded with other requests.",
    "The response was filtered due to the prompt triggering our content management policy.",
]
PLACEHOLDERS = [
    *("None", "none.", "**None**", "`None`", "(none)", "null", "NULL", "nil", "NaN", "nan", "NA", "undefined", "empty"),
    *("[object Object]", "<nil>", "no output", "[Your answer here]"),
    *("**", "****", "*", "#", "~~", "|", "``", "\u2022", "{}", "[]", "()", '""', "''"),
    *("<br>", "<br/>", "<b>", "404 Not Found", "HTTP/1.1 404 Not Found", "429 Too Many Requests"),
    *("Internal Server Error", "Service Unavailable", "upstream timeout"),
    *("The answer is:", "Final answer:", "Sure! Here is the answer:", "So the answer is", "answer: null"),
    *("Loading...", "Thinking\u2026", "Hmm.", "One moment please.", "Let me check that for you.", "[REDACTED]", "TBD"),
    *("{{answer}}", "{answer}", "${NAME}", "%s", "[INSERT NAME]"),
    *('{"answer": ""}', '{"answer": null, "confidence": 0}', '{"answer": "unknown", "confidence": 0.1}'),
    *('{"name": null, "date": null}', '{"detail":"Not Found"}', '{"status":"error","reason":"x"}'),
    *(
        '{"name": "search", "arguments": {"query": "x"}}',
        "<tool_call>\n{}\n</tool_call>",
        '<function=f>{"q":1}</function>',
    ),
    *("<thinking>It may be Lima.</thinking>", "<reasoning>It may be", "<|channel|>analysis<|message|>It may be"),
]
ANSWERS = [
    *(
        "The answer is: 4",
        "THE CZECH REPUBLIC 1:",
        "Two options: a and b",
        ":",
        "pass",
        "failed",
        "{a}",
        "{x: 1}",
        "Hmm, 4",
        "Loading dock",
    ),
    *('{"name": "Ada", "date": null}', '{"answer": "no"}', '{"message": "hi", "to": "Bo"}', '{"count": 0}'),
    *("<thinking>Peru.</thinking> Lima", "<|channel|>analysis<|message|>Peru<|channel|>final<|message|>Lima"),
    *("None of the above", "null hypothesis", "Nan", "Na", "Nil Sorsky", "Emptiness", "Nothing", "No", "0"),
    '{"value": 9.81, "error": 0.02}',
    *("42", "404", "429", "500 people", "500 Days of Summer", "404 Media", "$5$", "\\boxed{5}", "[1]", "{1}"),
    *(
        "+",
        "<",
        ">",
        "=",
        "$",
        "&",
        "\u20ac",
        "\u2205",
        "\U0001f44d",
        "<b>Paris</b>",
        "```python\nprint(1)\n```",
        "x < 5",
    ),
    *("Error", "Human error", "Standard error", "Timeout", "Not Found", "Limit", "The limit is 5", "Gone"),
    "Error: Paris is not the capital",
    "ZeroDivisionError: division by zero",
    "TypeError: unsupported operand type(s) for +: 'int' and 'str'",
    "The error was 429 dollars",
    "HTTP 404 means the page was not found",
    "It means Too Many Requests.",
    "Bad Request is the meaning of status 400",
    "Something Went Wrong with Barry",
    "Something went wrong in reactor 4: the test",
    "Rate limits were exceeded by the bank in 2008",
    "The connection was closed by the Romans",
    "Connection error rates rose by 5%",
    "The request failed to pass the Senate",
    "The model was overloaded by the weight of clay",
    "Unable to reach the summit, he turned back",
    "Failed to connect the dots",
    "An error occurred in the count, and Bush won",
    '{"answer": "Paris"}',
    '{"answer": 5, "error": 0.1}',
    '{"error": null}',
]


@pytest.mark.parametrize("text", NO_TEXT)
def test_markup_without_text_is_no_answer(text):
    assert has_no_text(text)
    assert load_extractor("whole")(text) is None


@pytest.mark.parametrize("text", ERRORS)
@pytest.mark.parametrize("extract", ["whole", "last-line", "number", "choice", "boxed"])
def test_an_error_message_is_no_answer_whatever_is_extracted(text, extract):
    assert is_error_message(text)
    assert load_extractor(extract)(text) is None


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_a_placeholder_may_be_an_answer_and_is_kept(text):
    assert is_placeholder(text)
    assert load_extractor("whole")(text) == text


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_neither(text):
    assert [has_no_text(text), is_error_message(text), is_placeholder(text)] == [False, False, False]
    assert load_extractor("whole")(text) == text


@pytest.mark.parametrize("responses", [[text] * 4 for text in ("\\boxed{}", "<p></p>", "Error: 429", ERRORS[20])])
@pytest.mark.parametrize("judge", ["text", "math", "exact"])
def test_a_group_that_says_nothing_fails_the_gate(responses, judge):
    result = estimate(responses, equivalence=judge)
    assert result.n_valid == 0
    assert why_unusable(result) == ["0 of 4 answers are valid: nothing to compare"]


def test_the_warning_shows_the_error_message():
    result = estimate(["42", "42", "42", "upstream request timeout"])
    assert result.answer == "42"
    assert any("1 of 4 responses are error messages, such as 'upstream request timeout'" in w for w in result.warnings)


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_a_group_of_placeholders_keeps_its_answer_and_does_not_pass(text):
    result = estimate([text] * 4, question="What does the program print?", equivalence="exact")
    assert (result.entropy, result.answer, result.n_valid) == (0, text, 4)
    assert "4 of 4 answers may stand for a missing one" in result.warnings[0]
    reason = f"the answer {text!r} may stand for a missing one"
    assert why_unusable(result) == [reason]
    assert entropy_rule(9)(Result.from_dict(result.to_dict())) == reason


def test_a_placeholder_beside_another_main_answer_is_a_warning():
    result = estimate(["Paris", "Paris", "None"])
    assert "1 of 3 answers may stand for a missing one, such as 'None'" in result.warnings[0]
    assert why_unusable(result) == []


@pytest.mark.parametrize("extract", [r"regex:(?s)\A.+\Z", str.strip])
def test_a_user_who_says_what_an_answer_is_is_believed(extract):
    result = estimate(["None"] * 4, extract=extract)
    assert (result.answer, result.warnings, why_unusable(result)) == ("None", (), [])


@pytest.mark.timeout(60)  # well under a second each
@pytest.mark.parametrize(
    "piece", ["<p>", "```", "$$ ", "error: ", "api rate ", "{", '{"error":', "<title>", "\\boxed{", "*"]
)
def test_a_long_text_is_read_in_reasonable_time(piece):
    for text in (piece * 100_000, (piece * 2000)[:2000], (piece * 20_000)[:20_000]):
        has_no_text(text)
        is_error_message(text)
        is_placeholder(text)


KOREAN = (
    "저는 지금까지 여러 가지 자료를 살펴보았지만 그 지역의 지도와 "
    "지명이 정확한지 아닌지 판단하기 위한 지식과 지표를 찾는지 "
)


REPEATED = [
    *("<pad>" * 200 + "x", "</s>" * 200 + "Paris", "$" * 400 + "5", "$$\n" * 200 + "4", "<h1>" * 900 + "x"),
    *("\\text{" * 400 + "x", "il " + "ne a " * 75 + "sait", (KOREAN * 5)[:390], "\u5173\u4e8e\u7684" * 120),
]


@pytest.mark.timeout(60)  # with a pattern that can read a run in several ways, each of these would take hours
@pytest.mark.parametrize("text", REPEATED)
def test_a_text_that_repeats_itself_is_read_at_once(text):
    assert load_extractor("whole")(text) == text.strip()
