"""Runs over files: results in both formats, rejected rows, kills, full disks, and refused outputs."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from semantic_entropy import Equivalence, InputError, Verdict, estimate_file, register
from semantic_entropy.cli import main
from tests.semantic_entropy.io.measured_files import ROWS, measure, read, write
from tests.semantic_entropy.sampling.dice import Dice

FORMATS = [(f"in.{one}", f"out.{other}") for one in ("jsonl", "parquet") for other in ("jsonl", "parquet")]


@pytest.mark.parametrize(("source", "output"), FORMATS)
def test_every_pair_of_formats_gives_the_same_results(tmp_path, source, output):
    path = write(tmp_path / source, ROWS)
    out = tmp_path / output
    assert measure(path, out).rows == 3
    first, second, third = read(out)
    assert [row["id"] for row in (first, second, third)] == [1, 2, 3]
    assert first["labels"] == [0, 1, 2]
    assert second["logprobs"] == [[-0.1], [-0.2, -0.3]]
    assert second["scores"]["likelihood"] > 0
    assert second["answer"] == "the row's own"
    assert second["result_answer"] == "a"
    assert third["entropy"] == 0
    assert third["provenance"]["equivalence"] == "exact"
    assert third["provenance"]["versions"]["semantic-entropy"]
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([source, output])
    assert measure(path, out).skipped == 3


def test_bad_rows_of_a_table_are_rejected_with_their_row_number(tmp_path, capsys):
    rows = [{"responses": ["a"]}, {"responses": []}, {"responses": None}, {"responses": ["b"]}]
    done = measure(write(tmp_path / "in.parquet", rows), tmp_path / "out.parquet")
    assert (done.rows, done.rejected) == (2, 2)
    rejected = read(tmp_path / "out.parquet.bad.jsonl")
    assert [row["row_number"] for row in rejected] == [2, 3]
    assert "responses is empty" in rejected[0]["problem"]
    assert "row 2: responses is empty" in capsys.readouterr().err
    assert measure(tmp_path / "in.parquet", tmp_path / "out.parquet").rows == 0
    with pytest.raises(InputError, match="row 2: responses is empty"):
        measure(tmp_path / "in.parquet", tmp_path / "strict.parquet", strict=True)


def test_a_row_that_lacks_needed_evidence_is_rejected_and_a_file_without_any_is_an_error(tmp_path):
    source = write(tmp_path / "in.jsonl", ROWS)
    done = measure(source, tmp_path / "out.jsonl", estimator="likelihood")
    assert (done.rows, done.rejected) == (1, 2)
    assert [row["line"] for row in read(tmp_path / "out.jsonl.bad.jsonl")] == [1, 3]
    with pytest.raises(InputError, match="needs logprobs"):
        measure(write(tmp_path / "none.jsonl", ROWS[:1]), tmp_path / "none-out.jsonl", estimator="likelihood")


def test_rows_without_evidence_at_the_beginning_do_not_end_the_run(tmp_path):
    lacking = [{"id": number, "responses": ["a", "b"]} for number in range(200)]
    source = write(tmp_path / "in.jsonl", [*lacking, ROWS[1]])
    done = measure(source, tmp_path / "out.jsonl", estimator="likelihood")
    assert (done.rows, done.rejected) == (1, 200)
    many = write(tmp_path / "many.jsonl", [*lacking * 5, ROWS[1]])
    with pytest.raises(InputError, match=r"none of the \d+ rows from line 1 has what --estimator needs"):
        measure(many, tmp_path / "many-out.jsonl", estimator="likelihood")


def _same_beginning(left, right, size):
    return left[:size] == right[:size]


class _WithOptions(Equivalence):
    def __init__(self, size):
        self.size = size

    def judge(self, pairs):
        return [Verdict(_same_beginning(pair.left, pair.right, self.size)) for pair in pairs]


def test_a_judge_whose_options_nothing_names_continues_no_output(tmp_path):
    source, out = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    judges = [lambda left, right: left == right, partial(_same_beginning, size=1), _WithOptions(1)]
    for judge in judges:
        estimate_file(source, out, equivalence=judge, overwrite=True)
        other = partial(_same_beginning, size=2) if isinstance(judge, partial) else judge
        with pytest.raises(InputError, match="was made with equivalence settings"):
            estimate_file(source, out, equivalence=other)
    estimate_file(source, out, equivalence=judges[1], overwrite=True)
    assert estimate_file(source, out, equivalence=partial(_same_beginning, size=1)).skipped == 3


def test_measuring_an_output_again_never_overwrites_a_column(tmp_path):
    measure(write(tmp_path / "0.jsonl", ROWS[:1]), tmp_path / "1.jsonl")
    measure(tmp_path / "1.jsonl", tmp_path / "2.parquet", invalid="drop")
    measure(tmp_path / "2.parquet", tmp_path / "3.jsonl", convention="lm-polygraph")
    (row,) = read(tmp_path / "3.jsonl")
    provenances = [row[f"{prefix}provenance"] for prefix in ("", "result_", "result_result_")]
    assert [(one["invalid"], one["convention"]) for one in provenances] == [
        ("separate", "default"),
        ("drop", "default"),
        ("separate", "lm-polygraph"),
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_an_output_of_other_choices_of_another_input_or_of_another_program_is_refused(tmp_path, suffix):
    source, out = write(tmp_path / f"in.{suffix}", ROWS), tmp_path / f"out.{suffix}"
    measure(source, out)
    before = out.read_bytes()
    other = write(tmp_path / f"other.{suffix}", [{"responses": ["another"]}])
    for choices, says in OTHER_CHOICES:
        with pytest.raises(InputError, match=f"was made with {says}: use --overwrite, or another output"):
            measure(source, out, **choices)
    with pytest.raises(InputError, match=r"holds results of another input: none of its 3 results belongs to a row of"):
        measure(other, out)
    assert out.read_bytes() == before
    foreign = write(tmp_path / f"foreign.{suffix}", [{"mine": 1}] if suffix == "parquet" else ["my notes"])
    before = foreign.read_bytes()
    with pytest.raises(InputError, match="another output, or use --overwrite"):
        measure(source, foreign)
    assert foreign.read_bytes() == before
    assert measure(source, out, invalid="drop", overwrite=True).rows == 3
    assert read(out)[0]["provenance"]["invalid"] == "drop"


OTHER_CHOICES = [
    ({"invalid": "drop"}, "invalid 'separate', and this run has invalid 'drop'"),
    ({"equivalence": "text"}, "equivalence 'exact', and this run has equivalence 'text'"),
    ({"equivalence": None}, "equivalence 'exact', and this run has equivalence 'auto'"),
    ({"estimator": "num_sets"}, "the default estimators, and this run has estimators 'num_sets'"),
    ({"convention": "uqlm"}, "convention 'default', and this run has convention 'uqlm'"),
    ({"extract": "boxed"}, "the default extract, and this run has extract 'boxed'"),
    ({"clusterer": "components"}, "the default clusterer, and this run has clusterer 'components'"),
]


def test_half_a_run_and_another_field_of_responses_are_not_mixed(tmp_path):
    rows = [{"responses": [f"a{i}", "b"], "texts": ["same", "same"]} for i in range(40)]
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    measure(write(tmp_path / "half.jsonl", rows[:20]), out)
    with pytest.raises(InputError, match="this run has responses 'texts'"):
        measure(source, out, field="texts")
    assert measure(source, out).rows == 20


SAME_FILES = [  # the arguments of a command -> the two roles of one file
    ("{input} -o {input}", "input and output"),
    ("{input} -o {input} --overwrite", "input and output"),
    ("{input} -o {link} --overwrite", "input and output"),
    ("{input} -o {hard} --overwrite", "input and output"),
    ("{input} -o {dir}/o.jsonl --cache {dir}/o.jsonl", "cache and output"),
    ("{input} -o {dir}/o.jsonl --cache {input}", "input and cache"),
    ("{input} -o {dir}/o.jsonl --cache {dir}/o.jsonl.bad.jsonl", "cache and report of bad rows"),
    ("{dir}/o.jsonl.bad.jsonl -o {dir}/o.jsonl", "input and report of bad rows"),
    ("{dir}/o.jsonl.lock -o {dir}/o.jsonl", "input and lock"),
    ("{dir}/o.parquet.partial.jsonl -o {dir}/o.parquet", "input and file of unfinished results"),
    ("{input} -o {dir}/o.jsonl {sampler} --samples {dir}/o.jsonl --overwrite", "samples file and output"),
    ("{input} -o {dir}/o.jsonl {sampler} --samples {dir}/o.jsonl.bad.jsonl", "samples file and report of bad rows"),
    ("{input} -o {dir}/o.jsonl {sampler} --samples {dir}/c --cache {dir}/c", "samples file and cache"),
    ("{input} -o {dir}/o-wal --cache {dir}/o", "output"),
]


@pytest.mark.parametrize(("arguments", "says"), SAME_FILES)
def test_two_paths_of_one_file_are_refused_before_a_file_is_opened_or_removed(tmp_path, arguments, says):
    register("sampler", "dice", Dice)
    source = write(tmp_path / "in.jsonl", [*ROWS, {"question": "q?"}])
    (tmp_path / "link.jsonl").symlink_to(source)
    os.link(source, tmp_path / "hard.jsonl")
    for name in ("o.jsonl.bad.jsonl", "o.jsonl.lock", "o.parquet.partial.jsonl"):
        if f"{{dir}}/{name} -o" in arguments:
            write(tmp_path / name, ROWS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    places = {"input": source, "link": tmp_path / "link.jsonl", "hard": tmp_path / "hard.jsonl", "dir": tmp_path}
    done = CliRunner().invoke(main, ["estimate", *arguments.format(**places, sampler="--sampler dice").split()])
    assert done.exit_code == 1
    assert f"{says}: choose another path" in done.output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


REDIRECTED = [  # the arguments of a shell command -> what it says
    ("- -o in.jsonl --overwrite --strict < in.jsonl", "in.jsonl is both standard input and output"),
    ("- -o out.jsonl --cache in.jsonl < in.jsonl", "in.jsonl is both standard input and cache"),
    ("in.jsonl >> in.jsonl", "in.jsonl is both input and standard output"),
    ("- < in.jsonl >> in.jsonl", "one file is both standard input and standard output"),
]


@pytest.mark.parametrize(("arguments", "says"), REDIRECTED)
def test_a_stream_that_is_redirected_from_or_to_a_file_of_the_run_is_refused(tmp_path, arguments, says):
    before = write(tmp_path / "in.jsonl", ROWS).read_bytes()
    command = f"exec {sys.executable} -m semantic_entropy.cli estimate {arguments}"
    done = subprocess.run(command, check=False, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, f"{says}: choose another path" in done.stderr) == (1, True), done.stderr
    assert (tmp_path / "in.jsonl").read_bytes() == before


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_target_of_an_output_that_is_a_link_is_written_and_the_link_stays(tmp_path, suffix):
    source, target = write(tmp_path / "in.jsonl", ROWS), tmp_path / "data" / f"real.{suffix}"
    target.parent.mkdir()
    link = tmp_path / f"out.{suffix}"
    link.symlink_to(target)
    for overwrite in (False, True, False):
        measure(source, link, overwrite=overwrite)
        assert link.is_symlink()
        assert len(read(target)) == 3
    measure(write(source, ROWS[:2]), link)  # the file is replaced, because one result has no row any more
    assert link.is_symlink()
    assert [row["id"] for row in read(target)] == [1, 2]


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.json", "out.txt", "out.jsonl.gz", "out.xlsx"])
def test_an_output_with_the_suffix_of_another_format_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"The suffix decides the format: \.jsonl or \.ndjson"):
        measure(write(tmp_path / "in.jsonl", ROWS), tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no devices and named pipes")
def test_a_device_and_a_pipe_can_be_outputs_and_are_never_removed(tmp_path):
    source, pipe = write(tmp_path / "in.jsonl", ROWS), tmp_path / "pipe"
    measure(source, Path("/dev/null"), overwrite=True)
    assert Path("/dev/null").is_char_device()
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        measure(source, pipe, overwrite=True)
        assert len(reader.stdout.read().splitlines()) == 3
    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "pipe"]


def test_numbers_that_json_lacks_are_never_written(tmp_path, capsys):
    rows = ['{"id": 1, "responses": ["a"], "x": 1e400}', '{"id": 2, "responses": ["a"], "x": [-Infinity]}']
    rows += ['{"id": 3, "responses": ["a"], "x": {"y": NaN}}', '{"id": 4, "responses": ["a"], "x": 0.10}']
    done = measure(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    text = (tmp_path / "out.jsonl").read_text()
    assert [(row["id"], row["x"]) for row in map(strictly, text.splitlines())] == [(3, {"y": None}), (4, 0.1)]
    assert (done.rows, done.rejected) == (2, 2)
    assert "1 row with a nan in a field: null was written" in str(done)
    assert "line 1: field 'x' holds a number beyond the range of floats (inf)" in capsys.readouterr().err


def strictly(line):
    def fail(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(line, parse_constant=fail)


@pytest.mark.parametrize("output", ["jsonl", "parquet"])
def test_an_empty_response_without_tokens_is_measured_without_the_likelihood(tmp_path, output, capsys):
    rows = [{"id": 1, "responses": ["", "a", "a"], "logprobs": [[], [-0.1], [-0.1]]}]
    rows += [{"id": 2, "responses": ["b", "a"], "logprobs": [[], [-0.1]]}]  # a mistake: `b` has tokens
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / f"out.{output}"
    done = measure(source, out)
    assert (done.rows, done.rejected) == (1, 1)
    (row,) = read(out)
    assert row["scores"]["discrete"] > 0
    assert not row["scores"].get("likelihood")
    assert row["warnings"][0] == "log-probabilities left out: those of response 0 are empty, as the response is"
    assert row["logprobs"] == [[], [-0.1], [-0.1]]
    rows = [*rows[:1], {"id": 3, "responses": ["a"], "logprobs": [[-0.1]]}]
    assert measure(write(source, rows), out, overwrite=True, estimator="likelihood").rejected == 1
    assert "needs logprobs, one entry for each response, and there are none (log-prob" in capsys.readouterr().err


@pytest.mark.parametrize("line", ['{"mine": 1}\n', '{"id": 3, "problem": "2+2?", "row": "x"}\n'])
def test_a_file_of_the_user_at_the_path_of_the_report_is_refused_and_kept(tmp_path, line):
    mine = tmp_path / "out.jsonl.bad.jsonl"
    mine.write_text(line)
    with pytest.raises(InputError, match=r"out\.jsonl\.bad\.jsonl is not a report of this command"):
        measure(write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl", overwrite=True)
    assert mine.read_text() == line


def test_two_judges_with_one_description_are_told_apart_by_class_and_settings(tmp_path):
    source, out = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    measure(source, out, equivalence=first_letters)
    assert measure(source, out, equivalence=first_letters).skipped == 3

    def same(left, right):
        return left == right

    same.__name__ = "first_letters"
    with pytest.raises(InputError, match=r"made with equivalence settings '.*test_run:first_letters both', and this"):
        measure(source, out, equivalence=same)


def first_letters(left, right):
    return left[0] == right[0]


def test_results_of_older_rules_are_refused_and_those_of_another_release_are_kept(tmp_path, monkeypatch):
    source, out = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    measure(source, out)
    monkeypatch.setattr("semantic_entropy.measuring.measurer.package_version", lambda: "99")
    assert measure(source, out).skipped == 3
    monkeypatch.setattr("semantic_entropy_plugins.text.text_judges.Exact.rules", 2)
    with pytest.raises(InputError, match="with the default rules of exact, and this run has rules of exact 2: use"):
        measure(source, out)


SLOW = """
import time
from semantic_entropy import Equivalence, Verdict, register
class Slow(Equivalence):
    def judge(self, pairs):
        time.sleep(0.2)
        return [Verdict(p.left == p.right) for p in pairs]
register("equivalence", "slow", Slow)
from semantic_entropy.cli import main
main()
"""


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_run_that_is_killed_twice_continues_without_lost_or_repeated_rows(tmp_path, suffix):
    rows = [{"id": i, "responses": ["a", "b"] if i % 500 else []} for i in range(2000)]
    source, out = write(tmp_path / f"in.{suffix}", rows), tmp_path / "out.parquet"
    work = tmp_path / "out.parquet.partial.jsonl"
    command = [sys.executable, "-c", SLOW, "estimate", str(source), "-o", str(out), "-e", "slow"]
    for _ in range(2):  # the second kill interrupts the continued run
        before = work.stat().st_size if work.exists() else 0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while (not work.exists() or work.stat().st_size <= before) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with work.open("ab") as file:
            file.write(b'{"entropy": 0.69')  # what a kill during a write leaves
        (tmp_path / ".out.parquet.tmp").write_bytes(b"PAR1")
        assert not out.exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "were done before" in done.stderr
    assert [row["id"] for row in read(out)] == [i for i in range(2000) if i % 500]
    numbers = [row["line" if suffix == "jsonl" else "row_number"] for row in read(Path(f"{out}.bad.jsonl"))]
    assert numbers == [1, 501, 1001, 1501]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"in.{suffix}", "out.parquet", "out.parquet.bad.jsonl"]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_full_disk_loses_no_written_row(tmp_path, suffix):
    rows = [{"id": i, "responses": [f"{i} {j} " + "x" * 40 for j in range(4)]} for i in range(2000)]
    source, out = write(tmp_path / "in.jsonl", rows), tmp_path / f"out.{suffix}"

    def limit_file_size():  # limits the size of files: fails like a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    limit = 1_000_000 if suffix == "jsonl" else 60_000
    command = [sys.executable, "-m", "semantic_entropy", "estimate", str(source), "-o", str(out), "-e", "exact"]
    full = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit_file_size)
    assert full.returncode == 1
    assert "run again to continue" in full.stderr
    assert "Traceback" not in full.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "were done before" in done.stderr
    assert [row["id"] for row in read(out)] == list(range(2000))
