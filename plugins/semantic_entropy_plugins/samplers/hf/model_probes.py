"""How a model may be run, found out by trying: each way is compared with one text at a time, without padding or cache.

    way                          prompts run once   several lengths in a batch   several responses in a batch
    "sharing prompts"            yes                yes                          yes
    "in padded batches"                             yes                          yes
    "in batches of one length"                                                   yes
    "one by one"

Most models take the first. Recurrent ones may have states that cannot be handed on, or that padding gets into; of some,
transformers generates wrong texts in batches. The first way whose log-probabilities and entropies agree is taken.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.samplers.hf.token_draws import Draws, How, Tokens

_PROBE = "What is the capital of Italy?"
_STEPS = 2  # one from the prompt, one from the cache
# Nats by which batches of one model differ from single texts: rounding, far below what a wrong mask does.
_TOLERANCE = {torch.float32: 1e-2, torch.bfloat16: 0.2, torch.float16: 0.1}


class Way(NamedTuple):
    """One line of the table above."""

    name: str
    shares: bool
    pads: bool
    batches: bool


WAYS = (
    Way("sharing prompts", shares=True, pads=True, batches=True),
    Way("in padded batches", shares=False, pads=True, batches=True),
    Way("in batches of one length", shares=False, pads=False, batches=True),
    Way("one by one", shares=False, pads=False, batches=False),
)

Run = Callable[[Way, Sequence[list[int]], Draws], list[Tokens]]


def pick_way(loaded: LoadedModel, ends: Sequence[int], run: Run) -> Way:
    """The first way that draws from what the model says of each text alone.

    Args:
        loaded: the model.
        ends: its end tokens.
        run: draws for these prompts in this way.
    """
    trouble: dict[str, str] = {}
    for way in WAYS:
        last = way is WAYS[-1]
        try:
            gap = _gap(loaded, ends, run, way)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            if last or isinstance(error, torch.OutOfMemoryError):
                raise
            trouble[way.name] = f"{type(error).__name__}: {error}"
            continue
        if gap <= _TOLERANCE[loaded.dtype] or last:
            break
        trouble[way.name] = f"log-probabilities differ by up to {gap:.2g} from those of each text alone"
    if trouble:
        _tell(way, trouble, loaded.name)
    return way


class _Forced(Draws):
    """Draws tokens that were given: a row that is to end early draws an end token."""

    def __init__(self, rows: Sequence[Sequence[int]], ends: Sequence[int], device: torch.device) -> None:
        how = How(0.0, 1.0, None, _STEPS, (), None, own=False, entropies=True)
        super().__init__(how, [("", 0)] * len(rows), ends, device, str, threading.Event())
        self._given = torch.tensor(rows, device=device)

    def _chosen(self, logs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return self._given[rows, self.step]


@torch.inference_mode()
def _gap(loaded: LoadedModel, ends: Sequence[int], run: Run, way: Way) -> float:
    """The largest difference, in nats, in four rows to two prompts, of which one each ends at once."""
    text = (loaded.tokenizer(_PROBE)["input_ids"] * 5)[:5]
    other = text[::-1][: 3 if way.pads else None]
    said = [token for token in (*text, *range(len(ends) + _STEPS)) if token not in ends][:_STEPS]
    ended = [ends[0]] * _STEPS if ends else said
    rows = [(text, ended), (text, said), (other, said), (other, ended)]
    rows = rows if way.batches else rows[1:2]
    drawn = run(way, [prompt for prompt, _ in rows], _Forced([row for _, row in rows], ends, loaded.device))
    gaps = []
    for (prompt, row), tokens in zip(rows, drawn, strict=True):
        if row is not said:
            continue
        ids = torch.tensor([prompt + said], device=loaded.device)
        logs = loaded.model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
        expected = torch.stack([logs[range(_STEPS), said], torch.special.entr(logs.exp()).sum(-1)])
        found = torch.tensor([tokens.logprobs, tokens.entropies], device=loaded.device)
        if expected.isfinite().all():  # else the model says nothing, in whatever way it is run
            gaps.append((expected - found).abs().max().nan_to_num(torch.inf).item())
    return max(gaps, default=0.0)


def _tell(way: Way, trouble: dict[str, str], model: str) -> None:
    why = "; ".join(f"not {name!r} ({reason:.200})" for name, reason in trouble.items())
    warnings.warn(
        f"hf: model={model!r} is run {way.name!r}, {why}: slower, with the same samples", RuntimeWarning, stacklevel=2
    )
