"""The JSON of the routes under /v1. A field of another name is refused. Numbers that are not known are null.

Entropies are in nats. Shapes: G responses, M clusters.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from semantic_entropy.decisions import Action

LogProbability = Annotated[float, Field(allow_inf_nan=False, le=0, strict=True)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class EstimateBody(_Body):
    """Responses to one question. Without responses, the service's sampler draws them."""

    question: str | None = Field(default=None, min_length=1, description="The question that the responses answer")
    responses: list[str] | None = Field(default=None, min_length=1, description="(G,) responses of the model")
    logprobs: list[list[LogProbability]] | None = Field(
        default=None, description="(G, tokens) log-probabilities of the tokens, in nats"
    )
    interval: bool = Field(default=False, description="Whether to add the 90% intervals")
    response_id: str | None = Field(
        default=None, max_length=200, description="The id of the judged response, for the OpenTelemetry event"
    )


class DecideBody(EstimateBody):
    """As for /v1/estimate."""


class ClusterFields(BaseModel):
    """Responses that mean the same."""

    indices: list[int]
    representative: str | None
    share: float | None


class ResultFields(BaseModel):
    """A measured group, see `semantic_entropy.Result`."""

    model_config = ConfigDict(extra="allow")

    entropy: float | None = Field(description="Semantic entropy in nats; null: see null_reason")
    normalized: float | None = Field(description="entropy / ln(n_valid); null with fewer than two valid answers")
    null_reason: str | None = Field(description="Why entropy or normalized is null")
    probabilities: list[float | None]
    labels: list[int] = Field(description="(G,) the cluster of each response; -1: the answer does not count")
    clusters: list[ClusterFields]
    answer: str | None = Field(description="The main answer; null: no answer is valid")
    answers: list[str | None]
    n_valid: int
    invalid: int
    scores: dict[str, float | None]
    warnings: list[str]
    provenance: dict[str, Any]


class DecisionFields(BaseModel):
    """What to do with the main answer, see `semantic_entropy.decisions.Decision`."""

    action: Action
    reasons: list[str]
    p_wrong: float | None
    risk_score: float | None
    threshold: float | None


class EstimateReply(BaseModel):
    """The reply of /v1/estimate."""

    result: ResultFields


class DecideReply(BaseModel):
    """The reply of /v1/decide."""

    decision: DecisionFields
    answer: str | None = Field(description="The main answer if the action is allow or warn; else null")
    result: ResultFields


class HealthReply(BaseModel):
    """The reply of /health and /ready."""

    status: str
    version: str
