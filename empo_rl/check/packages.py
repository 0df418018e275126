"""Whether what the configuration asks for is installed, and the hub would let one push."""

from __future__ import annotations

from collections.abc import Iterator

from empo_rl.check.findings import Finding, has_gpu, ok, problem, unchecked
from empo_rl.config.schema import Config
from empo_rl.extras import TRAINING, is_installed

# report_to's name -> any of these modules. Others of transformers' trackers are looked up by their own name.
_TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "azure_ml": ("azureml",), "comet_ml": ("comet_ml",)}
_ALL = ("all", "none")
_ON_GPUS = ("deepspeed", "vllm")  # of no use without one, and hardly to be installed


def findings(config: Config) -> Iterator[Finding]:
    """A line for what is there, and one for each that is not."""
    missing = [(module, why) for module, why in _needed(config) if not is_installed(module)]
    for module, why in missing:
        if module in _ON_GPUS and not has_gpu():
            yield unchecked(f"{module}, for {why}", f"no GPU is here; there, pip install {module}")
            continue
        yield problem("packages", f"{why} needs {module}, not installed here: pip install {_pip_name(module)}")
    for tracker in _trackers(config):
        modules = _TRACKERS.get(tracker, (tracker,))
        if not any(is_installed(module) for module in modules):
            yield problem("packages", f"trl.report_to={tracker} needs {modules[0]}: pip install {modules[0]}")
    if not missing:
        yield ok("packages", ", ".join(dict.fromkeys(module for module, _ in _needed(config))))
    if config.push_to_hub is not None and is_installed("huggingface_hub"):
        yield _token(config.push_to_hub.repo)


def _needed(config: Config) -> Iterator[tuple[str, str]]:
    yield from ((module, "empo-train") for module in TRAINING)
    if config.lora is not None:
        yield "peft", "lora"
    if config.launch.strategy == "zero3":
        yield "deepspeed", "launch.strategy=zero3"
    if config.rollout.engine != "transformers":
        yield "vllm", f"rollout.engine={config.rollout.engine}"
    if config.push_to_hub is not None:
        yield "huggingface_hub", "push_to_hub"


def _pip_name(module: str) -> str:
    extra = "rl" if module in TRAINING else "lora" if module == "peft" else None
    return f"'semantic-entropy[{extra}]'" if extra else module


def _trackers(config: Config) -> list[str]:
    asked = config.trl.get("report_to") or []
    names = [asked] if isinstance(asked, str) else list(asked)
    return [name for name in names if name not in _ALL]


def _token(repo: str) -> Finding:
    from huggingface_hub import get_token

    if get_token() is None:
        return problem("push_to_hub", f"no token of the hub is here, so {repo} would be refused: hf auth login")
    return ok("push_to_hub", f"a token is here; whether it may write to {repo} only the hub knows")
