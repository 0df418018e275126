"""Finds out how a model can generate in batches: compares batches with single texts, without padding and cache.

    mode                         a prompt is processed once   padding   several responses in a batch
    "sharing prompts"            yes                          yes       yes
    "in padded batches"                                       yes       yes
    "in batches of one length"                                          yes
    "one by one"

Most models support the first mode. The state of a recurrent model may not be copied to other rows, or padding may
change it. For some models, transformers generates wrong texts in batches. The first mode whose log-probabilities and
entropies agree is used.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.samplers.hf.token_draws import DrawnTokens, DrawOptions, TokenDrawer

_TEST_QUESTION = "What is the capital of Italy?"
_STEPS = 2  # the first step reads the prompt, the second step reads the cache
# Nats. Rounding changes a correct batch by less than this limit, and a wrong attention mask changes it by far more.
_TOLERANCE = {torch.float32: 1e-2, torch.bfloat16: 0.2, torch.float16: 0.1}


class GenerationMode(NamedTuple):
    """One line of the table above."""

    name: str
    shares_prompts: bool
    pads: bool
    batches: bool


MODES = (
    GenerationMode("sharing prompts", shares_prompts=True, pads=True, batches=True),
    GenerationMode("in padded batches", shares_prompts=False, pads=True, batches=True),
    GenerationMode("in batches of one length", shares_prompts=False, pads=False, batches=True),
    GenerationMode("one by one", shares_prompts=False, pads=False, batches=False),
)

Generate = Callable[[GenerationMode, Sequence[list[int]], TokenDrawer], list[DrawnTokens]]


def choose_mode(loaded: LoadedModel, end_ids: Sequence[int], generate: Generate) -> GenerationMode:
    """The first mode whose log-probabilities and entropies agree with single texts.

    Args:
        loaded: the model.
        end_ids: the end tokens of the model.
        generate: draws tokens in a mode; the mode and the prompts are arguments.
    """
    problems: dict[str, str] = {}
    for mode in MODES:
        is_last = mode is MODES[-1]
        try:
            difference = _largest_difference(loaded, end_ids, generate, mode)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            if is_last or isinstance(error, torch.OutOfMemoryError):
                raise
            problems[mode.name] = f"{type(error).__name__}: {error}"
            continue
        if difference <= _TOLERANCE[loaded.dtype] or is_last:
            break
        problems[mode.name] = f"log-probabilities differ by up to {difference:.2g} from those of single texts"
    if problems:
        _warn(mode, problems, loaded.name)
    return mode


class _ForcedDrawer(TokenDrawer):
    """Draws given tokens, so that the rows are known. A row ends early if a given token is an end token."""

    def __init__(self, rows: Sequence[Sequence[int]], end_ids: Sequence[int], device: torch.device) -> None:
        options = DrawOptions(
            *(0.0, 1.0, None, _STEPS, None, None),
            logprobs="drawn",
            end_token=True,
            token_entropies=True,
            hidden_states=False,
        )
        super().__init__(options, [("", 0)] * len(rows), end_ids, device, str, threading.Event())
        self._given = torch.tensor(rows, device=device)

    def _choose(self, logprobs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return self._given[rows, self.step]


@torch.inference_mode()
def _largest_difference(loaded: LoadedModel, end_ids: Sequence[int], generate: Generate, mode: GenerationMode) -> float:
    """The largest difference in nats. Each of two prompts has two rows, and one row of each prompt ends early."""
    prompt = (loaded.tokenizer(_TEST_QUESTION)["input_ids"] * 5)[:5]
    other_prompt = prompt[::-1][: 3 if mode.pads else None]
    long = [token for token in (*prompt, *range(len(end_ids) + _STEPS)) if token not in end_ids][:_STEPS]
    short = [end_ids[0]] * _STEPS if end_ids else long
    rows = [(prompt, short), (prompt, long), (other_prompt, long), (other_prompt, short)]
    rows = rows if mode.batches else rows[1:2]
    drawer = _ForcedDrawer([given for _, given in rows], end_ids, loaded.device)
    drawn = generate(mode, [row_prompt for row_prompt, _ in rows], drawer)
    differences = []
    for (row_prompt, given), tokens in zip(rows, drawn, strict=True):
        if given is not long:
            continue
        ids = torch.tensor([row_prompt + long], device=loaded.device)
        logs = loaded.model(input_ids=ids).logits[0, len(row_prompt) - 1 : -1].float().log_softmax(-1)
        expected = torch.stack([logs[range(_STEPS), long], torch.special.entr(logs.exp()).sum(-1)])
        actual = torch.tensor([tokens.logprobs, tokens.entropies], device=loaded.device)
        if expected.isfinite().all():  # else the model's output is nan in every mode
            differences.append((expected - actual).abs().max().nan_to_num(torch.inf).item())
    return max(differences, default=0.0)


def _warn(mode: GenerationMode, problems: dict[str, str], model: str) -> None:
    reasons = "; ".join(f"not {name!r} ({reason:.200})" for name, reason in problems.items())
    warnings.warn(
        f"hf: model={model!r} runs {mode.name!r}, {reasons}. This is slower, with the same samples",
        RuntimeWarning,
        stacklevel=2,
    )
