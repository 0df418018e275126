"""Read chat messages, and the replies of chat models, as APIs, client libraries and logs write them.

    {"choices": [{"message": {"content": "Paris"}, "logprobs": {"content": [{"token": ..., "logprob": -0.1}]}}]}
    {"choices": [{"text": "Paris", "logprobs": {"token_logprobs": [-0.1]}}]}            the older completions API
    {"object": "response", "output": [{"type": "message", "content": [...]}]}           OpenAI's Responses API
    {"message": {"role": "assistant", "content": "Paris"}, "logprobs": [{"token": ...}]}   Ollama
    {"role": "assistant", "content": "Paris"}                                           a message by itself
    {"text": "Paris", "logprobs": [-0.1], "top_logprobs": [[-0.1, -2.5]]}               a sample, as `Sample` names it

Such a value, a `Sample`, an object of a client library with the method `model_dump`, and a list of these can be given
as the responses of a group. Their log-probabilities (`logprobs`) and those of the most probable tokens (`top_logprobs`)
are evidence; a sample can also have `token_entropies` and a `hidden_state`. Only the text of a reply is the response:
its reasoning (`reasoning`, `reasoning_content`, parts of the type `thinking` or `reasoning`) is left out, with its
log-probabilities. A reply that the model or a filter refused (`refusal`, `finish_reason: content_filter`) is an empty
response, whatever it says. Tool calls are not read: a reply without a text is an empty response.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from semantic_entropy.types import Sample

_DEEPEST = 4  # lists inside lists: a group of completions is a list of objects with a list of choices
_REQUEST_FIELDS = ("messages", "input", "prompt")
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
OF_REPLIES = ("top_logprobs", "token_entropies", "hidden_state", "tokens")
"""The fields of `GivenEvidence` that replies can have."""
_SAMPLE_LISTS = ("logprobs", *OF_REPLIES)
_OF_SAMPLE = (*_SAMPLE_LISTS, "finish_reason", "index", "correct")  # a mapping with a text and one of these is a reply


class Replies(NamedTuple):
    """The replies of a group.

    Attributes:
        texts: (G,) the responses.
        logprobs: (G, T) ragged, in nats; None: a reply has none.
        cut_off: the number of replies that ended at the token limit.
        evidence: fields of `GivenEvidence` that all replies have, each with one entry for each reply.
    """

    texts: list[str]
    logprobs: list[Any] | None
    cut_off: int = 0
    evidence: Mapping[str, list[Any]] = {}


class _Reply(NamedTuple):
    """A reply, with what is known about it besides its text."""

    text: str
    known: Mapping[str, Any] = {}
    cut_off: bool = False


class _Unreadable(ValueError):  # noqa: N818  # caught in this module
    """A value is not a reply."""


def read_replies(value: Any) -> Replies | None:
    """Read the replies in a value; None if the value, or an item of it, is neither a reply nor a text."""
    if isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)):
        return None
    try:
        replies = list(_replies(value))
    except _Unreadable:
        return None
    known = {name: [reply.known.get(name) for reply in replies] for name in _SAMPLE_LISTS}
    evidence = {name: values for name, values in known.items() if values and not any(map(_is_missing, values))}
    logprobs = evidence.pop("logprobs", None)
    return Replies([reply.text for reply in replies], logprobs, sum(reply.cut_off for reply in replies), evidence)


def is_reply(value: Any) -> bool:
    """Whether the value is one reply, which can contain several choices."""
    return (isinstance(value, Mapping) or hasattr(value, "model_dump")) and read_replies(value) is not None


def last_user_turn(value: Any) -> Any:
    """Return the text of the last user message of a list of chat messages, or of a request with it; else the value."""
    if isinstance(value, Mapping):  # a request of an OpenAI-compatible API
        value = next((value[name] for name in _REQUEST_FIELDS if name in value), value)
    if not is_messages(value):
        return value
    turns = [message for message in value if message.get("role") in ("user", "human")]
    return message_text(turns[-1].get("content")) if turns else None


def is_messages(value: Any) -> bool:
    """Whether the value is a list of chat messages, such as `[{"role": "user", "content": "2 + 2?"}]`."""
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(message, Mapping) and "role" in message and "content" in message for message in value)
    )


def message_text(content: Any) -> Any:
    """Return the text of a message. Its content is a text, or a list of parts: `{"type": "text", "text": "..."}`."""
    if not isinstance(content, list | tuple):
        return content
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
    return "\n".join(text for text in texts if isinstance(text, str))


def _replies(value: Any, depth: int = 0) -> Iterator[_Reply]:
    if not isinstance(value, Mapping) and hasattr(value, "model_dump"):
        value = value.model_dump()
    if isinstance(value, str):
        yield _Reply(value)
    elif isinstance(value, Sample):
        known = {name: getattr(value, name) for name in _SAMPLE_LISTS}
        text = "" if value.finish_reason in _REFUSED else value.text
        yield _Reply(text, known, value.finish_reason == "length")
    elif isinstance(value, list | tuple):
        if depth == _DEEPEST:
            raise _Unreadable
        for item in value:
            yield from _replies(item, depth + 1)
    elif isinstance(value, Mapping) and isinstance(value.get("choices"), list):
        yield from _replies(value["choices"], depth + 1)
    elif isinstance(value, Mapping):
        reply = _read_object(value)._replace(cut_off=_ended_by(value, _AT_LIMIT))
        yield reply._replace(text="") if _ended_by(value, _REFUSED) else reply
    else:
        raise _Unreadable


def _read_object(value: Mapping[str, Any]) -> _Reply:
    """Read a choice, a message or an object of the Responses API."""
    if value.get("object") == "response" and isinstance(value.get("output"), list):
        return _read_output_items(value["output"])
    if isinstance(value.get("message"), Mapping):
        return _read_message(value["message"], value.get("logprobs"))
    if isinstance(value.get("text"), str) and any(name in value for name in _OF_SAMPLE):
        if isinstance(value.get("logprobs"), Mapping):
            return _Reply(value["text"], _of_completion(value["logprobs"]))
        return _Reply(value["text"], {name: value.get(name) for name in _SAMPLE_LISTS})
    if value.get("role") == "assistant" and "content" in value:
        return _read_message(value, None)
    raise _Unreadable


_AT_LIMIT = ("length", "max_tokens", "max_output_tokens")
_REFUSED = ("content_filter", "refusal", "safety", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST")


def _ended_by(value: Mapping[str, Any], words: Sequence[str]) -> bool:
    """Whether a reply ended for one of these reasons, as OpenAI, Anthropic, Ollama and the Responses API give it."""
    details = value.get("incomplete_details")
    reasons = [value.get(name) for name in ("finish_reason", "stop_reason", "done_reason")]
    reasons += [details.get("reason")] if isinstance(details, Mapping) else []
    return any(reason in words for reason in reasons)


def _read_message(message: Mapping[str, Any], logprobs: Any) -> _Reply:
    content = message.get("content")
    if not isinstance(content, str | list | tuple | None):
        raise _Unreadable
    text = "" if message.get("refusal") else message_text(content) or ""
    parts = content if isinstance(content, list | tuple) else ()
    thinks = any(isinstance(part, Mapping) and part.get("type") in ("thinking", "reasoning") for part in parts)
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else logprobs
    has_reasoning = thinks or any(message.get(name) for name in _REASONING_FIELDS)
    return _Reply(text, _of_tokens(tokens, text if has_reasoning else None))


def _read_output_items(items: Sequence[Any]) -> _Reply:
    """Read the output of OpenAI's Responses API: one text, in the parts of its messages."""
    parts = [
        part
        for item in items
        if isinstance(item, Mapping) and item.get("type") == "message"
        for part in item.get("content") or ()
        if isinstance(part, Mapping)
    ]
    text = "\n".join(part.get("text") or "" for part in parts)
    tokens = [token for part in parts for token in part.get("logprobs") or ()]
    return _Reply(text, _of_tokens(tokens, None))


def _of_tokens(tokens: Any, text: str | None) -> dict[str, Any]:
    """Return what is known of tokens; of the tokens that write `text` if it is given."""
    if not isinstance(tokens, list) or not all(isinstance(token, Mapping) for token in tokens):
        return {}
    if text is not None:
        tokens = _tokens_of_text(tokens, text)
    top = [_numbers([each.get("logprob") for each in _mappings(token.get("top_logprobs"))]) for token in tokens]
    return {"logprobs": _numbers([token.get("logprob") for token in tokens]), "top_logprobs": top}


def _tokens_of_text(tokens: list[Mapping[str, Any]], text: str) -> list[Mapping[str, Any]]:
    """Return the last tokens, which write the text after the reasoning; none if they cannot be told apart."""
    written = [str(token.get("token")) for token in tokens]
    start = "".join(written).rfind(text.strip())
    if start < 0 or not text.strip():
        return []
    ends = accumulate(map(len, written))
    return [token for token, end in zip(tokens, ends, strict=True) if end > start]


def _of_completion(logprobs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the older completions API says of the tokens: `top_logprobs` has an object for each of them."""
    given = logprobs.get("top_logprobs")
    tokens = given if isinstance(given, list | tuple) else ()
    top = [_numbers(list(each.values())) if isinstance(each, Mapping) else None for each in tokens]
    return {"logprobs": _numbers(logprobs.get("token_logprobs")), "top_logprobs": top}


def _mappings(values: Any) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list | tuple) else []


def _is_missing(values: Any) -> bool:
    """Whether a reply has no such numbers, or a token of it has none."""
    return values is None or (hasattr(values, "__len__") and (not len(values) or any(each is None for each in values)))


def _numbers(values: Any) -> list[float] | None:
    """Return the numbers; None if there are none, or a value is missing."""
    if not isinstance(values, list | tuple) or not values:
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return None
    return [float(value) for value in values]
