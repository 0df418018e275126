"""The state of a request: the missing responses, and the samples or the failure for the reader.

The usage of the first sample of a request contains the request and the prompt's tokens. The usage of each sample
contains the tokens of the sample. After the samples comes at most one failure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from semantic_entropy.plugin import Request, Sample, SampleFailure, Usage
from semantic_entropy_plugins.samplers.sampling_prompts import PromptWriter, UnwritablePromptError, opens_reasoning

SampleOutcome: TypeAlias = tuple[Request, Sample | SampleFailure]


@dataclass(slots=True)
class OpenRequest:
    """A request with missing responses.

    Attributes:
        request: the reader's request.
        prompt: the tokens of the prompt.
        starts_in_reasoning: whether the prompt ends inside a <think> block.
        copies: the number of times that each response is yielded.
        missing: the number of responses to draw.
        problem: the reason why a response cannot be drawn.
        prompt_counted: whether the usage of an earlier sample contains the prompt's tokens.
    """

    request: Request
    prompt: list[int]
    starts_in_reasoning: bool
    copies: int
    missing: int
    problem: str | None = None
    prompt_counted: bool = False

    def missing_responses(self) -> Iterator[MissingResponse]:
        """The responses to draw."""
        first = self.request.first
        return (MissingResponse(self, number) for number in range(first, first + self.missing))

    def add(self, drawn: Sample | str, tokens: int) -> list[SampleOutcome]:
        """The outcomes to yield for a drawn response of `tokens` tokens, or for the reason of a failure."""
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
    """A response to draw. `number` is its position among all responses to the question."""

    open_request: OpenRequest
    number: int


def start_request(
    request: Request, prompts: PromptWriter, *, window: int | None, max_tokens: int, greedy: bool
) -> OpenRequest:
    """The state of a new request, with its prompt; `problem` is set if no response can be drawn.

    Args:
        request: the reader's request.
        prompts: writes the prompt.
        window: the model's limit for prompt and response, in tokens; None: no limit.
        max_tokens: the largest number of tokens of a response.
        greedy: whether all responses are equal; then one response is drawn, and is yielded n times.
    """
    copies, missing = (request.n, 1) if greedy else (1, request.n)
    try:
        text = prompts.text(request.question)
    except UnwritablePromptError as error:
        return OpenRequest(request, [], False, copies, missing, str(error))
    prompt = prompts.ids(text)
    started = OpenRequest(request, prompt, opens_reasoning(text), copies, missing)
    if window is not None and len(prompt) + max_tokens > window:
        started.problem = (
            f"a prompt of {len(prompt)} tokens and {max_tokens} new tokens (max_tokens) exceed the model's window of "
            f"{window}"
        )
    elif not prompt:
        started.problem = "the prompt has no tokens"
    return started
