"""Tokens drawn from known logits: their frequency, their log-probability, and the seed."""

from __future__ import annotations

import random
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from semantic_entropy_plugins.samplers.hf.token_draws import DrawOptions, TokenDrawer

LOGITS = torch.tensor([1.0, 0.0, -1.0, 2.0, -torch.inf, 0.5])


def draw_options(**options):
    drawn = {"temperature": 1.0, "top_p": 1.0, "top_k": None, "max_tokens": 1, "stop": None, "seed": 0}
    kept = {"logprobs": "drawn", "end_token": True, "token_entropies": True, "hidden_states": False}
    return DrawOptions(**{**drawn, **kept, **options})


def make_drawer(rows, end_ids=(), decode=str, cancelled=None, **options):
    keys = [("q", number) for number in range(rows)]
    return TokenDrawer(
        draw_options(**options), keys, end_ids, torch.device("cpu"), decode, cancelled or threading.Event()
    )


def draw_once(logits, **options):
    """The token that each row draws from its logits in one step."""
    drawer = make_drawer(len(logits), **options)
    scores = logits.clone()
    drawer.draw(scores)
    tokens = drawer.responses()
    assert scores.argmax(-1).tolist() == [one.ids[0] for one in tokens]  # the token that `generate` chooses
    assert (scores.exp().sum(-1) == 1).all()
    return tokens


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"temperature": 3.0, "top_k": 4}, {"top_p": 0.8}])
def test_tokens_are_drawn_with_their_probabilities(options):
    rows = 20_000
    tokens = draw_once(LOGITS.repeat(rows, 1), **options)
    expected = probabilities(**options)
    for token, p in enumerate(expected.tolist()):
        share = sum(one.ids[0] == token for one in tokens) / rows
        assert abs(share - p) <= 4.5 * (p * (1 - p) / rows) ** 0.5


def probabilities(temperature=1.0, top_k=None, top_p=1.0, **_):
    """By the filters of transformers, in the order of `generate`."""
    scores = LOGITS[None]
    for drawer, value, neutral in (
        (TemperatureLogitsWarper, temperature, 1.0),
        (TopKLogitsWarper, top_k, None),
        (TopPLogitsWarper, top_p, 1.0),
    ):
        scores = drawer(value)(None, scores) if value != neutral else scores
    return scores.softmax(-1)[0]


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.3}, {"top_k": 2}, {"top_p": 0.6}, {"temperature": 2.0, "top_k": 4, "top_p": 0.9}]
)
def test_log_probabilities_and_entropies_belong_to_the_drawn_distribution(options):
    expected = probabilities(**options)
    entropy = -(expected[expected > 0] * expected[expected > 0].log()).sum().item()
    for one in draw_once(LOGITS.repeat(50, 1), **options):
        assert one.logprobs == [pytest.approx(expected[one.ids[0]].log().item(), abs=1e-6)]
        assert one.entropies == [pytest.approx(entropy, abs=1e-6)]


@pytest.mark.parametrize("k", [1, 2, 5, 6, 9])
@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.3, "top_k": 3}, {"logprobs": "model", "top_k": 1}, {"logprobs": False}]
)
def test_the_most_probable_tokens_have_the_distribution_of_the_log_probabilities(options, k):
    expected = LOGITS.softmax(-1) if options.get("logprobs") == "model" else probabilities(**options)
    possible = sorted(expected[expected > 0].log().tolist(), reverse=True)[:k]  # one token has probability 0
    for one in draw_once(LOGITS.repeat(3, 1), top_logprobs=k, **options):
        assert one.top == [pytest.approx(possible, abs=1e-6)]


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that an operation returns."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple | list) else (out,):
            if isinstance(each, torch.Tensor):
                self.largest = max(self.largest, each.numel())
        return out


def test_no_tensor_has_the_whole_vocabulary_of_more_than_one_step():
    rows, steps, vocabulary, k = 4, 30, 1000, 15
    with LargestTensor() as recorded:
        drawer = make_drawer(rows, max_tokens=steps, top_logprobs=k)
        for _ in range(steps):
            drawer.draw(torch.randn(rows, vocabulary))
        assert [len(one.top) for one in drawer.responses()] == [steps] * rows
    assert recorded.largest <= rows * vocabulary  # of one step; the kept numbers are rows x steps x k


@pytest.mark.parametrize("options", [{"logprobs": "model", "temperature": 0.3, "top_k": 2}, {"temperature": 0.0}])
def test_log_probabilities_belong_to_the_model_if_requested_and_at_temperature_zero(options):
    expected = LOGITS.softmax(-1)
    for one in draw_once(LOGITS.repeat(50, 1), **options):
        assert one.logprobs == [pytest.approx(expected[one.ids[0]].log().item(), abs=1e-6)]
        assert one.entropies == [pytest.approx(torch.special.entr(expected).sum().item(), abs=1e-6)]


def test_at_temperature_zero_the_likeliest_token_is_drawn():
    assert {one.ids[0] for one in draw_once(LOGITS.repeat(9, 1), temperature=0.0)} == {3}


class FixedRandom(random.Random):
    """Always returns the same number."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def random(self):
        return self.number


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([-torch.inf, -80.0, -20.0, 0.0, 1.0]), min_size=2, max_size=30),
    st.sampled_from([0.0, 5e-324, 0.5, 1 - 2**-24, 1 - 2**-53]),
)
def test_a_token_of_probability_zero_is_never_drawn(logits, number):
    if max(logits) == -torch.inf:
        logits[0] = 0.0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("semantic_entropy_plugins.samplers.hf.token_draws.random.Random", lambda _: FixedRandom(number))
        (one,) = draw_once(torch.tensor([logits]))
    assert logits[one.ids[0]] > -torch.inf


def test_a_rare_token_of_a_large_vocabulary_is_not_rounded_away():
    logits = torch.zeros(1, 150_000)
    logits[0, -1] = -6.0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "semantic_entropy_plugins.samplers.hf.token_draws.random.Random", lambda _: FixedRandom(1 - 1e-9)
        )
        assert draw_once(logits)[0].ids == [149_999]


def test_with_a_seed_a_response_depends_only_on_its_question_and_number():
    many = [one.ids for one in draw_all(make_drawer(6, max_tokens=20))]
    assert [one.ids for one in draw_all(make_drawer(3, max_tokens=20))] == many[:3]
    assert len({tuple(ids) for ids in many}) == 6
    assert [one.ids for one in draw_all(make_drawer(6, max_tokens=20, seed=1))] != many
    assert [one.ids for one in draw_all(make_drawer(6, max_tokens=20, seed=None))] != many


def draw_all(drawer):
    """Draw all steps from the same logits, as `generate` does."""
    while len(drawer.active):
        drawer.draw(LOGITS.repeat(len(drawer.active), 1))
        drawer.finished()
        drawer.active = drawer.active[drawer.unfinished]
    return drawer.responses()


def test_global_random_generators_are_not_used():
    torch.manual_seed(3)
    random.seed(3)
    before = torch.get_rng_state(), random.getstate()
    draw_all(make_drawer(4, max_tokens=5))
    draw_all(make_drawer(4, max_tokens=5, seed=None))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_a_row_ends_with_its_first_end_token():
    tokens = draw_all(make_drawer(200, end_ids=(0, 5), max_tokens=6))
    for one in tokens:
        ends = [place for place, token in enumerate(one.ids) if token in (0, 5)]
        assert ends == ([len(one.ids) - 1] if one.ended else [])
        assert one.ended or len(one.ids) == 6
        assert len(one.logprobs) == len(one.entropies) == len(one.ids)
    assert {one.ended for one in tokens} == {True, False}


def test_a_row_ends_when_its_text_contains_a_stop_string_of_several_tokens():
    def decode(ids):
        return "".join("abcdef"[token] for token in ids)

    for one in draw_all(make_drawer(200, decode=decode, stop=("da", "ff"), max_tokens=12)):
        text = decode(one.ids)
        assert "da" not in text[:-1]
        assert "ff" not in text[:-1]
        assert text.endswith(("da", "ff")) or len(text) == 12
        assert not one.ended


def test_a_call_ends_when_half_of_its_rows_are_done_or_it_is_cancelled():
    cancelled = threading.Event()
    drawer = make_drawer(4, end_ids=(3,), cancelled=cancelled, max_tokens=9)
    drawer.draw(torch.tensor([[0.0, -99, -99, 99], [99, 0, 0, 0], [99, 0, 0, 0], [99, 0, 0, 0]]))
    assert drawer.finished().tolist() == [True, False, False, False]
    drawer.drops_rows = True
    assert drawer.finished().tolist() == [True, False, False, False]
    drawer.draw(torch.tensor([[0.0, 0, 0, 0], [0, -99, -99, 99], [99, 0, 0, 0], [99, 0, 0, 0]]))
    assert drawer.finished().tolist() == [True] * 4
    assert drawer.unfinished.tolist() == [2, 3]
    drawer.drops_rows = False
    assert drawer.finished().tolist() == [True, True, False, False]
    cancelled.set()
    assert drawer.finished().tolist() == [True] * 4


def test_a_step_after_the_last_changes_nothing():
    drawer = make_drawer(2)
    drawer.draw(LOGITS.repeat(2, 1))
    before = drawer.responses()
    drawer.draw(LOGITS.repeat(2, 1))
    assert drawer.responses() == before
