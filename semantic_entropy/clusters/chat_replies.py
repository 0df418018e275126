"""Read chat messages, and the replies of chat models, as APIs, client libraries and logs write them.

    {"choices": [{"message": {"content": "Paris"}, "logprobs": {"content": [{"token": ..., "logprob": -0.1}]}}]}
    {"choices": [{"text": "Paris", "logprobs": {"token_logprobs": [-0.1]}}]}            the older completions API
    {"object": "response", "output": [{"type": "message", "content": [...]}]}           OpenAI's Responses API
    {"message": {"role": "assistant", "content": "Paris"}}                              Ollama
    {"role": "assistant", "content": "Paris"}                                           a message by itself

Such a value, an object of a client library with the method `model_dump`, and a list of these can be given as the
responses of a group. Only the text of a reply is the response: its reasoning (`reasoning`, `reasoning_content`, parts
of the type `thinking` or `reasoning`) is left out, with its log-probabilities. A refusal of the model is a response.
Tool calls are not read: a reply without a text is an empty response.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_DEEPEST = 4  # lists inside lists: a group of completions is a list of objects with a list of choices
_REQUEST_FIELDS = ("messages", "input", "prompt")
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")


class Replies(NamedTuple):
    """The (G,) texts of replies, their token log-probabilities in nats (None if a reply has none), and how many of the
    replies ended at the token limit.
    """

    texts: list[str]
    logprobs: list[list[float]] | None
    cut_off: int = 0


class _Reply(NamedTuple):
    text: str
    logprobs: list[float] | None
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
    logprobs = [reply.logprobs for reply in replies if reply.logprobs]
    cut_off = sum(reply.cut_off for reply in replies)
    return Replies([reply.text for reply in replies], logprobs if len(logprobs) == len(replies) else None, cut_off)


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
        yield _Reply(value, None)
    elif isinstance(value, list | tuple):
        if depth == _DEEPEST:
            raise _Unreadable
        for item in value:
            yield from _replies(item, depth + 1)
    elif isinstance(value, Mapping) and isinstance(value.get("choices"), list):
        yield from _replies(value["choices"], depth + 1)
    elif isinstance(value, Mapping):
        yield _read_object(value)._replace(cut_off=_is_cut_off(value))
    else:
        raise _Unreadable


def _read_object(value: Mapping[str, Any]) -> _Reply:
    """Read a choice, a message or an object of the Responses API."""
    if value.get("object") == "response" and isinstance(value.get("output"), list):
        return _read_output_items(value["output"])
    if isinstance(value.get("message"), Mapping):
        return _read_message(value["message"], value.get("logprobs"))
    if isinstance(value.get("text"), str) and ("finish_reason" in value or "index" in value):
        return _Reply(value["text"], _plain_logprobs(value.get("logprobs")))
    if value.get("role") == "assistant" and "content" in value:
        return _read_message(value, None)
    raise _Unreadable


def _is_cut_off(value: Mapping[str, Any]) -> bool:
    """Whether a reply ended at the token limit, in the words of OpenAI, Anthropic, Ollama and the Responses API."""
    details = value.get("incomplete_details")
    reasons = [value.get(name) for name in ("finish_reason", "stop_reason", "done_reason")]
    reasons += [details.get("reason")] if isinstance(details, Mapping) else []
    return any(reason in ("length", "max_tokens", "max_output_tokens") for reason in reasons)


def _read_message(message: Mapping[str, Any], logprobs: Any) -> _Reply:
    content, refusal = message.get("content"), message.get("refusal")
    if not isinstance(content, str | list | tuple | None):
        raise _Unreadable
    text = message_text(content) or (refusal if isinstance(refusal, str) else "")
    parts = content if isinstance(content, list | tuple) else ()
    thinks = any(isinstance(part, Mapping) and part.get("type") in ("thinking", "reasoning") for part in parts)
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    has_reasoning = thinks or any(message.get(name) for name in _REASONING_FIELDS)
    return _Reply(text, _token_logprobs(tokens, text if has_reasoning else None))


def _read_output_items(items: Sequence[Any]) -> _Reply:
    """Read the output of OpenAI's Responses API: one text, in the parts of its messages."""
    parts = [
        part
        for item in items
        if isinstance(item, Mapping) and item.get("type") == "message"
        for part in item.get("content") or ()
        if isinstance(part, Mapping)
    ]
    text = "\n".join(part.get("text") or part.get("refusal") or "" for part in parts)
    tokens = [token for part in parts for token in part.get("logprobs") or ()]
    return _Reply(text, _token_logprobs(tokens, None))


def _token_logprobs(tokens: Any, text: str | None) -> list[float] | None:
    """Return the log-probabilities of tokens; of the tokens that write `text` if it is given. None: there are none."""
    if not isinstance(tokens, list) or not all(isinstance(token, Mapping) for token in tokens):
        return None
    pairs = [(str(token.get("token")), token.get("logprob")) for token in tokens]
    if text is not None:
        pairs = _tokens_of_text(pairs, text)
    return _numbers([value for _, value in pairs])


def _tokens_of_text(pairs: list[tuple[str, Any]], text: str) -> list[tuple[str, Any]]:
    """Return the last tokens, which write the text after the reasoning; none if they cannot be told apart."""
    start = "".join(token for token, _ in pairs).rfind(text.strip())
    if start < 0 or not text.strip():
        return []
    found, position = [], 0
    for token, value in pairs:
        position += len(token)
        if position > start:
            found.append((token, value))
    return found


def _plain_logprobs(logprobs: Any) -> list[float] | None:
    return _numbers(logprobs.get("token_logprobs")) if isinstance(logprobs, Mapping) else None


def _numbers(values: Any) -> list[float] | None:
    """Return the numbers; None if there are none, or a value is missing."""
    if not isinstance(values, list | tuple) or not values:
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return None
    return [float(value) for value in values]
