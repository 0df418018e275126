"""Whether the reward, its options, the guards and the judges exist and are installed. No judge's model is loaded."""

from __future__ import annotations

from collections.abc import Iterator

from empo_rl.check.findings import Finding, ok, problem, unchecked
from empo_rl.config.schema import Config
from empo_rl.core.provider import EmpoProvider
from empo_rl.extras import require_extra
from semantic_entropy import SemanticEntropyError, load_component

NO_MODEL = "exact"  # a judge that is there at once, to try the other choices with
WITH_MODEL = {
    "verifier": ("torch", "transformers"),
    "nli": ("torch", "transformers"),
    "embedding": ("sentence_transformers",),
}
"""Judges that load a model as they are made, and what that needs."""


def findings(config: Config) -> Iterator[Finding]:
    """Nothing for SFT, which rewards nothing."""
    if config.method == "sft":
        return
    empo = config.empo
    try:
        choices = {**empo.choices(), "equivalence": NO_MODEL, "grader": None}
        with EmpoProvider(**choices) as provider:
            provider.check(config.rollout.num_generations)
            yield ok("reward", f"{provider.reward}, {len(provider.guards)} guards, invalid={empo.invalid}")
    except SemanticEntropyError as error:
        yield problem("reward", " ".join(str(error).split()))
    keys = {"empo.equivalence": empo.equivalence, "empo.grader": empo.grader}
    for key, name in keys.items():
        if name is not None:
            yield _judge(key, name)
    models = sorted({name for name in keys.values() if name in WITH_MODEL})
    if models:
        yield unchecked(f"the model of {', '.join(models)}", "no model is loaded or downloaded in a check")


def _judge(key: str, name: str) -> Finding:
    try:
        if name in WITH_MODEL:
            require_extra(f"{key}={name}", WITH_MODEL[name], extra=name)
        else:
            load_component("equivalence", name)
    except SemanticEntropyError as error:
        return problem(key, " ".join(str(error).split()))
    return ok(key, f"{name} is there")
