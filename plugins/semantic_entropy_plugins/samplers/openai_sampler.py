"""Samples from a model behind an OpenAI-compatible endpoint, such as vLLM, Ollama, llama.cpp, or a hosted server.

One request asks for all responses to a question (`n`). If the server sends fewer, further requests follow
(`openai_plan`).

Log-probabilities are in nats, and are not changed by the sampler. Most servers send the log-probabilities of the model,
before temperature and top_p. These equal the log-probabilities of the sampling distribution only at temperature 1 and
top_p 1. If an option is not sent, the server decides: for example, vLLM takes top_p and top_k from the model's
generation config, unless `top_p=1` and `extra={"top_k": 0}` are set. Options that the server refuses are not sent, and
the log names them once: some models have one temperature, no top_p and no log-probabilities.

Reasoning that the server sends separately (`reasoning_content`) becomes `Sample.reasoning`. The log-probabilities of
this reasoning are dropped. If the tokens of the reasoning and of the text cannot be distinguished, all
log-probabilities are dropped. A `<think>` block inside the text stays in the text, with its log-probabilities, and
answer extraction removes the block (`strip_reasoning`). An empty response is a sample too; the run counts it as a
failure if it reached the token limit, such as in the reasoning (finish_reason "length").

If a sample has log-probabilities, `Sample.tokens` has the texts of the tokens.

Left out: token entropies and hidden states, which these servers do not send.
"""

from __future__ import annotations

import codecs
import copy
import itertools
import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from semantic_entropy.plugin import Request, Sample, SampleFailure, Sampler, Usage, errors
from semantic_entropy_plugins.endpoint.client import OPENAI, Endpoint
from semantic_entropy_plugins.endpoint.key import Key
from semantic_entropy_plugins.endpoint.replies import Choice, Token
from semantic_entropy_plugins.endpoint.request import MOST_ALTERNATIVES, DecodingOptions
from semantic_entropy_plugins.endpoint.retry import Call, RefusedParameters
from semantic_entropy_plugins.options import checked_text, describe_component
from semantic_entropy_plugins.samplers.openai_plan import RepeatedReplies, ResponseRange, SamplingPlan, ServerCapacity


class OpenAISampler(Sampler):
    """Draws responses from a chat model on a server.

    Args:
        model: the model's name at the server.
        base_url: the server's address up to `/chat/completions`, such as `http://localhost:8000/v1`.
        api_key: the API key. None: the key in the environment variable `OPENAI_API_KEY`. The settings, samples and
            messages never contain the key.
        temperature: the sampling temperature. None: the server decides.
        top_p: the probability mass of nucleus sampling. None: the server decides, usually 1.
        max_tokens: the largest number of tokens of a response, including reasoning. None: the server's limit.
        seed: response number i to a question, counted from 0, has the seed (seed + i). A request for several responses
            sends the seed of its first response. None: no seed is sent.
        system: the system prompt.
        logprobs: ask for token log-probabilities; a sample has None if the server sends none.
        top_logprobs: ask for the log-probabilities of this number of most probable tokens at each token, 0 to 20, such
            as 15 for the estimators `epr` and `wepr`. Some servers allow fewer.
        top_tokens: keep the texts of these tokens too.
        extra: more fields of the request, such as {"top_k": 50}. These fields are part of `settings`, so never put a
            secret there.
        concurrency: the largest number of requests in flight, in all threads together; each thread may always have one
            request in flight.
        timeout: seconds for one attempt, from connecting to the last byte of all its responses.
        retries: the number of attempts after the first attempt.
        token_budget: the number of input and output tokens that this sampler may use. After that, the remaining samples
            fail.
        input_price: price of a million input tokens. If both prices are set, samples contain their cost.
        output_price: price of a million output tokens.

    Raises:
        OptionError: at construction, if an option is not valid.
        SamplingError: no request can succeed (no server, wrong key, unknown model); the message names the fix.
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
        top_p: float | None = None,
        max_tokens: int | None = 1024,
        seed: int | None = None,
        system: str | None = None,
        logprobs: bool = True,
        top_logprobs: int = 0,
        top_tokens: bool = False,
        extra: Mapping[str, Any] | None = None,
        concurrency: int = 16,
        timeout: float = 300.0,
        retries: int = 6,
        token_budget: int | None = None,
        input_price: float | None = None,
        output_price: float | None = None,
    ) -> None:
        key = Key(api_key)
        del api_key  # a traceback with local variables must not show it
        self.system = checked_text(self.name, "system", system, optional=True)
        self.decoding = DecodingOptions.checked(
            self.name,
            model=model,
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            seed=seed,
            logprobs=logprobs,
            extra=extra,
            top_logprobs=top_logprobs,
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
        self.top_tokens = bool(top_tokens)
        if top_tokens and not top_logprobs:
            raise errors.OptionError(f"{self.name}: top_tokens=True needs top_logprobs=K, the number of tokens to keep")
        self._capacity = ServerCapacity()
        self._repeated = RepeatedReplies()
        self._required: RefusedParameters = frozenset()  # parameters that are sent although the server refuses them

    @property
    def settings(self) -> Hashable:
        tokens = ("top_tokens",) if self.top_tokens else ()  # without it, the settings of 0.1.0
        return (self.name, self.endpoint.base_url, self.system, *self.decoding.settings, *tokens)

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
            "top_logprobs": decoding.top_logprobs,
            "top_tokens": self.top_tokens,
            "extra": json.loads(decoding.extra) or None,
        }
        return describe_component(OpenAISampler, self.name, options)

    @property
    def notes(self) -> tuple[str, ...]:
        given = {"temperature": self.decoding.temperature, "top_p": self.decoding.top_p}  # 1 is no restriction
        left_out = [f"{name}={value}" for name, value in given.items() if name in self.endpoint.refused and value != 1]
        notes = [f"the server refuses {', '.join(left_out)}: samples were drawn without it"] if left_out else []
        if count := self._repeated.count:
            notes.append(
                f"replies that the server sent before: {count} (the same id, time and texts): a cache answers, so "
                "these responses are not independent"
            )
        return tuple(notes)

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Sample | SampleFailure]]:
        plan = SamplingPlan(iter(requests), self._capacity, self._call, self._samples, self._repeated)
        return self.endpoint.run_plan(plan)

    def prompt_sampler(self) -> OpenAISampler:
        sampler = copy.copy(self)  # with the same connections and limits
        sampler.system, sampler.top_tokens = None, True
        sampler._repeated = RepeatedReplies()  # noqa: SLF001  # a cache is welcome here: the answer is the same each time
        sampler.decoding = replace(
            self.decoding, temperature=0.0, top_p=None, seed=None, logprobs=True, top_logprobs=MOST_ALTERNATIVES
        )
        return sampler

    def greedy_sampler(self) -> OpenAISampler:
        """A sampler with temperature 0 and the same endpoint. If the server refuses this temperature, no answer is
        greedy: its requests fail, instead of being sent without the temperature.
        """
        greedy = copy.copy(self)
        greedy.decoding = replace(self.decoding, temperature=0)
        greedy._required = frozenset(("temperature",))  # noqa: SLF001  # the same class
        return greedy

    def close(self) -> None:
        self.endpoint.close()

    def _call(self, asked: ResponseRange) -> Call:
        system = [] if self.system is None else [{"role": "system", "content": self.system}]

        def body(refused: RefusedParameters) -> Mapping[str, Any]:
            messages = [*system, {"role": "user", "content": asked.question}]
            request = self.decoding.body(messages, refused - self._required, asked.first)
            if asked.count > 1:
                request["n"] = asked.count
            return request

        optional = tuple(name for name in self.decoding.optional if name not in self._required)
        return Call(asked, body, optional, tentative=asked.count > 1)

    def _samples(self, choices: Sequence[Choice], usage: Usage) -> list[Sample]:
        """One sample per choice.

        The first sample's usage contains the request and the input tokens. The output tokens are divided among the
        samples in proportion to their length.
        """
        lengths = [len(c.tokens) if c.tokens else len(c.text) + len(c.reasoning or "") for c in choices]
        ends = [0, *itertools.accumulate(length + 1 for length in lengths)]
        shares = [round(usage.output_tokens * end / ends[-1]) for end in ends]  # cumulative
        inputs = [(usage.requests, usage.input_tokens), *((0, 0) for _ in choices[1:])]
        return [
            Sample(
                choice.text,
                _logprobs(tokens),
                choice.finish_reason,
                choice.reasoning,
                usage=self.endpoint.with_cost(Usage(*of_input, end - start)),
                top_logprobs=_top_logprobs(tokens),
                top_tokens=_top_tokens(tokens) if self.top_tokens else None,
                tokens=_token_texts(tokens, choice.text),
            )
            for choice, tokens, of_input, (start, end) in zip(
                choices, map(_text_tokens, choices), inputs, itertools.pairwise(shares), strict=True
            )
        ]


def _text_tokens(choice: Choice) -> Sequence[Token] | None:
    """The tokens of the text, without the tokens of the reasoning before the text. None: they are not known."""
    tokens = choice.tokens
    if tokens is None or not choice.reasoning:
        return tokens
    text = choice.text.strip().encode(errors="replace")
    start = b"".join(token.data for token in tokens).rfind(text)
    if not text or start < 0:
        return None  # the tokens of the text cannot be distinguished
    ends = itertools.accumulate(len(token.data) for token in tokens)
    return [token for token, end in zip(tokens, ends, strict=True) if end > start]


def _logprobs(tokens: Sequence[Token] | None) -> tuple[float, ...] | None:
    return None if tokens is None else tuple(token.logprob for token in tokens)


def _token_texts(tokens: Sequence[Token] | None, text: str) -> tuple[str, ...] | None:
    """The part of the text that each token writes; None if the tokens do not write the text.

    A character belongs to the last of the tokens that write it. An end token writes nothing.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    written = [decoder.decode(token.data) for token in tokens or ()]
    start = "".join(written).rfind(text.strip())
    if not tokens or start < 0:
        return None
    end = start + len(text.strip())
    ends = list(itertools.accumulate(map(len, written)))
    return tuple(
        part[max(0, start - (at - len(part))) : max(0, end - (at - len(part)))]
        for part, at in zip(written, ends, strict=True)
    )


def _top_logprobs(tokens: Sequence[Token] | None) -> tuple[tuple[float, ...], ...] | None:
    """The log-probabilities of the alternatives of each token; None if a token has none."""
    if not tokens or not all(token.top for token in tokens):
        return None
    return tuple(tuple(logprob for _, logprob in token.top) for token in tokens)


def _top_tokens(tokens: Sequence[Token] | None) -> tuple[tuple[str, ...], ...] | None:
    """The texts of the alternatives of each token; None if a token has none."""
    if not tokens or not all(token.top for token in tokens):
        return None
    return tuple(tuple(text for text, _ in token.top) for token in tokens)
