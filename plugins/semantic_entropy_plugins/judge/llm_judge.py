"""LLM judge: a language model behind an OpenAI-compatible endpoint decides whether two answers mean the same.

The model replies at temperature 0 with `{"same": true}` or `{"same": false}`, and the server enforces this form
(`response_format` with a JSON schema). If the server does not support a JSON schema, the judge asks for one word, yes
or no. After any other reply, or after a failed call, the pair is undecided. `judge_prompts` writes the prompts,
`verdict_reading` reads the replies, and `endpoint` handles retries, limits and errors.

The two answers of a pair are sorted before the call, so the verdict does not change if the answers are swapped. But the
model may prefer one order. With `policy="both"` the judge also asks for the reverse order, if the first verdict does
not decide.

An answer may contain instructions. The presets make it less likely that the model follows these instructions, but they
cannot prevent it.

Left out: majority votes over several replies for a pair, and the judge's explanation of a verdict.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from semantic_entropy.plugin import (
    POLICIES,
    Equivalence,
    Pair,
    Policy,
    Verdict,
    combine_directions,
    errors,
    needs_reverse,
)
from semantic_entropy_plugins.endpoint.client import OPENAI, Endpoint
from semantic_entropy_plugins.endpoint.failures import Failure, Parameter
from semantic_entropy_plugins.endpoint.key import Key
from semantic_entropy_plugins.endpoint.replies import Reply
from semantic_entropy_plugins.endpoint.request import DecodingOptions
from semantic_entropy_plugins.endpoint.retry import Call, RefusedParameters
from semantic_entropy_plugins.judge.judge_prompts import (
    PRESETS,
    REPLY_FORMAT,
    SCHEMA,
    SUPPORTED,
    fill_template,
    load_template,
)
from semantic_entropy_plugins.judge.verdict_reading import read_verdict
from semantic_entropy_plugins.options import checked_choice, describe_component

_TOP_LOGPROBS = 5  # tokens at each position: servers allow 5 to 20, and yes and no are likely tokens


class Judge(Equivalence):
    """A language model that judges one pair per call, with many calls in flight.

    Args:
        model: the model's name at the server.
        base_url: the server's address up to `/chat/completions`, such as `http://localhost:8000/v1`.
        api_key: the API key. None: the key in the environment variable `OPENAI_API_KEY`. The settings, results and
            messages never contain the key.
        template: a preset, "same" or "entails" (with `policy="both"`: each answer entails the other), or your own text
            with {left} and {right}, and optionally {question} and {mark}; see `judge_prompts`.
        policy: the orders of the two answers that the judge asks about. "forward": one order, always the same order for
            a pair. "both": two answers mean the same only if the model says yes for both orders. "either": a yes for
            one order is enough. None: "both" for the template "entails", else "forward".
        structured: whether to ask for JSON with a schema, if the server supports schemas; False: ask for one word.
        logprobs: ask for log-probabilities, which give the verdict a score.
        temperature: the sampling temperature. None: the server decides. A model that refuses 0 is asked without it.
        seed: the seed of each call. None: no seed is sent.
        max_tokens: the largest number of tokens of a reply, including reasoning. None: the server's limit.
        extra: more fields of the request, such as {"reasoning_effort": "low"}. These fields are part of `settings`, so
            never put a secret there.
        concurrency: the largest number of calls in flight, in all threads together; each thread may always have one
            call in flight.
        timeout: seconds for one attempt, from connecting to the last byte.
        retries: the number of attempts after the first attempt.
        token_budget: the number of input and output tokens that this judge may use. After that, the remaining pairs are
            undecided.
        input_price: price of a million input tokens. If both prices are set, verdicts contain their cost.
        output_price: price of a million output tokens.

    Raises:
        OptionError: at construction, if an option is not valid.
        EquivalenceError: no call can succeed (no server, wrong key, unknown model); the message names the fix.
    """

    name = "judge"
    cache_identity = "semantic_entropy_plugins.judge:Judge"
    uses_question = True

    def __init__(
        self,
        model: str,
        base_url: str = OPENAI,
        api_key: str | None = None,
        *,
        template: str = "same",
        policy: Policy | None = None,
        structured: bool = True,
        logprobs: bool = False,
        temperature: float | None = 0.0,
        seed: int | None = None,
        max_tokens: int | None = 1024,
        extra: Mapping[str, Any] | None = None,
        concurrency: int = 16,
        timeout: float = 60.0,
        retries: int = 6,
        token_budget: int | None = None,
        input_price: float | None = None,
        output_price: float | None = None,
    ) -> None:
        key = Key(api_key)
        del api_key  # a traceback with local variables must not show it
        self.template, self.structured = load_template(template), bool(structured)
        self.uses_question = "{question}" in self.template  # else a verdict holds for every question
        self.policy: Policy = _default_policy(template)
        if policy is not None:
            self.policy = checked_choice(self.name, "policy", policy, POLICIES)
        self.decoding = DecodingOptions.checked(
            self.name,
            model=model,
            temperature=temperature,
            top_p=None,
            max_tokens=max_tokens,
            seed=seed,
            logprobs=logprobs,
            extra=extra,
        )
        self.endpoint = Endpoint(
            base_url,
            key,
            owner=self.name,
            error=errors.EquivalenceError,
            concurrency=concurrency,
            timeout=timeout,
            retries=retries,
            token_budget=token_budget,
            input_price=input_price,
            output_price=output_price,
        )
        reply_format = REPLY_FORMAT[self.structured]
        self._settings = (
            *(self.name, self.endpoint.base_url, self.template, reply_format, self.policy, self.structured),
            *self.decoding.settings,
        )

    @property
    def settings(self) -> Hashable:
        return self._settings

    def describe(self) -> str:
        preset = next((name for name, text in PRESETS.items() if text == self.template), None)
        own_text = f"own text {hashlib.sha256(self.template.encode(errors='replace')).hexdigest()[:8]}"
        decoding = self.decoding
        options = {
            "model": decoding.model,
            "base_url": self.endpoint.base_url,
            "template": preset or own_text,
            "policy": None if self.policy == _default_policy(preset) else self.policy,
            "structured": self.structured,
            "logprobs": decoding.logprobs,
            "temperature": decoding.temperature,
            "seed": decoding.seed,
            "max_tokens": decoding.max_tokens,
            "extra": json.loads(decoding.extra) or None,
        }
        return describe_component(Judge, self.name, options)

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return self.collect(pairs)

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """Yields (index of the pair, verdict) when a call ends. Raises EquivalenceError if no call can succeed."""
        return self.endpoint.run_plan(_PairPlan(self, pairs))

    def support(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """Yield whether the model says that each sample supports the sentence: one call for each pair.

        As SelfCheck-Prompt (Manakul et al. 2023, Section 5.5), with a prompt of this package. The support is 1 (yes) or
        0 (no); P(yes) with `logprobs=True`. A reply that is neither is undecided, where the paper takes 0.5.
        """
        return self.endpoint.run_plan(_SupportPlan(self, pairs))

    def close(self) -> None:
        self.endpoint.close()

    def call(self, tag: Any, pair: Pair, template: str | None = None) -> Call:
        """The call that asks about this pair, with the answers in the order of the pair. None: the judge's template."""

        def body(refused: RefusedParameters) -> Mapping[str, Any]:
            structured = self.structured and "response_format" not in refused
            prompt = f"{fill_template(template or self.template, pair)}\n\n{REPLY_FORMAT[structured]}"
            request = self.decoding.body([{"role": "user", "content": prompt}], refused)
            if structured:
                request["response_format"] = SCHEMA
            if "logprobs" in request:
                request["top_logprobs"] = _TOP_LOGPROBS
            return request

        optional: tuple[Parameter, ...] = ("response_format",) if self.structured else ()
        return Call(tag, body, (*optional, *self.decoding.optional))


class _PairCall(NamedTuple):
    """Identifies the call for a pair. `forward` is the verdict for the sorted order; None: this call asks for it."""

    position: int
    forward: Verdict | None = None


class _PairPlan:
    """Asks about each pair with sorted answers, then in the reverse order if the first verdict does not decide."""

    def __init__(self, judge: Judge, pairs: Sequence[Pair]) -> None:
        self._judge, self._pairs = judge, pairs
        self._waiting = deque(_PairCall(position) for position in range(len(pairs)))

    def next_call(self) -> Call | None:
        if not self._waiting:
            return None
        tag = self._waiting.popleft()
        question, *answers = self._pairs[tag.position]
        left, right = sorted(answers, reverse=tag.forward is not None)
        return self._judge.call(tag, Pair(question, left, right))

    def results(self, call: Call, outcome: Reply | Failure) -> Iterable[tuple[int, Verdict]]:
        tag: _PairCall = call.tag
        verdict = _verdict(outcome)
        if tag.forward is not None:
            return [(tag.position, _combined(self._judge.policy, tag.forward, verdict))]
        if not needs_reverse(self._judge.policy, verdict.same):
            return [(tag.position, verdict)]
        self._waiting.appendleft(_PairCall(tag.position, verdict))
        return []


class _SupportPlan:
    """Asks about each pair of a sample and a sentence once."""

    def __init__(self, judge: Judge, pairs: Sequence[Pair]) -> None:
        self._judge = judge
        self._waiting = deque(enumerate(pairs))

    def next_call(self) -> Call | None:
        if not self._waiting:
            return None
        position, pair = self._waiting.popleft()
        return self._judge.call(position, pair, SUPPORTED)

    def results(self, call: Call, outcome: Reply | Failure) -> Iterable[tuple[int, Verdict]]:
        return [(call.tag, _verdict(outcome))]


def _verdict(outcome: Reply | Failure) -> Verdict:
    usage = outcome.usage if outcome.usage.requests else None
    if isinstance(outcome, Failure):
        return Verdict(None, reason=outcome.reason, usage=usage)
    return read_verdict(outcome.choices[0])._replace(usage=usage)


def _combined(policy: Policy, forward: Verdict, reverse: Verdict) -> Verdict:
    """The verdict from both orders. The score is the lower score for "both", and the higher score for "either"."""
    same = combine_directions(policy, forward.same, reverse.same)
    scores = [verdict.score for verdict in (forward, reverse) if verdict.score is not None]
    usages = [verdict.usage for verdict in (forward, reverse) if verdict.usage is not None]
    return Verdict(
        same,
        (max if policy == "either" else min)(scores) if same is not None and len(scores) == 2 else None,
        (forward.reason or reverse.reason) if same is None else None,
        usage=sum(usages[1:], usages[0]) if usages else None,
    )


def _default_policy(preset: str | None) -> Policy:
    return "both" if preset == "entails" else "forward"
