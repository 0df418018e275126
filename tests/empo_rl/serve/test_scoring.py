import json
import math
import pickle

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from click.testing import CliRunner

from empo_rl import EmpoProvider, RolloutGroup, preset
from empo_rl.serve.cli import main
from empo_rl.serve.scoring import create_scoring_app
from semantic_entropy import estimate
from semantic_entropy.serve import ServiceSettings
from tests.semantic_entropy.serve.serving import ask, post

GROUPS = [
    {"completions": [r"\boxed{4}", r"\boxed{4}", r"\boxed{5}", "no idea"], "question": "2+2?"},
    {"completions": [r"\boxed{1}"] * 4, "question": "1?"},
    {"completions": [r"\boxed{2}", r"\boxed{3}"]},
]
MATH = {"equivalence": "math", "extract": "boxed"}


def scored(arguments, groups=GROUPS, **settings):
    return post(create_scoring_app(ServiceSettings(**settings), arguments), "/v1/score", {"groups": groups})


@pytest.mark.parametrize("name", [None, "official-trl-math", "official-verl", "ttrl"])
def test_the_reply_is_the_decision_of_the_provider(name):
    reply = scored({**MATH, **({"preset": name} if name else {})})
    assert reply.status_code == 200
    with EmpoProvider(**{**(preset(name) if name else {}), **MATH}) as provider:
        rollouts = [RolloutGroup(tuple(group["completions"]), group.get("question")) for group in GROUPS]
        expected = provider.step(rollouts, training=False)
    groups = json.loads(reply.text, parse_constant=pytest.fail)["groups"]
    for index, fields in enumerate(groups):
        rows = expected.rows(index)
        assert fields["rewards"] == pytest.approx(expected.rewards[rows].tolist())
        assert fields["advantages"] == pytest.approx(expected.advantages[rows].tolist())
        assert fields["loss_mask"] == expected.loss_mask[rows].tolist()
        assert fields["keep"] == bool(expected.keep[index])
        assert fields["drop_reason"] == expected.drop_reasons[index]
        assert fields["entropy"] == pytest.approx(float(expected.entropies[index]))
        assert fields["clusters"] == list(expected.results[index].labels)


def test_a_reward_that_does_not_exist_is_null():
    reply = scored({**MATH, "invalid": "drop"}).json()["groups"][0]
    assert reply["rewards"][3] is None
    assert reply["loss_mask"][3] is False
    assert reply["advantages"][3] == 0


def test_measures_and_gold_answers_reach_the_reward():
    groups = [{"completions": ["a", "b"], "measures": {"self_certainty": [0.3, 0.2]}}]
    assert scored({"equivalence": "exact", "reward": "self_certainty"}, groups).json()["groups"][0]["rewards"] == [
        0.3,
        0.2,
    ]
    groups = [{"completions": [r"\boxed{4}", r"\boxed{5}"], "gold": "4"}]
    assert scored({**MATH, "reward": "golden"}, groups).json()["groups"][0]["rewards"] == [1, 0]


@pytest.mark.parametrize(
    ("groups", "named"),
    [
        ([], "body.groups"),
        ([{"completions": []}], "body.groups.0.completions"),
        ([{"completions": ["a"], "measures": {"tokens": [1, 2]}}], "2 numbers for 1 completions"),
        ([{"completions": ["a"] * 65}], "--max-responses"),
        ([{"completions": ["a"], "answer": "b"}], "body.groups.0.answer"),
    ],
)
def test_a_wrong_batch_is_an_error_that_names_what_is_wrong(groups, named):
    reply = scored({"equivalence": "exact"}, groups)
    assert reply.status_code == 422
    assert named in reply.text


@pytest.mark.parametrize("value", ["1e308", "-1e308", "1e400", "1.1e15"])
@pytest.mark.parametrize("reward", ["token_entropy", "empo"])
def test_a_measure_that_no_reward_can_have_is_an_error_that_names_the_value(value, reward):
    body = f'{{"groups": [{{"completions": ["a", "b"], "measures": {{"token_entropy": [1, {value}]}}}}]}}'
    call = ("POST", "/v1/score", {"content": body, "headers": {"content-type": "application/json"}})
    (reply,) = ask(create_scoring_app(ServiceSettings(), {"equivalence": "exact", "reward": reward}), call)
    (error,) = reply.json()["errors"]
    assert reply.status_code == 422
    assert (error["field"], error["value"]) == ("body.groups.0.measures.token_entropy.1", str(float(value)))


def test_the_largest_measures_give_finite_advantages():
    groups = [{"completions": ["a", "b", "c"], "measures": {"token_entropy": [1e15, -1e15, 0]}}]
    (reply,) = scored({"equivalence": "exact", "reward": "token_entropy"}, groups).json()["groups"]
    assert reply["rewards"] == [-1e15, 1e15, 0]
    assert reply["advantages"] == pytest.approx([-1, 1, 0])


def test_a_weight_and_a_measure_whose_product_is_too_large_are_an_error_that_names_both():
    groups = [{"completions": ["a", "b"], "measures": {"token_entropy": [1e10, 1]}}]
    composite = {"reward": "composite", "reward_options": {"weights": {"token_entropy": 1e10, "empo": 1.0}}}
    reply = scored({"equivalence": "exact", **composite}, groups)
    assert reply.status_code == 422
    assert "the weight 1e+10 of token_entropy times its reward -1e+10" in reply.json()["detail"]


def test_an_unknown_entropy_has_its_reason_and_invalid_answers_count_as_in_estimate():
    """Two answers that are not valid are two clusters, for a reward and for `estimate`, unless invalid='drop'."""
    groups = [{"completions": ["", ""]}]
    cases = [({}, math.log(2), None), ({"invalid": "penalty"}, math.log(2), None)]
    cases += [({"invalid": "drop"}, None, "no answer is valid, and invalid='drop' leaves such answers out")]
    for arguments, entropy, reason in cases:
        (reply,) = scored({"equivalence": "exact", "extract": "whole", **arguments}, groups).json()["groups"]
        invalid = "drop" if arguments.get("invalid") == "drop" else "separate"
        estimated = estimate(["", ""], equivalence="exact", invalid=invalid).to_dict()
        assert reply["entropy"] == estimated["entropy"] == (entropy and pytest.approx(entropy))
        assert reply["clusters"] == estimated["labels"]
        assert reply["null_reason"] == reason
    measured = {"equivalence": "exact", "reward": "format"}
    (reply,) = scored(measured, [{"completions": ["a", "b"]}]).json()["groups"]
    assert reply["entropy"] is None
    assert "measure_entropy=true" in reply["null_reason"]
    (reply,) = scored({**measured, "measure_entropy": True}, [{"completions": ["a", "b"]}]).json()["groups"]
    assert (reply["entropy"], reply["null_reason"]) == (pytest.approx(math.log(2)), None)


@pytest.mark.parametrize("outside", ["drop", "zero"])
def test_a_group_outside_the_bounds_has_the_reason_whether_it_is_dropped_or_paid_zero(outside):
    arguments = {"equivalence": "exact", "extract": "whole", "outside": outside, "invalid": "drop"}
    certain, open_one, empty = scored(
        arguments, [{"completions": ["a", "a"]}, {"completions": ["a", "b"]}, {"completions": ["", ""]}]
    ).json()["groups"]
    is_zero = outside == "zero"
    assert certain["drop_reason"] == "entropy not above delta_low"
    assert (certain["keep"], certain["loss_mask"]) == (is_zero, [is_zero, is_zero])
    assert certain["rewards"] == ([0, 0] if is_zero else [1, 1])
    assert (open_one["drop_reason"], open_one["keep"], open_one["rewards"]) == (None, True, [0.5, 0.5])
    assert empty["drop_reason"] == ("no completion has a reward" if is_zero else "no valid answer")
    assert (empty["keep"], empty["rewards"], empty["loss_mask"]) == (False, [None, None], [False, False])


def test_a_missing_measure_is_an_error_of_the_client():
    reply = scored({"equivalence": "exact", "reward": "self_certainty"}, [{"completions": ["a", "b"]}])
    assert reply.status_code == 422
    assert "self_certainty" in reply.json()["detail"]


def test_the_routes_of_the_service_are_there_too():
    app = create_scoring_app(ServiceSettings(), {"equivalence": "exact"})
    estimated, health = ask(app, ("POST", "/v1/estimate", {"json": {"responses": ["a", "b"]}}), ("GET", "/health", {}))
    assert estimated.json()["result"]["entropy"] == pytest.approx(math.log(2))
    assert health.status_code == 200
    assert "/v1/score" in app.openapi()["paths"]


def started(monkeypatch, *arguments):
    seen = []
    monkeypatch.setattr("semantic_entropy.serve.run_service", lambda *call: (seen.append(call), call[2]()))
    result = CliRunner().invoke(main, arguments)
    return seen, result.output


def test_the_command_starts_the_service(monkeypatch):
    options = "--preset official-verl --reward-equivalence exact --provider-option scale=batch --port 9000"
    ((settings, factory, _),), _ = started(monkeypatch, *options.split())
    assert settings.port == 9000
    assert (factory.func, factory.keywords["arguments"]["scale"]) == (create_scoring_app, "batch")
    assert pickle.loads(pickle.dumps((settings, factory)))[0] == settings  # a worker process gets both


def test_the_command_says_what_its_user_needs_and_nothing_about_decisions_that_nobody_asked_for(monkeypatch):
    address = "http://127.0.0.1:8000 (1 worker); Ctrl-C ends the service"
    _, output = started(monkeypatch, "--reward-equivalence", "exact")
    assert output.splitlines() == [address]
    _, output = started(monkeypatch, "--reward-equivalence", "exact", "--fail-above", "0.7")
    assert output.splitlines() == ["no --sampler: /verify and single responses of a guardrail are unknown", address]


def test_the_command_refuses_an_argument_that_the_provider_does_not_have(monkeypatch):
    seen, output = started(monkeypatch, "--reward-equivalence", "exact", "--provider-option", "scael=batch")
    assert not seen
    assert "Did you mean 'scale'?" in output
