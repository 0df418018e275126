"""LLM as judge: a language model behind an OpenAI-compatible endpoint says whether two answers mean the same.

The model is asked at temperature 0 for `{"same": true}` or `{"same": false}`, in a structure that the server enforces
(`response_format` with a JSON schema); a server that does not know structures is asked for one word, yes or no, from
then on. What is neither is undecided, and so is a pair whose call fails. Prompts: `judge_prompts`; reading:
`judge_reading`; retries, limits and errors: `endpoint`.

Each pair is asked in one order of its answers, whichever way round it comes, so that the verdict does not depend on
that; a model may all the same prefer one order: `policy="both"` asks for both, the second only where the first leaves
the verdict open.

An answer may hold instructions for whoever reads it. The presets make it less likely that a judge follows them; nothing
here rules it out.

Left out: votes over several samples of one verdict, and the reasons a judge may give.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from semantic_entropy.plugin import Equivalence, Pair, Verdict, errors
from semantic_entropy_plugins.endpoint.attempts import Call
from semantic_entropy_plugins.endpoint.client import OPENAI, Endpoint
from semantic_entropy_plugins.endpoint.ends import Failure
from semantic_entropy_plugins.endpoint.key import Key
from semantic_entropy_plugins.endpoint.replies import Reply
from semantic_entropy_plugins.endpoint.request import Decoding
from semantic_entropy_plugins.endpoint.standing import Refused
from semantic_entropy_plugins.endpoint.trouble import Parameter
from semantic_entropy_plugins.judge.judge_prompts import FORM, PRESETS, SCHEMA, fill, load_template
from semantic_entropy_plugins.judge.verdict_reading import read_verdict
from semantic_entropy_plugins.options import describe_component

Policy = Literal["forward", "both", "either"]
_LIKELIEST = 5  # tokens at each place: servers allow 5 to 20, and yes and no are among the first


class Judge(Equivalence):
    """A language model, asked pair by pair, many at a time.

    Args:
        model: its name at the server.
        base_url: the server's address up to `/chat/completions`, such as `http://localhost:8000/v1`.
        api_key: None: the environment variable `OPENAI_API_KEY`. It is no part of `settings`, results or messages.
        template: a preset, "same" or "entails" (with `policy="both"`: each entails the other), or a text of your own
            with {left} and {right}, and {question} and {mark}; see `judge_prompts`.
        policy: which orders of the two answers are asked. "forward": one, always the same one for a pair; "both":
            the same only if both orders say so; "either": if one does. None: "both" for "entails", else "forward".
        structured: whether to ask for JSON by a schema, where the server knows that; else for a word.
        logprobs: whether to ask for log-probabilities, which give the verdict a score.
        temperature: None leaves it to the server: some reasoning models take no other.
        seed: None: none is sent.
        max_tokens: of a reply, reasoning included. None: the server's own limit.
        extra: more of the request's body, such as {"reasoning_effort": "low"}; part of `settings`, so never a secret.
        concurrency: calls under way at a time, of all threads that ask it together; each has at least one.
        timeout: seconds for one attempt, from connecting to the last byte.
        retries: attempts after the first.
        token_budget: tokens, in and out, that this judge may use; the pairs that are left then are undecided.
        input_price: money per million tokens sent; with `output_price`, verdicts carry their cost.
        output_price: money per million tokens received.

    Raises:
        OptionError: at construction, an option cannot be used.
        EquivalenceError: no call can succeed (no server, wrong key, no such model); says what to do.
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
        del api_key  # an error below shows no local variable that holds it
        self.template, self.structured = load_template(template), bool(structured)
        self.uses_question = "{question}" in self.template  # else one verdict serves all questions
        self.policy = _checked_policy(policy, template)
        self.decoding = Decoding.checked(
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
        self._settings = (
            *(self.name, self.endpoint.base_url, self.template, FORM[self.structured], self.policy, self.structured),
            *self.decoding.settings,
        )

    @property
    def settings(self) -> Hashable:
        return self._settings

    def describe(self) -> str:
        preset = next((name for name, text in PRESETS.items() if text == self.template), None)
        own = f"own text {hashlib.sha256(self.template.encode(errors='replace')).hexdigest()[:8]}"
        usual = "both" if preset == "entails" else "forward"
        decoding = self.decoding
        options = {
            "model": decoding.model,
            "base_url": self.endpoint.base_url,
            "template": preset or own,
            "policy": None if self.policy == usual else self.policy,
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
        """Each verdict as soon as it is there. Raises EquivalenceError where none can come any more."""
        return self.endpoint.drive(_Pairs(self, pairs))

    def close(self) -> None:
        self.endpoint.close()

    def call(self, tag: _Ask, pair: Pair) -> Call:
        """The request that asks for this pair, in this order."""

        def body(refused: Refused) -> Mapping[str, Any]:
            structured = self.structured and "response_format" not in refused
            prompt = f"{fill(self.template, pair)}\n\n{FORM[structured]}"
            request = self.decoding.body([{"role": "user", "content": prompt}], refused)
            if structured:
                request["response_format"] = SCHEMA
            if "logprobs" in request:
                request["top_logprobs"] = _LIKELIEST
            return request

        own: tuple[Parameter, ...] = ("response_format",) if self.structured else ()
        return Call(tag, body, (*own, *self.decoding.optional))


class _Ask(NamedTuple):
    """The pair at this place, in canonical order; `there` is that order's verdict, once the other one is asked."""

    place: int
    there: Verdict | None = None


class _Pairs:
    """The plan for a batch: each pair in canonical order, then those that are still open the other way round."""

    def __init__(self, judge: Judge, pairs: Sequence[Pair]) -> None:
        self._judge, self._pairs = judge, pairs
        self._open = deque(_Ask(place) for place in range(len(pairs)))

    def next(self) -> Call | None:
        if not self._open:
            return None
        ask = self._open.popleft()
        question, *answers = self._pairs[ask.place]
        left, right = sorted(answers, reverse=ask.there is not None)
        return self._judge.call(ask, Pair(question, left, right))

    def take(self, call: Call, outcome: Reply | Failure) -> Iterable[tuple[int, Verdict]]:
        ask: _Ask = call.tag
        verdict = _verdict(outcome)
        policy = self._judge.policy
        if ask.there is not None:
            return [(ask.place, _combined(policy, ask.there, verdict))]
        if policy == "forward" or verdict.same is (policy == "either"):
            return [(ask.place, verdict)]  # the other order cannot change it
        self._open.appendleft(_Ask(ask.place, verdict))
        return []


def _verdict(outcome: Reply | Failure) -> Verdict:
    usage = outcome.usage if outcome.usage.requests else None
    if isinstance(outcome, Failure):
        return Verdict(None, reason=outcome.reason, usage=usage)
    return read_verdict(outcome.choices[0])._replace(usage=usage)


def _combined(policy: Policy, there: Verdict, back: Verdict) -> Verdict:
    """Of both orders. The score is that of the order that counts: of "both" the lower, of "either" the higher."""
    decides = policy == "either"  # the verdict that settles it alone
    same = decides if decides in (there.same, back.same) else None if None in (there.same, back.same) else not decides
    scores = [verdict.score for verdict in (there, back) if verdict.score is not None]
    usages = [verdict.usage for verdict in (there, back) if verdict.usage is not None]
    return Verdict(
        same,
        (max if decides else min)(scores) if same is not None and len(scores) == 2 else None,
        (there.reason or back.reason) if same is None else None,
        usage=sum(usages[1:], usages[0]) if usages else None,
    )


def _checked_policy(policy: Policy | None, template: str) -> Policy:
    if policy is None:
        return "both" if template == "entails" else "forward"
    if policy not in get_args(Policy):
        raise errors.OptionError(f"judge: policy={policy!r} is unknown: use one of {', '.join(get_args(Policy))}")
    return policy
