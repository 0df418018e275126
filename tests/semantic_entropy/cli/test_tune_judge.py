"""`semantic-entropy tune-judge`: the table, the JSON, the options to paste, and bad input."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from semantic_entropy import Equivalence, Verdict, register
from semantic_entropy.cli import main
from tests.shared_data import SHARED, rows

PAIRS = [
    {
        "question": "Who?",
        "a": "the quick brown fox",
        "b": "the quick brown fox jumps",
        "equivalent": True,
        "source": "x",
    },
    {"question": "Who?", "a": "the quick brown fox", "b": "a lazy dog", "equivalent": False, "source": "x"},
    {"question": "Where?", "a": "in Paris, France", "b": "in Paris", "equivalent": True, "source": "y"},
    {"question": "Where?", "a": "in Paris, France", "b": "in Rome", "equivalent": False, "source": "y"},
    {"a": "forty-two", "b": "42", "equivalent": 1},
    {"a": "forty-two", "b": "43", "equivalent": 0},
]


def write(path, lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def command(*arguments):
    return CliRunner().invoke(main, ["tune-judge", *arguments])


def test_the_command_prints_a_table_and_the_option_to_paste(tmp_path):
    ran = command(write(tmp_path / "pairs.jsonl", PAIRS), "-e", "ngram")
    assert ran.exit_code == 0, ran.output
    assert "6 pairs, 3 of them the same, judged by ngram(n=3, threshold=0.6)" in ran.stdout
    lines = {line.split("  ")[0].strip(): line.split() for line in ran.stdout.splitlines() if line}
    assert lines["the judge as it is"][-5:] == ["0.6", "0.833", "1.000", "0.667", "0.800"]
    assert lines["the best threshold for accuracy"][-4:] == ["1.000"] * 4
    assert lines["x"][-3:] == ["2", "1.000", "1.000"]
    threshold = float(ran.stdout.rsplit("threshold=", 1)[1])
    ran = command(write(tmp_path / "pairs.jsonl", PAIRS), "-e", "ngram", "--option", f"threshold={threshold}", "--json")
    assert json.loads(ran.stdout)["as_is"]["accuracy"] == 1


def test_the_command_prints_json(tmp_path):
    ran = command(write(tmp_path / "pairs.jsonl", PAIRS), "-e", "ngram", "--json", "--metric", "precision@0.9")
    found = json.loads(ran.stdout)
    assert (found["judge"], found["metric"]) == ("ngram(n=3, threshold=0.6)", "precision@0.9")
    assert found["own_threshold"] == 0.6
    assert found["picked"]["recall"] == 1
    assert found["held_out"]["pairs"] == 6
    assert list(found["sources"]) == ["x", "y", ""]
    assert found["undecided"] == {}


def test_a_judge_without_a_threshold_option_gets_a_cascade_stage(tmp_path):
    ran = command(write(tmp_path / "pairs.jsonl", PAIRS), "-e", "text")
    assert ran.exit_code == 0, ran.output
    stage = json.loads(ran.stdout.rsplit("cascade: ", 1)[1])
    assert stage["judge"] == "text"
    assert stage["band"][0] == stage["band"][1]


def test_the_options_to_paste_include_all_given_options(tmp_path):
    pairs = write(tmp_path / "pairs.jsonl", PAIRS)
    ran = command(pairs, "-e", "ngram", "--option", "n=2", "--option", "threshold=0.9")
    *_, pasted = ran.stdout.splitlines()
    assert pasted.startswith("use it: --equivalence ngram --option n=2 --option threshold=0.")
    assert pasted.count("threshold=") == 1
    ran = command(pairs, *shlex.split(pasted.removeprefix("use it: ")))
    assert "judged by ngram(n=2, threshold=0." in ran.stdout


def test_a_second_run_asks_for_no_verdict_that_is_in_the_cache(tmp_path):
    asked = []

    class Expensive(Equivalence):
        name, settings = "expensive", ("expensive",)

        def judge(self, pairs):
            asked.extend(pairs)
            return [Verdict(pair.left == pair.right, len(pair.left) / 100) for pair in pairs]

    register("equivalence", "expensive", Expensive)
    pairs, cache = write(tmp_path / "pairs.jsonl", PAIRS), str(tmp_path / "verdicts.sqlite")
    first = command(pairs, "-e", "expensive", "--cache", cache)
    assert "0 verdicts found, 6 added" in first.stderr
    again = command(pairs, "-e", "expensive", "--cache", cache, "--metric", "f1")
    assert "6 verdicts found, 0 added" in again.stderr
    assert len(asked) == 6
    assert again.stdout.replace("f1", "accuracy").splitlines()[0] == first.stdout.splitlines()[0]


def test_fields_can_have_other_names(tmp_path):
    renamed = [{"q": "?", "one": row["a"], "two": row["b"], "same": bool(row["equivalent"])} for row in PAIRS]
    options = ["--left", "one", "--right", "two", "--label", "same", "--question", "q"]
    ran = command(write(tmp_path / "pairs.jsonl", renamed), "-e", "ngram", *options)
    assert ran.exit_code == 0, ran.output
    assert "cross-validated: none, because" in ran.stdout  # all of one question
    assert "accuracy by source" not in ran.stdout


def test_undecided_pairs_are_only_counted_by_reason(tmp_path):
    class Hesitant(Equivalence):
        name = "hesitant"

        def judge(self, pairs):
            return [
                Verdict(None, reason="asleep") if "dog" in p.right else Verdict(same=True, score=0.5) for p in pairs
            ]

    register("equivalence", "hesitant", Hesitant)
    ran = command(write(tmp_path / "pairs.jsonl", PAIRS), "-e", "hesitant")
    assert ran.exit_code == 0, ran.output
    assert "5 pairs, 3 of them the same" in ran.stdout
    assert "1 more pairs undecided and not counted: asleep" in ran.stdout


def test_a_judge_without_scores_is_an_error_that_names_judges_with_scores(tmp_path):
    ran = command(write(tmp_path / "pairs.jsonl", PAIRS), "-e", "exact")
    assert ran.exit_code == 1
    assert "'exact' returns no score" in ran.output
    assert "embedding" in ran.output


BAD = [
    ("{", "line 2: not usable JSON"),
    ("[1]", "line 2: a row is a JSON object, not a list"),
    ({"a": "x", "equivalent": True}, "line 2: the field 'b' must hold a text, not None"),
    ({"a": "x", "b": 5, "equivalent": True}, "line 2: the field 'b' must hold a text, not 5"),
    ({"a": "x", "b": "y"}, "line 2: the field 'equivalent' must be true or false, not None"),
    ({"a": "x", "b": "y", "equivalent": "yes"}, "line 2: the field 'equivalent' must be true or false, not 'yes'"),
    ({"a": "x", "b": "y", "equivalent": True, "question": 1}, "line 2: the field 'question' must hold a text, not 1"),
]


@pytest.mark.parametrize(("row", "part"), BAD)
def test_a_bad_row_is_an_error_with_its_line_number(tmp_path, row, part):
    ran = command(write(tmp_path / "pairs.jsonl", [PAIRS[0], row, "", *PAIRS[1:]]), "-e", "ngram")
    assert ran.exit_code == 1
    assert part in ran.output


def test_a_table_gets_the_command_that_converts_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = "a,b,equivalent\nParis,It is Paris,true\nParis,Rome,false\n"
    ran = command(write(Path("pairs.csv"), [table]), "-e", "ngram")
    assert ran.exit_code == 1
    assert "only JSON lines are read here" in ran.output
    subprocess.run([sys.executable, *shlex.split(ran.output.split("python ")[1])], check=True)
    assert command("pairs.jsonl", "-e", "ngram").exit_code == 0


def test_few_pairs_of_a_label_are_a_warning(tmp_path):
    ran = command(write(tmp_path / "few.jsonl", PAIRS), "-e", "ngram")
    assert "warning: only 3 of the 6 pairs are labelled the same" in ran.stdout
    many = [{"a": f"number {n}", "b": f"number {n}" * (1 + n % 2), "equivalent": n % 2} for n in range(200)]
    assert "warning" not in command(write(tmp_path / "many.jsonl", many), "-e", "ngram").output


def test_only_the_first_bad_rows_are_shown(tmp_path):
    ran = command(write(tmp_path / "pairs.jsonl", ["{"] * 9), "-e", "ngram")
    assert "line 5" in ran.output
    assert "line 6" not in ran.output
    assert "and 4 more" in ran.output


@pytest.mark.parametrize("lines", [[], [""]])
def test_an_empty_file_is_an_error(tmp_path, lines):
    assert "has no pairs" in command(write(tmp_path / "pairs.jsonl", lines), "-e", "ngram").output


def test_on_real_pairs_the_best_threshold_beats_the_default_and_cross_validates(tmp_path):
    rows("pairs.jsonl")  # skips where the data is absent
    ran = command(str(SHARED / "data" / "pairs.jsonl"), "-e", "ngram", "--json")
    found = json.loads(ran.stdout)
    assert found["picked"]["accuracy"] > found["as_is"]["accuracy"] + 0.2  # 0.789 against 0.534
    assert abs(found["picked"]["accuracy"] - found["held_out"]["accuracy"]) < 0.02


def test_the_old_name_works_and_names_the_new_one(tmp_path):
    missing = str(tmp_path / "missing.jsonl")
    runner = CliRunner()
    done = runner.invoke(main, ["threshold", missing, "-e", "ngram"])
    assert done.exit_code == runner.invoke(main, ["tune-judge", missing, "-e", "ngram"]).exit_code == 2
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f'{{"a": "abc", "b": "{b}", "equivalent": {same}}}\n' for b, same in PAIRS_OF_OLD_NAME))
    old, new = (runner.invoke(main, [name, str(path), "-e", "ngram"]) for name in ("threshold", "tune-judge"))
    assert old.stdout == new.stdout != ""
    assert "this command is now called tune-judge" in old.stderr
    assert "\n  threshold" not in runner.invoke(main, ["--help"]).stdout


PAIRS_OF_OLD_NAME = [("abc", "true"), ("abcd", "true"), ("abd", "false"), ("xyz", "false")] * 5
