"""Errors as problem JSON (RFC 9457): status, title, detail, and for each wrong field its name, value and fix.

    {"type": "about:blank", "title": "Unprocessable Content", "status": 422, "detail": "1 field cannot be used",
     "errors": [{"field": "body.responses", "value": "'Paris'", "problem": "...", "fix": "..."}]}

A value is shown with at most 80 characters. An error of the program itself is a status 500 without any text of the
request: the reply has its type, and the log its type and place. Its message could hold an answer.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from semantic_entropy.errors import EquivalenceError, InputError, MissingDependencyError, SamplingError
from semantic_entropy.plain_text import one_line, show_value, to_json_line, to_json_value

_LOG = logging.getLogger("semantic_entropy.serve")


class JSONReply(JSONResponse):
    """JSON without nan and infinity (they become null), which holds any text of a model."""

    def render(self, content: Any) -> bytes:
        return to_json_line(to_json_value(content)).encode()


class _ProblemReply(JSONReply):
    media_type = "application/problem+json"


class FieldProblem(BaseModel):
    """A field that cannot be used."""

    field: str = Field(description="The path of the field, such as body.responses.0")
    value: str = Field(description="The value, with at most 80 characters")
    problem: str = Field(description="Why it cannot be used")
    fix: str = Field(description="What to send instead")


class ProblemBody(BaseModel):
    """The body of each error, RFC 9457."""

    type: str = Field(description="Always about:blank: the status says what kind of error it is")
    title: str = Field(description="The name of the status")
    status: int
    detail: str = Field(description="What happened, and what to do")
    errors: list[FieldProblem] = Field(default=[], description="The fields that cannot be used, at most 20")


class ServiceProblem(Exception):  # noqa: N818  # the word of RFC 9457
    """An error that a client gets.

    Args:
        status: the HTTP status.
        detail: what happened, and what to do.
        errors: the fields that cannot be used, each with field, value, problem and fix.
        headers: more headers of the response.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, list(errors), dict(headers or {})

    def reply(self) -> JSONReply:
        """Return the response."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "errors": self.errors,
        }
        return _ProblemReply(body, self.status, self.headers)


def wrong_field(field: str, value: Any, problem: str, fix: str) -> ServiceProblem:
    """Return the problem of one field."""
    error = {"field": field, "value": show_value(value), "problem": problem, "fix": fix}
    return ServiceProblem(422, f"{field}: {problem}: {fix}", errors=[error])


def busy(detail: str, seconds: int) -> ServiceProblem:
    """Return the problem of a service that cannot take the request now."""
    return ServiceProblem(503, detail, headers={"Retry-After": str(seconds)})


def error_problem(error: Exception) -> ServiceProblem:
    """Return the problem for an error. An unexpected error is logged, and shows its type alone."""
    if isinstance(error, ServiceProblem):
        return error
    if isinstance(error, TimeoutError):
        return ServiceProblem(504, "the time limit of a request is over: send fewer or shorter responses, or try later")
    if isinstance(error, SamplingError | EquivalenceError | MissingDependencyError):
        return ServiceProblem(502, one_line(str(error)))
    if isinstance(error, InputError):
        return ServiceProblem(422, one_line(str(error)))
    _LOG.error("status 500: %s", _described_without_text(error))
    return ServiceProblem(500, f"the service failed: {type(error).__name__}")


def _described_without_text(error: BaseException) -> str:
    """Return the type and place of an error, and of its cause: a component that failed is the cause of the error."""
    places = traceback.extract_tb(error.__traceback__)
    place = f"{places[-1].filename}:{places[-1].lineno}" if places else "unknown place"
    cause = "" if error.__cause__ is None else f", because of {_described_without_text(error.__cause__)}"
    return f"{type(error).__name__} at {place}{cause}"


async def validation_problem(_: Request, error: Exception) -> Response:
    """Return the response for a body that does not have the documented form."""
    assert isinstance(error, RequestValidationError)
    errors = [_field_problem(each) for each in error.errors()]
    count = f"{len(errors)} field{'s' * (len(errors) != 1)} cannot be used"
    named = "; ".join(f"{each['field']}: {each['problem']}" for each in errors[:3])
    return ServiceProblem(422, f"{count}: {named}", errors=errors[:20]).reply()


async def http_problem(request: Request, error: Exception) -> Response:
    """Return the response for a wrong path or method, and for a body that is not JSON."""
    assert isinstance(error, HTTPException)
    path, detail = show_value(request.url.path), str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"there is no route {path}: GET /openapi.json lists the routes"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another one")
        detail = f"the route {path} has no method {request.method:.20}: send {allowed}"
    return ServiceProblem(error.status_code, detail, headers=error.headers).reply()


async def service_problem(_: Request, error: Exception) -> Response:
    """Return the response for a `ServiceProblem`."""
    assert isinstance(error, ServiceProblem)
    return error.reply()


def _field_problem(error: Mapping[str, Any]) -> dict[str, str]:
    field, kind, message = ".".join(map(str, error["loc"])), str(error["type"]), one_line(str(error["msg"]))
    if kind == "missing":
        return {"field": field, "value": "none", "problem": "the field is missing", "fix": "add the field"}
    fixes = {
        "extra_forbidden": "remove the field, or correct its name",
        "json_invalid": "send one JSON object in UTF-8",
    }
    value = show_value(error.get("input")) if kind != "json_invalid" else "none"
    expected = message.removeprefix("Input should be ")
    fix = fixes.get(kind, f"send {expected}" if expected != message else "correct the value")
    return {"field": field, "value": value, "problem": message, "fix": fix}


def _described(status: int, text: str) -> dict[str, Any]:
    schema = {"schema": {"$ref": "#/components/schemas/ProblemBody"}}
    return {"model": ProblemBody, "description": text, "content": {"application/problem+json": schema}} | {
        "headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}} if status == 503 else {}
    }


PROBLEM_REPLIES: dict[int | str, dict[str, Any]] = {
    status: _described(status, text)
    for status, text in (
        (400, "The body cannot be read"),
        (401, "The token is missing or wrong"),
        (403, "The Host header names another machine"),
        (408, "The body did not arrive in time"),
        (413, "The body is too large"),
        (415, "The body is not declared as JSON"),
        (422, "A field cannot be used"),
        (500, "The service failed"),
        (502, "The server of the judge or of the sampler failed"),
        (503, "The queue is full, or the service stops"),
        (504, "The time limit is over"),
    )
}
"""The responses of errors, for the OpenAPI schema of a route."""
