"""Columns of a Parquet output: copied types, types found for JSON fields."""

from __future__ import annotations

import datetime as dt
import json

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from tests.semantic_entropy.io.measured_files import measure, read, write


def test_input_columns_keep_their_types_and_values(tmp_path):
    own = pa.table(
        {
            "responses": pa.array([["a", "b"], ["c"]], pa.large_list(pa.large_string())),
            "when": pa.array([dt.datetime(2026, 1, 2, tzinfo=dt.UTC)] * 2, pa.timestamp("ns", "UTC")),
            "kind": pa.array(["x", None]).dictionary_encode(),
            "price": pa.array([None, 1], pa.decimal128(9, 2)),
            "small": pa.array([1.5, float("nan")], pa.float16()),
            "image": pa.array([b"\x00\xff", b""]),
            "pairs": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int8())),
            "nothing": pa.nulls(2),
        }
    ).replace_schema_metadata({"mine": "kept"})
    measure(write(tmp_path / "in.parquet", own), tmp_path / "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.select(own.schema.names).schema.equals(pq.read_schema(tmp_path / "in.parquet"))
    assert repr(out.select(own.schema.names).to_pylist()) == repr(own.to_pylist())  # repr: nan is not equal to itself
    assert out.schema.metadata[b"mine"] == b"kept"
    types = {name: str(out.schema.field(name).type) for name in ("entropy", "labels", "answer", "n_valid")}
    assert types == {"entropy": "double", "labels": "list<element: int64>", "answer": "string", "n_valid": "int64"}
    assert pa.types.is_struct(out.schema.field("scores").type)
    assert out["clusters"].to_pylist()[1] == [{"indices": [0], "representative": "c", "share": 1.0}]


def test_a_json_field_gets_the_narrowest_type_that_holds_all_its_values(tmp_path):
    rows = [{"responses": ["a"], "n": 1, "mixed": 1, "big": 2**60 + 1, "o": {"a": 1}, "empty": {}}] * 300
    rows += [{"responses": ["\udc80"], "n": 2.5, "mixed": "x", "big": 0.5, "o": {"b": [1]}, "late": True}]
    rows += [{"responses": ["b"], "huge": 2**70, "question": None}]
    measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    first, odd, last = (out.slice(i, 1).to_pylist()[0] for i in (0, 300, 301))
    assert (first["n"], odd["n"], last["n"]) == (1.0, 2.5, None)
    assert (first["mixed"], odd["mixed"]) == ("1", '"x"')
    assert (first["big"], odd["big"], last["huge"]) == (str(2**60 + 1), "0.5", str(2**70))
    assert (first["o"], odd["o"]) == ({"a": 1, "b": None}, {"a": None, "b": [1]})
    assert (first["empty"], odd["late"], odd["responses"]) == ("{}", True, ["\\udc80"])
    assert measure(tmp_path / "in.jsonl", tmp_path / "out.parquet").skipped == 302


def test_objects_with_more_than_1000_different_fields_in_all_rows_become_json_text(tmp_path):
    keys = [[f"k{3 * i + j}" for j in range(3)] for i in range(340)]
    rows = [{"responses": ["a"], "wide": dict.fromkeys(own, 1)} for own in keys]
    rows[0] |= {
        "inner": [{"o": dict.fromkeys(map(str, range(1000)), 1)}],
        "fits": dict.fromkeys(map(str, range(1000)), 1),
    }
    measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert [json.loads(text) for text in out["wide"].to_pylist()] == [row["wide"] for row in rows]
    assert json.loads(out["inner"][0].as_py()) == rows[0]["inner"]
    assert out["fits"][0].as_py() == rows[0]["fits"]


def test_a_table_without_rows_keeps_its_columns(tmp_path):
    empty = pa.schema([("responses", pa.list_(pa.string())), ("id", pa.int32())]).empty_table()
    measure(write(tmp_path / "in.parquet", empty), tmp_path / "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.num_rows == 0
    assert out.schema.names[:3] == ["responses", "id", "entropy"]
    assert str(out.schema.field("id").type) == "int32"
    measure(write(tmp_path / "in.jsonl", []), tmp_path / "nothing.parquet")
    assert pq.read_table(tmp_path / "nothing.parquet").num_rows == 0


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from(["a", "entropy", "row", "é"]), values), min_size=1, max_size=5))
def test_any_json_fields_are_kept_in_both_formats(tmp_path_factory, fields):
    folder = tmp_path_factory.mktemp("any")
    rows = [{**own, "id": i, "responses": ["a", "b"][: 1 + i % 2]} for i, own in enumerate(fields)]
    source = write(folder / "in.jsonl", rows)
    measure(source, folder / "out.jsonl")
    for row, out in zip(rows, read(folder / "out.jsonl"), strict=True):
        assert {key: out[key] for key in row} == row
    measure(source, folder / "out.parquet")
    written = pq.read_table(folder / "out.parquet")
    assert written["id"].to_pylist() == [row["id"] for row in rows]
    for name in {name for row in rows for name in row}:
        for row, value in zip(rows, written[name].to_pylist(), strict=True):
            assert same(row.get(name), value), (name, row.get(name), value)


def same(given, kept):
    """Whether `kept` is the value, or its JSON text; a struct also has the fields of other rows, as nulls."""
    if isinstance(kept, str) and kept != given:
        try:
            return json.loads(kept) == given
        except ValueError:
            return False
    if isinstance(given, dict) and isinstance(kept, dict):
        return all(same(given.get(key), kept[key]) for key in kept) and set(given) <= set(kept)
    if isinstance(given, list) and isinstance(kept, list):
        return len(given) == len(kept) and all(map(same, given, kept))
    return given == kept
