r"""Finds the words around a number that say what is stated about it: `not`, the slope, a maximum, 20% bigger, yes.

A word of a closed class counts if it stands in the same clause as the number. Two answers with different words of one
class differ; a word on one side only is ignored, except for a negation. The axis "change" is that of
`quantities.measures`, which has the words that other judges use too.
"""

from __future__ import annotations

import re
import zlib

from semantic_entropy_plugins.quantities.units import named_unit, read_unit

# Each axis lists its poles; two poles of one axis exclude each other.
_AXES: dict[str, tuple[str, ...]] = {
    "change": (
        "increases grows grown bigger climbs climbed surcharge markup premium extra doubled tripled pricier costlier",
        "decreases declines drops dropping shrinks shrank shrunk cheaper discounted rebate markdown halved diminished",
    ),
    "polarity": ("true", "false"),
    "line": ("slope gradient", "intercept"),
    "divisibility": ("factor factors divisor divisors", "multiple multiples divisible"),
    "extreme": ("minimum minima smallest lowest", "maximum maxima largest greatest highest"),
    "statistic": ("mean average", "median", "mode", "range codomain", "domain", "variance", "deviation"),
    "part of a fraction": ("numerator", "denominator"),
    "result": ("sum", "product", "quotient", "remainder"),
    "extent": ("area", "perimeter circumference", "volume"),
    "circle": ("radius", "diameter"),
    "side of a shape": ("width", "height", "length", "depth"),
    "of two": ("thebigger", "thesmaller"),
    "journey": ("leaves leaving departs departure departed", "arrives arriving arrival arrived"),
    "monotony": ("increasing", "decreasing"),
    "curvature": ("convex concaveup", "concave concavedown"),
    "sign of a function": ("positiveon", "negativeon"),
    "end": ("first thefirst", "last thelast"),
    "table": ("row", "column"),
    "conic": ("vertex", "focus", "directrix"),
    "continuity": ("continuous", "discontinuous"),
    "definition": ("defined", "undefined"),
    "limit": ("converges convergent", "diverges divergent"),
    "clock": ("fast", "slow"),
    "enough": ("toomuch", "toolittle"),
    "polynomial": ("degree", "order"),
}
_POLES = {
    word: (axis, pole) for axis, poles in _AXES.items() for pole, words in enumerate(poles) for word in words.split()
}
_LABELS = frozenset("first last row column degree order".split())  # count right before the number
_WORD = re.compile(r"[^\W\d_]{3,}")
_DIRECTION = re.compile(r"\b(up|down)\s*$")
_COMPARED_NOUN = r"\s+(?=(?:number|value|integer|root|solution|angle|side|one|part|of the)s?\b)"
_COUNTED_NOUN = r"\s+(?=(?:term|number|digit|value|entry|element|item|one)\b)"
_SPELLED = (
    (re.compile(rf"\b(?:bigger|larger|greater){_COMPARED_NOUN}", re.IGNORECASE), "thebigger "),
    (re.compile(rf"\b(?:smaller|lesser){_COMPARED_NOUN}", re.IGNORECASE), "thesmaller "),
    (re.compile(r"\btoo (?:much|many)\b", re.IGNORECASE), "toomuch"),
    (re.compile(r"\btoo (?:little|few)\b", re.IGNORECASE), "toolittle"),
    (re.compile(rf"\bthe\s+(first|last){_COUNTED_NOUN}", re.IGNORECASE), r"the\1 "),
    (re.compile(r"\bby a factor\b", re.IGNORECASE), " "),
    (re.compile(r"\bconcave (up|down)(?:wards?)?\b", re.IGNORECASE), r"concave\1"),
    (re.compile(r"\b(positive|negative) (?=(?:on|over)\b)", re.IGNORECASE), r"\1on "),
)
_SPELLED_HINTS = ("er ", "irst ", "ast ", "too ", "factor", "oncave", "tive ")
_NOT = re.compile(
    r"\b(?:not(?!\s+only\b)|never|cannot|neither|without|none|no(?!\s+matter\b))\b|n['\u2019]t\b", re.IGNORECASE
)
_COPULA = re.compile(r"[^\W\d_]\s+(?:is|are|was|were|equals?)\s")
_UNTRUE = re.compile(r"\s*(?:true|correct|right|the case|mean)\b")
_NOT_AFTER = re.compile(
    r"\s*(?:is|are|was|were|does|do|did|can|could|will)(?:n['\u2019]t|\s+not|\s+never)\b|\s*cannot\b", re.IGNORECASE
)
_BOUNDARY = re.compile(
    r"[.;!?](?=\s|$)|[\n\u3002]|,\s|\b(?:so|because|since|then|therefore|thus|hence|but|if|when|where|while|which|who"
    r"|whether|unless|after|once|until|for\s+which)\b",
    re.IGNORECASE,
)
_COMPARED = re.compile(
    r"(?:(more|greater|higher|longer|larger)|less|fewer|lower|shorter|smaller)\s+than\b", re.IGNORECASE
)
_IN = re.compile(r"(?:^|\s)in\s*$", re.IGNORECASE)
_TIME = re.compile(r"\d+ (?:second|minute|hour|day|week|month|year|decade)s?$")
_SEARCHED = 100  # characters before and after a number


def is_claim(word: str) -> bool:
    """Whether a word is a pole of an axis."""
    return word.lower() in _POLES


def take_claims(text: str) -> tuple[tuple[tuple[str, int], ...], str]:
    """The pairs of an axis and a pole in a text, and the text without their words."""
    spelled = _spelled(text)
    found = tuple(_POLES[word.lower()] for word in _WORD.findall(spelled) if is_claim(word))
    return (found, _WORD.sub(lambda word: " ; " if is_claim(word[0]) else word[0], spelled)) if found else ((), text)


_LINKS = frozenset("is are was were the a an at of on in".split())
_LEADING = re.compile(r"(?:[^\W\d_]{2,}\s+){1,6}(?![^\W\d_]{2}|[a-zA-Z]\s*=)(?=\S)")


def leading_claims(text: str) -> tuple[tuple[tuple[str, int], ...], str]:
    """The claims of the words at the beginning of a text, if all of them are claims or links; and the rest."""
    found = _LEADING.match(text)
    words = _spelled(found[0]).lower().split() if found else []
    if not found or not all(is_claim(word) or word in _LINKS for word in words):
        return (), text
    return tuple(_POLES[word] for word in words if is_claim(word)), text[found.end() :]


def _spelled(text: str) -> str:
    if any(hint in text for hint in _SPELLED_HINTS):
        for pattern, replacement in _SPELLED:
            text = pattern.sub(replacement, text)
    return text


def with_claims(text: str, start: int, end: int) -> str:
    """The span of an answer, after the words of its clause that change what it says."""
    span = text[start:end].strip()
    before, after = _clause(text, start, end)
    words = [word.lower() for word in _WORD.findall(_spelled(f"{before} | {after}")) if is_claim(word)]
    words = [word for word in words if word not in _LABELS or before.rstrip().lower().endswith(word)]
    words += _DIRECTION.findall(after)
    if _IN.search(before) and _TIME.search(span):
        words.append("later")
    if _denies(before) or _NOT_AFTER.match(after):
        compared = _COMPARED.match(span)
        if compared:  # cannot buy more than 5
            span = ("at most" if compared[1] else "at least") + span[compared.end() :]
        else:
            words.insert(0, "not")
    inside = span.lower()
    return " ".join([*(word for word in dict.fromkeys(words) if word not in inside), span])


def _denies(before: str) -> bool:
    """Whether a clause denies the number after it; `the length that is not used is 5` does not."""
    *_, rest = _NOT.split(before)
    return rest != before and (_COPULA.search(rest) is None or _UNTRUE.match(rest) is not None)


def _clause(text: str, start: int, end: int) -> tuple[str, str]:
    before = text[max(0, start - _SEARCHED) : start]
    cut = [found.end() for found in _BOUNDARY.finditer(before)]
    after = text[end : end + _SEARCHED]
    stop = re.search(r"[.,;:!?\n\u3002\d$\\]", after)
    after = after[: stop.start()] if stop else after
    boundary = _BOUNDARY.search(after)
    return before[cut[-1] if cut else 0 :], after[: boundary.start()] if boundary else after


_TIMES = "second minute hour day night week month quarter year".split()
_SPELLED_TIMES = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month", "yearly": "year"} | {
    "annually": "year",
    "hr": "hour",
    "min": "minute",
    "sec": "second",
    "wk": "week",
    "mo": "month",
    "yr": "year",
}
RATE = re.compile(
    rf"(?:\s*/\s*|,?\s+(?:per|an?|each|every)\s+)({'|'.join(_TIMES)}|hr|min|sec|wk|mo|yr)\b(?!\s+(?:time|ago|later))"
    r"|\s+(hourly|daily|weekly|monthly|yearly|annually)\b|\s+per\s+(?!cent\b|[mb]ill)([^\W\d_]{2,15})\b"
)
"""How often, or for what: `per hour`, `a week`, `monthly`, `per person`."""
_IN_UNITS = frozenset(("L", "M", "bit", "turn"))


def take_rate(words: str) -> tuple[tuple[tuple[str, int], ...], str]:
    """The claim of a rate in the words after a number, and the words without it: `dollars a week`, `per person`.

    The rate of a length, a mass, bits or turns is a part of the unit (`miles an hour` becomes `miles per hour`), and so
    is a rate for a unit that is no time (`dollars per kg`).
    """
    found = RATE.search(words)
    if not found:
        return (), words
    what = found[1] or found[2] or found[3]
    what = _SPELLED_TIMES.get(what, what)
    before, after = words[: found.start()], words[found.end() :]
    unit, _ = read_unit(before)
    if (unit and not _IN_UNITS.isdisjoint(base for base, _ in unit.dimension)) or (found[3] and named_unit(what)):
        return (), f"{before} per {what}{after}"
    return (("rate", zlib.crc32(what.encode())),), before + after


_POLARITY = re.compile(r"\W*(?:(yes|true)|no|false)\b(?=\s*(?:[,.:;!*]|$))", re.IGNORECASE)


def with_polarity(response: str, answer: str) -> str:
    """The answer after `true` or `false`, if the response begins with yes or no."""
    found = _POLARITY.match(response)
    if not found or answer.lower().startswith(("yes", "no", "true", "false")):
        return answer
    return f"{'true' if found[1] else 'false'} {answer}"
