"""Sampler: who asks the model.

A sampler draws n responses to each of many questions. Requests come in as an iterable and are taken lazily, as many as
the sampler can work on at once; samples go out one by one, as they arrive and in any order. So whoever reads them can
write each down at once, and judge the finished groups while others are still being drawn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from semantic_entropy.types import Sample, Usage


@dataclass(frozen=True, slots=True)
class Request:
    """n responses to one question.

    `index` names the request in what comes out. `first`: how many responses to this question there are already, so that
    a sampler with a seed draws others than those.
    """

    index: int
    question: str
    n: int
    first: int = 0


@dataclass(frozen=True, slots=True)
class SampleFailure:
    """Why the rest of a request's responses will not come (refused by a filter, too long for the model, timed out).

    usage: what was paid for them all the same; None: nothing, or nobody knows. transient: the same request may do
    better another time, since it is the server that failed, not the request.
    """

    reason: str
    usage: Usage | None = None
    transient: bool = False


class Sampler(ABC):
    """Base of every sampler: implement `stream`. Announced by the hook `semantic_entropy_samplers`."""

    name: str = ""
    cache_identity: ClassVar[str | None] = None
    """ "module:Name" under which sample stores know this class; None: where it is defined. See `class_identity`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.name:
            cls.name = cls.__name__

    @property
    @abstractmethod
    def settings(self) -> Hashable:
        """All that the samples depend on beside the question, in plain values (texts, numbers, None, tuples of them).

        Samples kept on disk are found under it: never a secret, never what does not change them (concurrency).
        """

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of what the samples come from: in a result's provenance."""
        return {}

    def describe(self) -> str:
        """The name, with the model and the options that matter, for a result's provenance."""
        return self.name

    def __repr__(self) -> str:
        try:
            return f"<{self.describe()}>"
        except AttributeError:  # half constructed, as a traceback may show it
            return f"<{self.name}>"

    @abstractmethod
    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Sample | SampleFailure]]:
        """Samples as they arrive: `request.n` for each request, or fewer and then one `SampleFailure`.

        Takes the next request only when it can start on it. Closing the iterator stops the work.

        Raises:
            SamplingError: nothing more will come for any request (no server, wrong key, no model); says what to do.
        """

    def close(self) -> None:  # noqa: B027  # some hold nothing
        """Let go of models and connections; may be called twice."""
