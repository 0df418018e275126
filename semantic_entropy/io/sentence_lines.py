"""A file with one line for each sentence, or claim, of the long answers in a scored file, as JSON lines.

    {"id": "q7", "row": 3, "index": 0, "text": "...", "start": 0, "end": 41, "uncertainty": 0.25, "supported_by": 7,
     "undecided": 0, "doubtful": false, "samples": 10, "unit": "sentence", "support": "text", "claims_by": null}

A claim has null as its start and end.

The file is written from the finished output, and replaced in one step: it always holds the sentences of all rows of the
output, those of earlier runs too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from semantic_entropy.files import replacement
from semantic_entropy.io.formats import FOUND, open_reader
from semantic_entropy.long_answers import LongAnswer
from semantic_entropy.plain_fields import from_plain
from semantic_entropy.plain_text import plural, to_json_line
from semantic_entropy.tables import LONG_ANSWER, FieldNames, bare_name


class SentenceSummary(NamedTuple):
    """What was written: numbers of rows with a long answer, of sentences (or claims), and of doubtful ones."""

    path: str
    rows: int
    sentences: int
    doubtful: int
    unit: str = "sentence"

    def __str__(self) -> str:
        return (
            f"{plural(self.sentences, self.unit)} of {plural(self.rows, 'long answer')} in {self.path}; "
            f"{self.doubtful:,} doubtful"
        )


def write_sentences(output: str, path: str, names: FieldNames) -> SentenceSummary:
    """Write the sentences of a scored file.

    Args:
        output: a file that `estimate` wrote.
        path: the file to write.
        names: the names of the fields of a row.

    Raises:
        InputError: the scored file cannot be read.
        SemanticEntropyError: the file cannot be written; an existing file stays as it was.
    """
    rows = sentences = doubtful = 0
    unit = "sentence"
    with replacement(Path(path)) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as lines:
        for place, answer in _long_answers(output, names):
            rows += 1
            unit = answer.unit
            shared = {"samples": answer.samples, "unit": unit, "support": answer.support, "claims_by": answer.claims_by}
            for index, fields in enumerate(answer.to_dict()["sentences"]):
                lines.write(to_json_line({**place, "index": index, **fields, **shared}) + "\n")
                sentences, doubtful = sentences + 1, doubtful + fields["doubtful"]
    return SentenceSummary(path, rows, sentences, doubtful, unit)


def _long_answers(output: str, names: FieldNames) -> Iterator[tuple[dict[str, Any], LongAnswer]]:
    """Yield the id and the number of each row that has a long answer, and the answer."""
    reader = open_reader(output, names, FOUND)
    with contextlib.closing(reader.rows()) as rows:
        for row in rows:
            fields = row.fields or {}
            found = [key for key in map(str, fields) if bare_name(key) == LONG_ANSWER]  # the row can have its own
            stored = fields[max(found, key=len)] if found else None
            if isinstance(stored, Mapping) and "sentences" in stored:
                answer = from_plain(LongAnswer, stored, of="a long answer", missing="use a file that estimate wrote")
                yield {"id": fields.get(names.id), "row": row.number}, answer
