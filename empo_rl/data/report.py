"""What was read, removed, found and kept: in words for a terminal, as JSON beside the output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from empo_rl.data.against import EvaluationSet, NotCompared
from empo_rl.data.overlap import KINDS, Finding, Kind, Near

_LONGEST_SHOWN = 160  # characters of a question


@dataclass
class Report:
    """Filled while the work goes on.

    Attributes:
        source: what was read.
        near: what near means here.
        sets: the evaluation sets it was compared with.
        not_compared: those it was not, with the reasons.
        seed: of the draw; None for a file that is only checked.
        asked: rows asked for.
        read: records read.
        removed: by each rule, in the rules' order.
        compared: rows looked at, that is those kept and those dropped.
        kept: rows written.
        dropped: rows, by the first reason that applied.
        findings: every pair.
    """

    source: str
    near: Near
    sets: tuple[EvaluationSet, ...] = ()
    not_compared: tuple[NotCompared, ...] = ()
    seed: int | None = None
    asked: int | None = None
    read: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    compared: int = 0
    kept: int = 0
    dropped: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def rows(self, kind: Kind, suite: str | None = None) -> int:
        """How many rows have a finding of this kind (with this evaluation set)."""
        return len({f.question.place for f in self.findings if f.kind == kind and suite in (None, f.suite)})

    def as_json(self) -> dict[str, Any]:
        """The whole of it; `findings` holds every pair with the places of both."""
        bands, rows = self.near.bands
        return {
            "source": self.source,
            "seed": self.seed,
            "asked": self.asked,
            "read": self.read,
            "removed": self.removed,
            "compared": self.compared,
            "kept": self.kept,
            "dropped": {kind: self.dropped[kind] for kind in KINDS},
            "rows": {kind: self.rows(kind) for kind in KINDS},
            "near": {
                "jaccard": self.near.threshold,
                "words": self.near.words,
                "numbers": self.near.numbers,
                "bands": bands,
                "rows_per_band": rows,
                "recall_at_threshold": round(self.near.recall(rows), 4),
            },
            "evaluation_sets": [self._met(each) for each in self.sets],
            "not_compared": [{"name": each.name, "reason": each.reason} for each in self.not_compared],
            "findings": [_pair(finding) for finding in self.findings],
        }

    def lines(self, show: int = 0) -> list[str]:
        """For a terminal; `show` so many pairs of each kind, the nearest first."""
        near = f"Jaccard of {self.near.words}-token runs >= {self.near.threshold:g}"
        same = ", the same numbers" if self.near.numbers == "same" else ""
        return [
            f"read              {self.read:>9,} rows of {self.source}",
            *(f"  removed         {count:>9,} {rule}" for rule, count in self.removed.items()),
            *self._drawn(),
            f"exact duplicates  {self.rows('duplicates'):>9,}",
            f"near duplicates   {self.rows('near-duplicates'):>9,} ({near}{same})",
            *self._overlap(),
            *(f"not compared      {each.name}: {each.reason}" for each in self.not_compared),
            *self._examples(show),
        ]

    def _drawn(self) -> list[str]:
        if self.seed is None:
            return []
        dropped = [f"  dropped         {self.dropped[kind]:>9,} {kind}" for kind in KINDS if self.dropped[kind]]
        left = self.read - sum(self.removed.values()) - self.compared
        fewer = f" ({self.asked:,} asked for)" if self.asked is not None and self.kept < self.asked else ""
        return [
            f"  not drawn       {left:>9,} (seed {self.seed})",
            *dropped,
            f"kept              {self.kept:>9,}{fewer}",
        ]

    def _overlap(self) -> list[str]:
        if not self.sets:
            return ["overlap           compared with no evaluation set"]
        heading = f"overlap with      {'questions':>9} {'rows the same':>14} {'rows near':>10} {'questions met':>14}"
        met = [self._met(each) for each in self.sets]
        return [
            heading,
            *(
                f"  {m['name']:<15} {m['questions']:>9,} {m['same']:>14,} {m['near']:>10,} {m['questions_met']:>14,}"
                for m in met
            ),
        ]

    def _met(self, each: EvaluationSet) -> Mapping[str, Any]:
        return {
            "name": each.name,
            "questions": len(each.questions),
            "same": self.rows("overlap", each.name),
            "near": self.rows("near-overlap", each.name),
            "questions_met": len({f.other.place for f in self.findings if f.suite == each.name}),
        }

    def _examples(self, show: int) -> list[str]:
        lines: list[str] = []
        for kind in KINDS:
            found = sorted((f for f in self.findings if f.kind == kind), key=lambda f: -f.similarity)
            for finding in found[:show]:
                lines += ["", f"{kind} {finding.similarity:.2f}"]
                lines += [f"  {q.place}: {_shown(q.text)}" for q in (finding.question, finding.other)]
        return lines


def _pair(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "suite": finding.suite,
        "similarity": round(finding.similarity, 4),
        "place": finding.question.place,
        "question": finding.question.text,
        "other_place": finding.other.place,
        "other_question": finding.other.text,
    }


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}..."
