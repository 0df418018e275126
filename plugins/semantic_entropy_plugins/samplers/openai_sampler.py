"""Samples from a model behind an OpenAI-compatible endpoint: vLLM, Ollama, llama.cpp, hosted ones.

All responses to a question are asked for in one request (`n`), or in as many as the server needs
(`openai_portions`).

What is the server's to say is taken as it says it. Log-probabilities are in nats; most servers give the model's own,
before temperature and top_p, so that they are those of the distribution that was drawn from at temperature 1 and top_p
1 alone. What is not sent the server chooses: vLLM takes top_k and others from the model's generation config (`extra=`
can set them).

Thinking that the server sets apart (`reasoning_content`) goes to `Sample.reasoning`, and its log-probabilities are left
out, or all of them where the two cannot be told apart. A `<think>` block inside the text stays there, as its
log-probabilities do: whoever looks for the answer sets it aside (`strip_reasoning`). An empty response is data,
whatever the reason for it.

Left out: entropies of tokens and hidden states, which these servers do not give.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from semantic_entropy.plugin import Request, Sample, SampleFailure, Sampler, Usage, errors
from semantic_entropy_plugins.endpoint.attempts import Call
from semantic_entropy_plugins.endpoint.client import OPENAI, Endpoint
from semantic_entropy_plugins.endpoint.key import Key
from semantic_entropy_plugins.endpoint.options import checked_text
from semantic_entropy_plugins.endpoint.replies import Choice
from semantic_entropy_plugins.endpoint.request import Decoding
from semantic_entropy_plugins.endpoint.standing import Refused
from semantic_entropy_plugins.options import describe_component
from semantic_entropy_plugins.samplers.openai_portions import Capacity, Portion, Portions


class OpenAISampler(Sampler):
    """Draws responses from a chat model on a server.

    Args:
        model: its name at the server.
        base_url: the server's address up to `/chat/completions`, such as `http://localhost:8000/v1`.
        api_key: None: the environment variable `OPENAI_API_KEY`. It is no part of `settings`, samples or messages.
        temperature: None leaves it to the server.
        top_p: None leaves it to the server.
        max_tokens: of a response, reasoning included. None: the server's own limit.
        seed: the i-th response to a question, counted from 0, is drawn under seed + i; where a server gives several at
            once, under the first one's seed. None: none is sent.
        system: the system prompt.
        logprobs: whether to ask for token log-probabilities; samples have None where the server gives none.
        extra: more of the request's body, such as {"top_k": 50}; part of `settings`, so never a secret.
        concurrency: requests under way at a time, of all threads that ask it together; each has at least one.
        timeout: seconds for one attempt, from connecting to the last byte of all its responses.
        retries: attempts after the first.
        token_budget: tokens, in and out, that this sampler may use; then the rest of the samples fail.
        input_price: money per million tokens sent; with `output_price`, samples carry their cost.
        output_price: money per million tokens received.

    Raises:
        OptionError: at construction, an option cannot be used.
        SamplingError: no request can succeed (no server, wrong key, no such model); says what to do.
    """

    name = "openai"
    cache_identity = "semantic_entropy_plugins.openai_sampler:OpenAISampler"

    def __init__(
        self,
        model: str,
        base_url: str = OPENAI,
        api_key: str | None = None,
        *,
        temperature: float | None = 1.0,
        top_p: float | None = 1.0,
        max_tokens: int | None = 1024,
        seed: int | None = None,
        system: str | None = None,
        logprobs: bool = True,
        extra: Mapping[str, Any] | None = None,
        concurrency: int = 16,
        timeout: float = 300.0,
        retries: int = 6,
        token_budget: int | None = None,
        input_price: float | None = None,
        output_price: float | None = None,
    ) -> None:
        key = Key(api_key)
        del api_key  # an error below shows no local variable that holds it
        self.system = None if system is None else checked_text(self.name, "system", system)
        self.decoding = Decoding.checked(
            self.name,
            model=model,
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            seed=seed,
            logprobs=logprobs,
            extra=extra,
        )
        self.endpoint = Endpoint(
            base_url,
            key,
            owner=self.name,
            error=errors.SamplingError,
            concurrency=concurrency,
            timeout=timeout,
            retries=retries,
            token_budget=token_budget,
            input_price=input_price,
            output_price=output_price,
        )
        self._capacity = Capacity()

    @property
    def settings(self) -> Hashable:
        return (self.name, self.endpoint.base_url, self.system, *self.decoding.settings)

    def describe(self) -> str:
        decoding = self.decoding
        options = {
            "model": decoding.model,
            "base_url": self.endpoint.base_url,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "max_tokens": decoding.max_tokens,
            "seed": decoding.seed,
            "system": self.system,
            "logprobs": decoding.logprobs,
            "extra": json.loads(decoding.extra) or None,
        }
        return describe_component(OpenAISampler, self.name, options)

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Sample | SampleFailure]]:
        return self.endpoint.drive(Portions(iter(requests), self._capacity, self._call, self._samples))

    def close(self) -> None:
        self.endpoint.close()

    def _call(self, portion: Portion) -> Call:
        system = [] if self.system is None else [{"role": "system", "content": self.system}]

        def body(refused: Refused) -> Mapping[str, Any]:
            request = self.decoding.body(
                [*system, {"role": "user", "content": portion.question}], refused, portion.first
            )
            if portion.count > 1:
                request["n"] = portion.count
            return request

        return Call(portion, body, self.decoding.optional, tentative=portion.count > 1)

    def _samples(self, choices: Sequence[Choice], usage: Usage) -> list[Sample]:
        """One a choice. The first carries the request and the prompt's tokens, each its share of the others."""
        sizes = [len(c.tokens) if c.tokens else len(c.text) + len(c.reasoning or "") for c in choices]
        ends = [0, *itertools.accumulate(size + 1 for size in sizes)]
        cuts = [round(usage.output_tokens * end / ends[-1]) for end in ends]
        prompts = [(usage.requests, usage.input_tokens), *((0, 0) for _ in choices[1:])]
        return [
            Sample(
                choice.text,
                _logprobs(choice),
                choice.finish_reason,
                choice.reasoning,
                usage=self.endpoint.priced(Usage(*prompt, until - since)),
            )
            for choice, prompt, (since, until) in zip(choices, prompts, itertools.pairwise(cuts), strict=True)
        ]


def _logprobs(choice: Choice) -> tuple[float, ...] | None:
    """Of the text's tokens: where reasoning was set apart, from the token with which the text begins."""
    tokens = choice.tokens
    if tokens is None:
        return None
    if not choice.reasoning:
        return tuple(token.logprob for token in tokens)
    text = choice.text.strip().encode(errors="replace")
    at = b"".join(token.data for token in tokens).rfind(text)
    if not text or at < 0:
        return None  # nobody can tell which are the text's
    ends = itertools.accumulate(len(token.data) for token in tokens)
    return tuple(token.logprob for token, end in zip(tokens, ends, strict=True) if end > at)
