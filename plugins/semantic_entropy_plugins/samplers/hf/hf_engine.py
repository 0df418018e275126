"""Draws samples with a loaded model: reads requests, and yields batches of outcomes.

    rows in a batch x (longest prompt + max_tokens) <= budget

The responses to one question are neighbours in a batch, because they share their prompt. If a request does not fit into
a batch, it continues in the next batch.

A prompt that leaves no room for the response in the model's window is a failure, and so is a response that does not fit
into memory alone. No prompt is cut.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence

import torch

from semantic_entropy.plugin import Request, Sample, SampleFailure, errors
from semantic_entropy_plugins.models.batches import TokenBudget
from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.samplers.hf.generation import CancelledDrawError, Generation, ResponseRow
from semantic_entropy_plugins.samplers.hf.token_draws import DrawnTokens, DrawOptions
from semantic_entropy_plugins.samplers.local_sampler import NOT_A_NUMBER
from semantic_entropy_plugins.samplers.sampled_text import Response, read_response, token_texts
from semantic_entropy_plugins.samplers.sampling_prompts import PromptWriter
from semantic_entropy_plugins.samplers.sampling_requests import MissingResponse, SampleOutcome, start_request

# The number of tokens of a batch, including new tokens, if the user sets no limit. On a CPU a step takes longer with
# each row, and Ctrl-C loses the batch. On a GPU a step takes almost the same time for 1 row and for hundreds of rows,
# so the free memory is the limit, up to a number of tokens from which a step takes longer with each row.
_BATCH_TOKENS_CPU = 8192
_BATCH_TOKENS_GPU = 524288
_BATCH_ROWS_GPU = 1024  # more rows give no more tokens a second, and the first samples arrive later
_FREE_SHARE = 0.5  # of the free memory: the rest is for a copy of the cache while it grows, and for fragments
_LOGIT_BYTES = 24  # for each row and token of the vocabulary: logits, probabilities, cumulated and sorted, in float32
_POLL = 0.1  # seconds between checks for cancellation while another thread uses the model


class SamplingEngine:
    """Draws samples. Several threads may use it; they take turns, batch by batch.

    Args:
        loaded: the model.
        prompts: writes the prompts.
        options: the options for drawing tokens and for the content of samples.
        batch_tokens: the budget of a batch; None: a default for the device.

    Raises:
        OptionError: the window leaves no room for a prompt.
        SamplingError: the model does not run on this machine.
    """

    def __init__(
        self, loaded: LoadedModel, prompts: PromptWriter, options: DrawOptions, batch_tokens: int | None
    ) -> None:
        self._prompts, self._options, self._window = prompts, options, loaded.max_length
        self._reads_text = options.hidden_token == "last"  # else the hidden state is that of the prompt's last token
        if self._window is not None and options.max_tokens >= self._window:
            raise errors.OptionError(
                f"hf: max_tokens={options.max_tokens} leaves no room for a prompt in the window of {self._window} "
                f"tokens of model={loaded.name!r}: lower max_tokens"
            )
        self._subject = f"hf: model={loaded.name!r}, on {loaded.device} in {loaded.dtype},"
        self._lock = loaded.lock  # shared with all variants that use this model
        with _generation_errors(self._subject):
            self.generation = Generation(loaded, options)
        self._budget = TokenBudget(
            batch_tokens or default_batch_tokens(loaded, options.max_tokens),
            rows=_batch_rows(loaded) if self.generation.mode.batches else 1,
        )

    def batches(
        self, requests: Iterable[Request], cancelled: threading.Event
    ) -> Generator[list[SampleOutcome], None, None]:
        """The outcomes of each batch, until `cancelled` is set."""
        failed: list[SampleOutcome] = []
        responses = self._missing_responses(requests, failed)
        pads = self.generation.mode.pads
        with contextlib.suppress(CancelledDrawError):
            for batch in pack_batches(responses, self._budget, self._options.max_tokens, pads=pads):
                outcomes = self._draw(batch, cancelled)
                yield [*failed, *outcomes]
                failed.clear()
            yield failed

    def _missing_responses(self, requests: Iterable[Request], failed: list[SampleOutcome]) -> Iterator[MissingResponse]:
        max_tokens, greedy = self._options.max_tokens, not self._options.temperature
        for request in requests:
            started = start_request(request, self._prompts, window=self._window, max_tokens=max_tokens, greedy=greedy)
            if started.problem:
                failed.append((request, SampleFailure(started.problem)))
            else:
                yield from started.missing_responses()

    def _draw(self, batch: list[MissingResponse], cancelled: threading.Event) -> list[SampleOutcome]:
        def draw(responses: list[MissingResponse]) -> list[tuple[Sample | str, int]]:
            rows = [
                ResponseRow(each.open_request.prompt, each.open_request.request.question, each.number)
                for each in responses
            ]
            return self._samples(responses, self.generation.draw(rows, cancelled))

        lengths = [len(each.open_request.prompt) + self._options.max_tokens for each in batch]
        outcomes: list[SampleOutcome] = []
        with self._model_lock(cancelled), _generation_errors(self._subject):
            for index, (sample, tokens) in self._budget.run(batch, lengths, draw, _out_of_memory):
                outcomes += batch[index].open_request.add(sample, tokens)
        return outcomes

    def _samples(
        self, responses: Sequence[MissingResponse], drawn: Sequence[DrawnTokens]
    ) -> list[tuple[Sample | str, int]]:
        """For each response: (its sample or the reason why there is no sample, its number of tokens)."""
        texts = [
            read_response(
                self.generation.decode,
                tokens.ids,
                ended=tokens.ended,
                stops=self._options.stop or (),
                starts_in_reasoning=response.open_request.starts_in_reasoning,
            )
            for response, tokens in zip(responses, drawn, strict=True)
        ]
        states: Sequence[list[float] | None] = [None] * len(drawn)
        if self._options.hidden_states:
            states = self.generation.hidden_states(
                [
                    response.open_request.prompt + (tokens.ids[: text.end] if self._reads_text else [])
                    for response, tokens, text in zip(responses, drawn, texts, strict=True)
                ]
            )
        return [
            (self._sample(tokens, text, state), len(tokens.ids))
            for tokens, text, state in zip(drawn, texts, states, strict=True)
        ]

    def _sample(self, drawn: DrawnTokens, text: Response, state: list[float] | None) -> Sample | str:
        if not all(map(math.isfinite, drawn.logprobs)):
            return NOT_A_NUMBER
        kept = text.logprob_slice(len(drawn.ids), with_end=self._options.end_token)
        return Sample(
            text.text,
            (tuple(drawn.logprobs[kept]) or None) if self._options.logprobs else None,
            text.finish_reason,
            text.reasoning or None,
            (tuple(drawn.entropies[kept]) or None) if self._options.token_entropies else None,
            None if state is None else tuple(state),
            top_logprobs=tuple(map(tuple, drawn.top[kept])) or None,
            tokens=(self._token_texts(drawn, text)[kept] or None) if self._options.tokens else None,
            top_tokens=tuple(map(self._texts, drawn.top_ids[kept])) if self._options.top_tokens else None,
        )

    def _token_texts(self, drawn: DrawnTokens, text: Response) -> tuple[str, ...]:
        """The text of each token; "" for the end token and the tokens of a stop string."""
        return (*token_texts(self.generation.decode, drawn.ids[: text.end]), *[""] * (len(drawn.ids) - text.end))

    def _texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        return tuple([self.generation.decode([token]) for token in ids])

    @contextlib.contextmanager
    def _model_lock(self, cancelled: threading.Event) -> Iterator[None]:
        lock = self._lock.current
        while not lock.acquire(timeout=_POLL):
            if cancelled.is_set():
                raise CancelledDrawError
        try:
            yield
        finally:
            lock.release()


def default_batch_tokens(loaded: LoadedModel, max_tokens: int) -> int:
    """The number of tokens in a batch, from the free memory of the device.

    A token takes 2 x layers x key-value heads x head size numbers of the cache. A row takes its logits, which are
    counted with its tokens: a row has at least `max_tokens` tokens. A model without attention has no such cache.
    """
    if loaded.device.type != "cuda":
        return _BATCH_TOKENS_CPU
    config = loaded.model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None)
    if heads is None:
        return _BATCH_TOKENS_GPU
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    keys_and_values = 2 * config.num_hidden_layers * (getattr(config, "num_key_value_heads", None) or heads) * size
    token_bytes = keys_and_values * loaded.dtype.itemsize + _LOGIT_BYTES * config.vocab_size / max_tokens
    free, _ = torch.cuda.mem_get_info(loaded.device)
    unused = torch.cuda.memory_reserved(loaded.device) - torch.cuda.memory_allocated(loaded.device)
    return int(max(1, min(_BATCH_TOKENS_GPU, (free + unused) * _FREE_SHARE / token_bytes)))


def _batch_rows(loaded: LoadedModel) -> int | None:
    return _BATCH_ROWS_GPU if loaded.device.type == "cuda" else None


def pack_batches(
    responses: Iterable[MissingResponse], budget: TokenBudget, max_tokens: int, *, pads: bool
) -> Iterator[list[MissingResponse]]:
    """Yield batches: a batch takes responses, in order, until the next response does not fit.

    Args:
        responses: the responses to draw, in order.
        budget: the limit of a batch; it may change between batches.
        max_tokens: the largest number of tokens of a response.
        pads: whether prompts of different lengths may share a batch.
    """
    batch: list[MissingResponse] = []
    longest = 0
    for response in responses:
        length = len(response.open_request.prompt) + max_tokens
        is_full = not budget.fits(len(batch) + 1, max(longest, length))
        if batch and (is_full or not (pads or length == longest)):
            yield batch
            batch, longest = [], 0
        batch.append(response)
        longest = max(longest, length)
        # A batch that has no room for a further row is drawn now: the next request is taken only when it can start.
        if not budget.fits(len(batch) + 1, longest):
            yield batch
            batch, longest = [], 0
    if batch:
        yield batch


def _out_of_memory(_: MissingResponse, length: int) -> tuple[Sample | str, int]:
    return f"out of memory at {length} tokens of prompt and response", 0


@contextlib.contextmanager
def _generation_errors(subject: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise errors.SamplingError(f"{subject} failed to generate text: {type(error).__name__}: {error}") from error
