"""`semantic-entropy estimate` as a process: output, continuing after kill -9, bad rows, a full disk, wrong calls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.semantic_entropy.cli.command import COMMAND, ROWS, call, read, write
from tests.shared_data import SHARED


def test_the_output_has_the_fields_of_the_row_and_of_the_result(tmp_path):
    done = call("estimate", write(tmp_path / "in.jsonl", ROWS), "-o", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    assert "3 rows in" in done.stderr
    out = read(tmp_path / "out.jsonl")
    for row, written in zip(ROWS, out, strict=True):
        assert {key: written[key] for key in row} == row
    assert out[0]["labels"] == [0, 0, 1]
    assert out[1]["scores"]["likelihood"] == 0
    assert out[2]["answer"] == "the row's own"
    assert (out[2]["result_answer"], out[2]["result_entropy"]) == ("x", 0)


def test_standard_input_and_output_work_as_files(tmp_path):
    text = write(tmp_path / "in.jsonl", ROWS).read_text()
    done = call("estimate", "-", input=text)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["a", "b", "c"]


def test_an_option_of_an_estimator_reaches_it_and_is_a_choice_of_the_run(tmp_path):
    path = write(tmp_path / "in.jsonl", [{"responses": ["a b", "a c"]}])
    command = ["estimate", path, "-o", tmp_path / "out.jsonl", "--estimator", "deg", "--estimator-option"]
    assert call(*command, "deg.divisor=n").returncode == 0
    [row] = read(tmp_path / "out.jsonl")
    assert row["scores"]["deg"] == pytest.approx(2 * (1 - 1 / 3) / 2)
    refused = call(*command, "deg.divisor=n^2")
    assert refused.returncode == 1
    assert "divisor" in refused.stderr
    unknown = call(*command, "epr.k=5")
    assert unknown.returncode == 1
    assert "--estimator-option 'epr.k=5' is not NAME.key=value with an --estimator NAME (deg)" in unknown.stderr


def test_options_reach_the_components(tmp_path):
    path = write(tmp_path / "in.jsonl", [{"texts": ["abcdef", "abcdeg", "zzz"]}])
    arguments = ["-e", "ngram", "--option", "n=2", "--option", "threshold=0.5", "--estimator", "num_sets", "--quiet"]
    done = call("estimate", path, "--responses", "texts", *arguments)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["scores"] == {"num_sets": 2}
    assert row["provenance"]["equivalence"] == "ngram(n=2, threshold=0.5)"


def test_bad_rows_are_printed_and_stored_and_do_not_stop_the_run(tmp_path):
    bad = ["not json", [1], {"id": "no responses"}, {"responses": ["a", 1]}, {"responses": ["a"], "logprobs": [None]}]
    path = write(tmp_path / "in.jsonl", [ROWS[0], *bad, "", ROWS[1]])
    done = call("estimate", path, "-o", tmp_path / "out.jsonl")
    assert done.returncode == 1
    assert [row["id"] for row in read(tmp_path / "out.jsonl")] == ["a", "b"]
    rejected = read(tmp_path / "out.jsonl.bad.jsonl")
    assert [row["line"] for row in rejected] == [2, 3, 4, 5, 6]
    assert "response 1 is 1, a int" in rejected[3]["problem"]
    assert rejected[0]["row"] == "not json"
    assert "line 4: no field 'responses'; it has id" in done.stderr
    again = call("estimate", path, "-o", tmp_path / "out.jsonl")
    assert "2 rows were done before" in again.stderr
    assert len(read(tmp_path / "out.jsonl.bad.jsonl")) == 5


def test_each_run_reports_all_bad_rows_anew_and_removes_the_report_if_there_is_none(tmp_path):
    path, report = write(tmp_path / "in.jsonl", [ROWS[0], "not json"]), tmp_path / "out.jsonl.bad.jsonl"
    first, again = (call("estimate", path, "-o", tmp_path / "out.jsonl") for _ in range(2))
    assert (first.returncode, again.returncode) == (1, 1)
    assert f"1 bad row: see {report}" in again.stderr
    report.write_text(report.read_text() + "{broken")  # no run reads a report
    write(path, ROWS[:2])
    assert call("estimate", path, "-o", tmp_path / "out.jsonl").returncode == 0
    assert not report.exists()


def test_an_api_key_of_digits_stays_a_text(tmp_path):
    path = write(tmp_path / "in.jsonl", [{"question": "q"}])
    options = ["model=m", "base_url=http://127.0.0.1:9/v1", "api_key=12345678"]
    given = [part for option in options for part in ("--sampler-option", option)]
    done = call("estimate", path, "-o", tmp_path / "out.jsonl", "--sampler", "openai", *given)
    assert "cannot be reached" in done.stderr


HELD = """
import sys
from semantic_entropy import Equivalence, Verdict, register
class Held(Equivalence):
    def judge(self, pairs):
        sys.stdin.read()
        return [Verdict(p.left == p.right) for p in pairs]
register("equivalence", "held", Held)
from semantic_entropy.cli import main
main()
"""  # waits in its first call until standard input is closed


def test_a_second_run_on_the_same_output_is_refused(tmp_path):
    path, out = write(tmp_path / "in.jsonl", [{"responses": ["a", "b"]}] * 600), tmp_path / "out.jsonl"
    command = [sys.executable, "-c", HELD, "estimate", str(path), "-o", str(out), "-e", "held"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as first:
        while not out.exists():
            time.sleep(0.02)
        second = call("estimate", path, "-o", out)
        first.stdin.close()
        assert first.wait() == 0
    assert "another run is writing" in second.stderr
    assert len(read(out)) == 600


def test_ctrl_c_prints_the_rows_done_and_how_to_continue(tmp_path):
    path, out = write(tmp_path / "in.jsonl", [{"responses": ["a", "b"]}] * 2000), tmp_path / "out.jsonl"
    command = [sys.executable, "-c", SLOW, "estimate", str(path), "-o", str(out), "-e", "slow"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not out.exists() or not out.stat().st_size:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        printed = process.communicate()[1]
    assert process.returncode == 130
    assert "run the same command again to continue" in printed
    assert "Traceback" not in printed


def test_a_closed_pipe_ends_the_command_without_a_message(tmp_path):
    path = write(tmp_path / "in.jsonl", [{"responses": ["a", "b"] * 50}] * 3000)
    with subprocess.Popen([*COMMAND, "estimate", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_pipe_can_be_the_input_and_the_output_is_utf_8_in_any_terminal(tmp_path):
    line = json.dumps({"responses": ["K\u00f6ln", "\u6771\u4eac"]}, ensure_ascii=False)
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m semantic_entropy estimate <(cat) --quiet"],
        input=line.encode(),
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answers"] == ["K\u00f6ln", "\u6771\u4eac"]


@pytest.mark.parametrize("output", ["-", "out.jsonl"])
def test_a_program_that_waits_for_each_result_before_it_sends_the_next_row_gets_it(tmp_path, output):
    command = [*COMMAND, "estimate", "-", "-e", "exact", "--quiet", "-o", output]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": tmp_path}
    with subprocess.Popen(command, **pipes, text=True, bufsize=1) as process:
        for number in range(3):
            process.stdin.write(json.dumps({"id": number, "responses": ["a", "b"]}) + "\n")
            if output == "-":
                assert json.loads(process.stdout.readline())["id"] == number
            else:
                written = tmp_path / output
                while not written.exists() or written.read_text().count("\n") <= number:
                    time.sleep(0.02)
        process.stdin.close()
    assert process.returncode == 0


def test_strict_writes_the_rows_before_the_bad_row(tmp_path):
    path = write(tmp_path / "in.jsonl", [ROWS[0], ROWS[1], "not json", ROWS[2]])
    assert call("estimate", path, "-o", tmp_path / "out.jsonl", "--strict").returncode == 1
    assert [row["id"] for row in read(tmp_path / "out.jsonl")] == ["a", "b"]


def test_strict_stops_at_the_first_bad_row(tmp_path):
    path = write(tmp_path / "in.jsonl", [ROWS[0], "not json", ROWS[1]])
    done = call("estimate", path, "-o", tmp_path / "out.jsonl", "--strict")
    assert done.returncode == 1
    assert "line 2: not JSON" in done.stderr


SLOW = """
import time
from semantic_entropy import Equivalence, Verdict, register
class Slow(Equivalence):
    def judge(self, pairs):
        time.sleep(0.3)
        return [Verdict(p.left == p.right) for p in pairs]
register("equivalence", "slow", Slow)
from semantic_entropy.cli import main
main()
"""


def test_a_killed_run_continues_without_lost_or_repeated_rows(tmp_path):
    rows = [{"id": i, "responses": ["a", "b"]} if i % 500 else "bad row" for i in range(2000)]
    path, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    command = [sys.executable, "-c", SLOW, "estimate", str(path), "-o", str(out), "-e", "slow"]
    for _ in range(2):  # the second kill interrupts the continued run
        before = out.stat().st_size if out.exists() else 0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while (not out.exists() or out.stat().st_size <= before) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with out.open("ab") as file:
            file.write(b'{"id": "cut sho')  # what a kill during a write leaves
    assert 0 < len(out.read_bytes().splitlines()) < 1999
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "were done before" in done.stderr
    assert [row["id"] for row in read(out)] == [i for i in range(2000) if i % 500]
    assert [row["line"] for row in read(tmp_path / "out.jsonl.bad.jsonl")] == [1, 501, 1001, 1501]


def test_continuing_with_other_settings_or_another_input_is_refused(tmp_path):
    path, out = write(tmp_path / "in.jsonl", ROWS[:2]), tmp_path / "out.jsonl"
    assert call("estimate", path, "-o", out).returncode == 0
    other = call("estimate", path, "-o", out, "--invalid", "drop")
    assert other.returncode == 1
    assert "made with invalid 'separate', and this run has invalid 'drop': use --overwrite" in other.stderr
    swapped = call("estimate", write(tmp_path / "other.jsonl", ROWS[2:]), "-o", out)
    assert "holds results of another input" in swapped.stderr
    asked = call("estimate", path, "-o", out, "-e", "text")
    assert "was made with" in asked.stderr
    overwritten = call("estimate", path, "-o", out, "--invalid", "drop", "--overwrite")
    assert overwritten.returncode == 0
    assert len(read(out)) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full, a disk that is always full")
def test_a_full_disk_is_an_error_without_a_traceback(tmp_path):
    path = write(tmp_path / "in.jsonl", ROWS)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "estimate", str(path)], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["estimate", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["estimate", "{path}", "-o", "{path}"], "both input and output"),
        (["estimate", "{path}", "-e", "mth"], "Did you mean 'math'"),
        (["estimate", "{path}", "--option", "n=2"], "--option needs --equivalence"),
        (["estimate", "{path}", "-e", "ngram", "--option", "n"], "not of the form key=value"),
        (
            ["estimate", "{path}", "--estimator", "likelihood"],
            "in.jsonl, line 1: estimator 'likelihood' needs logprobs",
        ),
        (["estimate", "{path}", "-e", "ngram", "--option", "threshold=abc"], "threshold='abc' must be a number"),
        (["estimate", "{path}", "-e", "ngram", "--option", "n=1.x"], "n='1.x' must be a whole number"),
        (["estimate", "{path}", "-e", "exact", "-o", "{path}s/out.jsonl"], "create it first, or correct the path"),
        (["estimate", "{path}", "-e", "exact", "--cache", "no/c.sqlite"], "there is no folder no: create it first"),
        (["explain"], "give one of these: responses, --file"),
        (["explain", "--file", "{path}", "--id", "zz"], "has no row with 'zz' in the field 'id'"),
    ],
)
def test_a_wrong_call_is_an_error_that_says_what_to_do(tmp_path, arguments, says):
    path = write(tmp_path / "in.jsonl", ROWS)
    done = call(*(argument.format(path=path) for argument in arguments))
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_without_rows_and_a_file_without_needed_evidence_get_a_message(tmp_path):
    done = call("estimate", write(tmp_path / "in.jsonl", ["", ""]), "-o", tmp_path / "out.jsonl")
    assert (done.returncode, done.stderr) == (0, f"{tmp_path / 'in.jsonl'} has no rows\n")
    path = write(tmp_path / "bare.jsonl", [{"responses": ["a", "b"]}])
    done = call("estimate", path, "--estimator", "likelihood")
    assert (
        f"{path}: none of the 1 rows from line 1 has what --estimator needs: estimator 'likelihood' needs"
        in done.stderr
    )


def test_all_shared_samples_can_be_measured(tmp_path):
    source = SHARED / "data" / "samples.jsonl"
    if not source.exists():
        pytest.skip("data/samples.jsonl is not beside this checkout")
    done = call("estimate", source, "-o", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    with source.open() as rows:
        assert len(read(tmp_path / "out.jsonl")) == sum(1 for _ in rows)
