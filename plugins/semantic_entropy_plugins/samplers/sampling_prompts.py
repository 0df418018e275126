"""Writes a question as a prompt: by the tokenizer's chat template, or as plain text.

    chat:   the system prompt, and `template` with the question in it, as turns of the tokenizer's chat template
    plain:  `template` with the question in it
    messages: the question is a conversation as JSON, whose turns are those of the tokenizer's chat template

A chat template can silently drop a system prompt, or fail for the first question. The constructor tests the template,
and raises an error in both cases.

Under a chat template, control tokens in a question are broken up (`models.tokenizers`), so that a question cannot end
its turn and start another turn. In a plain prompt, control tokens in a question stay control tokens, as usual in
transformers, because the question may be a whole prompt.

Left out: examples, tools and images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from semantic_entropy.plugin import errors, replace_surrogates
from semantic_entropy_plugins.models.tokenizers import control_token_breaker

TEMPLATE = "{question}"
_TEST_QUESTION = "What is the capital of France?"
_OPEN_THINK = re.compile(r"<think>\s*\Z", re.IGNORECASE)


class UnwritablePromptError(ValueError):
    """A question cannot be written as a prompt. The message is the reason of the `SampleFailure`."""


class PromptWriter:
    """Writes prompts for one tokenizer.

    Attributes:
        chat: whether the chat template is used.

    Args:
        owner: the sampler's name, for messages.
        tokenizer: a tokenizer of the transformers library.
        chat: whether to use the chat template; None: use the chat template if the tokenizer has one.
        system: the system prompt.
        template: the user's turn; without a chat template, the whole prompt. `{question}` is replaced.
        chat_template_kwargs: more variables for the chat template, such as {"enable_thinking": False}; JSON values.
        chat_template: a Jinja text that replaces the tokenizer's own chat template.
        messages: whether each question is a conversation, as JSON: a list of {"role": ..., "content": ...}. The chat
            template is then required, and `system` and `template` are not used.

    Raises:
        OptionError: a chat template is requested but does not exist, the chat template does not accept the system
            prompt, or the template has no {question}.
    """

    def __init__(
        self,
        owner: str,
        tokenizer: Any,
        *,
        chat: bool | None = None,
        system: str | None = None,
        template: str = TEMPLATE,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        chat_template: str | None = None,
        messages: bool = False,
    ) -> None:
        if "{question}" not in template:
            raise errors.OptionError(f"{owner}: template={template!r} has no {{question}}: the default is {TEMPLATE!r}")
        self._owner, self._tokenizer, self._system, self._template = owner, tokenizer, system, template
        self._kwargs = checked_chat_template_kwargs(owner, chat_template_kwargs) or {}
        self._chat_template = chat_template
        has_template = bool(chat_template or getattr(tokenizer, "chat_template", None))
        self.chat = (has_template or messages) if chat is None else chat
        self._messages = messages
        if messages and (not self.chat or system is not None or template != TEMPLATE):
            option = "chat=False" if not self.chat else "template" if system is None else "system"
            raise errors.OptionError(
                f"{owner}: messages=True makes the whole prompt from the conversation: leave out {option}"
            )
        self._break_control_tokens = control_token_breaker(tokenizer)
        if self.chat:
            if not has_template:
                raise errors.OptionError(
                    f"{owner}: chat=True, but the model's tokenizer has no chat template: use chat=False, with "
                    "template= for the text around the question, or pass a chat template as chat_template="
                )
            self._test_chat_template()
        elif system is not None or self._kwargs:
            given = "chat_template_kwargs" if system is None else "system"
            raise errors.OptionError(
                f"{owner}: {given} needs a chat template, and none is used: put the text into template=, such as "
                "template='Answer briefly. {question}'"
            )
        elif chat_template is not None:
            raise errors.OptionError(f"{owner}: chat_template is given, but chat=False does not use it: remove one")

    def text(self, question: str) -> str:
        """The prompt.

        Raises:
            UnwritablePromptError: the question is no conversation, or the chat template does not accept it.
        """
        if self._messages:
            return self._conversation_text(question)
        shown = self._break_control_tokens(question) if self.chat else question
        body = replace_surrogates(self._template.replace("{question}", shown))  # tokenizers accept no lone surrogates
        return self._apply_chat_template(body, self._system) if self.chat else body

    def ids(self, text: str) -> list[int]:
        """The tokens of the prompt. The chat template writes the special tokens, or else the tokenizer adds them."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=not self.chat, verbose=False)["input_ids"]
        return ids

    def _conversation_text(self, question: str) -> str:
        try:
            given = json.loads(question)
            turns = [
                {"role": turn["role"], "content": replace_surrogates(self._break_control_tokens(turn["content"]))}
                for turn in given
            ]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnwritablePromptError(
                "the question is not a list of messages with role and content, as JSON: "
                f"{type(error).__name__}: {error}"
            ) from error
        try:
            return self._written(turns)
        except Exception as error:  # a template is a program: it can raise anything
            raise UnwritablePromptError(
                f"the chat template does not accept the conversation: {type(error).__name__}: {error}"
            ) from error

    def _apply_chat_template(self, body: str, system: str | None) -> str:
        turns = [{"role": "system", "content": system}] if system is not None else []
        return self._written([*turns, {"role": "user", "content": body}])

    def _written(self, turns: Sequence[Mapping[str, str]]) -> str:
        prompt: str = self._tokenizer.apply_chat_template(
            turns,
            tokenize=False,
            add_generation_prompt=True,
            **({} if self._chat_template is None else {"chat_template": self._chat_template}),
            **self._kwargs,
        )
        return prompt

    def _test_chat_template(self) -> None:
        try:
            self._apply_chat_template(_TEST_QUESTION, None)
        except Exception as error:  # a template is a program: it can raise anything
            raise errors.OptionError(
                f"{self._owner}: the model's chat template cannot be used: {type(error).__name__}: {error}. Use "
                "chat=False, with template= for the text around the question"
            ) from error
        if self._system is None:
            return
        fix = "leave system= out, and put the text into template=, such as template='Answer briefly. {question}'"
        try:
            prompt = self._apply_chat_template(_TEST_QUESTION, self._system)
        except Exception as error:  # a template is a program: it can raise anything
            raise errors.OptionError(
                f"{self._owner}: the model's chat template does not accept a system prompt ({error}): {fix}"
            ) from error
        if self._system.strip() not in prompt:
            raise errors.OptionError(f"{self._owner}: the model's chat template drops the system prompt: {fix}")


def opens_reasoning(prompt: str) -> bool:
    """Whether the prompt ends inside a <think> block, so that the response begins with reasoning."""
    return bool(_OPEN_THINK.search(prompt))


def checked_chat_template_kwargs(owner: str, kwargs: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A copy of `kwargs`. Raises OptionError if a value is not JSON, or if the sampler sets a variable itself."""
    if kwargs is None:
        return None
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(kwargs), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.OptionError(
            f"{owner}: chat_template_kwargs={kwargs!r:.80} is not an object that JSON can hold: {error}"
        ) from None
    reserved = {"messages", "conversation", "tokenize", "add_generation_prompt", "chat_template"}.intersection(copy)
    if reserved:
        raise errors.OptionError(f"{owner}: chat_template_kwargs holds {min(reserved)!r}, which the sampler sets")
    return copy
