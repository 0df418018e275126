"""Rows with one response each: the rows with the same value of a field are the responses to one question.

The input is read twice. The first pass finds whether the rows of each group are adjacent, and which fields differ
inside a group; it keeps a digest for each group, about 120 bytes. If the rows are adjacent, the second pass has one
group at a time in memory; else all rows are kept in memory, and standard error says so. Standard input is copied to a
temporary file.

A field that has one value in each group keeps its value; a field that differs inside any group becomes a list with the
value of each row. A bad row is reported by itself, and its group is measured without it. A row whose field is null,
nan or blank is a bad row.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from semantic_entropy.clusters import OF_REPLIES, is_messages, one_group
from semantic_entropy.errors import InputError
from semantic_entropy.io.rows import InputRow, RowReader
from semantic_entropy.plain_text import one_line
from semantic_entropy.tables import QUESTION, FieldNames
from semantic_entropy.types import Group

_COMPLETE: Mapping[str, Any] = {}  # in place of the first row of a complete group, which is not needed any more


class GroupedReader(RowReader):
    """Joins the rows of another reader.

    Args:
        reader: the reader of the rows. Its `check` is `check_single`, or that of a format with replies.
        group_by: the field that the rows of a group share; "question" can be a question that has another name.
    """

    def __init__(self, reader: RowReader, group_by: str) -> None:
        super().__init__(reader.name, reader.names)
        self._reader, self.group_by = reader, group_by
        self.question_option = reader.question_option
        self.unit, self.number_key = reader.unit, reader.number_key  # type: ignore[misc]  # of the first row of a group
        self._lists: set[str] | None = None  # the fields that differ inside a group; None: not known yet
        self._adjacent = True

    @property
    def can_reread(self) -> bool:
        return self._reader.can_reread

    def rows(self) -> Generator[InputRow, None, None]:
        if self._lists is None:
            self._lists = self._survey()
        rows = self._keyed_rows()
        if not self._adjacent:
            rows = self._sorted(rows)
        members: list[InputRow] = []
        current = None
        for key, row in rows:
            if key is None:
                yield row
                continue
            if members and key != current:
                yield self._joined(members)
                members = []
            members.append(row)
            current = key
        if members:
            yield self._joined(members)

    def _keyed_rows(self) -> Generator[tuple[bytes | None, InputRow], None, None]:
        """Yield each row with the digest of its group; None: a bad row."""
        for row in self._reader.rows():
            fields = row.fields or {}
            if row.problem:
                yield None, row
            elif self.group_by in fields:
                yield self._key(fields[self.group_by], row)
            elif self.group_by == QUESTION and row.group and row.group.question is not None:
                yield self._key(row.group.question, row)
            else:
                has = ", ".join(fields) or "none"
                yield None, _without_group(row, f"no field {self.group_by!r} for --group-by; it has {has}")

    def _key(self, value: Any, row: InputRow) -> tuple[bytes | None, InputRow]:
        if value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip():
            return None, _without_group(row, f"no value in the field {self.group_by!r} for --group-by ({value!r})")
        return _digest(value), row

    def _survey(self) -> set[str]:
        """Find whether the rows of each group are adjacent. Return the fields that differ inside a group."""
        first: dict[bytes, Mapping[str, Any]] = {}
        lists: set[str] = set()
        taken: set[str] = set()
        current, count = None, 0
        for key, row in self._keyed_rows():
            if key is None:
                continue
            count += 1
            taken.add(self.names.single_response(row.fields or {}))
            if key not in first:
                if current is not None and self._adjacent:
                    first[current] = _COMPLETE  # the group is complete, unless the rows are not adjacent
                first[key] = row.fields or {}
            elif key != current and self._adjacent:
                self._adjacent = False
                return self._survey()
            else:
                lists |= _differing(first[key], row.fields or {}, lists)
            current = key
        for found in sorted(taken - {self.names.responses}):
            sys.stderr.write(f"responses: the field {found!r} (--responses FIELD names another one)\n")
        if not self._adjacent:
            note = (
                f"{self.name}: rows with the same {self.group_by} are not adjacent, so all {count} rows are kept in "
                f"memory; sort the file by {self.group_by} to need one group at a time"
            )
            sys.stderr.write(one_line(note) + "\n")
        return lists | taken

    def _sorted(
        self, rows: Iterable[tuple[bytes | None, InputRow]]
    ) -> Generator[tuple[bytes | None, InputRow], None, None]:
        """Yield the rows of the first group, then those of the second, ... and a bad row when it is read."""
        groups: dict[bytes, list[InputRow]] = {}
        for key, row in rows:
            if key is None:
                yield None, row
            else:
                groups.setdefault(key, []).append(row)
        for key, members in groups.items():
            for row in members:
                yield key, row

    def _joined(self, members: Sequence[InputRow]) -> InputRow:
        names = dict.fromkeys(name for row in members for name in row.fields or {})
        fields = {
            name: [(row.fields or {}).get(name) for row in members]
            if name in (self._lists or ())
            else (members[0].fields or {}).get(name)
            for name in names
        }
        group, problem = self._group([row.group for row in members if row.group], self._evidence(members))
        if group and self.group_by == QUESTION:  # the question of a batch is in its requests
            fields.setdefault(QUESTION, group.question)
        return InputRow(members[0].number, _row_text(fields) if problem else "", fields, group, problem)

    def _evidence(self, members: Sequence[InputRow]) -> dict[str, Any]:
        """Return the evidence of a group: a list with that of each row, and one greedy answer."""
        each = [self.names.evidence_in(row.fields or {}) for row in members]
        known: dict[str, Any] = {name: [given.get(name) for given in each] for name in self.names.evidence}
        known = {name: values for name, values in known.items() if any(value is not None for value in values)}
        if (greedy := known.get("greedy")) and all(_same(greedy[0], other) for other in greedy):
            known |= {"greedy": greedy[0]}
        return known

    def _group(self, groups: Sequence[Group], evidence: Mapping[str, Any]) -> tuple[Group | None, str | None]:
        questions = list(dict.fromkeys(group.question for group in groups))
        if len(questions) > 1:
            shown = " and ".join(f"{question!r:.60}" for question in questions[:2])
            return None, f"rows with the same {self.group_by} have different questions: {shown}"
        responses = [response for group in groups for response in group.responses]
        logprobs = [tokens for group in groups for tokens in group.logprobs or ()]
        try:
            known = [each.cut_off for each in groups if each.cut_off is not None]
            tokens = logprobs if len(logprobs) == len(responses) else None
            group = one_group(responses, questions[0], tokens, evidence={**_of_replies(groups), **evidence})
            return replace(group, cut_off=sum(known) if known else None), None
        except InputError as error:
            return None, str(error)


def _of_replies(groups: Sequence[Group]) -> dict[str, Any]:
    """Return the evidence that the replies of all groups have."""
    found: dict[str, Any] = {}
    for name in OF_REPLIES:
        values = [getattr(group.evidence, name, None) for group in groups]
        if all(values):
            found[name] = [each for own in values for each in own or ()]
    return found


def check_single(fields: Mapping[str, Any], names: FieldNames) -> tuple[Group | None, str | None]:
    """Return (group, None) for a row with one response, else (None, problem).

    The response is a text, or the last message of a conversation, in the field of the responses; without this field, in
    a field with a common name. `logprobs` are those of the one response.
    """
    field = names.single_response(fields)
    for name in (field, names.question):
        if name is not None and name not in fields:
            return None, f"no field {name!r}; it has {', '.join(fields) or 'none'}"
    value, logprobs = fields[field], fields.get(names.logprobs)
    if is_messages(value):
        if value[-1]["role"] != "assistant":
            return None, f"{field!r} ends with a message of the {value[-1]['role']}, so it has no response"
        value = [value[-1]]
    is_text = isinstance(value, str)
    tokens = [logprobs] if is_text and logprobs else None
    try:
        of_reply = dict.fromkeys(names.evidence)
        return one_group([value] if is_text else value, names.question_in(fields)[1], tokens, evidence=of_reply), None
    except InputError as error:
        return None, str(error)


def _without_group(row: InputRow, problem: str) -> InputRow:
    return replace(row, text=row.text or _row_text(row.fields or {}), group=None, problem=problem)


def _row_text(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, default=str)  # a Parquet row can hold nan and dates


def _differing(first: Mapping[str, Any], second: Mapping[str, Any], known: set[str]) -> set[str]:
    """Return the fields with different values, besides those that are known."""
    return {name for name in (first.keys() | second.keys()) - known if not _same(first.get(name), second.get(name))}


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, str) or isinstance(second, str):
        return bool(first == second)
    return _json_text(first) == _json_text(second)  # 1, 1.0 and True differ


def _json_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(_json_text(value).encode(), digest_size=16).digest()
