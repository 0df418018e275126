"""`semantic-entropy calibrate` and `estimate --calibration`: exit statuses, messages, files."""

import json
import random

import pytest
from click.testing import CliRunner

from semantic_entropy.cli import main
from semantic_entropy.decisions import Calibration
from tests.semantic_entropy.cli.command import read, write

KINDS = [["Paris"] * 4, ["Paris", "Paris", "Paris", "Rome"], ["Rome", "Oslo", "Bern", "Wien"]]


def labelled(n=200, risks=(0.0, 0.3, 0.8)):
    draw, rows = random.Random(0), []
    for i in range(n):
        kind = draw.randrange(3)
        rows.append({"question": f"Q{i}?", "responses": KINDS[kind], "answer_correct": draw.random() >= risks[kind]})
    return rows


def run(command, *arguments):
    return CliRunner().invoke(main, [command, *map(str, arguments)])


def test_one_command_writes_the_calibration_the_report_and_the_picture(tmp_path):
    file, output, picture = write(tmp_path / "rows.jsonl", labelled()), tmp_path / "c.json", tmp_path / "c.png"
    ran = run("calibrate", file, "-o", output, "--model", "m", "--picture", picture)
    assert ran.exit_code == 0, ran.output
    assert "200 rows in" in ran.stderr
    assert f"{output} is written: use it with `semantic-entropy estimate --calibration {output}`" in ran.stderr
    assert "guarantee: answer only where discrete is at most 0: with confidence 0.9, at most 0.1 of" in ran.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert Calibration.load(output).threshold == 0


def test_estimate_flags_the_rows_of_a_file(tmp_path):
    file, output = write(tmp_path / "rows.jsonl", labelled()), tmp_path / "c.json"
    run("calibrate", file, "-o", output, "--model", "m")
    new = write(tmp_path / "new.jsonl", labelled(9))
    ran = run("estimate", new, "-o", tmp_path / "out.jsonl", "--calibration", output, "--model", "m")
    assert ran.exit_code == 0, ran.output
    rows = read(tmp_path / "out.jsonl")
    assert [row["flag"] for row in rows] == [row["entropy"] > 0 for row in rows]
    assert all(row["threshold"] == 0 and 0 < row["p_wrong"] < 1 and row["warnings"] == [] for row in rows)
    undeclared = run("estimate", new, "-o", tmp_path / "other.jsonl", "--calibration", output)
    assert undeclared.exit_code == 0
    assert "undeclared" in read(tmp_path / "other.jsonl")[0]["warnings"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-e", "exact"], "judge text, and here exact"),
        (["--convention", "lm-polygraph"], "convention default, and here lm-polygraph"),
        (["--model", "other"], "model m, and here other"),
    ],
)
def test_estimate_refuses_a_foreign_calibration(options, message, tmp_path):
    file, output = write(tmp_path / "rows.jsonl", labelled(60)), tmp_path / "c.json"
    run("calibrate", file, "-o", output, "--model", "m", "-e", "text")
    ran = run("estimate", file, "-o", tmp_path / "out.jsonl", "--calibration", output, "-e", "text", *options)
    assert ran.exit_code == 1
    assert message in ran.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_what_cannot_be_certified_has_exit_status_3_and_the_file_is_written(tmp_path):
    file, output = write(tmp_path / "rows.jsonl", labelled(30)), tmp_path / "c.json"
    ran = run("calibrate", file, "-o", output)
    assert ran.exit_code == 3
    assert "guarantee: cannot certify a risk of at most 0.1 with confidence 0.9: " in ran.stdout
    assert "and it takes 22 such answers to certify with this share of wrong ones. Label about " in ran.stdout
    assert "exit status 3: no threshold is certified" in ran.stderr
    assert Calibration.load(output).threshold is None


def test_a_scored_file_gives_the_same_calibration_and_refuses_other_choices(tmp_path):
    file, scored = write(tmp_path / "rows.jsonl", labelled()), tmp_path / "scored.jsonl"
    first = run("calibrate", file, "-o", tmp_path / "a.json", "--measured", scored, "--json")
    second = run("calibrate", scored, "-o", tmp_path / "b.json", "--json")
    assert first.stdout == second.stdout
    assert json.loads(first.stdout)["guarantee"]["threshold"] == 0
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    ran = run("calibrate", scored, "-o", tmp_path / "b.json", "-e", "exact")
    assert ran.exit_code == 1
    assert "has scores already, so --equivalence cannot change them" in ran.stderr


def test_several_scores_are_measured_and_combined(tmp_path):
    file, output = write(tmp_path / "rows.jsonl", labelled()), tmp_path / "c.json"
    ran = run("calibrate", file, "-o", output, "--score", "discrete", "--score", "eigv", "--alpha", "0.2")
    assert ran.exit_code == 0, ran.output
    assert "guarantee: answer only where p(wrong) is at most" in ran.stdout
    assert Calibration.load(output).names == ("discrete", "eigv")
    new = run("estimate", file, "-o", tmp_path / "out.jsonl", "--calibration", output)
    assert new.exit_code == 1
    assert "reads the score 'eigv'" in new.stderr


def test_a_bad_row_is_reported_and_the_exit_status_is_1(tmp_path):
    file = write(tmp_path / "rows.jsonl", [*labelled(), {"responses": "x"}])
    ran = run("calibrate", file, "-o", tmp_path / "c.json")
    assert ran.exit_code == 1
    assert "line 201" in ran.stderr
    assert "left out: 1 bad row" in ran.stdout
    assert Calibration.load(tmp_path / "c.json").threshold == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--alpha", "0"], "0.0 is not in the range 0<x<1"),
        (["--method", "beta"], "'beta' is not one of"),
        (["--picture", "c.gif"], "c.gif: a picture has the suffix"),
        (["--score", "nothing"], "nothing"),
        (["--score", "wepr"], "--fitted-elsewhere wepr"),
    ],
)
def test_options_that_cannot_be_used_are_errors_before_rows_are_measured(options, message, tmp_path):
    file = write(tmp_path / "rows.jsonl", labelled(20))
    ran = run("calibrate", file, "-o", tmp_path / "c.json", *options)
    assert ran.exit_code in (1, 2)
    assert message in ran.stderr
    assert not (tmp_path / "c.json").exists()


def test_the_calibration_replaces_no_other_file_of_the_run(tmp_path):
    file = write(tmp_path / "rows.jsonl", labelled(20))
    ran = run("calibrate", file, "-o", file)
    assert ran.exit_code == 1
    assert "is both input and calibration" in ran.stderr
    assert len(read(file)) == 20


def test_rows_with_a_byte_order_mark_and_about_one_question_are_calibrated(tmp_path):
    rows = [row | {"doc": i // 2, "question": f"{i}. Which?"} for i, row in enumerate(labelled())]
    file, output = tmp_path / "rows.jsonl", tmp_path / "c.json"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8-sig")
    assert run("calibrate", file, "-o", output, "--model", "m").exit_code == 0
    assert Calibration.load(output).labels.n_certify == 160
    found = run("calibrate", file, "-o", output, "--model", "m", "--question-id", "doc")
    assert Calibration.load(output).labels.n_certify == 80
    assert "80 rows of the certifying part with the question of another row left out" in found.stdout


def test_drift_says_that_the_rows_are_those_of_the_calibration(tmp_path):
    file, output, scored = write(tmp_path / "rows.jsonl", labelled()), tmp_path / "c.json", tmp_path / "scored.jsonl"
    options = ["--score", "discrete", "--score", "num_sets", "--model", "m"]
    run("calibrate", file, "-o", output, *options)
    run("estimate", file, "-o", scored, "--estimator", "discrete", "--estimator", "num_sets", "--model", "m")
    ran = run("drift", output, scored)
    assert (ran.exit_code, "nothing was compared" in ran.stdout) == (1, True), ran.output
    assert "num_sets: largest difference 0.000" in ran.stdout
    write(scored, read(scored)[:50])
    ran = run("drift", output, scored)
    assert "of the questions of the calibration are in these groups, too" in ran.stdout
    assert "no drift found" in ran.stdout
    assert ran.exit_code == 0
