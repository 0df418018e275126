"""Files of both formats: what goes in comes out, a kill loses and doubles nothing, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import InputError, Scorer, SemanticEntropyError
from semantic_entropy.io import FileRun, find_row

ROWS = [
    {"id": 1, "question": "Capital of France?", "responses": ["Paris", "It is Paris", "Rome"]},
    {"id": 2, "responses": ["a", "b"], "logprobs": [[-0.1], [-0.2, -0.3]], "answer": "the row's own"},
    {"id": 3, "responses": ["x"], "answer": None},
]


def write(path: Path, rows) -> Path:
    if path.suffix == ".parquet":
        names = dict.fromkeys(name for row in rows for name in row) if isinstance(rows, list) else ()
        columns = {name: [row.get(name) for row in rows] for name in names}
        pq.write_table(pa.table(columns) if columns else rows, path)
    else:
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def read(path: Path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def measure(source: Path, output: Path, *, overwrite=False, strict=False, field="responses", **choices):
    with Scorer(choices.pop("equivalence", "exact"), **choices) as scorer:
        run = FileRun(scorer, str(source), str(output), field=field, overwrite=overwrite, strict=strict)
        return run.execute(progress=False)


FORMATS = [(f"in.{one}", f"out.{other}") for one in ("jsonl", "parquet") for other in ("jsonl", "parquet")]


@pytest.mark.parametrize(("source", "output"), FORMATS)
def test_any_format_goes_to_any_and_says_the_same(tmp_path, source, output):
    path = write(tmp_path / source, ROWS)
    out = tmp_path / output
    assert measure(path, out).rows == 3
    first, second, third = read(out)
    assert [row["id"] for row in (first, second, third)] == [1, 2, 3]
    assert first["labels"] == [0, 1, 2]
    assert second["logprobs"] == [[-0.1], [-0.2, -0.3]]
    assert second["scores"]["likelihood"] > 0
    assert second["answer"] == "the row's own"
    assert second["result_answer"] == "a"
    assert third["entropy"] == 0
    assert third["provenance"]["equivalence"] == "exact"
    assert third["provenance"]["versions"]["semantic-entropy"]
    assert list(tmp_path.glob("*.parts")) == []
    assert measure(path, out).skipped == 3


def test_a_tables_own_columns_keep_their_types_and_values(tmp_path):
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
    assert repr(out.select(own.schema.names).to_pylist()) == repr(own.to_pylist())  # repr: nan is not itself
    assert out.schema.metadata[b"mine"] == b"kept"
    types = {name: str(out.schema.field(name).type) for name in ("entropy", "labels", "answer", "n_valid")}
    assert types == {"entropy": "double", "labels": "list<element: int64>", "answer": "string", "n_valid": "int64"}
    assert pa.types.is_struct(out.schema.field("scores").type)
    assert out["clusters"].to_pylist()[1] == [{"indices": [0], "representative": "c", "share": 1.0}]


def test_what_json_cannot_hold_is_text_or_an_error_that_says_where_to_write(tmp_path):
    dated = pa.table({"responses": [["a"]], "day": [dt.date(2026, 1, 2)], "score": [float("nan")]})
    measure(write(tmp_path / "in.parquet", dated), tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl")[0]["day"] == "2026-01-02"
    assert measure(tmp_path / "in.parquet", tmp_path / "out.jsonl").skipped == 1
    with pytest.raises(InputError, match="write to a .parquet file"):
        measure(write(tmp_path / "b.parquet", dated.add_column(0, "b", pa.array([b"x"]))), tmp_path / "b.jsonl")


def test_json_fields_become_the_type_that_holds_them_all(tmp_path):
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


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from(["a", "entropy", "row", "é"]), values), min_size=1, max_size=5))
def test_any_json_survives_in_either_format(tmp_path_factory, fields):
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
    """Equal, or the text of it as JSON; a struct also has the fields of the other rows, null."""
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


def test_bad_rows_of_a_table_are_set_aside_with_their_number(tmp_path, capsys):
    rows = [{"responses": ["a"]}, {"responses": []}, {"responses": None}, {"responses": ["b"]}]
    done = measure(write(tmp_path / "in.parquet", rows), tmp_path / "out.parquet")
    assert (done.rows, done.rejected) == (2, 2)
    aside = read(tmp_path / "out.parquet.bad.jsonl")
    assert [row["row_number"] for row in aside] == [2, 3]
    assert "responses is empty" in aside[0]["problem"]
    assert "row 2: responses is empty" in capsys.readouterr().err
    assert measure(tmp_path / "in.parquet", tmp_path / "out.parquet").rows == 0
    with pytest.raises(InputError, match="row 2: responses is empty"):
        measure(tmp_path / "in.parquet", tmp_path / "strict.parquet", strict=True)


def test_a_row_without_the_evidence_asked_for_is_a_bad_row_and_all_of_them_a_mistake(tmp_path):
    source = write(tmp_path / "in.jsonl", ROWS)
    done = measure(source, tmp_path / "out.jsonl", estimator="likelihood")
    assert (done.rows, done.rejected) == (1, 2)
    assert [row["line"] for row in read(tmp_path / "out.jsonl.bad.jsonl")] == [1, 3]
    with pytest.raises(InputError, match="needs logprobs"):
        measure(write(tmp_path / "none.jsonl", ROWS[:1]), tmp_path / "none-out.jsonl", estimator="likelihood")


def test_a_table_without_rows_keeps_its_columns(tmp_path):
    empty = pa.schema([("responses", pa.list_(pa.string())), ("id", pa.int32())]).empty_table()
    measure(write(tmp_path / "in.parquet", empty), tmp_path / "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.num_rows == 0
    assert out.schema.names[:3] == ["responses", "id", "entropy"]
    assert str(out.schema.field("id").type) == "int32"
    measure(write(tmp_path / "in.jsonl", []), tmp_path / "nothing.parquet")
    assert pq.read_table(tmp_path / "nothing.parquet").num_rows == 0


def test_results_of_results_never_overwrite_a_column(tmp_path):
    measure(write(tmp_path / "0.jsonl", ROWS[:1]), tmp_path / "1.jsonl")
    measure(tmp_path / "1.jsonl", tmp_path / "2.parquet", invalid="drop")
    measure(tmp_path / "2.parquet", tmp_path / "3.jsonl", convention="lm-polygraph")
    (row,) = read(tmp_path / "3.jsonl")
    said = [row[f"{prefix}provenance"] for prefix in ("", "result_", "result_result_")]
    assert [(one["invalid"], one["convention"]) for one in said] == [
        ("separate", "default"),
        ("drop", "default"),
        ("separate", "lm-polygraph"),
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_other_settings_another_input_and_a_strangers_file_are_refused(tmp_path, suffix):
    source, out = write(tmp_path / f"in.{suffix}", ROWS), tmp_path / f"out.{suffix}"
    measure(source, out)
    with pytest.raises(InputError, match="made with invalid 'separate', not 'drop': use --overwrite"):
        measure(source, out, invalid="drop")
    with pytest.raises(InputError, match="holds results of another input"):
        measure(write(tmp_path / f"other.{suffix}", ROWS[::-1]), out)
    with pytest.raises(InputError, match="both input and output"):
        measure(source, source)
    stranger = write(tmp_path / f"stranger.{suffix}", [{"mine": 1}] if suffix == "parquet" else ["my notes"])
    before = stranger.read_bytes()
    with pytest.raises(InputError, match="another output, or --overwrite"):
        measure(source, stranger)
    assert stranger.read_bytes() == before
    assert measure(source, out, invalid="drop", overwrite=True).rows == 3
    assert read(out)[0]["provenance"]["invalid"] == "drop"


def test_a_text_without_an_end_of_line_is_not_taken_for_a_result_cut_short(tmp_path):
    notes = tmp_path / "notes.jsonl"
    notes.write_text("my notes")
    with pytest.raises(InputError, match="does not hold results"):
        measure(write(tmp_path / "in.jsonl", ROWS), notes)
    assert notes.read_text() == "my notes"


def test_a_finished_table_is_not_added_to(tmp_path):
    source = write(tmp_path / "in.parquet", ROWS[:2])
    measure(source, tmp_path / "out.parquet")
    with pytest.raises(InputError, match="cannot be appended to"):
        measure(write(source, [*ROWS[:2], {**ROWS[1], "id": 3}]), tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("in.parquet", b"not a table", "not a Parquet file"),
        ("in.parquet", None, "no such file"),
        ("in.jsonl", b'{"responses": ["a"]}', None),
    ],
)
def test_a_file_that_is_none_of_its_suffix_says_so(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    if says is None:
        assert measure(tmp_path / name, tmp_path / "out.parquet").rows == 1
    else:
        with pytest.raises(InputError, match=says):
            measure(tmp_path / name, tmp_path / "out.parquet")


def test_a_column_that_is_not_there_is_an_error_that_lists_those_that_are(tmp_path):
    source = write(tmp_path / "in.parquet", [{"texts": ["a"], "id": 1}])
    with pytest.raises(InputError, match="no column 'responses'; it has texts, id"):
        measure(source, tmp_path / "out.parquet")
    assert measure(source, tmp_path / "out.parquet", field="texts").rows == 1


def test_without_pyarrow_the_message_is_the_command_that_brings_it(tmp_path):
    source = write(tmp_path / "in.parquet", ROWS)
    hide = "import sys; sys.modules['pyarrow'] = None; from semantic_entropy.cli import main; main()"
    for arguments in ([str(source)], [str(write(tmp_path / "in.jsonl", ROWS)), "-o", str(tmp_path / "o.parquet")]):
        command = [sys.executable, "-c", hide, "estimate", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "pip install 'semantic-entropy[parquet]'" in done.stderr
        assert "Traceback" not in done.stderr


def test_explain_finds_a_row_of_a_table(tmp_path):
    source = write(tmp_path / "in.parquet", ROWS)
    assert find_row(str(source), "2")["responses"] == ["a", "b"]
    assert find_row(str(source), None)["id"] == 1


SLOW = """
import time
from semantic_entropy import Equivalence, Verdict, register
class Slow(Equivalence):
    def judge(self, pairs):
        time.sleep(0.2)
        return [Verdict(p.left == p.right) for p in pairs]
register("equivalence", "slow", Slow)
from semantic_entropy.cli import main
main()
"""


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_table_killed_twice_is_finished_with_nothing_lost_or_doubled(tmp_path, suffix):
    rows = [{"id": i, "responses": ["a", "b"] if i % 500 else []} for i in range(2000)]
    source, out = write(tmp_path / f"in.{suffix}", rows), tmp_path / "out.parquet"
    parts = tmp_path / "out.parquet.parts"
    command = [sys.executable, "-c", SLOW, "estimate", str(source), "-o", str(out), "-e", "slow"]
    for wanted in (1, 3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(list(parts.glob("*.parquet"))) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        (parts / "cut short.parquet.tmp").write_bytes(b"PAR1")  # as a kill in mid-write leaves it
        assert not out.exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "were done before" in done.stderr
    assert [row["id"] for row in read(out)] == [i for i in range(2000) if i % 500]
    numbers = [row["line" if suffix == "jsonl" else "row_number"] for row in read(Path(f"{out}.bad.jsonl"))]
    assert numbers == [1, 501, 1001, 1501]
    assert not parts.exists()


def test_a_kill_between_the_merge_and_the_removal_of_the_parts_leaves_a_finished_file(tmp_path):
    source, out = write(tmp_path / "in.parquet", ROWS), tmp_path / "out.parquet"
    measure(source, out)
    parts = tmp_path / "out.parquet.parts"
    parts.mkdir()
    (parts / "000000000000.parquet").write_bytes(out.read_bytes())
    assert measure(source, out).skipped == 3
    assert len(read(out)) == 3
    assert not parts.exists()


def test_a_part_that_someone_removed_is_missed(tmp_path):
    rows = [{"id": i, "responses": ["a"]} for i in range(600)] + [{"id": 600, "responses": []}]
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet"
    with pytest.raises(InputError, match="line 601: responses is empty"):
        measure(source, out, strict=True)  # in its third chunk
    next((tmp_path / "out.parquet.parts").glob("*0.parquet")).unlink()
    with pytest.raises(InputError, match="is missing: use --overwrite"):
        measure(source, out)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_disk_that_fills_up_loses_nothing_written(tmp_path, suffix):
    rows = [{"id": i, "responses": [f"{i} {j} " + "x" * 40 for j in range(4)]} for i in range(2000)]
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / f"out.{suffix}"

    def small():  # no file may grow beyond this: what a full disk says, without filling one
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    limit = 1_000_000 if suffix == "jsonl" else 60_000
    command = [sys.executable, "-m", "semantic_entropy", "estimate", str(source), "-o", str(out), "-e", "exact"]
    full = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=small)
    assert full.returncode == 1
    assert "run again to continue" in full.stderr
    assert "Traceback" not in full.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "were done before" in done.stderr
    assert [row["id"] for row in read(out)] == list(range(2000))


def test_a_file_damaged_in_the_middle_is_an_error_that_names_it(tmp_path):
    source = write(tmp_path / "in.parquet", [{"responses": [f"answer {i}"]} for i in range(5000)])
    content = bytearray(source.read_bytes())
    content[40:4000] = b"\xff" * 3960
    source.write_bytes(content)
    with pytest.raises(SemanticEntropyError, match="cannot be read after row"):
        measure(source, tmp_path / "out.parquet")


def test_a_link_at_the_name_of_the_lock_is_not_followed(tmp_path, monkeypatch):
    source, precious = write(tmp_path / "in.jsonl", ROWS), tmp_path / "precious"
    precious.write_text("precious")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "locks"))
    (tmp_path / "locks").mkdir()
    measure(source, tmp_path / "out.jsonl")
    (lock,) = (tmp_path / "locks").iterdir()
    lock.unlink()
    lock.symlink_to(precious)
    with pytest.raises(InputError, match="set TMPDIR to a folder of your own"):
        measure(source, tmp_path / "out.jsonl")
    assert precious.read_text() == "precious"
