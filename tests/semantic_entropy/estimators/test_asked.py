"""Estimators that ask the model: their prompts, how replies are read, and the sampler round."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from semantic_entropy import Scorer, estimate, load_estimator
from semantic_entropy.cli import main
from semantic_entropy.errors import EvidenceError, SamplingError
from semantic_entropy.plugin import Sample, SampleFailure, Sampler, Usage
from semantic_entropy.testing import check_estimator
from semantic_entropy.types import Evidence

NAMES = ("p_true", "self_assessment", "verbalised", "verbalised_agreement")


def reply(text, top=None):
    """A reply of one token, whose alternatives have these probabilities."""
    if top is None:
        return Sample(text)
    logprobs = tuple(math.log(p) for p in top.values())
    return Sample(text, top_logprobs=(logprobs,), top_tokens=(tuple(top),))


def evidence(answers, labels=None, question="Capital of Italy?", **more):
    labels = tuple(range(len(answers))) if labels is None else labels
    texts = tuple(answer or "" for answer in answers)
    return Evidence(labels, responses=texts, texts=texts, question=question, answers=tuple(answers), **more)


def score(name, given_reply, given_evidence):
    from dataclasses import replace

    estimator = load_estimator(name)
    (prompt,) = estimator.prompts(given_evidence)
    return estimator.estimate(replace(given_evidence, replies={prompt: given_reply}))


@pytest.mark.parametrize("name", NAMES)
def test_every_estimator_that_asks_keeps_the_contract(name):
    check_estimator(load_estimator(name))


def test_p_true_is_the_share_of_the_letter_of_true():
    found = score("p_true", reply("A) true", {"A": 0.6, " B": 0.1, "(A": 0.1, "Yes": 0.2}), evidence(["Rome", "Paris"]))
    assert found.value == pytest.approx(0.7 / 0.8)


def test_the_prompt_of_p_true_has_the_different_answers_and_the_most_frequent_one_as_the_answer():
    asked = evidence(["Paris", "Rome", None, "Rome"], (0, 1, 2, 1))
    (prompt,) = load_estimator("p_true").prompts(asked)
    assert "Brainstormed answers:\nRome\nParis\nPossible answer: Rome\n" in prompt
    (prompt,) = load_estimator("p_true").prompts(evidence(["Paris", "Rome"], greedy=Sample("Turin")))
    assert "Possible answer: Turin\n" in prompt


def test_self_assessment_is_the_share_of_the_largest_cluster_among_the_options():
    asked = evidence(["Paris", "Rome", "Rome", "It is Rome"], (0, 1, 1, 1))
    (prompt,) = load_estimator("self_assessment").prompts(asked)
    assert "A) Rome\nB) Paris\nC) None of the above\n" in prompt
    found = score("self_assessment", reply("B", {"A": 0.2, "B": 0.7, "C": 0.1}), asked)
    assert found.value == pytest.approx(0.2)


def test_self_assessment_has_at_most_as_many_options_as_servers_send_alternatives():
    (prompt,) = load_estimator("self_assessment").prompts(evidence([f"answer {i}" for i in range(40)]))
    assert "S) " in prompt
    assert "T) None of the above" in prompt
    assert "U) " not in prompt


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("85", 0.85),
        ("85%", 0.85),
        ("**85**", 0.85),
        ("85/100", 0.85),
        ("8.5/10", 0.85),
        ("0.85", 0.85),
        ("Confidence: 85.", 0.85),
        ("I am 85% sure, so 85", 0.85),
        ("1", 0.01),
        ("1.0", 1.0),
        ("0", 0.0),
        ("100", 1.0),
        ("between 80 and 90", None),
        ("850", None),
        ("-5", None),
        ("80-90", None),
        ("sure", None),
        ("", None),
        ("GPT4 says yes", None),
        ("1,000", None),
    ],
)
def test_the_stated_confidence_is_the_one_number_of_the_reply(text, stated):
    found = score("verbalised", reply(text), evidence(["Rome"]))
    if stated is None:
        assert math.isnan(found.value)
        assert "verbalised is unknown: the model replied" in found.note
    else:
        assert found.value == pytest.approx(stated)


def test_verbalised_agreement_is_the_mean_with_the_share_of_the_largest_cluster():
    assert score("verbalised_agreement", reply("90"), evidence(["Rome", "Rome"], (0, 0))).value == pytest.approx(0.95)
    assert score("verbalised_agreement", reply("90"), evidence(["Rome", "Paris"])).value == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("given_reply", "reason"),
    [
        (reply("I cannot say", {"I": 1.0}), "not with one of the letters A to B"),
        (reply("A city in Italy", {"A": 1.0}), "not with one of the letters A to B"),
        (reply("C", {"C": 1.0}), "not with one of the letters A to B"),
        (reply("A"), "must send top_logprobs"),
        (reply("A", {"A": 0.2, "The": 0.8}), "less than half of the probability"),
        (SampleFailure("refused by a filter"), "refused by a filter"),
    ],
)
def test_a_reply_without_an_option_gives_no_score_and_says_why(given_reply, reason):
    found = score("p_true", given_reply, evidence(["Rome"]))
    assert math.isnan(found.value)
    assert reason in found.note


@given(st.text(max_size=40))
def test_any_reply_is_a_score_in_0_to_1_or_none(text):
    for name in NAMES:
        found = score(name, reply(text, {"A": 0.5, "B": 0.5}), evidence(["Rome", "Paris"]))
        assert (math.isnan(found.value) and found.note) or 0 <= found.value <= 1


class Believer(Sampler):
    """Answers questions with "Rome" and "Paris" in turn, and prompts with a letter and a number."""

    name = "believer"

    def __init__(self, believes=0.8, fails=""):
        self.believes, self.fails, self.is_for_prompts, self.asked = believes, fails, False, []

    @property
    def settings(self):
        return ("believer", self.believes, self.is_for_prompts)

    def prompt_sampler(self):
        sampler = Believer(self.believes, self.fails)
        sampler.is_for_prompts, sampler.asked = True, self.asked
        return sampler

    def stream(self, requests):
        for request in requests:
            self.asked.append(request.question)
            for number in range(request.first, request.first + request.n):
                if self.is_for_prompts and self.fails:
                    yield request, SampleFailure("HTTP 500", transient=self.fails == "transient")
                    break
                if not self.is_for_prompts:
                    yield request, Sample(("Rome", "Paris")[number % 2], usage=Usage(1, 2, 3))
                    continue
                text = "80" if "whole number" in request.question else "A"
                top = {"A": self.believes, "B": 1 - self.believes}
                yield (
                    request,
                    Sample(
                        text,
                        top_tokens=(tuple(top),),
                        top_logprobs=(tuple(map(math.log, top.values())),),
                        usage=Usage(1, 10, 1),
                    ),
                )


def test_the_sampler_of_the_call_replies_and_its_cost_is_reported():
    result = estimate(question="Capital of Italy?", sampler=Believer(), n=4, estimator=["discrete", *NAMES])
    assert result.scores == pytest.approx(
        {
            "discrete": math.log(2),
            "p_true": 0.8,
            "self_assessment": 0.8,
            "verbalised": 0.8,
            "verbalised_agreement": 0.65,
        }
    )
    assert result.provenance.replies_usage == Usage(3, 30, 3)  # both verbalised scores have one prompt
    assert result.provenance.sampling_usage == Usage(4, 8, 12)
    assert result.provenance.replies_by.startswith("believer")
    assert type(result).from_dict(json.loads(result.to_json())) == result


def test_given_responses_are_asked_about_too():
    result = estimate(["Rome", "Rome", "Oslo"], question="Capital of Italy?", sampler=Believer(0.9), estimator="p_true")
    assert result.scores["p_true"] == pytest.approx(0.9)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_sampler_or_a_question_the_error_says_what_to_pass(name):
    with pytest.raises(EvidenceError, match="pass sampler="):
        estimate(["Rome", "Paris"], question="Capital of Italy?", estimator=name)
    with pytest.raises(EvidenceError, match="pass question="):
        estimate(["Rome", "Paris"], estimator=name, sampler=Believer())


def test_a_sampler_that_asks_no_prompts_is_an_error():
    class Plain(Believer):
        prompt_sampler = Sampler.prompt_sampler

    with pytest.raises(SamplingError, match="cannot ask the prompts of estimators"):
        estimate(["Rome"], question="Capital of Italy?", sampler=Plain(), estimator="p_true")


def test_no_valid_answer_asks_nothing_and_has_no_score():
    sampler = Believer()
    result = estimate(["", "I don't know"], question="Capital?", sampler=sampler, estimator="p_true")
    assert math.isnan(result.scores["p_true"])
    assert "p_true is unknown: there is no valid answer to ask about" in result.warnings
    assert sampler.asked == []


def test_a_refused_prompt_is_a_warning_and_an_outage_an_error():
    result = estimate(["Rome"], question="Capital?", sampler=Believer(fails="refused"), estimator="p_true")
    assert math.isnan(result.scores["p_true"])
    assert "p_true is unknown: HTTP 500" in result.warnings
    with pytest.raises(SamplingError, match="1 of 1 prompts have no reply: HTTP 500"):
        estimate(["Rome"], question="Capital?", sampler=Believer(fails="transient"), estimator="p_true")


def test_replies_are_kept_in_the_sample_store(tmp_path):
    store = tmp_path / "samples.jsonl"
    scores = []
    for _ in range(2):
        sampler = Believer()
        with Scorer(sampler=sampler, samples=store, n=2, estimator=["discrete", *NAMES]) as scorer:
            scores.append(scorer.estimate(question="Capital of Italy?").scores)
    assert scores[0] == scores[1]
    assert sampler.asked == []  # the second run found all responses and replies


def test_each_prompt_of_a_batch_is_asked_once():
    sampler = Believer()
    with Scorer(sampler=sampler, estimator="p_true") as scorer:
        results = scorer.estimate([["Rome"], ["Rome"]], question=["Capital?", "Capital?"])
    assert len(sampler.asked) == 1
    assert [result.provenance.replies_usage for result in results] == [Usage(1, 10, 1), None]


def test_rounds_of_adaptive_sampling_ask_only_at_the_end():
    sampler = Believer()
    chosen = {"n": "auto", "threshold": 0.3, "max_n": 9}
    result = estimate(question="Capital?", sampler=sampler, estimator=["discrete", "verbalised"], **chosen)
    assert result.scores["verbalised"] == 0.8
    assert sum("whole number" in asked for asked in sampler.asked) == 1


def test_the_command_line_names_the_missing_sampler(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_text('{"question": "Capital?", "responses": ["Rome", "Paris"]}\n')
    run = CliRunner().invoke(main, ["estimate", str(file), "-o", str(tmp_path / "out.jsonl"), "--estimator", "p_true"])
    assert run.exit_code != 0
    assert "pass sampler=" in run.output
