"""The demo's last word: before and after, in a table on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from empo_rl.demo.run import DemoResult


def print_table(result: DemoResult, directory: Path) -> None:
    """Four rows, before and after; then AUROC, time, and where the files are."""
    console = Console()
    table = Table(title="256 held-out questions")
    table.add_column("")
    for column in ("before", "after", "change"):
        table.add_column(column, justify="right")
    before, after = result.base.to_dict(), result.final.to_dict()
    for name, label in _LABELS.items():
        table.add_row(label, f"{before[name]:.3f}", f"{after[name]:.3f}", f"{after[name] - before[name]:+.3f}")
    console.print(table)
    auroc = "undefined (all right, or all wrong)" if result.auroc_base is None else f"{result.auroc_base:.3f}"
    seconds = result.seconds
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
