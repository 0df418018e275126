import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl.data.sources import (
    LONG_ANSWER,
    LONG_QUESTION,
    NO_ANSWER,
    NO_QUESTION,
    PROOF,
    PROVE,
    Removed,
    natural_source,
    numina_source,
)
from semantic_entropy import InputError

LONG_RESPONSE = "response of 4096 characters or more"


def convert(source, record, **columns):
    return source.convert(record, "data.jsonl:1", source.with_columns(columns))


BALANCED = st.recursive(
    st.text("ab12 +\\pi", max_size=4).map(lambda text: text.replace("\\", "")),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: "{" + "".join(parts) + "}"),
    max_leaves=8,
)


@given(st.text("ab {}", max_size=10), BALANCED.map(lambda content: "x" + content))
def test_the_answer_is_the_last_box_with_balanced_braces(before, content):
    solution = f"{before} \\boxed{{\\frac{{1}}{{2}}}} so \\boxed{{{content}}}."
    assert convert(numina_source(), {"problem": "q", "solution": solution, "source": None})["answer"] == content.strip()


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"$\boxed{\frac{1}{2}}$", r"\frac{1}{2}"),
        (r"\boxed{1}, or rather \boxed{\left\{ 2, 3 \right\}}", r"\left\{ 2, 3 \right\}"),
        (r"\boxed{\begin{pmatrix} 1 \\ \sqrt{2} \end{pmatrix}}", r"\begin{pmatrix} 1 \\ \sqrt{2} \end{pmatrix}"),
        ("Which was to be shown.", None),
        (r"cut short: \boxed{\frac{1}{2", None),
        (None, None),
    ],
)
def test_a_numina_row_has_question_answer_solution_and_source(solution, answer):
    record = {"problem": "q?", "solution": solution, "source": "olympiads", "messages": []}
    row = {"question": "q?", "answer": answer, "solution": solution, "source": "olympiads"}
    assert convert(numina_source(), record) == row
    answered = convert(numina_source(answered=True), record)
    assert answered == (row if answer else Removed(r"no \boxed answer (--answered)"))


RESPONSES = [{"response_model": "Llama3.3-70B-Instruct", "response": "Because."}]
RECORD = {"question": "Why?", "reference_answer": "So.", "responses": RESPONSES}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"question": "  "}, NO_QUESTION),
        ({"question": None}, NO_QUESTION),
        ({"reference_answer": ""}, NO_ANSWER),
        ({"reference_answer": None}, NO_ANSWER),
        ({"reference_answer": "x" * 129}, LONG_ANSWER),
        ({"responses": [{"response": "x" * 4096}]}, LONG_RESPONSE),
        ({"responses": [{"response": "x"}, {"response": "x" * 4096}]}, LONG_RESPONSE),
        ({"question": "x" * 512}, LONG_QUESTION),
        ({"question": "Prove it."}, PROVE),
        ({"question": "How can one improve it?"}, PROVE),  # as in the printed code: "prove" anywhere
        ({"question": "What is a PROOF of it?"}, PROOF),
        ({"question": "x" * 512, "reference_answer": "x" * 129}, LONG_ANSWER),  # the first rule in the printed order
    ],
)
def test_each_rule_of_algorithm_4_removes_a_record(change, rule):
    source = natural_source()
    assert convert(source, {**RECORD, **change}) == Removed(rule)
    assert rule in source.rules


@pytest.mark.parametrize(
    "change",
    [
        {"reference_answer": "x" * 128},
        {"responses": [{"response": "x" * 4095}]},
        {"question": "x" * 511},
    ],
)
def test_texts_just_below_the_length_limits_stay(change):
    record = {**RECORD, **change}
    assert convert(natural_source(), record) == {
        "question": record["question"],
        "answer": record["reference_answer"],
        "response": record["responses"][0]["response"],
    }


@pytest.mark.parametrize(
    ("column", "value", "kept"),
    [
        ("llama_responses", "one text", "one text"),
        ("llama_responses", ["first", "second"], "first"),
        ("llama_responses", [], None),
        ("llama_responses", None, None),
        ("responses.response", [{"response": "a"}, {"response": "b"}], "a"),
        ("responses.response", {"response": "a"}, "a"),
        ("responses.response", ["a"], "a"),
        ("a.b", "a column with a dot", "a column with a dot"),
    ],
)
def test_responses_can_be_a_text_a_list_or_objects(column, value, kept):
    name = column if column == "a.b" else column.split(".")[0]
    record = {"question": "Why?", "reference_answer": "So.", name: value}
    assert convert(natural_source(), record, response=column)["response"] == kept


def test_records_without_responses_are_filtered_by_the_other_rules():
    record = {"question": "Why?", "reference_answer": 7}
    assert convert(natural_source(), record, response="") == {"question": "Why?", "answer": "7", "response": None}


def test_a_response_can_be_counted_in_tokens():
    source = natural_source(lambda text: len(text.split()), "tokens")
    assert convert(source, {**RECORD, "responses": ["x " * 4096]}) == Removed("response of 4096 tokens or more")
    assert convert(source, {**RECORD, "responses": ["x" * 9999]})["response"] == "x" * 9999


@pytest.mark.parametrize(
    ("record", "columns", "message"),
    [
        ({"question": "q", "answer": "a"}, {}, r"no column 'reference_answer' \(--column answer=\.\.\.\)"),
        ({**RECORD, "responses": [{"text": "a"}]}, {}, r"no column 'response' .*Columns: text"),
        ({**RECORD, "responses": [{"text": "a"}]}, {"response": "responses"}, r"=responses.FIELD: text"),
        ({**RECORD, "question": ["q"]}, {}, "message 1 is 'q': a message has the keys role and content"),
        (RECORD, {"answr": "a"}, "unknown role. Roles: question, answer, response"),
        (RECORD, {"question": ""}, "this role needs a column name. Roles that can be empty: response"),
    ],
)
def test_the_error_for_a_wrong_column_lists_the_columns(record, columns, message):
    with pytest.raises(InputError, match=message):
        convert(natural_source(), record, **columns)
