"""Check the settings of a configuration: batch layout, section `trl`, entropy window, reward, guards and judges.

This module loads no model of a judge.
"""

from __future__ import annotations

import dataclasses
import os
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from empo_rl.check.findings import CheckFinding, ok, problem, unchecked, warning
from empo_rl.config import Config
from empo_rl.config.batch_layout import accumulation_steps, process_count_notes
from empo_rl.config.trl_arguments import (
    decided_arguments,
    training_argument_class,
    trl_section_problems,
    trl_section_values,
)
from empo_rl.core.provider import EmpoProvider
from empo_rl.extras import is_installed, require_extra
from semantic_entropy import InputError, SemanticEntropyError, load_component

_GENERATION = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")
_GPU_ARGUMENTS = ("tf32", "fp16", "fp16_full_eval", "bf16_full_eval")  # TRL refuses these on a machine without a GPU
# the variables by which accelerate recognizes one of several processes
_PROCESS_GROUP = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_JUDGE_WITHOUT_MODEL = "exact"  # takes the place of the configured judge while the other options are checked
_JUDGES_WITH_MODEL = {  # judge that loads a model when it is created -> modules that the judge needs
    "verifier": ("torch", "transformers"),
    "nli": ("torch", "transformers"),
    "embedding": ("sentence_transformers",),
}


def findings(config: Config) -> Iterator[CheckFinding]:
    """Findings about the settings. For SFT, there are none about a window, a reward or a judge."""
    accumulation = 1
    try:
        accumulation = accumulation_steps(config, config.launch.processes)
    except SemanticEntropyError as error:
        yield problem("layout", str(error))
    else:
        yield ok("layout", _layout(config, accumulation))
        yield from _process_findings(config, config.launch.processes)
    yield from _chat_template_findings(config)
    if config.trl:
        yield from _trl_findings(config, decided_arguments(config, accumulation))
    if config.method == "empo":
        for note in config.group_size_notes():
            yield warning("group size", note)
    if config.method != "sft":
        yield from reward_findings(config)


def _process_findings(config: Config, processes: int) -> Iterator[CheckFinding]:
    if processes > 1 and config.method != "sft":
        yield ok(
            "processes",
            f"each of the {processes} processes draws its completions with its own seed: another number of processes "
            "draws other completions",
        )
    for note in process_count_notes(config, processes):
        yield ok("processes", note)


def _layout(config: Config, accumulation: int) -> str:
    training, size = config.training, config.rollout.num_generations
    if training.completions_per_pass is None:
        whole = f"whole groups of {size}" if config.method == "empo" else config.method
        left = f"{training.prompts_per_step} prompts a step = {training.prompts_per_micro_batch} a micro-batch"
    else:
        whole = f"{training.completions_per_pass} of a group's {size} completions a pass"
        left = f"{training.prompts_per_step} x {size} completions a step = {training.completions_per_pass} a pass"
    return f"{left} x {config.launch.processes} processes x {accumulation} passes, {whole}, {config.launch.strategy}"


def _chat_template_findings(config: Config) -> Iterator[CheckFinding]:
    """A problem if `template.chat_template` cannot be read or is not Jinja. Only a run renders it with its prompts."""
    try:
        text = config.template.chat_template_text()
    except SemanticEntropyError as error:
        yield problem("template", str(error))
        return
    if text is None or not is_installed("jinja2"):
        return
    import jinja2

    try:
        # the tag `generation` is an extension of transformers
        jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(_GENERATION.sub("", text))  # noqa: S701  # no HTML
    except jinja2.TemplateError as error:
        yield problem("template", f"template.chat_template is not Jinja: {' '.join(str(error).split())}")


def _trl_findings(config: Config, decided: dict[str, object]) -> Iterator[CheckFinding]:
    known: Collection[str] | None = None
    try:
        require_extra("checking the section trl")
        known = [field.name for field in dataclasses.fields(training_argument_class(config.method))]
    except SemanticEntropyError as error:
        yield problem("trl", str(error))
    found = trl_section_problems(config, decided, known)
    if known is not None and not found:
        found = list(_wrong_trl_values(config, decided))
    yield from (problem("trl", line) for line in found)
    if known is not None and not found:
        yield ok("trl", f"TRL accepts {', '.join(config.trl)}")


def _wrong_trl_values(config: Config, decided: dict[str, object]) -> Iterator[str]:
    """Values of the section `trl` that have the wrong type, or that TRL refuses.

    TRL's class is created for one process on the CPU, so this check cannot find what TRL refuses on other devices or
    with several processes.
    """
    kind = training_argument_class(config.method)
    try:
        values = {key: value for key, value in trl_section_values(config, kind).items() if key not in _GPU_ARGUMENTS}
    except InputError as error:
        yield str(error)
        return
    single = {key: value for key, value in decided.items() if key not in {"fsdp", "fsdp_config", "deepspeed"}}
    try:
        with _without_process_group(), warnings.catch_warnings(action="ignore"):  # deprecations of TRL and transformers
            kind(**{**single, **values, "use_cpu": True, "bf16": False, "report_to": "none"})
    except (TypeError, ValueError) as error:
        yield f"trl: {error}"


@contextmanager
def _without_process_group() -> Iterator[None]:
    """Create training arguments without an effect on the run that follows in this process.

    Training arguments join the process group of torchrun's environment, and accelerate keeps their device and number of
    processes for the whole process.
    """
    from accelerate.state import AcceleratorState, PartialState

    hidden = {name: os.environ.pop(name) for name in _PROCESS_GROUP if name in os.environ}
    states = [(kind._shared_state, dict(kind._shared_state)) for kind in (PartialState, AcceleratorState)]  # noqa: SLF001
    try:
        yield
    finally:
        os.environ.update(hidden)
        for shared, before in states:
            shared.clear()
            shared.update(before)


def reward_findings(config: Config) -> Iterator[CheckFinding]:
    """Findings about the reward, the guards and the judges, which do not depend on the trainer."""
    empo = config.empo
    try:
        no_judge: dict[str, Any] = {
            "equivalence": _JUDGE_WITHOUT_MODEL,
            "grader": None,
            "equivalence_options": {},
            "grader_options": {},
        }
        choices = {**empo.choices(), **no_judge}
        with EmpoProvider(**choices) as provider:
            provider.check(config.rollout.num_generations)
            entropy = "" if provider.clusters else ", without entropy (empo.measure_entropy=true measures it)"
            yield ok("reward", f"{provider.reward}, {len(provider.guards)} guards, invalid={empo.invalid}{entropy}")
    except SemanticEntropyError as error:
        yield problem("reward", " ".join(str(error).split()))
    judges: dict[str, tuple[str | None, Mapping[str, Any]]] = {
        "empo.equivalence": (empo.equivalence, empo.equivalence_options),
        "empo.grader": (empo.grader, empo.grader_options),
    }
    judges |= {f"empo.reward_options: {key}": judge for key, judge in empo.signal().judges().items()}
    for key, (name, options) in judges.items():
        if name is not None:
            yield _judge_finding(key, name, options)
    models = sorted({name for name, _ in judges.values() if name in _JUDGES_WITH_MODEL})
    if models:
        yield unchecked(f"the model of {', '.join(models)}", "a check neither loads nor downloads a model")


def _judge_finding(key: str, name: str, options: Mapping[str, Any]) -> CheckFinding:
    try:
        if name in _JUDGES_WITH_MODEL:
            require_extra(f"{key}={name}", _JUDGES_WITH_MODEL[name], extra=name)
        else:
            load_component("equivalence", name, **options)
    except SemanticEntropyError as error:
        return problem(key, " ".join(str(error).split()))
    return ok(key, f"{name} is available")
