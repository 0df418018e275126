"""The sampler `hf` on a GPU, with a tiny model that has learned its answers."""

import math

import pytest

from semantic_entropy import estimate
from semantic_entropy.plugin import Request
from semantic_entropy.testing import check_sampler
from semantic_entropy_plugins.samplers.hf.hf_sampler import HFSampler
from tests.plugins.tiny_samplers import ANSWERS, CERTAIN, OPEN, trained

N = 40
LEARNED = {"max_tokens": 12, "seed": 0, "top_p": 0.9}  # without the rare tokens that the model has not learned to avoid


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return str(trained(tmp_path_factory.mktemp("taught")))


def samples(sampler, n=N):
    """The samples of each question."""
    drawn = {CERTAIN: [], OPEN: []}
    for request, sample in sampler.stream(Request(index, question, n) for index, question in enumerate(drawn)):
        drawn[request.question].append(sample)
    return drawn


def test_the_answers_and_their_log_probabilities_are_those_that_the_model_has_learned(learned):
    sampler = HFSampler(learned, **LEARNED)
    assert "float32" not in sampler.settings
    for question, drawn in samples(sampler).items():
        assert len(drawn) == N
        assert {sample.text for sample in drawn} == set(ANSWERS[question])
        for sample in drawn:  # one of two answers, and little doubt after the first token
            assert sum(sample.logprobs) == pytest.approx(math.log(1 / 2), abs=0.4)


def test_with_a_seed_two_runs_on_the_gpu_give_the_same_texts(learned):
    first, second = (
        {question: [sample.text for sample in drawn] for question, drawn in samples(HFSampler(learned, seed=7)).items()}
        for _ in range(2)
    )
    assert first == second


def test_greedy_texts_on_the_gpu_in_float32_are_those_of_the_cpu(learned, device):
    texts = [
        {
            question: [sample.text for sample in drawn]
            for question, drawn in samples(
                HFSampler(learned, temperature=0, device=where, dtype="float32"), n=1
            ).items()
        }
        for where in ("cpu", device)
    ]
    assert texts[0] == texts[1]


def test_the_sampler_on_the_gpu_keeps_the_contract_of_a_sampler(learned):
    check_sampler(HFSampler(learned, max_tokens=12, seed=0))


def test_the_entropy_of_sampled_answers_tells_a_certain_question_from_an_open_one(learned):
    sampler = HFSampler(learned, **LEARNED)
    certain, open_ = estimate(question=[CERTAIN, OPEN], sampler=sampler, n=N, equivalence=one_city)
    assert certain.entropy == 0
    assert open_.entropy == pytest.approx(math.log(2), abs=0.15)


def one_city(left, right):
    return left == right or ("Paris" in left and "Paris" in right)
