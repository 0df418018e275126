"""The report of `empo-data`: the numbers of rows read, removed, dropped and kept, and every overlapping pair.

`DataReport.lines` returns text for a terminal. `DataReport.to_dict` returns the content of the JSON file that is
written next to the output file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from empo_rl.data.comparison_sets import EvaluationSet, UnavailableSet
from empo_rl.data.overlap import OVERLAP_KINDS, NearCriterion, OverlapKind, OverlapPair

_MAX_SHOWN = 160  # a printed question is cut off after this number of characters


@dataclass
class DataReport:
    """The counts of rows and the overlapping pairs. `prepare` and `check` fill a report while they process the rows.

    Attributes:
        source: name of the file or data set that was read.
        near: the criterion that decides whether two questions are near.
        sets: evaluation sets that the rows were compared with.
        unavailable: evaluation sets that could not be loaded.
        seed: seed of the sample; None if a file is only checked.
        requested: number of rows that the user asked for.
        read: number of records read.
        removed: rule -> number of records that the rule removed, in the order of the rules.
        compared: number of rows compared. Each compared row is kept or dropped.
        kept: number of rows written.
        dropped: kind of overlap -> number of rows dropped. A row with several kinds counts once, for the first kind.
        pairs: every overlapping pair.
    """

    source: str
    near: NearCriterion
    sets: tuple[EvaluationSet, ...] = ()
    unavailable: tuple[UnavailableSet, ...] = ()
    seed: int | None = None
    requested: int | None = None
    read: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    compared: int = 0
    kept: int = 0
    dropped: Counter[OverlapKind] = field(default_factory=Counter)
    pairs: list[OverlapPair] = field(default_factory=list)

    def rows(self, kind: OverlapKind, suite: str | None = None) -> int:
        """The number of rows that have a pair of this kind. `suite`: count only pairs with this evaluation set."""
        return len({pair.question.place for pair in self.pairs if pair.kind == kind and suite in (None, pair.suite)})

    def to_dict(self) -> dict[str, Any]:
        """The complete report as a dict for JSON. The key `findings` lists every pair with both places."""
        bands, rows = self.near.bands
        return {
            "source": self.source,
            "seed": self.seed,
            "asked": self.requested,
            "read": self.read,
            "removed": self.removed,
            "compared": self.compared,
            "kept": self.kept,
            "dropped": {kind: self.dropped[kind] for kind in OVERLAP_KINDS},
            "rows": {kind: self.rows(kind) for kind in OVERLAP_KINDS},
            "near": {
                "jaccard": self.near.threshold,
                "words": self.near.words,
                "numbers": self.near.numbers,
                "bands": bands,
                "rows_per_band": rows,
                "recall_at_threshold": round(self.near.recall(rows), 4),
            },
            "evaluation_sets": [self._set_counts(compared) for compared in self.sets],
            "not_compared": [{"name": missing.name, "reason": missing.reason} for missing in self.unavailable],
            "findings": [_pair_dict(pair) for pair in self.pairs],
        }

    def lines(self, show: int = 0) -> list[str]:
        """Lines for a terminal, with up to `show` pairs of each kind. The most similar pairs come first."""
        near = f"Jaccard of {self.near.words}-token runs >= {self.near.threshold:g}"
        same = ", the same numbers" if self.near.numbers == "same" else ""
        return [
            f"read              {self.read:>9,} row{'' if self.read == 1 else 's'} of {self.source}",
            *(f"  removed         {count:>9,} {rule}" for rule, count in self.removed.items()),
            *self._sample_lines(),
            f"exact duplicates  {self.rows('duplicates'):>9,}",
            f"near duplicates   {self.rows('near-duplicates'):>9,} ({near}{same})",
            *self._set_lines(),
            *(f"not compared      {missing.name}: {missing.reason}" for missing in self.unavailable),
            *self._example_lines(show),
        ]

    def _sample_lines(self) -> list[str]:
        if self.seed is None:
            return []
        dropped = [f"  dropped         {self.dropped[kind]:>9,} {kind}" for kind in OVERLAP_KINDS if self.dropped[kind]]
        left = self.read - sum(self.removed.values()) - self.compared
        fewer = f" ({self.requested:,} asked for)" if self.requested is not None and self.kept < self.requested else ""
        return [
            f"  not drawn       {left:>9,} (seed {self.seed})",
            *dropped,
            f"kept              {self.kept:>9,}{fewer}",
        ]

    def _set_lines(self) -> list[str]:
        if not self.sets:
            return ["overlap           compared with no evaluation set"]
        counts = [self._set_counts(compared) for compared in self.sets]
        return [
            f"overlap with      {'questions':>9} {'rows the same':>14} {'rows near':>10} {'questions met':>14}",
            *(
                f"  {c['name']:<15} {c['questions']:>9,} {c['same']:>14,} {c['near']:>10,} {c['questions_met']:>14,}"
                for c in counts
            ),
        ]

    def _set_counts(self, compared: EvaluationSet) -> Mapping[str, Any]:
        return {
            "name": compared.name,
            "questions": len(compared.questions),
            "same": self.rows("overlap", compared.name),
            "near": self.rows("near-overlap", compared.name),
            "questions_met": len({pair.other.place for pair in self.pairs if pair.suite == compared.name}),
        }

    def _example_lines(self, show: int) -> list[str]:
        lines: list[str] = []
        for kind in OVERLAP_KINDS:
            ranked = sorted((pair for pair in self.pairs if pair.kind == kind), key=lambda pair: -pair.similarity)
            for pair in ranked[:show]:
                lines += ["", f"{kind} {pair.similarity:.2f}"]
                lines += [f"  {q.place}: {_shorten(q.text)}" for q in (pair.question, pair.other)]
        return lines


def _pair_dict(pair: OverlapPair) -> dict[str, Any]:
    return {
        "kind": pair.kind,
        "suite": pair.suite,
        "similarity": round(pair.similarity, 4),
        "place": pair.question.place,
        "question": pair.question.text,
        "other_place": pair.other.place,
        "other_question": pair.other.text,
    }


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}..."
