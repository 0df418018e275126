"""The JSON of the routes under /v1. A field of another name is refused. Numbers that are not known are null.

Entropies are in nats. Shapes: G responses, M clusters.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from semantic_entropy.clusters import LOWEST_LOGPROB
from semantic_entropy.decisions import Action

LogProbability = Annotated[float, Field(allow_inf_nan=False, ge=LOWEST_LOGPROB, le=0, strict=True)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class EstimateBody(_Body):
    """Responses to one question. Without responses, the service's sampler draws them."""

    question: str | None = Field(default=None, min_length=1, description="The question that the responses answer")
    responses: list[str] | None = Field(
        default=None, min_length=1, description="(G,) responses of the model; none: the service's sampler draws them"
    )
    logprobs: list[list[LogProbability]] | None = Field(
        default=None, description="(G, tokens) log-probabilities of the tokens of each response, in nats"
    )
    interval: bool = Field(default=False, description="Whether result.interval has the 90% intervals")
    response_id: str | None = Field(
        default=None, max_length=200, description="The id of the judged response, for the OpenTelemetry event"
    )


class DecideBody(EstimateBody):
    """As for /v1/estimate."""


class ClusterFields(BaseModel):
    """Responses that mean the same."""

    indices: list[int] = Field(description="The responses of the cluster, from 0")
    representative: str | None = Field(description="An answer of the cluster; null: its answers are not valid")
    share: float | None = Field(description="The probability of the cluster, in [0, 1]; null: not known")


class ResultFields(BaseModel):
    """A measured group, see `semantic_entropy.Result`."""

    model_config = ConfigDict(extra="allow")

    entropy: float | None = Field(description="Semantic entropy in nats; null: see null_reason")
    normalized: float | None = Field(
        description="min(1, entropy / ln(n_valid)); null with fewer than two valid answers, or if entropy is null"
    )
    null_reason: str | None = Field(description="Why entropy or normalized is null")
    probabilities: list[float | None] = Field(description="(M,) the probability of each cluster; null: not known")
    labels: list[int] = Field(
        description="(G,) the cluster of each response; -1: its answer is left out (--invalid drop)"
    )
    clusters: list[ClusterFields]
    answer: str | None = Field(description="The main answer; null: no answer is valid")
    answers: list[str | None] = Field(description="(G,) the answer read in each response; null: not valid")
    n_valid: int = Field(description="The number of valid answers")
    invalid: int = Field(description="The number of answers that are not valid: empty, a refusal, nothing to extract")
    scores: dict[str, float | None] = Field(description="The number of each estimator, by name; null: not known")
    warnings: list[str]
    provenance: dict[str, Any] = Field(description="How it was measured: judge, clusterer, estimator, costs, ...")


class DecisionFields(BaseModel):
    """What to do with the main answer, see `semantic_entropy.decisions.Decision`."""

    action: Action
    reasons: list[str] = Field(description="Why, the reason that decides first")
    p_wrong: float | None = Field(
        description="The probability that the main answer is wrong, from the calibration; null: not known"
    )
    risk_score: float | None = Field(description="The number that is compared with the threshold; null: not known")
    threshold: float | None = Field(description="The certified threshold of the calibration; null: there is none")


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
