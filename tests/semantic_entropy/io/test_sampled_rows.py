"""Files with rows that have a question and no responses."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from semantic_entropy import register
from semantic_entropy.cli import main
from tests.semantic_entropy.sampling.dice import Dice

ROOT = Path(__file__).resolve().parents[3]
ROWS = [
    {"id": 1, "question": "one?"},
    {"id": 2, "question": "two?", "responses": ["a", "b"]},
    {"id": 3, "question": "three?", "responses": []},
    {"id": 4, "question": "secret?"},
    {"id": 5},
    {"id": 6, "question": "one?", "responses": None},
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def dice():
    made = []

    def factory(**options):
        made.append(Dice(**options))
        return made[-1]

    register("sampler", "dice", factory)
    return made


def run(*arguments):
    return CliRunner().invoke(main, ["estimate", *map(str, arguments), "--sampler", "dice", "-n", "4"])


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_questions_are_sampled_given_responses_are_used_and_bad_rows_are_rejected(file, dice, tmp_path):
    output = tmp_path / "out.jsonl"
    done = run(file, "-o", output, "--sampler-option", "refuses=secret")
    assert done.exit_code == 1  # there are bad rows
    rows = read(output)
    assert [row["id"] for row in rows] == [1, 2, 3, 6]
    assert [len(row["responses"]) for row in rows] == [4, 2, 4, 4]
    assert rows[0]["responses"] == rows[3]["responses"]
    assert rows[0]["logprobs"] == [[-0.1, -0.2]] * 4
    assert [row["provenance"]["sampler"] for row in rows] == ["dice", None, "dice", "dice"]
    rejected = read(Path(f"{output}.bad.jsonl"))
    assert [(row["line"], row["problem"]) for row in rejected] == [
        (4, "no response from dice: refused"),
        (5, "no field 'responses'; it has id"),
    ]
    assert "8 responses, 8 of them new" in done.output


def test_an_interrupted_run_continues_and_draws_no_response_twice(file, dice, tmp_path):
    output = tmp_path / "out.jsonl"
    assert run(file, "-o", output, "--sampler-option", "breaks_after=6").exit_code == 1
    done = run(file, "-o", output)
    assert done.exit_code == 1  # line 5
    assert [asked for one in dice for asked in one.asked] == [
        ("one?", 4, 0),
        ("three?", 4, 0),
        ("three?", 2, 2),
        ("secret?", 4, 0),
    ]
    assert [row["id"] for row in read(output)] == [1, 2, 3, 4, 6]


def test_overwrite_measures_again_and_draws_nothing(file, dice, tmp_path):
    output = tmp_path / "out.jsonl"
    run(file, "-o", output)
    first = read(output)
    run(file, "-o", output, "--overwrite", "--equivalence", "exact")
    assert dice[-1].asked == []
    assert [row["responses"] for row in read(output)] == [row["responses"] for row in first]


def test_another_sampler_is_refused_for_an_existing_output(file, dice, tmp_path):
    output = tmp_path / "out.jsonl"
    run(file, "-o", output)
    done = run(file, "-o", output, "--sampler-option", "sides=2")
    assert done.exit_code == 1
    assert f"{output} was made with sampler settings '" in done.output
    Path(f"{output}.samples.jsonl").unlink()
    assert "0 rows in" in run(file, "-o", output).output  # the results hold the responses
    assert dice[-1].asked == []


FORMATS = pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
WIDE = [{"id": i, "question": f"number {i}?", "n": i if i % 2 else i / 2, "entropy": "own"} for i in range(8)]


def written(tmp_path, suffix, rows=WIDE):
    """A file of questions, and the path of its output."""
    source, output = tmp_path / f"q.{suffix}", tmp_path / f"out.{suffix}"
    if suffix == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), source)
    else:
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return source, output


def results(path):
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    return read(path)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@FORMATS
def test_a_row_that_the_server_failed_is_retried_and_inserted_in_its_place(dice, tmp_path, suffix):
    source, output = written(tmp_path, suffix)
    first = run(source, "-o", output, "--sampler-option", "fails=number 3", "--sampler-option", "refuses=number 5")
    assert first.exit_code == 1
    assert "1 of the bad rows got no response: run the same command again to retry them" in first.output
    assert [row["id"] for row in results(output)] == [0, 1, 2, 4, 6, 7]
    still = run(source, "-o", output, "--sampler-option", "fails=number 3")
    assert still.exit_code == 1
    assert [question for question, *_ in dice[-1].asked] == ["number 3?", "number 5?"]
    again = run(source, "-o", output)
    assert [question for question, *_ in dice[-1].asked] == ["number 3?"]
    assert "1 rows in" in again.output
    assert "32 responses, 4 of them new" in again.output
    straight = tmp_path / "straight" / output.name
    straight.parent.mkdir()
    run(source, "-o", straight)
    assert list(map(without_counts, results(output))) == list(map(without_counts, results(straight)))
    assert files(tmp_path) == [*files(tmp_path / "straight"), source.name, "straight"]


def without_counts(row):
    """A result without the counts that differ between runs, because verdicts are cached."""
    provenance = row["result_provenance"] if "result_provenance" in row else row["provenance"]
    return {**row, "provenance": {**provenance, "asked": 0, "cached": 0, "decided_by": []}}


@FORMATS
def test_a_kill_before_retried_rows_are_moved_to_their_place_loses_and_repeats_nothing(
    dice, tmp_path, suffix, monkeypatch
):
    source, output = written(tmp_path, suffix)
    refuses = ("--sampler-option", "refuses=number 5")
    run(source, "-o", output, "--sampler-option", "fails=number 3", *refuses)
    replace = Path.replace

    def killed(path, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    run(source, "-o", output, *refuses)
    monkeypatch.setattr(Path, "replace", replace)
    done = run(source, "-o", output, *refuses)
    assert "0 rows in" in done.output
    assert [row["id"] for row in results(output)] == [0, 1, 2, 3, 4, 6, 7]
    assert len(read(Path(f"{output}.bad.jsonl"))) == 1
    assert files(tmp_path) == sorted(
        [source.name, output.name, f"{output.name}.bad.jsonl", f"{output.name}.samples.jsonl"]
    )


def test_after_an_outage_the_same_command_samples_the_remaining_questions(dice, tmp_path):
    source, output = written(tmp_path, "jsonl")
    run(source, "-o", output, "--sampler-option", "fails=number")
    assert results(output) == []
    assert run(source, "-o", output).exit_code == 0
    assert [row["id"] for row in results(output)] == list(range(8))
    assert files(tmp_path) == ["out.jsonl", "out.jsonl.samples.jsonl", "q.jsonl"]


@FORMATS
def test_questions_rejected_without_a_sampler_are_sampled_in_a_run_with_one(dice, tmp_path, suffix):
    rows = [{**row, "responses": ["a", "b"] if row["id"] == 4 else None} for row in WIDE]
    source, output = written(tmp_path, suffix, rows)
    without_sampler = CliRunner().invoke(main, ["estimate", str(source), "-o", str(output)])
    assert "hint: 7 rows have a question and no responses: add --sampler NAME to ask a model" in without_sampler.output
    assert run(source, "-o", output).exit_code == 0
    assert [row["id"] for row in results(output)] == list(range(8))
    assert not Path(f"{output}.bad.jsonl").exists()


def test_only_the_first_bad_rows_are_printed_and_a_hint_names_a_similar_field(tmp_path):
    source, output = written(tmp_path, "jsonl", [{"question": "q?", "texts": ["a", "b"]}] * 500)
    done = CliRunner().invoke(main, ["estimate", str(source), "-o", str(output)])
    assert done.output.count("no field 'responses'") == 10
    assert f"... and more bad rows: all of them are in {output}.bad.jsonl" in done.output
    assert "hint: the field 'texts' holds texts: add --responses texts to use it" in done.output
    assert len(read(Path(f"{output}.bad.jsonl"))) == 500


@FORMATS
def test_another_n_and_a_missing_sampler_are_refused_for_an_existing_output(dice, tmp_path, suffix):
    rows = [{**row, "responses": None} for row in WIDE] + [
        {**WIDE[0], "responses": ["a", "b"]}
    ]  # the last row has no sampler in its provenance
    source, output = written(tmp_path, suffix, rows)
    assert run(source, "-o", output).exit_code == 0
    before = output.read_bytes()
    other = CliRunner().invoke(main, ["estimate", str(source), "-o", str(output), "--sampler", "dice", "-n", "6"])
    assert f"{output} was made with n 4, and this run has n 6: use --overwrite, or another output" in other.output
    none = CliRunner().invoke(main, ["estimate", str(source), "-o", str(output)])
    assert "was made with sampler 'dice', n 4, and this run has no sampler: use --overwrite" in none.output
    assert output.read_bytes() == before


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_questions_can_come_from_parquet_and_results_go_to_both_formats(file, dice, tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"id": [1, 2], "question": ["one?", "two?"]})
    source, output = tmp_path / "q.parquet", tmp_path / f"out.{kind}"
    parquet.write_table(table, source)
    done = run(source, "-o", output)
    assert done.exit_code == 0, done.output
    rows = parquet.read_table(output).to_pylist() if kind == "parquet" else read(output)
    assert [(row["id"], len(row["responses"])) for row in rows] == [(1, 4), (2, 4)]
    assert rows[0]["provenance"]["sampling_usage"]["output_tokens"] == 8


def test_sampler_options_without_a_sampler_are_refused(file):
    done = CliRunner().invoke(main, ["estimate", str(file), "--samples", "s.jsonl"])
    assert "need --sampler NAME" in done.output


def test_explain_samples_a_question(dice):
    done = CliRunner().invoke(main, ["explain", "-q", "one?", "--sampler", "dice", "-n", "4"])
    assert "in 4 responses" in done.output
    assert "drawn by dice: 4 requests, 12 tokens in, 8 out" in done.output
    for wrong in (["--sampler", "dice"], ["--sampler", "dice", "-q", "q", "a", "b"], []):
        assert CliRunner().invoke(main, ["explain", *wrong]).exit_code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of its own")
def test_on_a_terminal_a_bar_counts_responses_and_ctrl_c_says_how_to_continue(file, tmp_path):
    measure = (
        "from semantic_entropy import register\n"
        "from tests.semantic_entropy.sampling.dice import Dice\n"
        "register('sampler', 'dice', Dice)\n"
        "from semantic_entropy.cli import main\n"
        "main()\n"
    )
    output = tmp_path / "out.jsonl"
    arguments = ["estimate", file, "-o", output, "--sampler", "dice", "--sampler-option", "wait=0.2"]
    reader, writer = pty.openpty()
    running = subprocess.Popen([sys.executable, "-c", measure, *map(str, arguments)], cwd=ROOT, stderr=writer)
    os.close(writer)
    shown = b""
    deadline = time.monotonic() + 60
    while b" responses" not in shown.replace(b" 0 responses", b""):
        assert time.monotonic() < deadline, shown
        shown += os.read(reader, 4096)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=20) == 130
    shown += os.read(reader, 65536)
    assert b"new responses are stored; run the same command again to continue" in shown
    os.close(reader)
    assert len(read(Path(f"{output}.samples.jsonl"))) >= 1


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_finished_output_draws_nothing_again(file, dice, tmp_path, suffix):
    output = tmp_path / f"out.{suffix}"
    run(file, "-o", output)
    again = run(file, "-o", output)
    assert "nothing left to do" in again.output
    assert dice[-1].asked == []


class CutOff(Dice):
    """Of each four responses, the first has no text and the second a part of it, at the token limit; the third ends."""

    def stream(self, requests):
        changes = [("", "length"), ("Par", "length"), ("", "stop"), ("Paris", "stop")]
        for number, (request, sample) in enumerate(super().stream(requests)):
            text, reason = changes[number % 4]
            yield request, replace(sample, text=text, logprobs=None, finish_reason=reason)


def test_the_summary_has_the_share_of_responses_that_were_cut_off_or_are_empty(file, tmp_path):
    register("sampler", "dice", CutOff)
    done = run(file, "-o", tmp_path / "out.jsonl")
    assert "5 rows in" in done.output
    assert "8 of 16 responses (50.0%) were cut off at the token limit: raise max_tokens" in done.output
    assert "4 of 16 responses (25.0%) are empty" in done.output
    assert [len(row["responses"]) for row in read(tmp_path / "out.jsonl")] == [3, 2, 3, 3, 3]


def test_a_row_whose_responses_all_reached_the_token_limit_without_text_is_a_bad_row_of_this_run_only(tmp_path):
    (tmp_path / "q.jsonl").write_text('{"question": "one?"}\n')
    register("sampler", "dice", Reasoner)
    done = run(tmp_path / "q.jsonl", "-o", tmp_path / "out.jsonl")
    assert done.exit_code == 1
    assert "4 of 4 responses (100.0%) were cut off at the token limit: raise max_tokens" in done.output
    assert "4 responses reached the token limit before any text" in (tmp_path / "out.jsonl.bad.jsonl").read_text()
    register("sampler", "dice", Dice)
    assert run(tmp_path / "q.jsonl", "-o", tmp_path / "out.jsonl").exit_code == 0
    assert [len(row["responses"]) for row in read(tmp_path / "out.jsonl")] == [4]


class Reasoner(Dice):
    """All its tokens are reasoning."""

    def stream(self, requests):
        for request, sample in super().stream(requests):
            yield request, replace(sample, text="", logprobs=None, finish_reason="length")
