"""Read the rows that a report shows: a question, its responses, the result, and a label where there is one.

A row has a result if it has the fields that `semantic-entropy estimate` writes. Rows without a result, and rows whose
result contradicts itself, are left out; they are counted and the first ones are listed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from semantic_entropy.decisions import Calibration, Decision, LabelRule, decide, group_label
from semantic_entropy.decisions.stored_results import contradictions
from semantic_entropy.errors import InputError
from semantic_entropy.io import InputOptions, check_row, open_reader
from semantic_entropy.plain_text import one_line, plural, show_value
from semantic_entropy.results import CALIBRATION_FIELDS, Result
from semantic_entropy.tables import LONG_ANSWER, RESULT_FIELDS, FieldNames, bare_name
from semantic_entropy.types import Group

PlacedRow = tuple[str, Mapping[str, Any] | Result, Group | None, str]
"""The place of a row for messages, its fields or its result, its group if it can be read, and its problem or ""."""
_SHOWN = 10  # number of rows left out that are listed
_LONGEST_FIELD = 300  # characters of another field of a row: a report shows identifiers and gold answers, not documents


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A row of the report.

    Attributes:
        id: the value that identifies the row for the user: its field `id`, else its place.
        question: the question; None: not known.
        responses: (G,) the responses; the extracted answers if the row does not have its responses.
        result: the result.
        wrong: whether the main answer is wrong; None: the row has no label.
        correct: (G,) the label of each response; None: not known.
        fields: the other fields of the row, as (name, text), cut to a readable length.
        greedy: the greedy answer; None: not known.
        decision: what a gate decides with the calibration of the report; None: the report has no calibration.
    """

    id: str
    question: str | None
    responses: tuple[str, ...]
    result: Result
    wrong: bool | None = None
    correct: tuple[bool, ...] | None = None
    fields: tuple[tuple[str, str], ...] = ()
    greedy: str | None = None
    decision: Decision | None = None


@dataclass(slots=True)
class ScoredRows:
    """The rows of a report, and the rows that it leaves out.

    Attributes:
        rule: what "wrong" means, see `semantic_entropy.decisions.labels`.
        correct: the field with the labels of the responses.
        names: the names of the fields of a row.
        calibration: decides about each row; None: rows show the flag that they have, if they were calibrated.
        rows: the rows with a result.
        left_out: the number of rows without a usable result.
        problems: what is wrong with the first of them.
        unmeasured: the number of rows in the report of bad rows beside the file, which have no result.
    """

    rule: LabelRule = "main"
    correct: str = "correct"
    names: FieldNames = field(default_factory=FieldNames)
    calibration: Calibration | None = None
    rows: list[ReportRow] = field(default_factory=list)
    left_out: int = 0
    problems: list[str] = field(default_factory=list)
    unmeasured: int = 0

    def add_all(self, rows: Iterable[PlacedRow]) -> None:
        """Add the rows with a result, and count the others.

        Raises:
            InputError: no row has a result.
        """
        for place, row, group, problem in rows:
            try:
                self.rows.append(self._decided(self._row(place, row, group, problem)))
            except InputError as error:
                self.left_out += 1
                if len(self.problems) < _SHOWN:
                    self.problems.append(one_line(f"{place}: {error}"))
        if not self.rows:
            found = f"{plural(self.left_out, 'row')} without one" if self.left_out else "there is no row"
            raise InputError(
                f"no row has a result ({found}): a report shows the output of semantic-entropy estimate"
                + "".join(f"\n  {problem}" for problem in self.problems)
            )

    def _row(self, place: str, row: Mapping[str, Any] | Result, group: Group | None, problem: str) -> ReportRow:
        if isinstance(row, Result):
            given = group.responses if group else _texts(row)
            greedy = row.greedy_sample.text if row.greedy_sample else None
            return ReportRow(place, group.question if group else None, given, row, greedy=greedy)
        result = stored_result(row, group)
        if result is None:
            raise InputError(problem or "no result: run semantic-entropy estimate first")
        responses = group.responses if group else _texts(result)
        label = group_label(row, self.rule, result.labels, self.correct)
        identity = row.get(self.names.id)
        question = group.question if group else self.names.question_in(row)[1]
        return ReportRow(
            id=place if identity is None else str(identity),
            question=question if isinstance(question, str) else None,
            responses=responses,
            result=result,
            wrong=None if label is None else label.wrong,
            correct=self._labels(row, len(responses)),
            fields=tuple(self._other_fields(row)),
            greedy=_greedy_text(row.get("greedy")),
        )

    def _decided(self, row: ReportRow) -> ReportRow:
        """Return the row with the decision of the calibration, and with the p(wrong) and the flag of this decision."""
        if self.calibration is None:
            return row
        found = decide(row.result, self.calibration)
        result = replace(row.result, p_wrong=found.p_wrong, flag=not found.answers, threshold=found.threshold)
        return replace(row, result=result, decision=found)

    def _labels(self, row: Mapping[str, Any], size: int) -> tuple[bool, ...] | None:
        given = row.get(self.correct)
        if isinstance(given, list | tuple) and len(given) == size and all(isinstance(each, bool) for each in given):
            return tuple(given)
        return None

    def _other_fields(self, row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        shown = {
            self.names.responses,
            self.names.logprobs,
            self.names.id,
            self.correct,
            "greedy",
            *self.names.question_fields(row),
        }
        shown |= set(_result_keys(row).values())
        for name, value in row.items():
            if name in shown:
                continue
            if isinstance(value, list | tuple) and all(isinstance(each, str | int | float) for each in value):
                text = ", ".join(map(str, value))
            elif isinstance(value, str | int | float):
                text = str(value)
            else:
                continue
            if text:
                yield str(name), text if len(text) <= _LONGEST_FIELD else text[:_LONGEST_FIELD] + " ..."


def _result_keys(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys of an output row by the names of the fields that `estimate` writes.

    A key has a prefix if the row had a field of its name before. So the longest key is that of the result.
    """
    keys = {bare_name(key): key for key in sorted(map(str, row), key=len)}
    wanted = (*RESULT_FIELDS, "row_key", "run")
    provenance = row.get(keys.get("provenance", ""))
    if isinstance(provenance, Mapping) and provenance.get("calibration") is not None:
        wanted += CALIBRATION_FIELDS
    long_answer = row.get(keys.get(LONG_ANSWER, ""))
    if isinstance(long_answer, Mapping) and "sentences" in long_answer:
        wanted += (LONG_ANSWER,)
    return {name: keys[name] for name in wanted if name in keys}


def stored_result(row: Mapping[str, Any], group: Group | None) -> Result | None:
    """Return the result that `estimate` wrote to a row; None: the row has none.

    Args:
        row: the fields of the row.
        group: the responses of the row; None: they cannot be read.

    Raises:
        InputError: the result contradicts itself or the responses.
    """
    fields = {name: row[key] for name, key in _result_keys(row).items()}
    if not isinstance(fields.get("provenance"), Mapping) or "clusters" not in fields:
        return None  # a field of the user can have the name of one of ours
    result = Result.from_dict(fields)
    if group and len(group.responses) != len(result.answers):
        raise InputError(f"{len(group.responses)} responses, but a result of {len(result.answers)}")
    if found := contradictions(result):
        raise InputError(f"the result contradicts itself: {'; '.join(found)}. Measure this row again")
    return result


def read_scored(source: str, names: FieldNames, options: InputOptions) -> Iterator[PlacedRow]:
    """Yield the rows of a file."""
    reader = open_reader(source, names, options)
    with contextlib.closing(reader.rows()) as rows:
        for row in rows:
            place = f"{reader.unit} {row.number}"
            if row.fields is None:
                yield place, {}, None, row.problem or "not an object"
            else:
                yield place, row.fields, row.group, row.problem or ""


def unmeasured_rows(source: str) -> int:
    """Return the number of rows in the report of bad rows that `estimate` wrote beside its output, or in its folder."""
    report = Path(source) / "_bad.jsonl" if Path(source).is_dir() else Path(f"{source}.bad.jsonl")
    if not report.is_file():
        return 0
    with report.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def given_rows(
    rows: Iterable[Mapping[str, Any] | Result], questions: Sequence[str | None] | None, names: FieldNames
) -> Iterator[PlacedRow]:
    """Yield rows or results of the caller.

    Raises:
        InputError: a row is neither a dict nor a `Result`, or the number of questions is another one.
    """
    listed = list(rows)
    if questions is not None and (isinstance(questions, str) or len(questions) != len(listed)):
        raise InputError(f"questions={show_value(questions)} for {plural(len(listed), 'row')}: give one for each")
    for i, row in enumerate(listed):
        place = f"row {i}"
        if isinstance(row, Result):
            yield place, row, Group(_texts(row), questions[i] if questions else None), ""
        elif isinstance(row, Mapping):
            group, problem = check_row(row, names)
            yield place, row, group, problem or ""
        else:
            raise InputError(f"{place} is {show_value(row)}; pass results, dicts, or the path of a file")


def _greedy_text(given: Any) -> str | None:
    text = given.get("text") if isinstance(given, Mapping) else given
    return text if isinstance(text, str) else None


def _texts(result: Result) -> tuple[str, ...]:
    """Return the texts of the responses: of the samples, else the extracted answers."""
    if result.samples:
        return tuple(sample.text for sample in result.samples)
    return tuple(answer or "" for answer in result.answers)


def known(value: float | None) -> float | None:
    """Return a number; None if it is not known."""
    return None if value is None or not math.isfinite(value) else value
