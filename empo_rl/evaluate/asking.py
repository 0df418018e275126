r"""How a set's questions are put to the model: template, examples, chat template.

    system turn   the template's
    user turn     [example, its solution,] * N, then the question, each in the template's words

With examples this is the few-shot chain of thought of Table 2. The paper does not print its few-shot prompt; here the
examples stand in the user's turn, a blank line between them, and each ends with its answer in \boxed{}.
`plain` leaves the chat template out: system and user turn are one text, which the model continues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empo_rl.config.templates import Template
from empo_rl.data.suites import QuestionSet
from empo_rl.evaluate.questions import Question, last_box, load_questions
from semantic_entropy import InputError


@dataclass(frozen=True, slots=True)
class Asking:
    """One set's way of asking. `shots` examples for each question, out of `pool`."""

    template: Template
    plain: bool = False
    shots: int = 0
    pool: tuple[Question, ...] = ()

    @property
    def system(self) -> str | None:
        """The system turn; None where there is none, or where it is part of the text."""
        return None if self.plain else self.template.system

    def text(self, question: Question) -> str:
        """The user turn, examples included; of a plain prompt, all of it."""
        parts = [f"{self._user(one)}\n{_solution(one)}" for one in self._examples(question)]
        if self.plain and self.template.system is not None:
            parts.insert(0, self.template.system)
        return "\n\n".join([*parts, self._user(question)])

    def sampler_options(self) -> dict[str, Any]:
        """What the sampler has to know of it."""
        chat: dict[str, Any] = {"chat": False} if self.plain else {"chat": True, "system": self.system}
        if not self.plain and (text := self.template.chat_template_text()) is not None:
            chat["chat_template"] = text
        return chat

    def describe(self) -> dict[str, Any]:
        """For the settings that a directory keeps."""
        return {"system": self.template.system, "user": self.template.user}

    def _user(self, question: Question) -> str:
        return self.template.conversation(question.text)[-1]["content"]

    def _examples(self, question: Question) -> list[Question]:
        if not self.shots:
            return []
        alike = [
            one
            for one in self.pool
            if not one.is_the_same_as(question) and (question.category is None or one.category == question.category)
        ]
        if len(alike) < self.shots:
            of = "" if question.category is None else f" of category {question.category!r}"
            raise InputError(
                f"{question.place}: --few-shot {self.shots}, and there are {len(alike)} other examples{of}: "
                "ask for fewer, or give more with --few-shot-file."
            )
        return alike[: self.shots]


def examples_for(one: QuestionSet, shots: int, file: Path | None) -> tuple[Question, ...]:
    """The examples of a set: a JSONL file's rows, in their order, or those of the set's own split.

    Raises:
        InputError: the set has no split for examples, and there is no file.
    """
    if not shots:
        return ()
    if file is None and one.examples is None:
        raise InputError(
            f"--few-shot {shots}: set {one.name!r} has no examples of its own. Give a JSONL file of questions, answers "
            "and solutions, in the set's columns: --few-shot-file FILE."
        )
    return tuple(load_questions(one, file, split=one.examples))


def check_examples(asking: Asking, questions: Sequence[Question]) -> None:
    """Raise InputError unless each question has its examples."""
    for question in questions:
        asking.text(question)


def _solution(example: Question) -> str:
    worked = (example.worked or "").strip()
    if worked and last_box(worked) is not None:
        return worked
    return f"{worked}\n\\boxed{{{example.gold}}}".lstrip()
