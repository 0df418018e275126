"""Define prompt templates: four templates of the paper (Appendix A), and a template without other text.

    math       training and evaluation of Qwen2.5-Math and Llama
    natural    training on natural reasoning questions
    mmlu-pro   evaluation with the letters A to P
    gpqa       evaluation with the letters A to D
    question   the question without other text

A template makes a conversation, and the model's chat template turns the conversation into text. `chat_template`
replaces the model's chat template; it is for a model that has no chat template or was trained without its chat
template. The paper shows ChatML, which is the chat template of Qwen2.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from semantic_entropy import InputError, nearest
from semantic_entropy.plain_text import shorten

PLACEHOLDER = "{question}"

TEMPLATES: Mapping[str, Mapping[str, str | None]] = {
    "question": {"system": None, "user": PLACEHOLDER},
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
    """A system message (None: no system message) and a user message that contains `{question}`.

    Attributes:
        name: a name in `TEMPLATES`; this template sets the messages that the user does not give.
        chat_template: Jinja text, or the path of a file with Jinja text; replaces the chat template of the model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    system: str | None = None
    user: str = PLACEHOLDER
    chat_template: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not values.get("name"):
            return values
        if not isinstance(values["name"], str) or values["name"] not in TEMPLATES:
            name = str(values["name"])
            raise ValueError(
                f"template.name={shorten(name)!r}: expected one of {', '.join(TEMPLATES)}.{nearest(name, TEMPLATES)}"
            )
        return {**TEMPLATES[values["name"]], **values}

    @model_validator(mode="after")
    def _has_placeholder(self) -> Template:
        if PLACEHOLDER not in self.user:
            raise ValueError("template.user does not contain {question}, so the model would never see the question")
        return self

    def conversation(self, question: str | Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """The messages before the model's response.

        A question that is a conversation keeps its messages: `user` is put around the last message of the user, and
        `system` becomes the first message unless the conversation has a system message of its own.
        """
        given = [{"role": "user", "content": question}] if isinstance(question, str) else [*map(dict, question)]
        last = max((at for at, message in enumerate(given) if message["role"] == "user"), default=None)
        if last is not None:
            # str.format would fail on LaTeX braces in the template or the question
            given[last]["content"] = self.user.replace(PLACEHOLDER, given[last]["content"])
        has_system = given[0]["role"] in ("system", "developer")
        return given if self.system is None or has_system else [{"role": "system", "content": self.system}, *given]

    def chat_template_text(self) -> str | None:
        """The Jinja text of `chat_template`; None: use the chat template of the model.

        Raises:
            InputError: the file does not exist.
        """
        return None if self.chat_template is None else _jinja_text(self.chat_template)

    def apply_chat_template_to(self, tokenizer: Any, model: str) -> None:
        """Set the chat template of `tokenizer`. Without `chat_template`, check that the tokenizer has a chat template.

        Raises:
            InputError: there is no chat template, or the file `chat_template` does not exist.
        """
        if self.chat_template is not None:
            tokenizer.chat_template = self.chat_template_text()
        if not tokenizer.chat_template:
            raise InputError(
                f"model: {model!r} has no chat template, so a conversation cannot become text. "
                "Set template.chat_template to Jinja text, or to a file with Jinja text."
            )


def _jinja_text(text_or_path: str) -> str:
    if "{{" in text_or_path or "{%" in text_or_path:
        return text_or_path
    try:
        return Path(text_or_path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"template.chat_template: {text_or_path} is not UTF-8 ({error.reason}).") from error
    except (OSError, ValueError) as error:  # no such file, a folder, no permission, a name that is too long
        raise InputError(
            f"template.chat_template: {shorten(text_or_path)!r} is neither a file nor Jinja text."
        ) from error
