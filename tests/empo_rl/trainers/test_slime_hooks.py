"""The hooks of slime, with slime's classes where slime is on the path, else with a class of the same attributes.

The attributes and the signatures are those of THUDM/slime at 624b824 (slime/utils/types.py,
slime/rollout/sglang_rollout.py, slime/ray/rollout.py). slime is not in the package index.
"""

import asyncio
import json
import logging
from argparse import Namespace
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
            PENDING = "pending"
            COMPLETED = "completed"
            TRUNCATED = "truncated"
            ABORTED = "aborted"
            FAILED = "failed"

        status: Status = Status.COMPLETED


OPTIONS = {"equivalence": "exact", "extract": "boxed"}
SLIME_DEFAULTS = {  # slime/utils/arguments.py
    "global_batch_size": 4,
    "calculate_per_token_loss": False,
    "entropy_coef": 0.0,
    "use_kl_loss": False,
    "kl_loss_coef": 0.0,
    "use_opd": False,
    "opd_kl_coef": 1.0,
    "normalize_advantages": False,
}
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


def loss_of(samples, advantages, *, per_token):
    """slime's denominators: rows of a step, or tokens, with one token for a removed row (loss.py, `loss_function`)."""
    rows = [(0 if sample.remove_sample else sample.response_length) for sample in samples]
    if per_token:
        weighted = sum(advantage * tokens for advantage, tokens in zip(advantages, rows, strict=True))
        return weighted / sum(max(tokens, 1) for tokens in rows)
    return sum(advantage for advantage, tokens in zip(advantages, rows, strict=True) if tokens) / len(rows)


@pytest.mark.parametrize("per_token", [False, True])
def test_the_loss_of_each_step_is_that_of_its_kept_rows(per_token, monkeypatch):
    monkeypatch.setenv("EMPO_PROVIDER", json.dumps({**OPTIONS, "scale": "fixed"}))
    samples = [*group(SPLIT, 0), *group(AGREED, 1), *group(SPLIT, 2), *group(AGREED, 3), *group(AGREED, 4)]
    for number, sample in enumerate(samples):
        sample.response_length = number + 1
    args = Namespace(global_batch_size=8, calculate_per_token_loss=per_token)
    plain = slime_hooks.advantages(None, samples)[1]
    advantages = slime_hooks.advantages(args, samples)[1]
    for start in (0, 8):  # the last four rows are no whole step, and slime drops them
        step = slice(start, start + 8)
        kept = [row for row in range(start, start + 8) if not samples[row].remove_sample]
        assert len(kept) == 4
        alone = loss_of([samples[row] for row in kept], [plain[row] for row in kept], per_token=per_token)
        assert alone > 0
        assert loss_of(samples[step], advantages[step], per_token=per_token) == pytest.approx(alone)
        assert loss_of(samples[step], plain[step], per_token=per_token) < 0.99 * alone
    assert advantages[16:] == [0.0] * 4  # nothing is kept


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"entropy_coef": 0.01},
            "entropy_coef=0.01: slime divides the entropy term by all rows.*Remove --entropy-coef",
        ),
        ({"entropy_coef": -0.01}, "Remove --entropy-coef"),
        ({"use_kl_loss": True, "kl_loss_coef": 0.1}, "kl_loss_coef=0.1: .*the KL term.*Remove --use-kl-loss"),
        ({"use_opd": True, "opd_kl_coef": 1.0}, "opd_kl_coef=1.0: .*the distillation term.*Remove --use-opd"),
        ({"normalize_advantages": True}, "a second time, over the whole batch. Remove --normalize-advantages"),
    ],
)
def test_terms_of_the_loss_that_the_factor_does_not_reach_are_refused(options, said):
    args = Namespace(**{**SLIME_DEFAULTS, **options})
    with pytest.raises(InputError, match=said):
        slime_hooks.advantages(args, group(SPLIT))


@pytest.mark.parametrize("options", [{}, {"use_kl_loss": True}, {"kl_loss_coef": 0.1}])
def test_terms_that_slime_multiplies_by_zero_or_does_not_add_are_accepted(options):
    args = Namespace(**{**SLIME_DEFAULTS, **options})
    assert slime_hooks.advantages(args, group(SPLIT))[1] == slime_hooks.advantages(None, group(SPLIT))[1]


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


@pytest.mark.parametrize(("name", "other"), [("label", "9"), ("prompt", "Another question?")])
def test_samples_of_different_questions_are_no_group(name, other):
    mixed = group(SPLIT)
    setattr(mixed[2], name, other)
    with pytest.raises(InputError, match=f"different values of {name}"):
        asyncio.run(slime_hooks.group_rewards(None, mixed))


def with_status(samples, **statuses):
    """The samples, of which those at these places (`at_1="aborted"`) have another status."""
    for place, status in statuses.items():
        samples[int(place.removeprefix("at_"))].status = Sample.Status(status)
    return samples


def test_an_aborted_or_failed_sample_is_in_no_cluster_has_no_reward_and_is_not_in_the_loss(caplog):
    """All three hooks decide as if the group had only its other samples, which here are [1, 2, 3]."""
    make = lambda: with_status(group(["1", "1", "1", "2", "3"]), at_0="aborted", at_1="failed")  # noqa: E731
    with EmpoProvider(**OPTIONS) as provider:
        expected = provider.step([texts(["1", "2", "3"])])
    assert expected.keep.tolist() == [True]
    assert asyncio.run(slime_hooks.group_rewards(None, make())) == [0.0, 0.0, *expected.rewards]
    assert slime_hooks.keep_group(None, make())
    samples = [*group(SPLIT, 7), *make()]
    with caplog.at_level(logging.WARNING):
        rewards, advantages = slime_hooks.advantages(None, samples)
    assert "2 of 9 samples are aborted or failed" in caplog.text
    assert rewards[4:] == [0.0, 0.0, *expected.rewards]
    assert advantages[4:] == pytest.approx([0.0, 0.0, *expected.advantages])
    assert [sample.remove_sample for sample in samples] == [False] * 4 + [True, True, False, False, False]


def test_the_factor_of_a_step_counts_failed_samples_as_removed():
    samples = [*with_status(group(SPLIT), at_3="aborted"), *group(SPLIT, 1)]
    args = Namespace(global_batch_size=8, calculate_per_token_loss=False)
    plain = slime_hooks.advantages(None, samples)[1]
    assert slime_hooks.advantages(args, samples)[1] == pytest.approx([value * 8 / 7 for value in plain])


@pytest.mark.parametrize("failed", [{"at_0": "aborted", "at_1": "failed", "at_2": "aborted"}, {}])
def test_a_group_with_fewer_than_two_answers_is_dropped(failed):
    statuses = failed or {f"at_{place}": "aborted" for place in range(4)}
    alone = with_status(group(SPLIT), **statuses)
    assert asyncio.run(slime_hooks.group_rewards(None, alone)) == [0.0] * 4
    assert slime_hooks.keep_group(None, alone) is False
    samples = [*alone, *group(SPLIT, 1)]
    rewards, advantages = slime_hooks.advantages(None, samples)
    assert (rewards[:4], advantages[:4]) == ([0.0] * 4, [0.0] * 4)
    assert [sample.remove_sample for sample in samples] == [True] * 4 + [False] * 4
    assert slime_hooks.advantages(None, alone) == ([0.0] * 4, [0.0] * 4)  # a batch without any group


def test_a_group_that_failures_made_too_small_for_the_window_is_dropped_and_is_no_error(monkeypatch):
    """Two completions have at most ln 2 nats. The batch has whole groups, so the window itself can be met."""
    monkeypatch.setenv("EMPO_PROVIDER", json.dumps({**OPTIONS, "delta_low": 0.8}))
    samples = [*with_status(group(SPLIT), at_0="aborted", at_1="aborted"), *group(SPLIT, 1)]
    slime_hooks.advantages(None, samples)
    assert [sample.remove_sample for sample in samples] == [True] * 4 + [False] * 4


def test_a_truncated_sample_is_an_answer_and_a_pending_one_is_an_error():
    cut = with_status(group(SPLIT), at_0="truncated")
    assert asyncio.run(slime_hooks.group_rewards(None, cut)) == [0.5, 0.5, 0.25, 0.25]
    with pytest.raises(InputError, match="status 'pending'.*--custom-generate-function-path"):
        asyncio.run(slime_hooks.group_rewards(None, with_status(group(SPLIT), at_2="pending")))


@pytest.mark.parametrize(
    ("metadata", "asked"),
    [
        ({"question": "From the data?"}, "From the data?"),
        ({"question": " "}, "q"),
        ({"question": None}, "q"),
        ({}, "q"),
    ],
)
def test_the_judge_receives_the_question_of_the_metadata_or_else_the_prompt(metadata, asked, monkeypatch):
    questions = []
    monkeypatch.setattr(
        slime_hooks, "shared_provider", lambda _: Namespace(step=lambda groups, training: questions.append(groups))
    )
    samples = group(SPLIT)
    for sample in samples:
        sample.metadata = metadata
    with pytest.raises(AttributeError):  # the stand-in decides nothing
        slime_hooks.keep_group(None, samples)
    assert [found.question for (found,) in questions] == [asked]


def test_one_sample_for_each_prompt_is_refused():
    with pytest.raises(InputError, match="G=1"):
        slime_hooks.advantages(None, group(["1"]))
