"""The sentences of long answers in a report: those of a row, and the least supported ones of all rows.

Sentences are ordered by their uncertainty, the highest first. Among equal ones, those of the more uncertain row are
first, then the order in the answer. A sentence with an unknown uncertainty is in no order; the report counts them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from semantic_entropy.long_answers import LongAnswer, ScoredSentence
from semantic_entropy.report.scored_rows import ReportRow, known

MOST_OF_A_ROW = 100  # sentences: more would hide the rest
MOST_OF_ALL = 200  # sentences that the report lists
_DECIMALS = 4


def sentence_fields(answer: LongAnswer) -> dict[str, Any]:
    """Return the data of a long answer for the page: the summary, and its least supported sentences in their order.

    A sentence is [start, end, uncertainty, supported by, doubtful], a claim has its text in place of start and end.
    Places count UTF-16 units, as JavaScript does.
    """
    kept = sorted(_worst_first(answer)[:MOST_OF_A_ROW])
    place = _utf16_places(answer.answer or "")
    sentences = []
    for index in kept:
        each = answer.sentences[index]
        at = [each.text, None] if each.start is None or each.end is None else [place[each.start], place[each.end]]
        sentences.append([*at, *_numbers(each)])
    return {
        "head": answer.lines()[0],
        "unit": answer.unit,
        "samples": answer.samples,
        "count": len(answer.sentences),
        "sentences": sentences,
    }


def least_supported(rows: Sequence[ReportRow], order: Sequence[int]) -> dict[str, Any] | None:
    """Return the least supported sentences of all rows; None: no row has a long answer.

    Args:
        rows: the rows.
        order: the ranking of the rows.

    Returns:
        `sentences`: [row, text, uncertainty, supported by, doubtful] of each, the least supported first; `known`: the
        number of sentences with a known uncertainty; `unknown`: that of the others; `equal`: how many sentences have
        the uncertainty of the first one.
    """
    if not any(row.result.long_answer for row in rows):
        return None
    ranks = {index: rank for rank, index in enumerate(order)}
    unknown = sum(each.unknown for _, _, each in _sentences(rows))
    found = [
        (-round(each.uncertainty, _DECIMALS), ranks[row], index, row, each)
        for row, index, each in _sentences(rows)
        if not each.unknown
    ]
    least = heapq.nsmallest(MOST_OF_ALL, found, key=lambda entry: entry[:4])
    return {
        "sentences": [[row, each.text, *_numbers(each)] for *_, row, each in least],
        "known": len(found),
        "unknown": unknown,
        "equal": sum(entry[0] == least[0][0] for entry in found) if least else 0,
    }


def _sentences(rows: Sequence[ReportRow]) -> Iterator[tuple[int, int, ScoredSentence]]:
    """Yield the index of the row, the index in the answer and the sentence, of all long answers."""
    for i, row in enumerate(rows):
        if row.result.long_answer:
            yield from ((i, index, each) for index, each in enumerate(row.result.long_answer.sentences))


def _worst_first(answer: LongAnswer) -> list[int]:
    """Return the indices of the sentences: the least supported one first; an unknown uncertainty before all others."""
    numbers = [2.0 if each.unknown else each.uncertainty for each in answer.sentences]
    return sorted(range(len(numbers)), key=lambda index: -numbers[index])


def _numbers(sentence: ScoredSentence) -> list[Any]:
    value = known(sentence.uncertainty)
    rounded = None if value is None else round(value, _DECIMALS)
    return [rounded, sentence.supported_by, int(sentence.doubtful)]


def _utf16_places(text: str) -> Sequence[int]:
    """Return the index in UTF-16 units of each character of a text, and of its end."""
    if not text or max(text) <= "\uffff":
        return range(len(text) + 1)
    return [0, *accumulate(1 + (char > "\uffff") for char in text)]
