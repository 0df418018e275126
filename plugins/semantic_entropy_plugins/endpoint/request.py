"""The part of a request that the LLM judge and the sampler share: the model and the decoding options."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semantic_entropy.plugin import errors
from semantic_entropy_plugins.endpoint.failures import Parameter
from semantic_entropy_plugins.endpoint.retry import RefusedParameters
from semantic_entropy_plugins.options import checked_number, checked_temperature, checked_text, checked_top_p

_NOT_IN_EXTRA = {
    "messages": "the prompt is set by other options",
    "stream": "replies are not streamed",
    "n": "the number of responses is set for each question",
    "response_format": "use structured= of the judge",
    **dict.fromkeys(
        ("model", "temperature", "top_p", "max_tokens", "seed", "logprobs"), "use the option of the same name"
    ),
}
"""Fields of a request that `extra` may not hold, and what to use instead."""
MOST_ALTERNATIVES = 20
"""The largest `top_logprobs` of OpenAI, and of vLLM without options."""


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """The decoding options of a request. An option that is None is not sent, and the server decides.

    `extra` holds more fields of the request, as JSON text. `top_logprobs` is 0 if no alternatives are requested.
    """

    model: str
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    seed: int | None
    logprobs: bool
    extra: str
    top_logprobs: int = 0

    @classmethod
    def checked(
        cls,
        owner: str,
        *,
        model: str,
        temperature: float | None,
        top_p: float | None,
        max_tokens: int | None,
        seed: int | None,
        logprobs: bool,
        extra: Mapping[str, Any] | None,
        top_logprobs: int = 0,
    ) -> DecodingOptions:
        """Check the options. Raises OptionError, which names the option that is not valid."""
        mass = checked_top_p(owner, top_p, optional=True)
        alternatives = checked_number(owner, "top_logprobs", top_logprobs, 0, most=MOST_ALTERNATIVES, whole=True)
        if alternatives and not logprobs:
            raise errors.OptionError(f"{owner}: top_logprobs={alternatives} needs logprobs=True")
        return cls(
            checked_text(owner, "model", model),
            checked_temperature(owner, temperature, optional=True),
            mass if mass is None else float(mass),  # 1 and 1.0 have one key in a sample store
            checked_number(owner, "max_tokens", max_tokens, 1, whole=True, optional=True),
            checked_number(owner, "seed", seed, -(2**63), whole=True, optional=True),
            bool(logprobs),
            json.dumps(_checked_extra(owner, extra), sort_keys=True),
            alternatives,
        )

    @property
    def optional(self) -> tuple[Parameter, ...]:
        """The parameters that are sent, and that the server may refuse. The call is then sent without them.

        `top_p` is before `temperature`: of a server that takes only one of them, the temperature is kept.
        """
        given: Mapping[Parameter, Any] = {
            "logprobs": self.logprobs or None,
            "max_tokens": self.max_tokens,
            "top_p": self.top_p,
            "temperature": self.temperature,
            "seed": self.seed,
        }
        return tuple(name for name, value in given.items() if value is not None)

    @property
    def settings(self) -> tuple[Hashable, ...]:
        """All options, as plain values."""
        return (
            *(self.model, self.temperature, self.top_p, self.max_tokens, self.seed),
            *(self.logprobs, self.extra),
            *((self.top_logprobs,) if self.top_logprobs else ()),  # without it, the settings of 0.1.0
        )

    def body(
        self, messages: Sequence[Mapping[str, str]], refused: RefusedParameters, seed_offset: int = 0
    ) -> dict[str, Any]:
        """The request's JSON.

        Args:
            messages: the prompt.
            refused: parameters that the server does not support.
            seed_offset: the number of earlier responses to the same question, which is added to the seed.
        """
        limit = "max_completion_tokens" if "max_tokens" in refused else "max_tokens"
        options = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            limit: self.max_tokens,
            "seed": None if self.seed is None else self.seed + seed_offset,
            "logprobs": self.logprobs or None,
        }
        sent = {name: value for name, value in options.items() if value is not None and name not in refused}
        if self.top_logprobs and "logprobs" in sent:
            sent["top_logprobs"] = self.top_logprobs
        return {"model": self.model, "messages": list(messages), **sent, **json.loads(self.extra)}


def _checked_extra(owner: str, extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of `extra`. Every problem raises an OptionError: a traceback of another exception could show the key."""
    if extra is None:
        return {}
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(extra), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"is not an object that JSON can hold: {error}"
    else:
        used = [name for name in _NOT_IN_EXTRA if name in copy]
        if not used:
            return copy
        problem = f"holds {used[0]!r}: {_NOT_IN_EXTRA[used[0]]}"
    raise errors.OptionError(f"{owner}: extra {problem}")
