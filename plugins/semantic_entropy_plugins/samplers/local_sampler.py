"""The base class of the samplers with a model in this process: common options, settings, versions and variants."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

from semantic_entropy.plugin import Sampler, errors
from semantic_entropy_plugins.models.checkpoints import model_identity
from semantic_entropy_plugins.options import (
    checked_logprobs,
    checked_number,
    checked_seed,
    checked_stops,
    checked_temperature,
    checked_text,
    checked_top_p,
)
from semantic_entropy_plugins.samplers.sampling_prompts import PromptWriter, checked_chat_template_kwargs

NOT_A_NUMBER = "the model's output is not a number; dtype='float32' may help"
"""The reason of the `SampleFailure` if a response has a log-probability that is nan or infinite."""


class LocalSampler(Sampler):
    """The base class of the samplers with a model in this process.

    A subclass's constructor calls `_set_options` before it loads the model, and `_set_model` after it has loaded the
    model.
    """

    _model_options: ClassVar[frozenset[str]]
    """Options of the loaded model, which a variant cannot change."""

    def _set_options(
        self, *, chat_template: str | None, messages: bool, base_model: str | None, **options: Any
    ) -> None:
        """Check the constructor's options and keep them. Raises OptionError.

        A sample store finds samples by `settings`, which contain the options in the order of this call, so never change
        the order. An option that was added in a later version is part of `settings` only if it is used, so that older
        sample stores are still found.
        """
        name = self.name
        self._chat_template_kwargs = checked_chat_template_kwargs(name, options["chat_template_kwargs"])
        self._options = options | {
            "temperature": float(checked_temperature(name, options["temperature"])),
            "top_p": float(checked_top_p(name, options["top_p"])),
            "top_k": checked_number(name, "top_k", options["top_k"], 1, whole=True, optional=True),
            "max_tokens": checked_number(name, "max_tokens", options["max_tokens"], 1, whole=True),
            "seed": checked_seed(name, options["seed"]),
            "stop": checked_stops(name, options["stop"]) or None,
            "system": checked_text(name, "system", options["system"], optional=True),
            "chat_template_kwargs": json.dumps(self._chat_template_kwargs, sort_keys=True)
            if self._chat_template_kwargs
            else None,
            "logprobs": checked_logprobs(name, options["logprobs"]),
            "end_token": bool(options["end_token"]),
        }
        if chat_template is not None:
            self._options["chat_template"] = checked_text(name, "chat_template", chat_template)
        if messages:
            self._options["messages"] = True
        if base_model is not None:
            self._options["base_model"] = checked_text(name, "base_model", base_model)

    def _set_model(self, dtype: object, commit: str | None) -> None:
        """Keep the identity of the loaded model. `commit` is a commit on the hub, or a digest of a local folder."""
        self._dtype, self._commit = str(dtype).removeprefix("torch."), commit
        self._identity = model_identity(self._options["model"], commit)

    def _prompt_writer(self, tokenizer: Any) -> PromptWriter:
        return PromptWriter(
            self.name,
            tokenizer,
            chat=self._options["chat"],
            system=self._options["system"],
            template=self._options["template"],
            chat_template_kwargs=self._chat_template_kwargs,
            chat_template=self._options.get("chat_template"),
            messages=self._options.get("messages", False),
        )

    @property
    def settings(self) -> tuple[Hashable, ...]:
        return (self.name, *{**self._options, "model": self._identity.key}.values(), self._dtype, self._commit)

    @property
    def versions(self) -> Mapping[str, str]:
        commit = {self._identity.shown: self._commit} if self._commit else {}
        return {**self._library_versions(), **commit}

    @abstractmethod
    def _library_versions(self) -> Mapping[str, str]:
        """The versions of the libraries that run the model."""

    @abstractmethod
    def variant(self, **changes: Any) -> LocalSampler:
        """A sampler with the same model and other options. Raises OptionError."""

    def greedy_sampler(self) -> LocalSampler:
        """The variant at temperature 0, which uses the same model."""
        return self.variant(temperature=0)

    def _variant_options(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The constructor's arguments for a variant. Raises OptionError for an option of the loaded model."""
        if fixed := self._model_options.intersection(changes):
            raise errors.OptionError(
                f"{self.name}: {min(fixed)} cannot change after the model is loaded: make a new sampler"
            )
        return {**self._options, "chat_template_kwargs": self._chat_template_kwargs, **changes}

    def _closed_error(self) -> errors.SamplingError:
        return errors.SamplingError(f"{self.describe()} is closed: make a new sampler")
