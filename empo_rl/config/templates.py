"""The conversation around a question, and the named ones: the paper's four (Appendix A) and the bare question.

    math       Qwen2.5-Math and Llama runs, training and evaluation
    natural    natural reasoning, training
    mmlu-pro   evaluation with letters A to P
    gpqa       evaluation with letters A to D
    question   the question alone

How a conversation becomes text is the model's chat template's affair; `chat_template` puts another in its place,
for a model that has none or was trained without it. The paper's pages show ChatML, which is what Qwen2.5's own says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from semantic_entropy import InputError

PLACE = "{question}"

TEMPLATES: Mapping[str, Mapping[str, str | None]] = {
    "question": {"system": None, "user": PLACE},
    "math": {
        "system": r"Please reason step by step, and output your final answer within \boxed{}.",
        "user": r"{question} Let's think step by step and output the final answer within \boxed{}.",
    },
    "natural": {
        "system": r"Reason step by step, and output your final answer within \boxed{}.",
        "user": r"{question} Reason step by step and output the final answer within \boxed{}.",
    },
    "mmlu-pro": {
        "system": r"Reason step by step, and output your final answer (the correct letter choice from A-P) within "
        r"\boxed{}.",
        "user": r"{question} Reason step by step and output the final answer (the correct letter choice from A-P) "
        r"within \boxed{}.",
    },
    "gpqa": {
        "system": r"Reason step by step, and output your final answer (A, B, C, or D) within \boxed{}.",
        "user": r"{question} Reason step by step and output the final answer (A, B, C, or D) within \boxed{}.",
    },
}


class Template(BaseModel):
    """A system turn (None: no such turn) and a user turn with `{question}` in it.

    name: one of `TEMPLATES`, whose turns stand where none is given here.
    chat_template: Jinja text, or the path of a file of it, in place of the model's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    system: str | None = None
    user: str = PLACE
    chat_template: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not values.get("name"):
            return values
        if values["name"] not in TEMPLATES:
            raise ValueError(f"template.name does not exist. Choose one of: {', '.join(TEMPLATES)}")
        return {**TEMPLATES[values["name"]], **values}

    @model_validator(mode="after")
    def _has_place(self) -> Template:
        if PLACE not in self.user:
            raise ValueError("template.user has no {question}: the model would never see what is asked")
        return self

    def conversation(self, question: str) -> list[dict[str, str]]:
        """The turns before the model's."""
        turns = [] if self.system is None else [{"role": "system", "content": self.system}]
        # str.format would trip over the braces of LaTeX in either text
        return [*turns, {"role": "user", "content": self.user.replace(PLACE, question)}]

    def chat_template_text(self) -> str | None:
        """The Jinja text of the chat template asked for; None: the model's own.

        Raises:
            InputError: the file is not there.
        """
        return None if self.chat_template is None else _jinja(self.chat_template)

    def apply_chat_template_to(self, tokenizer: Any, model: str) -> None:
        """Give `tokenizer` the chat template asked for, or make sure that it has one.

        Raises:
            InputError: the model has none and none was given, or the file is not there.
        """
        if self.chat_template is not None:
            tokenizer.chat_template = self.chat_template_text()
        if not tokenizer.chat_template:
            raise InputError(
                f"model: {model!r} has no chat template, so a conversation cannot become text. "
                "Give template.chat_template, Jinja text or a file of it."
            )


def _jinja(text_or_path: str) -> str:
    if "{{" in text_or_path or "{%" in text_or_path:
        return text_or_path
    path = Path(text_or_path)
    if not path.is_file():
        raise InputError(f"template.chat_template: {text_or_path!r} is no file, and no Jinja text.")
    return path.read_text(encoding="utf-8")
