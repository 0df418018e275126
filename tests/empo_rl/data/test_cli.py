"""The command `empo-data`, with real processes and real files."""

import json
import os
import signal
import subprocess
import sys

import datasets
import pytest
from click.testing import CliRunner

from empo_rl.config.schema import Config
from empo_rl.data.cli import main
from empo_rl.data.prompts import read_prompts
from tests.shared_data import SHARED, rows


def empo_data(*arguments, cwd, check=True, before="", **env):
    command = [sys.executable, "-m", "empo_rl.data.cli", *map(str, arguments)]
    if before:
        command = ["bash", "-c", f'{before}; exec "$@"', "bash", *command]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **env})
    if check:
        assert done.returncode == 0, done.stderr[-3000:]
    return done


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def numina_rows():
    """Real training questions, with the columns of the dataset on the hub."""
    return [
        {"problem": row["question"], "solution": f"So it is $\\boxed{{{row['answer']}}}$.", "source": "cn_k12"}
        for row in rows("train_prompts.jsonl")[:600]
        if row["answer"].count("{") == row["answer"].count("}")  # one of the 6,000 gold answers is truncated
    ]


def test_help_imports_no_heavy_library(tmp_path):
    shown = empo_data("--help", cwd=tmp_path).stdout
    for use in ("empo-data numina", "empo-data natural", "empo-data check FILE"):
        assert use in shown
    code = "import sys, empo_rl.data.cli; print({'datasets', 'datasketch', 'torch', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_empo_train_reads_the_output_of_numina(tmp_path, numina_rows):
    write(tmp_path / "local.jsonl", numina_rows)
    empo_data("numina", "--from", "local.jsonl", "--n", 100, "--alone", cwd=tmp_path)
    written = read(tmp_path / "numina.jsonl")
    assert len(written) == 100
    assert all(list(row) == ["question", "answer", "solution", "source"] for row in written)
    config = Config.model_validate(
        {
            "model": "m",
            "output_dir": "o",
            "data": {"path": str(tmp_path / "numina.jsonl"), "columns": {"question": "question", "gold": "answer"}},
            "template": {"name": "math"},
            "empo": {"reward": "golden"},
        }
    )
    prompts = read_prompts(config)
    assert [row["question"] for row in prompts] == [row["question"] for row in written]
    assert [row["gold"] for row in prompts] == [row["answer"] for row in written]
    golds = {row["problem"]: row["solution"] for row in numina_rows}
    assert all(golds[row["question"]] == f"So it is $\\boxed{{{row['answer']}}}$." for row in written)


def test_jsonl_parquet_and_a_shuffled_copy_give_the_same_rows(tmp_path, numina_rows):
    write(tmp_path / "a.jsonl", numina_rows)
    datasets.Dataset.from_list(numina_rows).to_parquet(tmp_path / "b.parquet")
    write(tmp_path / "c.jsonl", numina_rows[::-1])
    outputs = []
    for source in ("a.jsonl", "b.parquet", "c.jsonl"):
        empo_data("numina", "--from", source, "--n", 50, "--alone", "-o", "out/rows.jsonl", cwd=tmp_path)
        outputs.append((tmp_path / "out" / "rows.jsonl").read_text())
    assert outputs[0] == outputs[1] == outputs[2]


def test_inserted_duplicates_and_evaluation_questions_are_found_and_dropped(tmp_path, numina_rows):
    math500 = [row["question"] for row in rows("questions.jsonl") if row["source"] == "math500"]
    reworded = numina_rows[7]["problem"].replace("the", "this", 1)
    inserted = [
        {**numina_rows[3], "problem": numina_rows[3]["problem"].upper() + " "},
        {**numina_rows[0], "problem": math500[4]},
        {
            **numina_rows[0],
            "problem": f"{math500[5]} Let's think step by step and output the final answer within \\boxed{{}}.",
        },
        {**numina_rows[0], "problem": math500[6].replace("$", "$$") + " Explain."},
    ]
    assert reworded != numina_rows[7]["problem"]
    write(tmp_path / "local.jsonl", [*numina_rows[:300], *inserted, {**numina_rows[7], "problem": reworded}])
    write(tmp_path / "math500.jsonl", [{"problem": question} for question in math500])
    arguments = ["numina", "--from", "local.jsonl", "--n", 1000, "--against", "math500.jsonl"]
    done = empo_data(*arguments, cwd=tmp_path)
    report = json.loads((tmp_path / "numina.report.json").read_text())
    assert report["rows"] == {"duplicates": 1, "near-duplicates": 1, "overlap": 2, "near-overlap": 1}
    assert report["read"] == report["kept"] == 305
    assert "kept                    305 (1,000 asked for)" in done.stdout
    assert report["evaluation_sets"] == [
        {"name": "math500", "questions": len(math500), "same": 2, "near": 1, "questions_met": 3}
    ]
    kinds = "duplicates,near-duplicates,overlap,near-overlap"
    empo_data(*arguments, "--drop", kinds, "--dropped", "dropped.jsonl", cwd=tmp_path)
    assert len(read(tmp_path / "numina.jsonl")) == 300
    dropped = read(tmp_path / "dropped.jsonl")
    assert sorted(line["reason"] for line in dropped) == [
        "duplicates",
        "near-duplicates",
        "near-overlap",
        "overlap",
        "overlap",
    ]
    assert {line["found"][0]["suite"] for line in dropped} == {None, "math500"}
    assert "exact duplicates          0" in empo_data("check", "numina.jsonl", "--alone", cwd=tmp_path).stdout


def test_the_next_row_replaces_a_dropped_row(tmp_path):
    records = [{"problem": f"Question number {n // 2}, which is asked twice?", "solution": None} for n in range(100)]
    write(tmp_path / "local.jsonl", records)
    arguments = ["numina", "--from", "local.jsonl", "--column", "source=", "--n", 20, "--alone", "--drop", "duplicates"]
    report = json.loads(empo_data(*arguments, "--json", cwd=tmp_path).stdout)
    assert report["kept"] == 20
    assert report["dropped"]["duplicates"] == report["compared"] - 20 > 0
    assert len({row["question"] for row in read(tmp_path / "numina.jsonl")}) == 20


@pytest.mark.parametrize(("kind", "asked", "kept"), [("jsonl", 50, 50), ("parquet", 101, 101), ("jsonl", 200, 101)])
def test_the_requested_number_is_kept_if_the_source_has_enough_rows(kind, asked, kept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    same = {"problem": "What is asked again and again?", "solution": "x"}
    records = [same] * 900 + [{"problem": f"Question {n}: what is it?", "solution": "x"} for n in range(100)]
    records.append({"problem": " ", "solution": "x"})
    if kind == "jsonl":
        write(tmp_path / "local.jsonl", records)
    else:
        datasets.Dataset.from_list(records).to_parquet(tmp_path / "local.parquet")
    arguments = ["numina", "--from", f"local.{kind}", "--column", "source=", "--alone", "--drop", "duplicates"]
    done = CliRunner().invoke(main, [*arguments, "--n", str(asked), "--json", "--dropped", "dropped.jsonl"])
    report = json.loads(done.stdout)
    questions = [row["question"] for row in read(tmp_path / "numina.jsonl")]
    assert len(set(questions)) == len(questions) == report["kept"] == kept
    assert (report["read"], report["removed"]) == (1001, {"no question": 1})  # each row is counted once
    dropped = read(tmp_path / "dropped.jsonl")
    assert len({line["place"] for line in dropped}) == len(dropped) == 1 + report["dropped"]["duplicates"]
    assert report["compared"] == report["kept"] + report["dropped"]["duplicates"]


def test_natural_reports_how_many_rows_each_rule_removed(tmp_path):
    row = {"question": "Why is it so?", "reference_answer": "So.", "responses": [{"response": "Because."}]}
    records = [
        row,
        {**row, "question": "Prove that it is so."},
        {**row, "question": "Improve it."},
        {**row, "reference_answer": ""},
        {**row, "responses": [{"response": "x" * 5000}]},
    ]
    write(tmp_path / "local.jsonl", records)
    shown = empo_data("natural", "--from", "local.jsonl", "--alone", "--dropped", "dropped.jsonl", cwd=tmp_path).stdout
    assert '2 "prove" in the question' in shown
    assert "1 no answer" in shown
    assert "1 response of 4096 characters or more" in shown
    assert read(tmp_path / "natural.jsonl") == [{"question": "Why is it so?", "answer": "So.", "response": "Because."}]
    assert [line["place"] for line in read(tmp_path / "dropped.jsonl")] == [f"local.jsonl:{n}" for n in (2, 3, 4, 5)]


def test_a_row_with_a_lone_surrogate_is_removed_and_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = {"problem": "Größe \U0001f600?", "solution": "x"}
    half = [{"problem": "Half \ud83d?", "solution": "x"}, {"problem": "Why?", "solution": "half \ud83d"}]
    write(tmp_path / "local.jsonl", [whole, *half])
    arguments = ["numina", "--from", "local.jsonl", "--column", "source=", "--alone", "--dropped", "dropped.jsonl"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "2 half a character (a lone surrogate)" in done.stdout
    assert "Größe \U0001f600?" in (tmp_path / "numina.jsonl").read_text()
    assert [row["question"] for row in read(tmp_path / "numina.jsonl")] == ["Größe \U0001f600?"]
    assert [line["question"] for line in read(tmp_path / "dropped.jsonl")] == ["Half \ud83d?", "Why?"]


@pytest.mark.parametrize("option", [["--json"], ["--show", "1"]])
def test_a_lone_surrogate_is_printed_as_its_escape(option, tmp_path):
    write(tmp_path / "mine.jsonl", [{"question": "Half \ud83d?"}] * 2)
    shown = empo_data("check", "mine.jsonl", "--alone", *option, cwd=tmp_path).stdout
    assert r"Half \ud83d?" in shown
    assert "--show" in option or json.loads(shown)["findings"][0]["question"] == "Half \ud83d?"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "FILE: mine.jsonl does not exist or is not a file."),
        ('{"problem": "1+1?"}', "no column 'question' (--column question=...)"),
        ("{", "mine.jsonl:1: not JSON"),
        ("", "mine.jsonl contains no rows."),
    ],
)
def test_check_reads_its_file_before_it_connects_to_the_hub(content, message, tmp_path, monkeypatch):
    def connected(*args, **kwargs):
        pytest.fail("connected to the hub")

    monkeypatch.setattr("socket.create_connection", connected)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "mine.jsonl").write_text(content)
    done = CliRunner().invoke(main, ["check", "mine.jsonl"])
    assert done.exit_code == 1
    assert message in done.output


def test_check_prints_a_report_and_writes_no_file(tmp_path):
    prompts = SHARED / "data" / "train_prompts.jsonl"
    against = ["--against", SHARED / "data" / "questions.jsonl", "--source-column", "source"]
    rows("questions.jsonl")  # skips the test if the data is missing
    report = json.loads(empo_data("check", prompts, *against, "--json", cwd=tmp_path).stdout)
    assert report["rows"] == {"duplicates": 0, "near-duplicates": 22, "overlap": 0, "near-overlap": 2}
    assert {one["name"]: one["near"] for one in report["evaluation_sets"] if one["near"]} == {
        "math500": 1,
        "olympiadbench": 1,
    }
    assert list(tmp_path.iterdir()) == []


def test_sets_that_cannot_be_loaded_are_listed_with_the_reason(tmp_path):
    write(tmp_path / "mine.jsonl", [{"question": "Why?"}])
    shown = empo_data("check", "mine.jsonl", cwd=tmp_path, HF_HOME=str(tmp_path / "empty")).stdout
    assert "not compared      math500: Couldn't reach 'HuggingFaceH4/MATH-500' on the Hub" in shown
    assert "compared with no evaluation set" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["numina", "--from", "nowhere.parquet", "--alone"], "--from: nowhere.parquet does not exist or is not a file"),
        (["numina", "--from", "rows.jsonl", "--alone"], "no column 'problem' (--column question=...)"),
        (["numina", "--from", "rows.jsonl", "--column", "x", "--alone"], "write ROLE=COLUMN"),
        (["numina", "--from", "blank.jsonl", "--alone"], "no row is left of 1 rows (no question: 1)"),
        (["numina", "--from", "empty.jsonl", "--alone"], "no row is left of 0 rows"),
        (
            ["numina", "--from", "rows.jsonl", "-o", "rows.jsonl"],
            "rows.jsonl names two files (input or output) of this command: choose another name with -o",
        ),
        (["numina", "--from", "rows.jsonl", "-o", "."], ". is a folder: name a file in it"),
        (["numina", "--from", "rows.jsonl", "-o", "taken.jsonl"], "taken.report.json is a folder: name a file in it"),
        (["numina", "--from", "rows.jsonl", "--drop", "overlaps"], "overlaps: choose from duplicates"),
        (["numina", "--alone"], "--from: cannot load 'AI-MO/NuminaMath-CoT' (subset None, split 'train')"),
        (["numina", "--from", "bad.parquet", "--alone"], "bad.parquet cannot be read as a Parquet file"),
        (["check", "empty.jsonl", "--alone"], "empty.jsonl contains no rows"),
        (["check", "latin.jsonl", "--alone"], "latin.jsonl:1: not UTF-8"),
        (["check", "rows.jsonl", "--against", "mathh"], "Did you mean 'math'?"),
        (["check", "rows.jsonl", "--against", "other.jsonl"], "other.jsonl:1: no question (--against)"),
        (["check", "rows.jsonl", "--against", "math500"], "--against math500: cannot load 'HuggingFaceH4/MATH-500'"),
        (
            ["check", "rows.jsonl", "--against", "other=rows.jsonl", "--against", "other=blank.jsonl"],
            "two sets have the name 'other'",
        ),
        (["check", "rows.jsonl", "--against", "rows.jsonl", "--source-column", "x"], "no column 'x' (--source-column)"),
    ],
)
def test_an_error_has_a_message_and_leaves_no_file(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.jsonl", [{"question": "Why?"}])
    write(tmp_path / "blank.jsonl", [{"problem": " ", "solution": "", "source": "", "prompt": "x"}])
    write(tmp_path / "other.jsonl", [{"text": "Why?"}])
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "bad.parquet").write_text("PAR")
    (tmp_path / "latin.jsonl").write_bytes('{"question": "Größe?"}'.encode("latin-1"))
    (tmp_path / "taken.report.json").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code in (1, 2)
    assert isinstance(done.exception, SystemExit)  # how click exits, without a traceback
    assert message in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_ctrl_c_keeps_the_earlier_output_and_leaves_no_unfinished_file(tmp_path):
    with (tmp_path / "large.jsonl").open("w") as file:
        for number in range(400_000):
            file.write(f'{{"problem": "Question {number}?", "solution": "", "source": ""}}\n')
    (tmp_path / "numina.jsonl").write_text("the earlier output")
    command = [sys.executable, "-m", "empo_rl.data.cli", "numina", "--from", "large.jsonl", "--alone"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline().startswith("reading")
    assert list(tmp_path.glob("numina.jsonl.*.tmp"))
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines()[-1].startswith("interrupted while reading at ")
    assert "nothing was written" in stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.jsonl", "numina.jsonl"]
    assert (tmp_path / "numina.jsonl").read_text() == "the earlier output"


def test_a_full_disk_gives_a_message_and_leaves_no_unfinished_file(tmp_path):
    records = [{"problem": f"Question {n}?", "solution": "x" * 100, "source": ""} for n in range(500)]
    write(tmp_path / "local.jsonl", records)
    arguments = ["numina", "--from", "local.jsonl", "--alone"]
    done = empo_data(*arguments, cwd=tmp_path, check=False, before="ulimit -f 20", PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 1
    assert "no space left to write in" in done.stderr
    assert "Nothing was written. Free some space, or choose another disk with -o" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["local.jsonl"]


def turns(question):
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]


def test_conversations_are_prepared_compared_and_read_by_a_training_run(tmp_path):
    write(tmp_path / "set.jsonl", [{"prompt": turns("What is 2+2?")}])
    asked = ["What is 1+1?", "What is  1 + 1?", "What is 2+2?", "Is it so?"]
    rows = [{"prompt": turns(text), "solution": r"\boxed{2}", "source": "a"} for text in asked]
    write(tmp_path / "local.jsonl", rows)
    drop = ["--drop", "duplicates,overlap", "--against", "own=set.jsonl"]
    empo_data("numina", "--from", "local.jsonl", "--column", "question=prompt", *drop, cwd=tmp_path)
    kept = read(tmp_path / "numina.jsonl")
    assert len(kept) == 2  # without the duplicate and the question of the evaluation set
    assert "Is it so?" in [row["question"][1]["content"] for row in kept]
    report = empo_data("check", "local.jsonl", "--column", "question=prompt", "--alone", cwd=tmp_path).stdout
    assert "exact duplicates          1" in report
    config = Config.model_validate({"model": "m", "output_dir": "o", "data": {"path": str(tmp_path / "numina.jsonl")}})
    assert [row["prompt"] for row in read_prompts(config)] == [row["question"] for row in kept]
