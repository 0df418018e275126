"""One result, drawn in the terminal: a bar a meaning, its members underneath."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from semantic_entropy.plain_text import one_line
from semantic_entropy.types import Result

_WIDTH = 30  # characters of a full bar


def draw(result: Result, responses: Sequence[str], question: str | None, console: Console | None = None) -> None:
    """Print the clusters, most probable first, with every response under its cluster."""
    console = console or Console(highlight=False)
    if question:
        console.print(f"[bold]{escape(one_line(question))}[/bold]")
    console.print(
        f"semantic entropy [bold]{result.entropy:.3f}[/bold] nats, {result.normalized:.0%} of the maximum; "
        f"{len(result.clusters)} meaning{'s' * (len(result.clusters) != 1)} in {len(responses)} responses"
    )
    for cluster in sorted(result.clusters, key=lambda c: -c.share):
        name = "[dim](no answer)[/dim]" if cluster.representative is None else escape(one_line(cluster.representative))
        filled = round(cluster.share * _WIDTH)
        console.print(f"\n[cyan]{'█' * filled}[/cyan][dim]{'·' * (_WIDTH - filled)}[/dim] {cluster.share:6.1%}  {name}")
        for index in cluster.indices:
            console.print(
                f"    [dim]{index:>3}[/dim]  {escape(one_line(responses[index]))}",
                overflow="ellipsis",
                no_wrap=True,
            )
    how = result.provenance
    console.print(
        f"\n[dim]{escape(f'{how.equivalence} ({how.equivalence_reason}); {how.clusterer}; {how.estimator}')}[/dim]"
    )
    for line in how.costs():
        console.print(f"[dim]{escape(line)}[/dim]")
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}")
