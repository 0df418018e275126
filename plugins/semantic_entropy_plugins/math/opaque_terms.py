r"""Replaces notations, of which math-verify drops a part, by symbols of their own.

    \frac{dy}{dx}  \frac{\partial f}{\partial x}   math-verify differentiates a symbol: all derivatives are 0
    y'  f''(x)  A^T                                it drops the mark
    I_2                                            it reads the imaginary unit
    E[X^2]  E[X]^2  P(A|B)                         it multiplies E by what is in the brackets
    \vec a \times \vec b  A \times B  \nabla \cdot F   it reads all as products of numbers
    \gamma                                         it reads \Gamma, the function

A symbol's name depends only on the notation that it replaces, so `y' = 2x` and `2x = y'` stay the same.
"""

from __future__ import annotations

import re
import zlib

_NAME = r"(?:[A-Za-z]|\\[a-zA-Z]+)(?:_(?:\w|\{[^{}]{1,12}\}))?"
_BRACES = r"\{(?:[^{}]|\{[^{}]*\})*\}"
_D = r"(?:d(?![_a-z]{2})|\\partial(?![a-zA-Z]))"
_DERIVATIVE = re.compile(
    rf"\\frac\s*\{{\s*{_D}(?!_)\s*(?:[^{{}}]|{_BRACES}){{1,30}}?\}}\s*\{{\s*{_D}(?!_)\s*(?:[^{{}}]|\{{\d\}}){{1,20}}\}}"
)
_QUOTIENT = re.compile(r"(?<![\w\\])(d(?:\^\d)?[a-zA-Z])\s*/\s*(d[a-zA-Z](?:\^\d)?)(?![\w(])")
_MARK = r"(?:\\prime\s*)+|T|\\top|\\intercal|\*|\\ast|\\dagger"
_PRIME = re.compile(rf"({_NAME})\s*(?:'+|\^\s*\{{?\s*(?:{_MARK})\s*\}}?(?![a-zA-Z]))")
_IDENTITY = re.compile(r"(?<![\\a-zA-Z])I\s*_\s*(\w|\{[^{}]{1,12}\})")
_EXPECTED = re.compile(
    r"(?<![\\a-zA-Z])((?:\\mathbb\s*\{?\s*[EP]\s*\}?|\\Pr|[EP]"
    r"|\\operatorname\s*\{[^{}]*\}|\\(?:text|mathrm)\s*\{[^{}]{1,12}\})"
    r"\s*(?:\[[^\[\]]{1,60}\]|\((?=[^()]*[A-Z])[^()]{1,60}\)))"
)
_NABLA = re.compile(
    rf"\\nabla\s*(\\cdot|\\times|\*|\^\s*\{{?2\}}?)?\s*((?:\\(?:vec|mathbf|hat)\s*)?(?:{_BRACES}|{_NAME}))"
)
_VECTOR = rf"(?:\\(?:vec|hat|overrightarrow)\s*(?:{_BRACES}|[a-zA-Z])|(?<![\\a-zA-Z])[A-Z](?![a-zA-Z]))"
_CROSS = re.compile(rf"{_VECTOR}\s*\\times\s*{_VECTOR}")
_CONSTANT = re.compile(r"\+\s*c$")  # of integration: the one letter whose case people do not mean
_GAMMA = re.compile(r"\\gamma(?![a-zA-Z_])")


def opaque(text: str) -> str:
    """The cleaned text with symbols in place of the notations above."""
    if "/" in text:
        text = _QUOTIENT.sub(r"\\frac{\1}{\2}", text)
    if "\\frac" in text and ("d" in text or "\\partial" in text):
        text = _DERIVATIVE.sub(_symbol, text)
    if "\\nabla" in text:
        text = _NABLA.sub(_symbol, text)
    if "E" in text or "P" in text or "\\text" in text or "\\mathrm" in text or "\\operatorname" in text:
        text = _EXPECTED.sub(_symbol, text)
    if "'" in text or "^" in text:
        text = _PRIME.sub(_symbol, text)
    if "I" in text:
        text = _IDENTITY.sub(_symbol, text)
    if "\\times" in text:
        text = _CROSS.sub(_symbol, text)
    if text.endswith("c"):
        text = _CONSTANT.sub("+ C", text)
    return _GAMMA.sub(_symbol, text) if "\\gamma" in text else text


_ACCENTS = "d?dot|bar|hat|tilde|vec|overline|overrightarrow|widehat|widetilde|Delta|nabla"
_FUNCTIONS = "sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|ln|log|exp|det|deg|arg|Re|Im|Pr"
_ARGUMENT = rf"(?:{_BRACES}|\([^()=]{{1,20}}\)|{_NAME})"
_CHANGED = re.compile(
    rf"\\?\|[^|=]{{1,30}}\\?\||\\lfloor(?![a-zA-Z])[^=]{{1,30}}\\rfloor|\\lceil(?![a-zA-Z])[^=]{{1,30}}\\rceil"
    rf"|m?\s*\\(?:{_ACCENTS})(?![a-zA-Z])\s*{_ARGUMENT}(?:\([^()=]{{1,12}}\))?"
    rf"|\\(?:{_FUNCTIONS})(?![a-zA-Z])\s*(?:[_^]\s*(?:\w|{_BRACES})\s*)?{_ARGUMENT}"
    rf"|{_DERIVATIVE.pattern}|{_QUOTIENT.pattern}|{_PRIME.pattern}(?:\([^()=]{{1,12}}\))?|{_EXPECTED.pattern}"
    rf"|{_NAME}\s*\^\s*\{{\s*-1\s*\}}(?:\([^()=]{{1,12}}\))?|[a-z]\s*!"
)
_SEGMENT = re.compile(r"(?:\\overline|\|)([A-Z]{2})\|?")
_EQUATION = re.compile(r"\|[xynkt]\||[a-z]!")


def changed_name(side: str) -> str:
    r"""The notation before an equals sign that is more than a name, as `f'(x)`, `|x|` or `\bar{x}`; else "".

    It has no spaces and no braces. A segment, `\overline{AB}` or `|AB|`, has the name `AB`.
    """
    if not _CHANGED.fullmatch(side.strip()):
        return ""
    plain = re.sub(r"[\s{}]", "", side).replace("^\\prime", "'").replace("\\|", "|")
    segment = _SEGMENT.fullmatch(plain)
    return segment[1] if segment else plain


def is_equation(name: str) -> bool:
    """Whether a changed name asks for its letter: `|x| = 5` does not say that the answer is 5."""
    return _EQUATION.fullmatch(name) is not None


def is_plain_name(name: str) -> bool:
    """Whether a name is letters with an index, or a function of a letter."""
    return not name or _PLAIN.fullmatch(name) is not None


_PLAIN = re.compile(rf"(?!\\(?:{_ACCENTS}|{_FUNCTIONS}))\\?[a-zA-Z]+(?:\s*[A-Z]+)?(?:_\{{?\w+\}}?)?(?:\([^()]*\))?")


def _symbol(found: re.Match[str]) -> str:
    r"""A symbol for a notation, whatever its spaces, its braces and its writing of a prime."""
    plain = re.sub(r"[\s{}]", "", found[0]).replace("^\\prime\\prime", "''").replace("^\\prime", "'")
    return f"{{q_{{{zlib.crc32(plain.encode())}}}}}"
