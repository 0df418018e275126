"""Compute the entropy and the self-certainty of a policy's token distributions: means over the tokens of a completion.

    token_entropy   H(p_t) = -sum p ln p                               nats; 0 is certain
    self_certainty  KL(U || p_t) = -ln V - mean over the vocabulary of ln p   nats; 0 is uniform (Zhao et al. 2025)

p_t is the distribution from which token t was sampled, with the temperature applied, but without top-p and top-k. V is
the size of the vocabulary, and U is the uniform distribution over the vocabulary. The measures need one forward pass
without gradients. The softmax is computed row by row, so a batch needs little more memory than its logits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

MEASURES = ("token_entropy", "self_certainty")


def of_logits(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the entropies (T,) and the self-certainties (T,) of logits (T, V), in nats, computed in float32."""
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
    """Return the measures of each completion, by name; 0 for an empty completion.

    Args:
        model: a causal language model of transformers.
        prompts: (n,) the token ids of the prompts.
        completions: (n,) the token ids of the completions.
        temperature: the temperature of the sampling.
        batch_size: the number of rows in a forward pass.
        pad: the id of the padding token.
    """
    values: dict[str, list[float]] = {name: [] for name in MEASURES}
    for start in range(0, len(prompts), batch_size):
        rows = slice(start, start + batch_size)
        lengths = map(len, completions[rows])
        for logits, length in zip(_logits(model, prompts[rows], completions[rows], pad), lengths, strict=True):
            entropy, certainty = of_logits(logits[:length] / temperature)
            values["token_entropy"].append(float(entropy.mean()) if length else 0.0)
            values["self_certainty"].append(float(certainty.mean()) if length else 0.0)
    return values


def _logits(model: Any, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], pad: int) -> Any:
    """Logits (rows, longest completion, V). Position t contains the logits from which token t was sampled."""
    left, right = max(map(len, prompts)), max(1, *map(len, completions))
    ids = torch.full((len(prompts), left + right), pad)
    mask = torch.zeros_like(ids)
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        begin, end = left - len(prompt), left + len(completion)
        ids[row, begin:end] = torch.tensor([*prompt, *completion])
        mask[row, begin:end] = 1
    device = next(model.parameters()).device
    output = model(input_ids=ids.to(device), attention_mask=mask.to(device), logits_to_keep=right + 1)
    return output.logits[:, -right - 1 : -1]
