"""Write the model card, `final/README.md`: method, data, settings, numbers, versions and limits of a run.

The numbers come from the files of the run (`metrics.jsonl`, `evaluation.jsonl`, `alarms.jsonl`, `cost.json`). The card
names a local model or file without its folder, and contains no other path of the machine.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from empo_rl.config import Config
from empo_rl.files import run_directory, write_atomically
from empo_rl.files.cost_summary import cost_sentence
from empo_rl.files.metrics_file import read_metrics

CARD = "README.md"
_PACKAGES = ("semantic-entropy", "torch", "transformers", "trl", "accelerate", "peft")
_ENDS = 5  # steps at the start and at the end of a run whose mean the card shows: single steps are noisy
_TRAINED = {
    "empo/reward": "mean reward",
    "empo/entropy": "semantic entropy (nats)",
    "empo/keep_fraction": "groups in the loss (share)",
    "empo/invalid_fraction": "completions without an answer (share)",
    "completions/clipped_ratio": "completions cut off (share)",
    "completions/mean_length": "mean length (tokens)",
    "empo/accuracy": "accuracy (share right)",
    "loss": "loss",
}
_HELD_OUT = {
    "accuracy": "accuracy (mean over the samples)",
    "majority": "accuracy of the majority answer",
    "semantic_entropy": "semantic entropy (nats)",
    "invalid_fraction": "completions without an answer (share)",
}
_METHODS = {
    "empo": "EMPO (entropy minimized policy optimization, Zhang et al. 2025)",
    "sft": "supervised fine-tuning",
    "online_dpo": "online DPO",
}


def write_model_card(final: Path, config: Config, directory: Path) -> None:
    """Write `README.md` into the folder of the final model. An existing card, such as that of peft, is replaced."""
    text = f"---\n{yaml.safe_dump(_front_matter(config), sort_keys=False)}---\n\n" + "\n".join(_body(config, directory))
    write_atomically(final / CARD, text)


def best_evaluation(directory: Path) -> dict[str, Any] | None:
    """The row of `evaluation.jsonl` of the best checkpoint; None if no step was the best."""
    return next((row for row in reversed(_rows(directory / run_directory.EVALUATION)) if row.get("best")), None)


def best_sentence(directory: Path) -> str | None:
    """A sentence that names the best checkpoint; None without an evaluation that selects one."""
    best = best_evaluation(directory)
    if best is None:
        return None
    start = next((row for row in _rows(directory / run_directory.EVALUATION) if row["step"] == 0), None)
    before = "" if start is None else f"; before the first step: {_measured(start)}"
    trained = _rows(directory / run_directory.METRICS)[-1]["step"]
    last = "final/ is this model" if best["step"] == trained else f"final/ is the model of step {trained}"
    return f"best held-out evaluation: checkpoint-{best['step']} ({_measured(best)}{before}). {last}"


def _measured(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {row[name]:.3f}" for name in ("accuracy", "semantic_entropy") if name in row)


def _front_matter(config: Config) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if config.model != "demo" and not _is_local(config.model):
        values["base_model"] = config.model
    values["library_name"] = "peft" if config.lora is not None and not config.lora.merge else "transformers"
    values["pipeline_tag"] = "text-generation"
    values["tags"] = [config.method.replace("_", "-"), "semantic-entropy", "trl"]
    if config.data.dataset not in (None, "demo"):
        values["datasets"] = [config.data.dataset]
    return values


def _body(config: Config, directory: Path) -> Iterator[str]:
    rows = _rows(directory / run_directory.METRICS)
    steps = rows[-1]["step"] if rows else 0
    yield f"# {_name(config.model)}, trained with {config.method}"
    yield ""
    yield f"Base model: {_name(config.model)}. Method: {_METHODS[config.method]}. Steps: {steps}."
    yield ""
    yield from _method(config)
    yield from _data(config)
    yield from _settings(config)
    yield from _numbers(rows, directory)
    yield from _versions(directory)
    yield from _limits(config, directory)


def _method(config: Config) -> Iterator[str]:
    yield "## Method\n"
    if config.method == "empo":
        yield (
            f"The model samples {config.rollout.num_generations} completions of each question. The judge "
            f"`{config.empo.equivalence}` clusters their answers by meaning, and the reward "
            f"`{_name(config.empo.reward)}` pays them (docs/empo/provider.md of semantic-entropy). "
            "There is no KL term. "
            + (
                "The reward reads gold answers."
                if config.empo.signal().reads_gold
                else "The reward reads no gold answer: it pays agreement, not correctness."
            )
        )
    else:
        yield f"TRL's trainer for {_METHODS[config.method]}."
    yield ""


def _data(config: Config) -> Iterator[str]:
    yield "## Data\n"
    yield f"- training questions: {_source(config.data)}"
    if config.evaluation is not None:
        yield f"- held-out questions: {_source(config.evaluation.data)}, {config.evaluation.n} completions each"
    system = "no system message" if config.template.system is None else f"system {config.template.system!r}"
    yield f"- prompt: {system}, user {config.template.user!r}"
    yield ""


def _settings(config: Config) -> Iterator[str]:
    """The settings that differ from the defaults, with those that always matter."""
    yield "## Settings\n"
    yield "| key | value |"
    yield "|---|---|"
    shown = {
        "seed": config.seed,
        **{f"training.{key}": value for key, value in config.training.model_dump().items()},
        **{f"rollout.{key}": value for key, value in config.rollout.model_dump(exclude={"vllm"}).items()},
    }
    if config.method != "sft":
        shown |= {f"empo.{key}": value for key, value in config.empo.model_dump().items()}
    if config.lora is not None:
        shown |= {f"lora.{key}": value for key, value in config.lora.model_dump().items()}
    shown |= {f"trl.{key}": value for key, value in config.trl.items()}
    for key, value in shown.items():
        if value not in (None, {}, []):
            yield f"| `{key}` | {str(_without_folders(value)).replace('|', chr(92) + '|')} |"
    yield ""


def _numbers(rows: Sequence[Mapping[str, Any]], directory: Path) -> Iterator[str]:
    yield "## Numbers\n"
    evaluations = _rows(directory / run_directory.EVALUATION)
    if evaluations:
        best = best_evaluation(directory)
        # a run that began without an evaluation has no row of step 0
        first = "first" if evaluations[0]["step"] else "before"
        named = [(first, evaluations[0]), *([("best", best)] if best else []), ("last", evaluations[-1])]
        total, graded = evaluations[-1]["questions"], evaluations[-1]["questions_with_gold"]
        yield f"{total} held-out questions, {graded} with a gold answer (means, without confidence intervals):\n"
        heads = [f"{word} (step {row['step']})" for word, row in named]
        yield f"| | {' | '.join(heads)} |"
        yield f"|---|{'---|' * len(named)}"
        for key, words in _HELD_OUT.items():
            if any(key in row for _, row in named):
                yield f"| {words} | {' | '.join(_number(row.get(key)) for _, row in named)} |"
        yield ""
    count = min(_ENDS, max(1, len(rows) // 2))  # the two ends do not overlap
    yield f"Training batches (means over the first and the last {count} steps; these are not an evaluation):\n"
    yield "| | first | last |"
    yield "|---|---|---|"
    for key, words in _TRAINED.items():
        begin, end = _mean(rows[:count], key), _mean(rows[-count:], key)
        if begin is not None or end is not None:
            yield f"| {words} | {_number(begin)} | {_number(end)} |"
    yield ""


def _versions(directory: Path) -> Iterator[str]:
    yield "## Versions and cost\n"
    yield f"- Python {platform.python_version()}, {', '.join(_installed())}"
    costs = directory / run_directory.COSTS
    if costs.is_file():
        yield f"- {cost_sentence(json.loads(costs.read_text(encoding='utf-8')))}"
    yield ""


def _limits(config: Config, directory: Path) -> Iterator[str]:
    yield "## Limits\n"
    alarms = _rows(directory / run_directory.ALARMS)
    if config.method == "empo" and not config.empo.signal().reads_gold:
        yield "- The reward pays agreement of the model with itself. A model can agree with itself on wrong answers."
    evaluations = _rows(directory / run_directory.EVALUATION)
    if not evaluations:
        yield "- The model was not evaluated on held-out questions. The training numbers do not show how good it is."
    elif not evaluations[-1]["questions_with_gold"]:
        yield "- The held-out questions have no gold answers: nothing here says how many answers are right."
    else:
        yield "- One run with one seed. The held-out numbers have sampling noise; compare them with `empo-eval`."
    if alarms:
        fired = ", ".join(f"`{row['alarm']}` at step {row['step']}" for row in alarms)
        yield f"- Alarms fired during the training: {fired}. See the log before you use the model."
    elif config.method == "empo":
        yield "- No alarm fired during the training. Alarms do not detect every failure."
    yield "- Safety, other languages and other tasks were not tested."
    yield ""


def _rows(path: Path) -> list[dict[str, Any]]:
    return read_metrics(path) if path.is_file() else []


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if isinstance(row.get(key), int | float)]
    return sum(values) / len(values) if values else None


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"


def _source(data: Any) -> str:
    where = _name(data.path) if data.path else "the questions of the demo" if data.dataset == "demo" else data.dataset
    subset = f", subset {data.subset}" if data.subset else ""
    split = f", split {data.split}" if data.dataset not in (None, "demo") else ""
    return f"{where}{subset}{split}{f', {data.limit} of them' if data.limit else ''}"


def _name(text: str) -> str:
    """The name without the folders of this machine; the name of a repository stays as it is."""
    return Path(text).name if _is_local(text) else text


def _without_folders(value: Any) -> Any:
    """A value of a setting, in which each text is replaced by `_name`."""
    if isinstance(value, Mapping):
        return {_without_folders(key): _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    return _name(value) if isinstance(value, str) else value


def _is_local(text: str) -> bool:
    return Path(text).exists() or text.startswith(("/", ".", "~")) or text.count("/") > 1


def _installed() -> Iterator[str]:
    for package in _PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
