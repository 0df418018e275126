"""Read and write the files of an evaluation. `empo-eval` uses them to continue a killed run, and to grade again without
the model.

    settings.json                the options that the responses depend on, and the label, if the user gave a label
    questions/SET.jsonl          the questions with their prompts and gold answers
    responses/SET.greedy.jsonl   one response on each line, written as soon as the response is sampled
    responses/SET.samples.jsonl
    generation.json              for each set: completed parts, failures with reasons, seconds; versions
    grades/SET.jsonl             one question on each line: answers, whether each answer is right, entropy
    scored/SET.jsonl             the samples of each question with their clusters and labels: an input of
                                 `semantic-entropy report`, `evaluate` and others
    report/SET.html              the report of the scored samples
    results.json, table.md       the numbers

A directory never contains responses with different settings: if the settings differ, `EvaluationDirectory` raises an
error. A later run can add sets and samples.
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
from semantic_entropy.plain_text import plural, to_json_line
from semantic_entropy.report import write_report

SETTINGS, GENERATION, RESULTS, TABLE = "settings.json", "generation.json", "results.json", "table.md"
_CAN_BE_SET_LATER = ("temperature", "top_p")  # these settings are None until samples are requested


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
        """True if the directory contains responses. Without responses, settings and questions may change."""
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

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Check that these settings fit the stored responses.

        Raises:
            InputError: the directory contains responses made with other settings (the message lists the differences),
                or it contains files but no evaluation.
        """
        stored = self.settings()
        # a killed run leaves temporary files
        others = [entry for entry in self.path.glob("*") if entry.suffix != TEMPORARY_SUFFIX]
        if stored is None and others:
            raise InputError(f"{self.path} is not empty, and contains no evaluation: choose another --output-dir.")
        if stored is not None and self.has_responses() and (changed := differences(stored, settings)):
            raise InputError(
                f"{self.path} contains responses with other settings: {'; '.join(changed)}. "
                "Use the stored settings, or another --output-dir. (--grader and --extract may change, because the "
                "responses do not depend on them.)"
            )

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Replace the stored settings, but keep their label. The caller has called `check_settings`."""
        stored = self.settings()
        label = {} if stored is None or stored.get("label") is None else {"label": stored["label"]}
        self._write_settings({**settings, **label})

    def write_label(self, label: str) -> None:
        """Store the label: the name of the evaluation in tables.

        Raises:
            InputError: the directory contains no evaluation.
        """
        self._write_settings({**self.require_settings(), "label": label})

    def questions(self, name: str) -> list[EvaluationQuestion] | None:
        """The stored questions of a set; None if no questions are stored."""
        path = self._file("questions", name)
        if not path.exists():
            return None
        return [EvaluationQuestion(**row["question"]) for row in _read_rows(path)]

    def prompts(self, name: str) -> list[str]:
        """The stored prompts of a set, one for each question."""
        return [row["prompt"] for row in _read_rows(self._file("questions", name))]

    def write_questions(self, name: str, questions: Sequence[EvaluationQuestion], prompts: Sequence[str]) -> None:
        """Store the questions of a set, unless they are stored and have responses."""
        if self.questions(name) is not None and self.has_responses():
            return
        lines = (
            json.dumps({"question": dataclasses.asdict(question), "prompt": prompt})
            for question, prompt in zip(questions, prompts, strict=True)
        )
        write_atomically(self._file("questions", name), "".join(line + "\n" for line in lines))

    def check_questions(self, name: str, questions: Sequence[EvaluationQuestion], prompts: Sequence[str]) -> None:
        """Check that the questions of a set have not changed since their responses were sampled.

        Raises:
            InputError: a question has changed; the message names the first changed question.
        """
        stored = self.questions(name)
        if stored is None or not self.has_responses():
            return
        if len(stored) != len(questions):
            raise InputError(
                f"{self.path}: set {name!r} was evaluated with {plural(len(stored), 'question')}, but has "
                f"{len(questions):,} now. Choose another --output-dir."
            )
        for old, new, old_prompt, new_prompt in zip(stored, questions, self.prompts(name), prompts, strict=True):
            if (old.text, old.gold, old_prompt) != (new.text, new.gold, new_prompt):
                raise InputError(
                    f"{self.path}: {new.place} differs from the stored question {old.id}: the text, the gold answer or "
                    "the examples have changed. Choose another --output-dir."
                )

    def generation(self) -> dict[str, Any]:
        """The content of `generation.json`: the completed parts of each set, and the versions of the sampler."""
        return self._read(GENERATION) or {"sampler": None, "sets": {}}

    def write_generation(self, record: Mapping[str, Any]) -> None:
        """Store `generation.json`. The caller does this when a part is complete."""
        write_atomically(self.path / GENERATION, json.dumps(record, indent=2) + "\n")

    def is_complete(self, name: str, part: str, n: int) -> bool:
        """True if sampling tried n responses to each question of the set. Some of these responses may have failed."""
        found = self.generation()["sets"].get(name, {}).get(part)
        return found is not None and found["n"] >= n

    def write_grades(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store the grades of a set, one row for each question."""
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        write_atomically(self._file("grades", name), text)

    def write_scored(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store the measured samples of a set, one row for each question with samples."""
        write_atomically(self.scored(name), "".join(to_json_line(row) + "\n" for row in rows))

    def scored(self, name: str) -> Path:
        """The file with the measured samples of a set."""
        return self._file("scored", name)

    def write_report(self, name: str, title: str) -> None:
        """Write the report of the measured samples of a set, if a question has samples."""
        if self.scored(name).stat().st_size:
            self.report(name).parent.mkdir(exist_ok=True)
            write_report(self.scored(name), self.report(name), title=title)

    def report(self, name: str) -> Path:
        """The HTML file that shows the measured samples of a set."""
        return self._file("report", name).with_suffix(".html")

    def grades(self, name: str) -> list[dict[str, Any]]:
        """The stored grades of a set, one row for each question.

        Raises:
            InputError: the set has no grades.
        """
        return _read_rows(self._file("grades", name))

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
        """The path of a file in `folder`, from the name of a set.

        The name can come from a file of other people, so this method checks that the path stays in the directory.
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
    """One line for each setting that differs. More samples, more sets or another label do not count as differences."""
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
