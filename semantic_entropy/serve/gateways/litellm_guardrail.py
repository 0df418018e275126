"""The Generic Guardrail API of LiteLLM: `POST /beta/litellm_basic_guardrail_api`.

Read at BerriAI/litellm, commit 4e705c601e281779c8ebf07de05ba46bf8eb3d34 (the request and what the proxy does with a
reply) and commit 9e8553860060208b9ca9f315766b9952ecb3ee88 (the documentation page). The API is a beta there.

LiteLLM calls twice if `mode` names both hooks: with input_type "request" before the model is asked, and with
input_type "response" after it. Only the first call has the messages, so the service keeps the question by
`litellm_call_id` until the second call, in memory. A response is checked in this order:

    enough choices      `texts` has one text for each choice: at least `min_samples` are compared with one another
    a sampler           the question is asked again, and each text is compared with the samples, as a whole
    neither             nothing is known: action by `on_unknown`, with the reason

The key `semantic_entropy` of the reply has the numbers. LiteLLM ignores keys that it does not know.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from semantic_entropy.clusters.chat_replies import is_messages, last_user_turn, message_text
from semantic_entropy.decisions import Action, Decision
from semantic_entropy.results import Result
from semantic_entropy.serve.measuring_service import NO_SAMPLER, AnswerCheck, MeasuringService, ToCheck, finite

GUARDRAIL_PATH = "/beta/litellm_basic_guardrail_api"
_TEXT_PARTS = ("text", "input_text")
_MOST_CALLS = 10_000  # questions that are kept
_MOST_CHARACTERS = 50_000_000  # of these questions together: one question can fill a body of --max-body
_LONGEST_CALL = 900.0  # seconds between the two calls: a model can think for minutes


class GuardrailBody(BaseModel):
    """What LiteLLM sends. Fields that the service does not read are accepted: the API is a beta, and grows."""

    model_config = ConfigDict(extra="ignore")

    input_type: Literal["request", "response"]
    texts: list[str] | None = None
    structured_messages: list[dict[str, Any]] | None = None
    images: list[Any] | None = None
    tool_calls: list[Any] | None = None
    litellm_call_id: str | None = None
    additional_provider_specific_params: dict[str, Any] | None = None


class MeasuredFields(BaseModel):
    """What was measured."""

    known: bool = Field(description="Whether the action rests on a measurement; false: see reason")
    reason: str
    decision: Action | None = Field(default=None, description="The decision about the samples; null: known is false")
    entropy: float | None = Field(default=None, description="Of the samples, in nats; null: not known")
    p_wrong: float | None = Field(default=None, description="Of the calibration; null: not known")
    verified_count: int | None = Field(
        default=None, description="Samples that say the response; null: known is false, or choices were compared"
    )
    total_samples: int | None = Field(default=None, description="null: as verified_count")


class GuardrailReply(BaseModel):
    """What LiteLLM reads: `action`, `blocked_reason`, `texts`. And what was measured."""

    action: Literal["BLOCKED", "NONE", "GUARDRAIL_INTERVENED"]
    blocked_reason: str | None = None
    texts: list[str] | None = None
    semantic_entropy: MeasuredFields


class OpenCalls:
    """The questions of calls whose response has not arrived, by call id. Old ones are dropped, and those over a limit.

    Args:
        most: the most questions.
        seconds: the age at which a question is dropped.
        characters: the most characters of all questions together.
    """

    def __init__(
        self, most: int = _MOST_CALLS, seconds: float = _LONGEST_CALL, characters: int = _MOST_CHARACTERS
    ) -> None:
        self._most, self._seconds, self._most_characters = most, seconds, characters
        self._calls: OrderedDict[str, tuple[float, str, str | None]] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()

    def put(self, call_id: str, question: str, unusable: str | None) -> None:
        """Keep the question of a call, or why it cannot be asked again."""
        with self._lock:
            if call_id in self._calls:
                self._drop(call_id)
            self._calls[call_id] = (time.monotonic(), question, unusable)
            self._characters += len(question)
            while self._calls and self._is_too_much():
                self._drop(next(iter(self._calls)))

    def get(self, call_id: str) -> tuple[str, str | None] | None:
        """Return the question, and why it cannot be asked; None: the call is not known.

        It stays until it is old: a streamed response is checked several times.
        """
        with self._lock:
            found = self._calls.get(call_id)
            return None if found is None or self._is_old(found[0]) else found[1:]

    def _is_too_much(self) -> bool:
        is_full = len(self._calls) > self._most or self._characters > self._most_characters
        return is_full or self._is_old(next(iter(self._calls.values()))[0])

    def _is_old(self, since: float) -> bool:
        return time.monotonic() - since > self._seconds

    def _drop(self, call_id: str) -> None:
        self._characters -= len(self._calls.pop(call_id)[1])

    def __len__(self) -> int:
        return len(self._calls)


async def guard(
    body: GuardrailBody, service: MeasuringService, calls: OpenCalls
) -> tuple[GuardrailReply, Result | None]:
    """Answer a call, and return what was measured."""
    if body.input_type == "request":
        if body.litellm_call_id and (found := _question(body, service)):
            calls.put(body.litellm_call_id, *found)
        reason = "a request has no answer yet: the response is checked (mode: post_call)"
        return GuardrailReply(action="NONE", semantic_entropy=MeasuredFields(known=False, reason=reason)), None
    texts = tuple(body.texts or ())
    question = _question(body, service) or (body.litellm_call_id and calls.get(body.litellm_call_id)) or None
    given = (body.additional_provider_specific_params or {}).get("question")
    if (question is None or question[1]) and isinstance(given, str) and given.strip():
        question = given, None
    if unknown := _why_unmeasured(body, texts, service):
        return _unknown(service, unknown), None
    if len(texts) >= service.settings.min_samples:
        check = await service.check_choices(question and question[0], texts)
    elif unknown := _why_not_sampled(service, question):
        return _unknown(service, f"{_count(texts)}, and {unknown}"), None
    else:
        assert question is not None
        check = await service.check(ToCheck(question[0], tuple(filter(str.strip, texts))))
    if check.result is None or check.decision is None:
        return _unknown(service, str(check.unknown), shown="the sampler failed"), None
    reply = _decided(service, check, check.result, check.decision)
    if check.unknown and reply.action == "NONE":  # it was not compared as a whole
        reply = _unknown(service, check.unknown)
    return reply, check.result


def _why_unmeasured(body: GuardrailBody, texts: tuple[str, ...], service: MeasuringService) -> str | None:
    if not any(map(str.strip, texts)):
        return f"the response has {'tool calls and no text' if body.tool_calls else 'no text'}"
    if body.tool_calls or body.images:
        return f"the response has {'tool calls' if body.tool_calls else 'images'}, and text alone is measured"
    if not service.settings.decides:
        return "the service has no rule: start it with --calibration or --fail-above"
    return None


def _why_not_sampled(service: MeasuringService, question: tuple[str, str | None] | None) -> str | None:
    if not service.has_sampler:
        return NO_SAMPLER
    return "its question is not known: set mode [pre_call, post_call]" if question is None else question[1]


def _count(texts: tuple[str, ...]) -> str:
    return "one response alone arrived" if len(texts) == 1 else f"only {len(texts)} responses arrived"


def _question(body: GuardrailBody, service: MeasuringService) -> tuple[str, str | None] | None:
    """Return the question, and why it cannot be asked again (None: it can); None: it is not in the call."""
    messages = body.structured_messages
    if not is_messages(messages):
        return None
    question = last_user_turn(messages)
    if not isinstance(question, str) or not question.strip():
        return None
    system = getattr(service.scorer.sampler, "system", None)
    assert messages is not None
    rest = [
        message
        for message in messages
        if not (message["role"] == "system" and system is not None and message_text(message["content"]) == system)
    ]
    if len(rest) > 1 and not service.settings.ask_last_turn:
        return question, (
            f"the conversation has {len(messages)} messages, and the sampler gets the last question alone "
            "(--ask-last-turn; for a system prompt: --sampler-option system=...)"
        )
    turns = [message["content"] for message in messages if message["role"] in ("user", "human")]
    if (body.images and body.input_type == "request") or not _is_text(turns[-1]):
        return question, "the question has images or other parts, and the sampler gets its text alone"
    return question, None


def _is_text(content: Any) -> bool:
    """Whether a message is text alone: parts such as an image or a file are not."""
    return not isinstance(content, list) or all(
        isinstance(part, str) or (isinstance(part, dict) and part.get("type", "text") in _TEXT_PARTS)
        for part in content
    )


def _unknown(service: MeasuringService, reason: str, shown: str | None = None) -> GuardrailReply:
    """Return the reply. `shown` takes the place of a reason that is not for the client: it has addresses of servers."""
    measured = MeasuredFields(known=False, reason=reason)
    if service.settings.on_unknown == "allow":
        return GuardrailReply(action="NONE", semantic_entropy=measured)
    return GuardrailReply(
        action="BLOCKED", blocked_reason=f"the uncertainty is not known: {shown or reason}", semantic_entropy=measured
    )


def _decided(service: MeasuringService, check: AnswerCheck, result: Result, decision: Decision) -> GuardrailReply:
    reasons, is_blocked = list(decision.reasons), decision.is_at_least(service.settings.fail_on)
    if found := check.different or check.excess:
        reasons, is_blocked = [found, *reasons], True
    measured = MeasuredFields(
        known=True,
        reason="; ".join(reasons),
        decision=decision.action,
        entropy=finite(result.entropy),
        p_wrong=decision.p_wrong,
        verified_count=check.verified,
        total_samples=check.total,
    )
    return GuardrailReply(
        action="BLOCKED" if is_blocked else "NONE",
        blocked_reason=f"not certain enough: {measured.reason}" if is_blocked else None,
        semantic_entropy=measured,
    )
