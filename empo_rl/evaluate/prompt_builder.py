r"""Make the prompt for a question from the template, few-shot examples and the chat template.

    system message   the system message of the template
    user message     N examples with solutions, then the question; the template gives the words around each question

With examples, this is the few-shot chain-of-thought prompt of Table 2. The paper does not print its few-shot prompt. In
this module, the user message contains the examples, separated by blank lines; each example ends with its answer in
\boxed{}. With `plain`, no chat template is used: the system message and the user message form one text, and the model
continues this text.

If a question of the set is a conversation, every prompt of the set is a conversation, as JSON: the sampler writes it
with the chat template. The examples then stand in the last message of the user.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from empo_rl.config.templates import Template
from empo_rl.data.suites import QuestionSet
from empo_rl.evaluate.questions import EvaluationQuestion, last_box, load_questions
from semantic_entropy import InputError


@dataclass(frozen=True, slots=True)
class PromptBuilder:
    """Makes the prompts of one set.

    Attributes:
        template: system and user message, chat template.
        plain: use no chat template.
        shots: number of examples before each question.
        pool: the questions from which the examples are chosen.
        conversations: whether the prompts are conversations.
    """

    template: Template
    plain: bool = False
    shots: int = 0
    pool: tuple[EvaluationQuestion, ...] = ()
    conversations: bool = False

    @property
    def system(self) -> str | None:
        """The system message of a prompt that is a text. None if there is none, or if the prompt is plain."""
        return None if self.plain or self.conversations else self.template.system

    def prompt(self, question: EvaluationQuestion) -> str:
        """The user message with its examples. For a plain prompt, the complete text; for a conversation, its JSON.

        Raises:
            InputError: the pool has too few examples for this question.
        """
        parts = [f"{self._user_text(example)}\n{_solution(example)}" for example in self._examples(question)]
        if self.conversations:
            turns = self.template.conversation(question.messages or question.text)
            asked = next(turn for turn in reversed(turns) if turn["role"] == "user")
            asked["content"] = "\n\n".join([*parts, asked["content"]])
            return json.dumps(turns, ensure_ascii=False)
        if self.plain and self.template.system is not None:
            parts.insert(0, self.template.system)
        return "\n\n".join([*parts, self._user_text(question)])

    def sampler_options(self) -> dict[str, Any]:
        """The options of the sampler that depend on the prompt format, such as the chat template."""
        if self.plain:
            return {"chat": False}
        options: dict[str, Any] = {"chat": True, "system": self.system, "messages": self.conversations}
        if (text := self.template.chat_template_text()) is not None:
            options["chat_template"] = text
        return options

    def settings(self) -> dict[str, Any]:
        """The part of the prompt format that `settings.json` stores for each set."""
        return {"system": self.template.system, "user": self.template.user}

    def _user_text(self, question: EvaluationQuestion) -> str:
        return self.template.conversation(question.text)[-1]["content"]

    def _examples(self, question: EvaluationQuestion) -> list[EvaluationQuestion]:
        if not self.shots:
            return []
        candidates = [
            example
            for example in self.pool
            if not example.is_same_question(question)
            and (question.category is None or example.category == question.category)
        ]
        if len(candidates) < self.shots:
            category = "" if question.category is None else f" of category {question.category!r}"
            raise InputError(
                f"{question.place}: --few-shot {self.shots} needs more examples: there are only {len(candidates)} "
                f"other examples{category}. Use a smaller number, or add examples with --few-shot-file."
            )
        return candidates[: self.shots]


def load_examples(question_set: QuestionSet, shots: int, file: Path | None) -> tuple[EvaluationQuestion, ...]:
    """The examples of a set: the rows of `file` in their order, else the rows of the split `question_set.examples`.

    Raises:
        InputError: `file` is None, and the set has no split with examples.
    """
    if not shots:
        return ()
    if file is None and question_set.examples is None:
        raise InputError(
            f"--few-shot {shots}: set {question_set.name!r} has no examples. Give a JSONL file with questions, answers "
            "and solutions, in the columns of the set: --few-shot-file FILE."
        )
    return tuple(load_questions(replace(question_set, golds="required"), file, split=question_set.examples))


def check_examples(builder: PromptBuilder, questions: Sequence[EvaluationQuestion]) -> None:
    """Raise InputError if a question does not have enough examples, or if a conversation has no chat template."""
    if builder.plain and builder.conversations:
        place = next(question.place for question in questions if question.messages)
        raise InputError(f"{place}: the question is a conversation, which needs a chat template: leave out --plain.")
    for question in questions:
        builder.prompt(question)


def _solution(example: EvaluationQuestion) -> str:
    worked = (example.worked or "").strip()
    if worked and last_box(worked) is not None:
        return worked
    return f"{worked}\n\\boxed{{{example.gold}}}".lstrip()  # load_examples takes examples with a gold answer only
