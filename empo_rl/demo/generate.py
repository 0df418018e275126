"""Sampling from a small model on a CPU: batched, with the key-value cache, padded on the left.

`generate` over one large batch is many times faster on a CPU than continuous batching, whose paging is made for GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH = 512


def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    greedy: bool = False,
) -> list[str]:
    """One completion per prompt text, special tokens removed. Sampling draws from torch's global generator."""
    completions: list[str] = []
    choice = {"do_sample": False} if greedy else {"do_sample": True, "temperature": temperature, "top_k": 0}
    was_training = model.training
    model.eval()
    for start in range(0, len(prompts), BATCH):
        encoded = tokenizer(
            list(prompts[start : start + BATCH]), return_tensors="pt", padding=True, add_special_tokens=False
        )
        with torch.inference_mode():
            output = model.generate(  # type: ignore[operator]  # transformers types it as a tensor, too
                input_ids=encoded["input_ids"],
                attention_mask=encoded["attention_mask"],
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                **choice,
            )
        new = output[:, encoded["input_ids"].shape[1] :]
        completions += tokenizer.batch_decode(new, skip_special_tokens=True)
    model.train(was_training)
    return completions
