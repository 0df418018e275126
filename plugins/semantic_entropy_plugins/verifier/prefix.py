"""Which prompts share a prefix that is worth running once.

Sharing is by token ids: a prefix ends where the prompts' tokens part, so that each prompt's own tokens stay as they
are. Prompts in lexicographic order are the leaves of a tree whose inner nodes are common prefixes. From the deepest
node up, with m prompts that no deeper node took, depth d, and depth p of the node above:

    open a group where  m (d - p) > d

that is, where running d tokens once more saves more than it costs; else its prompts are left to the node above.

Left out: a prefix of a prefix (the question's, under those of its references). One level takes nearly all of the gain,
and each level is another pass of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SHORTEST = 16  # tokens: a second pass of the model costs more than a shorter prefix saves


class Group(NamedTuple):
    """Prompts whose first `prefix` tokens are the same; a prefix of 0 shares nothing."""

    rows: tuple[int, ...]
    prefix: int


class _Node(NamedTuple):
    depth: int
    rows: list[int]


def share(prompts: Sequence[list[int]], shortest: int = SHORTEST) -> list[Group]:
    """Groups of prompts, each prompt in one of them. Every prompt keeps at least one token of its own.

    Args:
        prompts: distinct lists of token ids.
        shortest: least length of a prefix.
    """
    order = sorted(range(len(prompts)), key=lambda row: prompts[row])
    groups: list[Group] = []
    open_nodes: list[_Node] = []
    before: list[int] = []
    for row in order:
        _close(open_nodes, common_prefix(before, prompts[row]), groups, shortest)
        open_nodes.append(_Node(len(prompts[row]), [row]))
        before = prompts[row]
    _close(open_nodes, 0, groups, shortest)
    if open_nodes and open_nodes[0].rows:
        groups.append(Group(tuple(open_nodes[0].rows), 0))
    return groups


def _close(open_nodes: list[_Node], depth: int, groups: list[Group], shortest: int) -> None:
    """Settle all nodes deeper than `depth`: each opens a group, or hands its prompts to the node above."""
    while open_nodes and open_nodes[-1].depth > depth:
        node = open_nodes.pop()
        above = max(depth, open_nodes[-1].depth if open_nodes else 0)
        if node.depth >= shortest and len(node.rows) * (node.depth - above) > node.depth:
            groups.append(Group(tuple(node.rows), node.depth))
            node.rows.clear()
        if open_nodes and open_nodes[-1].depth == above:
            open_nodes[-1].rows.extend(node.rows)
        else:
            open_nodes.append(_Node(above, node.rows))


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of what both begin with, short of either's last token. By bisection: comparing slices is done in C."""
    low, high = 0, max(0, min(len(one), len(other)) - 1)
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
