"""`estimate --fail-above X --fail-rate Y`: which rows fail, the summary, and the exit status."""

from __future__ import annotations

import dataclasses
import json

import pytest
from click.testing import CliRunner

from semantic_entropy import register
from semantic_entropy.cli import main
from semantic_entropy.plugin import Equivalence, Verdict
from tests.plugins.chat_server import ChatServer, says
from tests.semantic_entropy.cli.command import call, read, write
from tests.semantic_entropy.decisions.test_gate import CALIBRATION

SURE = {"id": "sure", "responses": ["Paris", "Paris", "Paris"]}
UNSURE = {"id": "unsure", "responses": ["Paris", "Rome", "Oslo"]}  # ln 3 = 1.099 nats
REFUSED = {"id": "refused", "responses": ["I don't know.", "", "I cannot answer that."]}
MOSTLY_REFUSED = {"id": "mostly", "responses": ["Paris", "Paris", "I don't know.", "", "N/A"]}
TWO = {"id": "two", "responses": ["Paris", "Paris"]}
ALONE = {"id": "alone", "responses": ["Paris"]}


class Silent(Equivalence):
    """It decides no pair."""

    name = "silent"
    settings = "silent"

    def judge(self, pairs):
        return [Verdict(None) for _ in pairs]


def gate(*arguments):
    ran = CliRunner().invoke(main, ["estimate", *map(str, arguments), "--quiet"])
    return ran.exit_code, ran.stderr


@pytest.mark.parametrize(
    ("rows", "options", "status", "shown"),
    [
        ([SURE, SURE], ["--fail-above", "0.5"], 0, "gate: passed, 0 of 2 rows failed (0.0%)"),
        ([SURE, UNSURE], ["--fail-above", "0.5"], 3, "line 2: the entropy is 1.099 nats, above 0.5"),
        ([SURE, UNSURE], ["--fail-above", "1.1"], 0, "gate: passed, 0 of 2"),
        ([SURE, UNSURE], ["--fail-above", "0.5", "--fail-rate", "0.5"], 0, "gate: passed, 1 of 2 rows failed (50.0%)"),
        ([SURE, UNSURE], ["--fail-above", "0.5", "--fail-rate", "0.49"], 3, "--fail-rate allows 49.0%"),
        ([REFUSED], ["--fail-above", "9"], 3, "line 1: 0 of 3 answers are valid: nothing to compare"),
        ([REFUSED], ["--fail-above", "9", "--invalid", "together"], 3, "0 of 3 answers are valid"),
        ([REFUSED], ["--fail-above", "9", "--invalid", "drop"], 3, "0 of 3 answers are valid"),
        ([MOSTLY_REFUSED], ["--fail-above", "9", "--invalid", "drop"], 3, "line 1: only 2 of 5 answers are valid"),
        ([ALONE], ["--fail-above", "9"], 3, "line 1: 1 of 1 answer is valid: nothing to compare"),
        ([TWO], ["--fail-above", "9"], 3, "line 1: 2 of 2 answers are valid, and a decision needs 3 (min_samples)"),
        ([TWO], ["--fail-above", "9", "--min-samples", "2"], 0, "gate: passed, 0 of 1"),
        ([SURE], ["--fail-above", "9", "--min-samples", "4"], 3, "3 of 3 answers are valid, and a decision needs 4"),
        (["not JSON", SURE], ["--fail-above", "9"], 3, "line 1: no result: not JSON"),
        (["not JSON", SURE], ["--fail-above", "9", "--fail-rate", "0.5"], 1, "gate: passed, 1 of 2 rows failed"),
        (["not JSON"], ["--fail-above", "9", "--fail-rate", "1"], 1, "gate: passed, 1 of 1 row failed"),
        ([], ["--fail-above", "9", "--fail-rate", "1"], 3, "gate: FAILED, there are no rows"),
        (["", "  "], ["--fail-above", "9"], 3, "gate: FAILED, there are no rows"),
        ([SURE], ["--fail-above", "nan"], 2, "nan is not a finite number"),
        ([SURE], ["--fail-above", "inf"], 2, "inf is not a finite number"),
        ([SURE], ["--fail-above", "-0.1"], 2, "-0.1 is not in the range"),
        ([SURE], ["--fail-above", "0.5", "--fail-rate", "nan"], 2, "nan is not a finite number"),
        ([SURE], ["--fail-above", "0.5", "--fail-rate", "1.01"], 2, "1.01 is not in the range"),
        ([SURE], ["--fail-above", "0.5", "--max-undecided", "nan"], 2, "nan is not a finite number"),
        ([SURE], ["--fail-rate", "0.5"], 2, "--fail-rate needs --fail-above or --fail-on"),
        ([SURE], ["--min-samples", "9"], 2, "--min-samples needs --fail-above"),
    ],
)
def test_a_row_fails_unless_it_is_known_to_be_sure(tmp_path, rows, options, status, shown):
    found, errors = gate(write(tmp_path / "in.jsonl", rows), "-o", tmp_path / "out.jsonl", *options)
    assert (found, shown in errors) == (status, True), errors
    assert ("exit status 3: the gate failed" in errors) == (status == 3)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_rows_of_an_earlier_run_count(tmp_path, suffix):
    source, output = write(tmp_path / "in.jsonl", [UNSURE, SURE]), tmp_path / f"out.{suffix}"
    assert gate(source, "-o", output)[0] == 0
    write(source, [UNSURE, SURE, {"responses": ["Oslo", "Oslo", "Oslo"]}])
    for text in ("1 rows in", "0 rows in"):  # the second run continues, the third has nothing left to do
        status, errors = gate(source, "-o", output, "--fail-above", "0.5", "--fail-rate", "0.3")
        assert status == 3
        assert text in errors
        assert "gate: FAILED, 1 of 3 rows failed (33.3%); --fail-rate allows 30.0%" in errors
        assert "line 1: the entropy is 1.099 nats, above 0.5" in errors
    assert gate(source, "-o", output, "--fail-above", "0.5", "--fail-rate", "0.34")[0] == 0


def test_a_run_that_was_killed_before_its_parquet_file_counts_what_it_measured(tmp_path):
    source, output = write(tmp_path / "in.jsonl", [UNSURE, SURE]), tmp_path / "out.parquet"
    assert gate(source, "-o", tmp_path / "out.jsonl")[0] == 0
    (tmp_path / "out.jsonl").rename(tmp_path / "out.parquet.partial.jsonl")
    status, errors = gate(source, "-o", output, "--fail-above", "0.5")
    assert (status, "2 rows were done before" in errors, "FAILED, 1 of 2 rows" in errors) == (3, True, True), errors


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ({"entropy": None}, "the entropy is unknown"),
        ({"entropy": -1.0}, "the entropy is -1.0"),
        ({"entropy": "low"}, "the result cannot be read: the field entropy"),
        ({"entropy": True}, "the result cannot be read: the field entropy"),
        ({"entropy": 10**400}, "the result cannot be read: the field entropy"),
        ({"n_valid": 9}, "3 of 3 answers are valid, and n_valid is 9, invalid is 0"),
        ({"answers": [None, "", "Paris"]}, "1 of 3 answers is valid"),
        ({"answers": None}, "the result cannot be read: the field answers"),
    ],
)
def test_a_stored_result_that_was_edited_by_hand_fails(tmp_path, edit, reason):
    source, output = write(tmp_path / "in.jsonl", [SURE]), tmp_path / "out.jsonl"
    assert gate(source, "-o", output, "--fail-above", "0.5")[0] == 0
    write(output, [row | edit for row in read(output)])
    status, errors = gate(source, "-o", output, "--fail-above", "0.5")
    assert (status, reason in errors) == (3, True), errors


def test_a_row_with_more_undecided_pairs_than_the_limit_fails(tmp_path):
    register("equivalence", "silent-of-tests", Silent)
    source = write(tmp_path / "in.jsonl", [SURE, UNSURE])
    options = ["-e", "silent-of-tests", "--fail-above", "9"]
    status, errors = gate(source, "-o", tmp_path / "out.jsonl", *options)
    assert (status, "line 2: 3 of 3 pairs undecided (100%)" in errors) == (3, True), errors
    assert gate(source, "-o", tmp_path / "out.jsonl", *options, "--max-undecided", "1")[0] == 0


def test_the_first_ten_failed_rows_are_listed_in_the_order_of_the_input(tmp_path):
    source = write(tmp_path / "in.jsonl", [SURE, *[UNSURE] * 12, "not JSON", *[UNSURE] * 300])
    _, errors = gate(source, "-o", tmp_path / "out.jsonl", "--fail-above", "0.5")
    listed = errors.partition("gate: ")[2].splitlines()
    assert [line.split(":")[0].strip() for line in listed[1:11]] == [f"line {n}" for n in range(2, 12)]
    assert listed[11] == "  ... and 303 more"


def test_csv_grouped_rows_and_standard_input_have_the_gate(tmp_path):
    table = tmp_path / "answers.csv"
    table.write_text("ask,said\nWhere?,Oslo\nWhere?,Rome\nWhere?,Bern\nWho?,Ada\nWho?,Ada\nWho?,Ada\n")
    options = ["--question", "ask", "--responses", "said", "--group-by", "ask", "--fail-above", "0.5"]
    status, errors = gate(table, "-o", tmp_path / "out.jsonl", *options)
    assert (status, "FAILED, 1 of 2 rows" in errors) == (3, True), errors
    piped = "".join(json.dumps(row) + "\n" for row in (SURE, UNSURE))
    done = call("estimate", "-", "--fail-above", "0.5", input=piped)
    assert (done.returncode, len(done.stdout.splitlines())) == (3, 2)
    assert "line 2: the entropy is 1.099 nats, above 0.5" in done.stderr
    assert call("estimate", "-", "--fail-above", "1.1", input=piped).returncode == 0


def test_drawn_responses_have_the_gate_and_a_question_without_a_response_fails(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"question": "Where?"}, UNSURE])
    with ChatServer(says("Oslo")) as server:
        options = ["--sampler", "openai", f"--sampler-option=base_url={server.url}", "--sampler-option=model=m"]
        options += ["--sampler-option=api_key=", "-n", "3", "--fail-above", "0.5"]
        for _ in range(2):
            status, errors = gate(source, "-o", tmp_path / "out.jsonl", *options)
            assert (status, "FAILED, 1 of 2 rows" in errors, "line 2: the ent" in errors) == (3, True, True), errors
    with ChatServer(says("")) as server:
        options[2] = f"--sampler-option=base_url={server.url}"
        write(source, [{"question": "Where?"}])
        status, errors = gate(source, "-o", tmp_path / "empty.jsonl", *options)
        assert (status, "FAILED, 1 of 1 row" in errors) == (3, True), errors


def test_n_auto_draws_for_the_decision_of_the_gate(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"question": "Where?"}])
    with ChatServer(says("Oslo")) as server:
        options = ["--sampler", "openai", f"--sampler-option=base_url={server.url}", "--sampler-option=model=m"]
        options += ["--sampler-option=api_key=", "-n", "auto", "--fail-above", "0.5"]
        assert gate(source, "-o", tmp_path / "out.jsonl", *options)[0] == 0
        assert read(tmp_path / "out.jsonl")[0]["n_valid"] < 10
        status, errors = gate(source, "-o", tmp_path / "out.jsonl", *options, "--threshold", "0.7")
        assert (status, "leave --threshold out" in errors) == (2, True), errors


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_with_a_calibration_rows_fail_by_their_decision(tmp_path, suffix):
    CALIBRATION.save(tmp_path / "calibration.json")
    same, split = {"responses": ["Paris"] * 4}, {"responses": ["Paris", "Rome", "Oslo", "Bern"]}
    source = write(tmp_path / "in.jsonl", [same, split])
    options = ["-e", "exact", "--calibration", tmp_path / "calibration.json", "-o", tmp_path / f"out.{suffix}"]
    options += ["--model", "m"]
    for _ in range(2):  # the second run keeps all results
        status, errors = gate(source, *options, "--fail-on", "block")
        assert (status, "FAILED, 1 of 2 rows" in errors) == (3, True), errors
        assert "line 2: block: p(wrong) is 0.998, above 0.5" in errors
    options += ["--fail-on", "defer", "--fail-rate", "0.5"]
    assert gate(source, *options)[0] == 0
    assert gate(source, *options, "--fail-above", "9")[0] == 0


@pytest.mark.parametrize("action", ["warn", "defer", "block"])
@pytest.mark.parametrize("responses", [["I don't know."] * 4, ["Paris", "", "", ""], ["Paris", "Paris", "", "", ""]])
def test_no_action_lets_refusals_and_empty_answers_pass(tmp_path, action, responses):
    dataclasses.replace(CALIBRATION, conditions=dataclasses.replace(CALIBRATION.conditions, most=5)).save(
        tmp_path / "calibration.json"
    )
    source = write(tmp_path / "in.jsonl", [{"responses": responses}])
    options = ["-e", "exact", "--calibration", tmp_path / "calibration.json", "-o", tmp_path / "out.jsonl"]
    status, errors = gate(source, *options, "--model", "m", "--fail-on", action)
    assert (status, "FAILED, 1 of 1 row failed" in errors) == (3, True), errors


def test_an_undeclared_model_is_a_warning_and_a_missing_calibration_a_wrong_command(tmp_path):
    CALIBRATION.save(tmp_path / "calibration.json")
    source = write(tmp_path / "in.jsonl", [{"responses": ["Paris"] * 4}])
    options = ["-e", "exact", "--calibration", tmp_path / "calibration.json", "-o", tmp_path / "out.jsonl"]
    assert gate(source, *options, "--fail-on", "defer")[0] == 0
    status, errors = gate(source, *options, "--fail-on", "warn")
    assert (status, "warn: the model of these responses is undeclared" in errors) == (3, True), errors
    assert gate(source, "--fail-on", "warn")[0] == 2
    foreign = ["-e", "text", *options[2:4], "-o", tmp_path / "foreign.jsonl", "--fail-on", "block"]
    status, errors = gate(source, *foreign)
    assert (status != 0, "judge exact, and here text" in errors) == (True, True), errors


def test_a_calibration_without_a_gate_counts_the_flagged_rows_also_those_of_an_earlier_run(tmp_path):
    CALIBRATION.save(tmp_path / "calibration.json")
    rows = [{"responses": answers} for answers in (["Paris"] * 4, ["Paris", "Rome", "Oslo", "Bern"], ["", "", "", ""])]
    source = write(tmp_path / "in.jsonl", rows)
    options = ["-e", "exact", "--calibration", tmp_path / "calibration.json", "-o", tmp_path / "out.jsonl"]
    said = "flagged or without a result: 2 of 3 rows; do not answer with them. Nothing was gated, because --fail-on"
    for _ in range(2):
        status, errors = gate(source, *options)
        assert (status, said in errors) == (0, True), errors


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_run_without_a_usable_row_says_so(tmp_path, calibrated):
    CALIBRATION.save(tmp_path / "calibration.json")
    source = write(tmp_path / "in.jsonl", [{"responses": ["I don't know.", "", "N/A", "Paris"]}] * 2)
    options = ["--calibration", tmp_path / "calibration.json"] * calibrated
    status, errors = gate(source, "-e", "exact", "-o", tmp_path / "out.jsonl", *options)
    assert status == 0
    assert "warning: none of the 2 rows has two valid answers, so nothing was compared" in errors
    assert ("without a result: 2 of 2 rows" in errors) == calibrated


def test_a_stored_row_that_was_changed_fails_the_gate_of_the_next_run(tmp_path):
    source, output = write(tmp_path / "in.jsonl", [SURE, UNSURE]), tmp_path / "out.jsonl"
    assert gate(source, "-o", output, "--fail-above", "0.5")[0] == 3
    text = output.read_text()
    output.write_text(text.replace('"entropy": 1.09861228', '"entropy": 0.09861228'))
    assert output.read_text() != text
    status, errors = gate(source, "-o", output, "--fail-above", "0.5")
    assert (status, "line 2: entropy is 0.0986123, and the labels give 1.09861" in errors) == (3, True), errors
