import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from semantic_entropy import MissingDependencyError
from semantic_entropy.serve import ServiceSettings, create_app
from semantic_entropy.serve.evaluation_events import EvaluationEvents
from tests.plugins.chat_server import ChatServer, says
from tests.semantic_entropy.serve.serving import ask, sampler_choices

logs = pytest.importorskip("opentelemetry.sdk._logs.export")
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def sent(*calls, **settings):
    """The events of these calls."""
    exporter = logs.InMemoryLogRecordExporter()
    app = create_app(ServiceSettings(**settings), events=EvaluationEvents(exporter=exporter))
    replies = ask(app, *calls)
    assert all(reply.status_code == 200 for reply in replies)
    return [each.log_record for each in exporter.get_finished_logs()]


def post(path, body, **headers):
    return "POST", path, {"json": body, "headers": headers}


def test_a_decision_is_an_event_of_the_span_that_the_request_names():
    body = {"responses": ["Paris", "Paris", "Rome"], "response_id": "chatcmpl-1"}
    traceparent = f"00-{TRACE}-{SPAN}-01"
    (record,) = sent(post("/v1/decide", body, traceparent=traceparent), fail_above=0.7)
    assert record.event_name == "gen_ai.evaluation.result"
    attributes = dict(record.attributes)
    assert attributes.pop("gen_ai.evaluation.score.value") == pytest.approx(0.6365, abs=1e-4)
    assert "at most 0.7" in attributes.pop("gen_ai.evaluation.explanation")
    assert attributes == {
        "gen_ai.evaluation.name": "semantic_entropy",
        "gen_ai.evaluation.score.label": "allow",
        "gen_ai.response.id": "chatcmpl-1",
    }
    assert (f"{record.trace_id:032x}", f"{record.span_id:016x}") == (TRACE, SPAN)


def test_an_entropy_without_a_decision_has_no_label():
    (record,) = sent(post("/v1/estimate", {"responses": ["a", "b"]}))
    assert set(record.attributes) == {"gen_ai.evaluation.name", "gen_ai.evaluation.score.value"}
    assert record.trace_id == 0


def test_what_was_not_measured_is_unknown_and_has_no_score():
    (record,) = sent(post("/verify", {"question": "?", "answer": "a"}))
    assert record.attributes["gen_ai.evaluation.score.label"] == "unknown"
    assert "gen_ai.evaluation.score.value" not in record.attributes
    assert "no sampler" in record.attributes["gen_ai.evaluation.explanation"]


def test_gateways_send_one_event_for_each_response():
    with ChatServer(says(*["Paris"] * 5)) as server:
        question = [{"role": "user", "content": "Capital?"}]
        guardrail = {"structured_messages": question, "texts": ["Paris"]}
        records = sent(
            post("/verify", {"question": "Capital?", "answer": "Paris"}),
            post("/beta/litellm_basic_guardrail_api", {"input_type": "request", **guardrail}),
            post("/beta/litellm_basic_guardrail_api", {"input_type": "response", **guardrail}),
            choices=sampler_choices(server),
            fail_above=0.5,
        )
    assert [each.attributes["gen_ai.evaluation.score.label"] for each in records] == ["accept", "allow"]


def test_without_telemetry_nothing_is_sent():
    EvaluationEvents().send(entropy=1.0, label="allow")


def test_the_console_shows_an_event(capsys):
    events = EvaluationEvents("console")
    events.send(entropy=1.0, label="allow")
    events.close()
    assert "gen_ai.evaluation.score.value" in capsys.readouterr().err


def test_a_missing_exporter_is_named():
    try:
        import opentelemetry.exporter.otlp.proto.http  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match="opentelemetry-exporter-otlp-proto-http"):
            EvaluationEvents("otlp")
    else:
        pytest.skip("the exporter is installed")
