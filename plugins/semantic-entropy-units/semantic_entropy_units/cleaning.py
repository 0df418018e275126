r"""Convert an answer to one plain line: LaTeX and typography become the few signs of the grammar.

`5\,\mathrm{m/s^2}`, `5 m·s⁻²` and `5 m/s²` become equal. Text is replaced, never evaluated; each step is one pass.

Not supported: mathematics. An answer with a command that has a value (`\sqrt`, `\int`) cannot be read.
"""

from __future__ import annotations

import re
import unicodedata

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("·⋅∙•", "*"),
        **dict.fromkeys(["\N{MINUS SIGN}", "\N{FIGURE DASH}", "\N{EN DASH}", "—"], "-"),
        "\N{MULTIPLICATION SIGN}": "*",
        "÷": "/",
        "\N{FRACTION SLASH}": "/",
        "\N{DIVISION SLASH}": "/",
        "º": "°",  # the ordinal indicator, which people type for a degree sign
    }
)
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\x00]")

_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|mathit|textbf|textrm|operatorname|mbox|unit|boxed|fbox)\s*(?=\{)")
_SIMPLE_TEXT = re.compile(_TEXT.pattern.removesuffix(r"(?=\{)") + r"\{([^{}]*)\}")
_COMMAND = re.compile(r"\\([a-zA-Z]+|.)", re.DOTALL)
_BLANK = " "
_COMMANDS = {
    **dict.fromkeys([",", ";", ":", " ", "quad", "qquad", "enspace", "thinspace"], _BLANK),
    **dict.fromkeys(["(", ")", "[", "]", "left", "right", "displaystyle", "rm"], _BLANK),
    **dict.fromkeys(["approx", "sim", "simeq", "therefore"], _BLANK),
    **dict.fromkeys(["!", "/"], ""),
    **dict.fromkeys(["cdot", "times"], "*"),
    **dict.fromkeys(["circ", "degree", "degreeCelsius"], "°"),
    **dict.fromkeys(["mu", "micro"], "µ"),
    **dict.fromkeys(["Omega", "ohm"], "Ω"),
    "%": "%",
    "AA": "Å",
    "div": "/",
    "pi": " pi ",
    "pm": "±",
    "to": " to ",
}
_DEGREES = re.compile(
    r"(?:°|\b(?:deg|degrees?)\b)\s*(?:(C|F|K)\b|(celsius|centigrade|fahrenheit|kelvin)\b)", re.IGNORECASE
)


def clean(text: str) -> str | None:
    """The answer as one plain line, or None if it contains an unknown LaTeX command."""
    line = _plain_latex(text)
    if line is None:
        return None
    line = _RAISED.sub(lambda raised: "^" + raised[0].translate(_SUPERSCRIPTS), line)
    line = "".join(_vulgar(char) for char in line)
    line = unicodedata.normalize("NFKC", line.translate(_SIGNS)).translate(_SIGNS)
    line = _DEGREES.sub(_temperature, _INVISIBLE.sub("", line))
    return " ".join(line.split())


def _plain_latex(text: str) -> str | None:
    if text.count("$") % 2 == 0:  # delimiters of mathematics; a lone one is a currency
        text = text.replace("$", " ")
    if "\\" not in text:
        return text.replace("{", "").replace("}", "")
    text = text.replace(r"^{\circ}", "°").replace(r"^\circ", "°").replace("{,}", ",").replace("~", " ")
    text = _FRACTION.sub(
        _division, _TEXT.sub("", _SIMPLE_TEXT.sub(r"\1", text)).replace(r"\left", "").replace(r"\right", "")
    )
    if any(found[1] not in _COMMANDS for found in _COMMAND.finditer(text)):
        return None
    text = _COMMAND.sub(lambda found: _COMMANDS[found[1]], text)
    return text.replace("{", "").replace("}", "")


def _division(found: re.Match[str]) -> str:
    above, below = found[1].strip(), found[2].strip()
    return f" {above}/{below} " if above.isdigit() and below.isdigit() else f" {above}/({below}) "


def _vulgar(char: str) -> str:
    """Convert ½ to ` 1/2`. The space prevents that five and a half becomes 51/2."""
    if char > "\x7f" and unicodedata.decomposition(char).startswith("<fraction>"):
        return " " + unicodedata.normalize("NFKC", char).translate(_SIGNS)
    return char


def _temperature(found: re.Match[str]) -> str:
    return f" deg{(found[1] or found[2])[0].upper()}"
