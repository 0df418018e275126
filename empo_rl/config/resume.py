"""The configuration of a resumed run: the one with which the run began, which its directory contains.

    empo-train CONFIG [key=value ...] --resume     the directory is `output_dir` of CONFIG and the overrides
    empo-train RUN_DIR [key=value ...] --resume    the directory is RUN_DIR

A checkpoint belongs to one configuration: with another learning rate, group size or completion length, the steps before
and after the checkpoint would be two different runs under one name. So a key on the command line that differs from the
run's value is an error, except for the keys of `MAY_CHANGE`. These keys change how long the run lasts, what it saves
and reports, and where it computes, but not what a step computes. A key of CONFIG that differs is reported and not used,
because CONFIG alone cannot tell an edited file from a file that was started with overrides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from empo_rl.config.load import load_config
from empo_rl.config.schema import Config
from empo_rl.files.run_directory import CONFIG, NO_VALUE, differences
from semantic_entropy import InputError
from semantic_entropy.plain_text import shorten

MAY_CHANGE = (
    *("output_dir", "resume"),
    *("training.steps", "training.epochs", "training.save_every", "training.keep_checkpoints"),
    *("training.prompts_per_micro_batch", "training.completions_per_pass", "training.gradient_checkpointing"),
    *("monitor.*", "evaluation*", "samples*", "push_to_hub*", "check.*", "data.path", "data.made_with", "device"),
    *("launch.processes", "launch.machines", "launch.machine_rank", "launch.main_address", "launch.main_port"),
    *("rollout.vllm.host", "rollout.vllm.port", "rollout.vllm.gpu_memory"),
    *("trl.report_to", "trl.run_name", "trl.project", "trl.log*", "trl.num_completions_to_print", "trl.trackio*"),
    *("trl.hub*", "trl.ddp_timeout", "trl.dataloader_num_workers", "trl.dataloader_pin_memory"),
)
"""Keys that may differ from the configuration with which the run began. `*` stands for any text."""

# With bnpo, the loss averages over the tokens of a pass, so the size of a pass changes the loss.
_CHANGE_BNPO = ("training.prompts_per_micro_batch", "training.completions_per_pass")
_RESOLVED = ("device", "training.precision")  # the start of the run replaced the value auto


def load_run(source: str, overrides: Sequence[str] = ()) -> tuple[Config, list[str]]:
    """The configuration of a run, and notes for the user. A run that does not resume has the given configuration.

    Args:
        source: a file, the name of a recipe, or with `resume=true` among the overrides, the directory of a run.
        overrides: the `key=value` arguments.

    Raises:
        InputError: the configuration has problems, or `overrides` contains a key that a resumed run cannot change.
    """
    directory = _run_directory(source)
    if directory is not None:
        return _resumed(directory, None, source, overrides)
    given = load_config(source, overrides)
    if not given.resume or not (Path(given.output_dir) / CONFIG).is_file():
        return given, []
    return _resumed(Path(given.output_dir), given, source, overrides)


def _run_directory(source: str) -> Path | None:
    """The directory of a run if `source` is one; None if it is a file or a recipe."""
    try:
        return Path(source) if (Path(source) / CONFIG).is_file() else None
    except (OSError, ValueError):  # a name that is too long or contains a null character
        return None


def _resumed(directory: Path, given: Config | None, source: str, overrides: Sequence[str]) -> tuple[Config, list[str]]:
    """The configuration for `directory`. given: the configuration of a file or recipe; None if the directory is."""
    file = directory / CONFIG
    began, wanted = _saved(file), load_config(str(file), overrides)
    if given is None and not wanted.resume:
        raise InputError(
            f"{source} is the directory of a run. Add --resume to continue the run, or name the configuration of a new "
            f"run: empo-train {file} output_dir=OTHER."
        )
    if given is None and any(override.startswith("output_dir=") for override in overrides):
        raise InputError(f"output_dir: leave it out, because --resume continues the run in {source}.")
    differing = _differences(began, wanted).items()
    changes = {key: values for key, values in differing if not _is_precision_auto(key, values[1])}
    refused = {key: values for key, values in changes.items() if not _may_change(key, began)}
    if refused:
        raise InputError(_refusal(directory, refused))
    notes = [] if given is None else _unused_keys(given, wanted, source)
    if wanted.training.schedule in {"linear", "cosine"} and changes.keys() & {"training.steps", "training.epochs"}:
        notes.append(
            f"training.schedule={wanted.training.schedule} spreads the learning rate over all steps, so the learning "
            "rate of the next steps differs from that of a run which began with this number of steps"
        )
    training = wanted.training.model_copy(update={"precision": began.training.precision})
    return wanted.model_copy(update={"output_dir": str(directory), "resume": True, "training": training}), notes


def _saved(file: Path) -> Config:
    try:
        return load_config(str(file))
    except InputError as error:
        advice = "Was it edited, or written by another version? (`empo-train demo --resume` continues a demo.)"
        raise InputError(f"{error}\n--resume needs the configuration of the run, {file}. {advice}") from error


def _differences(one: Config, other: Config) -> dict[str, tuple[Any, Any]]:
    """The keys with different values, and both values. A section that only one of them has counts as different."""
    ignored = {"output_dir", "resume"}
    return differences(one.model_dump(exclude=ignored), other.model_dump(exclude=ignored))


def _may_change(key: str, began: Config) -> bool:
    if began.training.loss == "bnpo" and key in _CHANGE_BNPO:
        return False
    if began.launch.strategy == "zero3" and key == "launch.processes":
        return False  # DeepSpeed does not load the shards of another number of processes
    if began.evaluation is not None and key.startswith("evaluation"):
        return key == "evaluation.every"  # the best checkpoint so far has a number of the same questions
    return any(fnmatchcase(key, pattern) for pattern in MAY_CHANGE)


def _is_precision_auto(key: str, value: Any) -> bool:
    """Whether the value leaves the precision to the run, which has chosen one. (`device=auto` chooses again.)"""
    return key == "training.precision" and value == "auto"


def _refusal(directory: Path, refused: Mapping[str, tuple[Any, Any]]) -> str:
    lines = [f"  {key}: the run has {_text(began)}, given {_text(given)}" for key, (began, given) in refused.items()]
    begin = f"--resume continues the run in {directory} with the configuration with which it began. These keys differ:"
    end = (
        "Leave them out, or start a new run: --overwrite instead of --resume, or another output_dir. A resumed run can "
        "change how long it trains, what it saves and reports, and where it computes: docs/empo/training.md."
    )
    return "\n".join([begin, *lines, end])


def _unused_keys(given: Config, used: Config, source: str) -> list[str]:
    """A note with the keys of a file or recipe that differ from the configuration of the run."""
    keys = [
        f"{key} (the run keeps {_text(kept)}, {source} has {_text(value)})"
        for key, (value, kept) in _differences(given, used).items()
        if key not in _RESOLVED or value != "auto"
    ]
    return [f"resuming with the configuration of the run. {source} is not used for {'; '.join(keys)}"] if keys else []


def _text(value: Any) -> str:
    return "no value" if value is NO_VALUE else shorten(repr(value), 80)
