import datasets
import pytest

from empo_rl.data.records import (
    column_question,
    column_text,
    hub_records,
    is_file_name,
    jsonl_records,
    open_records,
    question_text,
)
from semantic_entropy import InputError

ROWS = [{"problem": "a", "extra": [{"x": 1}]}, {"problem": "b", "extra": []}]


@pytest.fixture
def folder(tmp_path):
    """The same rows as a JSONL file, a Parquet file and a folder that `datasets` can load."""
    table = datasets.Dataset.from_list(ROWS)
    table.to_json(tmp_path / "rows.jsonl")
    (tmp_path / "named").mkdir()
    table.to_parquet(tmp_path / "named" / "train.parquet")
    table.to_parquet(tmp_path / "rows.parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("rows.jsonl", ["rows.jsonl:1", "rows.jsonl:2"]),
        ("rows.parquet", ["rows.parquet[0]", "rows.parquet[1]"]),
        ("named", ["named[0]", "named[1]"]),
    ],
)
def test_files_and_datasets_are_read_in_the_same_way(name, places, folder, monkeypatch):
    monkeypatch.chdir(folder)
    stream = open_records(name)
    assert stream.done == 0
    assert list(stream) == list(zip(places, ROWS, strict=True))
    assert stream.done == stream.total > 0


@pytest.mark.parametrize("name", ["rows.parquet", "named"])
def test_only_the_requested_columns_are_read_if_all_of_them_exist(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert [record for _, record in open_records(name, columns=["problem"])] == [{"problem": "a"}, {"problem": "b"}]
    # a column is missing: all columns are read, so that the error can list them
    assert [record for _, record in open_records(name, columns=["problem", "question"])] == ROWS


def test_the_functions_that_return_lists_read_the_same_rows(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert [record for _, record in jsonl_records(folder / "rows.jsonl")] == ROWS
    assert [record for _, record in hub_records("named", None, "train")] == ROWS


def test_a_gold_answer_may_be_a_list_with_one_value():
    assert column_text({"gt": ["55"]}, "gt", "gold", "row 1") == "55"
    with pytest.raises(InputError, match=r"row 1: column 'gt' \(data.columns.gold\) holds \['55', '56'\]"):
        column_text({"gt": ["55", "56"]}, "gt", "gold", "row 1")


@pytest.mark.parametrize(
    ("source", "split", "message"),
    [
        ("nowhere.jsonl", "train", "^--from: nowhere.jsonl does not exist or is not a file"),
        ("../nowhere", "train", "^--from: ../nowhere does not exist or is not a file"),
        ("named", "test", "^--from: cannot load 'named' .*split 'test'.*: .*train"),
    ],
)
def test_an_error_names_the_option_that_chose_the_source(source, split, message, folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match=message):
        list(open_records(source, split=split, key="--from"))


def test_a_hub_name_is_not_a_file_name():
    assert not is_file_name("AI-MO/NuminaMath-CoT")
    assert not is_file_name("org/name-1.5b")
    assert is_file_name("data/rows.PARQUET")


USER = {"role": "user", "content": "1+1?"}
FOLLOW_UP = [USER, {"role": "assistant", "content": "2"}, {"role": "user", "content": "And 2+2?"}]


def question(value):
    return column_question({"prompt": value}, "prompt", "rows.jsonl:1")


def test_a_question_is_text_or_a_conversation():
    assert question("1+1?") == "1+1?"
    assert question([USER]) == [USER]
    nulls = {**USER, "name": None, "tool_calls": None}  # as `datasets` and Parquet files fill missing keys
    assert question([nulls]) == [USER]
    parts = [{"type": "text", "text": "1+"}, {"type": "text", "text": "1?"}]
    assert question([{"role": "user", "content": parts}]) == [USER]


def test_the_text_of_a_conversation_is_the_message_of_the_user_or_all_turns_without_the_system_message():
    system = {"role": "system", "content": "Be brief."}
    assert question_text("1+1?") == "1+1?"
    assert question_text([system, USER]) == "1+1?"
    assert question_text([system, *FOLLOW_UP]) == "user: 1+1?\nassistant: 2\nuser: And 2+2?"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "rows.jsonl:1: column 'prompt' .* holds an empty list"),
        (["1+1?"], "message 1 is '1.1.': a message has the keys role and content"),
        ([{"from": "human", "value": "1+1?"}], "message 1 has the key 'from': only the keys role and content"),
        ([{"role": "human", "content": "1+1?"}], "message 1: role is 'human'. Use one of: system, developer, user,"),
        ([{"role": "user"}], "message 1: content is None, which is not text"),
        ([{"role": "user", "content": " "}], "content is ' ', which is not text"),
        ([USER, {"role": "assistant", "content": "2"}], "ends with a message of the assistant. A prompt ends with"),
        ([{"role": "system", "content": "Be brief."}], "has no message of the user"),
        ([{"role": "user", "content": [{"type": "image"}]}], "only parts of type 'text' are supported"),
        ([{**USER, "tool_calls": [1]}], "message 1 has the key 'tool_calls'"),
    ],
)
def test_the_error_for_a_wrong_conversation_names_the_place_and_the_message(value, message):
    with pytest.raises(InputError, match=message):
        question(value)
