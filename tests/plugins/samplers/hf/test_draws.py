"""Tokens drawn from known logits: how often, by which probability, and under which seed."""

from __future__ import annotations

import random
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from semantic_entropy_plugins.samplers.hf.token_draws import Draws, How

LOGITS = torch.tensor([1.0, 0.0, -1.0, 2.0, -torch.inf, 0.5])


def how(**options):
    usual = {"temperature": 1.0, "top_p": 1.0, "top_k": None, "max_tokens": 1, "stop": (), "seed": 0}
    return How(**{**usual, "own": False, "entropies": True, **options})


def draws(rows, ends=(), decode=str, halt=None, **options):
    keys = [("q", number) for number in range(rows)]
    return Draws(how(**options), keys, ends, torch.device("cpu"), decode, halt or threading.Event())


def drawn(logits, **options):
    """What each row draws in one step from its logits."""
    made = draws(len(logits), **options)
    scores = logits.clone()
    made.draw(scores)
    tokens = made.tokens()
    assert scores.argmax(-1).tolist() == [one.ids[0] for one in tokens]  # what `generate` will take
    assert (scores.exp().sum(-1) == 1).all()
    return tokens


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"temperature": 3.0, "top_k": 4}, {"top_p": 0.8}])
def test_tokens_come_as_often_as_their_probabilities_say(options):
    rows = 20_000
    tokens = drawn(LOGITS.repeat(rows, 1), **options)
    expected = probabilities(**options)
    for token, p in enumerate(expected.tolist()):
        share = sum(one.ids[0] == token for one in tokens) / rows
        assert abs(share - p) <= 4.5 * (p * (1 - p) / rows) ** 0.5


def probabilities(temperature=1.0, top_k=None, top_p=1.0, **_):
    """By transformers' own filters, in the order in which `generate` applies them."""
    scores = LOGITS[None]
    for made, value, neutral in (
        (TemperatureLogitsWarper, temperature, 1.0),
        (TopKLogitsWarper, top_k, None),
        (TopPLogitsWarper, top_p, 1.0),
    ):
        scores = made(value)(None, scores) if value != neutral else scores
    return scores.softmax(-1)[0]


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.3}, {"top_k": 2}, {"top_p": 0.6}, {"temperature": 2.0, "top_k": 4, "top_p": 0.9}]
)
def test_what_is_known_of_a_token_is_of_the_distribution_it_was_drawn_from(options):
    expected = probabilities(**options)
    entropy = -(expected[expected > 0] * expected[expected > 0].log()).sum().item()
    for one in drawn(LOGITS.repeat(50, 1), **options):
        assert one.logprobs == [pytest.approx(expected[one.ids[0]].log().item(), abs=1e-6)]
        assert one.entropies == [pytest.approx(entropy, abs=1e-6)]


@pytest.mark.parametrize("options", [{"own": True, "temperature": 0.3, "top_k": 2}, {"temperature": 0.0}])
def test_or_of_the_models_own_as_it_always_is_where_nothing_is_left_to_chance(options):
    expected = LOGITS.softmax(-1)
    for one in drawn(LOGITS.repeat(50, 1), **options):
        assert one.logprobs == [pytest.approx(expected[one.ids[0]].log().item(), abs=1e-6)]
        assert one.entropies == [pytest.approx(torch.special.entr(expected).sum().item(), abs=1e-6)]


def test_at_temperature_zero_the_likeliest_token_is_drawn():
    assert {one.ids[0] for one in drawn(LOGITS.repeat(9, 1), temperature=0.0)} == {3}


class Given(random.Random):
    """A source of one number."""

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
def test_no_number_draws_a_token_of_probability_zero(logits, number):
    if max(logits) == -torch.inf:
        logits[0] = 0.0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("semantic_entropy_plugins.samplers.hf.token_draws.random.Random", lambda _: Given(number))
        (one,) = drawn(torch.tensor([logits]))
    assert logits[one.ids[0]] > -torch.inf


def test_a_rare_token_of_a_large_vocabulary_is_not_rounded_away():
    logits = torch.zeros(1, 150_000)
    logits[0, -1] = -6.0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("semantic_entropy_plugins.samplers.hf.token_draws.random.Random", lambda _: Given(1 - 1e-9))
        assert drawn(logits)[0].ids == [149_999]


def test_a_seed_settles_each_response_by_its_question_and_number_alone():
    many = [one.ids for one in walk(draws(6, max_tokens=20))]
    assert [one.ids for one in walk(draws(3, max_tokens=20))] == many[:3]
    assert len({tuple(ids) for ids in many}) == 6
    assert [one.ids for one in walk(draws(6, max_tokens=20, seed=1))] != many
    assert [one.ids for one in walk(draws(6, max_tokens=20, seed=None))] != many


def walk(made):
    """Draw from the same logits, step by step, as `generate` would."""
    while len(made.active):
        made.draw(LOGITS.repeat(len(made.active), 1))
        made.finished()
        made.active = made.active[made.alive]
    return made.tokens()


def test_no_generator_but_its_own_is_used():
    torch.manual_seed(3)
    random.seed(3)
    before = torch.get_rng_state(), random.getstate()
    walk(draws(4, max_tokens=5))
    walk(draws(4, max_tokens=5, seed=None))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_a_row_ends_with_the_first_of_several_end_tokens_and_keeps_it():
    tokens = walk(draws(200, ends=(0, 5), max_tokens=6))
    for one in tokens:
        ends = [place for place, token in enumerate(one.ids) if token in (0, 5)]
        assert ends == ([len(one.ids) - 1] if one.ended else [])
        assert one.ended or len(one.ids) == 6
        assert len(one.logprobs) == len(one.entropies) == len(one.ids)
    assert {one.ended for one in tokens} == {True, False}


def test_a_row_ends_where_its_text_holds_a_stop_string_however_many_tokens_that_takes():
    def decode(ids):
        return "".join("abcdef"[token] for token in ids)

    for one in walk(draws(200, decode=decode, stop=("da", "ff"), max_tokens=12)):
        text = decode(one.ids)
        assert "da" not in text[:-1]
        assert "ff" not in text[:-1]
        assert text.endswith(("da", "ff")) or len(text) == 12
        assert not one.ended


def test_a_call_ends_when_half_of_its_rows_are_done_or_nobody_wants_the_rest():
    halt = threading.Event()
    made = draws(4, ends=(3,), halt=halt, max_tokens=9)
    made.draw(torch.tensor([[0.0, -99, -99, 99], [99, 0, 0, 0], [99, 0, 0, 0], [99, 0, 0, 0]]))
    assert made.finished().tolist() == [True, False, False, False]
    made.thins = True
    assert made.finished().tolist() == [True, False, False, False]
    made.draw(torch.tensor([[0.0, 0, 0, 0], [0, -99, -99, 99], [99, 0, 0, 0], [99, 0, 0, 0]]))
    assert made.finished().tolist() == [True] * 4
    assert made.alive.tolist() == [2, 3]
    made.thins = False
    assert made.finished().tolist() == [True, True, False, False]
    halt.set()
    assert made.finished().tolist() == [True] * 4


def test_a_step_too_many_changes_nothing():
    made = draws(2)
    made.draw(LOGITS.repeat(2, 1))
    before = made.tokens()
    made.draw(LOGITS.repeat(2, 1))
    assert made.tokens() == before
