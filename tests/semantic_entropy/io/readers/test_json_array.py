"""A JSON array, one JSON object, and rows in a list inside an object."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import InputError
from semantic_entropy.io import find_row
from semantic_entropy.io.readers import json_array
from semantic_entropy.io.readers.input_file import InputFile
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.io.measured_files import ROWS, measure, read

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=9,
)


@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_gives_the_results_of_json_lines(tmp_path, indent):
    (tmp_path / "in.json").write_text(json.dumps([*ROWS, 5], indent=indent))
    summary = measure(tmp_path / "in.json", tmp_path / "out.jsonl")
    assert (summary.rows, summary.rejected) == (3, 1)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    measure(tmp_path / "in.jsonl", tmp_path / "lines.jsonl")
    entropies = [
        [row.get("result_entropy", row["entropy"]) for row in read(tmp_path / name)]
        for name in ("out.jsonl", "lines.jsonl")
    ]
    assert entropies[0] == entropies[1]
    assert read(tmp_path / "out.jsonl.bad.jsonl") == [
        {"semantic_entropy_bad_row": True, "row_number": 4, "problem": "a row is a JSON object, not a int", "row": "5"}
    ]


@given(values=st.lists(VALUES, max_size=4), indent=st.sampled_from([None, 2]), piece=st.integers(1, 9))
def test_an_array_is_read_in_pieces_of_any_size(tmp_path_factory, values, indent, piece):
    path = tmp_path_factory.getbasetemp() / "array.json"
    path.write_text(json.dumps(values, indent=indent, ensure_ascii=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "_PIECE", piece)
        assert list(json_array.array_items(InputFile(str(path)))) == values


BROKEN = ["[{", '[{"a": 1} {"b": 2}]', "[1, 2", "[1] 2", '["a', "[tru]", "[" * 100_000, "[1,]", "[1, "]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_array_is_an_error_with_the_place(tmp_path, text):
    (tmp_path / "in.json").write_text(text)
    with pytest.raises(InputError, match=r"in\.json: not JSON: .* \(character \d+\)"):
        list(json_array.array_items(InputFile(str(tmp_path / "in.json"))))


@pytest.mark.parametrize("text", ['{"a": 1, "b": 2, "a": 3}', '[1, {"b": {"a": 1, "a": 2}}]'])
def test_a_key_that_an_object_has_twice_is_an_error(tmp_path, text):
    (tmp_path / "in.json").write_text(text)
    with pytest.raises(InputError, match="not JSON: an object has the key 'a' 2 times"):
        list(json_array.array_items(InputFile(str(tmp_path / "in.json"))))
    (tmp_path / "in.jsonl").write_text(f'{{"row": {text}}}\n' + json.dumps(ROWS[0]) + "\n")
    summary = measure(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert (summary.rows, summary.rejected) == (1, 1)
    problem = read(tmp_path / "out.jsonl.bad.jsonl")[0]["problem"]
    assert problem == "not JSON: an object has the key 'a' 2 times"


@pytest.mark.parametrize(("name", "indent"), [("in.json", 1), ("in.json", None), ("in.jsonl", None)])
def test_rows_inside_an_object_are_refused_with_the_command_that_takes_them_out(tmp_path, name, indent):
    (tmp_path / name).write_text(json.dumps({"data": ROWS}, indent=indent))
    with pytest.raises(
        InputError, match=r"""If 'data' has the rows, take them out with: jq -c '\.\["data"\]\[\]' FILE"""
    ):
        find_row(str(tmp_path / name), None, FieldNames())
