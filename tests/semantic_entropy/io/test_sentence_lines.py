"""Long answers in files: the answer that is doubted, the output row, one line for each sentence, and continued runs."""

from __future__ import annotations

import pytest

from semantic_entropy import InputError, Result, estimate, estimate_file
from tests.semantic_entropy.cli.command import call
from tests.semantic_entropy.io.measured_files import read, write

pytest.importorskip("sentencex", reason="the extra `sentences` is not installed")

SAMPLES = ["Ada was born in 1815. She lived in London.", "Ada was born in 1816. She lived in London."]
ROWS = [
    {
        "id": "a",
        "passage": "Ada was born in 1815. She lived in Oslo.",
        "responses": SAMPLES,
        "long_answer": "its own",
    },
    {"id": "b", "passage": "Ada was born in 1816.", "responses": SAMPLES},
]


def run(source, output, **options):
    return estimate_file(source, output, **{"long": True, "answer": "passage", "equivalence": "exact", **options})


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_each_sentence_of_each_row_is_a_line(tmp_path, suffix):
    source, output = write(tmp_path / "in.jsonl", ROWS), tmp_path / f"out.{suffix}"
    run(source, output, sentences=tmp_path / "sentences.jsonl")
    lines = read(tmp_path / "sentences.jsonl")
    assert [(line["id"], line["row"], line["index"], line["text"]) for line in lines] == [
        ("a", 1, 0, "Ada was born in 1815."),
        ("a", 1, 1, "She lived in Oslo."),
        ("b", 2, 0, "Ada was born in 1816."),
    ]
    for line in lines:
        passage = ROWS[line["row"] - 1]["passage"]
        assert passage[line["start"] : line["end"]] == line["text"]
        assert (line["samples"], line["support"], line["unit"]) == (2, "text", "sentence")
    expected = estimate(SAMPLES, greedy=ROWS[0]["passage"], long=True).long_answer
    assert [line["uncertainty"] for line in lines[:2]] == [each.uncertainty for each in expected.sentences]
    assert [line["doubtful"] for line in lines] == [False, True, False]
    first, second = read(output)
    assert first["long_answer"] == "its own"
    assert first["result_long_answer"]["uncertainty"] == expected.uncertainty
    field = "long_answer" if suffix == "jsonl" else "result_long_answer"
    assert second[field]["sentences"][0]["supported_by"] == 1


def test_a_continued_run_has_the_sentences_of_all_rows(tmp_path):
    source, output, sentences = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "sentences.jsonl"
    write(source, ROWS[:1])
    assert run(source, output, sentences=sentences).rows == 1
    write(source, ROWS)
    summary = run(source, output, sentences=sentences)
    assert (summary.rows, summary.skipped) == (1, 1)
    assert [line["id"] for line in read(sentences)] == ["a", "a", "b"]
    with pytest.raises(InputError, match="was made with .*long 'yes'"):
        run(source, output, long=None, answer=None)
    with pytest.raises(InputError, match="answer"):
        run(source, output, answer=None)


def test_a_result_is_rebuilt_from_its_output_row(tmp_path):
    source, output = write(tmp_path / "in.jsonl", ROWS[1:]), tmp_path / "out.jsonl"
    run(source, output)
    (row,) = read(output)
    assert Result.from_dict(row).long_answer == estimate(SAMPLES, greedy=ROWS[1]["passage"], long=True).long_answer
    assert Result.from_dict({**row, "long_answer": "another field"}).long_answer is None


def test_without_a_named_field_the_greedy_answer_or_the_first_response_is_doubted(tmp_path):
    rows = [{"greedy": {"text": ROWS[0]["passage"]}, "responses": SAMPLES}, {"responses": SAMPLES, "answer": "gold"}]
    run(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", answer=None)
    first, second = (row["long_answer"] for row in read(tmp_path / "out.jsonl"))
    assert (first["answer"], first["doubted"], first["samples"]) == (ROWS[0]["passage"], None, 2)
    assert (second["answer"], second["doubted"], second["samples"]) == (SAMPLES[0], 0, 1)


def test_a_row_without_the_named_field_is_a_bad_row(tmp_path):
    summary = run(write(tmp_path / "in.jsonl", [*ROWS, {"responses": SAMPLES}]), tmp_path / "out.jsonl")
    assert summary.rejected == 1
    assert "no field 'passage'" in (tmp_path / "out.jsonl.bad.jsonl").read_text()


def test_an_answer_that_nothing_scores_is_an_error(tmp_path):
    source, output = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="pass long=True"):
        run(source, output, long=None)
    found = call("estimate", source, "-o", output, "--answer", "passage")
    assert found.returncode == 2
    assert "add --long" in found.stderr


def test_the_command_writes_rows_and_sentences_and_explain_marks_the_doubtful_ones(tmp_path):
    source, output, sentences = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl", tmp_path / "s.jsonl"
    found = call("estimate", source, "-o", output, "--long", "--answer", "passage", "--sentences", sentences)
    assert found.returncode == 0, found.stderr
    assert f"3 sentences of 2 long answers in {sentences}; 1 doubtful" in found.stderr
    assert len(read(sentences)) == 3
    shown = call("explain", "--file", output, "--id", "b").stdout
    assert not [line for line in shown.splitlines() if line.strip().startswith("!")]
    shown = call("explain", "--long", *["Ada was born in 1815. She lived in Oslo.", *SAMPLES]).stdout
    (marked,) = [line for line in shown.splitlines() if line.strip().startswith("!")]
    assert "She lived in Oslo." in marked
    assert "0 of 2" in marked


def test_the_sentences_need_an_output_file_and_a_path_of_their_own(tmp_path):
    source, output = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    found = call("estimate", source, "--long", "--sentences", output)
    assert found.returncode == 2
    assert "add -o OUTPUT" in found.stderr
    found = call("estimate", source, "-o", output, "--long", "--sentences", source)
    assert found.returncode != 0
    assert read(source) == ROWS
