"""What a component says of itself, also where someone builds on it."""

from __future__ import annotations

import pytest

from semantic_entropy_plugins.judge.llm_judge import Judge
from semantic_entropy_plugins.models.describing import described
from semantic_entropy_plugins.samplers.openai_sampler import OpenAISampler


class Options:
    def __init__(self, model, *, n=3, seed=None):
        pass


def test_options_that_are_the_defaults_are_left_out():
    assert described(Options, "it", {"model": "m", "n": 3, "seed": None}) == "it(model='m')"
    assert described(Options, "it", {"model": "m", "n": 4, "seed": 0}) == "it(model='m', n=4, seed=0)"


@pytest.mark.parametrize("kind", [Judge, OpenAISampler])
def test_a_subclass_that_takes_other_arguments_describes_itself(kind):
    class Mine(kind):
        def __init__(self, **options):
            super().__init__("m", "http://127.0.0.1:1/v1", **options)

    assert Mine(max_tokens=7).describe() == f"{kind.name}(model='m', base_url='http://127.0.0.1:1/v1', max_tokens=7)"
