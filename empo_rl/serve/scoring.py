"""`POST /v1/score`: rewards and advantages of groups, as `EmpoProvider.step` computes them in an evaluation.

B groups of G completions, N completions in all. The service keeps no state between requests: a guard with a memory
(`concentration`) starts empty in each request, and a random signal draws the same numbers.

Left out: several processes that make one decision (`scale="batch"` is over the groups of one request).
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from empo_rl.core.decision import BatchDecision
from empo_rl.core.groups import LARGEST, RolloutGroup
from empo_rl.core.presets import preset
from empo_rl.core.provider import EmpoProvider
from semantic_entropy import InputError, nearest
from semantic_entropy.serve import (
    PROBLEM_REPLIES,
    JSONReply,
    ServiceProblem,
    ServiceSettings,
    WorkQueue,
    create_app,
    error_problem,
)

Measure = Annotated[float, Field(allow_inf_nan=False, ge=-LARGEST, le=LARGEST)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class GroupBody(_Body):
    """The completions of one prompt."""

    completions: list[str] = Field(min_length=1, description="(G,) completions")
    question: str | None = Field(default=None, description="The question that the judge reads with the answers")
    gold: str | None = Field(default=None, description="The gold answer, for signals that read one; blank: none")
    measures: dict[str, list[Measure]] = Field(
        default={}, description=f"(G,) numbers by name, such as token_entropy; at most {LARGEST:g} in size"
    )


class ScoreBody(_Body):
    """The groups of one batch."""

    groups: list[GroupBody] = Field(min_length=1, description="(B,) groups; their sizes can differ")


class ScoredFields(BaseModel):
    """What the provider decided about a group. Lists have G entries, in the order of the completions."""

    entropy: float | None = Field(description="In nats; null: see null_reason")
    null_reason: str | None = Field(description="Why entropy is null")
    clusters: list[int] = Field(
        description="The cluster of each completion; -1: its answer does not count (invalid='drop'). If the reward "
        "compares no answers, only answers that the judge reads alike share a cluster"
    )
    answers: list[str | None] = Field(description="null: the completion has no valid answer")
    rewards: list[float | None] = Field(description="null: no reward, so the completion is not in the loss")
    keep: bool = Field(description="Whether the group is in the loss")
    drop_reason: str | None = Field(
        description="Why the group is outside the bounds, or has no reward. With outside='zero', a group outside the "
        "bounds has this reason too, and stays in the loss with rewards 0"
    )
    advantages: list[float] = Field(description="0 for a completion that is not in the loss")
    loss_mask: list[bool] = Field(description="Whether the completion is in the loss")


class ScoreReply(BaseModel):
    """The reply of /v1/score."""

    groups: list[ScoredFields]
    metrics: dict[str, float | None] = Field(description="Numbers of the batch for a log; null: not known")


class ScoringService:
    """A provider behind a queue. One thread decides, because a provider is not made for several.

    Args:
        arguments: the arguments of `EmpoProvider`.
        settings: the limits.
    """

    def __init__(self, arguments: Mapping[str, Any], settings: ServiceSettings) -> None:
        self.settings = settings
        self._provider = EmpoProvider(**arguments)
        self._queue = WorkQueue("score", self._score_all, threads=1, capacity=settings.queue)

    async def score(self, groups: tuple[RolloutGroup, ...]) -> BatchDecision:
        """Decide about a batch. Raises ServiceProblem."""
        count, limit = sum(len(group.completions) for group in groups), self.settings.max_responses
        if (largest := max(len(group.completions) for group in groups)) > limit:
            raise ServiceProblem(
                422, f"body.groups: a group has {largest} completions, more than {limit}: raise --max-responses"
            )
        if count > self.settings.max_completions:
            raise ServiceProblem(
                422, f"body.groups: {count} completions, more than {self.settings.max_completions}: send fewer groups"
            )
        try:
            async with asyncio.timeout(self.settings.timeout):
                return await self._queue.submit(groups)
        except Exception as error:
            raise error_problem(error) from error

    @property
    def clusters(self) -> bool:
        """Whether the provider compares the answers of a group: otherwise no entropy is known."""
        return self._provider.clusters

    def close(self) -> None:
        """End the thread and the judges."""
        self._queue.close()
        self._provider.close()

    def _score_all(self, batches: Sequence[tuple[RolloutGroup, ...]]) -> list[BatchDecision]:
        return [self._provider.step(groups, training=False) for groups in batches]


def create_scoring_app(settings: ServiceSettings, arguments: Mapping[str, Any]) -> FastAPI:
    """Return the app of `semantic-entropy serve` with the route /v1/score.

    Args:
        settings: the settings of the service.
        arguments: the arguments of `EmpoProvider`; "preset" names a preset, whose values the others replace.
    """
    complete = complete_arguments(arguments)
    running: list[ScoringService] = []

    @asynccontextmanager
    async def scoring(_: FastAPI, settings: ServiceSettings) -> AsyncIterator[None]:
        service = await asyncio.to_thread(ScoringService, complete, settings)
        running.append(service)
        try:
            yield
        finally:
            running.remove(service)
            await asyncio.to_thread(service.close)

    app = create_app(settings, extension=scoring)
    app.include_router(_routes(running))
    return app


def complete_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `EmpoProvider`. Those that are given replace those of the preset.

    Raises:
        InputError: the preset, or an argument, does not exist.
    """
    given = {name: value for name, value in arguments.items() if name != "preset"}
    known = inspect.signature(EmpoProvider).parameters
    if unknown := given.keys() - known.keys():
        raise InputError(f"EmpoProvider has no argument {min(unknown)!r}.{nearest(min(unknown), known)}")
    chosen = arguments.get("preset")
    return {**(preset(chosen) if chosen else {}), **given}


def _routes(running: Sequence[ScoringService]) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEM_REPLIES)

    @router.post("/score", response_model=ScoreReply)
    async def score(body: ScoreBody) -> Response:
        """Cluster the completions of each group, and compute rewards, the keep mask and advantages."""
        if not running:
            raise ServiceProblem(503, "the service starts or stops: try again", headers={"Retry-After": "1"})
        groups = tuple(_group(index, group) for index, group in enumerate(body.groups))
        service = running[-1]
        return JSONReply(decision_fields(await service.score(groups), clustered=service.clusters))

    return router


def _group(index: int, body: GroupBody) -> RolloutGroup:
    try:
        return RolloutGroup(tuple(body.completions), body.question, body.gold, body.measures)
    except InputError as error:
        raise ServiceProblem(422, f"body.groups.{index}: {error}") from error


def decision_fields(decision: BatchDecision, *, clustered: bool) -> dict[str, Any]:
    """Return the JSON of a decision. nan is null. `clustered`: whether the provider compared the answers."""
    reason = (
        "no answer is valid, and invalid='drop' leaves such answers out"
        if clustered
        else "the reward compares no answers (the argument measure_entropy=true measures them)"
    )
    groups = []
    for index, result in enumerate(decision.results):
        rows = decision.rows(index)
        groups.append(
            {
                "entropy": float(decision.entropies[index]),
                "null_reason": reason if math.isnan(decision.entropies[index]) else None,
                "clusters": list(result.labels),
                "answers": list(result.answers),
                "rewards": decision.rewards[rows].tolist(),
                "keep": bool(decision.keep[index]),
                "drop_reason": decision.drop_reasons[index],
                "advantages": decision.advantages[rows].tolist(),
                "loss_mask": decision.loss_mask[rows].tolist(),
            }
        )
    return {"groups": groups, "metrics": {name: float(value) for name, value in decision.metrics.items()}}
