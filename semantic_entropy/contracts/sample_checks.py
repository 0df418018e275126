"""Samplers: n samples, or fewer and one failure, for each request, and for no other request."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from semantic_entropy.contracts.component_calls import is_usage, raised_message, shown
from semantic_entropy.errors import SamplingError, SemanticEntropyError
from semantic_entropy.types import Request, Sample, SampleFailure

if TYPE_CHECKING:
    from semantic_entropy.sampling.base import Sampler

_FLOATS = "they are a tuple of floats, or None"
_USAGE = "Usage or None, and its numbers are finite, not negative, and at most 2**53"
_NUMBERS = ("logprobs", "token_entropies", "hidden_state")


def stream_samples(
    sampler: Sampler, requests: Iterable[Request]
) -> Generator[tuple[Request, Sample | SampleFailure | None], None, None]:
    """Yield (request, outcome) when an outcome arrives: `request.n` samples, or fewer samples and then one failure.

    If the sampler ends its stream early, yield (request, None) for each request without all of its samples, also for
    the requests that the sampler did not take: a broken sampler loses no request. Numbers of a sample become tuples of
    floats; log-probabilities above 0 and nan are left as they are, because the responses are usable without them.

    If you stop early, close the generator. This closes the sampler's stream.

    Raises:
        SamplingError: the sampler raised, or yielded something else. All samples before were yielded.
    """
    missing: dict[int, tuple[Request, int]] = {}  # index -> request, number of missing samples

    broken: list[BaseException] = []  # an error of `requests` is not an error of the sampler

    def taken() -> Iterator[Request]:  # a sampler may call this from another thread: each step is one dict operation
        try:
            for request in requests:
                missing[request.index] = request, request.n
                yield request
        except BaseException as error:
            broken.append(error)
            raise

    given = taken()
    stream: Any = None
    try:
        stream = sampler.stream(given)
        for outcome in stream:
            request, result = _outcome(sampler, outcome, missing)
            left = missing[request.index][1] - 1
            if left and isinstance(result, Sample):
                missing[request.index] = request, left
            else:
                del missing[request.index]
            yield request, result
    except SemanticEntropyError:
        raise
    except (Exception, SystemExit) as error:
        if error in broken:
            raise
        raise SamplingError(raised_message(_sampler(sampler), error, "stream()")) from error
    finally:
        if hasattr(stream, "close"):
            stream.close()
    yield from ((request, None) for request, _ in missing.values())
    yield from ((request, None) for request in requests)


def _sampler(sampler: Sampler) -> str:
    return f"sampler {sampler.name!r}"


def _outcome(
    sampler: Sampler, outcome: Any, missing: dict[int, tuple[Request, int]]
) -> tuple[Request, Sample | SampleFailure]:
    if not isinstance(outcome, tuple) or len(outcome) != 2 or not isinstance(outcome[0], Request):
        _reject(sampler, f"yielded {outcome!r:.200}; yield pairs: a given request, and its Sample or SampleFailure")
    request: Request = outcome[0]
    result: Any = outcome[1]
    if missing.get(request.index, (None,))[0] != request:
        _reject(
            sampler,
            f"yielded {result!r:.80} for {request!r:.200}, which was not requested or is complete; yield `n` samples "
            "for each request, or fewer samples and then one SampleFailure",
        )
    if isinstance(result, SampleFailure):
        reason: Any = result.reason
        if not isinstance(reason, str) or not is_usage(result.usage):
            _reject(sampler, f"yielded {shown(result)}; the reason is a text, and usage is a {_USAGE}")
        return request, result
    if not isinstance(result, Sample):
        _reject(sampler, f"yielded {result!r:.200} for {request!r:.200}; yield a Sample or a SampleFailure")
    return request, _plain_sample(sampler, result)


def _plain_sample(sampler: Sampler, sample: Any) -> Sample:
    """Return the sample with tuples of Python's floats. Raise SamplingError if a field has the wrong type."""
    if not isinstance(sample.text, str):
        _reject(sampler, f"drew the text {sample.text!r:.80}, a {type(sample.text).__name__}; a text is a str")
    if not isinstance(sample.finish_reason, str | None) or not isinstance(sample.reasoning, str | None):
        texts = (sample.finish_reason, sample.reasoning)
        _reject(sampler, f"drew the finish_reason and the reasoning {texts!r:.200}; each is a str or None")
    if not is_usage(sample.usage):
        _reject(sampler, f"drew a sample with the usage {shown(sample.usage)}; usage is a {_USAGE}")
    changed: dict[str, Any] = {}
    for name in _NUMBERS:
        values: Any = getattr(sample, name)
        if values is None or (type(values) is tuple and all(type(value) is float for value in values)):
            continue
        if isinstance(values, str | bytes):  # float("1") is a number
            _reject(sampler, f"drew a sample with the {name} {shown(values)}; {_FLOATS}")
        try:
            changed[name] = tuple(map(float, values))
        except (TypeError, ValueError, OverflowError):
            _reject(sampler, f"drew a sample with the {name} {shown(values)}; {_FLOATS}")
    changed |= _plain_tokens(sampler, sample)
    plain: Sample = replace(sample, **changed) if changed else sample
    return plain


def _plain_tokens(sampler: Sampler, sample: Any) -> dict[str, Any]:
    """Return what each token has as tuples: its text, and the log-probabilities and texts of its alternatives."""
    changed: dict[str, Any] = {}
    if sample.top_logprobs is not None:
        try:
            changed["top_logprobs"] = tuple(tuple(map(float, row)) for row in sample.top_logprobs)
        except (TypeError, ValueError, OverflowError):
            _reject(
                sampler, f"drew a sample with the top_logprobs {shown(sample.top_logprobs)}; {_FLOATS} for each token"
            )
    if sample.top_tokens is not None:
        texts: Any = sample.top_tokens
        rows = tuple(map(tuple, texts)) if all(isinstance(row, list | tuple) for row in texts) else ()
        sizes = [len(row) for row in changed.get("top_logprobs", ())]
        if [len(row) for row in rows] != sizes or not all(isinstance(text, str) for row in rows for text in row):
            _reject(
                sampler, f"drew a sample with the top_tokens {shown(texts)}; there is a text for each of top_logprobs"
            )
        changed["top_tokens"] = rows
    if sample.tokens is not None:
        tokens: Any = sample.tokens
        if not isinstance(tokens, list | tuple) or not all(isinstance(token, str) for token in tokens):
            _reject(sampler, f"drew a sample with the tokens {shown(tokens)}; each is a text, or tokens is None")
        changed["tokens"] = tuple(tokens)
    return changed


def _reject(sampler: Sampler, defect: str) -> NoReturn:
    raise SamplingError(f"{_sampler(sampler)} {defect}")
