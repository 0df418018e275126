"""The ASGI app: routes for measuring and deciding, for two gateways, for health and metrics.

POST /v1/estimate                            responses, or a question      the result
POST /v1/decide                              the same                      the decision, and the result
POST /beta/litellm_basic_guardrail_api       LiteLLM                       BLOCKED or NONE
POST /verify                                 vLLM's Semantic Router        confidence, should_escalate
GET  /health, /ready, /metrics, /openapi.json
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

import semantic_entropy
from semantic_entropy.results import Result
from semantic_entropy.serve.evaluation_events import UNKNOWN, EvaluationEvents
from semantic_entropy.serve.gateways.answer_verification import VERIFY_PATH, VerifyBody, VerifyReply, verify
from semantic_entropy.serve.gateways.litellm_guardrail import (
    GUARDRAIL_PATH,
    GuardrailBody,
    GuardrailReply,
    OpenCalls,
    guard,
)
from semantic_entropy.serve.measuring_service import Asked, MeasuringService, finite, result_fields
from semantic_entropy.serve.problems import (
    PROBLEM_REPLIES,
    JSONReply,
    ServiceProblem,
    http_problem,
    service_problem,
    validation_problem,
)
from semantic_entropy.serve.request_checks import RequestChecks
from semantic_entropy.serve.service_metrics import ServiceMetrics
from semantic_entropy.serve.service_settings import ServiceSettings
from semantic_entropy.serve.wire_models import DecideBody, DecideReply, EstimateBody, EstimateReply, HealthReply

Extension = Callable[[FastAPI, ServiceSettings], AbstractAsyncContextManager[None]]
"""Adds what another package serves, while the app runs: it gets the app and the settings."""
_OPEN_REPLIES: dict[int | str, dict[str, Any]] = {status: PROBLEM_REPLIES[status] for status in (403, 503)}

_METRICS_REPLIES: dict[int | str, dict[str, Any]] = {status: PROBLEM_REPLIES[status] for status in (401, 403)}


class _Running:
    """What exists while the app runs."""

    def __init__(self, settings: ServiceSettings, events: EvaluationEvents | None) -> None:
        self.metrics, self.calls = ServiceMetrics(), OpenCalls()
        self._settings, self._given = settings, events
        self.events = events or EvaluationEvents()
        self._service: MeasuringService | None = None

    @property
    def service(self) -> MeasuringService:
        if self._service is None:
            raise ServiceProblem(503, "the service starts or stops: try again", headers={"Retry-After": "1"})
        return self._service

    def open(self) -> None:
        if self._given is None:
            self.events = EvaluationEvents(self._settings.telemetry)
        self._service = service = MeasuringService(self._settings)
        for name, queue in (("measure", service.scoring), ("sample", service.sampling)):
            self.metrics.waiting.labels(name).set(0)
            queue.on_change = self.metrics.waiting.labels(name).set

    def close(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            service.close()
        self.events.close()

    def note(self, request: Request, result: Result | None, label: str | None, reason: str, **more: str | None) -> None:
        """Count a measurement, and send its event."""
        route, entropy = request.scope["route"].path, None if result is None else finite(result.entropy)
        if entropy is not None:
            self.metrics.entropy.observe(entropy)
        if result is None or label == UNKNOWN:
            self.metrics.unknown.labels(route).inc()
        elif label is not None:
            self.metrics.decisions.labels(route, label).inc()
        known = label if entropy is not None or label is not None else UNKNOWN
        self.events.send(entropy=entropy, label=known, explanation=reason or None, headers=request.headers, **more)


def create_app(
    settings: ServiceSettings,
    *,
    extension: Extension | None = None,
    events: EvaluationEvents | None = None,
) -> FastAPI:
    """Return the ASGI app. Its lifespan loads the judge and the sampler, and closes them.

    Args:
        settings: the settings.
        extension: adds routes of another package.
        events: sends OpenTelemetry events; None: as the settings say.
    """
    running = _Running(settings, events)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            await asyncio.to_thread(running.open)
            if extension is None:
                yield
            else:
                async with extension(app, settings):
                    yield
        finally:
            await asyncio.to_thread(running.close)

    app = FastAPI(
        title="semantic-entropy",
        version=semantic_entropy.__version__,
        lifespan=lifespan,
        docs_url=None,  # these pages load scripts from other hosts
        redoc_url=None,
        exception_handlers={
            RequestValidationError: validation_problem,
            HTTPException: http_problem,
            ServiceProblem: service_problem,
        },
    )
    app.include_router(_measuring_routes(running))
    app.include_router(_gateway_routes(running))
    app.include_router(_operating_routes(running))
    app.add_middleware(RequestChecks, settings=settings, metrics=running.metrics)
    return app


def _measuring_routes(running: _Running) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEM_REPLIES)

    @router.post("/estimate", response_model=EstimateReply)
    async def estimate(body: EstimateBody, request: Request) -> Response:
        """Measure the responses to one question."""
        result = await running.service.measure(_asked(body))
        running.note(request, result, None, "", response_id=body.response_id)
        return JSONReply({"result": result_fields(result, interval=body.interval)})

    @router.post("/decide", response_model=DecideReply)
    async def decide(body: DecideBody, request: Request) -> Response:
        """Measure the responses to one question, and decide whether their main answer may be used."""
        result = await running.service.measure(_asked(body))
        decision = running.service.decide(result)
        running.note(request, result, decision.action, "; ".join(decision.reasons), response_id=body.response_id)
        fields: dict[str, Any] = {"decision": decision.to_dict(), "answer": result.answer if decision.answers else None}
        return JSONReply({**fields, "result": result_fields(result, interval=body.interval)})

    return router


def _gateway_routes(running: _Running) -> APIRouter:
    router = APIRouter(responses=PROBLEM_REPLIES)

    @router.post(GUARDRAIL_PATH, response_model=GuardrailReply)
    async def litellm_guardrail(body: GuardrailBody, request: Request) -> Response:
        """LiteLLM's Generic Guardrail API."""
        reply, result = await guard(body, running.service, running.calls)
        if body.input_type == "response":
            measured = reply.semantic_entropy
            running.note(request, result, measured.decision or UNKNOWN, measured.reason)
        return JSONReply(reply.model_dump())

    @router.post(VERIFY_PATH, response_model=VerifyReply)
    async def verify_answer(body: VerifyBody, request: Request) -> Response:
        """The verify endpoint of vLLM's Semantic Router."""
        reply, result = await verify(body, running.service)
        label = UNKNOWN if result is None else "escalate" if reply.should_escalate else "accept"
        running.note(request, result, label, reply.reason, response_id=body.response_id)
        return JSONReply(reply.model_dump())

    return router


def _operating_routes(running: _Running) -> APIRouter:
    router = APIRouter()

    @router.get("/health", response_model=HealthReply, responses=_OPEN_REPLIES)
    async def health() -> Response:
        """Whether the process answers."""
        return JSONReply({"status": "ok", "version": semantic_entropy.__version__})

    @router.get("/ready", response_model=HealthReply, responses=_OPEN_REPLIES)
    async def ready() -> Response:
        """Whether the judge is loaded."""
        _ = running.service
        return JSONReply({"status": "ok", "version": semantic_entropy.__version__})

    @router.get(
        "/metrics",
        response_class=PlainTextResponse,
        responses=_METRICS_REPLIES,
    )
    async def metrics() -> Response:
        """Counts and times for Prometheus."""
        return Response(running.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router


def _asked(body: EstimateBody) -> Asked:
    return Asked(body.question, tuple(body.responses or ()), body.logprobs)
