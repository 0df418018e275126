"""Sample responses, store each response at once, and read the stored responses for grading.

The sampler (`hf` or `vllm`) loads the model once. Each task (the greedy responses or the samples of one set) uses a
variant of the sampler, with its own options but the same model. Stored responses are not sampled again, even if a run
was killed in the middle of a task. Grading always reads the stored file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.evaluate.evaluation_directory import EvaluationDirectory
from semantic_entropy import BatchResult, InputError, OptionError, Sampler, Scorer, load_sampler

EvaluationProgress = Callable[[str, int, int, str], None]
"""A function that is called with (stage, done, total, note)."""


@dataclass(frozen=True, slots=True)
class SamplingTask:
    """The task to sample n responses to each prompt of a set.

    Attributes:
        name: name of the set.
        part: "greedy" or "samples".
        prompts: one prompt for each question.
        ids: the ids of the questions, in the order of the prompts.
        n: number of responses to each prompt.
        options: options of the sampler.
    """

    name: str
    part: str
    prompts: Sequence[str]
    ids: Sequence[str]
    n: int
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    """A response: its text without separate reasoning, whether the token limit cut it off, its number of tokens."""

    text: str
    cut_off: bool
    tokens: int


class LazyModel:
    """A sampler that is loaded when the first responses are needed."""

    def __init__(self, engine: str, options: Mapping[str, Any]) -> None:
        self._engine, self._options = engine, options
        self._base: Any = None

    def sampler(self, options: Mapping[str, Any]) -> Any:
        """A sampler of this model with these options.

        Raises:
            InputError: the model does not support the options; the message names the options of `empo-eval`.
        """
        try:
            if self._base is None:
                self._base = load_sampler(self._engine, **{**self._options, **options})
            return self._base.variant(**options)
        except OptionError as error:
            raise InputError(
                f"{error} (Options of empo-eval: --chat-template sets a chat template, --plain uses none, --system '' "
                "removes the system message, --max-tokens and --engine-option NAME=VALUE set other sampler options.)"
            ) from error

    def close(self) -> None:
        """Release the model."""
        if self._base is not None:
            self._base.close()


class _CountingSampler(Sampler):
    """A sampler that returns the responses of another sampler, and calls `advance` for each response."""

    def __init__(self, inner: Any, advance: Callable[[], None]) -> None:
        self._inner, self._advance = inner, advance

    @property
    def settings(self) -> Any:
        return self._inner.settings

    @property
    def versions(self) -> Mapping[str, str]:
        versions: Mapping[str, str] = self._inner.versions
        return versions

    def describe(self) -> str:
        return str(self._inner.describe())

    def stream(self, requests: Any) -> Iterator[Any]:
        stream = self._inner.stream(requests)
        try:
            for request, response in stream:
                self._advance()
                yield request, response
        finally:
            stream.close()


def sample_all(
    tasks: Sequence[SamplingTask], model: LazyModel, directory: EvaluationDirectory, progress: EvaluationProgress
) -> int:
    """Sample the missing responses of the tasks, and return their number.

    Raises:
        InputError: the weights or the precision differ from those of the stored responses.
        SamplingError: the model does not run, or no question of a set got a response.
    """
    return sum(_sample(task, model, directory, progress) for task in tasks)


def read_responses(path: Path, prompts: Sequence[str], n: int) -> list[list[Response]]:
    """The first n stored responses to each prompt; fewer if sampling failed.

    Raises:
        InputError: the file does not exist, or a line is not a response.
    """
    found: dict[str, list[Response]] = {prompt: [] for prompt in prompts}
    if not path.is_file():
        raise InputError(f"{path} does not exist: there are no responses to grade.")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                fields = json.loads(line)
                sample, prompt = fields["sample"], fields["question"]
                usage = sample.get("usage") or {}
                response = Response(
                    sample["text"], sample.get("finish_reason") == "length", int(usage.get("output_tokens", 0))
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(f"{path}:{number}: not a response ({type(error).__name__}: {error}).") from error
            if prompt in found and len(found[prompt]) < n:
                found[prompt].append(response)
    return [found[prompt] for prompt in prompts]


def count_lines(path: Path) -> int:
    """The number of complete lines; 0 if the file does not exist."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)


def _sample(task: SamplingTask, model: LazyModel, directory: EvaluationDirectory, progress: EvaluationProgress) -> int:
    sampler = model.sampler(task.options)
    record = directory.generation()
    _check_weights(record, sampler, directory)
    directory.write_generation(record)
    path, prompts = directory.responses(task.name, task.part), list(dict.fromkeys(task.prompts))
    total, stored = len(prompts) * task.n, count_lines(path)
    stage, sampled = f"{task.name} {task.part}", 0

    def advance() -> None:
        nonlocal sampled
        sampled += 1
        progress(stage, min(stored + sampled, total), total, "")

    start = time.monotonic()
    progress(stage, min(stored, total), total, f"{stored} kept" if stored else "")
    with Scorer(
        equivalence="exact", extract="whole", sampler=_CountingSampler(sampler, advance), n=task.n, samples=path
    ) as scorer:
        results = scorer.estimate(question=prompts, progress=False)
    failures = _failures(task, prompts, results)
    record["sets"].setdefault(task.name, {})[task.part] = {
        "n": task.n,
        "failures": failures,
        "drawn": sampled - len(failures),
        "seconds": time.monotonic() - start,
    }
    directory.write_generation(record)
    return sampled


def _failures(task: SamplingTask, prompts: Sequence[str], results: BatchResult) -> dict[str, str]:
    """Question id -> reason why responses to this question are missing."""
    reasons = {
        prompt: next(iter(result.warnings), "no reason given")  # the first warning comes from the sampler
        for prompt, result in zip(prompts, results, strict=True)
        if len(result.samples or ()) < task.n
    }
    return {
        question_id: reasons[prompt]
        for question_id, prompt in zip(task.ids, task.prompts, strict=True)
        if prompt in reasons
    }


def _check_weights(record: dict[str, Any], sampler: Any, directory: EvaluationDirectory) -> None:
    """Compare the weights and the precision of the loaded model with those of the stored responses."""
    # precision and digest are known only after loading; settings.json has the other settings
    weights = json.loads(json.dumps(sampler.settings[-2:]))
    if record["sampler"] is None:
        record["sampler"] = {"weights": weights, "versions": dict(sampler.versions)}
    elif record["sampler"]["weights"] != weights:
        raise InputError(
            f"{directory.path}: the stored responses come from other weights or precision "
            f"({record['sampler']['weights']}) than the loaded model ({weights}): choose another --output-dir."
        )
