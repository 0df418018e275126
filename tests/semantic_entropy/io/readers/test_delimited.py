"""CSV and TSV: lists in a cell, several columns, other separators, and rows that cannot be read."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from semantic_entropy import InputError, register
from semantic_entropy.io import find_row
from semantic_entropy.io.formats import FOUND, InputOptions
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.io.measured_files import measure, read
from tests.semantic_entropy.sampling.dice import Dice


def test_a_cell_holds_the_responses_as_a_json_list_or_as_pandas_writes_a_list(tmp_path):
    texts = ["It's Paris", 'the "capital"', "a\nb"]
    frame = pd.DataFrame({"id": [1, 2], "responses": [texts, texts], "logprobs": [[[-0.1]] * 3, None]})
    frame.to_csv(tmp_path / "pandas.csv", index=False)
    frame["responses"] = frame["responses"].map(json.dumps)
    frame.to_csv(tmp_path / "json.csv", index=False)
    for name in ("pandas", "json"):
        summary = measure(tmp_path / f"{name}.csv", tmp_path / f"{name}.jsonl")
        assert (summary.rows, summary.rejected) == (2, 0)
        rows = read(tmp_path / f"{name}.jsonl")
        assert rows[0]["answers"] == texts
        assert "likelihood" in rows[0]["scores"]
        assert rows[1]["id"] == "2"  # the cells stay texts
    assert rows[0]["responses"] == json.dumps(texts)


@pytest.mark.parametrize("cell", ["['a' 'b']", "[1, 2]", "a, b", "[f'a']", "['a', b]", "(", "[" * 5000])
def test_a_cell_without_a_list_of_texts_is_a_bad_row_that_names_group_by(tmp_path, cell):
    pd.DataFrame({"responses": [cell]}).to_csv(tmp_path / "in.csv", index=False)
    with pytest.raises(InputError, match="is not a JSON list of texts; if each row has one response, add --group-by"):
        find_row(str(tmp_path / "in.csv"), None, FieldNames())


def test_several_columns_hold_one_response_each_and_empty_cells_are_left_out(tmp_path, capsys):
    header = "\ufeffid;prompt;response_1;response_2;response_3\n"
    text = header + '1;"a; b?";Paris;It is Paris;"Ro""me"\n2;x?;a;"b\nc";\n3;y?;;;\n4;z\n'
    (tmp_path / "in.csv").write_text(text, encoding="utf-8")
    summary = measure(tmp_path / "in.csv", tmp_path / "out.jsonl")
    assert (summary.rows, summary.rejected) == (2, 2)
    rows = read(tmp_path / "out.jsonl")
    assert [row["answers"] for row in rows] == [["Paris", "It is Paris", 'Ro"me'], ["a", "b\nc"]]
    assert list(rows[0])[:5] == ["id", "prompt", "response_1", "response_2", "response_3"]
    assert [(row["line"], row["problem"]) for row in read(tmp_path / "out.jsonl.bad.jsonl")] == [
        (5, "no response: the cells response_1 to response_3 are empty"),
        (6, "2 cells, and the first line names 5 columns"),
    ]
    said = capsys.readouterr().err
    assert "read as CSV separated by ';', responses in the columns response_1, response_2, response_3" in said


def test_a_pattern_names_the_columns(tmp_path):
    (tmp_path / "in.tsv").write_text("gold\tmodel a\tmodel b\nx\ty\tz\n")
    row = find_row(str(tmp_path / "in.tsv"), None, FieldNames("model*"))
    assert row.group.responses == ("y", "z")
    with pytest.raises(InputError, match=r"no column fits 'm\?dle\*'; it has gold, model a, model b"):
        find_row(str(tmp_path / "in.tsv"), None, FieldNames("m?dle*"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"id,id\n1,2\n", "several columns are named 'id'"),
        (b"id,response_1\r1,a\r", r"tr '\\r' '\\n' < \S+in\.csv > lines\.csv"),
        (b'id,"response_1\n"\n1,a\n', "the first line does not name columns of a CSV: unexpected end of data"),
        (b"responses\n\xe9t\xe9\n", "line 2: not UTF-8 .* iconv -f WINDOWS-1252 -t UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_with_the_fix(tmp_path, content, says):
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(InputError, match=says):
        find_row(str(tmp_path / "in.csv"), None, FieldNames())


def test_a_cell_can_be_longer_than_the_default_of_the_csv_module(tmp_path):
    (tmp_path / "in.csv").write_text("response_1,response_2\n" + "a" * 200_000 + ",b\n")
    assert len(find_row(str(tmp_path / "in.csv"), None, FieldNames()).group.responses[0]) == 200_000


def test_an_open_quote_is_a_bad_row_and_swallows_no_row_quietly(tmp_path):
    text = 'id,response_1,response_2\n1,a,b\n2,"a"x,b\n3,a,b\n4,"a,b\n5,a,b\n6,a,b\n'
    (tmp_path / "in.csv").write_text(text)
    summary = measure(tmp_path / "in.csv", tmp_path / "out.jsonl")
    assert [row["id"] for row in read(tmp_path / "out.jsonl")] == ["1", "3"]
    assert [(row["line"], row["problem"]) for row in read(tmp_path / "out.jsonl.bad.jsonl")] == [
        (3, "not CSV: ',' expected after '\"'"),
        (5, "not CSV: unexpected end of data (lines 5 to 7 were read as one row)"),
    ]
    assert summary.rejected == 2


@pytest.mark.parametrize("options", [FOUND, InputOptions(group_by="id")])
def test_an_open_quote_in_the_last_column_is_a_bad_row_that_names_the_lines_it_took(tmp_path, options):
    column = "response_2" if options is FOUND else "response"
    text = f'id,response_1,{column}\n1,a,b\n2,a,"b\n3,a,c\n4,a,d\n'
    (tmp_path / "in.csv").write_text(text)
    summary = measure(tmp_path / "in.csv", tmp_path / "out.jsonl", options=options)
    assert (summary.rows, summary.rejected) == (1, 1)
    problem = read(tmp_path / "out.jsonl.bad.jsonl")[0]["problem"]
    assert problem == "not CSV: unexpected end of data (lines 3 to 5 were read as one row)"


@pytest.mark.parametrize("blank", ["   ", "\t", " \n\n\t\t"])
def test_blank_lines_before_the_names_of_the_columns_are_no_row(tmp_path, blank):
    (tmp_path / "in.tsv").write_text(f"{blank}\nid\tresponse_1\tresponse_2\n1\ta\tb\n")
    summary = measure(tmp_path / "in.tsv", tmp_path / "out.jsonl")
    assert (summary.rows, summary.rejected) == (1, 0)
    assert read(tmp_path / "out.jsonl")[0]["id"] == "1"


def test_a_sampler_draws_for_the_questions_of_a_csv(tmp_path):
    register("sampler", "dice", Dice)
    (tmp_path / "in.csv").write_text("id,prompt\n1,one?\n2,two?\n")
    assert measure(tmp_path / "in.csv", tmp_path / "out.jsonl", sampler="dice", n=3).rows == 2
    assert [len(row["responses"]) for row in read(tmp_path / "out.jsonl")] == [3, 3]


def test_numbered_columns_are_not_the_responses_if_each_row_has_one_response(tmp_path):
    text = "qid,question,answer_1,answer_2,output_1,response\n1,x?,red,blue,a,red\n1,x?,red,blue,b,blue\n"
    (tmp_path / "in.csv").write_text(text)
    measure(tmp_path / "in.csv", tmp_path / "out.jsonl", options=InputOptions(group_by="qid"))
    assert [row["answers"] for row in read(tmp_path / "out.jsonl")] == [["red", "blue"]]
