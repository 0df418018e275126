from collections import Counter, defaultdict

import pytest

from empo_rl.data.comparison_sets import EvaluationSet
from empo_rl.data.normal_form import numbers, shingles, tokens
from empo_rl.data.overlap import ComparedQuestion, NearCriterion, OverlapIndex
from tests.shared_data import rows


def index_of(near=None, **sets):
    given = [
        EvaluationSet(name, tuple(ComparedQuestion(f"{name}:{n}", q) for n, q in enumerate(qs)))
        for name, qs in sets.items()
    ]
    return OverlapIndex(given, near or NearCriterion())


def pairs_of(index, texts):
    result = []
    for number, text in enumerate(texts):
        question = ComparedQuestion(f"row:{number}", text)
        result.append([(f.kind, f.suite, f.other.place) for f in index.find(question)])
        index.add(question)
    return result


SPHERE = "What is the volume of a sphere whose radius is 3 inches? Give it in cubic inches."


@pytest.mark.parametrize(
    ("second", "near", "kinds"),
    [
        (SPHERE, NearCriterion(), ["duplicates"]),
        (SPHERE.replace("3", "$3$").upper(), NearCriterion(), ["duplicates"]),
        (SPHERE.replace("Give", "Express"), NearCriterion(), ["near-duplicates"]),
        (SPHERE.replace("3", "5"), NearCriterion(), []),
        (SPHERE.replace("3", "5"), NearCriterion(numbers="any"), ["near-duplicates"]),
        (SPHERE.replace("Give", "Express"), NearCriterion(threshold=0.9), []),
        ("Who wrote it?", NearCriterion(), []),
    ],
)
def test_equal_and_near_questions_are_distinguished(second, near, kinds):
    (_, pairs) = pairs_of(index_of(near), [SPHERE, second])
    assert [kind for kind, *_ in pairs] == kinds


def test_a_pair_exactly_at_the_threshold_is_near():
    first, second = "apples bread cheese", "apples bread dates"  # 2 of 4 words in common
    assert pairs_of(index_of(NearCriterion(0.5, words=1)), [first, second])[1] == [("near-duplicates", None, "row:0")]
    assert pairs_of(index_of(NearCriterion(0.51, words=1)), [first, second])[1] == []


def test_one_question_can_overlap_several_sets_and_an_earlier_row():
    index = index_of(a=[SPHERE], b=["Who?", SPHERE.replace("Give", "Express")], c=["Who?"])
    first, second = pairs_of(index, [SPHERE, SPHERE])
    assert first == [("overlap", "a", "a:0"), ("near-overlap", "b", "b:1")]
    assert set(second) == {*first, ("duplicates", None, "row:0")}
    assert len(second) == 3


def test_questions_without_tokens_are_equal_and_near_no_other_question():
    assert pairs_of(index_of(), ["$$", SPHERE, "\\,"])[2] == [("duplicates", None, "row:0")]


def test_the_index_has_a_recall_of_99_percent_at_any_threshold():
    for threshold in (0.2, 0.3, 0.5, 0.7, 0.9, 1.0):
        near = NearCriterion(threshold)
        bands, rows_in_band = near.bands
        assert bands * rows_in_band <= 128
        assert near.recall(rows_in_band) >= 0.99


def test_on_real_questions_the_index_finds_the_pairs_that_an_exhaustive_comparison_finds():
    texts = [row["question"] for row in rows("train_prompts.jsonl")][:3000]
    by_index = {n for n, pairs in enumerate(pairs_of(index_of(NearCriterion(numbers="any")), texts)) if pairs}
    runs = [shingles(tokens(text), 3) for text in texts]
    holders, by_all = defaultdict(list), set()  # compare every pair that shares a run
    for number, mine in enumerate(runs):
        shared = Counter(other for run in mine for other in holders[run])
        if any(both / (len(mine) + len(runs[other]) - both) >= 0.5 for other, both in shared.items()):
            by_all.add(number)
        for run in mine:
            holders[run].append(number)
    assert by_index <= by_all
    assert len(by_all) > 20
    assert len(by_all - by_index) <= 0.01 * len(by_all)


def test_every_pair_reaches_the_threshold_has_equal_numbers_and_an_earlier_row():
    texts = [row["question"] for row in rows("train_prompts.jsonl")][:1000]
    index = index_of()
    for number, text in enumerate(texts):
        question = ComparedQuestion(f"row:{number}", text)
        for pair in index.find(question):
            assert pair.similarity >= 0.5
            assert numbers(pair.question.tokens) == numbers(pair.other.tokens)
            assert int(pair.other.place.split(":")[1]) < number
        index.add(question)


def test_a_reworded_olympiad_question_is_found_among_the_real_training_questions():
    suites = rows("questions.jsonl")
    index = index_of(olympiadbench=[row["question"] for row in suites if row["source"] == "olympiadbench"])
    questions = [ComparedQuestion(row["id"], row["question"]) for row in rows("train_prompts.jsonl")]
    pairs = [pair for question in questions for pair in index.find(question)]
    assert [pair.kind for pair in pairs] == ["near-overlap"]
    assert pairs[0].similarity == pytest.approx(0.825, abs=0.005)  # 0.825 in an exhaustive comparison
    assert "dominoes" in pairs[0].question.text
    assert "dominoes" in pairs[0].other.text
