"""`semantic-entropy explain`: the drawn clusters."""

from __future__ import annotations

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


def test_explain_takes_a_row_of_a_file(tmp_path):
    done = call("explain", "--file", write(tmp_path / "in.jsonl", ROWS), "--id", "b")
    assert "1 meaning in 2 responses" in done.stdout
    assert "math (auto" in done.stdout


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
