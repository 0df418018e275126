"""The real SDK of Langfuse against a local server that keeps what it gets (langfuse_server.py)."""

import importlib.util
import json
from pathlib import Path

import pytest

langfuse = pytest.importorskip("langfuse", reason="the extra `langfuse`: python3 noxfile.py evaluators")
from langfuse.api.core import ApiError  # noqa: E402

from semantic_entropy import estimate  # noqa: E402
from semantic_entropy.integrations.evaluators.langfuse_traces import score_generations  # noqa: E402

_spec = importlib.util.spec_from_file_location("langfuse_server", Path(__file__).with_name("langfuse_server.py"))
langfuse_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(langfuse_server)

FRANCE = ["Paris", "It is Paris.", "Lyon", "paris"]
EXPECTED = estimate(FRANCE, question="Capital of France?").entropy


@pytest.fixture
def server():
    return langfuse_server.LangfuseServer()


@pytest.fixture
def client(server, request):
    key = f"pk-{request.node.name}"  # the SDK keeps one client for each key
    with langfuse_server.running(server) as address:
        yield langfuse.Langfuse(public_key=key, secret_key="sk-test", base_url=address, tracing_enabled=False)


def test_generations_of_one_question_get_their_entropy_and_a_second_run_replaces_the_scores(server, client):
    ids = [server.add("Capital of France?", text) for text in FRANCE]
    server.add("Capital of Peru?", "I don't know.")
    server.add("Capital of Peru?", "Lima")
    server.add("Capital of Chile?", "Santiago")
    lost = server.add("Capital of France?", None, level="ERROR", statusMessage="time-out")
    for _ in range(2):
        summary = score_generations(client)
        assert (len(summary.scored), len(summary.skipped), summary.written) == (1, 2, 4)
        assert summary.unreadable == {lost: "ERROR time-out: there is no output"}
        assert "Capital of Peru?: 1 of 2 answers are valid" in str(summary)
        assert sorted(score["observationId"] for score in server.scores.values()) == sorted(ids)
    for score in server.scores.values():
        assert score["value"] == pytest.approx(EXPECTED)
        assert (score["name"], score["dataType"]) == ("semantic_entropy", "NUMERIC")
        assert score["traceId"] == score["observationId"].zfill(32)
        assert "3 x" in score["comment"]
        assert score["metadata"]["n_valid"] == 4
    reads = [path for method, path in server.requests if method == "GET"]
    assert len(reads) == 6  # three pages in each run


def test_generations_without_an_input_are_no_answers_to_one_question(server, client):
    for text in ("Paris", "Lima"):
        server.add("", text, input=None)
    summary = score_generations(client)
    assert (len(summary.scores), summary.written) == (2, 0)


def test_n_choices_of_one_generation_are_a_group(server, client):
    output = {"choices": [{"message": {"role": "assistant", "content": text}} for text in FRANCE]}
    server.add("Capital of France?", json.dumps(output))
    (score,) = score_generations(client).scores
    assert score.value == pytest.approx(EXPECTED)
    assert len(server.scores) == 1


def test_other_models_and_other_conversations_are_other_groups(server, client):
    server.add("Capital?", "Paris")
    server.add("Capital?", "Lyon", model="m2")
    server.add("Capital?", "Lyon", name="critique")
    server.add(
        "Capital?",
        "Lima",
        input=json.dumps([{"role": "user", "content": "Peru"}, {"role": "user", "content": "Capital?"}]),
    )
    assert [len(score.answers.entries) for score in score_generations(client).scores] == [1, 1, 1, 1]
    together = score_generations(client, group_by=lambda observation: "one", score_name="all", equivalence="exact")
    assert together.written == 4
    assert {score["name"] for score in server.scores.values()} == {"all"}


def test_a_rejected_score_is_counted_and_the_others_are_written(server, client):
    ids = [server.add("Capital of France?", text) for text in FRANCE]
    server.refused = {ids[1]}
    summary = score_generations(client)
    assert (summary.written, summary.rejected) == (3, {ids[1]: "refused"})
    assert len(server.scores) == 3
    assert "1 score rejected" in str(summary)


def test_a_server_that_fails_is_an_error_and_a_dry_run_sends_nothing(server, client):
    for text in FRANCE:
        server.add("Capital of France?", text)
    assert len(score_generations(client, dry_run=True).scored) == 1
    assert not [method for method, _ in server.requests if method == "POST"]
    server.broken = True
    with pytest.raises(ApiError):
        score_generations(client)


def test_whole_traces_are_the_root_observations(server, client):
    server.add("Capital of France?", json.dumps({"result": {"text": "Paris"}}), type="SPAN")
    server.add("Capital of France?", json.dumps({"result": {"text": "Lyon"}}), type="SPAN")
    summary = score_generations(client, observation_type=None, answer="result.text", name="answer")
    assert summary.written == 2
    assert "isRootObservation=true" in server.requests[0][1]
