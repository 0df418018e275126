"""Print results as Markdown: the paper's tables with one row for each evaluation, and a table of all numbers.

    math      MATH, Minerva, Olympiad, AIME24, AMC23, Avg.            Tables 1 and 3
    natural   STEM, Humanities, Social, Other, Avg., GPQA             Table 2

Accuracies are greedy pass@1 in percent. A missing value is printed as "-". The average of a suite is
missing if one of the sets is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from empo_rl.data.suites import MMLU_PRO_GROUPS, SETS, SUITES

ENTROPY = "semantic_entropy"
_MISSING = "-"


def paper_tables(results: Sequence[Mapping[str, Any]]) -> str:
    """One table for each suite that was evaluated at least in part, and one table for sets that are in no suite."""
    tables = []
    for suite, names in SUITES.items():
        if rows := [found for found in results if any(name in found["sets"] for name in names)]:
            tables.append(markdown(["", *_columns(suite)], [[found["label"], *_row(suite, found)] for found in rows]))
    others = [
        name for name in dict.fromkeys(name for found in results for name in found["sets"]) if _is_other(name, results)
    ]
    if others:
        titles = [next(found["sets"][name]["title"] for found in results if name in found["sets"]) for name in others]
        cells = [[found["label"], *(_accuracy(found["sets"].get(name)) for name in others)] for found in results]
        tables.append(markdown(["", *titles], cells))
    return "\n".join(["Accuracy (%), greedy pass@1.\n", *tables]) if tables else ""


def all_numbers(results: Mapping[str, Any]) -> str:
    """Two tables: the numbers of each set with 95% intervals, and the counts of responses of each set and part."""
    sets: Mapping[str, Mapping[str, Any]] = results["sets"]
    keys = list(dict.fromkeys(key for entry in sets.values() for key, value in entry.items() if _is_number(value)))
    rows = [
        [entry["title"], _question_count(entry), *(_interval(key, entry.get(key)) for key in keys)]
        for entry in sets.values()
    ]
    rows += [
        [f"{suite}, average", "", *(_interval(key, entry.get(key)) for key in keys)]
        for suite, entry in results["averages"].items()
    ]
    counts = list(_counts(sets))
    return "\n".join(
        [
            "Each number with its 95% interval over questions; shares in %, entropy in nats, AUROC from 0 to 1.\n",
            markdown(["", "questions", *keys], rows),
            *_gold_notes(sets),
            "Counts of responses. Missing, unanswered and undecided responses count as wrong.\n",
            markdown(["", "part", *counts[0][2]], [[title, part, *map(str, c.values())] for title, part, c in counts]),
        ]
    )


def _gold_notes(sets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    without = [entry["title"] for entry in sets.values() if entry.get("golds", entry["questions"]) < entry["questions"]]
    if not without:
        return []
    return [f"{', '.join(without)}: questions without a gold answer count only in the semantic entropy.\n"]


def _question_count(entry: Mapping[str, Any]) -> str:
    count, golds = entry["questions"], entry.get("golds", entry["questions"])
    return str(count) if golds == count else f"{count} ({golds} with gold)"


def _counts(sets: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Mapping[str, int]]]:
    for entry in sets.values():
        for part, counts in entry["counts"].items():
            yield entry["title"], part, counts


def _columns(suite: str) -> list[str]:
    if suite == "natural":
        return [*dict.fromkeys(MMLU_PRO_GROUPS.values()), "Avg.", SETS["gpqa_diamond"].title]
    titles = [SETS[name].title for name in SUITES[suite]]
    return [*titles, "Avg."] if len(titles) > 1 else titles


def _row(suite: str, results: Mapping[str, Any]) -> list[str]:
    sets = results["sets"]
    if suite == "natural":
        mmlu = sets.get("mmlu_pro", {})
        groups = [_accuracy(mmlu.get("groups", {}).get(group)) for group in dict.fromkeys(MMLU_PRO_GROUPS.values())]
        return [*groups, _accuracy(mmlu), _accuracy(sets.get("gpqa_diamond"))]
    cells = [_accuracy(sets.get(name)) for name in SUITES[suite]]
    return [*cells, _accuracy(results["averages"].get(suite))] if len(cells) > 1 else cells


def _in_a_suite() -> set[str]:
    return {name for names in SUITES.values() for name in names}


def _is_other(name: str, results: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a set is in no suite, and has an accuracy in one of the results."""
    return name not in _in_a_suite() and any("pass@1" in found["sets"].get(name, {}) for found in results)


def _accuracy(found: Mapping[str, Any] | None) -> str:
    value = (found or {}).get("pass@1", {}).get("value")
    return _MISSING if value is None else f"{100 * value:.1f}"


def _is_number(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"value", "low", "high"}


def format_number(key: str, value: float | None, *, signed: bool = False) -> str:
    """The value of a number: a share in percent, the entropy in nats, the AUROC from 0 to 1; "-" if it is undefined."""
    if value is None or math.isnan(value):
        return _MISSING
    scale, digits = (1, 3) if key in (ENTROPY, "auroc") else (100, 1)
    rounded = round(scale * value, digits) + 0.0  # never -0.0
    return f"{rounded:{'+' if signed else ''}.{digits}f}"


def _interval(key: str, found: Mapping[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return _MISSING
    value, low, high = (format_number(key, found[at]) for at in ("value", "low", "high"))
    return value if low == _MISSING else f"{value} [{low}, {high}]"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown. The first column is aligned to the left, the other columns to the right."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in cells
    ]
    lines = [f"| {' | '.join(row)} |" for row in (padded[0], rule, *padded[1:])]
    return "\n".join(lines) + "\n"
