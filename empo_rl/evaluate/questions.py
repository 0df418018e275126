"""Load the questions of an evaluation set with their gold answers, from the hub or from a local JSONL file.

If a file contains several sets, its column `source_column` contains the name of each row's set. The text of a
multiple-choice question includes its lettered choices, one choice on each line. A question can be a conversation: a
list of messages, whose last message is the user's.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from empo_rl.data.normal_form import normal_form
from empo_rl.data.records import Conversation, column_question, hub_records, jsonl_records, question_text
from empo_rl.data.suites import QuestionSet, SetColumns
from empo_rl.extras import require_extra
from semantic_entropy import InputError, estimate

LETTERS = string.ascii_uppercase[:16]
_MISSING = object()


@dataclass(frozen=True, slots=True)
class EvaluationQuestion:
    """A question with its gold answer. `questions/SET.jsonl` stores these fields.

    Attributes:
        id: unique in the set, and the same in each run.
        text: the question, with its lettered choices; for a conversation, `question_text` of its messages.
        gold: the gold answer; a letter for a multiple-choice question; None: the row has no gold answer.
        place: file and line of the question, such as `data.jsonl:7`, for messages.
        category: category in the data set; few-shot examples come from the same category.
        group: the column of the table in which the question counts.
        worked: a complete solution, if the data contain a solution.
        stem: for a multiple-choice question, the text before the choices and the text of the right choice. The stem
            does not depend on the order of the choices.
        messages: the messages of a conversation; None: the question is a text.
    """

    id: str
    text: str
    gold: str | None
    place: str
    category: str | None = None
    group: str | None = None
    worked: str | None = None
    stem: str | None = None
    messages: Conversation | None = None

    def is_same_question(self, other: EvaluationQuestion) -> bool:
        """True if both questions have equal normal forms. The order of the choices does not matter."""
        return _cached_form(self.stem or self.text) == _cached_form(other.stem or other.text)


_cached_form = cache(normal_form)  # each question is compared with each example


def load_questions(
    question_set: QuestionSet,
    file: Path | None = None,
    *,
    source_column: str | None = None,
    split: str | None = None,
    seed: int = 0,
) -> list[EvaluationQuestion]:
    """All questions of a set, in the order of the data.

    Args:
        question_set: the set.
        file: a JSONL file that replaces the dataset on the hub.
        source_column: column with the name of the set, if the file contains several sets.
        split: a split of the dataset that replaces the split of the set.
        seed: seed of the order of the choices, for a set whose rows do not define this order.

    Raises:
        InputError: the data cannot be loaded, a row lacks a question or an answer, or there are no questions.
    """
    split = split or question_set.split
    records = _from_file(question_set, file, source_column) if file else _from_hub(question_set, split)
    if not records:
        where = f"{file}" if file else f"{question_set.dataset} (split {split!r})"
        chosen = f" with {source_column}={question_set.name!r}" if file and source_column else ""
        raise InputError(f"set {question_set.name!r}: {where} contains no questions{chosen}.")
    return [_question(question_set, index, place, record, seed) for index, (place, record) in enumerate(records)]


def has_golds(questions: Sequence[EvaluationQuestion]) -> bool:
    """Whether a question has a gold answer."""
    return any(question.gold is not None for question in questions)


def last_box(text: str) -> str | None:
    r"""The content of the last complete `\boxed{...}`, with balanced braces; None if no box is complete."""
    return estimate([text], equivalence="exact", extract="boxed").answers[0]


def _from_hub(question_set: QuestionSet, split: str) -> list[tuple[str, Mapping[str, Any]]]:
    require_extra(f"set {question_set.name!r} from the hub", ("datasets",))
    try:
        return hub_records(question_set.dataset, question_set.subset, split)
    except InputError as error:
        raise InputError(
            f"set {question_set.name!r}: cannot load {question_set.dataset!r} (subset {question_set.subset!r}, "
            f"split {split!r}) from the hub. "
            f"If you have no network or no access, give the rows as a local JSONL file: "
            f"--suite-file {question_set.name}=FILE. ({error.__cause__ or error})"
        ) from error


def _from_file(question_set: QuestionSet, file: Path, source_column: str | None) -> list[tuple[str, Mapping[str, Any]]]:
    if not file.is_file():
        raise InputError(f"set {question_set.name!r}: {file} does not exist or is not a file.")
    records = jsonl_records(file)
    if source_column is None:
        return records
    without = [place for place, record in records if source_column not in record]
    if without:
        raise InputError(f"{without[0]}: no column {source_column!r} (--source-column).")
    return [(place, record) for place, record in records if record[source_column] == question_set.name]


def _question(
    question_set: QuestionSet, index: int, place: str, record: Mapping[str, Any], seed: int
) -> EvaluationQuestion:
    columns = question_set.columns
    messages = _messages(record, columns, place)
    text = question_text(messages) if messages else _joined_text(record, columns.question, "question", place)
    category = group = stem = None
    if question_set.groups is not None and columns.category is not None:
        category = _joined_text(record, (columns.category,), "category", place)
        if category not in question_set.groups:
            raise InputError(f"{place}: unknown category {category!r}. Choose from: {', '.join(question_set.groups)}.")
        group = question_set.groups[category]
    gold = _gold(record, question_set, place)
    if question_set.kind == "choice":
        bare_text, rng = text, random.Random(f"choices {seed} {index}")
        text, gold, right = _choices(record, question_set, text, gold, place, rng)
        stem = f"{bare_text}\n{right}"
        if messages and text != bare_text:
            raise InputError(
                f"{place}: the question is a conversation, and a column holds its choices: put the lettered choices "
                "into the last message of the conversation, and remove the column."
            )
    worked = next((str(record[name]) for name in columns.worked if record.get(name)), None)
    return EvaluationQuestion(
        f"{question_set.name}-{index}", text, gold, place, category, group, worked, stem, messages
    )


def _messages(record: Mapping[str, Any], columns: SetColumns, place: str) -> Conversation | None:
    """The conversation in the question column; None if the column holds a text."""
    name = next((name for name in columns.question if record.get(name)), None)
    value = None if name is None else record[name]
    if name is None or not (isinstance(value, list | tuple) and isinstance(value[0], Mapping)):
        return None
    question = column_question(record, name, place, "the question column")
    return None if isinstance(question, str) else question


def _gold(record: Mapping[str, Any], question_set: QuestionSet, place: str) -> str | None:
    columns, policy = question_set.columns, question_set.golds
    has_answer = any(_has_text(record, name) for name in columns.answer)
    solution = next((record[name] for name in columns.solution if record.get(name)), None)
    if has_answer or (solution is None and policy == "required"):
        return _joined_text(record, columns.answer, "answer", place)
    if policy == "nullable" and not any(name in record for name in columns.answer):
        return _joined_text(record, columns.answer, "answer", place)  # raises: the columns are missing
    boxed = last_box(str(solution)) if solution is not None else None
    if boxed is None and policy == "required":
        raise InputError(rf"{place}: no answer, and the solution has no complete, non-empty \boxed{{...}}.")
    return boxed


def _choices(
    record: Mapping[str, Any], question_set: QuestionSet, text: str, gold: str | None, place: str, rng: random.Random
) -> tuple[str, str | None, str]:
    """The question with lettered choices, and the letter and the text of the right choice.

    The text of the right choice is "" if the question contains the choices, or if there is no gold answer.
    """
    if gold is None:
        listed = next((record[name] for name in question_set.columns.options if record.get(name)), None)
        choices = None if listed is None else [str(option).strip() for option in listed]
        return (text if choices is None else _with_letters(text, choices, place)), None, ""
    wrong = [str(record[name]).strip() for name in question_set.columns.wrong if _has_text(record, name)]
    if wrong:
        options = [gold, *wrong]
        order = rng.sample(range(len(options)), len(options))
        return _with_letters(text, [options[i].strip() for i in order], place), LETTERS[order.index(0)], gold
    listed = next((record[name] for name in question_set.columns.options if record.get(name)), None)
    letter = gold.strip().strip("()").upper()
    count = len(LETTERS) if listed is None else len(listed)
    if len(letter) != 1 or letter not in LETTERS[:count]:
        raise InputError(
            f"{place}: the answer to a multiple-choice question must be a letter A-{LETTERS[count - 1]}, not {gold!r}."
        )
    if listed is None:
        return text, letter, ""
    options = [str(option).strip() for option in listed]
    return _with_letters(text, options, place), letter, options[LETTERS.index(letter)]


def _with_letters(text: str, options: Sequence[str], place: str) -> str:
    if not 1 < len(options) <= len(LETTERS):
        raise InputError(f"{place}: found {len(options)} choices; 2 to {len(LETTERS)} are supported.")
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([text, *lines, ""])  # the text of the template after the question starts on a new line


def _joined_text(record: Mapping[str, Any], names: Sequence[str], role: str, place: str) -> str:
    name = next((name for name in names if _has_text(record, name)), None)
    if name is None:
        raise InputError(
            f"{place}: no {role}: none of the columns {', '.join(map(repr, names))} contains text. "
            f"Columns: {', '.join(record)}."
        )
    value = record[name]
    parts = value if isinstance(value, list | tuple) else [value]
    return ", ".join(str(part).strip() for part in parts)


def _has_text(record: Mapping[str, Any], name: str) -> bool:
    value = record.get(name, _MISSING)
    if isinstance(value, list | tuple):
        return bool(value) and all(_has_text({"": part}, "") for part in value)
    return isinstance(value, str | int | float) and bool(str(value).strip())
