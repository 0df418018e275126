"""One pass over a file: keep the labels that exist, make new ones, and write all rows with their labels.

The input is read once to look at all rows, once more if a judge labels them, and once to write the output. In memory
are the keys and labels, and of the rows without a label what a person sees.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from semantic_entropy.errors import InputError
from semantic_entropy.files import link_target, locked_output
from semantic_entropy.io import InputOptions, check_paths, open_reader
from semantic_entropy.io.bad_rows import BadRows
from semantic_entropy.io.formats import is_stream
from semantic_entropy.io.jsonl import unwritable
from semantic_entropy.io.rows import InputRow
from semantic_entropy.labelling.gold_judging import NO_ANSWER, GoldJudge, GoldTask
from semantic_entropy.labelling.items import ItemOptions, LabelItem, read_item
from semantic_entropy.labelling.label_summary import LabelSummary
from semantic_entropy.labelling.labelled_file import (
    INPUT,
    PAGE,
    PERSON,
    JudgeLabel,
    Label,
    LabelledFile,
    label_line,
    read_label,
)
from semantic_entropy.plain_text import plural
from semantic_entropy.progress import progress_bar
from semantic_entropy.scorer import Scorer
from semantic_entropy.tables import FieldNames

_CHUNK = 64  # rows that a judge gets together: a kill loses the labels of one chunk
_LINE_SUFFIXES = (".jsonl", ".ndjson", "")
_NOT_YET = "not labelled yet"
WaitingRow = tuple[InputRow, LabelItem]
"""A row, and what is labelled in it."""


class LabelRun:
    """One pass over a file. `with` locks the output, reads the labels that it has, and looks at all rows.

    Args:
        source: the path of the input.
        output: the path of the output, a file of JSON lines; None: no label is made.
        names: the names of the fields with responses, question and id.
        options: how the input is read.
        items: which fields are labelled and shown.
        cache: the verdict cache, which must not be the output.

    Attributes:
        labels: the labels by the keys of the rows.

    Raises:
        InputError: a file cannot be used, or the output has labels of other rows.
    """

    def __init__(
        self,
        source: str,
        output: str | None,
        *,
        names: FieldNames,
        options: InputOptions,
        items: ItemOptions,
        cache: str | None = None,
    ) -> None:
        if not Path(source).is_file():
            raise InputError(f"{source}: labels need an input that can be read several times: save it as a file")
        if output is not None and (suffix := Path(output).suffix.lower()) not in _LINE_SUFFIXES:
            raise InputError(f"{output}: labelled rows are JSON lines, not {suffix}: give the output the suffix .jsonl")
        if output is not None and is_stream(output):
            raise InputError(f"{output} cannot be continued: write the labels to a file")
        if output is not None:
            check_paths(source, output, None, cache, options.requests)
        self.source, self.output, self._names, self._items = source, output, names, items
        self.reader = open_reader(source, names, options, has_sampler=True)  # a row may have no responses
        self.path = None if output is None else link_target(Path(output))
        self.bad = BadRows(self.reader, None if output is None else Path(f"{output}.bad.jsonl"), has_sampler=False)
        self.labels: dict[str, Label] = {}
        self._keys: set[str] = set()
        self._rows = 0
        self._why: dict[str, str] = {}  # why a row has no label, by key
        self._notes: list[str] = []
        self._unmatched = 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            if self.path is not None:
                stack.enter_context(locked_output(self.path))
                self._file = LabelledFile(self.path, str(self.output))
                self.labels = self._file.labels
            self.bad.check()
            stack.enter_context(self.bad)
            self._look()
            if self.path is not None:
                stack.enter_context(self._file)
            self._close = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._close.__exit__(None, None, None)

    # The rows

    def waiting(self, order: str = "random") -> list[WaitingRow]:
        """Return the rows with an answer and without a label, each answer once.

        Args:
            order: "file", or "random": sorted by key, which is a random order that every run repeats.
        """
        found = {
            item.key: (row, item)
            for row, item in self._rows_and_items()
            if item.answer is not None and self._label_of(item).by is None
        }
        return [found[key] for key in (sorted(found) if order == "random" else found)]

    def _look(self) -> None:
        """Read the keys of all rows, report the bad ones, and take over labels of an input that is labelled."""
        for row in self.reader.rows():
            try:
                item = read_item(row, self._names, self._items)
                if problem := unwritable(row):
                    raise InputError(problem)  # noqa: TRY301  # reported like the problems of `read_item`
                found = read_label(row.fields or {})
            except InputError as error:
                self.bad.add([(row, str(error))])
                continue
            self._rows += 1
            self._keys.add(item.key)
            if found and found[0] == item.key and found[1].by not in (None, INPUT):
                self.labels.setdefault(*found)
        if not self._rows and not self.bad.count:
            raise InputError(f"{self.source} has no rows")
        made = {key: label for key, label in self.labels.items() if label.by not in (None, INPUT)}
        lost = [label for key, label in made.items() if key not in self._keys]
        if not lost:
            return
        if len(lost) == len(made) or not all(label.is_judged for label in lost):
            raise InputError(
                f"{len(lost)} of the {len(made)} labels in {self.output} belong to no row of {self.source}, whose "
                "question, main answer or id is another one. Nothing was changed. Choose another output, and take over "
                f"the labels that fit with --import {self.output}"
            )
        self._notes.append(f"{plural(len(lost), 'label')} of a judge removed: their rows are not in the input any more")

    def _rows_and_items(self) -> Iterator[WaitingRow]:
        """Yield the rows that can be labelled."""
        for row in self.reader.rows():
            try:
                item = read_item(row, self._names, self._items)
            except InputError:
                continue
            if item.key in self._keys and not unwritable(row):
                yield row, item

    def _label_of(self, item: LabelItem) -> Label:
        label = self.labels.get(item.key)
        if item.given is not None:
            return Label(INPUT, item.given, label.judge if label else None)
        if label and label.by not in (None, INPUT):
            return label
        return Label(None, None, why=NO_ANSWER if item.answer is None else self._why.get(item.key, _NOT_YET))

    # The labels

    def judge(self, scorer: Scorer, *, no_answer_is_wrong: bool = False, again: bool = False, progress: bool) -> None:
        """Label the rows by comparing their answers with their gold answers.

        A label of another origin stays, and the judge's label is stored beside it.

        Args:
            scorer: its judge, its extractor and its verdict cache are used.
            no_answer_is_wrong: whether an answer that is missing or a refusal is wrong. Otherwise it has no label.
            again: make the labels of judges again.
            progress: whether a progress bar is shown.

        Raises:
            InputError: the output has labels of another judge.
        """
        judge, rows = GoldJudge(scorer, no_answer_is_wrong=no_answer_is_wrong), self._rows_and_items()
        with progress_bar("rows", self._rows, progress, lambda: f"{scorer.cache.arrived} verdicts") as advance:
            while chunk := list(itertools.islice(rows, _CHUNK)):
                self._judge_chunk(judge, chunk, again=again)
                advance(len(chunk))

    def _judge_chunk(self, judge: GoldJudge, chunk: list[WaitingRow], *, again: bool) -> None:
        found: list[tuple[WaitingRow, JudgeLabel | str]] = []
        tasks: list[tuple[WaitingRow, GoldTask]] = []
        for waiting in chunk:
            task = judge.task(waiting[1])
            if not isinstance(task, GoldTask):
                found.append((waiting, task))
            elif again or not self._is_judged(waiting[1], task):
                tasks.append((waiting, task))
        decided = judge.decide([task for _, task in tasks])
        found += [(waiting, label) for (waiting, _), label in zip(tasks, decided, strict=True)]
        new = []
        for (row, item), result in found:
            label = self._label_of(item)
            if isinstance(result, JudgeLabel):
                if label.judge != result:
                    new.append((item, row, label.with_judge(result)))
            elif label.by is None or label.is_judged:
                self.labels.pop(item.key, None)
                self._why[item.key] = result
        self._append(new)

    def _is_judged(self, item: LabelItem, task: GoldTask) -> bool:
        """Whether the output has the judge's label for this row."""
        label = self._label_of(item)
        if label.judge is None or label.judge.gold != task.gold_digest:
            return False
        now = task.label(correct=True).name
        if label.judge.name != now and label.is_judged:
            raise InputError(
                f"{self.output} has labels by the judge {label.judge.name}, and this run has {now}: use --overwrite to "
                "replace the labels of judges (those of people stay), or another output"
            )
        return label.judge.name == now

    def add(self, row: InputRow, item: LabelItem, *, correct: bool, by: str) -> None:
        """Store a person's label."""
        self._append([(item, row, replace(self._label_of(item), by=by, correct=correct, why=""))])

    def undo(self) -> None:
        """Remove the label that was stored last."""
        self._file.undo()

    def note_skipped(self, keys: Iterable[str]) -> None:
        """Note that a person skipped these rows."""
        self._why |= dict.fromkeys(keys, "skipped")

    def take_over(self, labels: Mapping[str, Label], name: str) -> None:
        """Store labels of another file, by the keys of their rows. The labels of the input and of a terminal stay.

        Raises:
            InputError: no label belongs to a row of the input.
        """
        new, changed, kept, used = [], 0, 0, set()
        for row, item in self._rows_and_items():
            label = labels.get(item.key)
            if label is None or item.key in used:
                continue
            used.add(item.key)
            before = self._label_of(item)
            if before.correct is label.correct and not before.is_judged:
                continue
            if before.by in (INPUT, PERSON):
                kept += 1
                continue
            changed += before.by == PAGE
            new.append((item, row, replace(label, judge=label.judge or before.judge)))
        if not used:
            raise InputError(
                f"{name}: none of its {plural(len(labels), 'label')} belongs to a row of {self.source}: it was made "
                "for another file, or the answers have changed since"
            )
        self._append(new)
        unmatched = len(labels) - len(used)
        self._unmatched += unmatched + kept
        parts = [f"{name}: {plural(len(labels), 'label')}, {len(new)} taken over"]
        parts += [f"{changed} of them replace another label of a page"] if changed else []
        parts += [f"{kept} contradict a label of the input or of a terminal, which stays"] if kept else []
        parts += [f"{unmatched} belong to no row of {self.source}"] if unmatched else []
        self._notes.append("; ".join(parts))

    def _append(self, new: Sequence[tuple[LabelItem, InputRow, Label]]) -> None:
        lines = [(item.key, label, label_line(row.fields or {}, item, label)) for item, row, label in new]
        if lines:
            self._file.append(lines)

    def finish(self) -> LabelSummary:
        """Write all rows of the input in their order, and return what the output has."""
        summary = LabelSummary(str(self.output), rejected=self.bad.count, rejected_file=str(self.bad.path or ""))
        summary.notes, summary.unmatched = self._notes, self._unmatched

        def lines() -> Iterator[str]:
            for row, item in self._rows_and_items():
                label = self._label_of(item)
                summary.add(item, label)
                yield label_line(row.fields or {}, item, label)

        self._file.replace_all(lines())
        return summary
