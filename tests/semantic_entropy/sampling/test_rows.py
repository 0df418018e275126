"""Files whose rows hold a question alone."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
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


def test_questions_are_answered_responses_are_taken_and_bad_rows_set_aside(file, dice, tmp_path):
    output = tmp_path / "out.jsonl"
    done = run(file, "-o", output, "--sampler-option", "refuses=secret")
    assert done.exit_code == 1  # there are bad rows
    rows = read(output)
    assert [row["id"] for row in rows] == [1, 2, 3, 6]
    assert [len(row["responses"]) for row in rows] == [4, 2, 4, 4]
    assert rows[0]["responses"] == rows[3]["responses"]
    assert rows[0]["logprobs"] == [[-0.1, -0.2]] * 4
    assert [row["provenance"]["sampler"] for row in rows] == ["dice", None, "dice", "dice"]
    aside = read(Path(f"{output}.bad.jsonl"))
    assert [(row["line"], row["problem"]) for row in aside] == [
        (4, "no response from dice: refused"),
        (5, "no field 'responses'; it has id"),
    ]
    assert "8 added" in done.output


def test_an_interrupted_run_goes_on_and_asks_for_nothing_twice(file, dice, tmp_path):
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


def test_overwriting_measures_anew_and_asks_for_nothing(file, dice, tmp_path):
    output = tmp_path / "out.jsonl"
    run(file, "-o", output)
    first = read(output)
    run(file, "-o", output, "--overwrite", "--equivalence", "exact")
    assert dice[-1].asked == []
    assert [row["responses"] for row in read(output)] == [row["responses"] for row in first]


def test_another_sampler_is_refused_for_an_output_that_is_there(file, dice, tmp_path):
    output = tmp_path / "out.jsonl"
    run(file, "-o", output)
    done = run(file, "-o", output, "--sampler-option", "sides=2")
    assert done.exit_code == 1
    assert "another sampler or other options of it" in done.output
    assert run(file, "-o", output).output.startswith("0 rows")
    Path(f"{output}.samples.jsonl").unlink()
    assert "does not hold" in run(file, "-o", output).output


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_parquet_holds_questions_and_takes_responses(file, dice, tmp_path, kind):
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


def test_options_of_a_sampler_without_a_sampler_are_refused(file):
    done = CliRunner().invoke(main, ["estimate", str(file), "--samples", "s.jsonl"])
    assert "need --sampler NAME" in done.output


def test_explain_asks_a_question(dice):
    done = CliRunner().invoke(main, ["explain", "-q", "one?", "--sampler", "dice", "-n", "4"])
    assert "in 4 responses" in done.output
    assert "drawn by dice: 4 requests, 12 tokens in, 8 out" in done.output
    for wrong in (["--sampler", "dice"], ["--sampler", "dice", "-q", "q", "a", "b"], []):
        assert CliRunner().invoke(main, ["explain", *wrong]).exit_code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of its own")
def test_on_a_terminal_a_bar_says_what_has_been_drawn_and_ctrl_c_ends_it_with_how_to_go_on(file, tmp_path):
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
    assert b"the same command goes on from there" in shown
    os.close(reader)
    assert len(read(Path(f"{output}.samples.jsonl"))) >= 1


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_finished_output_is_recognised_when_it_is_run_again(file, dice, tmp_path, suffix):
    output = tmp_path / f"out.{suffix}"
    run(file, "-o", output)
    again = run(file, "-o", output)
    assert "nothing left to do" in again.output
    assert dice[-1].asked == []
