from collections import Counter, defaultdict

import pytest

from empo_rl.data.against import EvaluationSet
from empo_rl.data.normal_form import numbers, shingles, tokens
from empo_rl.data.overlap import Finder, Near, Question
from tests.shared_data import rows


def finder_of(near=None, **sets):
    given = [
        EvaluationSet(name, tuple(Question(f"{name}:{n}", q) for n, q in enumerate(qs))) for name, qs in sets.items()
    ]
    return Finder(given, near or Near())


def found(finder, texts):
    result = []
    for number, text in enumerate(texts):
        question = Question(f"row:{number}", text)
        result.append([(f.kind, f.suite, f.other.place) for f in finder.look(question)])
        finder.keep(question)
    return result


SPHERE = "What is the volume of a sphere whose radius is 3 inches? Give it in cubic inches."


@pytest.mark.parametrize(
    ("second", "near", "kinds"),
    [
        (SPHERE, Near(), ["duplicates"]),
        (SPHERE.replace("3", "$3$").upper(), Near(), ["duplicates"]),
        (SPHERE.replace("Give", "Express"), Near(), ["near-duplicates"]),
        (SPHERE.replace("3", "5"), Near(), []),
        (SPHERE.replace("3", "5"), Near(numbers="any"), ["near-duplicates"]),
        (SPHERE.replace("Give", "Express"), Near(threshold=0.9), []),
        ("Who wrote it?", Near(), []),
    ],
)
def test_the_same_and_the_near_are_told_apart(second, near, kinds):
    (_, findings) = found(finder_of(near), [SPHERE, second])
    assert [kind for kind, *_ in findings] == kinds


def test_a_pair_just_at_the_threshold_is_near():
    first, second = "apples bread cheese", "apples bread dates"  # two of four words in common
    assert found(finder_of(Near(0.5, words=1)), [first, second])[1] == [("near-duplicates", None, "row:0")]
    assert found(finder_of(Near(0.51, words=1)), [first, second])[1] == []


def test_one_question_may_meet_several_sets_and_an_earlier_row():
    finder = finder_of(a=[SPHERE], b=["Who?", SPHERE.replace("Give", "Express")], c=["Who?"])
    first, second = found(finder, [SPHERE, SPHERE])
    assert first == [("overlap", "a", "a:0"), ("near-overlap", "b", "b:1")]
    assert set(second) == {*first, ("duplicates", None, "row:0")}
    assert len(second) == 3


def test_questions_without_a_token_are_the_same_and_near_nothing():
    assert found(finder_of(), ["$$", SPHERE, "\\,"])[2] == [("duplicates", None, "row:0")]


def test_an_index_for_any_threshold_finds_nearly_all_pairs_at_it():
    for threshold in (0.2, 0.3, 0.5, 0.7, 0.9, 1.0):
        near = Near(threshold)
        bands, rows_in_band = near.bands
        assert bands * rows_in_band <= 128
        assert near.recall(rows_in_band) >= 0.99


def test_on_real_questions_the_index_finds_what_comparing_all_with_all_finds():
    texts = [row["question"] for row in rows("train_prompts.jsonl")][:3000]
    by_index = {n for n, findings in enumerate(found(finder_of(Near(numbers="any")), texts)) if findings}
    runs = [shingles(tokens(text), 3) for text in texts]
    holders, by_all = defaultdict(list), set()  # every pair with a run in common is compared, none is guessed
    for number, mine in enumerate(runs):
        shared = Counter(other for run in mine for other in holders[run])
        if any(both / (len(mine) + len(runs[other]) - both) >= 0.5 for other, both in shared.items()):
            by_all.add(number)
        for run in mine:
            holders[run].append(number)
    assert by_index <= by_all
    assert len(by_all) > 20
    assert len(by_all - by_index) <= 0.01 * len(by_all)


def test_of_equal_rows_the_first_stays_and_pairs_hold_what_they_promise():
    texts = [row["question"] for row in rows("train_prompts.jsonl")][:1000]
    finder = finder_of()
    for number, text in enumerate(texts):
        question = Question(f"row:{number}", text)
        for finding in finder.look(question):
            assert finding.similarity >= 0.5
            assert numbers(finding.question.tokens) == numbers(finding.other.tokens)
            assert int(finding.other.place.split(":")[1]) < number
        finder.keep(question)


def test_the_real_training_questions_meet_an_olympiad_question_reworded():
    suites = rows("questions.jsonl")
    finder = finder_of(olympiadbench=[row["question"] for row in suites if row["source"] == "olympiadbench"])
    questions = [Question(row["id"], row["question"]) for row in rows("train_prompts.jsonl")]
    findings = [finding for question in questions for finding in finder.look(question)]
    assert [finding.kind for finding in findings] == ["near-overlap"]
    assert findings[0].similarity == pytest.approx(0.825, abs=0.005)  # 0.825 by comparing all with all
    assert "dominoes" in findings[0].question.text
    assert "dominoes" in findings[0].other.text
