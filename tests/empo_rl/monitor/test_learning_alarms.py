"""The alarms for a run that cannot learn, on decisions of a real provider and on known numbers."""

import math
from dataclasses import replace

import pytest

from empo_rl import EmpoProvider, Monitor, RolloutGroup
from empo_rl.monitor import Observation, Update
from empo_rl.monitor.learning_alarms import NoGradientAlarm, NoSignalAlarm, NoUpdateAlarm

G = 4


def observe(texts, *, gold=None, truncated=0.0, prompt=None, **options):
    """The observation of eight groups with these four texts each."""
    measures = {"truncated": [truncated] * G}
    groups = [RolloutGroup(tuple(texts), f"question {n}", gold, measures) for n in range(8)]
    with EmpoProvider("exact", **{"extract": "boxed", **options}) as provider:
        return replace(Observation.of(provider.step(groups), groups=groups), prompt=prompt)


def messages(observation):
    return {firing.alarm: firing.message for firing in Monitor().observe(observation, 1)}


def test_a_prompt_without_a_box_is_named_as_the_cause_and_three_completions_are_shown():
    fired = messages(observe(["So it is 4."] * G, prompt="Tell me: what is 2+2?"))
    assert list(fired) == ["nothing_readable"]
    first, *rest = fired["nothing_readable"].splitlines()
    assert first.startswith(
        "alarm nothing_readable at step 1: no answer can be read in 32 of 32 completions (100%). Without"
    )
    assert r"\boxed{...} (empo.extract), and the prompt does not ask for a box. Set template.name=math" in rest[0]
    assert "what is 2+2?" in rest[0]
    assert rest[2:] == [f"  {n}. 'So it is 4.' [no answer, reward 0]" for n in (1, 2, 3)]


def test_a_model_that_ignores_the_box_of_the_prompt_is_another_cause():
    fired = messages(observe(["So it is 4."] * G, prompt=r"Answer in \boxed{}."))
    assert r"the model does not write \boxed{...}" in fired["nothing_readable"]


def test_answers_cut_off_at_the_limit_are_two_alarms_with_one_cause():
    fired = messages(observe(["First we"] * G, truncated=1.0))
    assert list(fired) == ["nothing_readable", "cut_off"]
    for message in fired.values():
        assert (
            "100% of the completions are cut off before their answer. Raise rollout.max_completion_tokens." in message
        )
        assert "'First we' [no answer, reward 0, cut off]" in message


def test_gold_answers_that_equal_no_answer_are_shown_beside_the_answers():
    texts = [rf"\boxed{{{n}}}" for n in range(G)]
    fired = messages(observe(texts, gold="We find four, since 2+2=4.", reward="golden"))
    assert list(fired) == ["no_signal"]
    assert "0 of 8 groups are dropped by the filters, 0 have no reward, and 8 have equal rewards" in fired["no_signal"]
    assert "a gold answer that the judge cannot read" in fired["no_signal"]
    assert r"'\\boxed{0}' [answer '0', gold 'We find four, since 2+2=4.', reward 0]" in fired["no_signal"]


def test_filters_that_drop_every_group_are_named():
    fired = messages(observe([r"\boxed{1}"] * G))
    assert "8 of 8 groups are dropped by the filters" in fired["no_signal"]
    assert "Check empo.delta_low" in fired["no_signal"]


def test_groups_with_gold_answers_that_the_reward_does_not_read_have_another_cause():
    options = {"delta_low": -1.0, "measure_gold": True}  # the entropy window keeps groups with one answer
    fired = messages(observe([r"\boxed{1}"] * G, gold="2", **options))
    assert "Likely cause: all answers of each group agree. Use harder questions" in fired["no_signal"]


def test_answers_that_all_differ_are_named():
    fired = messages(observe([rf"\boxed{{{n}}}" for n in range(G)], delta_high=math.inf))
    assert f"Likely cause: all {G} answers of each group differ" in fired["no_signal"]


def test_groups_without_a_reward_are_not_blamed_on_the_filters():
    fired = messages(observe([r"\boxed{1}"] * G, reward=lambda answers: [None for _ in answers]))
    assert "0 of 8 groups are dropped by the filters, 8 have no reward, and 0 have equal" in fired["no_signal"]
    assert "Likely cause: no completion has a reward: the reward function returns None" in fired["no_signal"]


@pytest.mark.parametrize(
    ("options", "reads"),
    [
        ({"reward": "random"}, False),
        ({"reward": "format", "reward_options": {"pattern": "So"}}, False),
        ({"reward": "format"}, True),
        ({"reward": lambda completions: list(range(len(completions)))}, False),
        ({"reward": lambda completions, answers: list(range(len(completions)))}, True),
        ({"reward": "composite", "reward_options": {"weights": {"random": 1.0, "empo": 1.0}}}, True),
        ({"reward": "random", "invalid": "drop"}, True),
        ({"reward": "random", "guards": {"empty": None}}, True),
    ],
)
def test_completions_without_an_answer_are_a_fault_only_if_the_rewards_depend_on_answers(options, reads):
    assert ("nothing_readable" in messages(observe(["So it is 4."] * G, **options))) is reads


def test_a_healthy_step_raises_no_alarm():
    observation = observe([r"\boxed{1}", r"\boxed{1}", r"\boxed{2}", "none"])
    assert messages(replace(observation, update=Update(gradient=True, moved=1.0, learning_rate=1e-6))) == {}


def test_small_steps_without_a_signal_count_together_and_a_signal_resets_the_count():
    alarm = NoSignalAlarm(fewest=8)

    def step(flat):
        return Observation(G, (1.0,) * 4, ("1",) * 4, 0, flat=flat)

    fired = [number for number, flat in enumerate([4, 3, 4, 4, 4], start=1) if alarm.update(step(flat), number, "warn")]
    assert fired == [4]


@pytest.mark.parametrize(
    ("alarm", "update", "step"),
    [
        (NoGradientAlarm(), Update(gradient=False), 3),
        (NoGradientAlarm(), Update(gradient=True), None),
        (NoGradientAlarm(), Update(), None),
        (NoUpdateAlarm(), Update(gradient=True, moved=0.0, learning_rate=1e-12), 1),
        (NoUpdateAlarm(), Update(gradient=True, moved=0.5), None),
        (NoUpdateAlarm(), Update(gradient=False, moved=0.0), None),
        (NoUpdateAlarm(), Update(gradient=True), None),
    ],
)
def test_measured_gradients_and_weights_fire_in_their_step_and_only_if_measured(alarm, update, step):
    observation = Observation(G, (1.0,) * 4, ("1",) * 4, 0, update=update)
    fired = [number for number in range(1, 5) if alarm.update(observation, number, "warn")]
    assert fired == ([] if step is None else [step])


def test_the_observations_of_two_processes_join_to_that_of_the_whole_batch():
    one, other = observe(["So it is 4."] * G, truncated=1.0), observe([r"\boxed{1}", r"\boxed{2}", "no", "no"])
    other = replace(other, update=Update(gradient=True, moved=0.25))
    joined = Observation.join([one, other])
    assert (joined.invalid, joined.flat, joined.filtered, joined.truncated) == (48, 8, 0, 32)
    assert joined.update == Update(gradient=True, moved=0.25)
    assert joined.examples == one.examples
