r"""Grading with the real judges: gold answers against themselves and others, and the verdicts of another harness."""

from __future__ import annotations

import math

import pytest

from empo_rl.data.suites import SETS, SUITES
from empo_rl.evaluate.grades import Judges, grade
from empo_rl.evaluate.questions import EvaluationQuestion, load_questions
from empo_rl.evaluate.responses import Response
from empo_rl.evaluate.results import measure
from semantic_entropy import InputError, register
from semantic_entropy.plugin import FunctionEquivalence
from tests.shared_data import SHARED, rows


@pytest.fixture(scope="module")
def judges():
    made = Judges()
    yield made
    made.close()


def graded(judges, golds, texts, kind="math"):
    """The grades of one question for each gold answer, with these response texts."""
    questions = [EvaluationQuestion(f"q-{i}", f"Question {i}?", gold, f"q:{i}") for i, gold in enumerate(golds)]
    responses = [[Response(text, False, 1) for text in group] for group in texts]
    n = max(map(len, texts))
    return grade(questions, responses, n, kind, judges, lambda done, total: None)


def rewritten(gold):
    """The same mathematics in the notation of a model."""
    text = gold.strip().strip("$")
    return text.replace("\\frac", "\\dfrac").replace("\\left", "").replace("\\right", "").replace("\\%", "%")


@pytest.mark.parametrize("name", SUITES["math"])
def test_every_gold_answer_is_right_for_itself_also_rewritten_and_wrong_for_another_question(judges, name):
    rows("questions.jsonl")
    found = load_questions(SETS[name], SHARED / "data" / "questions.jsonl", source_column="source")
    golds = [question.gold for question in found]
    boxed = [[rf"So it is \boxed{{{form}}}." for form in (gold, rewritten(gold))] for gold in golds]
    found = graded(judges, golds, boxed)
    assert [(gold, one) for gold, one in zip(golds, found, strict=True) if one.right != (True, True)] == []
    every_fifth = range(0, len(golds), 5)  # comparing different answers takes time
    found = graded(
        judges, [golds[i] for i in every_fifth], [[rf"So it is \boxed{{{golds[i - 1]}}}."] for i in every_fifth]
    )
    verdicts = [
        (golds[i], golds[i - 1], one.right[0], one.undecided[0]) for i, one in zip(every_fifth, found, strict=True)
    ]
    assert [one for one in verdicts if one[2] != (one[0] == one[1]) or one[3]] == []


def test_real_chains_of_thought_get_the_grades_of_another_harness():
    real = [row for row in rows("samples.jsonl") if row["source"] == "qwen_math_cot_100"]
    judges = Judges()
    found = graded(judges, [row["gold"] for row in real], [row["responses"] for row in real])
    judges.close()
    verdicts = [
        (row["gold"], answer, ours, theirs)
        for row, one in zip(real, found, strict=True)
        for answer, ours, theirs in zip(one.answers, one.right, row["correct"], strict=True)
    ]
    assert len(verdicts) > 500
    # the other harness misses that "10{,}000" is 10000, and cannot read a gold answer that it has cut itself
    assert {one for one in verdicts if one[2] != one[3]} == {
        ("10{,}000", "10000", True, False),
        ("4:30p..", r"4:30 \text{ p.m.}", True, False),
    }


def test_letters_are_graded_as_letters(judges):
    texts = [r"so \boxed{B}", "The answer is (B).", r"\boxed{C}", "I do not know."]
    (one,) = graded(judges, ["B"], [texts], "choice")
    assert one.answers == ("B", "B", "C", None)
    assert one.right == (True, True, False, False)
    assert one.majority
    assert one.entropy == pytest.approx(-(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25)))


def test_a_wrong_majority_is_wrong_if_a_minority_is_right(judges):
    (one,) = graded(judges, [r"\frac{1}{2}"], [[r"\boxed{0.5}", r"\boxed{3}", r"\boxed{3}"]])
    assert one.right == (True, False, False)
    assert not one.majority


def test_a_missing_response_is_not_right(judges):
    here, none = graded(judges, ["1", "1"], [[r"\boxed{1}", r"\boxed{1}"], []])
    assert (here.present, none.present) == (2, 0)
    assert none.answers == (None, None)
    assert none.right == (False, False)
    assert math.isnan(none.entropy)


def test_a_missing_response_counts_in_the_denominator_of_the_mean(judges):
    sampled = graded(judges, ["1", "1"], [[r"\boxed{1}"] * 4, [r"\boxed{1}"]])
    greedy = graded(judges, ["1", "1"], [[r"\boxed{1}"]] * 2)
    found = measure(
        "sums", [EvaluationQuestion(f"q-{i}", "1?", "1", "q:1") for i in (0, 1)], greedy, sampled, 4, seed=0
    )
    assert found.numbers["mean@4"].value == (4 / 4 + 1 / 4) / 2
    assert found.counts["samples"]["missing"] == 3


def test_an_undecided_comparison_is_counted_and_not_right():
    def puzzled(left, right):
        return None if left == right[::-1] else left == right

    register("equivalence", "puzzled", lambda: FunctionEquivalence(puzzled))
    judges = Judges("puzzled")
    (one,) = graded(judges, ["ab"], [["ba", "ab", "cd"]], "text")
    assert one.undecided == (True, False, False)
    assert one.right == (False, True, False)


def test_free_text_needs_a_named_judge(judges):
    with pytest.raises(InputError, match="free text has no default judge.*--grader verifier"):
        judges.name("text")
    assert Judges("verifier").name("choice") == "exact"


def test_an_answer_that_would_hang_the_judge_is_undecided_and_the_others_are_graded():
    judges = Judges("math", {"timeout": 1.0})
    hang, right = graded(judges, ["x+7", "x+7"], [[r"\boxed{9^{9^{9^{9}}}}"], [r"\boxed{7+x}"]])
    judges.close()
    assert (hang.right, hang.undecided) == ((False,), (True,))
    assert (right.right, right.undecided) == ((True,), (False,))


def test_a_question_without_a_gold_answer_has_an_entropy_and_no_accuracy(judges):
    texts = [r"\boxed{1}", r"\boxed{1}", r"\boxed{1}", r"\boxed{2}"]
    known, unknown = graded(judges, ["1", None], [texts, texts])
    assert (unknown.right, unknown.majority, unknown.undecided) == ((None,) * 4, None, (False,) * 4)
    assert unknown.entropy == known.entropy == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    greedy = graded(judges, ["1", None], [[r"\boxed{2}"]] * 2)
    questions = [EvaluationQuestion(f"q-{i}", "1?", gold, "q:1") for i, gold in enumerate(("1", None))]
    found = measure("sums", questions, greedy, [known, unknown], 4, seed=0)
    assert (found.questions, found.golds) == (2, 1)
    assert found.numbers["pass@1"].value == 0
    assert found.numbers["mean@4"].value == 0.75
    assert found.numbers["majority@4"].value == 1
    assert found.numbers["semantic_entropy"].value == pytest.approx(known.entropy)
