"""The part of a request that judge and sampler share: the model, and how it is asked to decode."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semantic_entropy_plugins.endpoint.options import checked_extra, checked_number, checked_text
from semantic_entropy_plugins.endpoint.standing import Refused
from semantic_entropy_plugins.endpoint.trouble import Parameter

_HOTTEST = 100.0  # a temperature above it is a mistake
_OWN = {
    "messages": "the texts are given otherwise",
    "stream": "replies are read whole",
    "n": "how many is said with each question",
    "response_format": "a judge has structured= for it",
    **dict.fromkeys(
        ("model", "temperature", "top_p", "max_tokens", "seed", "logprobs"), "give it as the option of that name"
    ),
}


@dataclass(frozen=True, slots=True)
class Decoding:
    """What is None is not sent, and left to the server. `extra` is JSON: more of the request's body."""

    model: str
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    seed: int | None
    logprobs: bool
    extra: str

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
    ) -> Decoding:
        """Raises OptionError, which names what cannot be used."""
        more = checked_extra(owner, extra, _OWN)
        return cls(
            checked_text(owner, "model", model),
            None if temperature is None else checked_number(owner, "temperature", temperature, 0, most=_HOTTEST),
            None if top_p is None else checked_number(owner, "top_p", top_p, 1e-9, most=1.0),
            None if max_tokens is None else checked_number(owner, "max_tokens", max_tokens, 1, whole=True),
            None if seed is None else checked_number(owner, "seed", seed, -(2**63), whole=True),
            bool(logprobs),
            json.dumps(more, sort_keys=True),
        )

    @property
    def optional(self) -> tuple[Parameter, ...]:
        """What a server may refuse, and the call does without."""
        return (*(("logprobs",) if self.logprobs else ()), *(("max_tokens",) if self.max_tokens else ()))

    @property
    def settings(self) -> tuple[Hashable, ...]:
        """All of it, in plain values."""
        return (
            *(self.model, self.temperature, self.top_p, self.max_tokens, self.seed),
            *(self.logprobs, self.extra),
        )

    def body(self, messages: Sequence[Mapping[str, str]], refused: Refused, offset: int = 0) -> dict[str, Any]:
        """The request. offset: how many responses to this question come before these, for the seed."""
        limit = "max_completion_tokens" if "max_tokens" in refused else "max_tokens"
        asked = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            limit: self.max_tokens,
            "seed": None if self.seed is None else self.seed + offset,
            "logprobs": True if self.logprobs and "logprobs" not in refused else None,
        }
        sent = {name: value for name, value in asked.items() if value is not None}
        return {"model": self.model, "messages": list(messages), **sent, **json.loads(self.extra)}
