import json

import pytest

from empo_rl.plot.run_files import Alarm, Series, read_runs, short_names
from semantic_entropy import InputError


@pytest.fixture
def run(tmp_path):
    """A run of two steps, with evaluations, and what its model could do before."""
    directory = tmp_path / "run"
    directory.mkdir()
    rows = [{"step": 1, "empo/entropy": 1.5}, {"step": 2, "empo/entropy": None, "eval/pass@1": 0.5}]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return directory


def read(directory):
    return read_runs([directory])[0]


def test_a_column_has_the_steps_that_hold_a_number(run):
    assert read(run).series("empo/entropy") == Series((1,), (1.5,))
    assert not read(run).series("nowhere")


def test_step_zero_is_the_model_before_training_where_a_summary_tells_of_it(run):
    (run / "summary.json").write_text(json.dumps({"base": {"pass@1": 0.25}}))
    assert read(run).series("eval/pass@1") == Series((0, 2), (0.25, 0.5))


def test_an_unfinished_last_line_is_left_out_and_told(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "empo/ent')
    found = read(run)
    assert [row["step"] for row in found.rows] == [1, 2]
    assert "the last line is unfinished" in found.notes[0]


def test_alarms_come_from_their_file_or_else_from_the_columns(run):
    assert read(run).alarms == ()
    with (run / "metrics.jsonl").open("a") as file:
        for step in (3, 4):  # on for two steps: raised once
            file.write(json.dumps({"step": step, "alarm/entropy_floor": 1.0, "alarm/length_drift": 0.0}) + "\n")
    assert read(run).alarms == (Alarm(3, "entropy_floor"),)
    told = {"step": 2, "alarm": "length_drift", "value": 9.0, "limit": 4.0, "message": "\u2028longer"}
    (run / "alarms.jsonl").write_text(json.dumps(told, ensure_ascii=False) + "\n")  # U+2028 ends no line
    assert read(run).alarms == (Alarm(2, "length_drift"),)


@pytest.mark.parametrize("line", [{"alarm": "x"}, {"step": 1}, {"step": "x", "alarm": "y"}, {"step": 1, "alarm": None}])
def test_an_alarm_without_a_step_or_a_name_is_refused_with_the_file_and_the_line(line, run):
    (run / "alarms.jsonl").write_text(json.dumps({"step": 1, "alarm": "a"}) + "\n" + json.dumps(line) + "\n")
    with pytest.raises(InputError, match=r"alarms.jsonl, line 2: an alarm has a whole number under 'step'"):
        read(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no run: it has no metrics.jsonl"),
        ("", "has no complete line: the run has not ended its first step"),
        ('{"step": 1', "has no complete line"),
        ('{"step": 1}\nnonsense\n{"step": 3}\n', "line 2 is not JSON"),
        ('{"step": 1}\n[2]\n', r"line 2 is not a JSON object: \[2\]"),
        ('{"step": 1}\n{"loss": 2}\n', "line 2: no whole number under 'step'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_file_and_the_line(text, message, tmp_path):
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_a_file_and_a_missing_directory_are_told_apart(run):
    with pytest.raises(InputError, match=r"metrics.jsonl is a file: name a run's directory"):
        read(run / "metrics.jsonl")
    with pytest.raises(InputError, match="nowhere does not exist"):
        read(run / "nowhere")


def test_a_summary_of_something_else_is_refused(run):
    (run / "summary.json").write_text("[1]")
    with pytest.raises(InputError, match="is not the summary of a demo"):
        read(run)


def test_runs_are_named_by_as_much_of_their_paths_as_tells_them_apart(tmp_path):
    one, two, three = tmp_path / "a" / "seed-0", tmp_path / "b" / "seed-0", tmp_path / "b" / "seed-1"
    assert short_names([one, three]) == ["seed-0", "seed-1"]
    assert short_names([one, two]) == ["a/seed-0", "b/seed-0"]
