"""Results as Markdown: one row an evaluation, in the shape of the paper's tables, and below it every number.

    math      MATH, Minerva, Olympiad, AIME24, AMC23, Avg.            Tables 1 and 3
    natural   STEM, Humanities, Social, Other, Avg., GPQA             Table 2

Accuracies are greedy pass@1 in percent. A column that an evaluation does not have is "-"; an average over columns needs
all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from empo_rl.data.suites import MMLU_PRO_GROUPS, SETS, SUITES

_NONE = "-"


def paper_tables(results: Sequence[Mapping[str, Any]]) -> str:
    """The tables of the suites that any of these evaluations has a set of; the other sets in one of their own."""
    tables = []
    for suite, names in SUITES.items():
        if held := [one for one in results if any(name in one["sets"] for name in names)]:
            tables.append(_markdown(["", *_columns(suite)], [[one["label"], *_row(suite, one)] for one in held]))
    others = list(dict.fromkeys(name for one in results for name in one["sets"] if name not in _in_a_suite()))
    if others:
        titles = [next(one["sets"][name]["title"] for one in results if name in one["sets"]) for name in others]
        rows = [[one["label"], *(_accuracy(one["sets"].get(name)) for name in others)] for one in results]
        tables.append(_markdown(["", *titles], rows))
    return "\n".join(["Accuracy (%), greedy pass@1.\n", *tables])


def all_numbers(results: Mapping[str, Any]) -> str:
    """Every number with its 95% interval, a row a set; and what went wrong, a row a set and part."""
    sets: Mapping[str, Mapping[str, Any]] = results["sets"]
    keys = list(dict.fromkeys(key for one in sets.values() for key, value in one.items() if _is_number(value)))
    rows = [
        [one["title"], str(one["questions"]), *(_interval(key, one.get(key)) for key in keys)] for one in sets.values()
    ]
    rows += [
        [f"{suite}, average", "", *(_interval(key, one.get(key)) for key in keys)]
        for suite, one in results["averages"].items()
    ]
    counted = list(_counted(sets))
    return "\n".join(
        [
            "Each number with its 95% interval over questions; shares in %, entropy in nats, AUROC from 0 to 1.\n",
            _markdown(["", "questions", *keys], rows),
            "Responses, and what was amiss with them: none of these counts as right.\n",
            _markdown(
                ["", "part", *counted[0][2]], [[title, part, *map(str, c.values())] for title, part, c in counted]
            ),
        ]
    )


def _counted(sets: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Mapping[str, int]]]:
    for one in sets.values():
        for part, counts in one["counts"].items():
            yield one["title"], part, counts


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


def _accuracy(found: Mapping[str, Any] | None) -> str:
    value = (found or {}).get("pass@1", {}).get("value")
    return _NONE if value is None else f"{100 * value:.1f}"


def _is_number(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"value", "low", "high"}


def _interval(key: str, found: Mapping[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return _NONE
    scale, digits = (1, 3) if key in ("semantic_entropy", "auroc") else (100, 1)
    value, low, high = (
        None if found[at] is None else f"{scale * found[at]:.{digits}f}" for at in ("value", "low", "high")
    )
    return f"{value} [{low}, {high}]" if low is not None else f"{value}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
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
