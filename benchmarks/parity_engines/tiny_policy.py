"""The tiny model of `parity.py`, its tokenizer, and the token measures of the completions, computed one by one.

    token_entropy   mean over the tokens of H(p_t) = -sum p ln p                    nats
    self_certainty  mean over the tokens of KL(U || p_t) = -ln V - mean of ln p     nats

`EmpoGRPOTrainer` measures batches with padding, in float32, in one process or two (empo_rl/trainers/trl). Here each
completion has a forward pass of its own without padding, and the sums are in float64, so the two share no code but the
model. p_t is the distribution after the prompt and the first t tokens; a completion that is not cut off ends with the
end token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from empo_rl.run.tiny_model import make_model

SHARPER = 2  # times the weights of the last layer: distributions of new weights are all nearly uniform


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte: every text returns from its tokens as it was."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: at for at, letter in enumerate(["<|end|>", "<|pad|>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",  # noqa: S106  # no password
        pad_token="<|pad|>",  # noqa: S106
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def make_policy(tokenizer: PreTrainedTokenizerFast) -> Any:
    """The model that TRL trains one step on each case."""
    model = make_model(tokenizer, seed=0)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(SHARPER)
    return model


@torch.no_grad()
def measured(prompt: str, completions: Sequence[str], truncated: Sequence[bool]) -> dict[str, list[float]]:
    """The token measures of the completions of a prompt, (G,) each."""
    tokenizer, model = _measuring()
    start = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    found: dict[str, list[float]] = {"token_entropy": [], "self_certainty": []}
    for text, cut in zip(completions, truncated, strict=True):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] * (not cut)
        logits = model(torch.tensor([[*start, *ids]])).logits[0, len(start) - 1 : -1].double()
        log_p = logits - logits.logsumexp(dim=-1, keepdim=True)
        found["token_entropy"].append(float(-(log_p.exp() * log_p).sum(dim=-1).mean()))
        found["self_certainty"].append(float(-math.log(log_p.shape[-1]) - log_p.mean()))
    return found


@cache
def _measuring() -> tuple[PreTrainedTokenizerFast, Any]:
    tokenizer = byte_tokenizer()
    return tokenizer, make_policy(tokenizer).eval()
