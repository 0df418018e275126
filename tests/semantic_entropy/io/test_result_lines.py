"""Results that are kept: by the key of their row, if the run has the same choices."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_entropy import Equivalence, InputError, Scorer, Verdict
from semantic_entropy.io import FileRun, run
from semantic_entropy.io.result_lines import KeyIndex
from semantic_entropy.tables import FieldNames
from tests.semantic_entropy.io.measured_files import read, write

FORMATS = pytest.mark.parametrize("suffix", ["jsonl", "parquet"])


class Counting(Equivalence):
    """Compares texts, counts the pairs, and ends the run like a kill after `most` calls."""

    name = "counting"
    settings = "counting"

    def __init__(self, most=10**9):
        self.pairs, self.left = 0, most

    def judge(self, pairs):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        self.pairs += len(pairs)
        return [Verdict(pair.left == pair.right) for pair in pairs]


def rows_of(count):
    return [{"id": i, "responses": [f"a{i}", f"b{i}"], "note": "first"} for i in range(count)]


def run_file(source, output, judge=None):
    with Scorer(judge or Counting()) as scorer:
        return FileRun(scorer, str(source), str(output), names=FieldNames(), overwrite=False, strict=False).execute(
            progress=False
        )


@FORMATS
def test_a_finished_run_asks_the_judge_nothing(tmp_path, suffix):
    source, output = write(tmp_path / "in.jsonl", rows_of(5)), tmp_path / f"out.{suffix}"
    run_file(source, output)
    judge = Counting()
    done = run_file(source, output, judge)
    assert (done.rows, done.skipped, judge.pairs) == (0, 5, 0)


def without_last(rows):
    return rows[:-1]


def appended(rows):
    return [*rows, {"id": 5, "responses": ["new", "other"]}]


def edited(rows):
    return [*rows[:2], {**rows[2], "responses": ["x", "y"]}, *rows[3:]]


def swapped(rows):
    return [rows[0], rows[3], rows[2], rows[1], rows[4]]


def noted(rows):
    return [{**row, "note": "second", "more": [1.5, None]} for row in rows]


def doubled(rows):
    return [row for row in rows for _ in range(2)]


@FORMATS
@pytest.mark.parametrize(
    ("change", "measured", "removed"),
    [(without_last, 0, 1), (appended, 1, 0), (edited, 1, 1), (swapped, 0, 0), (noted, 0, 0), (doubled, 0, 0)],
)
def test_after_a_change_of_the_input_only_changed_rows_are_measured(tmp_path, suffix, change, measured, removed):
    rows = rows_of(5)
    source, output = write(tmp_path / "in.jsonl", rows), tmp_path / f"out.{suffix}"
    run_file(source, output)
    write(source, change(rows))
    judge = Counting()
    done = run_file(source, output, judge)
    assert (judge.pairs, done.rows, done.removed) == (measured, measured, removed)
    run_file(source, tmp_path / f"fresh.{suffix}")
    assert list(map(without_counts, read(output))) == list(map(without_counts, read(tmp_path / f"fresh.{suffix}")))
    assert str(done).count("removed: their rows are not in the input any more") == removed


@FORMATS
def test_an_input_without_most_rows_of_the_output_removes_no_result(tmp_path, suffix):
    source, output = write(tmp_path / "in.jsonl", rows_of(9)), tmp_path / f"out.{suffix}"
    run_file(source, output)
    before = output.read_bytes()
    with pytest.raises(
        InputError, match=r"5 of the 9 results in .* belong to no row of .*in\.jsonl, and would be removed"
    ):
        run_file(write(source, rows_of(4)), output)
    assert output.read_bytes() == before
    assert run_file(write(source, rows_of(9)), output).skipped == 9


@FORMATS
def test_a_wrong_input_is_refused_again_and_again_before_a_row_is_measured(tmp_path, suffix):
    rows = rows_of(30)
    source, output = write(tmp_path / "in.jsonl", rows[:10]), tmp_path / f"out.{suffix}"
    run_file(source, output)
    before, judge = output.read_bytes(), Counting()
    other = write(tmp_path / "other.jsonl", [{**row, "note": "second"} for row in rows[9:]])
    for _ in range(3):
        with pytest.raises(InputError, match="9 of the 10 results in .* The output was not changed"):
            run_file(other, output, judge)
    assert (judge.pairs, output.read_bytes()) == (0, before)
    assert not any(path.stat().st_size for path in tmp_path.glob("out*.partial.jsonl"))


@FORMATS
def test_wrong_rows_on_standard_input_are_refused_again_and_again(tmp_path, monkeypatch, suffix):
    rows, output = rows_of(30), tmp_path / f"out.{suffix}"
    run_file(write(tmp_path / "in.jsonl", rows[:10]), output)
    before = read(output)
    write(tmp_path / "other.jsonl", [{**row, "note": "second"} for row in rows[9:]])
    for _ in range(3):
        with (tmp_path / "other.jsonl").open() as file:
            monkeypatch.setattr("sys.stdin", file)
            with pytest.raises(InputError, match="9 of the 10 results in .* belong to no row of -"):
                run_file("-", output)
        assert read(output) == before
    assert run_file(tmp_path / "in.jsonl", output).skipped == 10
    assert read(output) == before


def test_standard_input_can_be_continued(tmp_path, monkeypatch):
    rows, output = rows_of(6), tmp_path / "out.jsonl"
    run_file(write(tmp_path / "half.jsonl", rows[:3]), output)
    with write(tmp_path / "in.jsonl", rows).open() as file:
        monkeypatch.setattr("sys.stdin", file)
        done = run_file("-", output)
    assert (done.rows, done.skipped) == (3, 3)
    assert [row["id"] for row in read(output)] == list(range(6))


def test_other_rows_on_standard_input_do_not_remove_the_results_of_an_output(tmp_path, monkeypatch):
    output = tmp_path / "out.jsonl"
    run_file(write(tmp_path / "in.jsonl", rows_of(3)), output)
    with write(tmp_path / "other.jsonl", [{"responses": ["x"]}]).open() as file:
        monkeypatch.setattr("sys.stdin", file)
        with pytest.raises(InputError, match="holds results of another input"):
            run_file("-", output)
    assert len(read(output)) == 3


FOREIGN = [
    (b"my notes", "line 1 is not a result"),
    (b'{"mine": 1}', "line 1 is not a result"),
    (b'{"mine": 1}\n', "line 1 is not a result"),
    (b'{"id": 1, "provenance": {}}\n', r"line 1 is a result of version 0\.1\.0 without a key"),
    (b'{\n  "pretty": 1\n}\n', "line 1 is not a result"),
    (b"\xff\xfe\n", "line 1 is not a result"),
]


@pytest.mark.parametrize(("content", "says"), FOREIGN)
def test_a_file_with_something_else_is_refused_and_kept(tmp_path, content, says):
    output = tmp_path / "out.jsonl"
    output.write_bytes(content)
    with pytest.raises(InputError, match=says):
        run_file(write(tmp_path / "in.jsonl", rows_of(2)), output)
    assert output.read_bytes() == content


@pytest.mark.parametrize("cut", [1, 20, 200])
@pytest.mark.parametrize("zeros", [0, 100])
def test_a_line_that_a_kill_or_a_power_cut_left_incomplete_is_measured_again(tmp_path, cut, zeros):
    source, output = write(tmp_path / "in.jsonl", rows_of(4)), tmp_path / "out.jsonl"
    run_file(source, output)
    whole = output.read_bytes()
    output.write_bytes(whole[:-cut] + b"\0" * zeros)
    assert run_file(source, output).rows == 1
    assert output.read_bytes() == whole


@FORMATS
def test_a_stored_result_that_was_damaged_is_an_error_that_shows_it(tmp_path, suffix):
    source, output, lines = write(tmp_path / "in.jsonl", rows_of(3)), tmp_path / f"out.{suffix}", tmp_path / "l.jsonl"
    run_file(source, lines)
    damaged = lines.read_bytes().replace(b'"labels"', b'"labels', 1)
    (tmp_path / (f"out.{suffix}" if suffix == "jsonl" else "out.parquet.partial.jsonl")).write_bytes(damaged)
    with pytest.raises(InputError, match="a stored result cannot be read .* remove its line"):
        run_file(source, output)


def test_a_stored_result_without_the_numbers_of_its_pairs_is_an_error_that_says_what_to_do(tmp_path):
    source, output = write(tmp_path / "in.jsonl", rows_of(3)), tmp_path / "out.jsonl"
    run_file(source, output)
    output.write_bytes(output.read_bytes().replace(b'"asked"', b'"requested"', 1))
    with pytest.raises(InputError, match="does not say how many pairs were compared .*use --overwrite"):
        run_file(source, output)


def test_a_formatter_may_have_rewritten_the_output(tmp_path):
    source, output = write(tmp_path / "in.jsonl", rows_of(3)), tmp_path / "out.jsonl"
    run_file(source, output)
    whole = output.read_bytes()
    output.write_text("".join(json.dumps(row, separators=(",", ":")) + "\r\n" for row in read(output)))
    assert run_file(source, output).skipped == 3
    assert output.read_bytes() == whole


def test_rows_whose_keys_begin_alike_are_told_apart():
    index = KeyIndex()
    same = "0" * 16
    for place, rest in enumerate(("a", "b", "a")):
        index.add(same + rest * 16, place)
    index.add("f" * 32, 3)
    assert [index.unused_by([key * 32]) for key in "f0e"] == [3, 1, 4]
    assert (index.take("e" * 32), len(index), index.unused) == (None, 4, 4)
    assert [index.take("f" * 32) for _ in range(2)] == [3, 3]
    assert [index.take(same + "a" * 16) for _ in range(4)] == [0, 1, 2, 2]
    assert index.unused == 0


def without_counts(row):
    """A row without what differs between runs: which run paid for a verdict."""
    return {**row, "provenance": {**row["provenance"], "asked": 0, "cached": 0, "decided_by": []}}


responses = st.lists(st.sampled_from("abc"), min_size=1, max_size=3)
row = st.fixed_dictionaries({"responses": responses}, optional={"id": st.integers(0, 3), "note": st.integers(0, 1)})
steps = st.lists(st.tuples(st.lists(row, max_size=8), st.integers(0, 12), st.integers(0, 60)), max_size=4)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@settings(max_examples=30)
@given(steps=steps, last=st.lists(row, max_size=8))
def test_after_any_edits_and_kills_the_output_is_that_of_a_fresh_run(tmp_path_factory, suffix, steps, last):
    folder = tmp_path_factory.mktemp("edits")
    source, output, fresh = folder / "in.jsonl", folder / f"out.{suffix}", folder / f"fresh.{suffix}"
    lines = folder / (f"out.{suffix}" if suffix == "jsonl" else f"out.{suffix}.partial.jsonl")
    anchors = [{"responses": [f"anchor {i}"]} for i in range(40)]  # otherwise most results could lose their rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_CHUNK", 8)  # a chunk has one or two rows
        for rows, calls, cut in steps:
            write(source, [*anchors, *rows])
            with suppress(KeyboardInterrupt):
                run_file(source, output, Counting(calls))
                continue
            if lines.exists():
                content = lines.read_bytes()
                begun = content.rfind(b"\n", 0, -1) + 1  # the kill may have cut the last line
                lines.write_bytes(content[: max(begun, len(content) - cut)])
        write(source, [*anchors, *last])
        run_file(source, output)
    run_file(source, fresh)
    assert list(map(without_counts, read(output))) == list(map(without_counts, read(fresh)))
    measure_again = Counting()
    assert run_file(source, output, measure_again).rows == measure_again.pairs == 0
