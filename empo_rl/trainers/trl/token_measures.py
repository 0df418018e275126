"""What a policy's own token distributions say of its completions: entropy and self-certainty, means over the tokens.

    token_entropy   H(p_t) = -sum p ln p                               nats; 0 is certain
    self_certainty  KL(U || p_t) = -ln V - mean over the vocabulary of ln p   nats; 0 is uniform (Zhao et al. 2025)

p_t is the distribution that the token was drawn from, temperature included, before top-p or top-k cut it. One forward
pass without gradients, in batches; the vocabulary is worked on a row at a time, so that a batch needs the memory of its
logits and no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

MEASURES = ("token_entropy", "self_certainty")


def of_logits(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(T, V) logits to entropy (T,) and self-certainty (T,), nats, computed in float32."""
    logp = torch.log_softmax(logits.float(), dim=-1)
    entropy = -(logp.exp() * logp).sum(dim=-1)
    return entropy, -math.log(logits.shape[-1]) - logp.mean(dim=-1)


@torch.no_grad()
def measure_tokens(
    model: Any,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
    batch_size: int = 8,
    pad: int = 0,
) -> dict[str, list[float]]:
    """Token ids of prompts and completions, a row each, to the measures of each completion; 0 for an empty one."""
    values: dict[str, list[float]] = {name: [] for name in MEASURES}
    for start in range(0, len(prompts), batch_size):
        asked, said = prompts[start : start + batch_size], completions[start : start + batch_size]
        for row, length in zip(_logits(model, asked, said, pad), map(len, said), strict=True):
            entropy, certainty = of_logits(row[:length] / temperature)
            values["token_entropy"].append(float(entropy.mean()) if length else 0.0)
            values["self_certainty"].append(float(certainty.mean()) if length else 0.0)
    return values


def _logits(model: Any, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], pad: int) -> Any:
    """(rows, longest completion, V): at each place the logits that its token was drawn from."""
    left, right = max(map(len, prompts)), max(1, *map(len, completions))
    ids = torch.full((len(prompts), left + right), pad)
    mask = torch.zeros_like(ids)
    for row, (asked, said) in enumerate(zip(prompts, completions, strict=True)):
        begin, end = left - len(asked), left + len(said)
        ids[row, begin:end] = torch.tensor([*asked, *said])
        mask[row, begin:end] = 1
    device = next(model.parameters()).device
    output = model(input_ids=ids.to(device), attention_mask=mask.to(device), logits_to_keep=right + 1)
    return output.logits[:, -right - 1 : -1]
