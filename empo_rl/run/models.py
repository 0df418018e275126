"""Load the model and the tokenizer of a run from the hub or a folder, and choose the device and the precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils.import_utils import is_torch_bf16_gpu_available

from empo_rl.config import Config
from semantic_entropy import InputError

_GENERAL_CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")  # tokenizer.json fully describes these tokenizers


def fit_to_device(config: Config, kind: str) -> tuple[Config, list[str]]:
    """Replace the value `auto` of `device` and `training.precision`.

    The precision becomes bf16 if the accelerator computes in bf16, else fp32. On the CPU, it becomes fp32. fp16 is not
    supported, because fp16 needs a scaled loss.

    Args:
        config: the configuration.
        kind: the type of the torch device of this process, for example `cpu` or `cuda`.

    Returns:
        The new configuration, and notes for the user.

    Raises:
        InputError: the device cannot compute in the requested precision.
    """
    precision = config.training.precision
    if config.device == "cpu":
        return _with(config, "cpu", "fp32" if precision == "auto" else precision), []
    if kind == "cpu":
        if precision == "bf16":
            raise InputError(
                "training.precision=bf16 needs a GPU, and torch finds none here. Add device=cpu "
                "training.precision=fp32 to train on the CPU, or try `empo-train tiny`, a run for the CPU."
            )
        return _with(config, "cpu", "fp32"), ["no GPU found: training on the CPU in fp32"]
    has_bf16 = is_torch_bf16_gpu_available()
    if precision == "bf16" and not has_bf16:
        raise InputError(
            f"training.precision=bf16: the {kind} device here cannot compute in bf16. Use training.precision=fp32."
        )
    best = "bf16" if has_bf16 else "fp32"
    return _with(config, "auto", best if precision == "auto" else precision), []


def load_tokenizer(config: Config) -> Any:
    """The tokenizer of the model, with the configured chat template.

    Raises:
        InputError: the tokenizer cannot be loaded, or has no chat template.
    """
    if config.model == "demo":
        from empo_rl.run.tiny_model import make_tokenizer

        return make_tokenizer()
    try:
        tokenizer = saved_tokenizer(config.model)
    except (OSError, ValueError) as error:
        raise InputError(f"model: cannot load the tokenizer of {config.model!r}: {error}") from error
    config.template.apply_chat_template_to(tokenizer, config.model)
    return tokenizer


def saved_tokenizer(model: str) -> Any:
    """The tokenizer of a model, loaded with the class that its files name.

    For any Qwen2 model, transformers 5 loads Qwen2's own tokenizer class, even if the files name another class. Qwen2's
    class splits the words of the demo wrongly. If a local folder names a general class, this function loads that class.
    """
    settings = Path(model) / "tokenizer_config.json"
    if settings.is_file():
        kind = json.loads(settings.read_text(encoding="utf-8")).get("tokenizer_class")
        if kind in _GENERAL_CLASSES:
            return PreTrainedTokenizerFast.from_pretrained(model, padding_side="left")
    return AutoTokenizer.from_pretrained(model, padding_side="left")


def load_model(config: Config) -> Any:
    """The model, with weights in `config.weights_precision()`.

    By default, trained weights are stored in fp32. In bf16, the next value after 0.02 is 1e-4 larger, so Adam's updates
    at learning rate 1e-6 would round to zero. `training.weights` changes the precision of the stored weights;
    `training.precision` is only the precision of computation.

    Raises:
        InputError: the model cannot be loaded.
    """
    dtype = torch.bfloat16 if config.weights_precision() == "bf16" else torch.float32
    try:
        return AutoModelForCausalLM.from_pretrained(config.model, dtype=dtype)
    except (OSError, ValueError) as error:
        raise InputError(f"model: cannot load {config.model!r}: {error}") from error


def lora_config(config: Config) -> Any:
    """The settings of the adapter for peft; None if the run trains all weights."""
    if config.lora is None:
        return None
    from peft import LoraConfig

    lora = config.lora
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft divides alpha by r, and accepts any number
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )


def count_tokens(tokenizer: Any, messages: list[dict[str, str]]) -> int:
    """The number of tokens of a conversation in the chat template."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _with(config: Config, device: str, precision: str) -> Config:
    training = config.training.model_copy(update={"precision": precision})
    return config.model_copy(update={"device": device, "training": training})
