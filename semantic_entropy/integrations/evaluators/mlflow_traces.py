"""Semantic entropy in MLflow: logged traces get assessments; a scorer for `mlflow.genai.evaluate`.

    summary = score_traces(experiment="my-app")                 # groups traces by their inputs, writes the scores
    mlflow.genai.evaluate(data=..., scorers=[entropy_scorer()]) # outputs: a list of answers, or a reply with n choices

`score_traces` groups the traces whose spans have equal names and inputs, or reads the n choices of one trace. Each
trace of a group gets the feedback `semantic_entropy`: the entropy in nats, the meanings as rationale, and the details
as metadata. A group of at least two answers of which fewer than two are valid gets a feedback with an error in place of
a value. A trace with one answer and no other trace with its question gets nothing; the summary counts it.

A second run writes nothing where the score is unchanged, and replaces the feedback of an earlier run where it changed;
feedback of other authors stays. Source: "Assessments" and "Scorers" in the documentation of MLflow 3.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mlflow
from mlflow.entities import AssessmentError, AssessmentSource, AssessmentSourceType, Feedback, Trace
from mlflow.genai.scorers import Scorer, scorer

from semantic_entropy.errors import InputError
from semantic_entropy.integrations.evaluators.logged_answers import (
    SCORE_NAME,
    SOURCE,
    AnswerScore,
    LoggedAnswers,
    LoggedText,
    ScoringSummary,
    answer_texts,
    group_by_question,
    input_key,
    question_text,
    score_answers,
)
from semantic_entropy.progress import progress_bar

_AUTHOR = SOURCE.split(" ", maxsplit=1)[0]
_PAGE = 100  # traces of one request: each has its spans
_NO_SCORE = "TOO_FEW_ANSWERS"


def score_traces(
    experiment: str | Sequence[str] | None = None,
    *,
    filter_string: str | None = None,
    traces: Sequence[Trace] | None = None,
    span: str | None = None,
    question: str | None = None,
    answer: str | None = None,
    group_by: str | Callable[[Trace], str | None] | None = None,
    dry_run: bool = False,
    progress: bool | None = None,
    **choices: Any,
) -> ScoringSummary:
    """Score logged traces, and write the scores as feedback.

    Args:
        experiment: the name of an experiment, or several; None: the active experiment.
        filter_string: MLflow's search filter, such as "attributes.timestamp_ms > 1700000000000".
        traces: the traces, in place of a search.
        span: the name of the span with question and answer; None: the root span. A span that a trace has several times
            gives several answers.
        question: the name of the question in the inputs; None: it is found.
        answer: the name of the answer in the outputs, or a path such as "result.text"; None: it is found.
        group_by: traces with an equal value answer the same question: the name of a tag or of metadata of the trace, or
            a function of the trace. None: the names of the spans and their whole inputs are equal.
        dry_run: True: measure and write nothing.
        progress: True: show a progress bar while feedback is written. None: show it on a terminal.
        **choices: the arguments of `semantic_entropy.estimate`, such as `equivalence` and `extract`.

    Raises:
        InputError: an experiment does not exist.
        SemanticEntropyError: the errors of `estimate`. Nothing is written then.
    """
    found = {
        trace.info.trace_id: trace for trace in (traces if traces is not None else _search(experiment, filter_string))
    }
    entries: list[LoggedText] = []
    unreadable: dict[str, str] = {}
    for trace in found.values():
        read, problems = _read(trace, span, question, answer, group_by)
        entries += read
        unreadable |= problems
    scores = tuple(score_answers(group_by_question(entries), **choices))
    pending = [(trace_id, score) for score in scores for trace_id in dict.fromkeys(score.answers.entries)]
    written = 0
    with progress_bar("traces", len(pending), sys.stderr.isatty() if progress is None else progress) as advance:
        for trace_id, score in () if dry_run else pending:
            written += _write(found[trace_id], score)
            advance(1)
    return ScoringSummary(scores, written, unreadable)


def entropy_scorer(name: str = SCORE_NAME, **choices: Any) -> Scorer:
    """Return a scorer for `mlflow.genai.evaluate`: the semantic entropy of the answers in `outputs`, in nats.

    `outputs` is a list of answers to `inputs`, or a reply of an API with n choices. With one answer, the feedback has
    an error in place of a value.

    Args:
        name: the name of the feedback.
        **choices: the arguments of `semantic_entropy.estimate`, such as `equivalence` and `extract`.
    """

    @scorer(name=name, aggregations=["mean", "median", "max"])  # type: ignore[untyped-decorator]
    def semantic_entropy(inputs: Any, outputs: Any) -> Feedback:
        texts = answer_texts(outputs)
        if isinstance(texts, str):
            return Feedback(name=name, error=AssessmentError(_NO_SCORE, texts), rationale=f"no score: {texts}")
        (score,) = score_answers([LoggedAnswers(question_text(inputs), texts)], **choices)
        return _feedback(score, name)

    return semantic_entropy


def _search(experiment: str | Sequence[str] | None, filter_string: str | None) -> Iterator[Trace]:
    client = mlflow.MlflowClient()
    names = [experiment] if isinstance(experiment, str) else experiment
    ids = []
    for name in names or ():
        known = client.get_experiment_by_name(name)
        if known is None:
            raise InputError(f"experiment={name!r} does not exist at {mlflow.get_tracking_uri()}")
        ids.append(known.experiment_id)
    if names is None:
        ids = [mlflow.tracking.fluent._get_experiment_id()]  # noqa: SLF001  # what `mlflow.search_traces` searches
    mlflow.flush_trace_async_logging()  # traces that this process has logged, and not yet sent
    token = None
    while True:
        page = client.search_traces(ids, filter_string, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _read(
    trace: Trace,
    span: str | None,
    question: str | None,
    answer: str | None,
    group_by: str | Callable[[Trace], str | None] | None,
) -> tuple[list[LoggedText], dict[str, str]]:
    """Return the answers of a trace; and why others cannot be read, by the trace, or the trace and its span."""
    own, spans = trace.info.trace_id, trace.data.spans
    chosen = [each for each in spans if each.name == span] if span else [each for each in spans if not each.parent_id]
    if not chosen:
        names = ", ".join(dict.fromkeys(each.name for each in spans))
        missing = f"no span {span!r}; it has {names or 'none'}" if span else "no root span"
        return [], {own: f"the trace has {missing}"}
    group = _group(trace, group_by) if group_by else None
    if group_by and group is None:
        missing = (
            f"the trace has no tag or metadata {group_by!r}" if isinstance(group_by, str) else "group_by gave None"
        )
        return [], {own: missing}
    entries, problems = [], {}
    for each in chosen:
        texts, name = answer_texts(each.outputs, answer), f"{own} {each.span_id}"
        if isinstance(texts, str):
            status = each.status.status_code
            failed = f"status {status}: " if "ERROR" in str(status) else ""
            problems[own if len(chosen) == 1 else name] = failed + texts
            continue
        key = group if group is not None else input_key(each.inputs, each.name, entry=name)
        entries.append(LoggedText(own, key, question_text(each.inputs, question), texts))
    return entries, problems


def _group(trace: Trace, group_by: str | Callable[[Trace], str | None]) -> str | None:
    if callable(group_by):
        return group_by(trace)
    known: str | None = {**trace.info.trace_metadata, **trace.info.tags}.get(group_by)
    return known


def _write(trace: Trace, score: AnswerScore) -> int:
    """Write the score of a trace; return whether something was written."""
    earlier = [
        each
        for each in trace.info.assessments or ()
        if each.name == SCORE_NAME and each.source.source_id.split(" ")[0] == _AUTHOR
    ]
    if score.result is None and not earlier:
        return 0
    new = _feedback(score, SCORE_NAME)
    kept = next((each for each in earlier if _content(each) == _content(new)), None)
    if kept is None and score.result is not None:  # written first: a run that is killed here leaves two, not none
        mlflow.log_assessment(trace_id=trace.info.trace_id, assessment=new)
    for each in earlier:
        if each is not kept:
            mlflow.delete_assessment(trace.info.trace_id, each.assessment_id)
    return int(kept is None)


def _content(feedback: Any) -> tuple[Any, ...]:
    known = {name: text for name, text in (feedback.metadata or {}).items() if not name.startswith("mlflow.")}
    return feedback.value, feedback.error and feedback.error.error_message, feedback.rationale, known


def _feedback(score: AnswerScore, name: str) -> Feedback:
    details = {key: value if isinstance(value, str) else json.dumps(value) for key, value in score.metadata().items()}
    return Feedback(
        name=name,
        value=score.value,
        error=None if score.value is not None else AssessmentError(_NO_SCORE, score.reason),
        rationale=score.comment,
        source=AssessmentSource(source_type=AssessmentSourceType.CODE, source_id=SOURCE),
        metadata=details,
    )
