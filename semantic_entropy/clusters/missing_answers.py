"""Recognises texts that stand where an answer is missing.

There are three kinds. The first two are no answers, the third may be one:

    no text          markup without content: an empty box, code fence or HTML element, tokens of a chat template
    error message    what an API, a proxy or its client says in place of an answer: "Error: 429 Too Many Requests"
    placeholder      "None", "null", "NaN", `{}`, `**`, `<br>`, "404 Not Found"; also what is left before there is an
                     answer: "The answer is:", "Loading...", a template that nobody filled in, a tool call

A placeholder can be the answer: to "How many countries border the Sargasso Sea?" or to a question about a program. So
it stays an answer and keeps its cluster; the result has a warning, and a gate defers a result whose main answer is one.
A regular expression or a function of the user as extractor says which answers there are; nothing is doubted then.

Left out: error messages in other languages, and those of more than 2,000 characters that are no JSON and no HTML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from semantic_entropy.clusters.refusals import is_refusal, read_patterns

_LONGEST_ERROR = 2000  # characters of an error in words
_LONGEST_PAGE = 4000  # characters of an error page, or of an error as JSON
_LONGEST_PLACEHOLDER = 40  # characters

_ELEMENT = r"</?[a-zA-Z][\w-]*(?:\s[^<>]*)?/?>|<!--.*?-->"
_TOKEN = r"<\|[\w ]+\|>|</?s>|<(?:bos|eos|pad|unk|end_of_turn|start_of_turn)>|\[/?INST\]|\[(?:PAD|EOS|UNK)\]"
_BLANK = r"&(?:nbsp|zwnj|zwj|#160|#xa0|#8203);"
_EMPTY_LATEX = r"\\(?:boxed|fbox|text|mathrm|mbox|textbf)\s*\{[\s{}~]*\}|\\\[\s*\\\]|\\\(\s*\\\)|\$(?:\s*\$)++"
_FENCE = r"```[\w+-]*[ \t]*\n\s*```|~~~[\w+-]*[ \t]*\n\s*~~~|```[ \t]*```"
# Possessive (++): a token is an element, too, so that other ways to read a run of them would take exponential time.
_MARKUP = re.compile(rf"(?:{_TOKEN}|{_ELEMENT}|{_BLANK}|{_EMPTY_LATEX}|{_FENCE}|\s)++", re.DOTALL)
_TOKENS = re.compile(rf"(?:{_TOKEN})++")
_NOTHING_IN_BOX = re.compile(r"\\(?:boxed|fbox|text|mathrm|mbox|textbf)\s*\{\s*([^{}]*)\}")
_TAG = re.compile(r"<[a-zA-Z/][^<>]*>")


def has_no_text(text: str) -> bool:
    r"""Whether a text is markup without content, such as `\boxed{}`, `<p></p>` or an empty code fence.

    One HTML tag alone is a placeholder: it can be the answer to a question about HTML.
    """
    text = text.strip()
    if not text or text[0] not in "<[&\\$`~*_{" or len(text) > _LONGEST_PAGE:
        return False
    inner = text.strip("*_ \n")  # **\boxed{}**
    while (unpacked := _NOTHING_IN_BOX.sub(r"\1", inner)) != inner:  # \boxed{\text{}}
        inner = unpacked
    if inner != text and not inner.strip("*_ \n$"):
        return not _is_marks(text)
    return _MARKUP.fullmatch(inner) is not None and (_TOKENS.fullmatch(inner) is not None or not _TAG.fullmatch(inner))


def _is_marks(text: str) -> bool:
    return _MARKS.fullmatch(text) is not None


_PHRASES = {
    *(status.phrase.casefold() for status in HTTPStatus if status >= 500),
    *("too many requests", "bad request", "request timeout", "gateway timeout", "service temporarily unavailable"),
    *("upstream timeout", "internal error", "server error", "payload too large", "request entity too large"),
}
_REASONS = _PHRASES | {status.phrase.casefold() for status in HTTPStatus if status >= 400}


def _any_of(texts: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(texts, key=lambda text: (-len(text), text))))


_CODE = r"(?:4\d\d|5\d\d)"
_STATUS = re.compile(rf"(?:http(?:/\d(?:\.\d)?)?\s+)?{_CODE}\s*[-:]?\s*(?:{_any_of(_REASONS)})")


@lru_cache(maxsize=1)
def _messages() -> re.Pattern[str]:
    """Compile the forms of `error_messages.txt`."""
    sections = read_patterns("error_messages.txt", {"REASON": _any_of(_REASONS), "PHRASE": _any_of(_PHRASES)})
    return re.compile("|".join(pattern for patterns in sections.values() for pattern in patterns), re.DOTALL)


_INTRODUCTION = re.compile(  # Sorry, [API ERROR]: there was
    r"(?:sorry[,.]? |oops[!,.]? )*(?:(?:\[(?:\w+ ){0,2}error\][\s:\-]*|(?:\w+ ){0,2}error\s*[:\-]+)\s*)?(?:there was )?"
)
_EMPHASIS = re.compile(r"[*`]+|\b_+|_+\b")
_HINTS = tuple(
    "error|limit|time|overload|unavail|gateway|quota|api|upstream|retries|went wrong|filtered|blocked|flagged|reject"
    "|exceeded|failed|length|unable|connect|socket|stream|request|http|status|model|server|rate|memory|stopped|parse|busy"
    "|high|again|exhausted|finish|\u670d\u52a1\u5668".split("|")
)
"""An error message in words contains one of these, or begins with a code."""
_ERROR_FIELDS = ("error", "errors", "error_code", "error_message", "errorMessage", "errorCode")


def is_error_message(text: str) -> bool:
    """Whether a text is a message of a failed call in place of an answer: in words, as JSON, or as an HTML page.

    A status alone ("404 Not Found") is a placeholder: it can be the answer to a question about HTTP.
    """
    text = text.strip()
    if text.startswith("Traceback (most recent call last):"):
        text = text.rsplit("\n", 1)[-1].strip()  # of a client; an exception of a program can be an answer
    if text[:1] == "{" or text[:2] == "[{":
        return len(text) <= _LONGEST_PAGE and "rror" in text and _is_error_object(_decoded(text))
    if text[:1] == "<":
        return len(text) <= _LONGEST_PAGE and _is_error_page(text)
    if len(text) > _LONGEST_ERROR or not any(map(text.lower().__contains__, _HINTS)):
        return False
    plain = " ".join(_EMPHASIS.sub("", text).strip("#>\"' \n").casefold().split())
    if plain.rstrip(".!") in _PHRASES:
        return False
    said = plain[_INTRODUCTION.match(plain).end() :]  # type: ignore[union-attr]  # it matches the empty string
    return any(map(_messages().fullmatch, {plain, said}))


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_error_object(value: Any) -> bool:
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if not isinstance(value, Mapping):
        return False
    if value.get("object") == "error" or value.get("type") == "error":
        return True
    said = (value.get(name) for name in _ERROR_FIELDS)
    is_message = any(each and isinstance(each, str | Mapping | list) for each in said)  # a number: of a measurement
    return is_message and not {"answer", "result", "response"} & value.keys()


_PAGE_TITLE = re.compile(r"<(?:title|h1|h2|body|center)\b[^<>]*>\s*(?:<[^<>]+>\s*)*([^<>]+)", re.IGNORECASE)


def _is_error_page(text: str) -> bool:
    """Whether an HTML page has a status, or the reason of one, as its title or first heading."""
    titles = [" ".join(found.split()).casefold() for found in _PAGE_TITLE.findall(text)]
    return any(
        title.rstrip(".!") in _PHRASES or _STATUS.fullmatch(title) or re.match(rf"(?:error )?{_CODE}\b", title)
        for title in titles
    )


_WORDS = re.compile(
    r"[\[(<\"'*_`]*(?:none|null|nil|nan|n\.?a\.?|undefined|unset|empty|blank|todo|placeholder"
    r"|(?:no|empty) (?:value|output|response|result|content|text|string)|object object"
    r"|nullptr|your answer(?: here)?|insert answer(?: here)?|answer here)[\])>\"'*_`]*[.!;]*"
)
_MARKS = re.compile(r"[*_#~`|\u2022\"'\s]+|\{\s*\}|\[\s*\]|\(\s*\)|<\s*>")

_LONGEST_ANNOUNCEMENT = 80  # characters
_LABEL = re.compile(r"^(?:(?:final|short) )?(?:answer|response|result|output)\s*:\s*(?=\S)")  # answer: null
_DOTS = r"(?:\s?\.\.\.|\s?\u2026|[.!,])?"
_UNFINISHED = re.compile(
    r"(?=.*\b(?:answers?|here|following|response|results?|solution)\b)[^:]*\w\s?:"  # Here is the answer:
    r"|(?:(?:so|thus|therefore|hence),? )?(?:the |my )?(?:(?:final|correct) )?answer is"
    rf"|(?:hmm+|thinking|loading|processing(?: your request)?|generating(?: (?:a )?response)?){_DOTS}"
    rf"|(?:please wait|(?:just )?(?:one|a) (?:moment|second)(?:,? please)?|let me (?:check|think|see)\b[^.:,]*){_DOTS}"
    r"|\[?(?:redacted|refused|tbd|tba)\]?[.!]*|undefined undefined|\[object \w+\]"
    r"|\{\{[^{}]*\}\}|\{(?:answer|response|result|output|text|value|question|content)\}|\$\{\w+\}|%s"
    r"|[\[<](?:your|insert)\b[^\[\]<>]*[\]>]"
)
_CALL = re.compile(r"<tool_calls?>|<function[_=]|<\|tool|\[TOOL_CALLS\]")
_CALL_FIELDS = (
    {"name", "arguments"},
    {"name", "parameters"},
    {"tool_calls"},
    {"function_call"},
    {"tool", "tool_input"},
)
_FAILED_FIELDS = ({"detail"}, {"message"}, {"code", "message"})
_BESIDE = {"confidence", "score", "probability", "reason", "reasoning", "explanation", "sources", "citations"}
_REASONING = re.compile(r"<(thinking|reasoning|thought|scratchpad)>", re.IGNORECASE)


def _is_only_reasoning(text: str) -> bool:
    if text.startswith("<|channel|>analysis"):
        return "<|channel|>final" not in text
    found = _REASONING.match(text)
    if found is None:
        return False
    _, closed, answer = text.casefold().rpartition(f"</{found[1].casefold()}>")
    return not closed or not answer.strip()


def _is_empty_object(value: Any) -> bool:
    """Whether a JSON object is a tool call, says that something failed, or has no value besides the reason for this."""
    if not isinstance(value, Mapping) or not value.keys() - set(_ERROR_FIELDS):
        return False
    if any(value.keys() == names for names in (*_CALL_FIELDS, *_FAILED_FIELDS)):
        return True
    if value.get("status") == "error" or value.get("success") is False:
        return True
    return all(_is_empty(each) for name, each in value.items() if str(name).casefold() not in _BESIDE)


def _is_empty(value: Any) -> bool:
    return value in (None, "", [], {}) or (isinstance(value, str) and (not value.strip() or is_refusal(value)))


_NAMES = ("Na", "Nan")  # sodium, a first name


def is_placeholder(answer: str) -> bool:
    """Whether an answer may stand for a missing one: `None`, `null`, `NaN`, `{}`, `**`, a tag, an HTTP status alone.

    Also what is left before there is an answer: an announcement ("The answer is:"), "Loading...", a template that
    nobody filled in, a tool call, a reasoning block of another tag than `<think>`, and JSON whose values are empty.
    """
    text = answer.strip()
    if text in _NAMES or len(text) > _LONGEST_PAGE:
        return False
    if _CALL.match(text) or _is_only_reasoning(text) or (text[:1] == "{" and _is_empty_object(_decoded(text))):
        return True
    plain = _LABEL.sub("", " ".join(text.casefold().split()))
    if len(plain) <= _LONGEST_ANNOUNCEMENT and _UNFINISHED.fullmatch(plain):
        return True
    if not plain or len(plain) > _LONGEST_PLACEHOLDER:
        return False
    bare = plain.strip("*_`\"'. !")
    return bool(
        _WORDS.fullmatch(plain)
        or _MARKS.fullmatch(plain)
        or _TAG.fullmatch(plain)
        or bare in _PHRASES
        or _STATUS.fullmatch(bare)
    )
