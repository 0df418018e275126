"""`n="auto"`: how many responses are drawn, what is asked again, and what the results say."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from semantic_entropy import InputError, Sample, SamplingError, Scorer, Usage, aestimate, estimate, register
from semantic_entropy.cli import main
from semantic_entropy.io.fingerprints import run_choices
from semantic_entropy.plugin import Equivalence, Verdict
from semantic_entropy.sampling import StoppingRule
from semantic_entropy.tables import FieldNames
from semantic_entropy.types import by_first_appearance
from tests.semantic_entropy.sampling.dice import Dice

AUTO = {"n": "auto", "threshold": 0.6, "max_n": 9}


class Scripted(Dice):
    """Draws the letters of the question, one after the other, and then its last letter."""

    def stream(self, requests):
        for request in requests:
            self.asked.append((request.question, request.n, request.first))
            for number in range(request.first, request.first + request.n):
                self.drawn += 1
                letter = request.question[min(number, len(request.question) - 1)]
                yield request, Sample(letter, usage=Usage(1, 3, 2))


def test_agreement_and_clear_disagreement_stop_before_the_maximum():
    sampler = Scripted()
    agreed, differ = estimate(question=["aaaaaaaaa", "abcdefghi"], sampler=sampler, **AUTO)
    assert len(agreed.labels) < 9
    assert len(differ.labels) == 3
    assert sampler.drawn == len(agreed.labels) + len(differ.labels)
    assert (agreed.provenance.n, differ.provenance.n) == (len(agreed.labels), 3)
    assert (agreed.entropy, differ.entropy > 0.6) == (0.0, True)


def test_a_question_that_is_not_settled_is_asked_in_rounds_up_to_the_maximum():
    sampler = Scripted()
    result = estimate(question="aaabaaabb", sampler=sampler, **AUTO)
    assert sampler.asked[0] == ("aaabaaabb", 3, 0)
    assert sampler.asked[1:] == [("aaabaaabb", 2, first) for first in range(3, len(result.labels), 2)]
    assert [sample.text for sample in result.samples] == list("aaabaaabb"[: len(result.labels)])


def test_the_decision_at_the_maximum_is_that_of_a_fixed_number_of_responses():
    rule = {"n": "auto", "threshold": 0.67, "min_n": 2, "max_n": 4}
    question = "abab"  # ln 2 is close to the threshold
    found, fixed = (estimate(question=question, sampler=Scripted(), **choice) for choice in (rule, {"n": 4}))
    assert len(found.labels) == 4
    assert (found.entropy, found.labels, found.answer) == (fixed.entropy, fixed.labels, fixed.answer)


def test_the_usage_of_each_round_is_counted_once():
    result = estimate(question="aaabaaabb", sampler=Scripted(), **AUTO)
    assert result.provenance.sampling_usage == Usage(len(result.labels), 3 * len(result.labels), 2 * len(result.labels))


class Paid(Equivalence):
    """A judge with a cost for each verdict."""

    asked = 0

    def judge(self, pairs):
        self.asked += len(pairs)
        return [Verdict(pair.left == pair.right, usage=Usage(1, 10, 1)) for pair in pairs]


def test_the_verdicts_of_earlier_rounds_and_their_cost_are_in_the_result():
    judge = Paid()
    result = estimate(question="abaaabaacaa", sampler=Scripted(), equivalence=judge, **{**AUTO, "threshold": 0.68})
    assert len(result.labels) > 3
    assert result.provenance.asked == judge.asked
    assert result.provenance.usage == Usage(judge.asked, 10 * judge.asked, judge.asked)
    assert result.provenance.cached == 0


def test_stored_samples_are_used_first_and_a_second_run_draws_nothing(tmp_path):
    questions = ["aaaaaaaaa", "aaabaaabb", "abcdefghi"]
    first, second = Scripted(), Scripted()
    results = [
        list(estimate(question=questions, sampler=sampler, samples=tmp_path / "s.jsonl", **AUTO))
        for sampler in (first, second)
    ]
    assert first.drawn > 0 == second.drawn
    assert [result.labels for result in results[0]] == [result.labels for result in results[1]]
    more = Scripted()
    estimate(question=questions, sampler=more, samples=tmp_path / "s.jsonl", n=9)
    assert more.drawn == 27 - first.drawn


def test_a_run_that_the_server_ended_continues_with_its_stored_samples(tmp_path):
    broken, whole = Dice(breaks_after=4), Dice()
    with pytest.raises(SamplingError, match="the server is away"):
        estimate(question=["one", "two"], sampler=broken, samples=tmp_path / "s.jsonl", **AUTO)
    results = estimate(question=["one", "two"], sampler=whole, samples=tmp_path / "s.jsonl", **AUTO)
    assert whole.drawn == sum(len(result.labels) for result in results) - 4
    assert [r.answers for r in results] == [
        r.answers for r in estimate(question=["one", "two"], sampler=Dice(), **AUTO)
    ]


def test_a_refused_question_is_not_asked_in_every_round():
    sampler = Dice(refuses="secret")
    refused, _ = estimate(question=["secret?", "one?"], sampler=sampler, **AUTO)
    assert [asked for asked in sampler.asked if asked[0] == "secret?"] == [("secret?", 3, 0)]
    assert refused.answers == ()
    assert refused.warnings[0] == "0 of 3 responses: refused"


class Reasoner(Scripted):
    """The reasoning of its second response takes all tokens."""

    def stream(self, requests):
        for request, sample in super().stream(requests):
            is_lost = request.first == 0 and self.drawn == 2
            yield request, replace(sample, text="", finish_reason="length") if is_lost else sample


def test_a_response_without_text_is_replaced_by_another_one_in_the_next_round():
    sampler = Reasoner()
    result = estimate(question="aaabaaabb", sampler=sampler, **AUTO)
    assert sampler.asked[1] == ("aaabaaabb", 3, 3)
    assert len(result.labels) == result.provenance.n


def test_many_questions_with_repetitions_have_their_results_in_order():
    questions = [f"{'ab'[i % 2] * 9}" if i % 3 else f"question {i // 6}" for i in range(150)]
    results = estimate(question=questions, sampler=Scripted(), **AUTO)
    assert len(results) == 150
    for question, result in zip(questions, results, strict=True):
        assert [sample.text for sample in result.samples] == list(question[: len(result.samples)])


def test_aestimate_draws_the_same_responses():
    result = asyncio.run(aestimate(question="aaabaaabb", sampler=Scripted(), **AUTO))
    assert result == estimate(question="aaabaaabb", sampler=Scripted(), **AUTO)


def test_a_file_is_measured_and_continued(tmp_path):
    made = []
    register("sampler", "scripted", lambda: made.append(Scripted()) or made[-1])
    questions = ["aaaaaaaaa", "aaabaaabb", "abcdefghi"]
    source, output = tmp_path / "q.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"question": question}) + "\n" for question in questions))
    call = ["estimate", str(source), "-o", str(output), "--sampler", "scripted", "-n", "auto", "--threshold", "0.6"]
    run = CliRunner().invoke(main, [*call, "--max-n", "9"])
    assert run.exit_code == 0, run.output
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["question"] for row in rows] == questions
    assert [len(row["responses"]) for row in rows] == [row["provenance"]["n"] for row in rows]
    assert f"{made[0].drawn} of them new" in run.output
    again = CliRunner().invoke(main, [*call, "--max-n", "9"])
    assert "3 rows were done before" in again.output
    other = CliRunner().invoke(main, [*call, "--max-n", "7"])
    assert "auto(threshold=0.6, min_n=3, max_n=7)" in other.output
    assert other.exit_code != 0
    assert (made[1].drawn, made[2].drawn) == (0, 0)


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"n": "auto"}, "needs threshold="),
        ({"n": "many"}, "n='many' must be at least 1, or \"auto\""),
        ({"n": 5, "threshold": 0.5}, 'threshold=0.5 is for n="auto", and n is 5'),
        ({"n": "auto", "threshold": 2.4}, r"below ln\(max_n\) = 2.30"),
        ({"n": "auto", "threshold": float("nan")}, "threshold=nan"),
        ({"n": "auto", "threshold": 0.5, "min_n": 1}, "min_n is at least 2"),
        ({"n": "auto", "threshold": 0.5, "min_n": 12}, "at most max_n"),
        ({"n": "auto", "threshold": 0.5, "estimator": ["likelihood", "discrete"]}, 'name "discrete" first'),
    ],
)
def test_an_unusable_choice_is_an_error_that_says_what_to_pass(choices, says):
    with pytest.raises(InputError, match=says):
        estimate(question="q", sampler=Dice(), **choices)


def test_auto_needs_a_sampler():
    with pytest.raises(InputError, match="pass sampler= too"):
        Scorer(n="auto", threshold=0.5)


def test_the_choices_of_a_run_name_the_rule():
    with Scorer(sampler=Dice(), n="auto", threshold=0.5) as scorer:
        assert run_choices(scorer, FieldNames())[1]["n"] == "auto(threshold=0.5, min_n=3, max_n=10)"


def test_the_rounds_end_with_the_maximum():
    assert list(StoppingRule(0.5).rounds()) == [3, 5, 7, 9, 10]
    assert list(StoppingRule(0.5, 2, 2).rounds()) == [2]


def test_the_rule_is_settled_only_where_more_responses_hardly_change_the_decision():
    rule = StoppingRule(0.6)
    assert rule.is_settled(by_first_appearance("abc"), 7)
    assert not rule.is_settled(by_first_appearance("aab"), 7)
    assert rule.is_settled(by_first_appearance("aab"), 0)
    assert not rule.is_settled((-1, -1, -1), 7)
    assert not StoppingRule(1.2).is_settled(by_first_appearance("abc"), 7)  # 3 responses cannot exceed it
