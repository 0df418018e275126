"""The `Sampler` interface: a sampler draws n responses to each of many questions.

A sampler reads requests from an iterator, and takes the next request only when it can start work on this request. It
yields each sample as soon as the sample arrives, in any order. Therefore the caller can store each sample at once, and
measure complete groups while the sampler draws responses for other groups.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator

from semantic_entropy.cache.identity import Identified
from semantic_entropy.errors import InputError, SamplingError
from semantic_entropy.types import Request, Sample, SampleFailure


class Sampler(Identified, ABC):
    """Base class of every sampler: implement `stream`. Plugins register samplers in `semantic_entropy_samplers`."""

    @property
    @abstractmethod
    def settings(self) -> Hashable:
        """All options that change the samples, as plain values: texts, numbers, None, and tuples of these.

        The sample store finds samples by these settings and the question. The settings must not contain secrets, or
        options that do not change the samples (such as concurrency).
        """

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings for the results of drawn samples, such as an option that the server refused. Default: none."""
        return ()

    def prompt_sampler(self) -> Sampler:
        """Return a sampler of the same model for prompts: of estimators such as `p_true`, and for `claims=`.

        It draws the most probable reply (temperature 0), without the system prompt and the template of the user's
        questions, and keeps `top_logprobs` and `top_tokens` of the reply, with at least 20 alternatives if the model or
        server sends as many. This sampler is closed by its owner; do not load the model again.
        """
        raise SamplingError(
            f"the sampler {self.name!r} cannot ask the prompts of estimators: it has no prompt_sampler()"
        )

    def greedy_sampler(self) -> Sampler:
        """Return a sampler that draws the greedy answer of the same model, at temperature 0, for `greedy=True`.

        Its `settings` differ from those of this sampler, unless this sampler is at temperature 0 too. It is closed by
        its owner; do not load the model again. Default: an error.

        Raises:
            InputError: this sampler has no greedy answer.
        """
        raise InputError(
            f"greedy=True: the sampler {self.name!r} draws no greedy answer (its class has no greedy_sampler()); leave "
            "greedy out, or pass the greedy answers yourself, as the evidence greedy"
        )

    @abstractmethod
    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Sample | SampleFailure]]:
        """Yield (request, sample) when a sample arrives: `request.n` samples for each request.

        If a request fails, yield fewer samples and then one (request, `SampleFailure`). Take the next request only when
        you can start work on it. If the caller closes the iterator, stop all work.

        Raises:
            SamplingError: no request can succeed (no server, wrong key, no model). The message says what to do.
        """
