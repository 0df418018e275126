"""The verify endpoint that vLLM's Semantic Router asks (AutoMix, arXiv:2310.12963): `POST /verify`.

Read at vllm-project/semantic-router, commit 3d48f8c9cc0d5b15067ce324a03ec6cc25f192c3:
`src/semantic-router/pkg/selection/router_r1_client.go` (the client), `pkg/looper/confidence.go` (what it does with the
reply) and `src/training/model_selection/rl_model_selection/automix_verifier.py` (the reference server).

    confidence = verified_count / total_samples        samples that say the answer: they mean the same, and say each
                                                       sentence of it (`measuring_service`)
    should_escalate = confidence < threshold, or not known and `on_unknown` is "block"

The reference server asks a model whether the answer is right. This service asks the question again, and counts.

If nothing could be measured, `confidence` is null and `reason` says why. That router's client reads null as 0, so it
escalates, whatever `on_unknown` is.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from semantic_entropy.results import Result
from semantic_entropy.serve.measuring_service import MeasuringService, ToCheck, finite

VERIFY_PATH = "/verify"
_THRESHOLD = 0.7  # that of the reference server and of the router


class VerifyBody(BaseModel):
    """What the router sends."""

    model_config = ConfigDict(extra="ignore", strict=True)  # `true` is no threshold

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    context: str | None = Field(default=None, description="Text that the sampler reads before the question")
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = _THRESHOLD
    response_id: str | None = Field(
        default=None, max_length=200, description="The id of the judged response, for the OpenTelemetry event"
    )


class VerifyReply(BaseModel):
    """What the router reads; and `entropy` and `reason`, which it ignores."""

    confidence: float | None = Field(description="verified_count / total_samples; null: not known, see reason")
    should_escalate: bool = Field(description="confidence < threshold; if confidence is null, by --on-unknown")
    verified_count: int | None = Field(description="Samples that say the answer; null: not known")
    total_samples: int | None = Field(description="null: not known")
    samples: list[str] = Field(description="The texts of the samples; none if confidence is null")
    threshold: float = Field(description="The threshold of the request")
    entropy: float | None = Field(description="Semantic entropy of the samples, in nats; null: not known")
    reason: str


async def verify(body: VerifyBody, service: MeasuringService) -> tuple[VerifyReply, Result | None]:
    """Answer a call, and return what was measured."""
    question = f"{body.context}\n{body.question}" if body.context else body.question
    check = await service.check(ToCheck(question, (body.answer,)))
    confidence = check.confidence
    if confidence is None or check.result is None:
        return _reply(body, reason=check.unknown or "the sampler drew no response", service=service), None
    compared = f"{check.verified} of {check.total} samples say the answer"
    side = "at least" if confidence >= body.threshold else "below"
    reply = VerifyReply(
        confidence=confidence,
        should_escalate=confidence < body.threshold,
        verified_count=check.verified,
        total_samples=check.total,
        samples=list(check.texts),
        threshold=body.threshold,
        entropy=finite(check.result.entropy),
        reason=f"{compared}: {confidence:.3f}, {side} the threshold {body.threshold:g}",
    )
    return reply, check.result


def _reply(body: VerifyBody, *, reason: str, service: MeasuringService) -> VerifyReply:
    return VerifyReply(
        confidence=None,
        should_escalate=service.settings.on_unknown == "block",
        verified_count=None,
        total_samples=None,
        samples=[],
        threshold=body.threshold,
        entropy=None,
        reason=reason,
    )
