"""`semantic-entropy explain`: the drawn clusters."""

from __future__ import annotations

import json
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from semantic_entropy.cli import main
from tests.semantic_entropy.cli.command import ROWS, call, write


def test_explain_draws_the_clusters():
    done = call("explain", "-q", "Capital of France?", "Paris", "It is Paris", "Rome [sic]", "")
    assert done.returncode == 0, done.stderr
    assert "50.0%  Paris" in done.stdout
    assert "Rome [sic]" in done.stdout
    assert "(no answer)" in done.stdout


def test_a_file_in_place_of_a_response_is_an_error_and_not_an_answer(tmp_path):
    file, folder = write(tmp_path / "scored.jsonl", ROWS), tmp_path / "results"
    folder.mkdir()
    assert call("explain", folder, "q1").returncode == 0  # an answer that is also the name of a folder
    (folder / "_manifest.json").write_text("{}")
    for name in (file, folder):
        done = call("explain", name, "q1")
        assert done.returncode == 2
        assert f"write --file {name} --id VALUE" in done.stderr
        assert call("explain", "q1", name).returncode == 0  # the way out that the message names
    assert call("explain", "Paris " * 1000, "Lyon").returncode == 0


def test_explain_takes_a_row_of_a_file(tmp_path):
    done = call("explain", "--file", write(tmp_path / "in.jsonl", ROWS), "--id", "b")
    assert "1 meaning in 2 responses" in done.stdout
    assert "math (auto" in done.stdout
    row = {"responses": ["x", "y"], "provenance": "a museum"}  # a field of the user, not a result
    assert "2 meanings" in call("explain", "--file", write(tmp_path / "own.jsonl", [row])).stdout


def test_a_row_with_a_result_is_drawn_as_it_was_measured_and_not_measured_again(tmp_path):
    source, scored = write(tmp_path / "in.jsonl", ROWS), str(tmp_path / "scored.jsonl")
    assert call("estimate", source, "-o", scored, "-e", "exact", "--invalid", "drop").returncode == 0
    with patch("semantic_entropy.cli.explain.open_scorer", side_effect=AssertionError("measured again")):
        stored = explain(scored, "--id", "b")
    assert "judge: exact (as asked)" in stored.output, stored.output
    assert "2 meanings in 2 responses" in stored.output
    assert stored.output.endswith("the stored result of this row; -e JUDGE measures again\n")
    again = explain(scored, "--id", "b", "-e", "math")
    assert "1 meaning in 2 responses" in again.output
    assert "stored" not in again.output


def test_a_stored_result_of_other_responses_is_an_error(tmp_path):
    scored = tmp_path / "scored.jsonl"
    assert call("estimate", write(tmp_path / "in.jsonl", ROWS), "-o", str(scored)).returncode == 0
    row = json.loads(scored.read_text().splitlines()[0])
    row["responses"].append("another one")
    shown = explain(write(tmp_path / "edited.jsonl", [row]))
    assert shown.exit_code == 1
    assert f"{len(row['responses'])} responses, but a result of {len(row['responses']) - 1}" in shown.output


def test_a_long_response_is_one_line_as_a_title_and_is_shown_below_it():
    long = "The capital of France, a country in Europe, is the city of Paris, on the river Seine, as all know"
    shown = CliRunner().invoke(main, ["explain", long, "Rome", ""]).output
    title = next(line for line in shown.splitlines() if line.startswith(" A"))
    assert title.endswith("…")
    assert " ".join(shown.split()).count(long) == 1
    assert "2 meanings in 3 responses, 1 of them without a valid answer" in " ".join(shown.split())


def explain(path, *arguments):
    return CliRunner().invoke(main, ["explain", "--file", str(path), *arguments])


def test_the_id_of_a_row_is_looked_up_in_the_field_that_identifies_it(tmp_path):
    log = [{"chat": chat, "id": i, "response": text} for i, (chat, text) in enumerate([("a", "x"), ("b", "y")] * 2)]
    log.insert(1, {"chat": "b", "id": 9, "response": 7})  # a bad row: its group is measured without it
    of_group = explain(write(tmp_path / "log.jsonl", log), "--group-by", "chat", "--id", "b")
    assert "1 meaning in 2 responses" in of_group.stdout, of_group.output
    assert " y" in of_group.stdout
    choices = {"choices": [{"message": {"role": "assistant", "content": text}} for text in "xyz"]}
    batch = [{"custom_id": name, "response": {"status_code": 200, "body": choices}} for name in ("r1", "r2")]
    assert "3 meanings" in explain(write(tmp_path / "batch.jsonl", batch), "--id", "r2").stdout
    other = [{"qid": name, "responses": ["x"] * n} for n, name in ((1, "q1"), (2, "q2"))]
    assert "in 2 responses" in explain(write(tmp_path / "other.jsonl", other), "--id", "qid=q2").stdout
    missing = explain(tmp_path / "other.jsonl", "--id", "q2")
    assert missing.exit_code == 1
    assert "no row with 'q2' in the field 'id'; its rows have qid, responses. --id FIELD=VALUE" in missing.output


ESCAPE = "\x1b[2J\x1b]0;title\x07\x9b31m"  # clears the screen, sets the title of the window, colours


@pytest.mark.parametrize("field", [f"answers{ESCAPE}", "responses"])
@pytest.mark.parametrize("command", [["explain", "--file"], ["estimate"]])
def test_control_characters_in_a_file_do_not_reach_the_terminal(command, field, tmp_path):
    row = {field: [f"Paris{ESCAPE}", f"Rome{ESCAPE}"], "question": f"Where?{ESCAPE}"}
    path = write(tmp_path / "in.jsonl", [row, {"responses": [ESCAPE, "a"], "question": ESCAPE}])
    output = ["-o", str(tmp_path / "out.jsonl")] if command == ["estimate"] else []
    shown = CliRunner().invoke(main, [*command, str(path), *output], color=True).output  # color: as on a terminal
    assert shown
    assert not set(shown) & set("\x1b\x07\x9b"), repr(shown)


def test_control_characters_of_an_argument_do_not_reach_the_terminal():
    shown = CliRunner().invoke(main, ["explain", "a", "b", "-q", ESCAPE, "--convention", ESCAPE], color=True).output
    assert "Error: convention=" in shown
    assert "\x1b" not in shown


def test_ctrl_c_in_a_command_is_one_line_and_status_130():
    runner = CliRunner()
    with patch("semantic_entropy.cli.explain.open_scorer", side_effect=KeyboardInterrupt):
        done = runner.invoke(main, ["explain", "a", "b"])
    assert (done.exit_code, done.stderr) == (130, "interrupted\n")


def test_a_calibration_shows_the_decision_and_all_reasons(tmp_path):
    kinds = [["Paris"] * 4, ["Rome", "Oslo", "Bern", "Wien"]]
    rows = [{"question": f"Q{i}?", "responses": kinds[i % 2], "answer_correct": i % 2 == 0} for i in range(200)]
    learned, scored = str(tmp_path / "c.json"), str(tmp_path / "scored.jsonl")
    file = write(tmp_path / "rows.jsonl", rows)
    options = ["-e", "exact", "--model", "m"]
    assert call("calibrate", file, "-o", learned, *options).returncode == 0
    shown = CliRunner().invoke(main, ["explain", *kinds[0], "--calibration", learned, *options]).output
    assert "decision: allow (p(wrong) 0.0" in shown
    assert "  - the score is 0, at most the certified threshold 0: at most 0.1 of such answers are wrong" in shown
    undeclared = CliRunner().invoke(main, ["explain", *kinds[1], "--calibration", learned, "-e", "exact"]).output
    assert "decision: block (p(wrong) 0.9" in undeclared
    assert "  - the score is 1.38629, above the certified threshold 0" in undeclared
    assert "is undeclared" in undeclared.partition("decision: ")[2]
    foreign = CliRunner().invoke(main, ["explain", *kinds[0], "--calibration", learned, "-e", "text"])
    assert (foreign.exit_code, "judge exact, and here text" in foreign.output) == (1, True)
    assert call("estimate", file, "-o", scored, "-e", "exact").returncode == 0
    stored = explain(scored, "--calibration", learned).output
    assert "the stored result of this row" in stored
    assert "decision: warn (p(wrong) 0.0" in stored
