"""The model that a run starts from: a hub name, a local folder, or the demo's base model, made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from empo_rl.config.schema import Config
from semantic_entropy import InputError

_GENERAL = ("TokenizersBackend", "PreTrainedTokenizerFast")  # tokenizer.json is all there is to these

Progress = Callable[[str, int, int, str], None]


def load_tokenizer(config: Config) -> Any:
    """The model's own; it is needed before the model, to measure prompts."""
    if config.model == "demo":
        from empo_rl.run.tiny_model import make_tokenizer

        return make_tokenizer()
    try:
        tokenizer = saved_tokenizer(config.model)
    except (OSError, ValueError) as error:
        raise InputError(f"model: {config.model!r} has no tokenizer that can be loaded: {error}") from error
    config.template.apply_chat_template_to(tokenizer, config.model)
    return tokenizer


def saved_tokenizer(model: str) -> Any:
    """As it was saved. transformers 5 takes that of any Qwen2 model to be Qwen2's own, whatever its files say, and so
    reads the demo's words wrongly; where a local folder names the general class, that one reads it.
    """
    settings = Path(model) / "tokenizer_config.json"
    if settings.is_file():
        kind = json.loads(settings.read_text(encoding="utf-8")).get("tokenizer_class")
        if kind in _GENERAL:
            return PreTrainedTokenizerFast.from_pretrained(model, padding_side="left")
    return AutoTokenizer.from_pretrained(model, padding_side="left")


def load_model(config: Config) -> Any:
    """In the precision its weights are kept in.

    In bf16 a weight of .02 has neighbours 1e-4 away, so that Adam's steps at lr 1e-6 round to nothing; weights that are
    trained are therefore kept in fp32, unless `training.weights` asks for less. Computing is `training.precision`'s
    affair.
    """
    kind = torch.bfloat16 if config.weights_precision() == "bf16" else torch.float32
    try:
        return AutoModelForCausalLM.from_pretrained(config.model, dtype=kind)
    except (OSError, ValueError) as error:
        raise InputError(f"model: {config.model!r} could not be loaded: {error}") from error


def lora_config(config: Config) -> Any:
    """The adapters' settings, as peft takes them; None where the model itself is trained."""
    if config.lora is None:
        return None
    from peft import LoraConfig

    lora = config.lora
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft divides it by r, and takes any number
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )


def make_demo_model(config: Config, tokenizer: Any, base: Path, progress: Progress) -> Any:
    """Made once; a resumed run finds it."""
    from empo_rl.data.arithmetic import split
    from empo_rl.run.tiny_model import make_model, pretrain, save_whole

    torch.set_num_threads(1)  # as fast as two for so small a model
    if base.exists():
        return AutoModelForCausalLM.from_pretrained(base)
    model, steps = make_model(tokenizer, config.seed), config.demo.pretrain_steps
    pretrain(
        model,
        tokenizer,
        split(config.seed).pretraining,
        seed=config.seed,
        steps=steps,
        on_step=lambda step, loss: progress("pre-training", step, steps, f"loss {loss:.3f}"),
    )
    save_whole(model, tokenizer, base)
    return model


def count_tokens(tokenizer: Any, turns: list[dict[str, str]]) -> int:
    """The length of a conversation as the model will see it."""
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])
