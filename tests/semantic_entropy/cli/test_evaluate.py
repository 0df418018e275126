"""`semantic-entropy evaluate`: the tables, the JSON, the picture, exit statuses, and a run that continues."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from click.testing import CliRunner

from semantic_entropy.cli import main
from tests.semantic_entropy.cli.command import call, write

ROWS = [
    {"id": i, "question": "Q?", "responses": ["Paris", "Paris" if i % 2 else "Rome"], "correct": [i % 3 > 0] * 2}
    for i in range(12)
]


def evaluated(*arguments, **options):
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)], **options)


def test_the_command_prints_the_table_and_writes_the_picture(tmp_path):
    file, picture = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "curves.png"
    ran = evaluated(file, "--picture", picture, "--resamples", "50", "--coverage", "0.5")
    assert ran.exit_code == 0, ran.output
    lines = ran.stdout.splitlines()
    assert lines[0] == "12 groups, 4 wrong (33.3%); label: main (decided by majority 12)"
    assert any(" ".join(line.split()).startswith("| discrete | 0.500 (") for line in lines)
    assert "accuracy@50% |" in ran.stdout
    assert "12 rows in" in ran.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_json_has_the_same_numbers_for_a_scored_file_and_standard_input(tmp_path):
    file, output = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "scored.jsonl"
    first = evaluated(file, "-o", output, "--json", "--resamples", "20")
    assert json.loads(first.stdout)["overall"]["groups"] == 12
    assert evaluated(output, "--json", "--resamples", "20").stdout == first.stdout
    piped = call("evaluate", "-", "--json", "--resamples", 20, input=file.read_text())
    assert piped.stdout == first.stdout, piped.stderr


def test_a_bad_row_is_reported_and_the_exit_status_is_1(tmp_path):
    ran = evaluated(write(tmp_path / "rows.jsonl", [*ROWS, {"responses": "x"}]), "--resamples", "0")
    assert ran.exit_code == 1
    assert "line 13" in ran.stderr
    assert "left out: 1 bad row" in ran.stdout
    assert "exit status 1: some rows could not be used" in ran.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label", "median"], "'median' is not one of 'main', 'majority', 'mean'"),
        (["--picture", "curves.gif"], "curves.gif: a picture has the suffix .png, .svg or .pdf"),
        (["--coverage", "0"], "0.0 is not in the range 0<x<=1"),
        (["--estimator", "likelihood"], "has what --estimator needs"),
        (["--estimator", "nothing"], "no estimator named 'nothing'"),
        (["--correct", "grades"], "no row can be evaluated: 12 rows without a label"),
        (["-o", "rows.jsonl"], "rows.jsonl is both input and output"),
    ],
)
def test_a_mistake_is_one_message_without_a_traceback(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.jsonl", ROWS)
    ran = evaluated("rows.jsonl", *options)
    assert ran.exit_code in (1, 2)
    assert message in ran.stderr
    assert "Traceback" not in ran.output


def test_options_that_measure_are_refused_for_a_scored_file(tmp_path):
    file = write(tmp_path / "scored.jsonl", [{"scores": {"mine": i}, "correct": i < 3} for i in range(6)])
    ran = evaluated(file, "--estimator", "discrete", "-e", "exact")
    assert ran.exit_code == 1
    assert "has scores already, so --estimator, --equivalence cannot change them" in ran.stderr
    assert evaluated(file, "--cache", tmp_path / "verdicts.db").exit_code == 0


def test_ctrl_c_keeps_what_is_measured_and_the_same_command_continues(tmp_path):
    plugin = """
        import os, signal
        from semantic_entropy import register
        calls = []
        def same(left, right):
            calls.append(1)
            if len(calls) == 40 and os.environ.get("INTERRUPT"):
                os.kill(os.getpid(), signal.SIGINT)
            return left == right
        from semantic_entropy import Equivalence, Verdict
        class Slow(Equivalence):
            name = "slow"
            def judge(self, pairs):
                return [Verdict(same(pair.left, pair.right)) for pair in pairs]
        register("equivalence", "slow", Slow)
        from semantic_entropy.cli import main
        main(prog_name="semantic-entropy")
    """
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(plugin))
    rows = [{**ROWS[0], "id": i, "responses": [f"a{i}", f"b{i}"], "correct": i % 2 == 0} for i in range(100)]
    file, output = write(tmp_path / "rows.jsonl", rows), tmp_path / "kept.jsonl"
    command = [sys.executable, script, "evaluate", file, "-e", "slow", "-o", output, "--resamples", "0"]
    stopped = subprocess.run(command, env={**os.environ, "INTERRUPT": "1"}, capture_output=True, text=True, check=False)
    assert stopped.returncode == 130, stopped.stderr
    assert "interrupted after 32 rows; run the same command again to continue" in stopped.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "32 rows were done before" in done.stderr
    assert done.stdout.startswith("100 groups, 50 wrong")


def test_a_csv_file_with_a_response_in_each_column_is_named_once_and_has_its_length(tmp_path):
    lines = ["question,response_1,response_2,answer_correct", "Q1,Paris,Paris,True", "Q2,Rome,Oslo,False", "Q3,x,y,"]
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(lines) + "\n")
    ran = evaluated(file, "--resamples", "0")
    assert ran.exit_code == 0, ran.output
    assert ran.stderr.count("read as CSV") == 1
    assert "2 groups, 1 wrong" in ran.stdout
    assert "left out: 1 row without a label" in ran.stdout
    assert "| length " in ran.stdout
