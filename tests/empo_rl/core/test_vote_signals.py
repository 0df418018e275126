"""Signals on the votes of a group: cases by hand, a second computation, and properties."""

import json
import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from empo_rl import EmpoProvider, RolloutGroup
from empo_rl.config import load_config
from empo_rl.core.rewards.restrained_votes import RestrainReward, read_base_shares
from empo_rl.run.prompt_rows import provider_notes
from empo_rl.testing import GROUPS, check_reward
from semantic_entropy import InputError, estimate_file


def answer_of(text):
    """A text is its own answer; a dot is a completion without an answer."""
    return None if text == "." else text


def step(answers, reward, entropies=None, certainties=None, options=None, **more):
    given_measures = {"token_entropy": entropies, "self_certainty": certainties}
    measures = {name: tuple(values) for name, values in given_measures.items() if values is not None}
    group = RolloutGroup(tuple(answers), "Why?", measures=measures)
    with EmpoProvider("exact", extract=answer_of, reward=reward, reward_options=options, **more) as provider:
        return provider.step([group])


def pay(answers, reward, *args, **more):
    return step(answers, reward, *args, **more).rewards.tolist()


CALM, UNSURE = 0.5, 2.0


@pytest.mark.parametrize(
    ("answers", "entropies", "expected"),
    [
        # G=16: p(a)=6/16=.375 and 6/16-3/16=.1875>.125. The mean entropy is (15*.5+2)/16=.59; d (1/16) is above it
        ("aaaaaabbbccceefd", [CALM] * 15 + [UNSURE], [1] * 6 + [0] * 9 + [-1]),
        # p(a)=5/16=.3125 is below .375: no positive answer; d is still rare and unsure
        ("aaaaabbbcccceefd", [CALM] * 15 + [UNSURE], [0] * 15 + [-1]),
        # the margin is 6/16-4/16=.125, which is not above .125
        ("aaaaaabbbbcceefd", [CALM] * 15 + [UNSURE], [0] * 15 + [-1]),
        # 2/16=.125 is not below .125: of the rare e, e and d only d can be paid -1
        ("aaaaaaaabbbccdee", [CALM] * 13 + [UNSURE] * 3, [1] * 8 + [0] * 5 + [-1] + [0] * 2),
        # equal entropies: each is at least the mean
        ("aaaaaaaaabbbbbcd", [0.1] * 16, [1] * 9 + [0] * 5 + [-1] * 2),
        # no answer: -1, also with a low entropy
        ("aaaaaaaaabbbbb..", [CALM] * 14 + [0.0] * 2, [1] * 9 + [0] * 5 + [-1] * 2),
        ("aaaa", [CALM] * 4, [1] * 4),
        ("abcd", [CALM] * 4, [0] * 4),
        ("....", [CALM] * 4, [-1] * 4),
    ],
)
def test_scrl_pays_a_clear_majority_and_penalises_rare_unsure_answers(answers, entropies, expected):
    assert pay(answers, "scrl", entropies) == expected


def test_scrl_compares_shares_and_not_their_rounding_errors():
    shares = {"margin": 0.1, "positive_share": 0.4}
    assert pay("aaaabbbccd", "scrl", [CALM] * 10, options=shares) == [0] * 9 + [-1]
    assert pay("aaaabbbccd", "scrl", [CALM] * 10, options={**shares, "margin": 0.05}) == [1] * 4 + [0] * 5 + [-1]


def test_scrl_under_drop_counts_the_valid_answers_alone():
    paid = pay("aaab....", "scrl", [CALM] * 3 + [UNSURE] + [9.0] * 4, options={"negative_share": 0.3}, invalid="drop")
    assert paid[:4] == [1, 1, 1, -1]  # p = 3/4 and 1/4, and h = .875 without the rows that are dropped
    assert all(math.isnan(reward) for reward in paid[4:])


def scrl_from_its_definition(answers, entropies, top=0.375, margin=0.125, rare=0.125):
    """The rule on answers as texts, in whole numbers of completions."""
    size, counts = len(answers), Counter(answer for answer in answers if answer != ".")
    ranked = [*counts.most_common(), (None, 0), (None, 0)]
    clear = ranked[0][1] >= top * size and ranked[0][1] - ranked[1][1] > margin * size
    paid = []
    for answer in answers:
        own = [entropy for entropy, other in zip(entropies, answers, strict=True) if other == answer]
        unsure = math.fsum(own) / len(own) >= math.fsum(entropies) / size - 1e-9
        if answer == ".":
            paid.append(-1)
        elif clear and answer == ranked[0][0]:
            paid.append(1)
        else:
            paid.append(-1 if counts[answer] < rare * size and unsure else 0)
    return paid


ANSWERS = st.lists(st.sampled_from("aaaabbcdefgh."), min_size=2, max_size=40)


@given(ANSWERS, st.data())
def test_scrl_is_its_definition(answers, data):
    entropies = data.draw(st.lists(st.integers(0, 8), min_size=len(answers), max_size=len(answers)))
    entropies = [value / 4 for value in entropies]
    assert pay(answers, "scrl", entropies) == scrl_from_its_definition(answers, entropies)


@given(ANSWERS, st.randoms())
@pytest.mark.parametrize("reward", ["scrl", "vote_certainty"])
def test_neither_the_order_of_rollouts_nor_the_names_of_answers_change_a_reward(reward, answers, dice):
    entropies = [dice.random() for _ in answers]
    certainties = [dice.random() for _ in answers]
    straight = pay(answers, reward, entropies, certainties)
    order = list(range(len(answers)))
    dice.shuffle(order)
    names = dict(zip("abcdefgh", dice.sample("stuvwxyz", 8), strict=True))
    renamed = [names.get(answers[i], answers[i]) for i in order]
    shuffled = pay(renamed, reward, [entropies[i] for i in order], [certainties[i] for i in order])
    assert shuffled == pytest.approx([straight[i] for i in order])


def test_scrl_says_at_which_group_size_no_rare_answer_exists():
    with EmpoProvider("exact", reward="scrl") as provider:
        (note,) = provider.check(8)
        assert "no answer can have a share below negative_share=0.125 at G=8" in note
        assert provider.check(16) == []


@pytest.mark.parametrize(("reward", "measure"), [("scrl", "token_entropy"), ("vote_certainty", "self_certainty")])
def test_a_signal_without_its_measure_is_an_error_that_says_what_to_set(reward, measure):
    with pytest.raises(InputError, match=rf"{reward} needs measures\['{measure}'\].*EmpoGRPOTrainer measures"):
        pay("aab", reward)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("reward", ["scrl", "vote_certainty", "token_entropy", "self_certainty"])
def test_a_measure_that_is_not_finite_is_an_error_and_never_a_reward(reward, value):
    with pytest.raises(InputError, match=rf"{reward} needs finite numbers, .* is {value} for the completion 'b'"):
        pay("ab", reward, [1.0, value], [1.0, value])


@pytest.mark.parametrize("value", [1e308, -1e16])
@pytest.mark.parametrize("reward", ["scrl", "vote_certainty", "token_entropy", "self_certainty"])
def test_a_measure_that_is_too_large_to_be_paid_is_an_error_with_its_value(reward, value):
    shown = re.escape(f"{value:g}")
    message = rf"{reward} needs numbers of at most 1e\+15, but .* is {shown} for the completion 'b'"
    with pytest.raises(InputError, match=message):
        pay("ab", reward, [1.0, value], [1.0, value])


@pytest.mark.parametrize("options", [{"margin": -0.1}, {"positive_share": 1.5}, {"negative_share": math.nan}])
def test_scrl_refuses_a_share_that_is_none(options):
    with pytest.raises(InputError, match="is a share of the group: set a number from 0 to 1"):
        EmpoProvider("exact", reward="scrl", reward_options=options)


@pytest.mark.parametrize("reward", ["scrl", "vote_certainty"])
def test_the_signals_keep_the_contract_of_rewards(reward):
    with EmpoProvider("exact", reward=reward) as provider:
        check_reward(provider._signal, GROUPS)


def test_scrl_in_a_batch_of_groups_decides_for_each_group_alone():
    groups = [
        RolloutGroup(tuple("aaaabbcd"), measures={"token_entropy": (1.0,) * 8}),
        RolloutGroup(tuple("aabbccdd"), measures={"token_entropy": (5.0,) * 8}),
    ]
    with EmpoProvider("exact", extract=answer_of, reward="scrl") as provider:
        rewards = provider.step(groups).rewards.reshape(2, 8)
    np.testing.assert_array_equal(rewards, [[1] * 4 + [0] * 4, [0] * 8])


def test_vote_certainty_by_hand():
    # votes 2/3, 2/3, 1/3, 0 of three valid answers: mean 5/12, sample std sqrt((1/16 + 1/16 + 1/144 + 25/144) / 3)
    # self-certainties 3, 1, 3, 1: mean 2, sample std sqrt(4/3)
    votes = [(value - 5 / 12) / (math.sqrt(11 / 108) + 1e-4) for value in (2 / 3, 2 / 3, 1 / 3, 0)]
    certainty = [value / (math.sqrt(4 / 3) + 1e-4) for value in (1, -1, 1, -1)]
    expected = [0.5 * vote + 0.5 * sure for vote, sure in zip(votes, certainty, strict=True)]
    assert pay("aab.", "vote_certainty", None, [3, 1, 3, 1]) == pytest.approx(expected)
    assert pay("aab.", "vote_certainty", None, [3, 1, 3, 1], {"certainty": 0}) == pytest.approx(
        [0.5 * vote for vote in votes]
    )


@given(ANSWERS, st.data())
def test_vote_certainty_is_the_sum_of_two_scores_of_scipy(answers, data):
    stats = pytest.importorskip("scipy.stats", reason="the extra stats is not installed")
    certainties = data.draw(st.permutations([n / 2 for n in range(len(answers))]))
    valid = [answer for answer in answers if answer != "."]
    votes = [valid.count(answer) / len(valid) if answer != "." else 0.0 for answer in answers]
    by_votes = stats.zscore(votes, ddof=1) if len(set(votes)) > 1 else np.zeros(len(answers))
    expected = 0.5 * by_votes + 0.5 * stats.zscore(certainties, ddof=1)
    assert pay(answers, "vote_certainty", None, certainties) == pytest.approx(expected, abs=0.01)  # 1e-4 in the divisor


@pytest.mark.parametrize("answers", ["aaaa", "abcd", "...."])
def test_with_equal_votes_vote_certainty_pays_the_self_certainty_alone(answers):
    paid = pay(answers, "vote_certainty", None, [1, 2, 3, 4])
    assert paid == sorted(paid)
    assert sum(paid) == pytest.approx(0)
    assert pay(answers, "vote_certainty", None, [2.5] * 4) == [0] * 4


def test_a_unit_of_the_self_certainty_changes_no_reward():
    """Without the normalisation, the values with the larger spread decide."""
    nats, bits = [3.0, 1.0, 2.0, 5.0], [value / math.log(2) for value in (3.0, 1.0, 2.0, 5.0)]
    assert pay("aabc", "vote_certainty", None, nats) == pytest.approx(
        pay("aabc", "vote_certainty", None, bits), abs=1e-3
    )


def test_vote_certainty_with_scale_none_has_the_advantages_of_the_paper():
    decision = step("aabc", "vote_certainty", None, [3.0, 1.0, 2.0, 5.0], scale="none")
    np.testing.assert_allclose(decision.advantages, decision.rewards, atol=1e-12)


def test_vote_certainty_under_drop_normalises_over_the_valid_answers():
    paid = pay("aab.", "vote_certainty", None, [3, 1, 2, 99], invalid="drop")
    assert paid[:3] == pytest.approx(pay("aab", "vote_certainty", None, [3, 1, 2]))
    assert math.isnan(paid[3])


@pytest.mark.parametrize("weight", [-1, math.nan, math.inf])
def test_vote_certainty_refuses_a_weight_that_is_none(weight):
    with pytest.raises(InputError, match="certainty=.* is a weight: set a number that is at least 0"):
        EmpoProvider("exact", reward="vote_certainty", reward_options={"certainty": weight})


FREE = {"base_votes": "none"}


def advantages_of_grpo(right):
    """(r - mean) / (std + 1e-4) for right (1) and wrong (0) completions, with the sample standard deviation."""
    mean = sum(right) / len(right)
    std = math.sqrt(sum((value - mean) ** 2 for value in right) / (len(right) - 1))
    return [(value - mean) / (std + 1e-4) for value in right]


def test_restrain_by_hand():
    # n=4, "aaab": f = 3/4 and 1/4, g = exp(-(f-1)^2 / .5) = exp(-.125) and exp(-1.125)
    heavy, light = math.exp(-0.125), math.exp(-1.125)
    as_a, as_b = advantages_of_grpo([1, 1, 1, 0]), advantages_of_grpo([0, 0, 0, 1])
    expected = [(heavy * a + light * b) / (heavy + light) for a, b in zip(as_a, as_b, strict=True)]
    decision = step("aaab", "restrain", options=FREE, scale="fixed")
    assert decision.rewards == pytest.approx(expected)
    assert decision.advantages == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answers", "options", "expected"),
    [
        ("abcdefgh", {}, [-1] * 8),  # 1/8 is below .1875
        ("aabcdefg", {"lowest_share": 0.3, "penalty": 0.25}, [-0.25] * 8),
        ("........", {}, [-1] * 8),
        ("aaaaaaaa", {}, [0] * 8),
        ("aaabbbcccd", {"lowest_share": 0.3, "width": 99}, None),  # 3/10 is not below .3
    ],
)
def test_restrain_penalises_a_group_without_consensus_as_a_whole(answers, options, expected):
    paid = pay(answers, "restrain", options={**FREE, **options}, scale="fixed")
    assert paid == expected if expected else len(set(paid)) > 1


@given(st.lists(st.sampled_from("aaabbc."), min_size=2, max_size=12))
def test_restrain_is_the_weighted_sum_of_the_grpo_advantages_of_all_answers(answers):
    size, counts = len(answers), Counter(answer for answer in answers if answer != ".")
    paid = pay(answers, "restrain", options=FREE, scale="fixed")
    if max(counts.values(), default=0) / size < 0.1875:
        assert paid == [-1] * size
        return
    weights = {answer: math.exp(-((count / size - 1) ** 2) / 0.5) for answer, count in counts.items()}
    total = np.zeros(size)
    for answer, weight in weights.items():
        right = [float(other == answer) for other in answers]
        total += weight / sum(weights.values()) * np.array(advantages_of_grpo(right))
    assert paid == pytest.approx(total.tolist(), abs=1e-9)


def test_restrain_with_a_small_width_is_the_majority_vote():
    paid = pay("aaab", "restrain", options={**FREE, "width": 0.01}, scale="fixed")
    assert paid == pytest.approx(advantages_of_grpo([1, 1, 1, 0]))


def base_votes(path, *rows):
    names = ("question", "labels", "answers")
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows), encoding="utf-8")
    return {"base_votes": str(path)}


def test_restrain_weights_a_prompt_by_the_votes_of_the_base_model(tmp_path):
    # 2 of 4 responses of the base have the most frequent answer; the two without an answer are no votes
    options = base_votes(tmp_path / "votes.jsonl", ("Why?", [0, 0, 1, 2], ["x", "x", None, None]))
    plain = pay("aaab", "restrain", options=FREE, scale="fixed")
    weight = math.exp(-(0.5**2) / 0.5)
    assert pay("aaab", "restrain", options=options, scale="fixed") == pytest.approx([weight * value for value in plain])
    assert pay("abcdefgh", "restrain", options=options, scale="fixed") == pytest.approx([-weight] * 8)


def test_the_output_of_estimate_is_a_file_of_base_votes(tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps({"question": "Why?", "responses": ["4", "4", "4", "5"]}) + "\n")
    estimate_file(tmp_path / "in.jsonl", tmp_path / "votes.jsonl", equivalence="exact")
    assert read_base_shares(tmp_path / "votes.jsonl") == {"Why?": 0.75}


def test_restrain_names_the_questions_without_base_votes(tmp_path):
    options = base_votes(tmp_path / "votes.jsonl", ("Another?", [0], ["x"]))
    with pytest.raises(InputError, match=r"has no votes of the base model for 1 of 1 questions, first 'Why\?'"):
        pay("aab", "restrain", options=options, scale="fixed")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("{", "line 1 of .* has no votes .JSONDecodeError"),
        ('{"question": "Why?", "labels": []}\n', "line 1 of .* has no votes .KeyError: 'answers'"),
        ('{"question": "Why?", "labels": [], "answers": []}\n', "line 1 of .* has no votes .ZeroDivisionError"),
        ('{"question": 3, "labels": [0], "answers": ["x"]}\n', "line 1 of .*: the question 3 is no text"),
        ('{"question": "Why?", "labels": [0], "answers": ["x"]}\n' * 2, "line 2 of .*: the question .* occurs twice"),
    ],
)
def test_a_file_that_has_no_base_votes_is_an_error_with_the_line(text, message, tmp_path):
    (tmp_path / "votes.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        EmpoProvider("exact", reward="restrain", reward_options={"base_votes": str(tmp_path / "votes.jsonl")})


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        (
            {},
            {"scale": "fixed"},
            "restrain needs base_votes: .*`semantic-entropy estimate .* set base_votes to .none.",
        ),
        (FREE, {}, "reward='restrain' needs scale='fixed', .* and scale is 'group'. Set scale='fixed'"),
        ({"base_votes": "missing.jsonl"}, {"scale": "fixed"}, "base_votes='missing.jsonl' cannot be read"),
        ({**FREE, "width": 0}, {"scale": "fixed"}, "width=0 must be a number above 0"),
        ({**FREE, "center": 2}, {"scale": "fixed"}, "center=2 is a share"),
    ],
)
def test_restrain_says_what_to_set(options, more, message):
    with pytest.raises(InputError, match=message):
        EmpoProvider("exact", reward="restrain", reward_options=options, **more)


def test_a_composite_needs_the_scale_of_its_parts():
    options = {"weights": {"restrain": 1.0, "format": 0.1}, "options": {"restrain": FREE}}
    with pytest.raises(InputError, match="reward='composite' needs scale='fixed'"):
        EmpoProvider("exact", reward="composite", reward_options=options)


def test_restrain_keeps_the_contract_of_rewards():
    check_reward(RestrainReward("none"), GROUPS)


@given(st.lists(st.sampled_from("aaabbc."), min_size=2, max_size=12), st.randoms())
def test_the_order_of_rollouts_does_not_change_restrain(answers, dice):
    order = dice.sample(range(len(answers)), len(answers))
    straight = pay(answers, "restrain", options=FREE, scale="fixed")
    shuffled = pay([answers[i] for i in order], "restrain", options=FREE, scale="fixed")
    assert shuffled == pytest.approx([straight[i] for i in order])


def test_restrain_under_drop_counts_the_valid_answers_alone():
    paid = pay("aaab..", "restrain", options=FREE, scale="fixed", invalid="drop")
    assert paid[:4] == pytest.approx(pay("aaab", "restrain", options=FREE, scale="fixed"))
    assert all(math.isnan(reward) for reward in paid[4:])


def test_a_run_names_the_questions_without_base_votes_before_it_samples(tmp_path):
    options = base_votes(tmp_path / "votes.jsonl", ("Why?", [0], ["x"]))
    config = load_config(
        "tiny", ["empo.reward=restrain", "empo.scale=fixed", f"empo.reward_options={json.dumps(options)}"]
    )
    with EmpoProvider("exact", reward="restrain", reward_options=options, scale="fixed") as provider:
        assert provider_notes(provider, config, [{"question": "Why?"}]) == []
        with pytest.raises(InputError, match="no votes of the base model for 1 of 2 questions, first 'How"):
            provider_notes(provider, config, [{"question": "Why?"}, {"question": "How?"}])
