"""The files of an evaluation. They allow to continue a killed run, and to grade again without the model.

    settings.json                what the responses depend on, and the label, if one was given
    questions/SET.jsonl          the questions with their prompts and gold answers
    responses/SET.greedy.jsonl   one response on each line, written as it arrives
    responses/SET.samples.jsonl
    generation.json              which responses are complete, failures with reasons, versions, seconds
    grades/SET.jsonl             one question on each line: answers, whether they are right, entropy
    results.json, table.md       the numbers

Responses with different settings are never mixed: the class refuses a directory with other settings. Sets and samples
can be added.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from empo_rl.evaluate.questions import EvaluationQuestion
from empo_rl.files import TEMPORARY_SUFFIX, write_atomically
from semantic_entropy import InputError

SETTINGS, GENERATION, RESULTS, TABLE = "settings.json", "generation.json", "results.json", "table.md"
_CAN_BE_SET_LATER = ("temperature", "top_p")  # they are None until samples are requested


class EvaluationDirectory:
    """Reads and writes the files of one evaluation."""

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file: name a directory.")
        self.path = path

    def responses(self, name: str, part: str) -> Path:
        """The file with the responses of a set; part: "greedy" or "samples"."""
        return self._file("responses", f"{name}.{part}")

    def has_responses(self) -> bool:
        """True if responses are stored here. Without responses, settings and questions may change."""
        return any(path.stat().st_size for path in self.path.glob("responses/*.jsonl"))

    def settings(self) -> dict[str, Any] | None:
        """The stored settings; None if the directory contains no evaluation."""
        return self._read(SETTINGS)

    def require_settings(self) -> dict[str, Any]:
        """The stored settings.

        Raises:
            InputError: the directory contains no evaluation.
        """
        settings = self.settings()
        if settings is None:
            raise InputError(f"{self.path} contains no evaluation: it has no {SETTINGS}.")
        return settings

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Store settings. The stored label is kept.

        Raises:
            InputError: responses with other settings are stored here, or other files; the message lists the
                differences.
        """
        stored = self.settings()
        others = [
            entry for entry in self.path.glob("*") if entry.suffix != TEMPORARY_SUFFIX
        ]  # a killed run leaves these
        if stored is None and others:
            raise InputError(f"{self.path} is not empty, and contains no evaluation: choose another --output-dir.")
        if stored is not None and self.has_responses() and (changed := differences(stored, settings)):
            raise InputError(
                f"{self.path} contains responses with other settings: {'; '.join(changed)}. "
                "Use the stored settings, or another --output-dir. (--grader and --extract may change, because the "
                "responses do not depend on them.)"
            )
        label = {} if stored is None or stored.get("label") is None else {"label": stored["label"]}
        self._write_settings({**settings, **label})

    def write_label(self, label: str) -> None:
        """Store the name of the evaluation in tables.

        Raises:
            InputError: the directory contains no evaluation.
        """
        self._write_settings({**self.require_settings(), "label": label})

    def questions(self, name: str) -> list[EvaluationQuestion] | None:
        """The stored questions of a set; None if there are none."""
        path = self._file("questions", name)
        if not path.exists():
            return None
        return [EvaluationQuestion(**row["question"]) for row in _read_rows(path)]

    def prompts(self, name: str) -> list[str]:
        """The stored prompts of a set, one for each question."""
        return [row["prompt"] for row in _read_rows(self._file("questions", name))]

    def write_questions(self, name: str, questions: Sequence[EvaluationQuestion], prompts: Sequence[str]) -> None:
        """Store the questions of a set. If responses exist, check instead that the questions have not changed.

        Raises:
            InputError: a question has changed; the message names the first.
        """
        stored = self.questions(name)
        if stored is None or not self.has_responses():
            lines = (
                json.dumps({"question": dataclasses.asdict(question), "prompt": prompt})
                for question, prompt in zip(questions, prompts, strict=True)
            )
            write_atomically(self._file("questions", name), "".join(line + "\n" for line in lines))
            return
        if len(stored) != len(questions):
            raise InputError(
                f"{self.path}: set {name!r} was evaluated with {len(stored)} questions, now it has {len(questions)}. "
                "Choose another --output-dir."
            )
        for old, new, old_prompt, new_prompt in zip(stored, questions, self.prompts(name), prompts, strict=True):
            if (old.text, old.gold, old_prompt) != (new.text, new.gold, new_prompt):
                raise InputError(
                    f"{self.path}: {new.place} differs from the stored question {old.id}: its text, gold answer or "
                    "examples have changed. Choose another --output-dir."
                )

    def generation(self) -> dict[str, Any]:
        """The record of sampling: which responses are complete, by set and part."""
        return self._read(GENERATION) or {"sampler": None, "sets": {}}

    def write_generation(self, record: Mapping[str, Any]) -> None:
        """Store the record of sampling; called when a part is complete."""
        write_atomically(self.path / GENERATION, json.dumps(record, indent=2) + "\n")

    def is_complete(self, name: str, part: str, n: int) -> bool:
        """True if n responses to each question of a set were sampled, or failed."""
        found = self.generation()["sets"].get(name, {}).get(part)
        return found is not None and found["n"] >= n

    def write_grades(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store the grades of a set, one row for each question."""
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        write_atomically(self._file("grades", name), text)

    def write_results(self, results: Mapping[str, Any], table: str) -> None:
        """Store the results as JSON, and the printed tables."""
        write_atomically(self.path / RESULTS, json.dumps(results, indent=2, allow_nan=False) + "\n")
        write_atomically(self.path / TABLE, table)

    def results(self) -> dict[str, Any]:
        """The stored results.

        Raises:
            InputError: the evaluation is not finished.
        """
        found = self._read(RESULTS)
        if found is None:
            raise InputError(f"{self.path} has no {RESULTS}: it contains no finished evaluation.")
        return found

    def _write_settings(self, settings: Mapping[str, Any]) -> None:
        write_atomically(self.path / SETTINGS, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")

    def _file(self, folder: str, name: str) -> Path:
        """A file in the directory. The name of a set can come from files of other people, so it is checked: the path
        must not leave the directory.
        """
        if not re.fullmatch(r"[\w.-]+", name):
            raise InputError(
                f"{self.path}: {name!r} is not a valid name of a set: use letters, digits, '.', '_' and '-'. "
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
            raise InputError(f"{path} is not JSON ({error}), so empo-eval did not write it.") from error
        return found


def differences(stored: Mapping[str, Any], requested: Mapping[str, Any]) -> list[str]:
    """One line for each setting that differs. More samples, more sets and another label are not differences."""
    found = []
    for key in sorted({*stored, *requested} - {"samples", "sets", "label"}):
        old, new = stored.get(key), requested.get(key)
        set_later = key in _CAN_BE_SET_LATER and old is None
        if old != new and not set_later:
            found.append(f"{key}: {old!r:.80} -> {new!r:.80}")
    if requested["samples"] < stored["samples"]:
        found.append(f"samples: {stored['samples']} -> {requested['samples']} (the number can only grow)")
    for name, old in stored["sets"].items():
        if name not in requested["sets"]:
            found.append(f"set {name!r} is missing (sets can only be added)")
        elif old != (new := requested["sets"][name]):
            found += [
                f"{name}.{key}: {old.get(key)!r:.80} -> {new.get(key)!r:.80}" for key in new if old.get(key) != new[key]
            ]
    return found


def _read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path} does not exist: the evaluation is incomplete.")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
