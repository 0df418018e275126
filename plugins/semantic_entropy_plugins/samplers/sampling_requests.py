"""A request on its way: what is to be drawn for it, and what comes of it.

A failure is said once, when all other responses to its question have come; the first of them carries the request and
the prompt's tokens as its cost, each its own tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from semantic_entropy.plugin import Request, Sample, SampleFailure, Usage
from semantic_entropy_plugins.samplers.sampling_prompts import Prompts, opens_reasoning

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


def asked(request: Request, prompts: Prompts, *, window: int | None, new: int, greedy: bool) -> Asked:
    """The request with its prompt, or with the problem that leaves nothing to be drawn.

    Args:
        request: what is asked for.
        prompts: how prompts are written.
        window: tokens that the model takes, prompt and response together; None: it states no limit.
        new: tokens of a response at most.
        greedy: whether all responses are equal, so that one is drawn and given n times.
    """
    text = prompts.text(request.question)
    prompt = prompts.ids(text)
    copies, drawn = (request.n, 1) if greedy else (1, request.n)
    made = Asked(request, prompt, opens_reasoning(text), copies, drawn)
    if window is not None and len(prompt) + new > window:
        made.problem = (
            f"a prompt of {len(prompt)} tokens and {new} new ones (max_tokens) are over the model's window of {window}"
        )
    elif not prompt:
        made.problem = "the prompt has no tokens"
    return made
