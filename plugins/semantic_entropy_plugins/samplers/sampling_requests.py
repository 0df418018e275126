"""The state of a request: which responses are missing, and the samples or the failure that it yields.

The first sample of a request carries the request and the prompt's tokens in its usage; every sample carries its own
tokens. A failure comes once, after the samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from semantic_entropy.plugin import Request, Sample, SampleFailure, Usage
from semantic_entropy_plugins.samplers.sampling_prompts import PromptWriter, opens_reasoning

SampleOutcome: TypeAlias = tuple[Request, Sample | SampleFailure]


@dataclass(slots=True)
class OpenRequest:
    """A request with missing responses.

    Attributes:
        request: the reader's request.
        prompt: tokens of the prompt.
        starts_in_reasoning: the prompt ends inside a <think> block.
        copies: how often each response is yielded.
        missing: responses to draw.
        problem: why a response cannot be drawn.
        prompt_counted: a sample carries the prompt's tokens already.
    """

    request: Request
    prompt: list[int]
    starts_in_reasoning: bool
    copies: int
    missing: int
    problem: str | None = None
    prompt_counted: bool = False

    def missing_responses(self) -> Iterator[MissingResponse]:
        """Each response to draw."""
        first = self.request.first
        return (MissingResponse(self, number) for number in range(first, first + self.missing))

    def add(self, drawn: Sample | str, tokens: int) -> list[SampleOutcome]:
        """What to yield for a drawn response of so many tokens, or for the reason why there is none."""
        self.missing -= 1
        outcomes: list[SampleOutcome] = []
        if isinstance(drawn, str):
            self.problem = drawn
        else:
            usage = Usage(0, 0, tokens) if self.prompt_counted else Usage(1, len(self.prompt), tokens)
            self.prompt_counted = True
            usages = (usage, *[Usage()] * (self.copies - 1))
            outcomes += [(self.request, dataclasses.replace(drawn, usage=usage)) for usage in usages]
        if self.problem and not self.missing:
            outcomes.append((self.request, SampleFailure(self.problem)))
        return outcomes


class MissingResponse(NamedTuple):
    """A response to draw. number: its position among all responses to the question."""

    open_request: OpenRequest
    number: int


def start_request(
    request: Request, prompts: PromptWriter, *, window: int | None, max_tokens: int, greedy: bool
) -> OpenRequest:
    """The request with its prompt; `problem` is set if nothing can be drawn.

    Args:
        request: the reader's request.
        prompts: writes the prompt.
        window: the model's limit for prompt and response, in tokens; None: no limit.
        max_tokens: the most tokens of a response.
        greedy: all responses are equal: one is drawn and yielded n times.
    """
    text = prompts.text(request.question)
    prompt = prompts.ids(text)
    copies, missing = (request.n, 1) if greedy else (1, request.n)
    started = OpenRequest(request, prompt, opens_reasoning(text), copies, missing)
    if window is not None and len(prompt) + max_tokens > window:
        started.problem = (
            f"a prompt of {len(prompt)} tokens and {max_tokens} new tokens (max_tokens) exceed the model's window of "
            f"{window}"
        )
    elif not prompt:
        started.problem = "the prompt has no tokens"
    return started
