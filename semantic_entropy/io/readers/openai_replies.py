"""Rows that are replies of an OpenAI-compatible API: chat completions, and lines of a batch output.

    {"id": "chatcmpl-1", "object": "chat.completion", "choices": [...]}                                    a completion
    {"custom_id": "q1", "response": {"status_code": 200, "body": {"choices": [...]}}, "error": null}       a batch
    {"custom_id": "q1", "result": {"type": "succeeded", "message": {...}}}                                 Anthropic

The choices of a row are its responses (`semantic_entropy.clusters.chat_replies`). A batch output has no questions: they
come from the requests, which have the same `custom_id`. A failed request is a bad row, and so is a reply without one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from semantic_entropy.clusters import last_user_turn, one_group, read_replies
from semantic_entropy.errors import InputError
from semantic_entropy.io.readers.input_file import InputFile
from semantic_entropy.tables import FieldNames
from semantic_entropy.types import Group

_SUCCESS = range(200, 300)  # HTTP


class OpenAICheck:
    """Reads the group of a reply.

    Args:
        questions: the questions by `custom_id`; None: no requests are given.
    """

    def __init__(self, questions: Mapping[str, str | None] | None) -> None:
        self._questions = questions

    def __call__(self, fields: Mapping[str, Any], names: FieldNames) -> tuple[Group | None, str | None]:
        """Return (group, None) for a reply that can be measured, else (None, problem)."""
        if names.question is not None and names.question not in fields:
            return None, f"no field {names.question!r}; it has {', '.join(fields) or 'none'}"
        body, problem = _body(fields)
        if problem:
            return None, problem
        if not isinstance(body, Mapping) or read_replies(body) is None:
            return None, f"no reply of a chat model; it has {', '.join(body if isinstance(body, Mapping) else fields)}"
        request = str(fields.get("custom_id"))
        if self._questions is not None and request not in self._questions:
            return None, f"no request with the custom_id {request!r:.80} is in the file of --requests"
        question = self._questions.get(request) if self._questions else None
        question = names.question_in(fields)[1] if question is None else question
        try:
            return one_group(body, question, None, evidence=names.evidence_or_none(fields)), None
        except InputError as error:
            return None, str(error)


def is_reply_row(fields: Mapping[str, Any]) -> bool:
    """Whether these fields are those of a completion or of a line of a batch output."""
    if "custom_id" in fields:
        return "response" in fields or "result" in fields or "error" in fields
    choices = fields.get("choices")
    return (
        isinstance(choices, list)
        and all(isinstance(choice, Mapping) for choice in choices)
        and ("object" in fields or read_replies(fields) is not None)
    )


def is_request_row(fields: Mapping[str, Any]) -> bool:
    """Whether these fields are those of a line of a batch input."""
    return "custom_id" in fields and ("body" in fields or "params" in fields) and not is_reply_row(fields)


def read_questions(file: InputFile) -> dict[str, str | None]:
    """Read the question of each request of a batch input: its last user turn. Return the questions by `custom_id`;
    None: the request has no question.

    All questions are in memory; a batch of OpenAI has at most 50,000 requests.

    Raises:
        InputError: a line is not a request, or two requests have the same `custom_id`.
    """
    questions: dict[str, str | None] = {}
    with file.open() as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            request: Any = None
            with contextlib.suppress(ValueError, RecursionError):
                request = json.loads(line)
            body = (request.get("body") or request.get("params")) if isinstance(request, dict) else None
            if not isinstance(body, dict) or "custom_id" not in request:
                raise InputError(f"{file.name}, line {number}: not a request of a batch: it needs custom_id and body")
            if (name := str(request["custom_id"])) in questions:
                raise InputError(
                    f"{file.name}, line {number}: the custom_id {name!r:.80} was in a line before, so the question of "
                    "its reply is unknown: remove one of the requests"
                )
            question = last_user_turn(body)
            questions[name] = question if isinstance(question, str) else None
    return questions


def _body(fields: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Return (the body of the reply, None), or (None, why the request failed)."""
    if "custom_id" not in fields:
        return fields, None
    if error := fields.get("error"):
        return None, f"the request failed: {_message(error)}"
    if isinstance(result := fields.get("result"), Mapping):
        failed = f"the request is {result.get('type')}: {_message(result.get('error') or 'no reply')}"
        return result.get("message"), None if result.get("type") == "succeeded" else failed
    response = fields.get("response")
    if not isinstance(response, Mapping):
        return None, "the request has no response"
    status = response.get("status_code", 200)
    if status not in _SUCCESS:
        return None, f"the request failed with status {status}: {_message(response.get('body'))}"
    return response.get("body"), None


def _message(error: Any) -> str:
    while isinstance(error, Mapping) and (inner := error.get("error") or error.get("message") or error.get("code")):
        error = inner
    return error if isinstance(error, str) else json.dumps(error, default=str)[:200]
