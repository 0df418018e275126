"""A loaded model at work: requests in, batches of outcomes out.

A prompt that leaves no room for the response in the model's window is a failure, and so is one that does not fit into
memory alone; nothing is cut.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from semantic_entropy.plugin import Request, Sample, SampleFailure, errors
from semantic_entropy_plugins.models.batches import TokenBudget
from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.samplers.hf.draw_batches import packed
from semantic_entropy_plugins.samplers.hf.generation import Generation, HaltedError, Row
from semantic_entropy_plugins.samplers.hf.token_draws import How, Tokens
from semantic_entropy_plugins.samplers.sampled_text import Response, read
from semantic_entropy_plugins.samplers.sampling_prompts import Prompts
from semantic_entropy_plugins.samplers.sampling_requests import Outcome, Place, asked

# Tokens of a batch, new ones included, where the user names none. A step of a GPU takes nearly as long for one row as
# for a hundred; a CPU's grows with the rows, and what is under way at Ctrl-C is lost.
BATCH_TOKENS = {"cpu": 8192}
BATCH_TOKENS_GPU = 32768
_LOOK = 0.1  # seconds between looks whether anybody still waits, while another thread has the model


@dataclass(frozen=True, slots=True)
class Keep:
    """What a sample holds beside its text. end_token: logprobs and entropies go on to the end token."""

    logprobs: bool
    end_token: bool
    entropies: bool
    hidden_states: bool


class Engine:
    """Draws what is asked for. Any number of threads may; they take turns, batch by batch.

    Args:
        loaded: the model.
        prompts: how they are written.
        how: how tokens are drawn.
        keep: what is kept of them.
        batch_tokens: of a batch; None: a default for the device.

    Raises:
        OptionError: the window leaves no room for a prompt.
        SamplingError: the model does not run here.
    """

    def __init__(self, loaded: LoadedModel, prompts: Prompts, how: How, keep: Keep, batch_tokens: int | None) -> None:
        self._prompts, self._how, self._keep, self._window = prompts, how, keep, loaded.max_length
        if self._window is not None and how.max_tokens >= self._window:
            raise errors.OptionError(
                f"hf: max_tokens={how.max_tokens} leaves no room for a prompt in the window of {self._window} tokens "
                f"of model={loaded.name!r}: use fewer"
            )
        self._said = f"hf: model={loaded.name!r}, on {loaded.device} in {loaded.dtype},"
        self._lock = loaded.lock  # that of all variants on this model
        with _explained(self._said):
            self.generation = Generation(loaded, how)
        self._budget = TokenBudget(
            batch_tokens or BATCH_TOKENS.get(loaded.device.type, BATCH_TOKENS_GPU),
            rows=None if self.generation.way.batches else 1,
        )

    def batches(self, requests: Iterable[Request], halt: threading.Event) -> Generator[list[Outcome], None, None]:
        """The outcomes of one batch after the other, until `halt` is set."""
        failed: list[Outcome] = []
        places = self._places(requests, failed)
        with contextlib.suppress(HaltedError):
            for batch in packed(places, self._budget, self._how.max_tokens, pads=self.generation.way.pads):
                outcomes = self._draw(batch, halt)
                yield [*failed, *outcomes]
                failed.clear()
            yield failed

    def _places(self, requests: Iterable[Request], failed: list[Outcome]) -> Iterator[Place]:
        new, greedy = self._how.max_tokens, not self._how.temperature
        for request in requests:
            one = asked(request, self._prompts, window=self._window, new=new, greedy=greedy)
            if one.problem:
                failed.append((request, SampleFailure(one.problem)))
            else:
                yield from one.places()

    def _draw(self, batch: list[Place], halt: threading.Event) -> list[Outcome]:
        def draw(places: list[Place]) -> list[tuple[Sample | str, int]]:
            rows = [Row(place.asked.prompt, place.asked.request.question, place.number) for place in places]
            return self._samples(places, self.generation.draw(rows, halt))

        lengths = [len(place.asked.prompt) + self._how.max_tokens for place in batch]
        outcomes: list[Outcome] = []
        with self._turn(halt), _explained(self._said):
            for index, (drawn, cost) in self._budget.run(batch, lengths, draw, _too_large):
                outcomes += batch[index].asked.take(drawn, cost)
        return outcomes

    def _samples(self, places: Sequence[Place], drawn: Sequence[Tokens]) -> list[tuple[Sample | str, int]]:
        """A sample for each response, or why it is none; and how many tokens it cost."""
        responses = [
            read(self.generation.decode, one.ids, ended=one.ended, stops=self._how.stop, opened=place.asked.opened)
            for place, one in zip(places, drawn, strict=True)
        ]
        states: Sequence[list[float] | None] = [None] * len(drawn)
        if self._keep.hidden_states:
            said = zip(places, drawn, responses, strict=True)
            states = self.generation.hidden_states(
                [place.asked.prompt + one.ids[: response.last] for place, one, response in said]
            )
        return [
            (self._sample(one, response, state), len(one.ids))
            for one, response, state in zip(drawn, responses, states, strict=True)
        ]

    def _sample(self, drawn: Tokens, response: Response, state: list[float] | None) -> Sample | str:
        if not all(map(math.isfinite, drawn.logprobs)):
            return "the model's output is not a number; dtype='float32' may help"
        kept = response.kept(len(drawn.ids), whole=self._keep.end_token)
        return Sample(
            response.text,
            (tuple(drawn.logprobs[kept]) or None) if self._keep.logprobs else None,
            response.finish_reason,
            response.reasoning or None,
            (tuple(drawn.entropies[kept]) or None) if self._keep.entropies else None,
            None if state is None else tuple(state),
        )

    @contextlib.contextmanager
    def _turn(self, halt: threading.Event) -> Iterator[None]:
        lock = self._lock.current
        while not lock.acquire(timeout=_LOOK):
            if halt.is_set():
                raise HaltedError
        try:
            yield
        finally:
            lock.release()


def _too_large(_: Place, length: int) -> tuple[Sample | str, int]:
    return f"out of memory at {length} tokens, prompt and response", 0


@contextlib.contextmanager
def _explained(who: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise errors.SamplingError(f"{who} does not generate: {type(error).__name__}: {error}") from error
