"""Batches of responses to be drawn, taken from requests as long as there is room.

    rows in a batch x (longest prompt + new tokens) <= budget

The responses to one question stay side by side, since they share their prompt; a request that does not fit as a whole
goes on in the next batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from semantic_entropy_plugins.models.batches import TokenBudget
from semantic_entropy_plugins.samplers.sampling_requests import Place


def packed(places: Iterable[Place], budget: TokenBudget, new: int, *, pads: bool) -> Iterator[list[Place]]:
    """Batches of places, taken as they fit.

    Args:
        places: one after the other.
        budget: what a batch may hold at most; may change meanwhile.
        new: tokens of a response at most.
        pads: whether prompts of several lengths may share a batch.
    """
    batch: list[Place] = []
    longest = 0
    for place in places:
        length = len(place.asked.prompt) + new
        full = (len(batch) + 1) * max(longest, length) > budget.tokens
        if batch and (full or not (pads or length == longest)):
            yield batch
            batch, longest = [], 0
        batch.append(place)
        longest = max(longest, length)
        if (len(batch) + 1) * longest > budget.tokens:  # so that no request is taken that could not be started on
            yield batch
            batch, longest = [], 0
    if batch:
        yield batch
