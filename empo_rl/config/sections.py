"""Sections of a configuration about what a run reads and shows: training questions, held-out questions, samples.

`empo_rl.config.schema` has the other sections, and the whole configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Positive = Annotated[int, Field(gt=0)]
FILE_SUFFIXES = (".jsonl", ".json", ".ndjson", ".parquet")  # no name of a hub dataset ends with one of these
_UNREADABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".gz", ".zip", ".zst", ".arrow")


class Section(BaseModel):
    """A section of the configuration. An unknown key is an error. A section cannot change after its creation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _without_truth_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls.model_fields[str(info.field_name)].annotation) if isinstance(value, bool) else set()
        if kinds & {int, float} and bool not in kinds:
            raise ValueError(f"expected a number, not {str(value).lower()}")
        return value


class DataColumns(Section):
    """The names of the columns in the data."""

    question: str = "question"
    gold: str | None = None  # read only if empo.reward or empo.measure_gold needs gold answers
    response: str | None = None  # the text that `method: sft` trains on


class QuestionSource(Section):
    """The source of questions: a local JSONL or Parquet file, a hub dataset, or the questions of the demo."""

    path: str | None = None
    dataset: str | None = None
    subset: str | None = None
    split: str = "train"
    made_with: str | None = None  # the command that creates the file at `path`; an error message shows it
    limit: Positive | None = None  # number of questions, chosen with the run's seed; None: all questions
    max_prompt_tokens: Positive | None = None  # longer prompts are removed and counted

    @field_validator("path")
    @classmethod
    def _with_home(cls, path: str | None) -> str | None:
        return path and expand_path(path)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.dataset is None):
            raise ValueError(
                "give exactly one of data.path (a JSONL or Parquet file) and data.dataset (a hub name, or 'demo')"
            )
        if self.dataset is not None and not self.dataset.strip():
            raise ValueError("the name of the dataset is empty")
        if self.dataset is not None and has_suffix(self.dataset, FILE_SUFFIXES):
            raise ValueError(f"data.dataset={self.dataset} is the name of a file. Set data.path={self.dataset} instead")
        if has_suffix(unreadable := self.dataset or self.path or "", _UNREADABLE_SUFFIXES):
            raise ValueError(f"{unreadable} cannot be read. Convert it to a JSONL or Parquet file")
        return self


class Data(QuestionSource):
    """The training questions."""

    columns: DataColumns = DataColumns()


class HeldOutData(QuestionSource):
    """The held-out questions of the evaluation."""

    columns: DataColumns | None = None  # None: the names of data.columns


class Samples(Section):
    """Options of `samples.jsonl`, the completions that a run writes for a person to read."""

    every: Annotated[int, Field(ge=0)] = 10  # steps; step 1 is always written; 0: none
    prompts: Positive = 2


class Verl(Section):
    """Options of the engine verl (`empo-train --engine verl`); see docs/empo/verl.md."""

    refill: bool = False  # true: verl samples new prompts in the place of dropped groups, until the batch is full
    overrides: dict[str, Any] = Field(default_factory=dict)  # verl's own keys, with dots: {trainer.logger: [console]}


class Evaluation(Section):
    """Options of the evaluation on held-out questions during training."""

    data: HeldOutData  # text: the path of a file if it ends with one of FILE_SUFFIXES, else the name of a dataset
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
        return {**values, "data": {"path" if has_suffix(source, FILE_SUFFIXES) else "dataset": source}}


def expand_path(path: str) -> str:
    """The path with the home directory in the place of `~`. transformers does the same with `output_dir`.

    Raises:
        ValueError: the path is blank or contains a control character.
    """
    if not path.strip() or any(ord(character) < 32 for character in path):
        raise ValueError("a path must not be blank or contain control characters")
    return str(Path(path).expanduser()) if path.startswith("~") else path


def has_suffix(source: str, suffixes: tuple[str, ...]) -> bool:
    """Whether the name ends with one of the suffixes, in any case."""
    return Path(source).suffix.lower() in suffixes


def _kinds(annotation: Any) -> set[Any]:
    """The types in an annotation: {int, NoneType} for `Positive | None`."""
    parts = get_args(annotation)
    return {annotation}.union(*(_kinds(part) for part in parts)) if parts else {annotation}
