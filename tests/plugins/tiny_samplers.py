"""Causal language models for sampler tests: of many architectures, and one that is trained on its answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from tests.plugins.tiny_models import SIZE, tiny_causal_lm

CERTAIN, OPEN = "What is the capital?", "Yes or no?"
"""A question whose answers have one meaning in two wordings, and a question whose answers have two meanings."""
ANSWERS = {CERTAIN: ("it is Paris", "Paris in France"), OPEN: ("yes", "no")}
WINDOW = 512


def _config(kind: str, vocabulary: int) -> Any:
    size = SIZE | {"num_key_value_heads": 2, "max_position_embeddings": WINDOW, "vocab_size": vocabulary}
    size |= {"pad_token_id": 0, "eos_token_id": 2, "bos_token_id": None, "tie_word_embeddings": False}
    few = {"vocab_size": vocabulary, "hidden_size": 32, "num_hidden_layers": 2}
    make = {
        "qwen2": lambda: transformers.Qwen2Config(**size),
        "llama": lambda: transformers.LlamaConfig(**size),
        "mistral, sliding window": lambda: transformers.MistralConfig(**size, sliding_window=8),
        "gemma3, sliding window": lambda: transformers.Gemma3TextConfig(**size, sliding_window=8, head_dim=8),
        "gpt2, learned positions": lambda: transformers.GPT2Config(
            vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=WINDOW, initializer_range=0.5
        ),
        "bloom, alibi": lambda: transformers.BloomConfig(
            vocab_size=vocabulary, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.5
        ),
        "mamba, states": lambda: transformers.MambaConfig(**few, state_size=8),
        "rwkv, states": lambda: transformers.RwkvConfig(**few, attention_hidden_size=32),
    }
    return make[kind]()


MODES = {
    "qwen2": "sharing prompts",
    "llama": "sharing prompts",
    "mistral, sliding window": "sharing prompts",
    "gemma3, sliding window": "sharing prompts",
    "gpt2, learned positions": "sharing prompts",
    "bloom, alibi": "sharing prompts",
    "mamba, states": "in padded batches",
    "rwkv, states": "one by one",  # in batches, transformers 5 generates wrong texts
}
"""The generation mode of each kind."""


def checkpoint(path: Path, kind: str = "qwen2", *, ends: Any = None, pad: str | None = "<|pad|>") -> Path:
    """Write a model of this architecture with random weights. `ends`: of its generation settings; `pad`: the token."""
    tiny_causal_lm(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(_config(kind, len(tokenizer)))
    model.generation_config = transformers.GenerationConfig(eos_token_id=ends)
    tokenizer.pad_token = pad
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def trained(path: Path, lessons: Mapping[str, tuple[str, ...]] = ANSWERS) -> Path:
    """Write a chat model that answers these questions, each answer equally often, and then ends."""
    tiny_causal_lm(path, initializer_range=0.05)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        + answer
        + tokenizer.eos_token
        for question, answers in lessons.items()
        for answer in answers
    ]
    batch = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(120):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1, "the tiny model did not learn its answers"  # ln 2 for the one open token of each text
    model.eval().save_pretrained(path)
    return path
