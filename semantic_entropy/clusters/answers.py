"""Functions that extract the answer from a response. They return None if the response has no answer.

None is an *invalid* answer. An invalid answer has no meaning, so two empty responses do not agree. The result counts
invalid answers.

Reasoning blocks (`<think>...</think>`) are removed first. If a block is not closed (the model ran out of tokens), all
text after the opening tag is removed. A `</think>` without an opening tag ends a block that the prompt opened.

This module does not interpret units, currencies or formats. The judge does this.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal

from semantic_entropy.clusters.choices import choice_letter
from semantic_entropy.clusters.refusals import is_refusal
from semantic_entropy.errors import InputError, nearest
from semantic_entropy.types import Extractor

_THINK = re.compile(r"<(/?)think>", re.IGNORECASE)


def strip_reasoning(response: str) -> str:
    """The response without its reasoning blocks."""
    if "<" not in response:
        return response
    kept: list[str] = []
    start, inside = 0, False
    for tag in _THINK.finditer(response):
        if tag[1]:
            if not inside:
                kept.clear()  # the prompt opened the block: all text before the tag is reasoning
            start, inside = tag.end(), False
        elif not inside:
            kept.append(response[start : tag.start()])
            inside = True
    return " ".join(kept if inside else [*kept, response[start:]])


def whole(response: str) -> str | None:
    """The whole text; None for a refusal."""
    text = response.strip()
    return None if not text or is_refusal(text) else text


def last_line(response: str) -> str | None:
    """The last line that is not empty."""
    lines = response.strip().splitlines()
    return whole(lines[-1]) if lines else None


_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)")
_BOX_BARE = re.compile(r"\\boxed\s+([^\s{}$\\.,;]+)")


def boxed(response: str) -> str | None:
    r"""The content of the last `\boxed{...}` (or `\fbox`) that is complete and not empty."""
    last = max(response.rfind("\\boxed{"), response.rfind("\\fbox{"))
    if last != -1:  # the last box is nearly always complete: try it before reading the whole text
        start = response.index("{", last)
        end = response.find("}", start)
        plain = response[start + 1 : end].strip() if end != -1 else ""
        if plain and "{" not in plain and "\\" not in plain:
            return plain
        for opened, end in _braces(response, start):
            if opened == start and response[start + 1 : end].strip():
                return response[start + 1 : end].strip()
    return _any_box(response)


def _any_box(response: str) -> str | None:
    """Like `boxed`, but slower: also works if the last box is cut off, empty, or without braces."""
    openings = {match.end() for match in _BOX.finditer(response)}
    complete = [(start, end) for start, end in _braces(response) if start in openings] if openings else []
    for start, end in sorted(complete, reverse=True):
        content = response[start + 1 : end].strip()
        if content:
            return content
    bare = _BOX_BARE.findall(response)
    return bare[-1] if bare else None


def _braces(text: str, begin: int = 0) -> Iterator[tuple[int, int]]:
    """Yield the positions of each pair of braces, in one pass. Escaped braces are ordinary characters."""
    opened: list[int] = []
    for match in _BRACE.finditer(text, begin):
        if match.group() == "{":
            opened.append(match.start())
        elif match.group() == "}" and opened:
            yield opened.pop(), match.start()


_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

_SPACE = r"(?:[ \u00a0\u202f\u2009]|\\[,; ])"
_NUMBER = re.compile(
    r"(?<![\w.])"  # not inside a word or another number
    r"(?P<sign>(?<![\d)\]])[-+\u2212])?"  # a sign, unless it is the minus of a difference
    rf"(?:\\[dtc]?frac\s?\{{(?P<above>\d+)\}}\s?\{{(?P<below>\d+)\}}"
    r"|(?P<whole>\d{1,15}) (?P<top>\d{1,9})/(?P<bottom>\d{1,9})"
    r"|(?P<european>\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?)"
    rf"|(?:(?P<grouped>\d{{1,3}}(?:(?:,|\{{,\}})\d{{3}})+(?!\d)|[1-9]\d{{0,2}}(?:{_SPACE}\d{{3}})+(?!\d)|\d+)"
    r"(?P<decimals>\.\d+|(?:,|\{,\})\d{1,2}(?![\d,]))?|(?P<point>\.\d+))"
    r"(?P<exponent>[eE][-+]?\d+)?"
    r"(?:\s?(?:[xX*\u00d7\u00b7]|\\times|\\cdot)\s?10\s?\^\s?\{?(?P<ten>[-\u2212]?\d{1,4})\}?"
    r"|\s?\^\s?\{?(?P<power>[-\u2212]?\d{1,4})\}?)?"
    r"(?P<over>/\d+)?)%?"
    r"(?:\s?(?P<scale>thousand|million|billion|trillion)\b)?"
)
_GLUED_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?%?")
_SEPARATORS = re.compile(r"\D+")
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SIGNS = str.maketrans("\u066b\u066c\uff05\uff0e\uff0d", ".,%.-")
_LONGEST_POWER = 40  # digits: a longer power stays as it is written


def number(response: str) -> str | None:
    r"""The last number. It may have a sign, decimals, an exponent, a fraction bar or %.

    Other writings become plain: `9,500`, `9{,}500`, `9\,500`, `9 500` and `1.234.567` lose their thousands separators,
    `3,14` is 3.14, `3 1/2` is 7/2, `\frac{1}{6}` is 1/6, `2.5 million` is 2500000, `3 x 10^8` is 3e8, `10^6` is
    1000000, and digits of other scripts are 0 to 9.
    """
    if not response.isascii():
        response = "".join(map(_digit, response)).translate(_SIGNS)
    last = deque(_NUMBER.finditer(response), maxlen=1)
    if last and (last[0]["decimals"] or "").startswith(",") and response[: last[0].start()].endswith(","):
        return last[0]["decimals"].removeprefix(",")  # 1,2,3 is a list
    if last:
        return _plain_number(last[0])
    glued = _GLUED_NUMBER.findall(response)
    return glued[-1].replace(",", "") if glued else None


def _digit(char: str) -> str:
    value = unicodedata.decimal(char, None)
    return char if value is None else str(value)


def _plain_number(found: re.Match[str]) -> str:
    percent = "%" if "%" in found[0] else ""
    return _sign(found) + _unsigned(found) + percent


def _sign(found: re.Match[str]) -> str:
    return "-" if found["sign"] in ("-", "\u2212") else ""


def _unsigned(found: re.Match[str]) -> str:
    if found["above"]:
        return f"{found['above']}/{found['below']}"
    if found["whole"]:
        whole, top, bottom = int(found["whole"]), int(found["top"]), int(found["bottom"])
        return f"{whole * bottom + top}/{bottom}"
    if found["european"]:
        text = found["european"].replace(".", "").replace(",", ".")
    else:
        decimals = (found["decimals"] or "").replace("{,}", ",").replace(",", ".")
        text = found["point"] or _SEPARATORS.sub("", found["grouped"]) + decimals
    text = _raised(text + (found["exponent"] or ""), found)
    if found["scale"] and "/" not in text and "^" not in text:
        scaled = Decimal(text).scaleb(_SCALES[found["scale"]])
        text = format(scaled.quantize(Decimal(1)) if scaled == scaled.to_integral_value() else scaled, "f")
    return text


def _raised(text: str, found: re.Match[str]) -> str:
    if found["ten"]:
        return f"{text}e{int(found['ten'].replace(chr(0x2212), '-'))}"
    if found["power"]:
        power = int(found["power"].replace("\u2212", "-"))
        if text.isdecimal() and power >= 0 and len(text) * power <= _LONGEST_POWER:
            text = str(int(text) ** power)
        else:
            text = f"{text}^{power}"
    return text + (found["over"] or "")


_LETTERS_ALONE = re.compile(r"(?:(?:[A-P]|and|or)(?:\W+|$))+")


def choice(response: str) -> str | None:
    """The multiple-choice letter A-P that the response states, in upper case; see `choices`.

    If the response has a box, only the box is read, and a box with several letters is no answer.
    """
    box = boxed(response)
    if box is None:
        return choice_letter(response)
    text = re.sub(r"\\text\w*\{([^{}]*)\}", r"\1", box).strip()
    letters = set(re.findall(r"\b[A-P]\b", text))
    if len(letters) > 1 and (
        _LETTERS_ALONE.fullmatch(text.lstrip("(*")) or len(set(re.findall(r"\(([A-P])\)", text))) > 1
    ):
        return None
    return choice_letter(text)


def regex(pattern: str) -> Extractor:
    """Return an extractor of the last match of the pattern: its first group, or the match if there is no group."""
    try:
        compiled = re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise InputError(f"extract: {pattern!r} is not a regular expression: {error}") from None

    def extract(response: str) -> str | None:
        found = list(compiled.finditer(response))
        if not found:
            return None
        content: str | None = found[-1].group(1) if compiled.groups else found[-1].group()
        return content.strip() or None if content is not None else None

    return extract


EXTRACTORS: dict[str, Callable[[str], str | None]] = {
    "boxed": boxed,
    "choice": choice,
    "last-line": last_line,
    "number": number,
    "whole": whole,
}


def load_extractor(extract: str | Extractor) -> Extractor:
    """Return an extractor that removes reasoning blocks before it extracts the answer.

    Args:
        extract: a name, such as "boxed"; "regex:PATTERN"; or a function from a response to an answer (None: no answer).

    Raises:
        InputError: no extractor has this name. The message lists the existing names.
    """
    if callable(extract):
        return _after_reasoning(extract, check=True)
    if not isinstance(extract, str):
        raise InputError(f"extract={extract!r} is not usable: pass a name, or a function from response to answer")
    if extract.startswith("regex:"):
        return _after_reasoning(regex(extract.removeprefix("regex:")))
    if extract in EXTRACTORS:
        return _after_reasoning(EXTRACTORS[extract])
    raise InputError(
        f"extract={extract!r} is unknown.{nearest(extract, EXTRACTORS)} "
        f"Use one of {', '.join(EXTRACTORS)}, 'regex:PATTERN', or a function from response to answer."
    )


def _after_reasoning(extract: Extractor, *, check: bool = False) -> Extractor:
    def run(response: str) -> str | None:
        answer = extract(strip_reasoning(response))
        if check and answer is not None and not isinstance(answer, str):
            raise InputError(
                f"extract: {getattr(extract, '__name__', extract)!r} returned {answer!r} for {response[:80]!r}; "
                "an extractor returns the answer as a str, or None if there is no answer"
            )
        return answer if answer is not None and answer.strip() else None

    return run
