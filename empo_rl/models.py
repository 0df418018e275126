"""The model that a run starts from: a hub name, a local folder, or the demo's base model, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from empo_rl.config import Config
from semantic_entropy import InputError

Progress = Callable[[str, int, int, str], None]


def load_tokenizer(config: Config) -> Any:
    """The model's own; it is needed before the model, to measure prompts."""
    if config.model == "demo":
        from empo_rl.demo.base_model import make_tokenizer

        return make_tokenizer()
    try:
        tokenizer = AutoTokenizer.from_pretrained(config.model, padding_side="left")
    except (OSError, ValueError) as error:
        raise InputError(f"model: {config.model!r} has no tokenizer that can be loaded: {error}") from error
    config.template.apply_chat_template_to(tokenizer, config.model)
    return tokenizer


def load_model(config: Config) -> Any:
    """In the precision it is trained in."""
    kind = torch.bfloat16 if config.training.precision == "bf16" else torch.float32
    try:
        return AutoModelForCausalLM.from_pretrained(config.model, dtype=kind)
    except (OSError, ValueError) as error:
        raise InputError(f"model: {config.model!r} could not be loaded: {error}") from error


def make_demo_model(config: Config, tokenizer: Any, base: Path, progress: Progress) -> Any:
    """Made once; a resumed run finds it."""
    from empo_rl.demo.base_model import make_model, pretrain, save_whole
    from empo_rl.demo.task import split

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
