"""Finds prefixes that several prompts share, and keeps the prefixes in the key-value cache of the model.

Prefixes are found by token ids, so sharing does not change the tokens of a prompt. Sorted prompts are the leaves of a
tree whose inner nodes are common prefixes. The nodes are visited from the deepest node up. A node of depth d has m
prompts that no deeper group contains, and its parent node has depth p. The node becomes a group if

    m (d - p) > d

which means that the pass over the prefix saves more tokens than the d tokens that it costs. Otherwise the parent node
gets the prompts.

A prefix runs once and stays in the cache. The cached keys and values then precede the remaining tokens of each row:

    cached:     [pad pad p p p p p]             prefixes, padded on the left
    continued:  [pad pad p p p p p | s s s pad] the same keys and values, then the row's remaining tokens

The tokens of a row are adjacent, so the distances between tokens are correct. This is also true for a sliding window,
because the cache of every layer holds all tokens, and the attention mask applies the window. Positions do not count
padding.

Left out: a prefix of a prefix (a question with several references), because one level saves nearly all of the time, and
each level needs another pass of the model; caches of a fixed size, offloaded or quantised caches, recurrent states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache

SHORTEST = 16  # tokens: another pass of the model costs more than a shorter prefix saves

TokenIds = list[int]


class PrefixGroup(NamedTuple):
    """A group of prompts, by index, with the same first `prefix` tokens. If `prefix` is 0, they share no tokens."""

    rows: tuple[int, ...]
    prefix: int


class _Node(NamedTuple):
    depth: int
    rows: list[int]


def group_by_prefix(prompts: Sequence[TokenIds], shortest: int = SHORTEST) -> list[PrefixGroup]:
    """Put each prompt into one group. Every prompt keeps at least one token after the prefix.

    Args:
        prompts: distinct lists of token ids.
        shortest: the smallest length of a prefix.
    """
    order = sorted(range(len(prompts)), key=lambda row: prompts[row])
    groups: list[PrefixGroup] = []
    open_nodes: list[_Node] = []
    previous: TokenIds = []
    for row in order:
        _close(open_nodes, common_prefix(previous, prompts[row]), groups, shortest)
        open_nodes.append(_Node(len(prompts[row]), [row]))
        previous = prompts[row]
    _close(open_nodes, 0, groups, shortest)
    if open_nodes and open_nodes[0].rows:
        groups.append(PrefixGroup(tuple(open_nodes[0].rows), 0))
    return groups


def _close(open_nodes: list[_Node], depth: int, groups: list[PrefixGroup], shortest: int) -> None:
    """Close all nodes deeper than `depth`: a node becomes a group, or its parent node gets its prompts."""
    while open_nodes and open_nodes[-1].depth > depth:
        node = open_nodes.pop()
        above = max(depth, open_nodes[-1].depth if open_nodes else 0)
        if node.depth >= shortest and len(node.rows) * (node.depth - above) > node.depth:
            groups.append(PrefixGroup(tuple(node.rows), node.depth))
            node.rows.clear()
        if open_nodes and open_nodes[-1].depth == above:
            open_nodes[-1].rows.extend(node.rows)
        else:
            open_nodes.append(_Node(above, node.rows))


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of the common prefix, without the last token of each prompt.

    The length is found by bisection, because Python compares slices fast.
    """
    low, high = 0, max(0, min(len(one), len(other)) - 1)
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class CannotShareError(Exception):
    """The model's cache cannot be used to share prefixes."""


@dataclass(frozen=True, slots=True, eq=False)
class CachedPrefixes:
    """A batch of prefixes that the model has read.

    Attributes:
        layers: keys and values of each layer, of shape (prefixes, heads, longest prefix, dim), padded on the left.
        lengths: the number of tokens of each prefix.
    """

    layers: list[tuple[torch.Tensor, torch.Tensor]]
    lengths: list[int]


class Continuation(NamedTuple):
    """The tokens of a prompt after its prefix, at least one token. `prompt` and `prefix` are indices."""

    prompt: int
    ids: TokenIds
    prefix: int


def pad_right(prompts: Sequence[TokenIds], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The ids (rows, longest row), padded with the row's last token on the right, and each row's last index."""
    longest = max(map(len, prompts))
    ids = [[*prompt, *[prompt[-1]] * (longest - len(prompt))] for prompt in prompts]
    last = [len(prompt) - 1 for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(last, device=device)


def cache_prefixes(
    call: Callable[..., Any], prefixes: Sequence[TokenIds], device: torch.device
) -> list[tuple[CachedPrefixes, int]]:
    """Run distinct prefixes through the model. Returns (batch, index in the batch) for each prefix.

    Raises:
        CannotShareError: the model's cache has no keys and values of this shape.
    """
    longest = max(map(len, prefixes))
    gaps = [longest - len(prefix) for prefix in prefixes]
    ids = torch.tensor([[prefix[0]] * gap + prefix for gap, prefix in zip(gaps, prefixes, strict=True)], device=device)
    cache = DynamicCache()
    call(input_ids=ids, past_key_values=cache, use_cache=True, **_left_padding(gaps, longest, device))
    layers = []
    for keys, values, *_ in cache:
        if keys is None or keys.shape[0] != len(prefixes) or keys.shape[-2] != longest:
            raise CannotShareError("not all of its layers keep the keys of all tokens")
        layers.append((keys, values))
    if not layers:
        raise CannotShareError("it keeps no keys")
    cached = CachedPrefixes(layers, [len(prefix) for prefix in prefixes])
    return [(cached, index) for index in range(len(prefixes))]


def continue_prefixes(prefixes: CachedPrefixes, rows: Sequence[Continuation]) -> tuple[dict[str, Any], torch.Tensor]:
    """The model's inputs for these rows after their prefixes, and the index of each row's last token."""
    device = prefixes.layers[0][0].device
    ids, last = pad_right([row.ids for row in rows], device)
    indices = [row.prefix for row in rows]
    lengths = [prefixes.lengths[index] for index in indices]
    longest = max(lengths)
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(prefixes.layers):
        cache.update(_select(keys, indices, longest), _select(values, indices, longest), layer)
    start = torch.tensor(lengths, device=device)[:, None]
    steps = torch.arange(ids.shape[1], device=device)[None]
    inputs: dict[str, Any] = {
        "input_ids": ids,
        "past_key_values": cache,
        "use_cache": True,
        # Padding keeps the position of the row's last token: a table of positions may end there.
        "position_ids": start + torch.minimum(steps, last[:, None]),
    }
    if min(lengths) < longest:
        columns = torch.arange(longest + ids.shape[1], device=device)[None]
        inputs["attention_mask"] = (columns >= longest - start).long()
    return inputs, last


def _left_padding(gaps: list[int], longest: int, device: torch.device) -> dict[str, torch.Tensor]:
    """The mask and the positions for padded rows; empty without padding: attention is fastest without a mask."""
    if not any(gaps):
        return {}
    position = torch.arange(longest, device=device)[None] - torch.tensor(gaps, device=device)[:, None]
    return {"attention_mask": (position >= 0).long(), "position_ids": position.clamp(min=0)}


def _select(states: torch.Tensor, indices: list[int], longest: int) -> torch.Tensor:
    """The keys or values for each index. They are not copied if all rows have the same prefix."""
    states = states[:, :, -longest:]
    if len(set(indices)) == 1:
        return states[indices[0]].expand(len(indices), -1, -1, -1)
    return states[torch.tensor(indices, device=states.device)]
