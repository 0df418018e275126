"""What a type checker sees of the front door. Nothing here runs: mypy reads it (`[tool.mypy] files`)."""

from __future__ import annotations

from typing import assert_type

import numpy as np
import polars as pl

import semantic_entropy
from semantic_entropy import BatchResult, Result, RunSummary, Scorer, aestimate, estimate, estimate_file


def what_comes_back(one: list[str], many: list[list[str]], frame: pl.DataFrame, scorer: Scorer) -> None:
    """A group gives a result, groups a batch, a table its own kind."""
    assert_type(estimate(one, question="q", logprobs=[[-0.1]]), Result)
    assert_type(estimate(many, question=["q", None]), BatchResult)
    assert_type(estimate(frame, column="samples", question="prompt"), pl.DataFrame)
    assert_type(estimate(question="q", sampler="openai", n=3), Result)
    assert_type(estimate(question=one, sampler="openai", equivalence="text", invalid="drop"), BatchResult)
    assert_type(scorer.estimate(one), Result)
    assert_type(scorer.estimate(tuple(one)), Result)
    assert_type(scorer.estimate(many), BatchResult)
    assert_type(scorer.estimate(frame), pl.DataFrame)
    assert_type(estimate_file("in.csv", "out.jsonl", group_by="id", equivalence="text"), RunSummary)


async def what_is_awaited(one: list[str], many: list[list[str]], frame: pl.DataFrame, scorer: Scorer) -> None:
    """The same types as without await."""
    assert_type(await aestimate(one, question="q", logprobs=[[-0.1]]), Result)
    assert_type(await aestimate(many, question=["q", None], equivalence="nli", equivalence_options={}), BatchResult)
    assert_type(await aestimate(frame, column="samples", question="prompt"), pl.DataFrame)
    assert_type(await aestimate(question="q", sampler="openai", sampler_options={"model": "m"}, n=3), Result)
    assert_type(await aestimate(question=one, sampler="openai"), BatchResult)
    assert_type(await scorer.aestimate(one), Result)
    assert_type(await scorer.aestimate(many), BatchResult)
    assert_type(await scorer.aestimate(question="q"), Result)
    assert_type(await scorer.aestimate(frame), pl.DataFrame)


def what_an_array_gives(scorer: Scorer) -> None:
    """An array or a Series can hold one group or many."""
    assert_type(estimate(np.array(["a", "b"])), Result | BatchResult)
    assert_type(scorer.estimate(pl.Series(["a", "b"])), Result | BatchResult)


def what_is_refused(frame: pl.DataFrame) -> None:
    """A number is none of these, a table's question is the name of a column."""
    estimate(3)  # type: ignore[call-overload]
    semantic_entropy.estimates  # type: ignore[attr-defined]  # noqa: B018
    estimate(frame, question=["q"])  # type: ignore[call-overload]
    estimate(["a"], invalid="keep")  # type: ignore[call-overload]
    estimate(["a"], equivalance="text")  # type: ignore[call-overload]
