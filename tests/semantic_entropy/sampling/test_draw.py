"""Questions without responses: which requests are made, the order of results, failures, and cancellation."""

from __future__ import annotations

import asyncio
import json
import threading
import weakref
from contextlib import closing
from dataclasses import replace
from itertools import islice
from types import MappingProxyType

import numpy as np
import pytest

from semantic_entropy import InputError, Sample, SamplingError, Scorer, Usage, aestimate, estimate, load_clusterer
from semantic_entropy.plugin import Equivalence, Request, SampleFailure, Verdict
from semantic_entropy.sampling import SamplingRun
from semantic_entropy.sampling.store import SampleStore
from tests.semantic_entropy.sampling.dice import Dice


def test_a_question_gives_a_result_with_its_samples():
    result = estimate(question="Capital of France?", sampler=Dice(), n=6)
    assert len(result.samples) == len(result.labels) == 6
    assert [sample.text for sample in result.samples] == list(result.answers)
    assert result.provenance.sampler == "dice"
    assert result.provenance.sampling_usage == Usage(6, 18, 12)
    assert "likelihood" in result.scores
    assert result.to_dict()["samples"][0]["logprobs"] == [-0.1, -0.2]
    assert result == asyncio.run(aestimate(question="Capital of France?", sampler=Dice(), n=6))


class ShortDice(Dice):
    """Cuts off every second response at the token limit."""

    def stream(self, requests):
        for number, (request, sample) in enumerate(super().stream(requests)):
            yield request, replace(sample, finish_reason="length" if number % 2 else "stop")


def test_responses_that_were_cut_off_at_the_token_limit_are_counted_in_a_warning():
    (warning,) = estimate(question="Capital of France?", sampler=ShortDice(), n=6).warnings
    assert warning.startswith("3 of 6 responses were cut off at the token limit (finish_reason: length)")
    assert estimate(question="Capital of France?", sampler=Dice(), n=6).warnings == ()


class Reasoner(Dice):
    """Its reasoning takes all tokens of the responses with these numbers."""

    def __init__(self, lost):
        super().__init__()
        self.lost = lost

    def stream(self, requests):
        for number, (request, sample) in enumerate(super().stream(requests)):
            empty = replace(sample, text=" ", logprobs=None, finish_reason="length", reasoning="so")
            yield request, empty if number in self.lost else sample


def test_a_sample_that_reached_the_token_limit_before_any_text_is_no_response():
    result = estimate(question="Capital of France?", sampler=Reasoner({1, 3}), n=6)
    assert len(result.answers) == len(result.samples) == 4
    assert result.warnings[0].startswith("4 of 6 responses: 2 responses reached the token limit before any text")
    assert "raise max_tokens" in result.warnings[0]
    assert result.provenance.sampling_usage == Usage(6, 18, 12)  # they were paid for
    with pytest.raises(SamplingError, match="no response from dice: .*6 responses reached the token limit before any"):
        estimate(question="Capital of France?", sampler=Reasoner(range(6)), n=6)


@pytest.mark.parametrize("lost", [{1, 3}, range(4)])
def test_samples_without_text_are_replaced_by_others_in_a_later_run(tmp_path, lost):
    def draw(sampler):
        with closing(SampleStore(tmp_path / "samples.jsonl")) as store:
            run = SamplingRun(sampler, 4, store)
            (sampled,) = run.groups(["Capital of France?"])
            return sampled, run

    sampled, run = draw(Reasoner(lost))
    assert (len(sampled.samples), run.responses, run.cut_off, run.empty) == (4 - len(lost), 4, len(lost), 0)
    assert sampled.failure.usage == Usage(len(lost), 3 * len(lost), 2 * len(lost))
    again = Reasoner(())
    sampled, run = draw(again)
    assert again.asked == [("Capital of France?", len(lost), 4)]  # from number 4, so no seed is used twice
    assert all(sample.text.strip() for sample in sampled.samples)
    assert (len(sampled.samples), sampled.failure, run.cut_off) == (4, None, 0)


def test_given_responses_give_a_result_without_samples():
    assert "samples" not in estimate(["a", "b"]).to_dict()


def test_results_are_in_order_and_equal_questions_are_requested_once():
    dice = Dice()
    questions = [f"question {i % 70}" for i in range(100)]
    results = estimate(question=questions, sampler=dice, n=3)
    assert len(dice.asked) == 70
    for question, result in zip(questions, results, strict=True):
        assert result.answers == estimate(question=question, sampler=Dice(), n=3).answers


class WeakSample(Sample):
    __slots__ = ("__weakref__",)


def test_stored_samples_do_not_stay_in_memory_and_an_equal_question_gets_them_again(tmp_path):
    class Counts(Dice):
        def stream(self, requests):
            for request, drawn in super().stream(requests):
                sample = WeakSample(drawn.text)
                alive.append(weakref.ref(sample))
                yield request, sample

    store, alive, answers, most = SampleStore(tmp_path / "s.jsonl"), [], {}, 0
    for drawn in SamplingRun(Counts(), 3, store).groups([f"question {i % 40}" for i in range(80)]):
        texts = [sample.text for sample in drawn.samples]
        assert answers.setdefault(drawn.question, texts) == texts
        most = max(most, sum(one() is not None for one in alive))
    assert (len(answers), len(alive), store.added, store.found) == (40, 120, 120, 0)
    assert most < 20
    store.close()


def test_only_samples_that_are_not_stored_are_requested(tmp_path):
    for n, asked in ((3, ("q", 3, 0)), (5, ("q", 2, 3)), (4, None)):
        dice = Dice()
        result = estimate(question="q", sampler=dice, n=n, samples=tmp_path / "s.jsonl")
        assert dice.asked == ([asked] if asked else [])
        assert result.answers == estimate(question="q", sampler=Dice(), n=n).answers


def test_a_refused_question_has_a_warning_and_the_others_are_measured():
    results = estimate(question=["a", "secret", "c"], sampler=Dice(refuses="secret"), n=3)
    assert [len(result.answers) for result in results] == [3, 0, 3]
    assert results[1].warnings[0] == "0 of 3 responses: refused"
    assert results[1].entropy != results[1].entropy  # nan


def test_fewer_samples_than_requested_are_measured_with_a_warning():
    result = estimate(question="q", sampler=Dice(short=2), n=6)
    assert (len(result.samples), result.warnings[0]) == (4, "4 of 6 responses: the limit is reached")


def test_no_response_to_any_question_is_an_error_with_the_reason():
    with pytest.raises(SamplingError, match="no response from dice: 0 of 3 responses: refused"):
        estimate(question=["secret", "secret 2"], sampler=Dice(refuses="secret"), n=3)


def test_when_a_sampler_fails_complete_groups_were_yielded_and_all_samples_are_stored(tmp_path):
    store = SampleStore(tmp_path / "s.jsonl")
    complete = []
    with pytest.raises(SamplingError, match="start it"):
        complete.extend(SamplingRun(Dice(breaks_after=7), 3, store).groups(["a", "b", "c", "d"]))
    assert [drawn.question for drawn in complete] == ["a", "b"]
    assert store.added == 7
    dice = Dice()
    assert len(list(SamplingRun(dice, 3, store).groups(["a", "b", "c", "d"]))) == 4
    assert dice.asked == [("c", 2, 1), ("d", 3, 0)]
    store.close()


@pytest.mark.parametrize("unusable", [float("nan"), 0.5, float("-inf")])
def test_unusable_logprobs_are_left_out_and_the_responses_are_measured(unusable):
    class Odd(Dice):
        def stream(self, requests):
            for request in requests:
                yield from [(request, Sample("x", (unusable,))), (request, Sample("y", (-0.1,)))]

    result = estimate(question="q", sampler=Odd(), n=2)
    assert result.answers == ("x", "y")
    assert "likelihood" not in result.scores
    assert "log-probabilities left out: sampler 'dice': logprobs of response 0 hold" in result.warnings[0]


class EndsEarly(Dice):
    """Takes the first two requests, and ends its stream after `most` samples without a failure."""

    cache_identity = f"{Dice.__module__}:Dice"  # another run finds its samples

    def __init__(self, most):
        super().__init__()
        self.most = most

    def stream(self, requests):
        yield from islice(super().stream(islice(requests, 2)), self.most)


def test_a_sampler_that_ends_early_loses_no_question_and_no_sample(tmp_path):
    store, questions = SampleStore(tmp_path / "s.jsonl"), ["a", "b", "c", "b", "d"]
    run = SamplingRun(EndsEarly(4), 3, store)
    drawn = {sampled.index: sampled for sampled in run.groups(questions)}
    assert [len(drawn[index].samples) for index in range(5)] == [3, 1, 0, 1, 0]
    assert [drawn[index].failure is None or drawn[index].failure.transient for index in range(5)] == [True] * 5
    assert "'dice' ended its stream without the missing samples" in drawn[2].problem
    assert (run.unfinished, store.added) == (["b", "c", "d"], 4)
    again = Dice()
    assert all(len(sampled.samples) == 3 for sampled in SamplingRun(again, 3, store).groups(questions))
    assert again.asked == [("b", 2, 1), ("c", 3, 0), ("d", 3, 0)]
    store.close()


def test_an_early_end_is_an_error_that_says_which_questions_have_no_response():
    with pytest.raises(SamplingError, match=r"'dice' ended its stream without .* 2 of 4 questions: 'c', 'd'\."):
        estimate(question=["a", "b", "c", "d"], sampler=EndsEarly(6), n=3)
    results = estimate(question=["a", "b"], sampler=EndsEarly(4), n=3)  # each question has a response
    assert results[1].warnings[0].startswith("1 of 3 responses: the sampler 'dice' ended its stream")


GOOD = Sample("x")


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        ("text", "yielded 'text'; yield pairs"),
        ((Request(9, "not asked", 2), GOOD), "yielded Sample.*which was not requested"),
        ((Request(0, "q", 5), GOOD), "which was not requested"),
        ((Request(0, "q", 2), "x"), "yielded 'x' for Request"),
        ((Request(0, "q", 2), Sample(None)), "drew the text None, a NoneType"),
        ((Request(0, "q", 2), Sample("x", finish_reason=3)), "each is a str or None"),
        ((Request(0, "q", 2), Sample("x", usage=3)), "usage is a Usage or None"),
        ((Request(0, "q", 2), Sample("x", "abc")), "logprobs 'abc'; they are a tuple of floats"),
        ((Request(0, "q", 2), Sample("x", hidden_state=3)), "hidden_state 3; they are a tuple of floats"),
        ((Request(0, "q", 2), SampleFailure(None)), "the reason is a text"),
        (OSError("disk"), r"raised OSError: disk in stream\(\)"),
        (SystemExit(0), r"raised SystemExit: 0 in stream\(\)"),
    ],
    ids=str,
)
def test_a_sampler_that_breaks_its_contract_is_named_and_earlier_samples_are_stored(tmp_path, outcome, says):
    class Broken(Dice):
        def stream(self, requests):
            for request in requests:
                yield request, GOOD
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome

    with pytest.raises(SamplingError, match=f"(?s)sampler 'dice' .*{says}"):
        estimate(question="q", sampler=Broken(), n=2, samples=tmp_path / "s.jsonl")
    store = SampleStore(tmp_path / "s.jsonl")
    assert store.get(Broken(), "q", 2) == [GOOD]
    store.close()


def test_the_numbers_of_numpy_in_a_sample_become_floats_that_json_accepts(tmp_path):
    class Arrays(Dice):
        def stream(self, requests):
            for request in requests:
                for _ in range(request.n):
                    yield request, Sample("x", np.array([-0.5, -1.0], np.float32), hidden_state=[1])

    result = estimate(question="q", sampler=Arrays(), n=2, samples=tmp_path / "s.jsonl")
    assert result.samples[0] == Sample("x", (-0.5, -1.0), hidden_state=(1.0,))
    assert result.scores["likelihood"] == 0.0
    assert json.loads(result.to_json())["samples"][0]["logprobs"] == [-0.5, -1.0]


def test_an_error_of_the_questions_is_not_an_error_of_the_sampler():
    def questions():
        yield "a"
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone"):
        list(SamplingRun(Dice(), 2).groups(questions()))


def test_the_result_has_the_versions_of_the_sampler():
    class Versioned(Dice):
        versions = MappingProxyType({"engine": "1.2"})

    assert estimate(question="q", sampler=Versioned(), n=2).provenance.versions["engine"] == "1.2"
    with Scorer(sampler=Versioned(), n=2) as scorer:
        assert "engine" not in scorer.estimate(["given", "given"]).provenance.versions


def test_requests_are_made_one_at_a_time_and_closing_stops_the_sampler():
    dice = Dice()
    groups = SamplingRun(dice, 2).groups(f"question {i}" for i in range(1000))
    assert [next(groups).index, next(groups).index] == [0, 1]
    groups.close()
    assert len(dice.asked) <= 3


def test_a_sampler_can_take_requests_in_its_own_thread():
    class Threaded(Dice):
        def stream(self, requests):
            drawn = []
            thread = threading.Thread(target=lambda: drawn.extend(super(Threaded, self).stream(requests)))
            thread.start()
            thread.join()
            yield from drawn

    questions = ["a", "b", "a", "c", "b"]
    groups = sorted(SamplingRun(Threaded(), 2).groups(questions), key=lambda drawn: drawn.index)
    assert [drawn.question for drawn in groups] == questions


def test_more_samples_than_requested_are_an_error():
    class Generous(Dice):
        def stream(self, requests):
            for request in requests:
                yield from [(request, Sample("x"))] * (request.n + 1)

    with pytest.raises(SamplingError, match="'dice' yielded Sample.* was not requested or is complete"):
        estimate(question="q", sampler=Generous(), n=2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({}, "needs responses"),
        ({"question": "q"}, "sampler="),
        ({"question": "", "sampler": Dice()}, "question 0 is ''"),
        ({"question": [], "sampler": Dice()}, "pass a question"),
        ({"question": ["q", None], "sampler": Dice()}, "question 1 is None"),
        ({"question": "q", "sampler": Dice(), "n": 0}, "n=0 must be at least 1"),
        ({"question": "q", "sampler": Dice(), "logprobs": [[-0.1]]}, "belong to responses"),
        ({"responses": ["a"], "samples": "s.jsonl"}, "pass sampler= too"),
        ({"question": "q", "sampler": 3}, "sampler=3 is not usable"),
    ],
)
def test_an_unusable_call_is_an_error_that_says_what_to_pass(call, says):
    with pytest.raises(InputError, match=says):
        estimate(**call)


def test_a_scorer_samples_and_closes_its_store_when_it_is_closed(tmp_path):
    with Scorer(sampler=Dice(), n=2, samples=tmp_path / "s.jsonl") as scorer:
        first = scorer.estimate(question="q")
        assert scorer.estimate(question="q") == first
        assert (scorer.store.added, scorer.store.found) == (2, 2)
    SampleStore(tmp_path / "s.jsonl").close()


def test_a_cancelled_task_requests_nothing_more_and_its_samples_are_stored(tmp_path):
    async def cancelled():
        dice = Dice(wait=0.05)
        questions = [f"question {i}" for i in range(50)]
        task = asyncio.create_task(aestimate(question=questions, sampler=dice, n=2, samples=tmp_path / "s.jsonl"))
        while dice.drawn < 3:  # noqa: ASYNC110  # a thread counts
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return dice

    dice = asyncio.run(cancelled())  # waits for its threads
    assert dice.drawn <= 5
    store = SampleStore(tmp_path / "s.jsonl")
    assert len(store.get(dice, "question 0", 9)) == 2
    store.close()


def test_a_cancelled_task_stops_in_the_middle_of_a_request():
    async def cancelled():
        dice = Dice(wait=0.01)
        task = asyncio.create_task(aestimate(question="q", sampler=dice, n=1000))
        while dice.drawn < 3:  # noqa: ASYNC110  # a thread counts
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return dice

    assert asyncio.run(cancelled()).drawn < 1000


def test_a_cancelled_task_asks_the_judge_nothing_more():
    class Waits(Equivalence):
        asked, held, go = 0, threading.Event(), threading.Event()

        def judge(self, pairs):
            self.asked += len(pairs)
            if self.asked == 3:
                self.held.set()
                assert self.go.wait(60)
            return [Verdict(False) for _ in pairs]

    async def cancelled():
        task = asyncio.create_task(aestimate(list("abcdef"), equivalence=judge, clusterer=one_pair_a_round))
        await asyncio.to_thread(judge.held.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        judge.go.set()

    judge, one_pair_a_round = Waits(), load_clusterer("representative", pick="random")
    asyncio.run(cancelled())  # waits for its threads
    assert judge.asked == 3


def test_cancelling_one_task_does_not_stop_another():
    async def both():
        dice = Dice(wait=0.01)
        one, other = (asyncio.create_task(aestimate(question=q, sampler=dice, n=20)) for q in "ab")
        while dice.drawn < 3:  # noqa: ASYNC110  # a thread counts
            await asyncio.sleep(0.01)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        return await other

    assert len(asyncio.run(both()).samples) == 20
