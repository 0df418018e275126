"""`empo-train --engine verl CONFIG`: write what verl reads, and become verl's command.

    output_dir/config.yaml         the configuration
    output_dir/prompts.parquet     the prompts of the run, in the columns of verl's RLHFDataset
    output_dir/verl_command.sh     the command, to repeat or to change by hand
    output_dir/verl_metrics.jsonl  verl's metrics: its logger `file`
    output_dir/checkpoints/        verl's checkpoints; `--resume` continues from the last one

The process of `empo-train` is replaced by verl's (`exec`), so Ctrl-C and SIGTERM reach verl, and the exit status is
verl's.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from empo_rl.config.resume import load_run
from empo_rl.config.verl_command import CHECKPOINTS, MODULE, verl_command, verl_notes
from empo_rl.extras import is_installed, require_extra
from empo_rl.files import run_directory
from empo_rl.files.atomic_writes import write_atomically
from semantic_entropy import InputError, MissingDependencyError

PROMPTS, COMMAND, METRICS = "prompts.parquet", "verl_command.sh", "verl_metrics.jsonl"
_DATA = ("torch", "transformers", "accelerate", "datasets", "pyarrow", "yaml")


def start_verl(source: str, changes: Sequence[str], *, overwrite: bool, say: Callable[[str], None]) -> NoReturn:
    """Write the files of the run, and replace this process with verl.

    Args:
        source: a YAML file, the name of a recipe, or with `resume=true` among the changes the directory of a run.
        changes: `key=value`, as on the command line; `resume=true` continues from the last checkpoint.
        overwrite: whether the checkpoints of an earlier run are deleted.
        say: prints a line for the user.

    Raises:
        InputError: the configuration or the data cannot be used, or output_dir has checkpoints of an earlier run.
        MissingDependencyError: verl, or a package that reads the data, is not installed.
    """
    config, notes = load_run(source, changes)
    output = Path(config.output_dir).absolute()
    config = config.model_copy(update={"output_dir": str(output)})  # Ray's processes have other working directories
    command = verl_command(config, output / PROMPTS)
    for module in ("verl", "transfer_queue"):
        if not is_installed(module):
            raise MissingDependencyError(f"--engine verl needs {module}, not installed here: docs/install.md says how.")
    require_extra("--engine verl", _DATA)
    resumes = _resumes(output, resume=config.resume, overwrite=overwrite)
    for note in [*notes, *verl_notes(config)]:
        say(f"note: {note}")
    from empo_rl.run.prompt_rows import load_prompts

    rows, _ = load_prompts(config, None, say)
    config.empo.signal().check_questions([row["question"] for row in rows])
    output.mkdir(parents=True, exist_ok=True)
    if resumes:
        run_directory.check_questions(output, rows)
        run_directory.check_code(output, config.reward_files())
    else:
        run_directory.write_questions(output, rows)
        run_directory.write_code(output, config.reward_files())
    run_directory.write_config(output, config.model_dump(exclude={"resume"}))
    write_prompts(rows, output / PROMPTS)
    write_atomically(output / COMMAND, f"{_assignments(output)} {shlex.join(command)}\n")
    say(f"verl starts; the command is in {output / COMMAND}")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, {**os.environ, **_environment(output)})  # noqa: S606  # a list, no shell


def write_prompts(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write prompts as verl's RLHFDataset reads them. `data_source` is for verl's metrics of a validation."""
    import pyarrow as pa
    from pyarrow import parquet

    records = [
        {
            "prompt": list(row["prompt"]),
            "data_source": "empo",
            "reward_model": {"style": "rule", "ground_truth": row.get("gold") or ""},
            "extra_info": {"index": index, "question": row["question"]},
        }
        for index, row in enumerate(rows)
    ]
    part = path.with_suffix(".part")
    parquet.write_table(pa.Table.from_pylist(records), part)
    part.replace(path)


def _resumes(output: Path, *, resume: bool, overwrite: bool) -> bool:
    """Whether the run continues an earlier run.

    Raises:
        InputError: a new run would mix its checkpoints with those of an earlier run.
    """
    found = sorted((output / CHECKPOINTS).glob("global_step_*"))
    if found and overwrite:
        shutil.rmtree(output / CHECKPOINTS)
        return False
    if found and not resume:
        raise InputError(
            f"output_dir: {output} contains an earlier run ({found[-1].name}). Add --resume to continue it, "
            "--overwrite to delete its checkpoints, or set output_dir=OTHER."
        )
    return bool(found)


def _environment(output: Path) -> dict[str, str]:
    """The variables that verl reads; other external modules of the user stay."""
    others = [name for name in os.environ.get("VERL_USE_EXTERNAL_MODULES", "").split(",") if name and name != MODULE]
    return {
        "VERL_USE_EXTERNAL_MODULES": ",".join([MODULE, *others]),
        "VERL_FILE_LOGGER_PATH": str(output / METRICS),
    }


def _assignments(output: Path) -> str:
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in _environment(output).items())
