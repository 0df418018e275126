r"""Reads an answer into facts that can be compared: words, quantities, and marks of classes that exclude each other.

    "On July 20, 1969 at 8:17 PM, not in Texas"
        words       july texas
        quantities  20, 1969, 20:17 (also 8:17)
        marks       (month, july)
        denied      texas

The text is read once, from left to right. What has a structure is read as what it is: dates, times, numbers with their
unit, formulas, comparisons, signs of ions. The rest is words: case-folded, without accents and function words.

A function word counts where it is a name or the answer: in capitals (`IT`), before a capital (`Will Smith`), a single
capital letter (`Hepatitis A`), or `on` and `in` at the end of a clause (`The light is on`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from semantic_entropy_plugins.quantities.dates import MONTHS, find_dates
from semantic_entropy_plugins.quantities.number_words import from_chinese, plain
from semantic_entropy_plugins.text import scan_patterns as follows
from semantic_entropy_plugins.text import word_lists as lists
from semantic_entropy_plugins.text.content_words import fold, without_apostrophe
from semantic_entropy_plugins.text.formulas import OPERATORS, RELATIONS, Formula, operation_mark, read_formula
from semantic_entropy_plugins.text.measured_numbers import (
    Quantity,
    from_roman,
    rate_unit,
    read_clock,
    read_number,
    read_zone,
)
from semantic_entropy_plugins.text.plain_writing import plain_writing
from semantic_entropy_plugins.text.scan_patterns import ROMAN, SCAN
from semantic_entropy_plugins.text.unspaced_scripts import COUNTERS, unspaced_words

Element = str | Quantity


class Facts(NamedTuple):
    """What an answer says.

    Attributes:
        elements: the content words and quantities.
        said: the elements that the answer does not deny.
        denied: the elements that the answer denies, and says nowhere else.
        marks: pairs (class, member); two members of one class exclude each other.
        items: the parts between commas, `and` and line ends, if the answer is one sentence or a list.
        raw: all words in order, function words included. The letters `A` and `I` are in capitals, and `-` is the sign
            of a range.
        counts: the numbers in order, with repetitions.
        polarity: "yes", "no" or None.
        spellings: the other spelling of a word with an umlaut: `mueller` -> `muller`.
        formula: the answer as a formula, if it is one as a whole.
    """

    elements: frozenset[Element]
    said: frozenset[Element]
    denied: frozenset[Element]
    marks: frozenset[tuple[str, str]]
    items: tuple[frozenset[Element], ...]
    raw: tuple[str, ...]
    counts: tuple[Quantity, ...]
    polarity: str | None
    spellings: tuple[tuple[str, str], ...]
    formula: Formula | None


_SPELLED = str.maketrans({"\u00e4": "ae", "\u00f6": "oe", "\u00fc": "ue", "\u00f8": "oe", "\u00e5": "aa"})
_ORDINAL_ENDINGS = frozenset(("st", "nd", "rd", "th"))
_RANKS = frozenset(map(str, range(2, 21)))  # before a superlative: `second largest`
_LONGEST_CACHED_WORD = 50  # characters
_LONGEST_LABEL = 3  # letters of `type AB`


def read_facts(text: str) -> Facts:
    """The facts of an answer."""
    plain_text = plain_writing(text)
    facts = _AnswerReader(plain_text).read()._replace(formula=read_formula(plain_text))
    alone = text.strip(" .")
    if alone[:1].isupper() and alone.title() in lists.CHEMICAL_SYMBOLS:
        return facts._replace(marks=facts.marks | {("chemical symbol", alone)})
    return facts


_folded = lru_cache(maxsize=16384)(fold)


class _AnswerReader:
    """Reads one plain text from left to right."""

    def __init__(self, text: str) -> None:
        self.marks: set[tuple[str, str]] = set()
        self.text = " ".join(self._without_dates(text).split())
        self.cased = any(map(str.islower, text))
        self.cased_as_sentence = any(map(str.isupper, text))
        self.start = self.at = 0
        self.raw: list[str] = []
        self.counts: list[Quantity] = []
        self.said: set[Element] = set()
        self.denied: set[Element] = set()
        self.clause: list[tuple[Element, bool]] = []
        self.items: list[set[Element]] = [set()]
        self.listed = True
        self.negated = self.denies = False  # the clause, or the answer, has a negation
        self.scope = 0  # content words that the last negation still denies
        self.before: tuple[str, int] = ("", -1)  # the last operand and its end
        self.sign = ""  # the minus before the next operand
        self.operation: tuple[str, str] | None = None  # the left operand and the sign, waiting for the right operand
        self.spellings: dict[str, str] = {}
        self.polarity: str | None = None

    def read(self) -> Facts:
        while found := SCAN.search(self.text, self.at):
            self.at = found.end()
            kind = str(found.lastgroup)
            self.start = found.start(kind)
            _HANDLERS[kind](self, found[kind], found)
        self._end_clause()
        if self.denies and self.said | self.denied == {"yes"}:  # `Yes, it isn't.`
            self.said, self.denied, self.polarity = {"no"}, set(), "no"
        items = tuple(frozenset(item) for item in self.items if item)
        return Facts(
            frozenset(self.said | self.denied),
            frozenset(self.said),
            frozenset(self.denied - self.said),
            frozenset(self.marks),
            items if self.listed else (),
            tuple(self.raw),
            tuple(self.counts),
            self.polarity,
            tuple(self.spellings.items()),
            None,
        )

    def _without_dates(self, text: str) -> str:
        """Write each date as `july 20 1969`, and mark its month."""
        parts: list[str] = []
        end = 0
        for date in find_dates(text):
            month = MONTHS[date.month - 1] if isinstance(date.month, int) else date.month
            if month:
                self.marks.add(("month", month))
            written = [month if isinstance(date.month, int) else None, date.day, date.year]
            parts += text[end : date.start], " ".join(str(part) for part in written if part is not None), " "
            end = date.end
        return "".join((*parts, text[end:])) if parts else text

    def _add(self, element: Element) -> None:
        denied = self.scope > 0
        self.scope -= denied
        self.clause.append((element, denied))
        self.items[-1].add(element)

    def _operand(self, written: str) -> None:
        """Complete an operation such as `a < b`, and remember the operand for the next sign."""
        written, self.sign = self.sign + written, ""
        if self.operation:
            self.marks.add(operation_mark(*self.operation, written))
            self.operation = None
        self.before = written, self.at

    def read_relation(self, written: str, found: re.Match[str]) -> None:
        sign = RELATIONS.get(written, written)
        self.operation = (self.before[0] if self.before[1] >= 0 else "", sign)  # `< 10` has no left operand
        self.scope = 0

    def read_operator(self, written: str, found: re.Match[str]) -> None:
        left, end = self.before
        glued = end >= 0 and not self.text[end : self.start].strip()
        right = follows.OPERAND.match(self.text, self.at)
        if written == "-" and glued and follows.range_goes_on(left, self.text, self.at):
            self.raw.append("-")
        if self.operation and right:
            self.sign = "-" if written == "-" else ""
        elif glued and right and (len(left) == 1 or left[0].isdigit()):
            self.operation = left, OPERATORS.get(written, written)
        elif written == "-" and self.text[self.start - 1 : self.start].isspace():
            self._end_clause()
        elif written == ":":
            self._end_clause()
            self.items = [set()]  # what introduces a list is no item

    def read_clock(self, written: str, found: re.Match[str]) -> None:
        self._quantity(read_clock(written))

    def read_zone(self, written: str, found: re.Match[str]) -> None:
        zone = read_zone(written)
        self.marks.add(("zone", zone))
        self.raw.append(zone)
        self._add(zone)

    def read_number(self, written: str, found: re.Match[str]) -> None:
        start = found.start("digits")
        if start > 2 and self.text[start - 1].islower() and follows.CLAUSE_ENDS.match(self.text, self.at):
            self.raw.append(written)  # the number of a footnote: `James Fleet1.`
            self._add(written)
            return
        if self.raw and self.raw[-1] in lists.VERSIONED and "." in found["digits"] and not found["scale"]:
            self.marks.add(("version", found["digits"]))
        if letter := follows.COMPASS_LETTER.match(self.text, self.at):
            self.marks.add(("direction", lists.COMPASS[letter[1]]))
        quantity, self.at = read_number(found, self.text)
        self._quantity(quantity)

    def _quantity(self, quantity: Quantity) -> None:
        written = plain(quantity.number)
        self.raw.append(written)
        self._operand(written)
        self._number(quantity)

    def _number(self, quantity: Quantity) -> None:
        self.counts.append(quantity)
        self._add(quantity)

    def _numeral(self, value: int) -> None:
        self.marks.add(("numeral", str(value)))
        self._number(Quantity(Fraction(value)))

    @property
    def previous(self) -> str:
        """The word before the last word; empty: there is none."""
        return self.raw[-2] if len(self.raw) > 1 else ""

    def read_formula(self, written: str, found: re.Match[str]) -> None:
        written = re.sub(r"[\s{}]", "", written).lower()
        self.marks.add(("formula", written))
        self.raw.append(written)
        self._operand(written)
        self._add(written)

    def read_label(self, written: str, found: re.Match[str]) -> None:
        word = written.lower().replace("-", "") if written[-1] != "-" else written.lower()
        if "." in word:
            word = word.removeprefix("v")  # `v2.1` is version 2.1
        self.marks.add(("label", word))
        self.raw.append(word)
        self._operand(word)
        self._add(word)

    def read_initials(self, written: str, found: re.Match[str]) -> None:
        self._content(re.sub(r"[\s.]", "", written))

    def read_run(self, written: str, found: re.Match[str]) -> None:
        value = from_chinese(COUNTERS.sub("", written))
        if value is not None:
            self._quantity(Quantity(Fraction(value)))
            return
        for word, denied in unspaced_words(written):
            self.raw.append(word)
            self.scope = max(self.scope, int(denied))
            self._add(word)

    def read_word(self, written: str, found: re.Match[str]) -> None:
        self._content(written)

    def _content(self, written: str) -> None:
        word = _folded(written) if len(written) < _LONGEST_CACHED_WORD else fold(written)
        word, negated = without_apostrophe(word)
        if not word or self._answers_yes_or_no(word):
            return
        self.raw.append(word)
        word = self.raw[-1] = lists.SPELLINGS.get(word) or self._rate(word) or word
        if self._denies_whole_clause(word):
            return
        if word in lists.NEGATIONS and not (word == "no" and follows.NUMBER.match(self.text, self.at)):  # `No. 5`
            self._negation(word)
            return
        self._end_denial(word)
        if word == "free" and self.text[self.start - 1 : self.start] == "-" and self.clause:  # sugar-free
            self.clause[-1] = self.clause[-1][0], True
        elif word in _ORDINAL_ENDINGS and self.text[self.start - 1 : self.start].isdigit():
            self.raw.pop()
        elif len(word) == 1 and word.isalpha():
            self._single_letter(word, written)
        elif word not in lists.STOP_WORDS or self._counts(word, written):
            self._content_word(word, written)
        if negated:
            self._negation("not")

    def _denies_whole_clause(self, word: str) -> bool:
        """Whether `all but`, or `it is not true that` and the like, end with this word."""
        if word == "but" and self.previous in lists.ALL:
            self._negation(word)
            return True
        untrue = self.scope if word in lists.TRUTHS else word in lists.UNTRUTHS and self.previous != "no"
        if untrue and follows.THAT.match(self.text, self.at):
            self._negation(word)
            self.scope = lists.WHOLE_CLAUSE
            return True
        return False

    def _rate(self, word: str) -> str | None:
        """The unit after `per` and the like, which is marked; None: the word is no such unit."""
        unit = rate_unit(self.previous, word)
        if unit:
            self.marks.add(("rate", unit))
        return unit

    def _answers_yes_or_no(self, word: str) -> bool:
        """Whether the answer begins with this word and the word is a yes or a no, and not `no evidence`."""
        if self.raw or self.polarity:
            return False
        self.polarity = "yes" if word in lists.YES else "no" if word in lists.NO else None
        if self.polarity is None or (word in lists.NEGATIONS and not follows.CLAUSE_ENDS.match(self.text, self.at)):
            return False
        self.raw.append(word)
        self._add(self.polarity)
        return True

    def _end_denial(self, word: str) -> None:
        if word in lists.SCOPE_ENDS:
            self._end_clause()
        elif word in lists.VERBS and self.clause and self.clause[-1][1] and self.scope <= lists.SCOPE:
            self.scope = 0
        elif word in ("and", "or") and self.scope == 0:
            self._end_item()

    def _content_word(self, word: str, written: str) -> None:
        if ROMAN.fullmatch(written):
            self._numeral(from_roman(written.upper()))
            return
        if written.isupper() and len(written) <= _LONGEST_LABEL and self.previous in lists.NUMBERED:
            self.marks.add(("label", word))  # `type AB`
        if word in lists.CLASS_OF:
            self.marks.add(lists.CLASS_OF[word])
        if (word.endswith("est") and word not in lists.NO_SUPERLATIVES) or word in ("most", "least", "worst"):
            self.marks.add((f"rank of {word}", self.previous if self.previous in _RANKS else "1"))
        if not written.isascii():
            spelled = _folded(written.casefold().translate(_SPELLED))
            if spelled != word:
                self.spellings[spelled] = word
        self._operand(word)
        self._add(word)

    def _single_letter(self, word: str, written: str) -> None:
        is_pronoun = word == "i" and not follows.NUMERAL_ENDS.match(self.text, self.at)
        if follows.is_oxidation_state(self.text, self.start) or (
            (written == "I" or (written == "i" and not self.cased_as_sentence))
            and self.clause
            and (not is_pronoun or follows.is_numeral(self.previous, self.text, self.at))
        ):
            self._numeral(from_roman(written.upper()))
            return
        if is_pronoun or (word == "a" and follows.is_article(self.text, self.start, self.at)):
            return
        if written.upper() in ("I", "V", "X") and self.clause:
            self.marks.add(("numeral", str(from_roman(written.upper()))))
        self.raw[-1] = written.upper() if word in lists.STOP_WORDS or word == "i" else word
        self.marks.add(("label", word))
        self._operand(word)
        self._add(word)

    def _counts(self, word: str, written: str) -> bool:
        """Whether a function word counts as a content word here."""
        if written.isupper() and len(written) > 1 and (self.cased or " " not in self.text):
            return True
        if ("month", word) in self.marks:
            return True
        if word in lists.NAMES and written[0].isupper():
            return bool(follows.CAPITAL.match(self.text, self.at))
        if word in lists.NAMES and not self.cased_as_sentence:
            return not self.previous  # `will smith`, in a text without capitals
        if word == "for":
            return self.previous in lists.VOTING
        return word in lists.PARTICLES and bool(follows.CLAUSE_ENDS.match(self.text, self.at))

    def _negation(self, word: str) -> None:
        following = follows.WORD.match(self.text, self.at)
        if following and following[1].lower() in lists.NO_NEGATION:
            return
        if word in lists.COUNTED_NEGATIONS:
            self._add(word)
        if self.polarity is None:
            self.polarity = "no"
        self.negated, self.denies, self.scope = True, True, 1 if word == "non" else lists.SCOPE

    def read_end(self, written: str, found: re.Match[str]) -> None:
        if written in ",;":
            self._end_item()
        elif not follows.TEXT_ENDS.match(self.text, self.at) and written not in '"()[]{}':
            self.listed = False
        if not (written == "," and self.scope == lists.SCOPE and not self.negated):
            self._end_clause()

    def _end_item(self) -> None:
        if self.items[-1]:
            self.items.append(set())

    def _end_clause(self) -> None:
        """A negation that denies no word after it denies the words before it in its clause: `Er kommt nicht`."""
        backwards = self.negated and not any(denied for _, denied in self.clause)
        for element, denied in self.clause:
            (self.denied if denied or backwards else self.said).add(element)
        self.clause.clear()
        self.negated, self.scope, self.operation = False, 0, None


_HANDLERS: Mapping[str, Callable[[_AnswerReader, str, re.Match[str]], None]] = {
    "plain": _AnswerReader.read_word,
    "end": _AnswerReader.read_end,
    "clock": _AnswerReader.read_clock,
    "zone": _AnswerReader.read_zone,
    "code": _AnswerReader.read_label,
    "formula": _AnswerReader.read_formula,
    "ion": _AnswerReader.read_label,
    "initials": _AnswerReader.read_initials,
    "number": _AnswerReader.read_number,
    "relation": _AnswerReader.read_relation,
    "operator": _AnswerReader.read_operator,
    "run": _AnswerReader.read_run,
    "word": _AnswerReader.read_word,
}
