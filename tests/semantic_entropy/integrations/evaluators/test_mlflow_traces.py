"""Real traces of MLflow in a local SQLite store, real assessments, and a real `mlflow.genai.evaluate`."""

import json

import pytest

mlflow = pytest.importorskip("mlflow", reason="the extra `mlflow`: python3 noxfile.py evaluators")
from semantic_entropy import InputError, estimate  # noqa: E402
from semantic_entropy.integrations.evaluators.mlflow_traces import entropy_scorer, score_traces  # noqa: E402

FRANCE = ["Paris", "It is Paris.", "Lyon", "paris"]
EXPECTED = estimate(FRANCE, question="Capital of France?").entropy


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    yield folder
    mlflow.set_tracking_uri(None)


@pytest.fixture
def experiment(request, store):
    name = request.node.name
    mlflow.create_experiment(name, artifact_location=(store / name).as_uri())
    mlflow.set_experiment(name)
    return name


def log_trace(question, answer, name="app", tags=None):
    with mlflow.start_span(name) as span:
        span.set_inputs({"question": question})
        span.set_outputs(answer)
        if tags:
            mlflow.update_current_trace(tags=tags)
    return span.trace_id


def feedback(trace_id, name="semantic_entropy"):
    return [each for each in mlflow.get_trace(trace_id).info.assessments if each.name == name]


def test_traces_of_one_question_get_their_entropy_and_a_second_run_writes_nothing(experiment):
    ids = [log_trace("Capital of France?", text) for text in FRANCE]
    refused = [log_trace("Capital of Peru?", text) for text in ("I don't know.", "Lima")]
    alone, empty = log_trace("Capital of Chile?", "Santiago"), log_trace("Capital of France?", None)
    mlflow.flush_trace_async_logging()
    mlflow.log_feedback(trace_id=ids[0], name="semantic_entropy", value=0.1)  # of another author: stays
    first = score_traces(experiment)
    assert (len(first.scored), len(first.skipped), first.written) == (1, 2, 6)
    assert first.unreadable == {empty: "there is no output"}
    for trace_id in ids:
        (own,) = [each for each in feedback(trace_id) if each.source.source_id.startswith("semantic-entropy")]
        assert own.value == pytest.approx(EXPECTED)
        assert own.metadata["n_valid"] == "4"
        assert json.loads(own.metadata["clusters"])[0]["size"] == 3
        assert "3 x" in own.rationale
    for trace_id in refused:
        (own,) = feedback(trace_id)
        assert own.value is None
        assert own.error.error_message == "1 of 2 answers are valid; at least 2 are needed"
    assert feedback(alone) == []
    again = score_traces(experiment)
    assert again.written == 0
    assert [len(feedback(trace_id)) for trace_id in ids] == [2, 1, 1, 1]
    ids.append(log_trace("Capital of France?", "Marseille"))
    changed = score_traces(experiment)
    assert changed.written == 5
    assert [len(feedback(trace_id)) for trace_id in ids] == [2, 1, 1, 1, 1]
    assert feedback(ids[-1])[0].value > EXPECTED


def test_n_choices_of_one_span_are_a_group(experiment):
    with mlflow.start_span("chain") as chain:
        chain.set_inputs({"q": "Capital of France?"})
        with mlflow.start_span("llm", span_type="CHAT_MODEL") as span:
            span.set_inputs({"messages": [{"role": "user", "content": "Capital of France?"}]})
            span.set_outputs({"choices": [{"message": {"role": "assistant", "content": text}} for text in FRANCE]})
        chain.set_outputs("Paris")
    with mlflow.start_span("other") as other:
        other.set_inputs({"q": "Capital of France?"})
        other.set_outputs("Lyon")
    assert [len(score.answers.entries) for score in score_traces(experiment, dry_run=True).scores] == [1, 1]
    (score,) = score_traces(experiment, span="llm").scores
    assert score.value == pytest.approx(EXPECTED)
    assert score.answers.question == "Capital of France?"
    assert len(feedback(chain.trace_id)) == 1
    missing = score_traces(experiment, span="no such span")
    assert missing.unreadable[chain.trace_id] == "the trace has no span 'no such span'; it has chain, llm"


def test_one_of_several_spans_that_cannot_be_read_is_named_and_the_others_are_scored(experiment):
    with mlflow.start_span("chain") as chain:
        for output in [*FRANCE, None, {"a": "x", "b": "y"}]:
            with mlflow.start_span("llm") as span:
                span.set_inputs({"question": "Capital of France?"})
                span.set_outputs(output)
    summary = score_traces(experiment, span="llm")
    (score,) = summary.scores
    assert score.value == pytest.approx(EXPECTED)
    empty, unclear = sorted(summary.unreadable.items(), key=lambda item: item[1], reverse=True)
    assert empty[1] == "there is no output"
    assert unclear[1] == "the output is an object (a, b): name the field with the answer"
    assert all(name.startswith(f"{chain.trace_id} ") for name, _ in (empty, unclear))
    assert "2 entries not readable" in str(summary)


def test_traces_are_grouped_by_a_tag_and_a_dry_run_writes_nothing(experiment):
    ids = [
        log_trace(f"Capital of France? ({n})", {"result": {"text": t}}, tags={"case": "7"})
        for n, t in enumerate(FRANCE)
    ]
    log_trace("Capital of France?", {"result": {"text": "Paris"}})
    summary = score_traces(experiment, group_by="case", answer="result.text", dry_run=True, equivalence="exact")
    assert len(summary.scored) == 1
    assert list(summary.unreadable.values()) == ["the trace has no tag or metadata 'case'"]
    assert all(not feedback(trace_id) for trace_id in ids)
    by_function = score_traces(experiment, group_by=lambda trace: trace.info.tags.get("case"), answer="result.text")
    assert by_function.written == 4


def test_more_traces_than_a_page_are_all_read(experiment):
    for n in range(103):
        log_trace("Capital of France?" if n < 102 else "Capital of Peru?", FRANCE[n % 4])
    summary = score_traces(experiment, dry_run=True)
    assert [len(score.answers.responses) for score in summary.scores] in ([102, 1], [1, 102])


def test_a_trace_that_failed_is_named(experiment):
    span = mlflow.start_span_no_context("app", inputs={"question": "?"})
    span.record_exception(ValueError("time-out"))
    span.end()
    assert "ERROR" in score_traces(experiment).unreadable[span.trace_id]


def test_an_unknown_experiment_is_an_error():
    with pytest.raises(InputError, match="no such experiment"):
        score_traces("no such experiment")


def test_the_scorer_of_evaluate_scores_lists_and_choices(experiment):
    rows = [
        {"inputs": {"question": "Capital of France?"}, "outputs": FRANCE},
        {"inputs": {"question": "Capital of Chile?"}, "outputs": "Santiago"},
    ]
    done = mlflow.genai.evaluate(data=rows, scorers=[entropy_scorer()])
    assert done.metrics["semantic_entropy/mean"] == pytest.approx(EXPECTED)
    found = {}
    for trace in mlflow.search_traces(return_type="list"):
        (own,) = [each for each in trace.info.assessments if each.name == "semantic_entropy"]
        found[trace.data.spans[0].inputs["question"]] = own
    assert found["Capital of France?"].value == pytest.approx(EXPECTED)
    assert found["Capital of Chile?"].value is None
    assert found["Capital of Chile?"].error.error_message == "1 answer; at least 2 are needed"
