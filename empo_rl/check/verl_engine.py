"""Check a configuration for `empo-train --engine verl`: what verl cannot train, and whether verl knows each key.

If verl is installed, its own configuration is composed by Hydra with the rendered command line, and its own validation
runs. Without verl, this part is "not checked". The data, the model folder, the reward and the judges are checked as for
TRL; memory and disk space are not estimated, because verl divides the model and the sampling in other ways.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from empo_rl.check import availability, settings
from empo_rl.check.findings import CheckFinding, ok, problem, unchecked, warning
from empo_rl.config import Config
from empo_rl.config.verl_command import MODULE, updates_per_sampling, verl_notes, verl_overrides, verl_problems
from empo_rl.extras import is_installed


def findings(config: Config, *, allow_missing_data: bool) -> Iterator[CheckFinding]:
    """All findings about a run with verl."""
    problems = verl_problems(config)
    yield from (problem("verl", text) for text in problems)
    yield from (warning("verl", note) for note in verl_notes(config))
    yield from (warning("group size", note) for note in config.group_size_notes())
    yield from settings.reward_findings(config)
    yield from availability.model_findings(config)
    yield from availability.question_findings(config, allow_missing_data=allow_missing_data)
    if not problems:
        yield ok("layout", _layout(config))
        yield _verl_finding(config)
    yield unchecked("memory and disk space", "the estimates are those of TRL")


def _layout(config: Config) -> str:
    updates = int(updates_per_sampling(config))
    prompts, size, launch = config.training.prompts_per_step, config.rollout.num_generations, config.launch
    layout = (
        f"{prompts * updates} prompts x {size} completions a sampling, {updates} updates of {prompts} prompts, "
        f"{launch.machines} x {launch.processes // launch.machines} GPUs"
    )
    if (passes := config.trl.get("steps_per_generation")) is None:
        return layout
    return (
        f"{layout}. trl.steps_per_generation={passes} counts the passes of one GPU: with twice the GPUs, half of this "
        "number keeps the prompts of a sampling"
    )


def _verl_finding(config: Config) -> CheckFinding:
    """Whether verl composes and accepts the command line."""
    if not (is_installed("verl") and is_installed("transfer_queue")):
        return unchecked("verl's configuration", "verl is not installed here: docs/install.md#verl-and-vllm")
    os.environ.setdefault("VERL_USE_EXTERNAL_MODULES", MODULE)
    with warnings.catch_warnings(action="ignore"):  # deprecations in the packages of verl
        from hydra import compose, initialize_config_module
        from hydra.core.global_hydra import GlobalHydra
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        from empo_rl.trainers.verl.verl_trainer import check_verl_config, provider_options

        GlobalHydra.instance().clear()
        try:
            with initialize_config_module("verl.trainer.config", version_base=None):
                composed = compose("ppo_trainer", overrides=verl_overrides(config, Path(config.output_dir, "prompts")))
            _validate(composed)
            check_verl_config(composed)
            provider_options(composed)
        except (HydraException, OmegaConfBaseException, ValueError, AssertionError, TypeError) as error:
            return problem("verl's configuration", " ".join(str(error).split()))
    import verl

    return ok("verl's configuration", f"verl {verl.__version__} accepts all keys")


def _validate(composed: object) -> None:
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    validate_config(composed, need_reference_policy(composed), need_critic(composed))
