"""The `Sampler` interface: a sampler draws n responses to each of many questions.

A sampler reads its requests from an iterator, and takes the next request only when it can start on it. It yields
samples one at a time, as they arrive, in any order. The caller can therefore store each sample at once and measure
complete groups while other groups are still being drawn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from semantic_entropy.cache.identity import Identified
from semantic_entropy.types import Sample, Usage


@dataclass(frozen=True, slots=True)
class Request:
    """Draw n responses to one question.

    Attributes:
        index: identifies the request in what `stream` yields.
        question: the text to send to the model.
        n: how many responses to draw.
        first: how many responses to this question exist already. A sampler with a seed must draw different ones.
    """

    index: int
    question: str
    n: int
    first: int = 0


@dataclass(frozen=True, slots=True)
class SampleFailure:
    """Why the remaining responses of a request do not come: refused by a filter, too long for the model, timed out.

    Attributes:
        reason: for the user.
        usage: what the missing responses cost nevertheless; None: nothing, or unknown.
        transient: whether the same request may succeed later, because the server failed and not the request.
    """

    reason: str
    usage: Usage | None = None
    transient: bool = False


class Sampler(Identified, ABC):
    """Base class of every sampler: implement `stream`. Plugins register samplers in `semantic_entropy_samplers`."""

    @property
    @abstractmethod
    def settings(self) -> Hashable:
        """Everything except the question that the samples depend on, as plain values.

        Plain values are texts, numbers, None, and tuples of these. Samples on disk are found by these settings. Leave
        out secrets, and options that do not change the samples (such as concurrency).
        """

    @abstractmethod
    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Sample | SampleFailure]]:
        """Yield samples as they arrive: `request.n` for each request, or fewer and then one `SampleFailure`.

        Take the next request only when you can start on it. Closing the iterator must stop the work.

        Raises:
            SamplingError: no request can succeed any more (no server, wrong key, no model); says what to do.
        """
