import json

import pytest

from empo_rl.plot.run_files import RaisedAlarm, Series, read_runs, short_names
from semantic_entropy import InputError


@pytest.fixture
def run(tmp_path):
    """A run of two steps, with an evaluation."""
    directory = tmp_path / "run"
    directory.mkdir()
    rows = [{"step": 1, "empo/entropy": 1.5}, {"step": 2, "empo/entropy": None, "eval/pass@1": 0.5}]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return directory


def read(directory):
    return read_runs([directory])[0]


def test_a_series_contains_the_steps_with_a_number(run):
    assert read(run).series("empo/entropy") == Series((1,), (1.5,))
    assert not read(run).series("nowhere")


def test_step_zero_is_the_model_before_training_if_there_is_a_summary(run):
    (run / "summary.json").write_text(json.dumps({"base": {"pass@1": 0.25}}))
    assert read(run).series("eval/pass@1") == Series((0, 2), (0.25, 0.5))


def test_step_zero_is_the_evaluation_before_training_if_the_run_has_held_out_questions(run):
    rows = [{"step": 0, "accuracy": 0.125}, {"step": 2, "accuracy": 0.5}]
    (run / "evaluation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 3, "eval/accuracy": 0.75}) + "\n")
    assert read(run).series("eval/accuracy") == Series((0, 3), (0.125, 0.75))


def test_an_unfinished_last_line_is_left_out_with_a_note(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "empo/ent')
    found = read(run)
    assert [row["step"] for row in found.rows] == [1, 2]
    assert "the last line is unfinished" in found.notes[0]


def test_alarms_are_read_from_their_file_or_from_the_columns(run):
    assert read(run).alarms == ()
    with (run / "metrics.jsonl").open("a") as file:
        for step in (3, 4):  # active for two steps, raised once
            file.write(json.dumps({"step": step, "alarm/entropy_floor": 1.0, "alarm/length_drift": 0.0}) + "\n")
    assert read(run).alarms == (RaisedAlarm(3, "entropy_floor"),)
    raised = {"step": 2, "alarm": "length_drift", "value": 9.0, "limit": 4.0, "message": "\u2028longer"}
    (run / "alarms.jsonl").write_text(json.dumps(raised, ensure_ascii=False) + "\n")  # U+2028 does not end a line
    assert read(run).alarms == (RaisedAlarm(2, "length_drift"),)


@pytest.mark.parametrize("line", [{"alarm": "x"}, {"step": 1}, {"step": "x", "alarm": "y"}, {"step": 1, "alarm": None}])
def test_the_error_for_an_alarm_without_step_or_name_names_file_and_line(line, run):
    (run / "alarms.jsonl").write_text(json.dumps({"step": 1, "alarm": "a"}) + "\n" + json.dumps(line) + "\n")
    with pytest.raises(InputError, match=r"alarms.jsonl, line 2: '(step|alarm)' is missing or is not"):
        read(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not a run: it has no metrics.jsonl"),
        ("", "has no complete line: the run has not finished its first step"),
        ('{"step": 1', "has no complete line"),
        ('{"step": 1}\nnonsense\n{"step": 3}\n', "line 2 is not JSON"),
        ('{"step": 1}\n[2]\n', r"line 2 is not a JSON object: \[2\]"),
        ('{"step": 1}\n{"loss": 2}\n', "line 2: 'step' is missing or is not an integer"),
    ],
)
def test_the_error_for_an_unreadable_run_names_file_and_line(text, message, tmp_path):
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_a_file_and_a_missing_directory_have_different_errors(run):
    with pytest.raises(InputError, match=r"metrics.jsonl is a file: name the directory of a run"):
        read(run / "metrics.jsonl")
    with pytest.raises(InputError, match="nowhere does not exist"):
        read(run / "nowhere")


def test_an_unknown_summary_is_refused(run):
    (run / "summary.json").write_text("[1]")
    with pytest.raises(InputError, match="is not the summary of a demo"):
        read(run)


def test_the_name_of_a_run_is_the_shortest_unique_end_of_its_path(tmp_path):
    one, two, three = tmp_path / "a" / "seed-0", tmp_path / "b" / "seed-0", tmp_path / "b" / "seed-1"
    assert short_names([one, three]) == ["seed-0", "seed-1"]
    assert short_names([one, two]) == ["a/seed-0", "b/seed-0"]
