"""Sections of a configuration about what a run reads and shows: training questions, held-out questions, samples.

`empo_rl.config.schema` has the other sections, and the whole configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
FILE_SUFFIXES = (".jsonl", ".json", ".ndjson", ".parquet")  # no name of a hub dataset ends with one of these


class Section(BaseModel):
    """A section of the configuration. An unknown key is an error. A section cannot change after its creation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataColumns(Section):
    """The names of the columns in the data."""

    question: str = "question"
    gold: str | None = None  # read only if empo.reward or empo.measure_gold needs gold answers
    response: str | None = None  # the text that `method: sft` trains on


class Data(Section):
    """The source of the questions: a local JSONL or Parquet file, a hub dataset, or the questions of the demo."""

    path: str | None = None
    dataset: str | None = None
    subset: str | None = None
    split: str = "train"
    columns: DataColumns = DataColumns()
    made_with: str | None = None  # the command that creates the file at `path`; an error message shows it
    limit: Positive | None = None  # number of questions, chosen with the run's seed; None: all questions
    max_prompt_tokens: Positive | None = None  # longer prompts are removed and counted

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if (self.path is None) == (self.dataset is None):
            raise ValueError(
                "give exactly one of data.path (a JSONL or Parquet file) and data.dataset (a hub name, or 'demo')"
            )
        if self.dataset is not None and _has_file_suffix(self.dataset):
            raise ValueError(f"data.dataset={self.dataset} is the name of a file. Set data.path={self.dataset} instead")
        return self


class Samples(Section):
    """Options of `samples.jsonl`, the completions that a run writes for a person to read."""

    every: Annotated[int, Field(ge=0)] = 10  # steps; step 1 is always written; 0: none
    prompts: Positive = 2


class Evaluation(Section):
    """Options of the evaluation on held-out questions during training."""

    data: Data  # text: the path of a file if it ends with one of FILE_SUFFIXES, else the name of a dataset
    every: Positive = 50  # steps; also before the first and after the last step
    n: Positive = 4  # completions of each question, at rollout.temperature
    best: Literal["accuracy", "entropy"] | None = (
        None  # selects the best checkpoint; None: accuracy, if there are golds
    )

    @model_validator(mode="before")
    @classmethod
    def _data_from_text(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("data"), str):
            return values
        source = values["data"]
        return {**values, "data": {"path" if _has_file_suffix(source) else "dataset": source}}


def _has_file_suffix(source: str) -> bool:
    return Path(source).suffix.lower() in FILE_SUFFIXES
