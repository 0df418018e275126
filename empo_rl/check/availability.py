"""Check that this machine has the question data with its columns, the packages, and a token of the hub.

A hub dataset is checked only if it is in the local cache.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from empo_rl.check.findings import CheckFinding, has_gpu, ok, problem, unchecked
from empo_rl.config import Config
from empo_rl.config.batch_layout import too_few_prompts
from empo_rl.data.prompts import missing_file_command, prompt_columns, read_held_out, read_prompts
from empo_rl.extras import TRAINING, is_installed, require_extra
from semantic_entropy import InputError, SemanticEntropyError, nearest
from semantic_entropy.plain_text import plural

# the trackers of transformers: value of report_to -> modules, of which one is enough
_TRACKERS = {
    "azure_ml": ("azureml",),
    "clearml": ("clearml",),
    "codecarbon": ("codecarbon",),
    "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub",),
    "dvclive": ("dvclive",),
    "flyte": ("flytekit",),
    "kubeflow": (),  # part of transformers
    "mlflow": ("mlflow",),
    "neptune": ("neptune",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
_NOT_A_TRACKER = ("all", "none")
_GPU_PACKAGES = (
    "bitsandbytes",
    "deepspeed",
    "vllm",
)  # a machine without a GPU needs none of them, and often cannot install it


def question_findings(config: Config, *, allow_missing_data: bool = False) -> Generator[CheckFinding, None, int | None]:
    """Yield findings about the data; return the number of questions of the run, or None if it is not known here.

    allow_missing_data: a missing file is no problem if `data.made_with` names the command that makes it.
    """
    rows = config.data.limit
    if config.evaluation is not None:
        yield _held_out_finding(config)
    if allow_missing_data and (command := missing_file_command(config.data)) is not None:
        yield unchecked("data", f"{config.data.path} does not exist yet. Make it with: {command}")
        return rows
    if config.data.path is not None or config.data.dataset == "demo":
        try:
            rows = len(read_prompts(config))
        except SemanticEntropyError as error:
            yield problem("data", str(error))
            return rows
        yield ok("data", f"{plural(rows, 'prompt')}, with all columns that the run needs")
        if config.data.max_prompt_tokens:
            yield unchecked("data.max_prompt_tokens", "counting tokens needs the model's tokenizer")
    else:
        yield from _hub_dataset_findings(config)
    if rows is not None and (too_few := too_few_prompts(config, rows)):
        yield problem("data", too_few)
    return rows


def _held_out_finding(config: Config) -> CheckFinding:
    assert config.evaluation is not None, "the caller checks this"
    data = config.evaluation.data
    if data.path is None and data.dataset != "demo":
        return unchecked(f"evaluation.data {data.dataset}", "nothing is downloaded")
    try:
        held_out = read_held_out(config)
    except SemanticEntropyError as error:
        return problem("evaluation.data", str(error))
    graded = sum(row["gold"] is not None for row in held_out)
    return ok("evaluation.data", f"{len(held_out)} questions, {graded} with a gold answer")


def model_findings(config: Config) -> Iterator[CheckFinding]:
    """A problem if the model is a path on this machine without a model, which no hub name is."""
    folder = Path(config.model)
    is_path = config.model.startswith((".", "/", "~")) or config.model.count("/") > 1
    if is_path and not folder.is_dir():
        yield problem("model", f"the folder {config.model} does not exist, and it is no name on the hub (OWNER/NAME)")
    elif folder.is_dir() and not (folder / "config.json").is_file():
        yield problem("model", f"the folder {config.model} has no config.json, so it is not a model")


def _hub_dataset_findings(config: Config) -> Iterator[CheckFinding]:
    data = config.data
    try:
        require_extra("reading a hub dataset", ("datasets",))
        columns = _cached_columns(config)
    except SemanticEntropyError as error:
        yield problem("data", str(error))
        return
    if columns is None:
        yield unchecked(f"data.dataset {data.dataset}", "it is not in this machine's cache, and nothing is downloaded")
        return
    wanted = {"question": data.columns.question}
    if config.method == "sft":
        wanted["response"] = str(prompt_columns(config).response)
    if config.reads_gold():
        wanted["gold"] = str(prompt_columns(config).gold)
    missing = {role: name for role, name in wanted.items() if name not in columns}
    for role, name in missing.items():
        yield problem("data", f"{data.dataset} has no column {name!r} (data.columns.{role}). It has: {list(columns)}")
    if not missing:
        yield ok("data", f"{data.dataset} is in the cache and has the columns {list(wanted.values())}")


def _cached_columns(config: Config) -> Mapping[str, Any] | None:
    """The columns of a hub dataset in the cache; None if the dataset is not in the cache."""
    import datasets

    data = config.data
    assert data.dataset is not None, "Data checks this"
    try:
        loaded = datasets.load_dataset(data.dataset, data.subset, split=data.split, streaming=False)
    except ValueError as error:
        if "cache" in str(error):  # the cache holds another configuration of the dataset
            return None
        raise InputError(f"{data.dataset} (subset {data.subset!r}, split {data.split!r}): {error}") from error
    except OSError:  # includes FileNotFoundError and the offline error of the hub
        return None
    features: Mapping[str, Any] = loaded.features
    return features


def package_findings(config: Config) -> Iterator[CheckFinding]:
    """One finding for each missing package, or one finding if no package is missing; then one for the hub token."""
    missing = [(module, purpose) for module, purpose in _needed_packages(config) if not is_installed(module)]
    for module, purpose in missing:
        if module in _GPU_PACKAGES and not has_gpu():
            reason = f"this machine has no GPU; on the machine of the run: pip install {module}"
            yield unchecked(f"{module}, for {purpose}", reason)
            continue
        yield problem("packages", f"{purpose} needs {module}, not installed here: pip install {_pip_name(module)}")
    for tracker in _trackers(config):
        modules = _TRACKERS.get(tracker)
        if modules is None:
            known = ", ".join([*_TRACKERS, *_NOT_A_TRACKER])
            hint = nearest(tracker, _TRACKERS)
            yield problem("trl", f"trl.report_to={tracker} is not a tracker of transformers.{hint} Trackers: {known}.")
        elif modules and not any(is_installed(module) for module in modules):
            yield problem("packages", f"trl.report_to={tracker} needs {modules[0]}: pip install {modules[0]}")
    if not missing:
        yield ok("packages", ", ".join(dict.fromkeys(module for module, _ in _needed_packages(config))))
    if config.push_to_hub is not None and is_installed("huggingface_hub"):
        yield _token_finding(config.push_to_hub.repo)


def _needed_packages(config: Config) -> Iterator[tuple[str, str]]:
    """(module, purpose) for each module that the run imports."""
    yield from ((module, "empo-train") for module in TRAINING)
    if config.lora is not None:
        yield "peft", "lora"
        if config.lora.load_in_4bit:
            yield "bitsandbytes", "lora.load_in_4bit"
    if config.launch.strategy == "zero3":
        yield "deepspeed", "launch.strategy=zero3"
    if config.rollout.engine != "transformers":
        yield "vllm", f"rollout.engine={config.rollout.engine}"
    if config.push_to_hub is not None:
        yield "huggingface_hub", "push_to_hub"


def _pip_name(module: str) -> str:
    extra = "rl" if module in TRAINING else {"peft": "lora", "bitsandbytes": "qlora"}.get(module)
    return f"'semantic-entropy[{extra}]'" if extra else module


def _trackers(config: Config) -> list[str]:
    report_to = config.trl.get("report_to") or []
    names = report_to if isinstance(report_to, list) else [report_to]
    return [str(name) for name in names if name not in _NOT_A_TRACKER]


def _token_finding(repo: str) -> CheckFinding:
    from huggingface_hub import get_token

    if get_token() is None:
        return problem(
            "push_to_hub", f"this machine has no token of the hub, so the hub would refuse {repo}: hf auth login"
        )
    return ok("push_to_hub", f"a token of the hub is set; only the hub knows whether it may write to {repo}")
