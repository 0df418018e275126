"""Semantic entropy in Langfuse: logged generations are scored, and the scores are written back.

    from langfuse import get_client
    summary = score_generations(get_client(), from_start_time=datetime(2026, 11, 1, tzinfo=UTC))

The generations with equal names, models and inputs answer the same question; so do the n choices of one generation.
Each generation of the group gets the numeric score `semantic_entropy`, in nats, with the meanings as comment and the
details as metadata. A group with fewer than two valid answers gets no score; the summary has the reason.

The id of a score is a digest of its generation and name, so Langfuse replaces the score when a second run writes it.
The scores are sent with `client.api.scores.create`, not `client.create_score`: the first answers how many scores were
accepted, the second only logs a failure. Source: the public API of Langfuse, observations v2 and scores.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from semantic_entropy.integrations.evaluators.logged_answers import (
    SCORE_NAME,
    AnswerScore,
    LoggedText,
    ScoringSummary,
    answer_texts,
    group_by_question,
    input_key,
    question_text,
    score_answers,
)
from semantic_entropy.progress import progress_bar

if TYPE_CHECKING:
    from langfuse import Langfuse

_PAGE = 100  # observations of one request: each has its input and output
_BATCH = 25  # scores of one request: its body may have 1 MiB, and a score has at most 30 KB
_NAMESPACE = uuid.UUID("6f0c7c1e-7d0a-5c7e-9b1f-2f9f0a4b5c11")  # of the ids of scores; never changes
_LONGEST_COMMENT = 2000  # characters: an answer may be long


def score_generations(
    client: Langfuse,
    *,
    name: str | None = None,
    question: str | None = None,
    answer: str | None = None,
    group_by: Callable[[Any], str | None] | None = None,
    observation_type: str | None = "GENERATION",
    score_name: str = SCORE_NAME,
    dry_run: bool = False,
    progress: bool | None = None,
    filters: dict[str, Any] | None = None,
    from_start_time: Any = None,
    to_start_time: Any = None,
    **choices: Any,
) -> ScoringSummary:
    """Score logged generations, and write the scores to Langfuse.

    Args:
        client: the client, such as `langfuse.get_client()`.
        name: the name of the observations; None: any.
        question: the name of the question in an input that is an object; None: it is found.
        answer: the name of the answer in an output that is an object, or a path such as "result.text"; None: it is
            found.
        group_by: a function of an observation; equal values answer the same question. None: name, model and
            input are equal.
        observation_type: "GENERATION", "SPAN", ...; None: the root observations, that is whole traces.
        score_name: the name of the scores.
        dry_run: True: measure and write nothing.
        progress: True: show a progress bar while scores are written. None: show it on a terminal.
        filters: other arguments of `client.api.observations.get_many`, such as {"environment": "production"}.
        from_start_time: the earliest start of an observation, a datetime; None: no limit.
        to_start_time: the latest start of an observation; None: no limit.
        **choices: the arguments of `semantic_entropy.estimate`, such as `equivalence` and `extract`.

    Raises:
        langfuse.api.core.ApiError: the server refuses a request. Scores that were sent before stay.
        SemanticEntropyError: the errors of `estimate`. Nothing is written then.
    """
    asked = {"name": name, "from_start_time": from_start_time, "to_start_time": to_start_time, **(filters or {})}
    asked |= {"type": observation_type} if observation_type else {"is_root_observation": True}
    entries, unreadable, traces = [], {}, {}
    for each in _observations(client, {key: value for key, value in asked.items() if value is not None}):
        texts, key = (
            answer_texts(each.output, answer),
            group_by(each) if group_by else input_key(each.input, each.name, each.model, entry=each.id),
        )
        if isinstance(texts, str):
            unreadable[each.id] = texts if each.level != "ERROR" else f"ERROR {each.status_message or ''}: {texts}"
        elif key is None:
            unreadable[each.id] = "group_by gave None"
        else:
            traces[each.id] = each.trace_id
            entries.append(LoggedText(each.id, key, question_text(each.input, question), texts))
    scores = tuple(score_answers(group_by_question(entries), **choices))
    requests = [
        _request(score, score_name, entry, traces[entry])
        for score in scores
        if score.value is not None
        for entry in dict.fromkeys(score.answers.entries)
    ]
    rejected = {} if dry_run else _send(client, requests, sys.stderr.isatty() if progress is None else progress)
    written = 0 if dry_run else len(requests) - len(rejected)
    return ScoringSummary(scores, written, unreadable, rejected)


def _observations(client: Langfuse, asked: dict[str, Any]) -> Iterator[Any]:
    cursor = None
    while True:
        page = client.api.observations.get_many(
            fields="core,basic,io,model", limit=_PAGE, **asked, **({"cursor": cursor} if cursor else {})
        )
        yield from page.data
        cursor = page.meta.cursor
        if not cursor:
            return


def _request(score: AnswerScore, name: str, observation: str, trace: str | None) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(_NAMESPACE, f"{trace}/{observation}/{name}")),
        "trace_id": trace,
        "observation_id": observation,
        "name": name,
        "value": score.value,
        "data_type": "NUMERIC",
        "comment": score.comment[:_LONGEST_COMMENT],
        "metadata": score.metadata(),
    }


def _send(client: Langfuse, requests: Sequence[dict[str, Any]], progress: bool) -> dict[str, str]:
    """Send the scores; return the reasons of those that were not accepted, by observation."""
    from langfuse.api import CreateScoreRequest

    rejected: dict[str, str] = {}
    with progress_bar("scores", len(requests), progress) as advance:
        for start in range(0, len(requests), _BATCH):
            batch = requests[start : start + _BATCH]
            reply = client.api.scores.create(request=[CreateScoreRequest(**fields) for fields in batch])
            if getattr(reply, "rejected", 0):
                rejected |= _rejected(client, batch, CreateScoreRequest)
            advance(len(batch))
    return rejected


def _rejected(client: Langfuse, batch: Sequence[dict[str, Any]], request: Any) -> dict[str, str]:
    """Send the scores of a batch one by one: a reply counts rejected scores, and does not name them."""
    reasons = {}
    for fields in batch:
        reply = client.api.scores.create(request=[request(**fields)])
        if getattr(reply, "rejected", 0):
            reasons[fields["observation_id"]] = "; ".join(error.message for error in reply.errors) or "no reason given"
    return reasons
