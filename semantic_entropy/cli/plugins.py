"""`semantic-entropy plugins`: list components and failed plugins."""

from __future__ import annotations

import json
from typing import Any

import click

from semantic_entropy.cli.options import json_option
from semantic_entropy.plain_text import printable


@click.command("plugins")
@json_option
def plugins_command(as_json: bool) -> None:
    """List every component with its package, and every plugin that failed to load."""
    listing = list_components()
    if as_json:
        click.echo(json.dumps(listing, indent=2))
        return
    for kind, components in listing["components"].items():
        click.echo(click.style(kind, bold=True))
        for component in components:
            missing = f"  [missing: {', '.join(component['missing'])}]" if component["missing"] else ""
            line = f"  {component['name']:<16} {component['summary']}  ({component['source']}){missing}"
            click.echo(printable(line))
    for failure in listing["failed"]:
        click.secho(printable(f"FAILED {failure['plugin']} ({failure['source']}): {failure['reason']}"), fg="red")


def list_components() -> dict[str, Any]:
    """Return the components of each kind and the failed plugins, as lists and dicts."""
    from semantic_entropy.registry.discovery import default_registry
    from semantic_entropy.registry.hookspecs import KINDS

    registry = default_registry()
    return {
        "components": {
            kind: [
                {
                    "name": registry.name_of(entry),
                    "summary": entry.component.summary,
                    "source": entry.source,
                    "missing": entry.missing(),
                }
                for entry in registry.entries(kind)
            ]
            for kind in KINDS
        },
        "failed": [
            {"plugin": failure.plugin, "source": failure.source, "reason": failure.reason}
            for failure in registry.failures()
        ],
    }
