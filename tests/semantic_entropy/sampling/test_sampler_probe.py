"""The probe of `doctor --sampler`: what it says of samplers whose answers vary, repeat, fail, or lack evidence."""

import itertools
import math
import random

import pytest

from semantic_entropy.plugin import Sample, SampleFailure, Sampler, Usage
from semantic_entropy.sampling.sampler_probe import OPEN_QUESTION, probe_sampler


class Scripted(Sampler):
    """Yields what a function of the number of the response returns."""

    name = settings = "scripted"

    def __init__(self, answer, notes=()):
        self._answer, self._notes, self.requests = answer, notes, []
        self._count = itertools.count()

    @property
    def notes(self):
        return self._notes

    def stream(self, requests):
        for request in requests:
            self.requests.append(request)
            for i in range(request.n):
                outcome = self._answer(next(self._count), i)
                yield request, outcome if isinstance(outcome, Sample | SampleFailure) else Sample(outcome)
                if isinstance(outcome, SampleFailure):
                    break


def found(answer, n=4, **options):
    probe = probe_sampler(Scripted(answer, **options), n=n)
    return {finding.name: finding for finding in probe.findings()}


def test_answers_that_all_differ_are_fine():
    variety = found(lambda number, _: f"story {number}")["variety"]
    assert variety.ok
    assert variety.detail.startswith("8 different texts in 8 answers")


@pytest.mark.parametrize(
    ("logprobs", "stated"),
    [
        (None, "the log-probabilities, which could say how unlikely that is, are not known"),
        ((-2.0, -3.0), f"the chance of that for independent answers is 1 in 10^{35 / math.log(10):.0f}"),
        ((-0.1,), f"the chance of that for independent answers is {math.exp(-0.7):.2g}"),
        ((0.0, 0.0), "by its log-probabilities the model writes nothing else"),
        ((math.nan,), "are not known"),
    ],
)
def test_equal_answers_are_a_failure_and_their_chance_is_stated(logprobs, stated):
    variety = found(lambda *_: Sample("once", logprobs))["variety"]
    assert not variety.ok
    assert variety.needed
    assert variety.detail.startswith("all 8 answers are the same text, 'once': temperature 0, a cache, or a fixed seed")
    assert stated in variety.detail


def test_the_same_answers_again_are_a_cache_or_a_fixed_seed():
    order = [0, 1, 2, 3, 2, 3, 1, 0]  # in another order, as from several requests at once
    variety = found(lambda number, _: f"story {order[number]}")["variety"]
    assert not variety.ok
    assert variety.needed
    assert "4 different answers, and the second request got the same ones" in variety.detail


def test_a_few_equal_answers_are_a_warning():
    variety = found(lambda number, _: f"story {number % 5}")["variety"]
    assert not variety.ok
    assert not variety.needed
    assert variety.detail.startswith("5 different texts in 8 answers")


def test_a_second_request_draws_other_responses_of_a_seed():
    sampler = Scripted(lambda number, _: f"story {number}")
    probe_sampler(sampler, n=3)
    assert [(each.question, each.n, each.first) for each in sampler.requests] == [
        (OPEN_QUESTION, 3, 0),
        (OPEN_QUESTION, 3, 3),
    ]


def test_missing_responses_and_empty_ones_are_named():
    failed = found(lambda number, _: SampleFailure("no money", Usage(1)) if number == 2 else f"story {number}")
    assert failed["responses"].detail == "request 1: 2 of 4 responses: no money"
    nothing = found(lambda *_: SampleFailure("no money"))
    assert nothing["variety"].detail == "0 answers with a text, so there is nothing to compare"
    empty = found(lambda number, _: Sample("" if number % 2 else f"story {number}", finish_reason="length"))
    assert empty["length"].detail == "8 of 8 responses reached the token limit"
    assert empty["empty"].detail == "4 of 8 responses have no text"
    assert empty["variety"].ok


def test_log_probabilities_costs_and_notes_are_reported():
    draw = random.Random(0)

    def answer(number, _):
        top = tuple(((-0.1, -2.0),) if number else ((-0.1, -2.0, -3.0),))
        return Sample(f"story {draw.random()}", (-1.0,), top_logprobs=top, usage=Usage(1, 10, 5, 0.5))

    all_ = found(answer, notes=("a cache answers",))
    assert (all_["logprobs"].ok, all_["logprobs"].detail) == (True, "with 8 of 8 responses")
    assert all_["top_logprobs"].detail == "with 8 of 8 responses, 2 to 3 a token"
    assert all_["cost"].detail.startswith("8 requests, 80 tokens in, 40 out, cost 4; ")
    assert (all_["note"].detail, all_["note"].needed) == ("a cache answers", True)
    none = found(lambda number, _: f"story {number}")
    assert not none["logprobs"].ok
    assert not none["top_logprobs"].ok
    assert none["cost"].detail.startswith("not reported; ")
    zero = found(lambda number, _: Sample(f"story {number}", (0.0,)))
    assert "all are 0, as at temperature 0" in zero["logprobs"].detail
