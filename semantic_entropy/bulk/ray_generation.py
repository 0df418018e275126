"""Draw responses to questions with `ray.data.llm`, before the shards are scored.

    questions of a shard, n times each -> processor of ray.data.llm -> OUT/_responses/NAME.jsonl -> scored like any rows

The processor is a pool of vLLM engines on GPUs, or, with a URL, of clients of an OpenAI-compatible endpoint. A shard is
drawn at once and stored before the next one: a run that was killed draws at most one shard again. The engines start for
each shard, so a shard should hold work for many minutes (`--shard-mb`). All responses of a shard are in the memory of
the command. Rows that have responses are not drawn.

Not supported: log-probabilities, conversations, `n="auto"`, and retrying a row whose request failed: the shard fails.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semantic_entropy.bulk.manifest import Shard
from semantic_entropy.bulk.ray_engine import connect, reason_of
from semantic_entropy.bulk.sections import options_of, section_file, write_section
from semantic_entropy.bulk.shard_scoring import responses_file, work_folder
from semantic_entropy.bulk.storage import Storage
from semantic_entropy.errors import InputError, MissingDependencyError, SemanticEntropyError, install_command, nearest
from semantic_entropy.files import remove
from semantic_entropy.io import InputOptions, open_reader
from semantic_entropy.io.rows import InputRow, json_fields
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables import FieldNames

NAME = "ray-llm"
"""The name that `--sampler` gives this way of drawing."""


@dataclass(frozen=True, slots=True)
class Generation:
    """How responses are drawn.

    Attributes:
        model: the model: its name on Hugging Face, its folder, or its name at the endpoint.
        url: the address of an endpoint, such as "http://host:8000/v1"; empty: vLLM engines on GPUs.
        n: responses for each question.
        temperature: the sampling temperature.
        max_tokens: the token limit of a response.
        seed: the seed of the first response of each question; the i-th one has `seed + i`.
        engines: the vLLM engines, or the clients of the endpoint.
        batch: prompts in a batch.
        tensor_parallel: GPUs of a vLLM engine.
    """

    model: str
    url: str = ""
    n: int = 10
    temperature: float = 1.0
    max_tokens: int = 256
    seed: int = 0
    engines: int = 1
    batch: int = 64
    tensor_parallel: int = 1

    @classmethod
    def from_options(cls, options: Mapping[str, Any], n: int | str) -> Generation:
        """Return the generation that `--sampler-option` describes.

        Raises:
            InputError: an option is unknown, or the model is missing.
        """
        known = [field.name for field in dataclasses.fields(cls) if field.name != "n"]
        if unknown := [name for name in options if name not in known]:
            hint = nearest(unknown[0], known)
            raise InputError(f"{NAME} has no option {unknown[0]!r}.{hint} It has {', '.join(known)}")
        if not options.get("model"):
            raise InputError(f"{NAME} needs a model: --sampler-option model=NAME")
        if not isinstance(n, int):
            raise InputError(f"{NAME} draws a fixed number of responses: -n 10")
        return cls(**options, n=n)

    @property
    def choices(self) -> dict[str, Any]:
        """What can change a response, for the fingerprint of the run."""
        speed = ("engines", "batch", "tensor_parallel")
        return {f"drawn with {name}": value for name, value in dataclasses.asdict(self).items() if name not in speed}


def draw_shards(
    storage: Storage, shards: Iterable[Shard], names: FieldNames, options: InputOptions, generation: Generation
) -> None:
    """Draw and store the responses of the shards that have none.

    Raises:
        MissingDependencyError: Ray, or what `ray.data.llm` needs, is not installed.
        SemanticEntropyError: the engine or the endpoint failed. The shards that were drawn before stay.
    """
    ray = connect()
    processor: Any = None
    for shard in shards:
        if storage.exists(responses_file(shard.name)):
            continue
        processor = processor or _processor(generation)
        rows = list(_rows(storage, shard, names, options))
        prompts = [
            {"row": place, "sample": sample, "question": names.question_in(row.fields or {})[1]}
            for place, row in enumerate(rows)
            if row.needs_responses(names)
            for sample in range(generation.n)
        ]
        found: dict[tuple[int, int], str] = {}
        try:
            replies = processor(ray.data.from_items(prompts)).iter_rows() if prompts else ()
            for reply in replies:
                found[reply["row"], reply["sample"]] = reply["text"]
        except (ray.exceptions.RayError, OSError) as error:
            raise SemanticEntropyError(
                f"shard {shard.name} ({shard.section}): {generation.model} gave no responses: {reason_of(error)}. The "
                "shards that were drawn before stay: run the same command again to continue"
            ) from error
        lines = (_line(row, place, found, names, generation.n) for place, row in enumerate(rows))
        storage.write(responses_file(shard.name), "".join(f"{line}\n" for line in lines).encode())


def _rows(storage: Storage, shard: Shard, names: FieldNames, options: InputOptions) -> Iterator[InputRow]:
    folder = work_folder(storage)
    folder.mkdir(parents=True, exist_ok=True)
    source: Path = section_file(shard.section, folder, f"{shard.name}.questions")
    write_section(shard.section, source)
    with contextlib.redirect_stderr(io.StringIO()):  # the scoring of the shard says it
        yield from open_reader(str(source), names, options_of(shard.section, options), has_sampler=True).rows()
    remove(source)


def _line(row: InputRow, place: int, found: Mapping[tuple[int, int], str], names: FieldNames, n: int) -> str:
    """Return the row with its responses. A row that is no JSON object stays as it is: it is a bad row."""
    if row.fields is None:
        return row.text
    drawn = {names.responses: [found[place, sample] for sample in range(n)]} if (place, 0) in found else {}
    return to_json_line(json_fields({**row.fields, **drawn}))


def _processor(generation: Generation) -> Any:
    try:
        from ray.data.llm import HttpRequestProcessorConfig, build_processor, vLLMEngineProcessorConfig
    except ImportError as error:
        missing = "aiohttp" if generation.url else "'ray[llm]'"
        command = install_command(missing) if generation.url else f"pip install {missing}"
        raise MissingDependencyError(f"{NAME} needs {missing} ({error}): {command}") from error
    if generation.url:
        key = os.environ.get("OPENAI_API_KEY")
        config = HttpRequestProcessorConfig(
            url=f"{generation.url.rstrip('/')}/chat/completions",
            headers={"Authorization": f"Bearer {key}"} if key else None,
            max_retries=5,
            concurrency=generation.engines,
            batch_size=generation.batch,
        )
        return build_processor(config, preprocess=_Request(generation), postprocess=_reply_of_endpoint)
    config = vLLMEngineProcessorConfig(
        model_source=generation.model,
        engine_kwargs={"tensor_parallel_size": generation.tensor_parallel, "enable_prefix_caching": True},
        concurrency=generation.engines,
        batch_size=generation.batch,
    )
    return build_processor(config, preprocess=_Prompt(generation), postprocess=_reply_of_engine)


@dataclass(frozen=True)
class _Request:
    """Makes the request of a prompt to an endpoint."""

    generation: Generation

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "payload": {"model": self.generation.model, "messages": _messages(row), **self.settings(row)}}

    def settings(self, row: dict[str, Any]) -> dict[str, Any]:
        made = self.generation
        seed = made.seed + int(row["sample"])
        return {"temperature": made.temperature, "max_tokens": made.max_tokens, "seed": seed}


class _Prompt(_Request):
    """Makes the prompt of a vLLM engine."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "messages": _messages(row), "sampling_params": self.settings(row)}


def _messages(row: dict[str, Any]) -> list[dict[str, str]]:
    return [{"role": "user", "content": str(row["question"])}]


def _reply_of_endpoint(row: dict[str, Any]) -> dict[str, Any]:
    choices = row["http_response"].get("choices")
    if not choices:
        raise ValueError(f"the endpoint sent no choices: {str(row['http_response'])[:200]}")
    return _reply(row, choices[0]["message"]["content"])


def _reply_of_engine(row: dict[str, Any]) -> dict[str, Any]:
    return _reply(row, row["generated_text"])


def _reply(row: dict[str, Any], text: str | None) -> dict[str, Any]:
    return {"row": row["row"], "sample": row["sample"], "text": text or ""}
