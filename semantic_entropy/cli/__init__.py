"""The command `semantic-entropy`: one module for each subcommand, and `options` for the options that they share.

At the top, these modules import only the modules that `--help` needs. A command imports all other modules when it runs,
so that `--help` answers at once.
"""

from __future__ import annotations

from typing import Any

import click

from semantic_entropy.cli.calibrate import calibrate_command
from semantic_entropy.cli.doctor import doctor_command
from semantic_entropy.cli.drift import drift_command
from semantic_entropy.cli.estimate import estimate_command
from semantic_entropy.cli.evaluate import evaluate_command
from semantic_entropy.cli.explain import explain_command
from semantic_entropy.cli.label import label_command
from semantic_entropy.cli.plugins import plugins_command
from semantic_entropy.cli.report import report_command
from semantic_entropy.cli.serve import serve_command
from semantic_entropy.cli.tune_judge import threshold_command, tune_judge_command
from semantic_entropy.errors import SemanticEntropyError
from semantic_entropy.plain_text import printable

__all__ = ["main"]


class _Group(click.Group):
    """A click group that prints the errors of this package, and Ctrl-C, as messages without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SemanticEntropyError as error:
            raise click.ClickException(printable(str(error))) from error
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            raise SystemExit(130) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="semantic-entropy")
def main() -> None:
    """Measure how uncertain a language model is: the entropy over the meanings of several answers."""


_COMMANDS = (
    estimate_command,
    evaluate_command,
    label_command,
    calibrate_command,
    drift_command,
    explain_command,
    report_command,
    serve_command,
    plugins_command,
    doctor_command,
    tune_judge_command,
    threshold_command,
)
for _command in _COMMANDS:
    main.add_command(_command)
