"""What a file has after `semantic-entropy label`: who made the labels, and how far those of a judge can be trusted."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from semantic_entropy.decisions.guarantee import FIT_SHARE, labels_needed
from semantic_entropy.labelling.gold_judging import UNDECIDED
from semantic_entropy.labelling.items import LabelItem
from semantic_entropy.labelling.labelled_file import INPUT, Label
from semantic_entropy.plain_text import plural

_FEW = 50  # labels of people: with fewer, the 95% interval of an agreement of 90% is wider than 0.2


@dataclass(slots=True)
class Agreement:
    """How the judge's labels compare with labels of another origin.

    Attributes:
        rows: the number of rows with both labels.
        right: the number of rows that the judge calls right and the other label wrong.
        wrong: the number of rows that the judge calls wrong and the other label right.
    """

    rows: int = 0
    right: int = 0
    wrong: int = 0

    def add(self, judge: bool, other: bool) -> None:
        """Count a row."""
        self.rows += 1
        self.right += judge and not other
        self.wrong += other and not judge

    @property
    def contradicted(self) -> float:
        """The share of rows on which the labels contradict each other; nan if there are no rows."""
        return (self.right + self.wrong) / self.rows if self.rows else math.nan

    def __str__(self) -> str:
        agreed = self.rows - self.right - self.wrong
        return (
            f"{agreed} of {self.rows} ({agreed / self.rows:.1%}); called right but wrong: {self.right}; called wrong "
            f"but right: {self.wrong}"
        )


@dataclass(slots=True)
class LabelSummary:
    """The labels in the output. `str()` of the summary is for the user.

    Attributes:
        output: the path of the output.
        rows: the number of rows in the output.
        wrong: the number of rows with a label whose answer is wrong.
        by: the number of labels by who made them.
        without: the number of rows without a label, by the reason.
        judged: the number of rows that a judge decided.
        agreement: the judge's labels and those that the rows had, or that a person made.
        majorities: the judge's labels and the labels of the largest clusters.
        rejected: the number of bad rows, which are not in the output.
        rejected_file: the report of bad rows.
        unmatched: the number of labels of another file that were not taken over.
        notes: what else happened.
    """

    output: str
    rows: int = 0
    wrong: int = 0
    by: Counter[str] = field(default_factory=Counter)
    without: Counter[str] = field(default_factory=Counter)
    judged: int = 0
    agreement: Agreement = field(default_factory=Agreement)
    majorities: Agreement = field(default_factory=Agreement)
    rejected: int = 0
    rejected_file: str = ""
    unmatched: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def undecided_share(self) -> float:
        """The share of the rows that a judge was asked about and could not decide; 0 if it was asked about none."""
        undecided = self.without[UNDECIDED]
        return undecided / (undecided + self.judged) if undecided else 0.0

    @property
    def labelled(self) -> int:
        """The number of rows with a label."""
        return sum(self.by.values())

    def add(self, item: LabelItem, label: Label) -> None:
        """Count a row of the output."""
        self.rows += 1
        self.judged += label.judge is not None
        if label.by is None:
            self.without[label.why.partition(":")[0]] += 1
            return
        self.by[label.by] += 1
        correct = item.given if label.by == INPUT else label.correct
        self.wrong += not correct
        if label.judge and correct is not None and not label.is_judged:
            self.agreement.add(label.judge.correct, correct)
        if label.judge and item.majority is not None:
            self.majorities.add(label.judge.correct, item.majority)

    def still_needed(self, alpha: float, delta: float) -> str:
        """Return how many labels a guarantee needs at least, and how many are missing."""
        answered, with_one = labels_needed(alpha, delta), labels_needed(alpha, delta, 1)
        certified = 1 - FIT_SHARE  # p(wrong) is fitted on the others
        least = math.ceil(answered / certified)
        goal = (
            f"a risk of at most {alpha:g} with confidence {1 - delta:g} needs at least {least} labels: "
            f"{certified:.0%} of them certify, and it takes {answered} answers without an error, {with_one} with one"
        )
        missing = least - self.labelled
        return f"{goal}. {plural(missing, 'label')} still needed" if missing > 0 else f"{goal}. That many are there"

    def trust(self, alpha: float) -> str:
        """Return how far the judge's labels can be trusted, and how to find out; empty: no judge decided a row.

        Args:
            alpha: the risk that is to be guaranteed. There is a warning if the judge contradicts more than half as many
                of the other labels: its mistakes are then about as many as the wrong answers that are allowed.
        """
        found = self.agreement if self.agreement.rows else self.majorities
        if not self.judged:
            return ""
        if not found.rows:
            return (
                f"nothing says how far the judge's labels can be trusted: label {_FEW} rows by hand into another file "
                f"(semantic-entropy label FILE -o by-hand.jsonl --limit {_FEW}) and take them over (--import "
                "by-hand.jsonl): the summary then says how often the judge agrees"
            )
        few = f"{plural(found.rows, 'row')} with both labels are few: label {_FEW} by hand" if found.rows < _FEW else ""
        if found.contradicted > alpha / 2:
            return (
                f"warning: the judge contradicts {found.contradicted:.1%} of the other labels: too many for a risk of "
                f"{alpha:g}. Right answers that it calls wrong make a guarantee harder to get; wrong answers that it "
                "calls right make it false. Add accepted answers (--gold is repeatable, and a field may be a list), "
                "name another judge (-e), or label by hand" + f". {few}" * bool(few)
            )
        return f"note: {few}" if few else ""

    def __str__(self) -> str:
        origin = ", ".join(f"{count:,} by {name}" for name, count in self.by.most_common())
        share = f" ({self.wrong / self.labelled:.0%})" if self.labelled else ""
        lines = [f"{self.output}: {self.labelled:,} of {self.rows:,} rows have a label; {self.wrong:,} wrong{share}"]
        lines += [f"labels: {origin}"] if origin else []
        if self.without:
            lines.append("without a label: " + ", ".join(f"{n} {why}" for why, n in self.without.most_common()))
        if self.agreement.rows:
            lines.append(f"the judge agrees with the other labels on {self.agreement}")
        if self.majorities.rows:
            lines.append(
                f"the judge agrees with the labels of the largest clusters on {self.majorities}. These come from "
                "labels of the responses; evaluate and calibrate use them, and not the judge's, with --label majority"
            )
        if self.rejected:
            lines.append(f"{plural(self.rejected, 'bad row')}: see {self.rejected_file}")
        return "\n".join([*lines, *self.notes])
