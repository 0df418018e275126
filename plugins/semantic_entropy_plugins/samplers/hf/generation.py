"""Generates many responses to many prompts by `generate`, and keeps the key-value cache between calls of `generate`.

    prompts (P, longest)     each prompt is processed once for all its responses
    rows (R, longest + t)    the prompts' cache, repeated for each response; every step draws one token per row;
                             when half of the rows have ended, they are dropped, and the other rows continue

Prompts are padded on the left. Of the model's own generation settings (top_k, repetition penalty, end tokens, ...) only
the end tokens are used: responses come from the requested distribution.

The scheme above is the first mode of `generation_modes`. The module `generation_modes` finds the modes that a model
supports.

Left out: new rows in the places of finished rows, as serving engines do (see the sampler `vllm`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.samplers.hf.generation_modes import GenerationMode, choose_mode
from semantic_entropy_plugins.samplers.hf.token_draws import (
    DrawnTokens,
    DrawOptions,
    DrawProcessor,
    DrawStoppingCriteria,
    TokenDrawer,
)

_TOKENS_OF_ALL_LAYERS = 1024  # of a pass that keeps the states of all layers: 0.3 GB of a model with 7e9 weights


class ResponseRow(NamedTuple):
    """A response to draw: the prompt's tokens, the question, and its number among the responses to the question."""

    prompt: list[int]
    question: str
    number: int


class CancelledDrawError(Exception):
    """The draw was cancelled."""


class Generation:
    """A model that draws responses.

    Attributes:
        mode: how the model runs batches.
        tokens: the number of tokens that the model has processed, including padding.
        end_ids: the end tokens of the model and its tokenizer.

    Args:
        loaded: the model; its generation settings are replaced.
        options: how tokens are drawn.
    """

    def __init__(self, loaded: LoadedModel, options: DrawOptions) -> None:
        config, tokenizer = loaded.generation_config, loaded.tokenizer
        self._model, self._device, self._options = loaded.model, loaded.device, options
        self._tokenizer = tokenizer
        self.end_ids = sorted({*_as_list(config.eos_token_id), *_as_list(tokenizer.eos_token_id)})
        pad_ids = (tokenizer.pad_token_id, config.pad_token_id, *self.end_ids)
        self._pad = next((token for token in pad_ids if token is not None), 0)
        self._model.generation_config = GenerationConfig(pad_token_id=self._pad)
        self.tokens = 0
        self.mode = choose_mode(loaded, self.end_ids, self._generate_all)
        self.tokens = 0  # the tokens of the test of the modes do not count

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these tokens, without special tokens."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def draw(self, rows: Sequence[ResponseRow], cancelled: threading.Event) -> list[DrawnTokens]:
        """A response for each row.

        Raises:
            CancelledDrawError: `cancelled` was set.
        """
        keys = [(row.question, row.number) for row in rows]
        drawer = TokenDrawer(self._options, keys, self.end_ids, self._device, self.decode, cancelled)
        return self._generate_all(self.mode, [row.prompt for row in rows], drawer)

    @torch.inference_mode()
    def hidden_states(self, texts: Sequence[list[int]]) -> list[list[float]]:
        """The state (d,) of the layer `hidden_layer` at the last token of each text, by another pass of the model."""
        distinct = list(dict.fromkeys(map(tuple, texts)))
        found: dict[tuple[int, ...], list[float]] = {}
        rows = len(distinct)
        if self._options.hidden_layer != -1:  # such a pass returns the states of all layers
            rows = max(1, _TOKENS_OF_ALL_LAYERS // max(map(len, distinct)))
        for start in range(0, len(distinct), rows):
            part = distinct[start : start + rows]
            found.update(zip(part, self._last_states(part), strict=True))
        return [found[tuple(text)] for text in texts]

    def _last_states(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        longest = max(map(len, texts))
        ids = torch.tensor([[*text, *[self._pad] * (longest - len(text))] for text in texts], device=self._device)
        states = self._states(ids)
        last = torch.tensor([len(text) - 1 for text in texts], device=self._device)
        chosen: list[list[float]] = states[torch.arange(len(texts), device=self._device), last].float().tolist()
        return chosen

    def _states(self, ids: torch.Tensor) -> torch.Tensor:
        """States (rows, tokens, d) of the layer, without a mask: tokens do not see the padding on their right."""
        layer, states = self._options.hidden_layer, None
        if layer == -1:
            states = getattr(self._model.base_model(input_ids=ids, use_cache=False), "last_hidden_state", None)
        if states is None:  # another layer, or this model's body has another output
            states = self._model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states[layer]
        assert isinstance(states, torch.Tensor)
        return states

    @torch.inference_mode()
    def _generate_all(
        self, mode: GenerationMode, prompts: Sequence[list[int]], drawer: TokenDrawer
    ) -> list[DrawnTokens]:
        """Call `generate` until all rows have ended; between calls, drop the rows that have ended."""
        drawer.drops_rows = mode.shares_prompts
        ids, mask, cache = self._start(mode, prompts)
        prompt_length = ids.shape[1]
        while len(drawer.active):
            ids, cache = self._generate(ids, mask, cache, drawer)
            if drawer.cancelled:
                raise CancelledDrawError
            drawer.step = ids.shape[1] - prompt_length
            unfinished = drawer.unfinished
            drawer.active, ids = drawer.active[unfinished], ids[unfinished]
            mask = torch.nn.functional.pad(mask[unfinished], (0, ids.shape[1] - mask.shape[1]), value=1)
            if cache is not None:
                cache.reorder_cache(unfinished)
        return drawer.responses()

    def _start(self, mode: GenerationMode, prompts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """Returns ids and mask (R, longest), and the cache of the prompts without their last tokens, or None."""
        distinct = {prompt: place for place, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        places = torch.tensor([distinct[tuple(prompt)] for prompt in prompts], device=self._device)
        ids, mask = self._pad_left([list(prompt) for prompt in distinct])
        cache = None
        if mode.shares_prompts and len(distinct) < len(prompts) and min(map(len, prompts)) > 1:
            cache = self._call(ids[:, :-1], mask[:, :-1], 1).past_key_values
            cache.reorder_cache(places)
            self.tokens += ids[:, :-1].numel()
        return ids[places], mask[places], cache

    def _generate(
        self, ids: torch.Tensor, mask: torch.Tensor, cache: Any, drawer: TokenDrawer
    ) -> tuple[torch.Tensor, Any]:
        """Call `generate` once. Returns all ids, and the cache without the last id, or None if no call can follow."""
        cached = cache.get_seq_length() if cache is not None else 0
        out = self._call(
            ids,
            mask,
            drawer.steps_left,
            past_key_values=cache,
            logits_processor=LogitsProcessorList([DrawProcessor(drawer)]),
            stopping_criteria=StoppingCriteriaList([DrawStoppingCriteria(drawer)]),
        )
        self.tokens += ids.shape[0] * (out.sequences.shape[1] - 1 - cached)
        return out.sequences, out.past_key_values if drawer.drops_rows else None

    def _call(self, ids: torch.Tensor, mask: torch.Tensor, new_tokens: int, **more: Any) -> Any:
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=new_tokens,
            pad_token_id=self._pad,
            use_cache=True,
            return_dict_in_generate=True,
        )
        given = {name: value for name, value in more.items() if value is not None}
        return self._model.generate(input_ids=ids, attention_mask=mask, generation_config=config, **given)

    def _pad_left(self, prompts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(map(len, prompts))
        padding = [longest - len(prompt) for prompt in prompts]
        ids = [[self._pad] * count + prompt for count, prompt in zip(padding, prompts, strict=True)]
        mask = [[0] * count + [1] * (longest - count) for count in padding]
        return torch.tensor(ids, device=self._device), torch.tensor(mask, device=self._device)


def _as_list(ids: list[int] | int | None) -> list[int]:
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
