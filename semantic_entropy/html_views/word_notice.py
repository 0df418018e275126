"""The notice about judges that compare words and numbers: notebooks, the terminal and the report show it.

Such a judge finds equal meanings of short answers. Of long answers it finds equal wordings. A long answer that is
measured sentence by sentence has a notice about the support of its sentences in place of that.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_WORD_JUDGES = ("exact", "ngram", "text")
_SHORT = 10  # words of an answer: a name, a number, a phrase


class Compared(NamedTuple):
    """What was compared for a result.

    Attributes:
        judge: the judge of the answers, with its options.
        answers: (G,) the answers; None: invalid.
        support: the scorer of the sentences, with its options; None: no sentence was measured.
        unit: "sentence" or "claim".
    """

    judge: str
    answers: Sequence[str | None]
    support: str | None = None
    unit: str = "sentence"


def word_notice(results: Iterable[Compared]) -> str | None:
    """Return a notice if a judge that compares words compared long answers, or sentences; None: there is no such judge.

    Args:
        results: what was compared for each result.
    """
    lengths: dict[str, list[int]] = {}
    units = set()
    for judge, answers, support, unit in results:
        if support is not None:
            if _name(support) == "text":
                units.add(unit)
        elif _name(judge) in _WORD_JUDGES:
            lengths.setdefault(_name(judge), []).extend(len(answer.split()) for answer in answers if answer)
    found = []
    medians = {judge: int(statistics.median(each)) for judge, each in lengths.items() if each}
    judge = max(medians, key=lambda name: medians[name], default="")
    if judge and medians[judge] > _SHORT:
        found.append(
            f"The judge {judge} compares words and numbers, and half of the answers have {medians[judge]} words or "
            "more. Answers that say the same in other words count as different: use a judge that has a model, such as "
            "nli."
        )
    if units:
        what = " or ".join(sorted(units))
        found.append(
            f"The support text compares words and numbers: a true {what} that the samples say in other words counts as "
            "unsupported. Trust the order more than the marks, or use a support that has a model, such as nli."
        )
    return " ".join(found) or None


def _name(description: str) -> str:
    return description.partition("(")[0]
