"""From a question to the prompt that a model continues: by the tokenizer's chat template, or by a plain text.

    chat:   system prompt and `template` with the question in it, as turns of the tokenizer's chat template
    plain:  `template` with the question in it, as it stands

What a prompt template would do silently is said at construction: a system prompt that the chat template refuses, or
leaves out, is an error.

Under a chat template control tokens in a question are broken up (`models.tokenizers`), so that it cannot end its turn
and write another. In a plain prompt they act as such, as everywhere in transformers: the question may be a whole
prompt.

Left out: earlier turns, examples, tools and images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from semantic_entropy.plugin import errors, replace_surrogates
from semantic_entropy_plugins.models.tokenizers import control_token_breaker

TEMPLATE = "{question}"
_PROBE = "What is the capital of France?"
_OPENED = re.compile(r"<think>\s*\Z", re.IGNORECASE)


class Prompts:
    """Writes prompts for one tokenizer.

    Attributes:
        chat: whether it uses the chat template.

    Args:
        owner: the sampler's name, for messages.
        tokenizer: of the transformers library.
        chat: whether to use the chat template; None: where the tokenizer has one.
        system: the system prompt.
        template: the user's turn, or without a chat template the whole prompt; `{question}` is replaced, all else
            stands as it is.
        options: more variables for the chat template, such as {"enable_thinking": False}; JSON values.
        chat_template: Jinja text in place of the tokenizer's own, for a model that has none.

    Raises:
        OptionError: no chat template where one is asked for; a system prompt that it does not take; a template without
            {question}.
    """

    def __init__(
        self,
        owner: str,
        tokenizer: Any,
        *,
        chat: bool | None = None,
        system: str | None = None,
        template: str = TEMPLATE,
        options: Mapping[str, Any] | None = None,
        chat_template: str | None = None,
    ) -> None:
        if "{question}" not in template:
            raise errors.OptionError(f"{owner}: template={template!r} has no {{question}}: the default is {TEMPLATE!r}")
        self._owner, self._tokenizer, self._system, self._template = owner, tokenizer, system, template
        self._options = _plain(owner, options)
        self._chat_template = chat_template
        has = bool(chat_template or getattr(tokenizer, "chat_template", None))
        self.chat = has if chat is None else chat
        self._broken_up = control_token_breaker(tokenizer)
        if self.chat:
            if not has:
                raise errors.OptionError(
                    f"{owner}: chat=True, but the model's tokenizer has no chat template: use chat=False, with "
                    "template= for what surrounds the question, or give one with chat_template="
                )
            self._try_out()
        elif system is not None or self._options:
            given = "chat_template_kwargs" if system is None else "system"
            raise errors.OptionError(
                f"{owner}: {given} is for a chat template, and none is used here: put it into template=, such as "
                "template='Answer briefly. {question}'"
            )
        elif chat_template is not None:
            raise errors.OptionError(f"{owner}: chat_template is given, and chat=False leaves it unused: drop one")

    @property
    def settings(self) -> tuple[bool, str | None, str, str]:
        """All that a prompt depends on beside the tokenizer, in plain values."""
        return self.chat, self._system, self._template, json.dumps(self._options, sort_keys=True)

    def text(self, question: str) -> str:
        """The prompt."""
        put_in = self._broken_up(question) if self.chat else question
        body = replace_surrogates(self._template.replace("{question}", put_in))  # no tokenizer takes halves
        return self._written(body, self._system) if self.chat else body

    def ids(self, text: str) -> list[int]:
        """The prompt's tokens. A chat template writes the special ones itself; else the tokenizer adds its own."""
        found: list[int] = self._tokenizer(text, add_special_tokens=not self.chat, verbose=False)["input_ids"]
        return found

    def _written(self, body: str, system: str | None) -> str:
        turns = [{"role": "system", "content": system}] if system is not None else []
        written: str = self._tokenizer.apply_chat_template(
            [*turns, {"role": "user", "content": body}],
            tokenize=False,
            add_generation_prompt=True,
            **({} if self._chat_template is None else {"chat_template": self._chat_template}),
            **self._options,
        )
        return written

    def _try_out(self) -> None:
        try:
            self._written(_PROBE, None)
        except Exception as error:  # a template is a program: it can raise anything
            raise errors.OptionError(
                f"{self._owner}: the model's chat template cannot be used: {type(error).__name__}: {error}. Use "
                "chat=False, with template= for what surrounds the question"
            ) from error
        if self._system is None:
            return
        instead = "leave system= out, and put it into template=, such as template='Answer briefly. {question}'"
        try:
            written = self._written(_PROBE, self._system)
        except Exception as error:  # a template is a program: it can raise anything
            raise errors.OptionError(
                f"{self._owner}: the model's chat template refuses a system prompt ({error}): {instead}"
            ) from error
        if self._system.strip() not in written:
            raise errors.OptionError(
                f"{self._owner}: the model's chat template leaves the system prompt out: {instead}"
            )


def opens_reasoning(prompt: str) -> bool:
    """Whether the prompt ends with an opened <think> block, so that the response begins inside it."""
    return bool(_OPENED.search(prompt))


def _plain(owner: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        copy = json.loads(json.dumps(dict(options or {}), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.OptionError(
            f"{owner}: chat_template_kwargs={options!r:.80} is not an object that JSON can hold: {error}"
        ) from None
    taken = {"messages", "conversation", "tokenize", "add_generation_prompt", "chat_template"}.intersection(copy)
    if taken:
        raise errors.OptionError(f"{owner}: chat_template_kwargs holds {min(taken)!r}, which the sampler itself sets")
    return dict(copy)
