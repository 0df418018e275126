"""Draw responses to questions with `ray.data.llm`, before the shards are scored.

    questions of all shards, n times each -> processor of ray.data.llm -> OUT/_responses/NAME.jsonl -> scored

The processor is a pool of vLLM engines on GPUs, or, with a URL, of clients of an OpenAI-compatible endpoint. It starts
once for all shards. The responses of a shard are stored when all of them are there: a run that was killed draws the
shards in flight again. Their responses are in the memory of the command. Rows that have responses are not drawn.

A drawn row gets the responses, and in the field `finish_reasons` why each of them ended ("length": it was cut off). An
endpoint says it; vLLM's stage does not, so a response with `max_tokens` tokens counts as cut off.

Not supported: log-probabilities, conversations, `n="auto"`, and retrying a row whose request failed: the shard fails.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import pickle
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semantic_entropy.bulk.manifest import Shard
from semantic_entropy.bulk.ray_engine import connect, reason_of
from semantic_entropy.bulk.sections import options_of, section_file, write_section
from semantic_entropy.bulk.shard_scoring import FINISH_REASONS, responses_file, work_folder
from semantic_entropy.bulk.storage import Storage, open_storage
from semantic_entropy.errors import InputError, MissingDependencyError, SemanticEntropyError, install_command, nearest
from semantic_entropy.files import remove
from semantic_entropy.io import InputOptions, open_reader
from semantic_entropy.io.rows import InputRow, json_fields
from semantic_entropy.plain_text import plural, to_json_line
from semantic_entropy.progress import progress_bar
from semantic_entropy.tables import FieldNames, free_name

NAME = "ray-llm"
"""The name that `--sampler` gives this way of drawing."""
Drawn = dict[tuple[int, int], tuple[str, str]]
"""The (text, finish reason) of the responses of a shard, by the place of the row and the number of the response."""


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
        api_key: the key of the endpoint; None: the environment variable OPENAI_API_KEY; empty: none is sent.
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
    api_key: str | None = field(default=None, repr=False)

    @classmethod
    def from_options(cls, options: Mapping[str, Any], n: int | str) -> Generation:
        """Return the generation that `--sampler-option` describes.

        Raises:
            InputError: an option is unknown, or the model is missing.
        """
        known = [each.name for each in dataclasses.fields(cls) if each.name != "n"]
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
        """What can change a response, for the fingerprint of the run. The address of a server is no such choice."""
        names = ("model", "n", "temperature", "max_tokens", "seed")
        return {f"drawn with {name}": getattr(self, name) for name in names}

    @property
    def headers(self) -> dict[str, str] | None:
        """The header with the key, for requests to the endpoint; None: there is no key."""
        key = self._key
        return {"Authorization": f"Bearer {key}"} if key else None

    def redacted(self, text: str) -> str:
        """Return the text without the key."""
        return text.replace(self._key, "***") if self._key else text

    @property
    def _key(self) -> str:
        return os.environ.get("OPENAI_API_KEY", "") if self.api_key is None else self.api_key


def draw_shards(
    storage: Storage,
    shards: Iterable[Shard],
    names: FieldNames,
    options: InputOptions,
    generation: Generation,
    *,
    progress: bool = False,
) -> None:
    """Draw and store the responses of the shards that have none.

    Raises:
        MissingDependencyError: Ray, or what `ray.data.llm` needs, is not installed.
        SemanticEntropyError: the engine or the endpoint failed. The shards that were drawn before stay.
    """
    waiting = {shard.name: shard for shard in shards if not storage.exists(responses_file(shard.name))}
    if not waiting:
        return
    ray = connect()
    questions = ray.data.from_items(
        [{"task": pickle.dumps(shard)} for shard in waiting.values()], override_num_blocks=min(len(waiting), 10_000)
    ).flat_map(_Questions(storage.root, names, options, generation.n))
    try:
        with progress_bar("responses", None, progress) as advance:
            for name, drawn in by_shard(_processor(generation)(questions).iter_rows(), advance):
                _store(storage, waiting.pop(name), drawn, names, options, generation.n)
    except (ray.exceptions.RayError, OSError) as error:
        first = next(iter(waiting.values()))
        raise SemanticEntropyError(
            f"shard {first.name} ({first.section}): {generation.model} gave no responses: "
            f"{generation.redacted(reason_of(error))}. {plural(len(waiting), 'shard')} without responses; those of the "
            "others stay: run the same command again to continue"
        ) from error
    for shard in waiting.values():  # no row of theirs needs responses
        _store(storage, shard, {}, names, options, generation.n)


def by_shard(
    replies: Iterable[Mapping[str, Any]], advance: Callable[[int], object]
) -> Generator[tuple[str, Drawn], None, None]:
    """Yield the name and the responses of each shard, when all of its responses have arrived.

    A reply that arrives again is ignored: Ray runs a task again if the machine that had its result is lost.

    Args:
        replies: the responses, in any order.
        advance: called with 1 for each response that arrives.

    Raises:
        SemanticEntropyError: at the end, responses of a shard are missing.
    """
    found: dict[str, Drawn] = {}
    wanted: dict[str, int] = {}
    complete = set()
    for reply in replies:
        name = reply["shard"]
        if name in complete:
            continue
        drawn = found.setdefault(name, {})
        drawn[reply["row"], reply["sample"]] = reply["text"], reply["finish_reason"]
        advance(1)
        wanted[name] = reply["of_shard"]
        if len(drawn) == wanted[name]:
            complete.add(name)
            yield name, found.pop(name)
    for name, drawn in found.items():
        raise SemanticEntropyError(
            f"shard {name}: Ray returned {len(drawn):,} of {wanted[name]:,} responses, and no error. The responses of "
            f"{plural(len(complete), 'complete shard')} stay: run the same command again to continue"
        )


@dataclass(frozen=True)
class _Questions:
    """Reads the questions of a shard, each as often as it is asked. It runs in a task of Ray."""

    output: str
    names: FieldNames
    options: InputOptions
    n: int

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        shard: Shard = pickle.loads(row["task"])  # noqa: S301  # `draw_shards` wrote it
        rows = _rows(open_storage(self.output), shard, self.names, self.options)
        prompts = [
            {
                "shard": shard.name,
                "row": place,
                "sample": sample,
                "question": self.names.question_in(each.fields or {})[1],
            }
            for place, each in enumerate(rows)
            if each.needs_responses(self.names)
            for sample in range(self.n)
        ]
        return [{**prompt, "of_shard": len(prompts)} for prompt in prompts]


def _store(storage: Storage, shard: Shard, drawn: Drawn, names: FieldNames, options: InputOptions, n: int) -> None:
    rows = _rows(storage, shard, names, options)
    lines = (_line(row, place, drawn, names, n) for place, row in enumerate(rows))
    storage.write(responses_file(shard.name), "".join(f"{line}\n" for line in lines).encode())


def _rows(storage: Storage, shard: Shard, names: FieldNames, options: InputOptions) -> Iterator[InputRow]:
    folder = work_folder(storage)
    folder.mkdir(parents=True, exist_ok=True)
    source: Path = section_file(shard.section, folder, f"{shard.name}.questions")
    write_section(shard.section, source)
    with contextlib.redirect_stderr(io.StringIO()):  # the scoring of the shard says it
        yield from open_reader(str(source), names, options_of(shard.section, options), has_sampler=True).rows()
    remove(source)


def _line(row: InputRow, place: int, found: Drawn, names: FieldNames, n: int) -> str:
    """Return the row with its responses. A row that is no JSON object stays as it is: it is a bad row."""
    if row.fields is None:
        return row.text
    if (place, 0) not in found:
        return to_json_line(json_fields(row.fields))
    texts, reasons = zip(*(found[place, sample] for sample in range(n)), strict=True)
    drawn = {names.responses: list(texts), free_name(FINISH_REASONS, row.fields): list(reasons)}
    return to_json_line(json_fields({**row.fields, **drawn}))


def _processor(generation: Generation) -> Any:
    try:
        from ray.data.llm import HttpRequestProcessorConfig, build_processor, vLLMEngineProcessorConfig
    except ImportError as error:
        missing = "aiohttp" if generation.url else "'ray[llm]'"
        command = install_command(missing) if generation.url else f"pip install {missing}"
        raise MissingDependencyError(f"{NAME} needs {missing} ({error}): {command}") from error
    if generation.url:
        config = HttpRequestProcessorConfig(
            url=f"{generation.url.rstrip('/')}/chat/completions",
            headers=generation.headers,
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
    return build_processor(config, preprocess=_Prompt(generation), postprocess=_ReplyOfEngine(generation.max_tokens))


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
    return _reply(row, choices[0]["message"]["content"], choices[0].get("finish_reason"))


@dataclass(frozen=True)
class _ReplyOfEngine:
    """Reads the output of a vLLM engine."""

    max_tokens: int

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        is_cut_off = row["num_generated_tokens"] >= self.max_tokens
        return _reply(row, row["generated_text"], "length" if is_cut_off else "stop")


def _reply(row: dict[str, Any], text: str | None, finish_reason: str | None) -> dict[str, Any]:
    kept = {name: row[name] for name in ("shard", "of_shard", "row", "sample")}
    return {**kept, "text": text or "", "finish_reason": finish_reason or ""}
