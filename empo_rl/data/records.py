"""Read records (column name -> value) from a JSONL file, a Parquet file, or a Hugging Face dataset.

`open_records` reads one record at a time, so a source can be larger than the memory. `file_records`, `jsonl_records`
and `hub_records` return lists. Each record has a place, for example `data.jsonl:7`. The argument `key` is the option or
the configuration key with the name of the source, for example `data.path`; error messages contain `key`.

A question is text, or a conversation: a list of messages {"role": ..., "content": ...}. Images, tools and calls of
tools are not supported.
"""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from empo_rl.config.sections import FILE_SUFFIXES
from semantic_entropy import InputError, MissingDependencyError, install_command, nearest
from semantic_entropy.plain_text import shorten

Record = tuple[str, Mapping[str, Any]]
"""(place, columns): the place of a record, such as `data.jsonl:7`, and its columns by name."""

Conversation = list[dict[str, str]]
"""Messages with the keys `role` and `content`: TRL's conversational format of a prompt."""

Question = str | Conversation
"""A question as text or as a conversation."""

_SYSTEM_ROLES = ("system", "developer")
_ROLES = (*_SYSTEM_ROLES, "user", "assistant", "tool")

_CONNECT_TIMEOUT = 5  # seconds
_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@dataclass
class RecordStream:
    """An iterable over the records of one source. Each record can be read only once.

    Attributes:
        total: size of the source: bytes of a JSONL file, rows of a Parquet file or a dataset.
        done: the part of `total` that was read, in the same unit.
    """

    name: str
    total: int
    read: Callable[[RecordStream], Iterator[Record]] = field(repr=False)
    done: int = 0

    def __iter__(self) -> Iterator[Record]:
        return self.read(self)


def open_records(
    source: str,
    *,
    subset: str | None = None,
    split: str = "train",
    columns: Collection[str] = (),
    key: str = "data.path",
) -> RecordStream:
    """Open a local file (.jsonl, .parquet) or a Hugging Face dataset.

    Args:
        source: path of the file, or name of the dataset.
        subset: subset of the dataset.
        split: split of the dataset.
        columns: read only these columns if the source has all of them; empty: read every column.
        key: the option or configuration key with the name of the source, for error messages.

    Raises:
        InputError: the file or the dataset does not exist or cannot be read.
    """
    path = Path(source)
    if path.is_file() or is_file_name(source):
        return _open_file(path, columns, key)
    return _open_hub(source, subset, split, columns, key)


def is_local(source: str) -> bool:
    """True if `source` is a local file, which `open_records` reads without a network."""
    return Path(source).is_file() or is_file_name(source)


def is_file_name(source: str) -> bool:
    """True if `source` can only be the name of a local file. The file may not exist."""
    return Path(source).suffix.lower() in FILE_SUFFIXES or source.startswith((".", "/", "~"))


def hub_records(dataset: str, subset: str | None, split: str, key: str = "data.dataset") -> list[Record]:
    """Read all records of a Hugging Face dataset."""
    return list(_open_hub(dataset, subset, split, (), key))


def file_records(path: Path, key: str = "data.path") -> list[Record]:
    """Read all records of a Parquet file (.parquet) or a JSONL file (any other suffix)."""
    return list(_open_file(path, (), key))


def jsonl_records(path: Path, key: str = "data.path") -> list[Record]:
    """Read all records of a JSONL file. Empty lines are skipped; the line numbers count them."""
    return list(_open_jsonl(path, key))


def column_value(record: Mapping[str, Any], column: str, place: str, key: str) -> Any:
    """The value of a column of a record.

    Raises:
        InputError: the record has no such column.
    """
    if column not in record:
        raise InputError(
            f"{place}: no column {column!r} ({key}).{nearest(column, list(record))} Columns: {', '.join(record)}."
        )
    return record[column]


def column_text(record: Mapping[str, Any], column: str, role: str, place: str, key: str | None = None) -> str:
    """The value of a column as text. If `key` is None, error messages name the key `data.columns.ROLE`.

    A gold answer may be a list with one value, such as `["55"]`, as in some datasets of the hub.

    Raises:
        InputError: the column does not exist, or its value is blank or neither text nor a number.
    """
    key = key or f"data.columns.{role}"
    value = column_value(record, column, place, key)
    if role == "gold" and isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and not value.strip():
        gold = " Remove the row, or use empo.reward=semi_supervised, which trains on rows without gold answers, too."
        raise InputError(f"{place}: column {column!r} ({key}) is empty.{gold if role == 'gold' else ''}")
    if not isinstance(value, str | int | float) or is_nan(value):
        raise InputError(f"{place}: column {column!r} ({key}) holds {value!r}, which is not text.")
    return str(value)


def is_nan(value: Any) -> bool:
    """Whether the value is nan, which pandas writes for a missing value."""
    return isinstance(value, float) and math.isnan(value)


def column_question(record: Mapping[str, Any], column: str, place: str, key: str = "data.columns.question") -> Question:
    """The question in a column: text, or a conversation (a list of messages, TRL's conversational format).

    Raises:
        InputError: the column does not exist, or its value is neither text nor a conversation that ends with a message
            of the user.
    """
    value = column_value(record, column, place, key)
    if not isinstance(value, list | tuple):
        return column_text(record, column, "question", place, key)
    subject = f"{place}: column {column!r} ({key})"
    messages = read_messages(value, subject)
    last = messages[-1]["role"]
    if not any(message["role"] == "user" for message in messages):
        raise InputError(f"{subject} has no message of the user.")
    if last not in ("user", "tool"):
        raise InputError(
            f"{subject} ends with a message of the {last}. A prompt ends with a message of the user, to which the "
            "model responds: remove the messages after it."
        )
    return messages


def read_messages(value: Sequence[Any], subject: str) -> Conversation:
    """Check a list of messages and return them with the keys `role` and `content`, both text.

    The content of a message can also be a list of parts {"type": "text", "text": ...}, which are joined. A key with the
    value None is left out: `datasets` and Parquet files add it to messages that lack a key of other messages.

    Raises:
        InputError: the value is not a conversation. The message starts with `subject`.
    """
    if not value:
        raise InputError(f"{subject} holds an empty list: a conversation has at least one message.")
    return [_read_message(message, f"{subject}, message {number}") for number, message in enumerate(value, start=1)]


def question_text(question: Question) -> str:
    """The question as one text, for judges, for the comparison with other questions, and for messages.

    For a conversation with one message of the user, the text is this message. A longer conversation becomes one line
    for each message, `role: content`, because a question such as "And for 3?" needs the messages before it. Both leave
    out the system message.
    """
    if isinstance(question, str):
        return question
    turns = [message for message in question if message["role"] not in _SYSTEM_ROLES]
    if len(turns) == 1:
        return turns[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in turns)


def _read_message(message: Any, subject: str) -> dict[str, str]:
    if not isinstance(message, Mapping):
        raise InputError(f"{subject} is {shorten(repr(message), 80)}: a message has the keys role and content.")
    given = {key: value for key, value in message.items() if value is not None}
    if unknown := sorted(given.keys() - {"role", "content"}):
        raise InputError(f"{subject} has the key {unknown[0]!r}: only the keys role and content are supported.")
    role, content = given.get("role"), given.get("content")
    if role not in _ROLES:
        raise InputError(f"{subject}: role is {role!r}. Use one of: {', '.join(_ROLES)}.")
    if isinstance(content, list | tuple):
        content = _joined_parts(content, subject)
    if not isinstance(content, str) or not content.strip():
        raise InputError(f"{subject}: content is {shorten(repr(content), 80)}, which is not text.")
    return {"role": role, "content": content}


def _joined_parts(parts: Sequence[Any], subject: str) -> str:
    texts = []
    for part in parts:
        if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise InputError(
                f"{subject} has the part {shorten(repr(part), 80)}: only parts of type 'text' are supported."
            )
        texts.append(part["text"])
    return "".join(texts)


def go_offline_if_hub_unreachable() -> str | None:
    """Set Hugging Face's libraries to offline mode if the hub does not answer.

    Without offline mode, the libraries retry each dataset for half a minute. Call this function before Hugging Face's
    libraries are imported, because they read the environment variables at import. This function does not test the hub
    if the user has set offline mode, or if a proxy is configured.

    Returns:
        A message for the user if this function set offline mode; else None.
    """
    if os.environ.get("HF_HUB_OFFLINE") or any(os.environ.get(name) for name in _PROXY_VARIABLES):
        return None
    address = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    host, port = address.hostname or "", address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT).close()
    except OSError as error:
        os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
        return (
            f"{host} does not answer ({error.strerror or error}). "
            "Only local files and datasets in the local cache can be read."
        )
    return None


def _open_file(path: Path, columns: Collection[str], key: str) -> RecordStream:
    return _open_parquet(path, columns, key) if path.suffix.lower() == ".parquet" else _open_jsonl(path, key)


def _open_jsonl(path: Path, key: str) -> RecordStream:
    if not path.is_file():
        raise InputError(f"{key}: {path} does not exist or is not a file.")

    def read(stream: RecordStream) -> Iterator[Record]:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file, path, key), start=1):
                stream.done += len(line)
                if line.strip():
                    place = f"{path}:{number}"
                    yield place, _parse_line(line, place)

    return RecordStream(str(path), path.stat().st_size, read)


def _lines(file: BinaryIO, path: Path, key: str) -> Iterator[bytes]:
    try:
        yield from file
    except OSError as error:
        raise InputError(f"{key}: {path} cannot be read: {error.strerror or error}.") from error


def _parse_line(line: bytes, place: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))  # some programs of Windows begin a file with a mark
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not JSON: {error.msg} at column {error.colno}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: not UTF-8: {error.reason} at byte {error.start}.") from error
    except (ValueError, RecursionError) as error:  # a number of more than 4,300 digits, or very deep nesting
        raise InputError(f"{place}: not readable as JSON: {error}.") from error
    if not isinstance(record, dict):
        raise InputError(f"{place}: expected an object with columns, found {type(record).__name__}.")
    return record


def _open_parquet(path: Path, columns: Collection[str], key: str) -> RecordStream:
    if not path.is_file():
        raise InputError(f"{key}: {path} does not exist or is not a file.")
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        command = install_command("semantic-entropy[parquet]")
        raise MissingDependencyError(f"{key}: {path} is a Parquet file, which needs pyarrow: {command}") from error
    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{key}: {path} cannot be read as a Parquet file: {error}") from error

    def read(stream: RecordStream) -> Iterator[Record]:
        for batch in file.iter_batches(batch_size=1000, columns=_selected_columns(columns, file.schema_arrow.names)):
            for record in batch.to_pylist():
                place = f"{path}[{stream.done}]"
                stream.done += 1
                yield place, record

    return RecordStream(str(path), file.metadata.num_rows, read)


def _open_hub(dataset: str, subset: str | None, split: str, columns: Collection[str], key: str) -> RecordStream:
    import datasets

    try:
        loaded = datasets.load_dataset(dataset, subset, split=split)
    except (OSError, ValueError) as error:
        raise InputError(f"{key}: cannot load {dataset!r} (subset {subset!r}, split {split!r}): {error}") from error
    selected = _selected_columns(columns, loaded.column_names)
    rows: Iterable[Mapping[str, Any]] = loaded if selected is None else loaded.select_columns(selected)

    def read(stream: RecordStream) -> Iterator[Record]:
        for index, record in enumerate(rows):
            stream.done = index + 1
            yield f"{dataset}[{index}]", record

    return RecordStream(dataset, len(loaded), read)


def _selected_columns(columns: Collection[str], available: Sequence[str]) -> list[str] | None:
    """The columns to read. None (every column) if a column is missing: a later error message then lists all columns."""
    return sorted(columns) if columns and set(columns) <= set(available) else None
