"""The output of `semantic-entropy label`: JSON lines with the fields of the input rows and their labels.

    {..., "answer_correct": true, "label": {"by": "judge text", "key": "9c0f...", "judge": {...}}}
    {..., "answer_correct": false, "label": {"by": "person", "key": "51be..."}}
    {..., "answer_correct": null, "label": {"by": null, "key": "77a1...", "why": "no answer"}}

While labels are made, each new label is appended as a whole line. So a kill loses no label, and only the last line can
be incomplete; the next run removes it. At the end, the file is replaced in one step by all rows of the input in their
order. A later line with the same key wins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Self

from semantic_entropy.errors import InputError
from semantic_entropy.files import close_flushed, open_append, replacement, write_lines
from semantic_entropy.io.rows import json_fields
from semantic_entropy.labelling.items import LABEL, LabelItem, label_field
from semantic_entropy.plain_text import to_json_line
from semantic_entropy.tables import free_name

CORRECT = "answer_correct"
INPUT, PERSON, PAGE, JUDGE = "input", "person", "page", "judge"


@dataclass(frozen=True, slots=True)
class JudgeLabel:
    """What a judge says about an answer.

    Attributes:
        name: the judge with its options.
        correct: whether the answer means the same as a gold answer.
        gold: the digest of the gold answers.
    """

    name: str
    correct: bool
    gold: str


@dataclass(frozen=True, slots=True)
class Label:
    """The label of an answer.

    Attributes:
        by: "input" (the row had it), "person", "page" or "judge NAME"; None: there is no label.
        correct: whether the answer is right; None: there is no label.
        judge: what a judge says; if a person made the label, it is there to be compared.
        why: why there is no label.
    """

    by: str | None
    correct: bool | None
    judge: JudgeLabel | None = None
    why: str = ""

    @classmethod
    def of_judge(cls, judge: JudgeLabel) -> Self:
        """The label that a judge makes."""
        return cls(f"{JUDGE} {judge.name}", judge.correct, judge)

    @property
    def is_judged(self) -> bool:
        """Whether a judge made the label, which a person's label replaces."""
        return self.by is not None and self.by.startswith(f"{JUDGE} ")

    def with_judge(self, judge: JudgeLabel) -> Label:
        """Return the label of a row that this judge has seen: a label of another origin stays."""
        return Label.of_judge(judge) if self.by is None or self.is_judged else replace(self, judge=judge)


def read_label(fields: Mapping[str, Any]) -> tuple[str, Label] | None:
    """Return (key, label) of an output row; None: the row is not from this command.

    Raises:
        InputError: the label was changed, and means nothing any more.
    """
    name = label_field(fields)
    if name is None:
        return None
    value, correct = fields[name], fields.get(CORRECT)
    by, judge = value["by"], value.get("judge")
    if not (by is None or isinstance(by, str)) or not (correct is None or isinstance(correct, bool)):
        raise InputError(
            f"the label of a row is by {by!r:.80} with {CORRECT!r} {correct!r:.80}: true or false is needed"
        )
    if judge is not None:
        try:
            judge = JudgeLabel(str(judge["name"]), judge["correct"] is True, str(judge["gold"]))
        except (KeyError, TypeError):
            raise InputError(f"the field {name!r} holds {judge!r:.80} as the verdict of a judge") from None
    if correct is None:
        return value["key"], Label(INPUT if by == INPUT else None, None, judge)
    if by is None or (by.startswith(f"{JUDGE} ") and (judge is None or judge.correct is not correct)):
        by = PERSON  # edited by hand
    return value["key"], Label(by, correct, judge)


def label_line(fields: Mapping[str, Any], item: LabelItem, label: Label) -> str:
    """Return the output line of a row with this label."""
    own = {name: value for name, value in fields.items() if name != label_field(fields)}
    if label.by != INPUT:
        own[CORRECT] = label.correct
    record: dict[str, Any] = {"by": label.by, "key": item.key}
    if label.judge:
        record["judge"] = {"name": label.judge.name, "correct": label.judge.correct, "gold": label.judge.gold}
    if label.why:
        record["why"] = label.why
    own[free_name(LABEL, own)] = record
    try:
        return to_json_line(own)
    except (TypeError, ValueError):
        return to_json_line(json_fields(own))


class LabelledFile:
    """The labels in an output by the keys of their rows. `with` opens the file for appending.

    Args:
        path: the path of the file. It need not exist.
        name: the name of the file in messages.

    Attributes:
        labels: the labels by key.

    Raises:
        InputError: the file holds something else.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.labels: dict[str, Label] = {}
        self._lacks_end = False  # whether the last line is complete, except for its end
        self._size = self._read() if path.exists() else 0  # bytes of complete lines
        self._appended: list[tuple[str, Label | None, int]] = []  # key, label before, size before

    def __enter__(self) -> Self:
        self._out: IO[bytes] = open_append(self.path)
        self._out.truncate(self._size)
        if self._lacks_end:
            self._size += self._out.write(b"\n")
        return self

    def __exit__(self, *_: object) -> None:
        close_flushed(self._out)

    def append(self, lines: Iterable[tuple[str, Label, str]]) -> None:
        """Append labels, given as (key, label, line), and wait until they are on the disk."""
        listed = list(lines)
        for key, label, line in listed:  # first, so that Ctrl-C loses no label: `replace_all` writes what is known
            self._appended.append((key, self.labels.get(key), self._size))
            self.labels[key] = label
            self._size += len(line.encode()) + 1
        write_lines(self._out, [line for _, _, line in listed], self.path)
        os.fsync(self._out.fileno())

    def undo(self) -> str:
        """Remove the label that was appended last, and return its key."""
        key, before, size = self._appended.pop()
        self._out.truncate(size)
        self._size = size
        if before is None:
            del self.labels[key]
        else:
            self.labels[key] = before
        return key

    def replace_all(self, lines: Iterable[str]) -> None:
        """Replace the file by these lines in one step. Nothing can be appended after that."""
        with replacement(self.path) as temporary:
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(line + "\n" for line in lines)
            close_flushed(self._out)

    def _read(self) -> int:
        """Read the labels. Return the number of bytes of complete lines."""
        size = 0
        try:
            with self.path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.endswith(b"\n") and _is_cut_off(line):
                        break
                    key, label = self._label(number, line)
                    if label.by is not None or label.judge:
                        self.labels[key] = label
                    size += len(line)
                    self._lacks_end = not line.endswith(b"\n")
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read: {error.strerror}") from error
        return size

    def _label(self, number: int, line: bytes) -> tuple[str, Label]:
        try:
            fields = json.loads(line)
            found = read_label(fields) if isinstance(fields, dict) else None
        except (ValueError, RecursionError, InputError) as error:
            raise self._foreign(number, f": {error}") from None
        if found is None:
            raise self._foreign(number, "")
        return found

    def _foreign(self, number: int, why: str) -> InputError:
        return InputError(f"{self.name}, line {number} is no labelled row of this command{why}: choose another output")


def _is_cut_off(line: bytes) -> bool:
    """Whether the line is the beginning of a row that a kill cut off. A power cut can leave zeros at the end."""
    written = line.rstrip(b"\0")
    if not written.startswith(b"{"):
        return not written
    try:
        json.loads(written)
    except (ValueError, RecursionError):
        return True
    return len(written) < len(line)
