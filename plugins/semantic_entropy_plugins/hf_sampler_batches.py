"""From requests to batches of responses to be drawn, and from what was drawn to each request's outcomes.

    rows in a batch x (longest prompt + new tokens) <= budget

Requests are taken one by one, as long as there is room in the batch. The responses to one question stay side by side,
since they share their prompt; a request that does not fit as a whole goes on in the next batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from semantic_entropy.plugin import Request, Sample, SampleFailure, Usage
from semantic_entropy_plugins.batches import TokenBudget

Outcome: TypeAlias = tuple[Request, Sample | SampleFailure]


@dataclass(slots=True)
class Asked:
    """A request on its way.

    opened: whether its prompt has opened a reasoning block. copies: how often each response is given. left: how many
    are to be drawn still.
    """

    request: Request
    prompt: list[int]
    opened: bool
    copies: int
    left: int
    problem: str | None = None
    paid: bool = False

    def places(self) -> Iterator[Place]:
        """One for each response that has to be drawn."""
        first = self.request.first
        return (Place(self, number) for number in range(first, first + self.left))

    def take(self, drawn: Sample | str, tokens: int) -> list[Outcome]:
        """A response that cost so many tokens, or why there is none: that is said once, when all others have come."""
        self.left -= 1
        outcomes: list[Outcome] = []
        if isinstance(drawn, str):
            self.problem = drawn
        else:
            cost = Usage(0, 0, tokens) if self.paid else Usage(1, len(self.prompt), tokens)
            self.paid = True
            samples = [dataclasses.replace(drawn, usage=one) for one in (cost, *[Usage()] * (self.copies - 1))]
            outcomes += [(self.request, sample) for sample in samples]
        if self.problem and not self.left:
            outcomes.append((self.request, SampleFailure(self.problem)))
        return outcomes


class Place(NamedTuple):
    """A response's place in a batch: whose it is, and its number among those to its question."""

    asked: Asked
    number: int


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
