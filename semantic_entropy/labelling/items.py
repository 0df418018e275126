"""What is labelled in a row: its main answer, with the question, the gold answers, and a key.

The main answer is the first of these that a row has:

    the field that the user names             its text
    greedy                                    the text of the greedy answer
    the result of `semantic-entropy estimate` `answer`, the representative of the most probable cluster
    one response                              this response

A row with several responses and no result has no main answer: a judge must cluster its responses first. A row whose
main answer is null or blank, or a refusal of all responses, has no answer that is right or wrong.

The key of a row is a digest of its question, its main answer and its id. So a label belongs to an answer: it is found
again if the row moves or gets other scores, and not if another answer became the main answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semantic_entropy.clusters.groups import is_missing
from semantic_entropy.decisions import group_label
from semantic_entropy.errors import InputError
from semantic_entropy.evaluation.labelled_scores import result_field
from semantic_entropy.io.rows import InputRow
from semantic_entropy.plain_text import one_line, show_value
from semantic_entropy.tables import FieldNames, bare_name

LABEL = "label"
"""The field that says who labelled the row; with the prefix `result_` if the row has another field of this name."""


@dataclass(frozen=True, slots=True)
class ItemOptions:
    """Which fields of a row are used.

    Attributes:
        answer: the field with the answer that is labelled; None: see the module.
        gold: the fields with gold answers: a text, a number, or a list of accepted texts.
        shown: the fields that a person sees besides the question and the answer.
        correct: the field with the labels of the responses, as in `semantic_entropy.decisions.group_label`.
    """

    answer: str | None = None
    gold: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    correct: str = "correct"


@dataclass(frozen=True, slots=True)
class LabelItem:
    """The answer of a row that gets a label.

    Attributes:
        number: the number of the row, for messages.
        key: 32 hexadecimal digits, see the module.
        question: the question; None: the row has none.
        answer: the main answer; None: the row has no valid answer.
        extracted: whether the answer was extracted from a response by an earlier run.
        gold: the accepted answers; empty: the row has no gold answer.
        shown: (name, text) of the fields that a person sees.
        given: the label of the main answer that the row has; None: it has none.
        majority: the label of the largest cluster, from the labels of the responses; None: not known.
    """

    number: int
    key: str
    question: str | None
    answer: str | None
    extracted: bool
    gold: tuple[str, ...]
    shown: tuple[tuple[str, str], ...]
    given: bool | None
    majority: bool | None

    @property
    def gold_digest(self) -> str:
        """A digest of the gold answers. A verdict on other gold answers is out of date."""
        return hashlib.sha256(json.dumps(self.gold).encode()).hexdigest()[:16]


def read_item(row: InputRow, names: FieldNames, options: ItemOptions) -> LabelItem:
    """Return what is labelled in a row.

    Raises:
        InputError: the row cannot be labelled: a field is missing or has a wrong type, or no main answer is known.
    """
    fields = row.fields
    if fields is None:
        raise InputError(row.problem or "no fields")
    if names.question is not None and names.question not in fields:
        raise InputError(f"no field {names.question!r}; it has {', '.join(fields) or 'none'}")
    _, question = names.question_in(fields)
    if question is not None and not isinstance(question, str):
        raise InputError(f"the question is {show_value(question)}; it must be a text")
    answer, extracted = _main_answer(row, options.answer)
    has_result = result_field(fields, "provenance") is not None
    clusters = result_field(fields, "labels") if has_result else None
    label = group_label(fields, "main", clusters, options.correct)
    return LabelItem(
        number=row.number,
        key=item_key(question, answer, fields.get(names.id)),
        question=question,
        answer=answer,
        extracted=extracted,
        gold=tuple(dict.fromkeys(text for name in options.gold for text in _gold_texts(fields, name))),
        shown=tuple((name, _as_text(_find(fields, name))) for name in options.shown),
        given=not label.wrong if label and label.rule == "main" and _own_label(fields) is None else None,
        majority=not label.wrong if label and label.rule == "majority" else None,
    )


def item_key(question: str | None, answer: str | None, row_id: Any) -> str:
    """Return the key of a row."""
    return hashlib.sha256(json.dumps([question, answer, row_id], default=str).encode()).hexdigest()[:32]


def label_field(fields: Mapping[str, Any]) -> str | None:
    """Return the field of an output row that says who labelled it; None: the row is not from this command."""
    found = max((name for name in fields if bare_name(name) == LABEL), key=len, default=None)
    value = fields[found] if found else None
    return found if isinstance(value, Mapping) and isinstance(value.get("key"), str) and "by" in value else None


def _own_label(fields: Mapping[str, Any]) -> str | None:
    """Return the field with a label that this command made; None: a label of the row has another origin."""
    found = label_field(fields)
    return found if found and fields[found]["by"] not in (None, "input") else None


def _main_answer(row: InputRow, name: str | None) -> tuple[str | None, bool]:
    """Return the main answer, and whether it was extracted from its response."""
    fields = row.fields or {}
    if name is not None:
        return _text(_find(fields, name), name), False
    greedy = fields.get("greedy")
    if isinstance(greedy, Mapping) and isinstance(greedy.get("text"), str):
        return _text(greedy["text"], "greedy.text"), False
    if result_field(fields, "provenance") is not None:
        return _text(result_field(fields, "answer"), "answer"), True
    if row.group is None:
        raise InputError(f"{row.problem}, and --answer FIELD names no field with the answer")
    if len(row.group.responses) == 1:
        return _text(row.group.responses[0], "the response"), False
    raise InputError(
        f"{len(row.group.responses)} responses and no result, so the main answer is not known: label the output of "
        "semantic-entropy estimate, or name a field with the answer (--answer FIELD)"
    )


def _text(value: Any, name: str) -> str | None:
    """Return the text of an answer; None if it is blank."""
    if value is not None and not isinstance(value, str):
        raise InputError(f"the answer {name!r} is {show_value(value)}; it must be a text")
    return value if value and value.strip() else None


def _find(fields: Mapping[str, Any], name: str) -> Any:
    """Return the value of a field. `answer.value` is the field `value` of the field `answer`."""
    if name in fields:
        return fields[name]
    value: Any = fields
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise InputError(f"no field {name!r}; it has {', '.join(map(str, fields)) or 'none'}")
        value = value[part]
    return value


def _gold_texts(fields: Mapping[str, Any], name: str) -> Sequence[str]:
    """Return the accepted answers of a field."""
    value = _find(fields, name)
    if isinstance(value, str) and value.lstrip().startswith('["'):  # a cell of a CSV file; [0, 1] can be an interval
        try:
            value = json.loads(value)
        except ValueError:
            value = [value]
    texts = []
    for each in value if isinstance(value, list | tuple) else [value]:
        if isinstance(each, bool) or not isinstance(each, str | int | float | None):
            raise InputError(f"the gold answer {name!r} is {show_value(each)}; it must be a text or a list of texts")
        text = "" if is_missing(each) else str(each).strip()
        if text:
            texts.append(text)
    return texts


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "\n".join(f"- {one_line(each)}" for each in value)
    return json.dumps(value, ensure_ascii=False, default=str)
