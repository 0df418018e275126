"""A judge without verdicts: the summary says the share of undecided pairs, and the exit status is not 0."""

from __future__ import annotations

import pytest

from semantic_entropy import InputError, RunSummary, estimate_file, register
from semantic_entropy.plugin import Equivalence, Verdict
from tests.plugins.chat_server import ChatServer, says
from tests.semantic_entropy.cli.command import call, read, write

ROWS = [{"question": "Where?", "responses": [f"in {place}" for place in ("Oslo", "Rome", "Lima")]} for _ in range(3)]


class Unsure(Equivalence):
    """It cannot decide pairs with a question mark."""

    name = "unsure"
    settings = "unsure"

    def judge(self, pairs):
        return [Verdict(None if "?" in pair.left + pair.right else pair.left == pair.right) for pair in pairs]


@pytest.fixture
def nonsense(monkeypatch):
    """The options of the LLM judge for a server that answers nonsense."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ChatServer(says("I like trains.")) as server:
        options = [f"--option={option}" for option in (f"base_url={server.url}", "model=m")]
        yield ["-e", "judge", *options]


def test_a_judge_that_answers_nonsense_ends_with_a_status_that_is_not_0(tmp_path, nonsense):
    source, output = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    done = call("estimate", source, "-o", output, *nonsense)
    assert done.returncode == 1
    assert "warning: 9 of 9 pairs (100%) are undecided and count as different: the entropies may be" in done.stderr
    assert "exit status 1: more pairs are undecided than --max-undecided 0.1" in done.stderr
    assert len(read(output)) == 3


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_same_command_again_has_the_same_status_although_it_measures_nothing(tmp_path, nonsense, suffix):
    source, output = write(tmp_path / "in.jsonl", ROWS), tmp_path / f"out.{suffix}"
    first, second = (call("estimate", source, "-o", output, *nonsense) for _ in range(2))
    assert (first.returncode, second.returncode) == (1, 1)
    assert "3 rows were done before" in second.stderr
    assert "9 of 9 pairs (100%) are undecided" in second.stderr
    assert call("estimate", source, "-o", output, *nonsense, "--max-undecided", "1").returncode == 0


def test_a_share_below_the_limit_is_said_and_ends_with_0(tmp_path):
    register("equivalence", "unsure-of-tests", Unsure)
    source = write(tmp_path / "in.jsonl", [{"responses": [*"abcdefghij", "z?"]}, {"responses": ["a", "b?"]}] * 2)
    summary = estimate_file(source, tmp_path / "out.jsonl", equivalence="unsure-of-tests")
    assert (summary.pairs, summary.undecided) == (112, 22)
    assert "warning: 22 of 112 pairs (20%) are undecided and count as different" in str(summary)
    few = write(tmp_path / "few.jsonl", [{"responses": list("abcdefghij")}, {"responses": ["a", "b?"]}])
    summary = estimate_file(few, tmp_path / "few.out.jsonl", equivalence="unsure-of-tests")
    assert summary.undecided_share == pytest.approx(1 / 46)
    assert "1 of 46 pairs undecided (2.2%)" in str(summary)
    assert "warning" not in str(summary)


def test_a_wrong_share_is_refused(tmp_path):
    done = call("estimate", write(tmp_path / "in.jsonl", ROWS), "--max-undecided", "7")
    assert done.returncode == 2
    assert "7.0 is not in the range 0<=x<=1" in done.stderr


def test_a_file_is_measured_from_python_and_continued(tmp_path):
    source, output = write(tmp_path / "in.jsonl", ROWS[:2]), tmp_path / "out.jsonl"
    summary = estimate_file(source, output, equivalence="exact", invalid="drop")
    assert isinstance(summary, RunSummary)
    assert (summary.rows, summary.skipped, summary.rejected) == (2, 0, 0)
    write(source, [*ROWS[:2], {"responses": ["Oslo", "Oslo"]}])
    summary = estimate_file(str(source), str(output), equivalence="exact", invalid="drop")
    assert (summary.rows, summary.skipped) == (1, 2)
    assert [row["labels"] for row in read(output)] == [[0, 1, 2], [0, 1, 2], [0, 0]]
    with pytest.raises(InputError, match="--overwrite"):
        estimate_file(source, output, equivalence="exact")


def test_fields_formats_and_samplers_of_a_file_are_arguments(tmp_path):
    table = tmp_path / "answers.csv"
    table.write_text("ask,said\nWhere?,Oslo\nWhere?,Rome\nWho?,Ada\n")
    summary = estimate_file(table, tmp_path / "out.jsonl", responses="said", question="ask", group_by="ask")
    assert summary.rows == 2
    assert [row["n_valid"] for row in read(tmp_path / "out.jsonl")] == [2, 1]
    with pytest.raises(InputError, match="is both input and output"):
        estimate_file(table, table)
    questions = write(tmp_path / "questions.jsonl", [{"question": "Where?"}])
    with ChatServer(says("Oslo")) as server:
        options = {"base_url": server.url, "model": "m", "api_key": ""}
        summary = estimate_file(questions, tmp_path / "o.jsonl", sampler="openai", sampler_options=options, n=2)
    assert (summary.rows, len(read(tmp_path / "o.jsonl.samples.jsonl"))) == (1, 2)
