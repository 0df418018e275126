"""`semantic-entropy label`: gold answers and a judge, rows that have labels, resumed runs, imports, exit statuses."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from click.testing import CliRunner

from semantic_entropy.cli import main
from semantic_entropy.decisions import group_label
from tests.semantic_entropy.cli.command import call, read, write

SLOW = textwrap.dedent(
    """
    import sys, time
    from semantic_entropy import Equivalence, Verdict, register
    from semantic_entropy.cli import main

    class Slow(Equivalence):
        name = "slow"
        uses_question = True  # so that each row is asked
        @property
        def settings(self):
            return "slow"
        def keys(self, question, answers):
            return [None] * len(answers)
        def judge(self, pairs):
            time.sleep(0.1)
            with open(sys.argv.pop(), "a") as log:
                log.writelines(f"{pair.question}\\n" for pair in pairs)
            sys.argv.append(log.name)
            return [Verdict(pair.left.lower() == pair.right.lower()) for pair in pairs]

    register("equivalence", "slow", Slow)
    log = sys.argv[-1]
    main(sys.argv[1:-1])
    """
)
ROWS = [
    {"id": "a", "question": "Capital of France?", "reply": "It is Paris.", "gold": "Paris", "note": [1, None]},
    {"id": "b", "question": "Capital of Italy?", "reply": "Milan", "gold": ["Rome", "Roma"]},
    {"id": "c", "question": "Half?", "reply": r"\boxed{\frac12}", "gold": 0.5},
    {"id": "d", "question": "Who?", "reply": "I don't know.", "gold": "Ann"},
    {"id": "e", "question": "When?", "reply": "1999", "gold": ""},
]
BY_SLOW = ["-e", "slow", "--answer", "reply", "--gold", "gold"]


def label(*arguments, **options):
    return CliRunner().invoke(main, ["label", *map(str, arguments)], **options)


def test_a_judge_labels_answers_by_a_gold_field_and_keeps_all_other_fields(tmp_path):
    file, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "labelled.jsonl"
    ran = label(file, "-o", out, "--answer", "reply", "--gold", "gold")
    assert ran.exit_code == 0, ran.output
    rows = read(out)
    assert [row["answer_correct"] for row in rows] == [True, False, True, None, None]
    assert [row["label"]["by"] for row in rows] == ["judge text", "judge text", "judge math", None, None]
    assert [row["label"].get("why") for row in rows] == [None, None, None, "no answer", "no gold answer"]
    assert [{name: row[name] for name in given} for row, given in zip(rows, ROWS, strict=True)] == ROWS
    assert "3 of 5 rows have a label; 1 wrong (33%)" in ran.stderr
    assert "without a label: 1 no answer, 1 no gold answer" in ran.stderr
    assert [group_label(row) and not group_label(row).wrong for row in rows] == [True, False, True, None, None]


def test_a_row_without_an_answer_is_wrong_if_the_user_says_so(tmp_path):
    file, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "labelled.jsonl"
    assert label(file, "-o", out, "--answer", "reply", "--gold", "gold").exit_code == 0
    assert label(file, "-o", out, "--answer", "reply", "--gold", "gold", "--no-answer-is-wrong").exit_code == 0
    assert [row["answer_correct"] for row in read(out)] == [True, False, True, False, None]


def test_the_answer_of_a_scored_row_is_that_of_its_largest_cluster(tmp_path):
    rows = [
        {
            "question": "Capital of Australia?",
            "responses": ["Sydney", "Canberra", "It is Canberra."],
            "gold": "Canberra",
        },
        {"question": "Capital?", "responses": ["Cusco", "Cusco", "Lima"], "gold": "Lima", "answer": "Lima"},
        {"question": "Nothing?", "responses": ["", ""], "gold": "x"},
    ]
    scored, out = tmp_path / "scored.jsonl", tmp_path / "labelled.jsonl"
    assert call("estimate", write(tmp_path / "rows.jsonl", rows), "-o", scored).returncode == 0
    ran = label(scored, "-o", out, "--gold", "gold")
    assert ran.exit_code == 0, ran.output
    assert [row["answer_correct"] for row in read(out)] == [True, False, None]
    evaluated = CliRunner().invoke(main, ["evaluate", str(out), "--resamples", "0"])
    assert evaluated.stdout.startswith("2 groups, 1 wrong"), evaluated.output
    again = call("estimate", out, "-o", tmp_path / "again.jsonl")  # a labelled file can be measured again
    assert again.returncode == 0, again.stderr
    assert label(tmp_path / "again.jsonl", "-o", tmp_path / "more.jsonl", "--gold", "gold").exit_code == 0
    assert [row["answer_correct"] for row in read(tmp_path / "more.jsonl")] == [True, False, None]


def test_several_responses_without_a_result_have_no_main_answer(tmp_path):
    file = write(tmp_path / "rows.jsonl", [{"question": "Q?", "responses": ["a", "b"], "gold": "a"}, "no json"])
    ran = label(file, "-o", tmp_path / "out.jsonl", "--gold", "gold")
    assert ran.exit_code == 1
    assert (
        "2 responses and no result, so the main answer is not known: label the output of semantic-entropy" in ran.stderr
    )
    assert [row["line"] for row in read(tmp_path / "out.jsonl.bad.jsonl")] == [1, 2]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_other_formats_are_read_like_by_estimate(suffix, tmp_path):
    pd = pytest.importorskip("pandas")
    rows = [
        {"question": "Q1?", "reply": "Paris", "gold": ["Paris", "Lutetia"]},
        {"question": "Q2?", "reply": "x", "gold": ["y"]},
    ]
    file = tmp_path / f"rows.{suffix}"
    if suffix == "csv":
        pd.DataFrame([{**row, "gold": json.dumps(row["gold"])} for row in rows]).to_csv(file, index=False)
    elif suffix == "parquet":
        pytest.importorskip("pyarrow")
        pd.DataFrame(rows).to_parquet(file)
    else:
        file.write_text(json.dumps(rows))
    ran = label(file, "-o", tmp_path / "out.jsonl", "--answer", "reply", "--gold", "gold")
    assert ran.exit_code == 0, ran.output
    assert [row["answer_correct"] for row in read(tmp_path / "out.jsonl")] == [True, False]


def test_one_reply_of_a_chat_model_is_the_answer(tmp_path):
    reply = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris"}}],
    }
    file = write(tmp_path / "replies.jsonl", [{**reply, "id": "x", "question": "Capital of France?", "gold": "Paris"}])
    ran = label(file, "-o", tmp_path / "out.jsonl", "--gold", "gold")
    assert ran.exit_code == 0, ran.output
    assert [row["answer_correct"] for row in read(tmp_path / "out.jsonl")] == [True]


def test_a_nested_gold_field_and_several_gold_fields_are_accepted(tmp_path):
    row = {"question": "Q?", "reply": "JFK", "answer": {"value": "Kennedy", "aliases": ["JFK"]}, "alias": None}
    file = write(tmp_path / "rows.jsonl", [row])
    only = label(file, "-o", tmp_path / "one.jsonl", "--answer", "reply", "--gold", "answer.value")
    both = ["--gold", "answer.value", "--gold", "answer.aliases", "--gold", "alias"]
    all_ = label(file, "-o", tmp_path / "all.jsonl", "--answer", "reply", *both)
    assert (only.exit_code, all_.exit_code) == (0, 0), only.output + all_.output
    assert read(tmp_path / "one.jsonl")[0]["answer_correct"] is False
    assert read(tmp_path / "all.jsonl")[0]["answer_correct"] is True


def test_labels_of_the_rows_stay_and_the_judge_is_compared_with_them(tmp_path):
    rows = [
        {"question": "Q1?", "reply": "Paris", "gold": "Paris", "answer_correct": True},
        {"question": "Q2?", "reply": "Paris", "gold": "Paris", "answer_correct": "false"},
        {"question": "Q3?", "reply": "Rome", "gold": "Paris", "answer_correct": 1},
        {"question": "Q4?", "reply": "Rome", "gold": "Rome", "answer_correct": ""},
        {"question": "Q5?", "reply": "Rome", "gold": "Rome", "answer_correct": "perhaps"},
    ]
    out = tmp_path / "out.jsonl"
    ran = label(write(tmp_path / "rows.jsonl", rows), "-o", out, "--answer", "reply", "--gold", "gold")
    assert ran.exit_code == 1  # the label "perhaps"
    assert "'answer_correct' is 'perhaps'; a label is true or false" in ran.stderr
    assert [row["answer_correct"] for row in read(out)] == [True, "false", 1, True]
    assert [row["label"]["by"] for row in read(out)] == ["input"] * 3 + ["judge text"]
    assert (
        "agrees with the other labels on 1 of 3 (33.3%); called right but wrong: 1; called wrong but right: 1"
        in ran.stderr
    )


def judged_file(tmp_path, contradicted, n=60, **labels):
    rows = [
        {"question": f"Q{i}?", "reply": "Rome" if i < contradicted else "Paris", "gold": "Paris"} | labels
        for i in range(n)
    ]
    return write(tmp_path / "rows.jsonl", rows)


def test_without_other_labels_the_summary_says_how_to_check_the_judge(tmp_path):
    file, out, by_hand = judged_file(tmp_path, 30), tmp_path / "out.jsonl", tmp_path / "by-hand.jsonl"
    ran = label(file, "-o", out, "--answer", "reply", "--gold", "gold")
    assert "nothing says how far the judge's labels can be trusted: label 50 rows by hand into another" in ran.stderr
    assert "(semantic-entropy label FILE -o by-hand.jsonl --limit 50)" in ran.stderr
    assert "--import by-hand.jsonl" in " ".join(ran.stderr.split())
    people = [row | {"answer_correct": True, "label": {**row["label"], "by": "person"}} for row in read(out)[:50]]
    for row in people:
        del row["label"]["judge"]
    ran = label(file, "-o", out, "--answer", "reply", "--import", write(by_hand, people))
    assert "the judge agrees with the other labels on 20 of 50 (40.0%)" in ran.stderr
    assert "warning: the judge contradicts 60.0% of the other labels: too many for a risk of 0.1" in ran.stderr


@pytest.mark.parametrize(
    ("contradicted", "n", "alpha", "message"),
    [
        (3, 60, "0.1", None),  # 5% is half of the risk
        (4, 60, "0.1", "warning: the judge contradicts 6.7% of the other labels: too many for a risk of 0.1"),
        (4, 60, "0.2", None),
        (0, 9, "0.1", "note: 9 rows with both labels are few: label 50 by hand"),
        (9, 9, "0.1", "or label by hand. 9 rows with both labels are few"),
    ],
)
def test_a_low_agreement_with_other_labels_is_a_warning(contradicted, n, alpha, message, tmp_path):
    file = judged_file(tmp_path, contradicted, n, answer_correct=True)
    out = tmp_path / "out.jsonl"
    ran = label(file, "-o", out, "--answer", "reply", "--gold", "gold", "--alpha", alpha)
    assert (message or "agrees with the other labels") in ran.stderr
    assert ("warning: the judge" in ran.stderr) == (contradicted > n * float(alpha) / 2)


def test_labels_of_the_responses_check_the_judge_too(tmp_path):
    rows = [
        {"question": f"Q{i}?", "responses": ["Paris"] * 3, "gold": "Rome", "correct": [True] * 3} for i in range(60)
    ]
    scored = tmp_path / "scored.jsonl"
    assert call("estimate", write(tmp_path / "rows.jsonl", rows), "-o", str(scored)).returncode == 0
    ran = label(scored, "-o", tmp_path / "out.jsonl", "--gold", "gold")
    assert "the judge agrees with the labels of the largest clusters on 0 of 60" in ran.stderr
    assert "warning: the judge contradicts 100.0% of the other labels" in ran.stderr


def test_a_judge_is_not_spoken_of_where_people_made_all_labels(tmp_path):
    file, out = judged_file(tmp_path, 0), tmp_path / "out.jsonl"
    label(file, "-o", out, "--answer", "reply", "--gold", "gold")
    people = [{**row, "label": {"by": "person", "key": row["label"]["key"]}} for row in read(out)]
    other = tmp_path / "other.jsonl"
    ran = label(file, "-o", other, "--answer", "reply", "--import", write(tmp_path / "by-hand.jsonl", people))
    assert "60 by person" in ran.stderr
    assert "the judge" not in ran.stderr


def test_an_undecided_row_has_no_label_and_too_many_of_them_are_an_error(tmp_path):
    deaf = SLOW.replace("Verdict(pair.left.lower() == pair.right.lower())", "Verdict(None, reason='no idea')")
    file, out = write(tmp_path / "rows.jsonl", ROWS[:2]), tmp_path / "out.jsonl"
    command = [
        sys.executable,
        "-c",
        deaf,
        "label",
        file,
        "-o",
        out,
        "-e",
        "slow",
        "--answer",
        "reply",
        "--gold",
        "gold",
    ]
    done = subprocess.run([*command, tmp_path / "log"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [row["answer_correct"] for row in read(out)] == [None, None]
    assert read(out)[0]["label"]["why"] == "undecided: no idea"
    assert "without a label: 2 undecided" in done.stderr
    assert "more rows are undecided than --max-undecided 0.1" in done.stderr


def test_a_killed_run_continues_without_lost_or_repeated_labels(tmp_path):
    rows = [
        {"question": f"Q{i}?", "reply": "A", "gold": "a" if i % 3 else "b"} if i % 100 else "bad row"
        for i in range(900)
    ]
    file, out, log = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", tmp_path / "log"
    command = [
        sys.executable,
        "-c",
        SLOW,
        "label",
        file,
        "-o",
        out,
        "-e",
        "slow",
        "--answer",
        "reply",
        "--gold",
        "gold",
        log,
    ]
    for _ in range(2):  # the second kill interrupts the continued run
        before = out.stat().st_size if out.exists() else 0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while (not out.exists() or out.stat().st_size <= before) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with out.open("ab") as partial:
            partial.write(b'{"question": "cut sho')  # what a kill during a write leaves
    stored = len(out.read_bytes().splitlines()) - 1
    assert 0 < stored < 891
    asked = len(log.read_text().splitlines())
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1  # the bad rows
    assert len(log.read_text().splitlines()) - asked == 891 - stored
    assert [row["question"] for row in read(out)] == [f"Q{i}?" for i in range(900) if i % 100]
    assert [row["answer_correct"] for row in read(out)] == [i % 3 > 0 for i in range(900) if i % 100]
    assert len(read(tmp_path / "out.jsonl.bad.jsonl")) == 9
    nothing = subprocess.run(command, capture_output=True, text=True, check=False)
    assert nothing.returncode == 1
    assert len(log.read_text().splitlines()) - asked == 891 - stored


def test_ctrl_c_keeps_the_labels_so_far(tmp_path):
    rows = [{"question": f"Q{i}?", "reply": "A", "gold": "a"} for i in range(900)]
    file, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    command = [
        sys.executable,
        "-c",
        SLOW,
        "label",
        file,
        "-o",
        out,
        "-e",
        "slow",
        "--answer",
        "reply",
        "--gold",
        "gold",
    ]
    process = subprocess.Popen([*command, tmp_path / "log"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while (not out.exists() or not out.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted: the labels so far are stored" in errors
    assert 0 < len(read(out)) < 900
    assert not (tmp_path / "out.jsonl.lock").exists()


def test_another_gold_answer_or_another_judge_makes_the_label_again(tmp_path):
    file, out = write(tmp_path / "rows.jsonl", ROWS[:2]), tmp_path / "out.jsonl"
    arguments = ["-o", out, "--answer", "reply", "--gold", "gold"]
    assert label(file, *arguments).exit_code == 0
    write(file, [{**ROWS[0], "gold": "Rome"}, ROWS[1]])
    assert label(file, *arguments).exit_code == 0
    assert [row["answer_correct"] for row in read(out)] == [False, False]
    other = label(file, *arguments, "-e", "exact")
    assert other.exit_code == 1
    assert "has labels by the judge text, and this run has exact: use --overwrite" in other.stderr
    assert label(file, *arguments, "-e", "exact", "--overwrite").exit_code == 0
    assert {row["label"]["by"] for row in read(out)} == {"judge exact"}


def test_labels_of_other_rows_are_not_lost(tmp_path):
    file, out = write(tmp_path / "rows.jsonl", ROWS[:2]), tmp_path / "out.jsonl"
    assert label(file, "-o", out, "--answer", "reply", "--gold", "gold").exit_code == 0
    edited = [json.loads(line) for line in out.read_text().splitlines()]
    edited[0]["label"]["by"] = "person"
    write(out, edited)
    before = out.read_bytes()
    ran = label(write(file, ROWS[1:3]), "-o", out, "--answer", "reply", "--gold", "gold")
    assert ran.exit_code == 1
    assert "1 of the 2 labels in" in ran.stderr
    assert "belong to no row" in ran.stderr
    assert out.read_bytes() == before
    moved = label(file, "-o", tmp_path / "new.jsonl", "--answer", "reply", "--import", out)
    assert moved.exit_code == 1  # one label belongs to no row
    assert "2 labels, 1 taken over; 1 belong to no row" in moved.stderr
    assert [row["answer_correct"] for row in read(tmp_path / "new.jsonl")] == [False, None]


def test_a_label_that_was_edited_by_hand_is_a_persons_label(tmp_path):
    file, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl"
    arguments = ["-o", out, "--answer", "reply", "--gold", "gold"]
    assert label(file, *arguments).exit_code == 0
    rows = read(out)
    rows[0]["answer_correct"], rows[4]["answer_correct"] = False, True
    out.write_text("\n".join(map(json.dumps, rows)))  # without the last end of line, as some editors do
    assert label(file, *arguments, "--overwrite").exit_code == 0
    assert [row["answer_correct"] for row in read(out)] == [False, False, True, None, True]
    assert [row["label"]["by"] for row in read(out)][::4] == ["person", "person"]


@pytest.mark.parametrize(
    "text", ["mine\n", '{"mine": 1}\n', '{"mine": 1}', '{"answer_correct": true, "label": "cat"}\n']
)
def test_a_file_of_another_kind_is_not_written(text, tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text(text)
    ran = label(write(tmp_path / "rows.jsonl", ROWS), "-o", out, "--answer", "reply", "--gold", "gold")
    assert ran.exit_code == 1
    assert "is no labelled row of this command" in ran.stderr
    assert out.read_text() == text


def test_a_field_named_label_stays(tmp_path):
    rows = [{**ROWS[0], "label": "mine", "answer_correct": None}]
    out = tmp_path / "out.jsonl"
    for _ in range(2):
        ran = label(write(tmp_path / "rows.jsonl", rows), "-o", out, "--answer", "reply", "--gold", "gold")
        assert ran.exit_code == 0, ran.output
        (row,) = read(out)
        assert row["label"] == "mine"
        assert row["result_label"]["by"] == "judge text"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "name the file for the labelled rows"),
        (["-o", "-"], "labels are kept in a file"),
        (["-o", "out.parquet", "--gold", "gold"], "labelled rows are JSON lines, not .parquet"),
        (["-o", "out.jsonl"], "a person labels in a terminal, and this is none"),
        (["-o", "out.jsonl", "--gold", "gold", "--html", "p.html"], "--gold and --html are different ways"),
        (["-o", "out.jsonl", "-e", "text", "--html", "p.html"], "--equivalence is for a judge: add --gold FIELD"),
        (["-o", "rows.jsonl", "--gold", "gold"], "is both input and output"),
        (["-o", "out.jsonl", "--gold", "none"], "no field 'none'; it has id, question, reply, gold, note, flag"),
        (["-o", "out.jsonl", "--gold", "flag"], "the gold answer 'flag' is True; it must be a text"),
    ],
)
def test_a_wrong_call_says_what_to_change(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.jsonl", [{**ROWS[0], "flag": True}])
    ran = label("rows.jsonl", "--answer", "reply", *options)
    assert ran.exit_code in (1, 2)
    assert message in ran.output


def test_the_number_of_labels_still_needed_follows_the_risk(tmp_path):
    file, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "out.jsonl"
    arguments = [file, "-o", out, "--answer", "reply", "--gold", "gold"]
    needed = {alpha: label(*arguments, "--alpha", alpha).stderr.splitlines()[-1] for alpha in ("0.05", "0.1", "0.2")}
    assert "needs at least 57 labels" in needed["0.05"]
    assert "it takes 45 answers without an error" in needed["0.05"]
    assert needed["0.1"].endswith("25 labels still needed")
    assert needed["0.2"].endswith("11 labels still needed")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of a file")
def test_a_full_disk_loses_no_label_and_is_no_traceback(tmp_path):
    rows = [{"question": f"Q{i}?", "reply": "A", "gold": "a"} for i in range(900)]
    file, out = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    command = [
        sys.executable,
        "-m",
        "semantic_entropy",
        "label",
        file,
        "-o",
        out,
        "--answer",
        "reply",
        "--gold",
        "gold",
    ]
    limited = ["bash", "-c", 'ulimit -f 40; exec "$@"', "bash", *command]  # 40 kB
    full = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert "File too large" in full.stderr
    assert "Traceback" not in full.stderr
    assert out.stat().st_size <= 40 * 1024
    stored = len(out.read_bytes().splitlines())
    assert stored > 64
    assert subprocess.run(command, check=False).returncode == 0
    assert len(read(out)) == 900


def test_a_device_is_no_output_for_labels(tmp_path):
    ran = label(write(tmp_path / "rows.jsonl", ROWS), "-o", os.devnull, "--answer", "reply", "--gold", "gold")
    assert ran.exit_code == 1
    assert "cannot be continued: write the labels to a file" in ran.stderr


def test_the_help_lists_each_way_to_label_on_a_line_of_its_own():
    lines = CliRunner().invoke(main, ["label", "--help"]).output.splitlines()
    assert "  --gold FIELD      a judge compares the answer with the gold answer" in lines
