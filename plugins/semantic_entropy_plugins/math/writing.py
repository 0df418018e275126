r"""Rewrites an answer in one plain form of LaTeX, so that the exact grammar and math-verify read what people mean.

    dressing      **73**, `42`, #### 29, = 42, \approx 3.14, \color{red}{5}, \text{The answer is } 5
    characters    full-width signs, superscripts, fractions such as one-half, multiplication signs, 1、2
    numbers       9{,}500  12\,345  1 234 567  1.234.567,8  3{,}14  3 x 10^8  3 1/2  0.\overline{3}  0.333...  12th
    functions     sqrt(2), sin 30 (with a degree sign), pi

Each rule is one pass of a regular expression without nested repetition. Nothing is evaluated.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction

CURRENCY = "\ue000"
"""A dollar sign that is a currency, not a delimiter of mathematics."""

_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F) if code != 0xFF04}
_CHARACTERS = str.maketrans(
    _FULL_WIDTH
    | {"\u2212": "-", "\u2013": "-", "\u00d7": "*", "\u00b7": "*", "\u22c5": "*", "\u00f7": "/", "\u2044": "/"}
    | {"\u03c0": "\\pi ", "\u221e": "\\infty ", "\u2264": "\\le ", "\u2265": "\\ge ", "\u2260": "\\ne "}
    | {"\u2208": "\\in ", "\u222a": "\\cup ", "\u2229": "\\cap ", "\u211d": "\\mathbb{R}", "\u00b1": "\\pm "}
    | {
        "\u2248": "\\approx ",
        "\u2243": "\\approx ",
        "\u2245": "\\approx ",
        "\u2234": "\\therefore ",
        "\u2205": "\\emptyset ",
    }
    | {
        "\u2216": "\\setminus ",
        "\u2026": "...",
        "\u2030": "\\text{ per mille}",
        "\u03b8": "\\theta ",
        "\u2192": "\\to ",
    }
    | dict.fromkeys("\u00a0\u202f\u2009\u2007\u3000", " ")
    | {
        "\u3001": ",",
        "\u3002": ".",
        "\u2019": "'",
        "\uff04": CURRENCY,
        "\u00ba": "\u00b0",
        "\u3010": "[",
        "\u3011": "]",
    }
    | dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u202d\u202e", "")
)
_SUPERSCRIPTS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-")
_SUBSCRIPTS = str.maketrans("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789")
_BASES = re.compile("(?<=\\d)[\u2080-\u2089]+")  # 52 in base 8
_EXPONENTS = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+")

_Rule = tuple[tuple[str, ...], re.Pattern[str], "str | Callable[[re.Match[str]], str]"]


def _decimal(found: re.Match[str]) -> str:
    r"""`3{,}14` is 3.14; `9{,}500` is 9500."""
    digits, groups = found[1], found[2].split("{,}")[1:]
    whole = all(len(group.strip()) == 3 for group in groups) and len(digits) <= 3
    return digits + "".join(group.strip() for group in groups) if whole else found[0].replace("{,}", ".")


def _joined(found: re.Match[str]) -> str:
    return re.sub(r"\D+", "", found[0])


def _european(found: re.Match[str]) -> str:
    return found[0].replace(".", "").replace(",", ".")


def _mixed(found: re.Match[str]) -> str:
    """A whole number and a proper fraction are a sum."""
    whole, above, below = found[1], found[2], found[3]
    if len(above) > 9 or len(below) > 9 or not 0 < int(above) < int(below):
        return found[0]
    return rf"({whole}+\frac{{{above}}}{{{below}}})"


def _repeating(whole: str, fixed: str, period: str) -> str:
    r"""The fraction of a decimal whose digits `period` repeat: 0.1(6) is \frac{1}{6}."""
    nines = 10 ** len(period) - 1
    value = Fraction(int(whole or 0)) + Fraction(int(fixed or "0"), 10 ** len(fixed))
    value += Fraction(int(period), nines * 10 ** len(fixed))
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _overlined(found: re.Match[str]) -> str:
    return _repeating(found[1], found[2], found[3])


def _continued(found: re.Match[str]) -> str:
    """`0.333...` repeats its last digits, if these stand at least three times (or twice, if they are several)."""
    whole, digits = found[1], found[2]
    for length in range(1, len(digits) // 2 + 1):
        period = digits[-length:]
        times = len(digits) // length
        needed = 3 if length == 1 else 2
        if times >= needed and digits.endswith(period * needed):
            fixed = digits
            while fixed.endswith(period):
                fixed = fixed[:-length]
            return _repeating(whole, fixed, period)
    return f"{whole}.{digits}"


def _chosen(found: re.Match[str]) -> str:
    return str(math.comb(int(found[1]), int(found[2])))


def _system(found: re.Match[str]) -> str:
    """The equations of a system, as a list."""
    return ", ".join(row.strip(" ,") for row in found[1].replace("&", " ").split("\\\\") if row.strip())


_ORDINAL = r"(?:st|nd|rd|th)"
_DOTS = r"(?:\.\.\.+|\\[lc]?dots(?![a-zA-Z]))"
_GROUP_SPACE = r"(?:\\[,;:! ]|\\thinspace(?![a-zA-Z])|~|[ '])"
_STYLES = (
    "displaystyle|textstyle|scriptstyle|limits|[bB]igg?[lrm]?|tiny|small|normalsize|large|Large|LARGE|huge|Huge|bf|rm|it"
    "|boldmath|mathstrut|left|right|middle|quad|qquad|nonumber|centering|thinspace|noindent"
)
_BOLD = "boldsymbol|mathbf|bm|underline|emph|mathit|mathsf|mathtt|pmb|ensuremath|mathord|uline|underbar"

# Texts, one of which is in every answer that the pattern matches (to save time); the pattern; the replacement.
_RULES: tuple[_Rule, ...] = (
    ((r"\dfrac", r"\tfrac", r"\cfrac"), re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (
        (r"\text", r"\mbox", r"\hbox"),
        re.compile(r"\\(?:textbf|textit|textrm|textsf|texttt|textnormal|mbox|hbox)(?![a-zA-Z])"),
        r"\\text",
    ),
    (("color",), re.compile(r"\\(?:textcolor|colorbox)\s*\{[^{}]*\}"), r"\\ensuremath"),
    (("color",), re.compile(r"\\color\s*(?:\[[^\[\]]*\])?\s*\{[^{}]*\}"), " "),
    (("\\",), re.compile(rf"\\(?:{_BOLD})\s*\{{([^{{}}]*)\}}"), r"\1"),
    (("\\",), re.compile(rf"\\(?:{_STYLES})(?![a-zA-Z])"), " "),
    ((r"\text", r"\mathrm"), re.compile(r"\\(?:text|mathrm)\s*\{\s*([-+]?[\d.,/]+)\s*\}"), r"\1"),
    ((r"\leq", "<=", "=<"), re.compile(r"\\leqslant(?![a-zA-Z])|\\leq(?![a-zA-Z])|<=|=<"), r"\\le "),
    ((r"\geq", ">="), re.compile(r"\\geqslant(?![a-zA-Z])|\\geq(?![a-zA-Z])|>="), r"\\ge "),
    ((r"\neq", "!=", r"\not"), re.compile(r"\\neq(?![a-zA-Z])|!=|\\not\s*="), r"\\ne "),
    ((r"\{",), re.compile(r"\\\{\s*\\\}"), r"\\emptyset "),
    # a set whose braces are not escaped; {1,000} is a number
    (("{",), re.compile(r"^\{(?!\d{1,3}(?:,\d{3})+\})([^{}=]*[,;][^{}=]*)\}$"), r"\\{\1\\}"),
    ((r"{cases}",), re.compile(r"^\\begin\{cases\}(.+)\\end\{cases\}$", re.DOTALL), _system),
    ((r"\varnothing",), re.compile(r"\\varnothing(?![a-zA-Z])"), r"\\emptyset"),
    ((r"\lt",), re.compile(r"\\lt(?![a-zA-Z])"), "<"),
    ((r"\gt",), re.compile(r"\\gt(?![a-zA-Z])"), ">"),
    ((r"\backslash", r"\smallsetminus"), re.compile(r"\\(?:backslash|smallsetminus)(?![a-zA-Z])"), r"\\setminus "),
    (
        ("circ", r"\degree", "^", "\u00b0"),
        re.compile(
            r"\\degree(?![a-zA-Z])|\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![a-zA-Z])|\^\s*\{?\s*o\s*\}|\^\s*\u00b0|\^\{o\}"
        ),
        "\u00b0",
    ),
    (("sqrt", "\u221a"), re.compile(r"(?:(?<![\\a-zA-Z])sqrt|\u221a)\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    # the root of the whole number, as people mean it
    (("sqrt", "\u221a"), re.compile(r"(?:(?<![\\a-zA-Z])sqrt|\u221a)\s*(\d+(?:\.\d+)?)"), r"\\sqrt{\1}"),
    (("sqrt", "\u221a"), re.compile(r"(?<![\\a-zA-Z])sqrt(?![a-zA-Z])|\u221a"), r"\\sqrt "),
    (("pi",), re.compile(r"(?<![\\a-zA-Z])pi(?![a-zA-Z])"), r"\\pi"),
    (
        ("sin", "cos", "tan", "cot", "sec", "csc", "ln", "log"),
        re.compile(r"(?<![\\a-zA-Z{])(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log)(?![a-zA-Z])"),
        r"\\\1 ",
    ),
    (("**",), re.compile(r"\*\*"), "^"),
    # words
    (
        (" root", "root "),
        re.compile(r"(?<![\\\w])(?:the\s+)?cube\s+root\s+of\s+(\d+(?:\.\d+)?)(?![\d/])"),
        r"\\sqrt[3]{\1}",
    ),
    (
        (" root", "root "),
        re.compile(r"(?<![\\\w])(?<!cube )(?:the\s+)?(?:square\s+)?root\s+(?:of\s+)?(\d+(?:\.\d+)?)(?![\d/])"),
        r"\\sqrt{\1}",
    ),
    (("half",), re.compile(r"(?<![\w/-])half\s+(?:of\s+)?(\d+(?:\.\d+)?)(?![\d/.])"), r"\\frac{\1}{2}"),
    (("reciprocal",), re.compile(r"(?:the\s+)?reciprocal\s+of\s+(\d+)(?![\d/.])"), r"\\frac{1}{\1}"),
    (("negative of",), re.compile(r"(?:the\s+)?negative\s+of\s+(?=\d)"), "-"),
    (("negative ", "minus "), re.compile(r"^(?:negative|minus)\s+(?=[\d\\])"), "-"),
    (("squared",), re.compile(r"((?<![\w.])(?:\d+(?:\.\d+)?|[a-zA-Z]))\s+squared\b"), r"\1^2"),
    (("cubed",), re.compile(r"((?<![\w.])(?:\d+(?:\.\d+)?|[a-zA-Z]))\s+cubed\b"), r"\1^3"),
    (("factorial",), re.compile(r"(?<![\w.])(\d+)\s+factorial\b"), r"\1!"),
    (("to the power",), re.compile(r"(?<![\w.])(\d+)\s+to\s+the\s+power\s+(?:of\s+)?(-?\d+)"), r"\1^{\2}"),
    (("choose",), re.compile(r"(?<![\w.])(\d{1,3})\s*\\?choose\s*(\d{1,3})(?![\d.])"), _chosen),
    (("+-", "+/-"), re.compile(r"\+/?-(?=\s*[\d\\])"), r"\\pm "),
    # numbers
    (("{,}",), re.compile(r"(?<![\d.])(\d+)((?:\{,\}\s?\d+)+)(?![\d{])"), _decimal),
    ((r",\!",), re.compile(r",\\!\s*"), ","),
    (
        ("\\", "~", "'", " "),
        re.compile(rf"(?<![\d.,^_{{])[1-9]\d{{0,2}}(?:{_GROUP_SPACE}\d{{3}})+(?![\d/'])"),
        _joined,
    ),
    (
        (".",),
        re.compile(r"(?<![\d.,])\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?(?![\d.])|(?<![\d.,])\d{1,3}\.\d{3},\d{1,2}(?![\d,])"),
        _european,
    ),
    ((",",), re.compile(r"(?<![\d.,])[1-9]\d?(?:,\d{2}){1,4},\d{3}(?![\d,])"), _joined),  # 1,00,000 in India
    # a decimal comma: 0,25 and 0,125; 0,1 is a list
    ((",",), re.compile(r"(?<![\d.,])0,(?=\d{2,30}(?![\d,.]))"), "0."),
    (("1 in ",), re.compile(r"^1 in (\d{1,12})$"), r"\\frac{1}{\1}"),
    (("x", "X"), re.compile(r"(\d)\s*[xX]\s*(?=10\s*\^)"), r"\1*"),
    (
        (r"\overline", r"\bar", r"\dot"),
        re.compile(r"(?<![\d.])(\d{0,30})\.(\d{0,30})\\(?:overline|bar|dot)\s*\{\s*(\d{1,30})\s*\}"),
        _overlined,
    ),
    # 0.1(6) and 1.(3); 2.5(3) is a product
    (
        (".(",),
        re.compile(r"(?<![\d.])(\d{1,30})\.\((\d{1,30})\)"),
        lambda found: _repeating(found[1], "", found[2]),
    ),
    (("(",), re.compile(r"(?<![\d.])(0?)\.(\d{1,30})\((\d{1,30})\)"), _overlined),
    (("...", r"\dots", r"\ldots", r"\cdots"), re.compile(rf"(?<![\d.])(\d{{0,30}})\.(\d{{2,60}}){_DOTS}"), _continued),
    ((r"\frac",), re.compile(r"\\frac\s*(\d)\s*(\d)"), r"\\frac{\1}{\2}"),
    ((r"\frac",), re.compile(r"\\frac\s*(\d)\s*\{"), r"\\frac{\1}{"),
    ((r"\frac",), re.compile(r"(?<![\w.}^\\/*])(\d+)\s*\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}"), _mixed),
    (("/",), re.compile(r"(?<![\w.}^\\/*-])(\d+)(?:\s+and\s+|\s+)(\d+)\s*/\s*(\d+)(?![\d.])"), _mixed),
    (("/",), re.compile(r"(?<=-)(?<![\d)}]-)(\d+)(?:\s+and\s+|\s+)(\d+)\s*/\s*(\d+)(?![\d.])"), _mixed),
    (
        ("^",),
        re.compile(rf"(\d)\s*\^\s*\{{\s*(?:\\(?:text|mathrm)\s*\{{\s*{_ORDINAL}\s*\}}|{_ORDINAL})\s*\}}"),
        r"\1",
    ),
    (
        ("st", "nd", "rd", "th"),
        re.compile(rf"(\d)\s*(?:\^\s*)?(?:\\(?:text|mathrm|textsuperscript)\s*\{{\s*{_ORDINAL}\s*\}}|{_ORDINAL}\b)"),
        r"\1",
    ),
)
_DROPPED = re.compile(r"(?<!\\)\\[()\[\],!;: ]|~")
_DELIMITED = re.compile(r"\$(?=[^\s$])([^$]*[^\s$])\$(?!\d)")
_MONEY = re.compile(r"\$(?=\s*\.?\d)")
_MONEY_AFTER = re.compile(r"(?<=\d)\s?\$\s*\.?$")  # 15 $
_MARKDOWN = re.compile(r"(\*{1,3}|_{2,3}|`{1,3})(?=\S)(.*\S)\1", re.DOTALL)
_LEADING = re.compile(
    r"\s*(?:#{1,6}(?=[\s\d$\\-])|=|:|\\sim(?=\s*[-\d.\\])|\\(?:approx|simeq|therefore|Rightarrow|implies)(?![a-zA-Z])|~"
    r"|(?:\\text\s*\{)?\s*(?:therefore,?\s*)?(?:the\s+)?(?:final\s+)?answer\s*(?:is\b\s*:?|:|=)\s*\}?"
    r"|(?:\\text\s*\{)?\s*(?:approximately|about|around|roughly|exactly|nearly|almost|approx\.?|circa|ca\.|c\.)\s*"
    r"(?:\}|(?=[\d\\$.(\s-])))",
    re.IGNORECASE,
)
_CONNECTIVES = (
    (
        re.compile(r"\\text\s*\{\s*(?:或者?|ou|oder|или|o|または|또는|أو|या)\s*\}|或者?|または|또는"),
        r"\\text{ or }",
    ),
    (re.compile(r"\\text\s*\{\s*(?:和|与|及|且|et|und|y|e|и|と|및|و|और)\s*\}|[和与及且]"), r"\\text{ and }"),
)


_SPACING = re.compile(r"(?<!\\)\\[,;:! ]|~|\\displaystyle(?![a-zA-Z])")
_PLAIN_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+|/[0-9]+)?|\\frac\{[0-9]+\}\{[0-9]+\})")


def clean(text: str) -> str:
    r"""The answer without its dressing, with signs, numbers and roots in LaTeX, and without delimiters and spacing.

    A currency sign becomes `CURRENCY`. Words in `\text{...}` stay.
    """
    spaced = _SPACING.sub(" ", text).strip().replace("\\dfrac", "\\frac")
    if _PLAIN_NUMBER.fullmatch(spaced):
        return spaced  # most answers
    if not text.isascii():
        text = _EXPONENTS.sub(lambda exponent: "^{" + exponent.group().translate(_SUPERSCRIPTS) + "}", text)
        text = _BASES.sub(lambda base: "_{" + base.group().translate(_SUBSCRIPTS) + "}", text)
        text = "".join(map(_spell, text)).translate(_CHARACTERS)
    if "\\text" in text or not text.isascii():
        for pattern, connective in _CONNECTIVES:
            text = pattern.sub(connective, text)
    text = _undressed(text.strip())
    for hints, pattern, replacement in _RULES:
        for hint in hints:
            if hint in text:
                text = pattern.sub(replacement, text)
                break
    return _undressed(_DROPPED.sub(" ", text).strip()).rstrip(" .,;\\").strip()


def _undressed(text: str) -> str:
    """The text without Markdown around the whole, dollar signs of mathematics, and words that introduce an answer."""
    text = text.replace("\\$", CURRENCY).replace("$$", "$")
    for _ in range(4):  # **$42$**, `**42**`
        before = text
        if marked := _MARKDOWN.fullmatch(text):
            text = marked[2].strip()
        introduced = _LEADING.match(text)
        if introduced and introduced.end() < len(text):
            text = text[introduced.end() :].strip()
        if "$" in text:
            text = _DELIMITED.sub(r" \1 ", text).strip()
        if text == before:
            break
    is_money = "$" in text and text.count("$") in (len(_MONEY.findall(text)), len(_MONEY_AFTER.findall(text)))
    return text.replace("$", CURRENCY if is_money else " ").strip()


def _spell(char: str) -> str:
    if unicodedata.category(char) != "No":
        return char
    value = Fraction(unicodedata.numeric(char)).limit_denominator(100)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}" if value.denominator > 1 else char


_TEXT = re.compile(r"\\(?:text|mathrm|operatorname|mathbf)\s*\{([^{}]*)\}")
_TIMES = re.compile(r"\\(?:cdot|times)(?![a-zA-Z])")
_SIGNS = (
    (re.compile(r"\\Omega(?![a-zA-Z])"), "\u03a9"),
    (re.compile(r"\\mu(?![a-zA-Z])\s*"), "\u00b5"),
    (
        re.compile(r"\\(?:pounds|euro|yen)(?![a-zA-Z])"),
        lambda found: {"p": "\u00a3", "e": "\u20ac", "y": "\u00a5"}[found[0][1]],
    ),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\AA(?![a-zA-Z])"), "\u00c5"),
    (re.compile(r"[{}]"), ""),
)


def plain_words(text: str) -> str:
    r"""The words of a cleaned text without LaTeX: `\text{ cm}^{2}` becomes ` cm^2`."""
    text = _TEXT.sub(r"\1", _TIMES.sub("*", text)).replace(CURRENCY, "$")
    for pattern, replacement in _SIGNS:
        text = pattern.sub(replacement, text)
    return text


_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*\u00b0")


def in_radians(cleaned: str) -> str:
    """The text for math-verify, which reads no degrees: an angle of a function in radians, other angles as numbers."""
    if "\u00b0" not in cleaned:
        return cleaned
    if _TRIGONOMETRIC.search(cleaned):
        cleaned = _DEGREES.sub(r"{(\\frac{\1 \\cdot \\pi}{180})}", cleaned)
    return cleaned.replace("\u00b0", " ")


def both_signs(item: str) -> tuple[str, ...]:
    r"""Both values of an item with `\pm`."""
    if "\\pm" not in item and "\\mp" not in item:
        return (item,)
    return (
        re.sub(r"\\pm(?![a-zA-Z])", "+", re.sub(r"\\mp(?![a-zA-Z])", "-", item)),
        re.sub(r"\\pm(?![a-zA-Z])", "-", re.sub(r"\\mp(?![a-zA-Z])", "+", item)),
    )
