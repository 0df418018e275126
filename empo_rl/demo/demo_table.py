"""The demo's last word: before and after, in a table on stdout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(summary: Mapping[str, Any], directory: Path) -> None:
    """`summary.json` as four rows, before and after; then AUROC, time, and where the files are."""
    console = Console()
    table = Table(title="256 held-out questions")
    table.add_column("")
    for column in ("before", "after", "change"):
        table.add_column(column, justify="right")
    before, after = summary["base"], summary["final"]
    for name, label in _LABELS.items():
        table.add_row(label, f"{before[name]:.3f}", f"{after[name]:.3f}", f"{after[name] - before[name]:+.3f}")
    console.print(table)
    base_auroc, seconds = summary["auroc_base"], summary["seconds"]
    auroc = "undefined (all right, or all wrong)" if base_auroc is None else f"{base_auroc:.3f}"
    console.print(f"AUROC of entropy against wrong answers, before training: {auroc}", highlight=False)
    console.print(
        f"{seconds['total']:.0f} s: pre-training {seconds['pretrain']:.0f}, training {seconds['train']:.0f}, "
        f"of which judging {seconds['judging']:.1f}",
        highlight=False,
    )
    console.print(f"written to {directory}", highlight=False, soft_wrap=True)


_LABELS = {
    "pass@1": "pass@1, greedy",
    "mean@8": "mean@8",
    "majority@8": "majority@8",
    "semantic_entropy": "semantic entropy (nats)",
}
