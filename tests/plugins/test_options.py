"""Checks of options, and how a component names itself with its options."""

from __future__ import annotations

import math

import numpy as np
import pytest

from semantic_entropy.plugin import errors
from semantic_entropy_plugins.judge.llm_judge import Judge
from semantic_entropy_plugins.options import (
    checked_choice,
    checked_logprobs,
    checked_number,
    checked_seed,
    checked_stops,
    checked_temperature,
    checked_text,
    checked_top_p,
    describe_component,
)
from semantic_entropy_plugins.samplers.openai_sampler import OpenAISampler


@pytest.mark.parametrize(
    ("value", "limits", "checked"),
    [
        (3, {"least": 1, "whole": True}, 3),
        (0.5, {"least": 0, "most": 1}, 0.5),
        (np.int64(3), {"least": 1, "whole": True}, 3),
        (np.float32(0.5), {"least": 0}, 0.5),
        (None, {"least": 1, "optional": True}, None),
    ],
)
def test_a_number_within_its_limits_is_returned_as_an_int_or_a_float(value, limits, checked):
    found = checked_number("judge", "n", value, **limits)
    assert found == checked
    assert type(found) is type(checked)


@pytest.mark.parametrize(
    ("value", "limits", "message"),
    [
        (0, {"least": 1, "whole": True}, "n=0 must be a whole number of at least 1"),
        (1.5, {"least": 1, "whole": True}, "n=1.5 must be a whole number of at least 1"),
        (None, {"least": 1}, "n=None must be a number of at least 1"),
        (0, {"least": 1, "optional": True}, "n=0 must be a number of at least 1 or None"),
        (True, {"least": 0}, "n=True must be a number of at least 0"),
        ("3", {"least": 0}, "n='3' must be a number of at least 0"),
        (math.inf, {"least": 0}, "n=inf must be a number of at least 0"),
        (math.nan, {"least": 0}, "n=nan must be a number of at least 0"),
        (2, {"least": 0, "most": 1}, "n=2 must be a number of at least 0 and at most 1"),
        (0, {"least": 0, "most": 1, "above": True}, "n=0 must be a number above 0 and at most 1"),
    ],
)
def test_the_message_states_the_value_and_the_limits(value, limits, message):
    with pytest.raises(errors.OptionError) as raised:
        checked_number("judge", "n", value, **limits)
    assert str(raised.value) == f"judge: {message}"


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: checked_temperature("hf", 101), "hf: temperature=101 must be a number of at least 0 and at most 100"),
        (lambda: checked_top_p("hf", 0), "hf: top_p=0 must be a number above 0 and at most 1"),
        (lambda: checked_seed("hf", 1.5), "hf: seed=1.5 must be a whole number, or None"),
        (lambda: checked_seed("hf", True), "hf: seed=True must be a whole number, or None"),
        (lambda: checked_text("hf", "system", " "), "hf: system=' ' must be a text that is not empty"),
        (lambda: checked_text("hf", "system", None), "hf: system=None must be a text that is not empty"),
        (lambda: checked_text("hf", "system", "", optional=True), "system='' must be a text that is not empty or None"),
        (
            lambda: checked_choice("nli", "rule", "strickt", ["strict", "either"]),
            "nli: rule='strickt' is unknown. Did you mean 'strict'? Use one of: strict, either",
        ),
        (lambda: checked_choice("nli", "rule", ["strict"], ["strict"]), "is unknown. Did you mean 'strict'?"),
        (lambda: checked_stops("hf", ["a", 3]), "hf: stop=['a', 3] must be a text that is not empty, or a list"),
        (lambda: checked_logprobs("hf", "drwan"), "hf: logprobs='drwan' is unknown. Did you mean 'drawn'? Use 'drawn'"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_allowed(check, message):
    with pytest.raises(errors.OptionError) as raised:
        check()
    assert message in str(raised.value)


def test_allowed_options_are_returned():
    assert checked_temperature("hf", 0) == 0
    assert checked_temperature("hf", None, optional=True) is None
    assert checked_top_p("hf", 1) == 1
    assert checked_seed("hf", 2**70) == 2**70
    assert checked_seed("hf", None) is None
    assert checked_text("hf", "system", "Be brief.") == "Be brief."
    assert checked_choice("nli", "rule", "strict", ["strict"]) == "strict"
    assert checked_stops("hf", "end") == ("end",)
    assert checked_stops("hf", None) == ()
    assert [checked_logprobs("hf", value) for value in (True, "model", False)] == ["drawn", "model", False]


class Options:
    def __init__(self, model, *, n=3, seed=None):
        pass


def test_a_component_is_named_with_the_options_that_are_not_its_defaults():
    assert describe_component(Options, "it", {"model": "m", "n": 3, "seed": None}) == "it(model='m')"
    assert describe_component(Options, "it", {"model": "m", "n": 4, "seed": 0}) == "it(model='m', n=4, seed=0)"
    assert describe_component(Options, "it", {"n": 3}) == "it"


@pytest.mark.parametrize("kind", [Judge, OpenAISampler])
def test_a_subclass_with_other_parameters_is_described_by_the_options_of_its_base(kind):
    class Subclass(kind):
        def __init__(self, **options):
            super().__init__("m", "http://127.0.0.1:1/v1", **options)

    described = Subclass(max_tokens=7).describe()
    assert described == f"{kind.name}(model='m', base_url='http://127.0.0.1:1/v1', max_tokens=7)"
