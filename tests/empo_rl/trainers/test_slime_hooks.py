"""The hooks of slime, with slime's classes where slime is on the path, else with a class of the same attributes.

The attributes and the signatures are those of THUDM/slime at 624b824 (slime/utils/types.py,
slime/rollout/sglang_rollout.py, slime/ray/rollout.py). slime is not in the package index.
"""

import asyncio
import json
from dataclasses import dataclass, field
from enum import Enum
from importlib.util import find_spec

import pytest

from empo_rl import EmpoProvider
from empo_rl.trainers import slime_hooks
from semantic_entropy import InputError

if find_spec("slime") is not None:
    from slime.utils.types import Sample
else:

    @dataclass
    class Sample:
        group_index: int | None = None
        index: int | None = None
        prompt: str | list = ""
        response: str = ""
        response_length: int = 0
        label: str | None = None
        remove_sample: bool = False
        metadata: dict = field(default_factory=dict)

        class Status(Enum):
            COMPLETED = "completed"
            TRUNCATED = "truncated"

        status: Status = Status.COMPLETED


OPTIONS = {"equivalence": "exact", "extract": "boxed"}
SPLIT, AGREED, SMALL = ["1", "1", "2", "3"], ["5", "5", "5", "5"], ["7", "8", "7"]


@pytest.fixture(autouse=True)
def variable(monkeypatch):
    monkeypatch.setenv("EMPO_PROVIDER", json.dumps(OPTIONS))


def texts(answers):
    return [rf"\boxed{{{answer}}}" for answer in answers]


def group(answers, number=0):
    done = Sample.Status.COMPLETED
    return [
        Sample(group_index=number, prompt="q", response=text, response_length=9, status=done) for text in texts(answers)
    ]


def test_the_rewards_and_the_filter_of_a_group_are_those_of_the_provider():
    with EmpoProvider(**OPTIONS) as provider:
        expected = provider.step([texts(SPLIT), texts(AGREED)])
    assert asyncio.run(slime_hooks.group_rewards(None, group(SPLIT))) == expected.rewards[:4].tolist()
    assert [slime_hooks.keep_group(None, group(answers)) for answers in (SPLIT, AGREED)] == expected.keep.tolist()


def test_several_groups_at_the_same_time_have_their_own_rewards():
    async def gather():
        return await asyncio.gather(*(slime_hooks.group_rewards(None, group(SPLIT)) for _ in range(8)))

    assert asyncio.run(gather()) == [[0.5, 0.5, 0.25, 0.25]] * 8


def test_groups_of_different_sizes_in_any_order_are_normalised_each_for_itself():
    samples = [*group(SPLIT, 3), *group(SMALL, 1), *group(AGREED, 2)]
    mixed = samples[::2] + samples[1::2]
    rewards, advantages = slime_hooks.advantages(None, mixed)
    with EmpoProvider(**OPTIONS) as provider:
        for number in (1, 2, 3):
            rows = [row for row, sample in enumerate(mixed) if sample.group_index == number]
            expected = provider.step([[mixed[row].response for row in rows]])
            assert [rewards[row] for row in rows] == expected.rewards.tolist()
            assert [advantages[row] for row in rows] == pytest.approx(expected.advantages.tolist(), abs=1e-12)
            assert [mixed[row].remove_sample for row in rows] == (~expected.loss_mask).tolist()


def test_a_sample_without_group_a_fan_out_and_wrong_options_are_refused(monkeypatch):
    with pytest.raises(InputError, match="no group_index"):
        slime_hooks.advantages(None, group(SPLIT, None))
    with pytest.raises(InputError, match="several samples"):
        slime_hooks.keep_group(None, [group(SPLIT)])
    monkeypatch.setenv("EMPO_PROVIDER", '{"reward": "self_certainty"}')
    with pytest.raises(InputError, match="self_certainty"):
        slime_hooks.keep_group(None, group(SPLIT))
    monkeypatch.delenv("EMPO_PROVIDER")
    with pytest.raises(InputError, match="EMPO_PROVIDER"):
        slime_hooks.keep_group(None, group(SPLIT))
