"""`empo-train`: train from a configuration, or see the whole thing in a minute or two.

    empo-train CONFIG.yaml [key=value ...]   train; CONFIG may be a recipe's name
    empo-train demo                          make a tiny model, train it without labels, compare
    empo-train recipes                       what ships with the package

Light at import: torch is loaded when a command needs it.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import click

_USES = """\
empo-train demo                         a tiny model, start to end
empo-train CONFIG.yaml [key=value ...]  a run of your own, or a recipe
empo-train CONFIG.yaml --resume         go on from its last checkpoint
empo-train CONFIG.yaml --overwrite      begin anew, without the old run
empo-train CONFIG.yaml --check          say what is wrong, train nothing
empo-train CONFIG.yaml --processes 8    on eight GPUs
empo-train recipes                      what ships with the package
"""


class _ConfigOrCommand(click.Group):
    """The first argument names a command; anything else is a configuration to train from."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["run", *args]
        return super().resolve_command(ctx, args)


@click.group(
    cls=_ConfigOrCommand,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="CONFIG|COMMAND [ARGS]...",
    help=f"Train a language model with EMPO: no labels, only agreement with itself.\n\n\b\n{_USES}",
)
@click.version_option(package_name="semantic-entropy")
def main() -> None:
    """The front door."""


@main.command()
@click.argument("config")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in output_dir, if there is one.")
@click.option("--overwrite", is_flag=True, help="Delete the earlier run in output_dir and begin anew.")
@click.option("--processes", type=click.IntRange(min=1), help="As launch.processes: a process a GPU.")
@click.option(
    "--check", is_flag=True, help="Train nothing: say what is wrong with the configuration, and what it needs."
)
def run(
    config: str, overrides: tuple[str, ...], resume: bool, overwrite: bool, processes: int | None, check: bool
) -> None:
    """Train from CONFIG, a YAML file or a recipe's name. `run` may be left out.

    KEY=VALUE changes one key, nested keys with dots: training.steps=10.
    """
    from empo_rl.config.load import load_config
    from empo_rl.extras import require_extra
    from empo_rl.run.launch import check_one_process, wait_to_be_ended, wants_launch
    from semantic_entropy import SemanticEntropyError

    if resume and overwrite:
        raise click.UsageError("--resume goes on with the earlier run, --overwrite deletes it: give one of them.")
    changes = [*overrides, *(["resume=true"] if resume else [])]
    changes += [f"launch.processes={processes}"] if processes else []
    if check:
        _check(config, changes)
        return
    try:
        checked = load_config(config, changes)
        require_extra("empo-train")
        if checked.lora is not None:
            require_extra("lora", ("peft",), extra="lora")
        _quiet_machinery(offline=checked.model == "demo" and checked.data.dataset in (None, "demo"))
        if wants_launch(checked):
            _launch(checked, ["run", config, *changes], overwrite=overwrite)
            return
        check_one_process(checked)
        final = _train(checked, overwrite)
    except SemanticEntropyError as error:
        wait_to_be_ended(error)
        raise click.ClickException(str(error)) from error
    if _is_first_process():
        click.echo(final)


def _check(config: str, changes: list[str]) -> None:
    """Exit status 1 where something is wrong."""
    from empo_rl.check import check_run, passed, report_lines

    findings = check_run(config, changes)
    for line in report_lines(findings):
        click.echo(line)
    if not passed(findings):
        raise SystemExit(1)


def _launch(config: Any, command: list[str], *, overwrite: bool) -> None:
    from empo_rl.config.batch_layout import accumulation_steps
    from empo_rl.files import run_directory
    from empo_rl.run.launch import EndedRunError, ProcessError, check_devices, launch

    # what is wrong for all processes is said once, before there are any
    accumulation_steps(config, config.launch.processes)
    run_directory.plan_start(Path(config.output_dir), resume=config.resume, overwrite=overwrite)
    check_devices(config)
    try:
        launch(config, [*command, *(["--overwrite"] if overwrite else [])])
    except EndedRunError as ended:
        if not ended.told:
            click.echo(f"interrupted. {_way_on(Path(config.output_dir), config.training.save_every)}", err=True)
        raise SystemExit(ended.status) from None  # the first process has said how far it came
    except ProcessError as error:
        way_on = _way_on(Path(config.output_dir), config.training.save_every)
        raise click.ClickException(f"{error} {way_on}") from error


def _train(config: Any, overwrite: bool) -> Path:
    from empo_rl.monitor import RunStoppedError
    from empo_rl.run.launch import STOPPED, end_with_the_launcher, is_one_of_many, wait_to_be_ended
    from empo_rl.run.progress import StageProgress

    end_with_the_launcher()
    if not is_one_of_many():  # what a queue sends; of several processes the launcher says the last words
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with StageProgress() as progress:
        try:
            from empo_rl.run.train import run_training

            _quiet_transformers()
            return run_training(config, overwrite=overwrite, progress=progress, say=progress.say)
        except KeyboardInterrupt:
            _stop(f"{progress.interrupted()}. {_way_on(Path(config.output_dir), config.training.save_every)}")
        except RunStoppedError as stop:
            progress.end()
            _stop(str(stop), status=STOPPED)
        except RuntimeError as error:
            wait_to_be_ended(error)
            raise


def _way_on(directory: Path, save_every: int) -> str:
    from empo_rl.files import checkpoints

    checkpoint, _ = checkpoints.latest(directory)
    if checkpoint is None:
        return f"There is no checkpoint yet (training.save_every={save_every}): --resume begins at step 1."
    return f"The last checkpoint is {checkpoint}: the same command with --resume goes on from there."


def _stop(line: str, status: int = 130) -> NoReturn:
    """The end of a run that its user interrupted, or an alarm stopped; 130 is what shells expect after Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would cut this line short
    if _is_first_process():
        click.echo(line, err=True)
    raise SystemExit(status)


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"  # of those that torchrun or accelerate started


@main.command(short_help="Make, train and measure a tiny model.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--output-dir", type=click.Path(path_type=Path), help="[default: runs/demo-REWARD-SEED]")
@click.option("--steps", type=click.IntRange(min=1), default=50, show_default=True, help="Training steps.")
@click.option(
    "--reward",
    type=click.Choice(["empo", "random", "golden"]),
    default="empo",
    show_default=True,
    help="empo: no labels. golden: with labels. random: the control.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-4,
    show_default=True,
    help="At 1e-3 entropy falls and accuracy with it.",
)
@click.option("--pretrain-steps", type=click.IntRange(min=1), default=550, show_default=True)
@click.option("--resume", is_flag=True, help="Go on with the interrupted demo in the output directory.")
def demo(output_dir: Path | None, reward: str, resume: bool, **choices: Any) -> None:
    """Make a tiny model, train it with EMPO on questions without labels, and compare before and after.

    Offline, one thread, the same numbers for the same seed. Without --resume an earlier demo in the output directory is
    replaced.
    """
    from empo_rl.extras import TRAINING, require_extra
    from semantic_entropy import SemanticEntropyError

    _quiet_machinery(offline=True)
    directory = output_dir or Path("runs") / f"demo-{reward}-{choices['seed']}"
    try:
        require_extra("empo-train demo", (*TRAINING, "matplotlib", "sklearn"))
        _demo(directory, resume, reward=reward, **choices)
    except SemanticEntropyError as error:
        raise click.ClickException(str(error)) from error


def _demo(directory: Path, resume: bool, **choices: Any) -> None:
    from empo_rl.demo import output
    from empo_rl.demo.demo_options import DemoOptions
    from empo_rl.files import run_directory
    from empo_rl.run.progress import StageProgress

    options = DemoOptions(**choices)
    if not directory.exists():
        directory.mkdir(parents=True)
    with run_directory.lock(directory), StageProgress() as progress:
        start = (output.resume if resume else output.prepare)(directory, options.to_dict())
        for line in (*start.notes, "loading torch, transformers and trl"):
            progress.say(line)
        try:
            from empo_rl.demo.demo_run import run_demo
            from empo_rl.demo.demo_table import print_table

            _quiet_transformers()
            summary = run_demo(directory, start, options, progress)
        except KeyboardInterrupt:
            _stop(f"{progress.interrupted()}. {output.way_on(directory)}")
    print_table(summary, directory)


@main.command(short_help="List the recipes, or print one.")
@click.argument("name", required=False)
def recipes(name: str | None) -> None:
    """List the recipes, or print the one called NAME, to start a configuration from."""
    from empo_rl.config.recipes import recipe_names, recipe_text
    from semantic_entropy import nearest

    if name is None:
        for known in recipe_names():
            click.echo(f"{known:<24} {recipe_text(known).splitlines()[0].lstrip('# ')}")
    elif name in recipe_names():
        click.echo(_whole_recipe(name, recipe_text(name)), nl=False)
    else:
        raise click.ClickException(
            f"no recipe {name!r}.{nearest(name, recipe_names())} Recipes: {', '.join(recipe_names())}."
        )


def _whole_recipe(name: str, text: str) -> str:
    """As it is written, or where it extends another one, its header and the keys of both."""
    if not any(line.startswith("extends:") for line in text.splitlines()):
        return text
    from empo_rl.config.load import read_with_bases
    from semantic_entropy import SemanticEntropyError

    try:
        values, _ = read_with_bases(name)
    except SemanticEntropyError as error:
        raise click.ClickException(str(error)) from error
    import yaml

    header = [line for line in text.splitlines(keepends=True) if line.startswith("#")]
    return "".join(header) + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def _quiet_machinery(*, offline: bool) -> None:
    """Before torch is imported: one thread where the model is tiny, and no network where none is needed."""
    if offline:
        os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # forked workers would warn about it
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # the docs of `method: online_dpo` say what TRL would


def _quiet_transformers() -> None:
    """Its notices are for programmers: deprecations inside TRL, and a progress bar for writing 400 KB."""
    import datasets
    import transformers

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl)\.")


if __name__ == "__main__":
    sys.exit(main())
