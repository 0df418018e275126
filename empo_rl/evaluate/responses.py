"""The responses that a directory keeps, by question. They are read from there alone, whether just drawn or long ago."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semantic_entropy import InputError


@dataclass(frozen=True, slots=True)
class Response:
    """A response's text (reasoning that was set apart is not in it), whether it was cut off, its tokens."""

    text: str
    cut_off: bool
    tokens: int


def read_responses(path: Path, prompts: Sequence[str], n: int) -> list[list[Response]]:
    """The first n responses to each prompt, fewer where they failed.

    Raises:
        InputError: the file is not there, or a line of it is no response.
    """
    found: dict[str, list[Response]] = {prompt: [] for prompt in prompts}
    if not path.is_file():
        raise InputError(f"{path} is not there: no responses to grade.")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                fields = json.loads(line)
                sample, question = fields["sample"], fields["question"]
                usage = sample.get("usage") or {}
                response = Response(
                    sample["text"], sample.get("finish_reason") == "length", int(usage.get("output_tokens", 0))
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(f"{path}:{number}: no response ({type(error).__name__}: {error}).") from error
            if question in found and len(found[question]) < n:
                found[question].append(response)
    return [found[prompt] for prompt in prompts]
