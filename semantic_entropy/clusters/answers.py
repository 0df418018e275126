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
from semantic_entropy.clusters.missing_answers import has_no_text, is_error_message, is_placeholder
from semantic_entropy.clusters.refusals import is_refusal
from semantic_entropy.errors import InputError, SemanticEntropyError, nearest
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


_INVISIBLE = "".join(
    (
        *" \t\n\r\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff",  # spaces of no width, marks of direction
        *map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2061, 0x2070))),  # controls
        *"\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u2800\u3164\uffa0",  # blanks that are letters or symbols
        *map(chr, range(0xE0000, 0xE0080)),  # tags
        *map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))),  # they choose a form of the character before
    )
)


def whole(response: str) -> str | None:
    """The whole text; None for a refusal, an error message, and markup without text."""
    text = response.strip()
    if not text.strip(_INVISIBLE) or is_refusal(text) or has_no_text(text) or is_error_message(text):
        return None
    return text


def last_line(response: str) -> str | None:
    """The last line that is not empty; a line of invisible characters is empty."""
    lines = [line for line in response.splitlines() if line.strip().strip(_INVISIBLE)]
    return whole(lines[-1]) if lines else None


_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)")
_BOX_BARE = re.compile(r"\\boxed\s+([^\s{}$\\.,;]+)")


def boxed(response: str) -> str | None:
    r"""The content of the last `\boxed{...}` (or `\fbox`, or `\boxed 7`) that is complete and not empty.

    None if the box is a refusal: `\boxed{\text{I don't know}}`.
    """
    box = last_box(response)
    return box if box is None or box[:1].isdigit() or not is_refusal(box) else None


def last_box(response: str) -> str | None:
    """The content of the last box that is complete and not empty, also if it is a refusal."""
    last = max(response.rfind("\\boxed{"), response.rfind("\\fbox{"))
    if last != -1:  # the last box is nearly always complete: try it before reading the whole text
        start = response.index("{", last)
        end = response.find("}", start)
        plain = response[start + 1 : end].strip() if end != -1 else ""
        if plain and "{" not in plain and "\\" not in plain and "$" not in plain and plain.strip(_INVISIBLE):
            return plain
        shallow = _SHALLOW.match(response, start)
        for opened, end in [(start, shallow.end() - 1)] if shallow else _braces(response, start):
            if opened == start and not _EMPTY.fullmatch(response, start + 1, end):
                return response[start + 1 : end].strip()
    return _any_box(response)


_SHALLOW = re.compile(
    r"\{(?:[^{}\\]++|\\.|\{(?:[^{}\\]++|\\.)*+\})*+\}", re.DOTALL
)  # a pair with pairs in it, no deeper
_EMPTY = re.compile(  # a box with nothing but spaces, and braces or delimiters without content
    rf"(?:[\s${{}}~{_INVISIBLE}]|\\[,;:! ]|\\q?quad(?![a-zA-Z])|\\(?:text|mathrm|mbox)\s*\{{\s*\}})*"
)


def _any_box(response: str) -> str | None:
    """Like `boxed`, but slower: also works if the last box is cut off, empty, or without braces."""
    openings = {match.end() for match in _BOX.finditer(response)}
    complete = [(start, end) for start, end in _braces(response) if start in openings] if openings else []
    for start, end in sorted(complete, reverse=True):
        if not _EMPTY.fullmatch(response, start + 1, end):
            return response[start + 1 : end].strip()
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
    r"(?<![A-Za-z0-9\u00c0-\u024f\u0370-\u04ff])(?<![A-Za-z0-9]_)(?<!\d\.)"  # not in a word or a number
    r"(?P<sign>(?<![\d)\]])[-+\u2212])?"  # a sign, unless it is the minus of a difference
    rf"(?:\\[dtc]?frac\s?\{{(?P<above>\d+)\}}\s?\{{(?P<below>\d+)\}}"
    r"|(?P<whole>\d{1,15}) (?P<top>\d{1,9})/(?P<bottom>\d{1,9})"
    r"|(?P<european>\d{1,3}(?:(?:\.\d{3}){2,}(?:,\d+)?|(?:\.\d{3})+,\d+(?![\d,])))"
    rf"|(?:(?P<grouped>[1-9]\d{{0,2}}(?:(?:,|\{{,\}})\d{{3}})+(?!\d)|[1-9]\d{{0,2}}(?:(?:{_SPACE}|['\u2019])\d{{3}})+(?!\d)"
    r"|[1-9]\d?(?:,\d{2})+,\d{3}(?!\d)|\d+)"  # 12,34,567 in India
    r"(?P<decimals>\.\d+|(?:,|\{,\})\d{1,2}(?![\d,])|(?<=(?<!\d)0)(?:,|\{,\})\d+(?![\d,]))?|(?P<point>(?<!\.)\.\d+))"
    r"(?P<exponent>[eE][-+]?\d+)?"
    r"(?:\s?(?:[xX*\u00d7\u00b7]|\\times|\\cdot)\s?10\s?\^\s?\{?(?P<ten>[-\u2212]?\d{1,4})\}?"
    r"|\s?\^\s?\{?(?P<power>[-\u2212]?\d{1,4})\}?)?"
    r"(?P<over>/\d+)?)(?P<percent>\s?(?:\\?%|(?:percent|per\scent|pct)\b))?"
    r"(?:\s?(?P<scale>thousand|million|billion|trillion|mn|bn|lakh|lac|crore)s?\b|(?P<suffix>[kKM])\b|(?P<money>[mBbT])\b)?"
)
_SEPARATORS = re.compile(r"\D+")
_SCALES = {
    "thousand": 3,
    "million": 6,
    "billion": 9,
    "trillion": 12,
    "k": 3,
    "m": 6,
    "mn": 6,
    "b": 9,
    "bn": 9,
    "t": 12,
} | {
    "lakh": 5,
    "lac": 5,
    "crore": 7,
}
_CURRENCY = (
    r"(?:(?:US|A|C|NZ|HK)?[$\u20ac\u00a3\u00a5\u20b9\u20bd\u20a9]|\\\$"
    r"|(?:USD|EUR|GBP|JPY|CHF|INR|CAD|AUD|CNY|RMB|Rs\.?)(?=\s?\d))"
)
_MINUS = re.compile(  # a minus before a currency sign, in words, or with a space after it
    rf"(?<![\d)\]\w])[-\u2212]\s?(?P<currency>{_CURRENCY})\s?(?=\.?\d)"
    rf"|(?<![\w)\]])(?<![\d)\]]\s)(?:minus|negative)\s(?P<named>{_CURRENCY})?\s?(?=\.?\d)"
    r"|(?:(?<=[=:])\s{0,3}|\A)[-\u2212]\s(?=\.?\d+\.?\d*\s*(?:\Z|\n))",
    re.IGNORECASE,
)
_CODE = re.compile(rf"(?<![A-Za-z])(?:{_CURRENCY})(?=\d)")
_HEXADECIMAL = re.compile(r"(?<![\w.])0(?:[xX](?P<hex>[0-9a-fA-F]{1,16})|[bB](?P<binary>[01]{1,64}))(?!\w)")
_UNDERSCORES = re.compile(r"(?<![\w.])\d{1,3}(?:_\d{3})+(?!\w)")
_COMMAND = re.compile(r"(\\[a-zA-Z]+)(?=\d)")  # \times10
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_DAY = r"(?:\d{1,2}\s?[-\u2013]\s?)?(?:[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?(?![\d.,:/]*\d)"
_DATES_AND_TIMES = re.compile(  # 5 January, June 5, 3 pm, (555) 123-4567; the year of a date is a number
    rf"(?<![\d.,])\b{_DAY}\s(?:of\s)?{_MONTH}|\b{_MONTH}\s{_DAY}"
    r"|(?<![\d.,:])\d{1,2}\s?(?:[aApP]\.?[mM]\b|o['\u2019]clock\b)|(?:\d{4}\u5e74)?\d{1,2}\u6708\d{1,2}\u65e5"
    r"|(?:\(\d{3}\)\s?|(?<![\d-])\d{3}-)\d{3}-\d{4}(?![\d-])"
)
_SHORT_FRACTION = re.compile(r"\\[dtc]?frac\s*(\d)\s*(\d)")
_MIXED = re.compile(r"(?<![\w.}^/])(\d{1,15})\s*\\[dtc]?frac\s?\{(\d{1,9})\}\s?\{(\d{1,9})\}")
_NO_NUMBER = re.compile(
    r"(?<![\d.])(?:\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?![\d.,/-]?\d)"  # a date
    r"|(?<![\d.:])(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d)?(?![\d:])"  # a time
    r"|(?<![\d.])(?!\d{1,3}(?:\.\d{3}){2,}(?![\d.]))\d+(?:\.\d+){2,}"  # a version
    r"|(?<![A-Za-z0-9_.\\\u00c0-\u04ff])[A-Za-z\u00c0-\u024f\u0370-\u04ff]+[-_]?\d\w*(?:\.\d+)*"  # H2O, COVID-19, v2.0
    r"|(?:\u00b1|\+\s?/\s?[-\u2212]|\\pm)\s?[\d.,]*\d"  # the error of 5 +/- 2
    r"|\bout\s+of\s+(?:(?:a|an|the|total|possible|of)\s+){0,4}[\d.,]*\d"  # the total in 5 out of 10
    r"|(?:\u221a|\\sqrt)\s?[({]?\s?\d+(?:\.\d+)?"  # a root
    r"|(?<!\w)\d+_\{?\d+\}?|_\{\d+\}",  # a base, an index
    re.IGNORECASE,
)
_SUPERSCRIPTS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-")
_SUPERSCRIPT = re.compile(r"(?<=\d)[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+")
_FRACTION = re.compile(r"(?P<whole>\d?)\s?(?P<fraction>[\u00bc-\u00be\u2150-\u215e])")
_SIGNS = str.maketrans("\u066b\u066c\uff05\uff0e\uff0d\u2044", ".,%.-/")
_LONGEST = 100_000  # characters
_LONGEST_POWER = 40  # digits: a longer power stays as it is written


def number(response: str) -> str | None:
    r"""The last number. It may have a sign, decimals, an exponent, a fraction bar or %.

    Other writings become plain: `9,500`, `9{,}500`, `9\,500`, `9 500`, `9'500`, `3,50,000`, `1_000` and `1.234.567`
    lose their thousands separators, `3,14` is 3.14, `0,125` is 0.125, `12 percent` is 12%, `3 1/2` is 7/2,
    `\frac{1}{6}` is 1/6, `2.5 million` and `$2.5M` are 2500000, `2.5 lakh` is 250000, `3k` is 3000, `3 x 10^8` is 3e8,
    `10^6` is 1000000, `0x1F` is 31, `-$5` and `minus 5` are -5, and digits of other scripts are 0 to 9.

    No number: the day of a date (the year of `5 January 2020` is a number), a date in digits, a time (`3 pm`), a
    telephone number, a version or a name that begins with letters (`H2O`, `COVID-19`), digits under a root, of an
    error (`+/- 2`), or after "out of".
    Of a response of more than 100,000 characters only the end is read.
    """
    response = response[-_LONGEST:]
    if not response.isascii():
        response = _in_ascii(response)
    response = _NO_NUMBER.sub(" \u25a1 ", _rewritten(_DATES_AND_TIMES.sub(" \u25a1 ", response)))
    last = deque(_NUMBER.finditer(response), maxlen=1)
    if last and (last[0]["decimals"] or "").startswith(",") and response[: last[0].start()].endswith(","):
        return last[0]["decimals"].removeprefix(",")  # 1,2,3 is a list
    return _plain_number(last[0]) if last else None


def _in_ascii(text: str) -> str:
    """The text with the digits 0 to 9, with `^` for raised digits and `1/2` for the sign of a half."""
    text = _SUPERSCRIPT.sub(lambda raised: "^" + raised[0].translate(_SUPERSCRIPTS), text)
    text = _FRACTION.sub(_plain_fraction, text)
    return "".join(map(_digit, text)).translate(_SIGNS)


def _plain_fraction(found: re.Match[str]) -> str:
    return found["whole"] + " " + unicodedata.normalize("NFKC", found["fraction"]).replace("\u2044", "/")


def _rewritten(text: str) -> str:
    """The text with one writing of signs, currency codes, fractions and integers."""
    if "frac" in text:
        text = _MIXED.sub(r"\1 \2/\3", _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text))
    text = _MINUS.sub(lambda found: "$-" if found["currency"] or found["named"] else " -", text)
    text = _CODE.sub("$", text)
    text = _HEXADECIMAL.sub(lambda found: str(int(found["hex"] or found["binary"], 16 if found["hex"] else 2)), text)
    text = _UNDERSCORES.sub(lambda found: found[0].replace("_", ""), text)
    return _COMMAND.sub(r"\1 ", text)


def _digit(char: str) -> str:
    value = unicodedata.decimal(char, None)
    return char if value is None else str(value)


def _plain_number(found: re.Match[str]) -> str:
    percent = "%" if found["percent"] else ""
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
    scale = found["scale"] or found["suffix"] or (found["money"] if _is_money(found) else None)
    if scale and "/" not in text and "^" not in text:
        scaled = Decimal(text).scaleb(_SCALES[scale.lower()])
        text = format(scaled.quantize(Decimal(1)) if scaled == scaled.to_integral_value() else scaled, "f")
    return text


def _is_money(found: re.Match[str]) -> bool:
    return found.string[: found.start()][-2:].rstrip()[-1:] in tuple("$\u20ac\u00a3\u00a5\u20b9")


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
    box = last_box(response)
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


WHOLE_TEXT = r"extract='regex:(?s)\A.+\Z'"
"""The option with which every text is an answer."""


def is_doubted(answer: str | None, extract: str) -> bool:
    """Whether an answer may stand for a missing one, such as `None`.

    Args:
        answer: the extracted answer; None: invalid, and not doubted.
        extract: the extractor, as in `Provenance.extract`. A regular expression or a function of the user is believed.
    """
    named = extract in EXTRACTORS or extract.startswith("default of ")
    return answer is not None and named and is_placeholder(answer)


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
        return _after_reasoning(_unless_error(EXTRACTORS[extract]))
    raise InputError(
        f"extract={extract!r} is unknown.{nearest(extract, EXTRACTORS)} "
        f"Use one of {', '.join(EXTRACTORS)}, 'regex:PATTERN', or a function from response to answer."
    )


def _unless_error(extract: Callable[[str], str | None]) -> Extractor:
    return lambda response: None if is_error_message(response) else extract(response)


def _after_reasoning(extract: Extractor, *, check: bool = False) -> Extractor:
    def run(response: str) -> str | None:
        try:
            answer = extract(strip_reasoning(response))
        except (Exception, SystemExit) as error:
            if not check or isinstance(error, SemanticEntropyError):
                raise
            raise InputError(
                f"extract: {getattr(extract, '__name__', extract)!r} raised {type(error).__name__}: {error} for "
                f"{response[:80]!r}; return None if there is no answer"
            ) from error
        if check and answer is not None and not isinstance(answer, str):
            raise InputError(
                f"extract: {getattr(extract, '__name__', extract)!r} returned {answer!r} for {response[:80]!r}; "
                "an extractor returns the answer as a str, or None if there is no answer"
            )
        return answer if answer is not None and answer.strip().strip(_INVISIBLE) else None

    return run
