"""Prefixes in the key-value cache: run once, then put before the rows of a batch.

    kept:       [pad pad p p p p p]            prefixes, padded at the left
    continued:  [pad pad p p p p p | s s s pad] the same keys and values, and each row's own tokens, padded at the right

So a row's tokens lie side by side and the distances between them are true, also for a sliding window: every layer's
cache is a full one, and the window is the mask's affair. Positions are counted without padding.

Left out: caches of a fixed size, offloaded or quantised caches, recurrent states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache

Prompt = list[int]


class CannotShareError(Exception):
    """This model keeps no keys and values that could be put before other tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """A batch of prefixes that have been run.

    layers: of each layer keys and values, each (prefixes, heads, longest, dim), padded at the left. lengths: tokens of
    each.
    """

    layers: list[tuple[torch.Tensor, torch.Tensor]]
    lengths: list[int]


class Row(NamedTuple):
    """A prompt's own tokens, at least one; `prompt` says whose they are, `prefix` which of the prefixes is theirs."""

    prompt: int
    ids: Prompt
    prefix: int


def padded(prompts: Sequence[Prompt], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (rows, longest), padded at the right with the row's own last token, and where each row's last token is."""
    longest = max(map(len, prompts))
    ids = [[*prompt, *[prompt[-1]] * (longest - len(prompt))] for prompt in prompts]
    last = [len(prompt) - 1 for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(last, device=device)


def kept(call: Callable[..., Any], prefixes: Sequence[Prompt], device: torch.device) -> list[tuple[Prefixes, int]]:
    """Run prefixes, distinct ones, through the model: for each where it is kept.

    Raises:
        CannotShareError: the model left no keys and values of that shape.
    """
    longest = max(map(len, prefixes))
    gaps = [longest - len(prefix) for prefix in prefixes]
    ids = torch.tensor([[prefix[0]] * gap + prefix for gap, prefix in zip(gaps, prefixes, strict=True)], device=device)
    cache = DynamicCache()
    call(input_ids=ids, past_key_values=cache, use_cache=True, **_left_padding(gaps, longest, device))
    layers = []
    for keys, values, *_ in cache:
        if keys is None or keys.shape[0] != len(prefixes) or keys.shape[-2] != longest:
            raise CannotShareError("its layers do not all keep the keys of all tokens")
        layers.append((keys, values))
    if not layers:
        raise CannotShareError("it keeps no keys")
    held = Prefixes(layers, [len(prefix) for prefix in prefixes])
    return [(held, index) for index in range(len(prefixes))]


def continued(prefixes: Prefixes, rows: Sequence[Row]) -> tuple[dict[str, Any], torch.Tensor]:
    """The model's inputs for these rows after their prefixes, and where each row's last token is."""
    device = prefixes.layers[0][0].device
    ids, last = padded([row.ids for row in rows], device)
    which = [row.prefix for row in rows]
    lengths = [prefixes.lengths[index] for index in which]
    longest = max(lengths)
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(prefixes.layers):
        cache.update(_chosen(keys, which, longest), _chosen(values, which, longest), layer)
    start = torch.tensor(lengths, device=device)[:, None]
    steps = torch.arange(ids.shape[1], device=device)[None]
    inputs: dict[str, Any] = {
        "input_ids": ids,
        "past_key_values": cache,
        "use_cache": True,
        # Padding stays at the row's last position: a table of positions may end there.
        "position_ids": start + torch.minimum(steps, last[:, None]),
    }
    if min(lengths) < longest:
        columns = torch.arange(longest + ids.shape[1], device=device)[None]
        inputs["attention_mask"] = (columns >= longest - start).long()
    return inputs, last


def _left_padding(gaps: list[int], longest: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Nothing where there is no padding: a model's fastest attention is the one without a mask."""
    if not any(gaps):
        return {}
    position = torch.arange(longest, device=device)[None] - torch.tensor(gaps, device=device)[:, None]
    return {"attention_mask": (position >= 0).long(), "position_ids": position.clamp(min=0)}


def _chosen(kept_states: torch.Tensor, which: list[int], longest: int) -> torch.Tensor:
    """A row's keys or values for each of `which`; one prefix for all rows is not copied here."""
    states = kept_states[:, :, -longest:]
    if len(set(which)) == 1:
        return states[which[0]].expand(len(which), -1, -1, -1)
    return states[torch.tensor(which, device=states.device)]
