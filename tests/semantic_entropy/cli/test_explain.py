"""`semantic-entropy explain`: the drawn clusters."""

from __future__ import annotations

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
