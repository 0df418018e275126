"""What the evaluation tools share: logged answers, grouped by question, are scored, and no entry is lost silently.

    entries of a log (one text or n choices each)  ->  groups with equal inputs  ->  Result  ->  fields of the tool

A group has a number only if at least two of its answers are valid. Otherwise `AnswerScore.value` is None and
`AnswerScore.reason` says why; each tool writes this in its own way, and never as 0.

Two entries belong to one question if their whole inputs are equal: equal last messages after different conversations
are different questions. An entry without an input is a question of its own, because nothing says which other entries
ask the same. Not supported: inputs that ask one question in different words.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from semantic_entropy.clusters import last_user_turn, read_replies
from semantic_entropy.one_call import estimate
from semantic_entropy.plain_text import plural, shorten
from semantic_entropy.results import Result
from semantic_entropy.tables import FieldNames

SCORE_NAME = "semantic_entropy"
"""The name of the score in each tool."""
SOURCE = f"semantic-entropy {version('semantic-entropy')}"
"""The author of a score, for tools that store one."""
_TEXT_FIELDS = ("output", "answer", "response", "text", "content", "completion", "generation", "result")
_MEANINGS_SHOWN = 5  # in a comment: the largest meanings
_MEANINGS_KEPT = 20  # in metadata: the largest meanings, shortened; servers limit the size of a request
_ANSWER_KEPT = 200  # characters of an answer in metadata
_GROUPS_SHOWN = 10  # in a printed summary: groups without a score


@dataclass(frozen=True, slots=True)
class LoggedText:
    """One entry of a log: a trace, a span or a generation.

    Attributes:
        id: the identifier of the entry in its tool.
        group: entries with equal `group` answer the same question.
        question: the question, for the judge and for messages; None: it is not known.
        texts: the answers of the entry: one, or one for each choice.
    """

    id: str
    group: str
    question: str | None
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoggedAnswers:
    """The answers to one question, and the entries of the log that they come from."""

    question: str | None
    responses: tuple[str, ...]
    entries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """The measured answers to one question.

    Attributes:
        answers: the answers.
        result: the result; None: nothing was measured, because there are fewer than two answers.
        reason: why there is no number; empty: there is one.
    """

    answers: LoggedAnswers
    result: Result | None
    reason: str = ""

    @property
    def value(self) -> float | None:
        """The entropy in nats; None: fewer than two answers are valid, and `reason` says so."""
        return None if self.reason or self.result is None else self.result.entropy

    @property
    def comment(self) -> str:
        """The score in one line for a reader: how many meanings, their shares, and the warnings; else the reason."""
        if self.reason or self.result is None:
            return f"no score: {self.reason}"
        ranked = sorted(self.result.clusters, key=lambda cluster: -cluster.share)
        shown = [f"{c.size} x {shorten(c.representative or '(no answer)', 60)}" for c in ranked[:_MEANINGS_SHOWN]]
        if more := len(ranked) - len(shown):
            shown.append(f"and {more} more")
        warnings = "".join(f"; warning: {warning}" for warning in self.result.warnings)
        return f"{self.result.entropy:.3f} nats over {len(self.result.answers)} answers: {', '.join(shown)}{warnings}"

    def metadata(self) -> dict[str, Any]:
        """Return plain values about the score, for the metadata of a tool. Long answers are shortened."""
        if self.result is None:
            return {"n": len(self.answers.responses), "source": SOURCE, "reason": self.reason}
        known = self.result.to_dict()
        ranked = sorted(self.result.clusters, key=lambda cluster: -cluster.share)
        fields = {
            "n": len(self.result.answers),
            "n_valid": self.result.n_valid,
            "invalid": self.result.invalid,
            "normalized": known["normalized"],
            "answer": self.result.answer and shorten(self.result.answer, _ANSWER_KEPT),
            "meanings": len(ranked),
            "clusters": [
                {"size": c.size, "answer": c.representative and shorten(c.representative, _ANSWER_KEPT)}
                for c in ranked[:_MEANINGS_KEPT]
            ],
            "undecided": self.result.provenance.undecided,
            "warnings": list(self.result.warnings),
            "judge": self.result.provenance.equivalence,
            "source": SOURCE,
        }
        if self.result.flag is not None:
            fields |= {"p_wrong": known["p_wrong"], "flag": self.result.flag}
        return fields | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True, slots=True)
class ScoringSummary:
    """What became of each entry of a log. `print(summary)` shows the counts and the reasons.

    Attributes:
        scores: a score for each question, also for those without a number.
        written: the number of scores that were written; unchanged scores of an earlier run do not count.
        unreadable: the entries without a readable answer, by id, with the reason.
        rejected: the entries whose score the tool did not accept, by id, with the reason.
    """

    scores: tuple[AnswerScore, ...]
    written: int = 0
    unreadable: Mapping[str, str] = field(default_factory=dict)
    rejected: Mapping[str, str] = field(default_factory=dict)

    @property
    def scored(self) -> tuple[AnswerScore, ...]:
        """The scores with a number."""
        return tuple(score for score in self.scores if score.value is not None)

    @property
    def skipped(self) -> tuple[AnswerScore, ...]:
        """The questions without a number, each with its `reason`."""
        return tuple(score for score in self.scores if score.value is None)

    def __str__(self) -> str:
        lines = [
            f"{plural(len(self.scored), 'question')} scored, {plural(self.written, 'score')} written, "
            f"{plural(len(self.skipped), 'question')} without a score, "
            f"{plural(len(self.unreadable), 'entry' if len(self.unreadable) == 1 else 'entrie')} not readable"
            + (f", {plural(len(self.rejected), 'score')} rejected" if self.rejected else "")
        ]
        lines += [
            f"  no score: {shorten(score.answers.question or '(no question)', 50)}: {score.reason}"
            for score in self.skipped[:_GROUPS_SHOWN]
        ]
        if more := len(self.skipped[_GROUPS_SHOWN:]):
            lines.append(f"  ... and {more} more without a score")
        for label, entries in (("not readable", self.unreadable), ("rejected", self.rejected)):
            for reason, count in Counter(entries.values()).most_common():
                first = next(name for name, why in entries.items() if why == reason)
                lines.append(f"  {label}: {count} x {shorten(reason, 200)} (first: {first})")
        return "\n".join(lines)


def score_answers(groups: Iterable[LoggedAnswers], **choices: Any) -> list[AnswerScore]:
    """Measure the answers of each group, all groups in one call. `choices` are the arguments of `estimate`.

    Raises:
        SemanticEntropyError: the errors of `estimate`.
    """
    every = list(groups)
    large = [group for group in every if len(group.responses) > 1]
    lists, questions = [list(group.responses) for group in large], [group.question for group in large]
    results = iter(estimate(lists, question=questions, **choices) if large else ())
    return [_score(group, next(results) if len(group.responses) > 1 else None) for group in every]


def _score(group: LoggedAnswers, result: Result | None) -> AnswerScore:
    if result is None:
        return AnswerScore(group, None, f"{plural(len(group.responses), 'answer')}; at least 2 are needed")
    if result.n_valid < 2:
        found = f"{result.n_valid} of {len(result.answers)} answers are valid; at least 2 are needed"
        return AnswerScore(group, result, found)
    if result.entropy != result.entropy:  # nan: an estimator of the user knows no value
        return AnswerScore(group, result, f"the estimator {result.provenance.estimator} gives no value")
    return AnswerScore(group, result)


def group_by_question(entries: Iterable[LoggedText]) -> list[LoggedAnswers]:
    """Put the entries with an equal `group` together, in the order of their first entries."""
    groups: dict[str, list[LoggedText]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    return [
        LoggedAnswers(
            members[0].question,
            tuple(text for entry in members for text in entry.texts),
            tuple(entry.id for entry in members),
        )
        for members in groups.values()
    ]


def answer_texts(output: Any, field: str | None = None) -> tuple[str, ...] | str:
    """Return the answers in a logged output; a reason, as a text, if there are none.

    An output is a text, a list of texts, a reply of an API with n choices, a message, or an object with a text. A JSON
    text of an object, a list or a text is decoded.

    Args:
        output: the output.
        field: the name of the answer in the object, or a path such as "result.answer". None: it is found.
    """
    value = decoded(output)
    for name in (field or "").split(".") if field else ():
        if not isinstance(value, Mapping) or name not in value:
            names = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
            return f"the output has no field {field!r}; it has {names or 'nothing'}"
        value = decoded(value[name])
    return _texts(value)


def _texts(value: Any) -> tuple[str, ...] | str:
    if value is None or value in ("", [], {}):
        return "there is no output"
    if _is_conversation(value):
        return _texts([turn for turn in value if turn["role"] in ("assistant", "ai")][-1:])
    texts = (value,) if isinstance(value, str) else value
    if isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts):
        return tuple(texts)
    if replies := read_replies(value):
        return tuple(replies.texts)
    if isinstance(value, Mapping):
        return _texts_of_object(value)
    return f"the output is {type(value).__name__} {str(value)!r:.60}, not a text"


def _texts_of_object(value: Mapping[str, Any]) -> tuple[str, ...] | str:
    if isinstance(value.get("messages"), list):
        return _texts(value["messages"])
    named = [value[name] for name in _TEXT_FIELDS if isinstance(value.get(name), str)]
    texts = named or [text for text in value.values() if isinstance(text, str) and len(value) == 1]
    if len(texts) == 1:
        return (texts[0],)
    return f"the output is an object ({', '.join(map(str, value))}): name the field with the answer"


def _is_conversation(value: Any) -> bool:
    """Whether this is a list of messages of several roles: its last reply is the answer."""
    turns = isinstance(value, list | tuple) and all(isinstance(turn, Mapping) and "role" in turn for turn in value)
    return turns and any(turn["role"] not in ("assistant", "ai") for turn in value)


def question_text(value: Any, field: str | None = None) -> str | None:
    """Return the question in a logged input: the last message of a user, a field with a common name, or the text."""
    found = decoded(value)
    if isinstance(found, Mapping) and field is None:
        found = found.get("request", found)  # the root span of an application has its arguments by name
    turn = last_user_turn(found)
    if isinstance(turn, Mapping):
        _, turn = FieldNames(question=field).question_in(turn)
        if not isinstance(turn, str) and isinstance(found, Mapping) and len(found) == 1:
            turn = last_user_turn(next(iter(found.values())))
    return turn if isinstance(turn, str) and turn.strip() else None


def input_key(value: Any, *parts: Any, entry: str) -> str:
    """Return a text that is equal for equal inputs, whatever the order of their fields.

    Args:
        value: the input. If it is empty, no other entry has the same key.
        *parts: what must be equal too, such as the model.
        entry: the identifier of the entry.
    """
    found = decoded(value)
    known = [found, *map(decoded, parts)] if found not in (None, "", [], {}) else {"no input": entry}
    return json.dumps(known, sort_keys=True, ensure_ascii=False, default=str)


def decoded(value: Any) -> Any:
    """Decode a JSON text of an object, a list or a text; other values are unchanged."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[", '"')):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
