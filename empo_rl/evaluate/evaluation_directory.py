"""What an evaluation keeps, so that a kill costs nothing and grading can be done again.

    settings.json                what the responses depend on, and the label if one was given
    questions/SET.jsonl          the questions as they were asked, with their golds
    responses/SET.greedy.jsonl   a line a response, written as it arrives
    responses/SET.samples.jsonl
    generation.json              which of these are complete; what failed, and why; versions, seconds
    grades/SET.jsonl             a line a question: answers, which are right, entropy
    results.json, table.md       the numbers

Responses are never mixed: a directory whose settings are others than asked for is refused. Sets and samples may be
added to it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from empo_rl.evaluate.questions import Question
from empo_rl.files import TEMPORARY_SUFFIX, write_atomically
from semantic_entropy import InputError

SETTINGS, GENERATION, RESULTS, TABLE = "settings.json", "generation.json", "results.json", "table.md"
PARTS = ("greedy", "samples")
_MAY_BE_SET_LATER = ("temperature", "top_p")  # nothing has been drawn under them where there are no samples


class Directory:
    """One evaluation's directory."""

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file: name a directory.")
        self.path = path

    def responses(self, name: str, part: str) -> Path:
        """Where a set's responses lie."""
        return self._file("responses", f"{name}.{part}")

    def holds_responses(self) -> bool:
        """Whether anything has been drawn here; before that, settings and questions may change."""
        return any(path.stat().st_size for path in self.path.glob("responses/*.jsonl"))

    def settings(self) -> dict[str, Any] | None:
        """As they were kept; None: there is no evaluation here."""
        return self._read(SETTINGS)

    def keep_settings(self, wanted: Mapping[str, Any]) -> None:
        """Keep what is asked for, unless responses lie here that something else was asked for.

        Raises:
            InputError: says what differs.
        """
        kept = self.settings()
        others = [entry for entry in self.path.glob("*") if entry.suffix != TEMPORARY_SUFFIX]  # a kill may leave such
        if kept is None and others:
            raise InputError(f"{self.path} is not empty, and holds no evaluation: choose another --output-dir.")
        if kept is not None and self.holds_responses() and (differ := differences(kept, wanted)):
            raise InputError(
                f"{self.path} holds responses under other settings: {'; '.join(differ)}. Give the same again, or "
                "another --output-dir. (Grading can be changed: extract and grader are no part of this.)"
            )
        label = {} if kept is None or kept.get("label") is None else {"label": kept["label"]}
        self._write_settings({**wanted, **label})

    def keep_label(self, label: str) -> None:
        """The evaluation's name in tables, in place of what it was. Raises InputError where there is no evaluation."""
        kept = self.settings()
        if kept is None:
            raise InputError(f"{self.path} holds no evaluation: there is no {SETTINGS}.")
        self._write_settings({**kept, "label": label})

    def _write_settings(self, settings: Mapping[str, Any]) -> None:
        write_atomically(self.path / SETTINGS, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")

    def questions(self, name: str) -> list[Question] | None:
        """As they were asked before."""
        path = self._file("questions", name)
        if not path.exists():
            return None
        return [Question(**row["question"]) for row in _rows(path)]

    def prompts(self, name: str) -> list[str]:
        """The text that asked each question."""
        return [row["prompt"] for row in _rows(self._file("questions", name))]

    def keep_questions(self, name: str, questions: Sequence[Question], prompts: Sequence[str]) -> None:
        """Keep them, unless others have been asked here.

        Raises:
            InputError: names the first that differs.
        """
        before = self.questions(name)
        if before is None or not self.holds_responses():
            lines = (
                json.dumps({"question": dataclasses.asdict(question), "prompt": prompt})
                for question, prompt in zip(questions, prompts, strict=True)
            )
            write_atomically(self._file("questions", name), "".join(line + "\n" for line in lines))
            return
        if len(before) != len(questions):
            raise InputError(f"{self.path}: {len(before)} questions of {name!r} were asked here, now {len(questions)}.")
        for old, new, asked, now in zip(before, questions, self.prompts(name), prompts, strict=True):
            if (old.text, old.gold, asked) != (new.text, new.gold, now):
                raise InputError(
                    f"{self.path}: {new.place} is not the question {old.id} as it was asked here: its text, its gold "
                    "or its examples have changed. Choose another --output-dir."
                )

    def generation(self) -> dict[str, Any]:
        """What is complete, by set and part."""
        return self._read(GENERATION) or {"sampler": None, "sets": {}}

    def keep_generation(self, record: Mapping[str, Any]) -> None:
        """Written whenever a part is complete."""
        write_atomically(self.path / GENERATION, json.dumps(record, indent=2) + "\n")

    def is_complete(self, name: str, part: str, n: int) -> bool:
        """Whether n responses to each question of a set have been drawn, or have failed."""
        found = self.generation()["sets"].get(name, {}).get(part)
        return found is not None and found["n"] >= n

    def keep_grades(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """One row a question."""
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        write_atomically(self._file("grades", name), text)

    def keep_results(self, results: Mapping[str, Any], table: str) -> None:
        """For programs and for readers."""
        write_atomically(self.path / RESULTS, json.dumps(results, indent=2, allow_nan=False) + "\n")
        write_atomically(self.path / TABLE, table)

    def results(self) -> dict[str, Any]:
        """Raises InputError where there are none yet."""
        found = self._read(RESULTS)
        if found is None:
            raise InputError(f"{self.path} holds no {RESULTS}: no evaluation has been finished there.")
        return found

    def _file(self, folder: str, name: str) -> Path:
        """Never outside of the directory: grading again takes the sets' names from a file that others may have made."""
        if not re.fullmatch(r"[\w.-]+", name):
            raise InputError(
                f"{self.path}: {name!r} is no name of a set: it may hold letters, digits, '.', '_' and '-'. "
                f"Was {SETTINGS} edited?"
            )
        return self.path / folder / f"{name}.jsonl"

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.is_file():
            return None
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path} is no JSON ({error}): an evaluation did not write it.") from error
        return found


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path} is not there: the evaluation is not whole.")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def differences(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """One line for each setting that differs; more samples, further sets and another label are no difference."""
    found = []
    for key in sorted({*kept, *wanted} - {"samples", "sets", "label"}):
        old, new = kept.get(key), wanted.get(key)
        later = key in _MAY_BE_SET_LATER and old is None
        if old != new and not later:
            found.append(f"{key}: {old!r:.80} -> {new!r:.80}")
    if wanted["samples"] < kept["samples"]:
        found.append(f"samples: {kept['samples']} -> {wanted['samples']} (more may be added)")
    for name, old in kept["sets"].items():
        if name not in wanted["sets"]:
            found.append(f"set {name!r} is left out (others may be added)")
        elif old != (new := wanted["sets"][name]):
            found += [
                f"{name}.{key}: {old.get(key)!r:.80} -> {new.get(key)!r:.80}" for key in new if old.get(key) != new[key]
            ]
    return found
