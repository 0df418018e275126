"""The command `empo-train CONFIG`: check the configuration, then train, here or in several processes.

Exit statuses:

    0    the run is complete
    1    an error, which the last line names
    3    an alarm stopped the run
    130  Ctrl-C or SIGTERM ended the run, before, in or after the training
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from empo_rl.check import check_before_training
from empo_rl.config import Config
from empo_rl.config.batch_layout import accumulation_steps
from empo_rl.config.resume import load_run
from empo_rl.extras import require_extra
from empo_rl.files import checkpoints, run_directory
from empo_rl.monitor import RunStoppedError
from empo_rl.progress import StageProgress
from empo_rl.run import launch
from empo_rl.run.stop_request import StopRequest
from semantic_entropy import SemanticEntropyError
from semantic_entropy.plain_text import printable


def start_run(source: str, changes: Sequence[str], stop: StopRequest, *, overwrite: bool) -> Path | None:
    """Train, and return the folder of the final model; None in all processes but the first.

    Args:
        source: a YAML file, the name of a recipe, or (with the change `resume=true`) the directory of a run.
        changes: `key=value`, as on the command line.
        stop: handles SIGTERM already.
        overwrite: whether an earlier run in `output_dir` is deleted.

    Raises:
        click.ClickException: an error, for the last line of the command.
        SystemExit: the user or an alarm ended the run; the line that says so is printed.
    """
    config: Config | None = None
    with StageProgress() as progress:
        try:
            config, notes = load_run(source, changes)
            require_extra("empo-train")
            set_environment(offline=config.model == "demo" and config.data.dataset in (None, "demo"))
            if launch.reports_for_all():
                for line in [*notes, *check_before_training(config)]:
                    progress.say(line)
            if launch.needs_launch(config):
                progress.end()  # the processes have their own bars
                _launch(config, ["run", source, *changes], overwrite=overwrite)
                return None
            launch.check_single_process(config)
            final = _train(config, overwrite, progress, stop)
            launch.leave_process_group()
            return final if launch.is_first_process() else None
        except KeyboardInterrupt:
            stop.ignore_signals()
            end_run(f"{progress.interrupted()}. {_resume_hint(config) if config else 'Nothing is written.'}")
        except RunStoppedError as stopped:
            progress.end()
            end_run(str(stopped), status=launch.STOPPED)
        except SemanticEntropyError as error:
            launch.record_error(error)
            if not launch.is_first_process():  # all processes can have this error: the first process reports it
                launch.wait_for_launcher()
            raise click.ClickException(printable(str(error))) from error


def _launch(config: Config, command: list[str], *, overwrite: bool) -> None:
    # before the processes start, report once the problems that all processes would have
    accumulation_steps(config, config.launch.processes)
    run_directory.plan_start(Path(config.output_dir), resume=config.resume, overwrite=overwrite)
    launch.check_devices(config)
    try:
        launch.launch(config, [*command, *(["--overwrite"] if overwrite else [])])
    except launch.EndedRunError as ended:
        if not ended.reported:
            click.echo(f"interrupted. {_resume_hint(config)}", err=True)
        raise SystemExit(ended.status) from None
    except launch.ProcessError as error:
        raise click.ClickException(f"{error} {_resume_hint(config)}") from error


def _train(config: Config, overwrite: bool, progress: StageProgress, stop: StopRequest) -> Path:
    launch.end_with_launcher()
    try:
        from empo_rl.run.train import run_training

        silence_libraries()
        return run_training(config, overwrite=overwrite, progress=progress, say=progress.say, stop=stop)
    except SemanticEntropyError:
        raise
    except RuntimeError as error:  # another process may have died: then the launcher reports that
        launch.wait_for_launcher()
        launch.record_error(error)
        raise
    except Exception as error:
        launch.record_error(error)
        raise


def _resume_hint(config: Config) -> str:
    checkpoint, _ = checkpoints.latest(Path(config.output_dir))
    if checkpoint is None:
        every = config.training.save_every
        return f"There is no checkpoint yet (training.save_every={every}): --resume starts at step 1."
    return f"The last checkpoint is {checkpoint}: the same command with --resume continues from it."


def end_run(line: str, status: int = launch.INTERRUPTED) -> NoReturn:
    """Print a line and end a run that the user or an alarm stopped. Shells expect status 130 after Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would cut off the line
    if launch.is_first_process():
        click.echo(line, err=True)
    raise SystemExit(status)


def set_environment(*, offline: bool) -> None:
    """Set environment variables before torch is imported. offline: no network and one thread, for a tiny model."""
    if offline:
        os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # forked workers print a warning without this variable
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # the docs of `method: online_dpo` contain the warning


def silence_libraries() -> None:
    """Turn off messages that do not help the user: deprecations inside TRL, and the progress bars of small files."""
    import datasets
    import transformers

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl)\.")
