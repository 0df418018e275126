"""Thresholds from labelled pairs: picked by hand-worked cases, held to what they promise, and asked for by command."""

from __future__ import annotations

import json
import math
import shlex

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import Equivalence, InputError, Verdict, register
from semantic_entropy.cli import main
from semantic_entropy.decisions.thresholds import Quality, cross_validated, pick, quality
from tests.shared_data import SHARED, rows

SAME, OTHER = True, False

PICKED = [  # scores, truth, metric, threshold
    ([0.2, 0.8], [OTHER, SAME], "accuracy", 0.5),  # the middle of the gap
    ([0.2, 0.8], [OTHER, SAME], "f1", 0.5),
    ([0.9, 0.1, 0.3, 0.7], [SAME, OTHER, OTHER, SAME], "accuracy", 0.5),  # in any order
    ([0.1, 0.2, 0.3, 0.9], [OTHER, SAME, OTHER, SAME], "accuracy", 0.6),  # one is wrong either way: the wider gap
    ([0.4, 0.4, 0.4], [SAME, SAME, OTHER], "accuracy", 0.2),  # all alike: call all the same, from below
    ([0.4, 0.4, 0.4], [SAME, OTHER, OTHER], "accuracy", 0.7),  # or none, from above
    ([0.0, 0.0, 1.0], [SAME, SAME, OTHER], "accuracy", 0.0),  # nothing lies below 0
    ([0.3, 1.0, 1.0], [SAME, OTHER, OTHER], "accuracy", 0.1),  # nor above 1, so that none is no choice
    ([0.1, 0.5, 0.6, 0.9], [SAME, OTHER, OTHER, SAME], "f1", 0.8),  # 2/3 with the last alone and with all
    ([0.2, 0.5, 0.6, 0.8, 0.9], [OTHER, SAME, OTHER, SAME, SAME], "precision@0.75", 0.3),
    ([0.2, 0.5, 0.6, 0.8, 0.9], [OTHER, SAME, OTHER, SAME, SAME], "precision@0.8", 0.7),
    ([0.123456, 0.123457], [OTHER, SAME], "accuracy", 0.1234565),  # as few digits as the gap allows
]


@pytest.mark.parametrize(("scores", "truth", "metric", "threshold"), PICKED)
def test_the_threshold_worked_out_by_hand(scores, truth, metric, threshold):
    assert pick(scores, truth, metric) == threshold


def test_two_scores_without_a_number_between_them_are_told_apart():
    low = 0.5
    high = math.nextafter(low, 1)
    assert pick([low, high], [OTHER, SAME]) == high


def test_figures_are_those_of_the_counts():
    found = quality([True, True, True, False, False], [True, True, False, True, False])
    assert found == Quality(2, 1, 1, 1)
    assert (found.pairs, found.accuracy, found.precision, found.recall) == (5, 0.6, 2 / 3, 2 / 3)
    assert found.f1 == pytest.approx(2 / 3)


def test_a_ratio_of_nothing_is_nan():
    found = quality([False, False], [False, False])
    assert found.accuracy == 1
    assert all(map(math.isnan, (found.precision, found.recall, found.f1)))
    assert math.isnan(quality([], []).accuracy)


SCORED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.77, 0.9, 1.0]) | st.floats(0, 1), st.booleans()),
    min_size=2,
    max_size=30,
).filter(lambda pairs: len({same for _, same in pairs}) == 2)


def worth(scores, truth, threshold, metric):
    return getattr(quality([score >= threshold for score in scores], truth), metric)


@given(SCORED, st.sampled_from(["accuracy", "f1"]), st.floats(0, 1))
def test_no_other_threshold_is_better(pairs, metric, other):
    scores, truth = zip(*pairs, strict=True)
    best = pick(scores, truth, metric)
    assert 0 <= best <= 1
    for threshold in (other, *scores, 0.0, 1.0):
        found = worth(scores, truth, threshold, metric)
        assert math.isnan(found) or found <= worth(scores, truth, best, metric)


@given(SCORED, st.floats(0.01, 1))
def test_the_precision_asked_for_is_reached_with_all_the_recall_there_is(pairs, least):
    scores, truth = zip(*pairs, strict=True)
    able = [t for t in scores if worth(scores, truth, t, "precision") >= least]
    if not able:
        with pytest.raises(InputError, match="no threshold reaches precision@"):
            pick(scores, truth, f"precision@{least}")
        return
    best = pick(scores, truth, f"precision@{least}")
    assert worth(scores, truth, best, "precision") >= least
    assert worth(scores, truth, best, "recall") == max(worth(scores, truth, t, "recall") for t in able)


@given(SCORED)
def test_the_order_of_the_pairs_does_not_matter(pairs):
    assert pick(*zip(*pairs, strict=True)) == pick(*zip(*reversed(pairs), strict=True))


def test_held_out_pairs_are_judged_by_thresholds_that_never_saw_them():
    """Ten questions, and in each fold's other questions the cut lies where that fold's own would not have it."""
    scores = [value for _ in range(10) for value in (0.2, 0.8)]
    truth = [OTHER, SAME] * 10
    groups = [question for question in range(10) for _ in range(2)]
    found = cross_validated(scores, truth, groups=groups)
    assert found.quality == Quality(10, 0, 10, 0)
    assert found.thresholds == (0.5,) * 5
    odd = [0.2, 0.8] * 9 + [0.8, 0.2]  # the last question is the other way round: wrong wherever it is held out
    assert cross_validated(odd, truth, groups=groups).quality == Quality(9, 1, 9, 1)


def test_what_a_lone_question_taught_does_not_count_on_itself():
    scores, truth, groups = [0.2, 0.3, 0.8, 0.9], [OTHER, SAME, OTHER, SAME], ["low", "low", "high", "high"]
    found = cross_validated(scores, truth, groups=groups)
    assert sorted(found.thresholds) == [0.25, 0.85]
    assert found.quality == Quality(1, 1, 1, 1)  # each question is cut at the other's threshold


WRONG = [
    (([], []), "no pairs"),
    (([0.5, 0.6], [SAME, SAME]), "all 2 are the same"),
    (([0.5, 0.6], [OTHER, OTHER]), "all 2 are different"),
    (([0.5], [SAME, OTHER]), "1 scores for 2 pairs"),
    (([0.5, 1.5], [SAME, OTHER]), "the score 1.5 is not in [0, 1]"),
    (([0.5, math.nan], [SAME, OTHER]), "the score nan is not in [0, 1]"),
    (([0.5, 0.4], [SAME, OTHER], "recall"), "use accuracy, f1, or precision@P"),
    (([0.5, 0.4], [SAME, OTHER], "precision@2"), "use accuracy, f1, or precision@P"),
    (([0.5, 0.4], [SAME, OTHER], "precision"), "use accuracy, f1, or precision@P"),
    (([0.5, 0.6], [SAME, OTHER], "precision@0.9"), "the highest precision here is 0.500"),
]


@pytest.mark.parametrize(("arguments", "part"), WRONG)
def test_what_cannot_be_is_said(arguments, part):
    with pytest.raises(InputError) as caught:
        pick(*arguments)
    assert part in str(caught.value)


def test_one_question_alone_cannot_be_held_out():
    with pytest.raises(InputError, match="two are needed"):
        cross_validated([0.1, 0.9], [OTHER, SAME], groups=["q", "q"])


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
    return CliRunner().invoke(main, ["threshold", *arguments])


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


def test_the_command_speaks_json(tmp_path):
    ran = command(write(tmp_path / "pairs.jsonl", PAIRS), "-e", "ngram", "--json", "--metric", "precision@0.9")
    found = json.loads(ran.stdout)
    assert (found["judge"], found["metric"]) == ("ngram(n=3, threshold=0.6)", "precision@0.9")
    assert found["own_threshold"] == 0.6
    assert found["picked"]["recall"] == 1
    assert found["held_out"]["pairs"] == 6
    assert list(found["sources"]) == ["x", "y", ""]
    assert found["undecided"] == {}


def test_a_judge_without_a_threshold_gets_a_band(tmp_path):
    ran = command(write(tmp_path / "pairs.jsonl", PAIRS), "-e", "text")
    assert ran.exit_code == 0, ran.output
    stage = json.loads(ran.stdout.rsplit("cascade: ", 1)[1])
    assert stage["judge"] == "text"
    assert stage["band"][0] == stage["band"][1]


def test_what_to_paste_holds_all_options_that_it_was_measured_with(tmp_path):
    pairs = write(tmp_path / "pairs.jsonl", PAIRS)
    ran = command(pairs, "-e", "ngram", "--option", "n=2", "--option", "threshold=0.9")
    *_, pasted = ran.stdout.splitlines()
    assert pasted.startswith("use it: --equivalence ngram --option n=2 --option threshold=0.")
    assert pasted.count("threshold=") == 1
    ran = command(pairs, *shlex.split(pasted.removeprefix("use it: ")))
    assert "judged by ngram(n=2, threshold=0." in ran.stdout


def test_a_second_look_asks_nothing_that_the_cache_holds(tmp_path):
    asked = []

    class Dear(Equivalence):
        name, settings = "dear", ("dear",)

        def judge(self, pairs):
            asked.extend(pairs)
            return [Verdict(pair.left == pair.right, len(pair.left) / 100) for pair in pairs]

    register("equivalence", "dear", Dear)
    pairs, cache = write(tmp_path / "pairs.jsonl", PAIRS), str(tmp_path / "verdicts.sqlite")
    first = command(pairs, "-e", "dear", "--cache", cache)
    assert "0 verdicts found, 6 added" in first.stderr
    again = command(pairs, "-e", "dear", "--cache", cache, "--metric", "f1")
    assert "6 verdicts found, 0 added" in again.stderr
    assert len(asked) == 6
    assert again.stdout.replace("f1", "accuracy").splitlines()[0] == first.stdout.splitlines()[0]


def test_other_fields_are_named(tmp_path):
    renamed = [{"q": "?", "one": row["a"], "two": row["b"], "same": bool(row["equivalent"])} for row in PAIRS]
    options = ["--left", "one", "--right", "two", "--label", "same", "--question", "q"]
    ran = command(write(tmp_path / "pairs.jsonl", renamed), "-e", "ngram", *options)
    assert ran.exit_code == 0, ran.output
    assert "held out: none, since" in ran.stdout  # all of one question
    assert "accuracy by source" not in ran.stdout


def test_undecided_pairs_are_counted_by_reason_and_nowhere_else(tmp_path):
    class Forgetful(Equivalence):
        name = "forgetful"

        def judge(self, pairs):
            return [
                Verdict(None, reason="asleep") if "dog" in p.right else Verdict(same=True, score=0.5) for p in pairs
            ]

    register("equivalence", "forgetful", Forgetful)
    ran = command(write(tmp_path / "pairs.jsonl", PAIRS), "-e", "forgetful")
    assert ran.exit_code == 0, ran.output
    assert "5 pairs, 3 of them the same" in ran.stdout
    assert "1 more undecided, and not counted: asleep" in ran.stdout


def test_a_judge_without_scores_is_an_error_that_names_some_with(tmp_path):
    ran = command(write(tmp_path / "pairs.jsonl", PAIRS), "-e", "exact")
    assert ran.exit_code == 1
    assert "'exact' gives no score" in ran.output
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
def test_a_bad_row_is_named_by_its_line(tmp_path, row, part):
    ran = command(write(tmp_path / "pairs.jsonl", [PAIRS[0], row, "", *PAIRS[1:]]), "-e", "ngram")
    assert ran.exit_code == 1
    assert part in ran.output


def test_of_many_bad_rows_the_first_are_shown(tmp_path):
    ran = command(write(tmp_path / "pairs.jsonl", ["{"] * 9), "-e", "ngram")
    assert "line 5" in ran.output
    assert "line 6" not in ran.output
    assert "and 4 more" in ran.output


@pytest.mark.parametrize("lines", [[], [""]])
def test_an_empty_file_is_an_error(tmp_path, lines):
    assert "holds no pairs" in command(write(tmp_path / "pairs.jsonl", lines), "-e", "ngram").output


def test_on_real_pairs_the_best_threshold_beats_the_default_and_holds_up(tmp_path):
    rows("pairs.jsonl")  # skips where the data is absent
    ran = command(str(SHARED / "data" / "pairs.jsonl"), "-e", "ngram", "--json")
    found = json.loads(ran.stdout)
    assert found["picked"]["accuracy"] > found["as_is"]["accuracy"] + 0.2  # 0.789 against 0.534
    assert abs(found["picked"]["accuracy"] - found["held_out"]["accuracy"]) < 0.02
