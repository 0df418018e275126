"""`empo-train`: train from a configuration, run the demo, or list the recipes.

    empo-train CONFIG.yaml [key=value ...]   train; CONFIG may be the name of a recipe
    empo-train demo                          create a tiny model, train it without labels, compare before and after
    empo-train recipes                       the configurations that ship with the package
    empo-train probe RUN                     how many steps until agreement misleads, from a short run
    empo-train samples RUN                   completions of a run, with clusters and rewards
    empo-train components                    rewards, filters, guards and alarms, also of plugins

The module is fast to import: a command imports torch only when it needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from semantic_entropy.plain_text import printable

_USES = """\
empo-train demo                         train a tiny model, start to end
empo-train CONFIG.yaml [key=value ...]  train from a file or a recipe
empo-train CONFIG.yaml --resume         continue from the last checkpoint
empo-train RUN_DIR --resume             the same, without the configuration
empo-train CONFIG.yaml --overwrite      delete the earlier run, start again
empo-train CONFIG.yaml --check          report problems, train nothing
empo-train CONFIG.yaml --processes 8    train on eight GPUs
empo-train --engine verl CONFIG.yaml    train with verl instead of TRL
empo-train merge CHECKPOINT OUT         write the model of a checkpoint
empo-train recipes                      list the recipes of the package
empo-train probe RUN                    find the step budget in a short run
empo-train samples RUN                  show completions of a run
empo-train components                   list rewards, filters, guards, alarms
"""


class _ConfigOrCommand(click.Group):
    """A group of commands. If the first argument is no command, it is a configuration: `run` is the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `--engine` before the configuration as an option of `run`."""
        return super().parse_args(ctx, ["run", *args] if args[:1] and args[0].split("=")[0] == "--engine" else args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and (args[0] not in self.commands or _is_directory_run(args)) and not args[0].startswith("-"):
            args = ["run", *args]
        return super().resolve_command(ctx, args)


def _is_directory_run(args: list[str]) -> bool:
    """Whether the first argument `run` is the directory of a run with this name, not the command."""
    is_alone = all(more.startswith("-") or "=" in more for more in args[1:2])
    return args[0] == "run" and is_alone and Path("run", "config.yaml").is_file()


@click.group(
    cls=_ConfigOrCommand,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="CONFIG|COMMAND [ARGS]...",
    help=f"Train a language model with EMPO: without labels, from the agreement of its answers.\n\n\b\n{_USES}",
)
@click.version_option(package_name="semantic-entropy")
def main() -> None:
    """Entry point of `empo-train`."""


@main.command()
@click.argument("config")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--resume",
    is_flag=True,
    help="Continue from the last checkpoint in output_dir, if there is one, with the run's own configuration.",
)
@click.option("--overwrite", is_flag=True, help="Delete the earlier run in output_dir and start again.")
@click.option(
    "--engine",
    type=click.Choice(["trl", "verl"]),
    default="trl",
    show_default=True,
    help="The trainer: docs/empo/verl.md.",
)
@click.option("--processes", type=click.IntRange(min=1), help="Sets launch.processes: one process per GPU.")
@click.option(
    "--check", is_flag=True, help="Train nothing: report the problems of the configuration, and what the run needs."
)
@click.option(
    "--allow-missing-data",
    is_flag=True,
    help="With --check: a question file that a command makes need not exist yet; the report names the command.",
)
def run(
    config: str,
    overrides: tuple[str, ...],
    resume: bool,
    overwrite: bool,
    engine: str,
    processes: int | None,
    check: bool,
    allow_missing_data: bool,
) -> None:
    """Train from CONFIG, a YAML file or the name of a recipe. The word `run` is optional.

    With --resume, CONFIG can also be the directory of a run.

    KEY=VALUE changes one key; write nested keys with dots: training.steps=10.
    """
    if resume and overwrite:
        raise click.UsageError("--resume continues the earlier run and --overwrite deletes it: give one of them.")
    if allow_missing_data and not check:
        raise click.UsageError("--allow-missing-data is an option of --check: training needs the data.")
    changes = [*overrides, *(["resume=true"] if resume else [])]
    changes += [f"launch.processes={processes}"] if processes else []
    if check:
        _check(config, changes, allow_missing_data=allow_missing_data, engine=engine)
        return
    if engine == "verl":
        _train_with_verl(config, changes, overwrite=overwrite)
        return
    from empo_rl.run.stop_request import StopRequest

    stop = StopRequest()
    stop.install()
    try:
        from empo_rl.start_run import start_run

        final = start_run(config, changes, stop, overwrite=overwrite)
    except KeyboardInterrupt:
        stop.ignore_signals()
        click.echo("interrupted before the run has read its configuration.", err=True)
        raise SystemExit(130) from None
    if final is not None:
        click.echo(final)


def _train_with_verl(config: str, changes: list[str], *, overwrite: bool) -> None:
    """Write the prompts and the command of verl, and become this command."""
    from semantic_entropy import SemanticEntropyError

    try:
        from empo_rl.run.verl_run import start_verl

        start_verl(config, changes, overwrite=overwrite, say=lambda line: click.echo(line, err=True))
    except SemanticEntropyError as error:
        raise click.ClickException(printable(str(error))) from error
    except KeyboardInterrupt:
        click.echo("interrupted before verl has started.", err=True)
        raise SystemExit(130) from None


def _check(config: str, changes: list[str], *, allow_missing_data: bool, engine: str) -> None:
    """Print the report of the check. If the report contains a problem, exit with status 1."""
    from empo_rl.check import check_run, passed, report_lines

    findings = check_run(config, changes, allow_missing_data=allow_missing_data, engine=engine)
    for line in report_lines(findings):
        click.echo(line)
    if not passed(findings):
        raise SystemExit(1)


@main.command(short_help="Create, train and evaluate a tiny model.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--output-dir", type=click.Path(path_type=Path), help="[default: runs/demo-REWARD-SEED]")
@click.option("--steps", type=click.IntRange(min=1), default=50, show_default=True, help="Training steps.")
@click.option(
    "--reward",
    type=click.Choice(["empo", "random", "golden"]),
    default="empo",
    show_default=True,
    help="empo: without labels. golden: with labels. random: the control.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-4,
    show_default=True,
    help="At 1e-3, entropy and accuracy both fall.",
)
@click.option("--pretrain-steps", type=click.IntRange(min=1), default=550, show_default=True)
@click.option("--resume", is_flag=True, help="Continue the interrupted demo in the output directory.")
def demo(output_dir: Path | None, reward: str, resume: bool, **choices: Any) -> None:
    """Create a tiny model, train it with EMPO on questions without labels, and compare before and after.

    Offline, on one thread; the same seed gives the same numbers. Without --resume the demo replaces an earlier demo in
    the output directory.
    """
    from empo_rl.extras import TRAINING, require_extra
    from empo_rl.start_run import set_environment
    from semantic_entropy import SemanticEntropyError

    set_environment(offline=True)
    directory = output_dir or Path("runs") / f"demo-{reward}-{choices['seed']}"
    try:
        require_extra("empo-train demo", (*TRAINING, "matplotlib", "sklearn"))
        _demo(directory, resume, reward=reward, **choices)
    except SemanticEntropyError as error:
        raise click.ClickException(printable(str(error))) from error


def _demo(directory: Path, resume: bool, **choices: Any) -> None:
    from empo_rl.demo.demo_directory import DemoOptions, prepare, resume_demo, resume_hint
    from empo_rl.files import run_directory
    from empo_rl.progress import StageProgress
    from empo_rl.start_run import end_run, silence_libraries

    options = DemoOptions(**choices)
    with run_directory.lock(directory), StageProgress() as progress:
        start = resume_demo(directory, options) if resume else prepare(directory)
        for line in (*start.notes, "loading torch, transformers and trl"):
            progress.say(line)
        try:
            from empo_rl.demo.demo_run import print_table, run_demo

            silence_libraries()
            summary = run_demo(directory, start, options, progress)
        except KeyboardInterrupt:
            end_run(f"{progress.interrupted()}. {resume_hint(directory)}")
    print_table(summary, directory)


@main.command(short_help="Write the model of a checkpoint.")
@click.argument("checkpoint", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def merge(checkpoint: Path, out: Path) -> None:
    """Write the model of CHECKPOINT (a folder checkpoint-N of a run) into the new folder OUT, for `from_pretrained`.

    The shards of launch.strategy=fsdp2 are merged. With LoRA, OUT contains the adapter.
    """
    from empo_rl.extras import require_extra
    from semantic_entropy import SemanticEntropyError

    if out.exists() and any(out.iterdir()):
        raise click.ClickException(f"{out} is not empty. Choose a new folder.")
    try:
        require_extra("empo-train merge")
        from empo_rl.run.final_model import export_checkpoint
        from empo_rl.start_run import silence_libraries

        silence_libraries()
        click.echo(export_checkpoint(checkpoint, out))
    except SemanticEntropyError as error:
        raise click.ClickException(printable(str(error))) from error


@main.command(short_help="List the recipes, or print one.")
@click.argument("name", required=False)
def recipes(name: str | None) -> None:
    """List the recipes, or print the recipe NAME as a template for a configuration."""
    from empo_rl.config.recipes import recipe_names, recipe_text
    from semantic_entropy import nearest

    if name is None:
        for known in recipe_names():
            click.echo(f"{known:<24} {recipe_text(known).splitlines()[0].lstrip('# ')}")
    elif name in recipe_names():
        click.echo(_complete_recipe(name, recipe_text(name)), nl=False)
    else:
        raise click.ClickException(
            f"no recipe {name!r}.{nearest(name, recipe_names())} Recipes: {', '.join(recipe_names())}."
        )


@main.command(short_help="Find the step budget in a short run.")
@click.argument("directory", metavar="RUN", type=click.Path(path_type=Path))
def probe(directory: Path) -> None:
    """Say after how many steps of the short run in RUN agreement misleads, with and without labels.

    Before a long run, train the same configuration for a few steps into its own output_dir, with monitor.action=warn,
    and with empo.measure_gold=true if there are gold answers.
    """
    from empo_rl.files.metrics_file import read_metrics
    from empo_rl.files.run_directory import ALARMS, METRICS
    from empo_rl.monitor.collapse_step import report
    from semantic_entropy import SemanticEntropyError

    for name in (METRICS, ALARMS):
        if not (directory / name).is_file():
            raise click.ClickException(
                f"{directory} has no {name}. Name the output_dir of an `empo-train` run of method empo, which has made "
                "its first step."
            )
    try:
        for line in report(read_metrics(directory / ALARMS), read_metrics(directory / METRICS)):
            click.echo(line)
    except SemanticEntropyError as error:
        raise click.ClickException(printable(str(error))) from error


@main.command(short_help="Show completions of a run, with clusters and rewards.")
@click.argument("directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--step", type=click.IntRange(min=1), help="The step; without it, the last step with samples.")
@click.option("--full", is_flag=True, help="Show whole texts.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines of samples.jsonl.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write an HTML report of the samples of all steps, or of --step, and print nothing else.",
)
def samples(directory: Path, step: int | None, full: bool, as_json: bool, report: Path | None) -> None:
    """Show completions of the run in RUN with clusters, rewards, and whether the group is in the loss.

    The key samples.every of the configuration sets the steps. Compare the first step with the last: --step 1.
    """
    import json

    from empo_rl.monitor.samples import sample_lines

    rows = _read_samples(directory)
    steps = list(dict.fromkeys(row["step"] for row in rows))
    chosen = steps[-1] if step is None else step
    if chosen not in steps:
        raise click.ClickException(f"step {step} has no samples. Steps with samples: {', '.join(map(str, steps))}.")
    if report:
        click.echo(_samples_report(rows if step is None else [row for row in rows if row["step"] == step], report))
        return
    for row in (row for row in rows if row["step"] == chosen):
        try:
            lines = [json.dumps(row, ensure_ascii=False)] if as_json else list(sample_lines(row, full=full))
        except (KeyError, TypeError) as error:
            raise click.ClickException(f"step {chosen} has no {error}. Was samples.jsonl edited?") from error
        for line in lines:
            click.echo(line)
    if not as_json:
        click.echo(f"steps with samples: {', '.join(map(str, steps))}")


def _read_samples(directory: Path) -> list[dict[str, Any]]:
    """Return the samples of a run: at least one row."""
    from empo_rl.files.metrics_file import read_metrics
    from empo_rl.files.run_directory import SAMPLES
    from semantic_entropy import SemanticEntropyError

    try:
        path = directory / SAMPLES
        if not directory.is_dir():
            raise click.ClickException(f"{directory} does not exist. Name the output_dir of a run.")
        if not path.is_file():
            raise click.ClickException(
                f"{directory} has no {SAMPLES}. Name the output_dir of an `empo-train` run of method empo, which has "
                "made its first step, with samples.every above 0."
            )
        rows = read_metrics(path)
    except SemanticEntropyError as error:
        raise click.ClickException(printable(str(error))) from error
    if not rows:
        raise click.ClickException(f"{path} has no complete line yet: the run has not finished its first step.")
    return rows


def _samples_report(rows: Sequence[Mapping[str, Any]], output: Path) -> str:
    """Write the report of samples, and return what the user reads."""
    from empo_rl.monitor.samples import report_rows
    from semantic_entropy import SemanticEntropyError
    from semantic_entropy.report import write_report

    try:
        return str(write_report(report_rows(rows), output, title="Samples of a training run"))
    except KeyError as error:
        message = f"the samples have no {error}: an earlier version wrote them, or samples.jsonl was edited"
        raise click.ClickException(message) from error
    except (SemanticEntropyError, OSError) as error:
        raise click.ClickException(printable(str(error))) from error


@main.command(short_help="List rewards, filters, guards and alarms.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def components(as_json: bool) -> None:
    """List every reward, filter, guard and alarm with its package, and every plugin that failed to load."""
    import json

    from empo_rl.plugin import KINDS
    from empo_rl.plugin import components as registry

    if as_json:
        listed = {
            kind: [
                {"name": registry.name_of(entry), "summary": entry.component.summary, "source": entry.source}
                for entry in registry.entries(kind)
            ]
            for kind in KINDS
        }
        failed = [{"plugin": f.plugin, "source": f.source, "reason": f.reason} for f in registry.failures()]
        click.echo(json.dumps({"components": listed, "failed": failed}, indent=2))
        return
    for kind in KINDS:
        click.echo(click.style(kind, bold=True))
        for entry in registry.entries(kind):
            click.echo(f"  {registry.name_of(entry):<16} {entry.component.summary}  ({entry.source})")
    for failure in registry.failures():
        click.secho(f"FAILED {failure.plugin} ({failure.source}): {failure.reason}", fg="red")


def _complete_recipe(name: str, text: str) -> str:
    """The text of the recipe. If the recipe extends another recipe, its header and the merged keys of both recipes."""
    if not any(line.startswith("extends:") for line in text.splitlines()):
        return text
    from empo_rl.config.load import read_with_bases
    from semantic_entropy import SemanticEntropyError

    try:
        values, _ = read_with_bases(name)
    except SemanticEntropyError as error:
        raise click.ClickException(printable(str(error))) from error
    import yaml

    header = [line for line in text.splitlines(keepends=True) if line.startswith("#")]
    return "".join(header) + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


if __name__ == "__main__":
    from empo_rl.run.launch import run_process  # a launched process is this module

    run_process(main)
