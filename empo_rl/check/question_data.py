"""Whether the questions are there, with the columns that are asked for. A hub dataset only if it lies in the cache."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from empo_rl.check.findings import Finding, ok, problem, unchecked
from empo_rl.config.schema import Config
from empo_rl.data.prompts import columns_of, read_prompts
from empo_rl.extras import require_extra
from semantic_entropy import InputError, SemanticEntropyError


def findings(config: Config) -> Generator[Finding, None, int | None]:
    """Returns how many questions a run would train on; None where that cannot be known."""
    rows = config.data.limit
    if config.data.path is not None or config.data.dataset == "demo":
        try:
            rows = len(read_prompts(config))
        except SemanticEntropyError as error:
            yield problem("data", str(error))
            return rows
        yield ok("data", f"{rows} prompts with the columns asked for")
        if config.data.max_prompt_tokens:
            yield unchecked("data.max_prompt_tokens", "counting tokens needs the model's tokenizer")
    else:
        yield from _hub(config)
    return rows


def _hub(config: Config) -> Iterator[Finding]:
    data = config.data
    try:
        require_extra("reading a hub dataset", ("datasets",))
        columns = _cached_columns(config)
    except SemanticEntropyError as error:
        yield problem("data", str(error))
        return
    if columns is None:
        yield unchecked(f"data.dataset {data.dataset}", "it is not in this machine's cache, and nothing is downloaded")
        return
    wanted = {"question": data.columns.question}
    if config.method == "sft":
        wanted["response"] = str(columns_of(config).response)
    if config.reads_gold():
        wanted["gold"] = str(columns_of(config).gold)
    missing = {role: name for role, name in wanted.items() if name not in columns}
    for role, name in missing.items():
        yield problem("data", f"{data.dataset} has no column {name!r} (data.columns.{role}). It has: {list(columns)}")
    if not missing:
        yield ok("data", f"{data.dataset} is in the cache and has the columns {list(wanted.values())}")


def _cached_columns(config: Config) -> Mapping[str, Any] | None:
    """The columns of a dataset in the cache; None where it is not there."""
    import datasets

    data = config.data
    assert data.dataset is not None, "Data checks this"
    try:
        loaded = datasets.load_dataset(data.dataset, data.subset, split=data.split, streaming=False)
    except ValueError as error:
        if "cache" in str(error):  # another configuration of it is there: of this one nothing is known
            return None
        raise InputError(f"{data.dataset} (subset {data.subset!r}, split {data.split!r}): {error}") from error
    except OSError:  # among them FileNotFoundError and the hub's offline error
        return None
    features: Mapping[str, Any] = loaded.features
    return features
