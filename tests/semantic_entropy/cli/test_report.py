"""`semantic-entropy report`."""

from __future__ import annotations

from tests.semantic_entropy.cli.command import ROWS, call, write


def test_the_report_of_a_scored_file_names_the_answers_to_check_first(tmp_path):
    scored, page = tmp_path / "scored.jsonl", tmp_path / "report.html"
    call("estimate", write(tmp_path / "in.jsonl", ROWS), "-o", scored)
    done = call("report", scored, "-o", page, "--title", "My questions")
    assert done.returncode == 0, done.stderr
    assert "3 rows" in done.stdout
    assert (
        "check first:\n  a  Capital of France?\n      2 of 3 responses mean the same; the rest: 1 other meaning"
        in done.stdout
    )
    text = page.read_text(encoding="utf-8")
    assert '"title":"My questions"' in text
    assert len(text) < 100_000


def test_a_report_of_rows_without_results_is_an_error_and_writes_no_file(tmp_path):
    source = write(tmp_path / "in.jsonl", ROWS)
    done = call("report", source, "-o", tmp_path / "report.html")
    assert done.returncode == 1
    assert (
        "no row has a result (3 rows without one): a report shows the output of semantic-entropy estimate"
        in done.stderr
    )
    assert not (tmp_path / "report.html").exists()


def test_control_characters_in_a_row_do_not_reach_the_terminal(tmp_path):
    scored = tmp_path / "scored.jsonl"
    rows = [{"id": "\x1b[2J", "question": "\x07?", "responses": ["a\x1b", "b"]}]
    call("estimate", write(tmp_path / "in.jsonl", rows), "-o", scored)
    done = call("report", scored, "-o", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout) & set("\x1b\x07")
