"""Responses, drawn by a sampler and kept as they arrive.

The sampler (`hf` or `vllm`) is loaded once; each set, greedy or sampled, is a variant of it under other options. What a
directory holds is not drawn again: neither what is complete, nor the part of a set that a killed run has left.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.evaluate.evaluation_directory import Directory
from semantic_entropy import BatchResult, InputError, OptionError, Sampler, Scorer, load_sampler

Progress = Callable[[str, int, int, str], None]


@dataclass(frozen=True, slots=True)
class Task:
    """n responses to each of a set's prompts. ids: of the questions, in the order of the prompts."""

    name: str
    part: str
    prompts: Sequence[str]
    ids: Sequence[str]
    n: int
    options: Mapping[str, Any]


class Model:
    """The model, loaded when something has to be drawn."""

    def __init__(self, engine: str, options: Mapping[str, Any]) -> None:
        self._engine, self._options = engine, options
        self._base: Any = None

    def sampler(self, options: Mapping[str, Any]) -> Any:
        """A sampler of this model under these options.

        Raises:
            InputError: it cannot be asked in this way; names the flags.
        """
        try:
            if self._base is None:
                self._base = load_sampler(self._engine, **{**self._options, **options})
            return self._base.variant(**options)
        except OptionError as error:
            raise InputError(
                f"{error} (Here --chat-template gives a chat template, --plain goes without, --system '' leaves the "
                "system turn out, --max-tokens and --engine-option NAME=VALUE set the rest.)"
            ) from error

    def close(self) -> None:
        """Let go of it."""
        if self._base is not None:
            self._base.close()


class _Counted(Sampler):
    """A sampler whose responses are counted as they come."""

    cache_identity = "empo_rl.evaluate.drawing:_Counted"

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
            for request, drawn in stream:
                self._advance()
                yield request, drawn
        finally:
            stream.close()


def draw_all(tasks: Sequence[Task], model: Model, directory: Directory, progress: Progress) -> int:
    """Draw what is missing. Returns how many responses that were.

    Raises:
        InputError: the model's weights or precision are not those of the responses that are kept.
        SamplingError: the model does not run, or no question of a set got a response.
    """
    drawn = 0
    for task in tasks:
        if not directory.is_complete(task.name, task.part, task.n):
            drawn += _draw(task, model, directory, progress)
    return drawn


def _draw(task: Task, model: Model, directory: Directory, progress: Progress) -> int:
    sampler = model.sampler(task.options)
    record = directory.generation()
    _same_model(record, sampler, directory)
    directory.keep_generation(record)
    path, prompts = directory.responses(task.name, task.part), list(dict.fromkeys(task.prompts))
    total, kept = len(prompts) * task.n, count_lines(path)
    stage, came = f"{task.name} {task.part}", 0

    def advance() -> None:
        nonlocal came
        came += 1
        progress(stage, min(kept + came, total), total, "")

    began = time.monotonic()
    progress(stage, min(kept, total), total, f"{kept} kept" if kept else "")
    with Scorer(
        equivalence="exact", extract="whole", sampler=_Counted(sampler, advance), n=task.n, samples=path
    ) as scorer:
        results = scorer.estimate(question=prompts, progress=False)
    failures = _failures(task, prompts, results)
    done = {"n": task.n, "failures": failures, "drawn": came - len(failures), "seconds": time.monotonic() - began}
    record["sets"].setdefault(task.name, {})[task.part] = done
    directory.keep_generation(record)
    return came


def _failures(task: Task, prompts: Sequence[str], results: BatchResult) -> dict[str, str]:
    """Why responses are missing, by the id of the question that lacks them."""
    why = {
        prompt: next(iter(result.warnings), "no reason given")  # the first is the sampler's
        for prompt, result in zip(prompts, results, strict=True)
        if len(result.samples or ()) < task.n
    }
    return {name: why[prompt] for name, prompt in zip(task.ids, task.prompts, strict=True) if prompt in why}


def _same_model(record: dict[str, Any], sampler: Any, directory: Directory) -> None:
    """The content of the weights and their precision are known once they are loaded."""
    plain = json.loads(json.dumps(sampler.settings[-2:]))  # precision and content: the rest is in the settings
    if record["sampler"] is None:
        record["sampler"] = {"weights": plain, "versions": dict(sampler.versions)}
    elif record["sampler"]["weights"] != plain:
        raise InputError(
            f"{directory.path}: its responses came from other weights or precision ({record['sampler']['weights']}) "
            f"than those loaded now ({plain}): choose another --output-dir."
        )


def count_lines(path: Path) -> int:
    """Whole ones; 0 where there is no file."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)
