"""Many responses to many prompts by `generate`, with a key-value cache that goes from one call of it to the next.

    prompts (P, longest)     run once each, whatever the number of responses
    rows (R, longest + t)    their caches repeated for each response; all rows draw a token a step
                             once half of the rows are done, they are dropped and the rest goes on

Prompts are padded on the left. The model's own generation settings (top_k, repetition penalty, ...) are put aside, save
for its end tokens: the responses come from the distribution that was asked for and no other.

That is the first of the ways in `hf_sampler.ways`, which finds out which of them a model can go.

Left out: filling the places of finished rows with new ones, which a serving engine does (see the sampler `vllm`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.samplers.hf.model_probes import Way, pick_way
from semantic_entropy_plugins.samplers.hf.token_draws import Drawing, Draws, Finished, How, Tokens


class Row(NamedTuple):
    """A response to be drawn: the prompt's tokens, the question, and the response's number among those to it."""

    prompt: list[int]
    question: str
    number: int


class HaltedError(Exception):
    """Nobody wants the rest."""


class Generation:
    """A model that draws.

    Attributes:
        way: how it is run.
        tokens: that have gone through the model, padding included.

    Args:
        loaded: the model; its generation settings are replaced.
        how: how tokens are drawn.
    """

    def __init__(self, loaded: LoadedModel, how: How) -> None:
        own, tokenizer = loaded.generation_config, loaded.tokenizer
        self._model, self._device, self._how = loaded.model, loaded.device, how
        self._tokenizer = tokenizer
        self.ends = sorted({*_ids(own.eos_token_id), *_ids(tokenizer.eos_token_id)})
        self._pad = next((one for one in (tokenizer.pad_token_id, own.pad_token_id, *self.ends) if one is not None), 0)
        self._model.generation_config = GenerationConfig(pad_token_id=self._pad)
        self.tokens = 0
        self.way = pick_way(loaded, self.ends, self._run)
        self.tokens = 0  # but those of the trial

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these tokens, special ones left out."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def draw(self, rows: Sequence[Row], halt: threading.Event) -> list[Tokens]:
        """A response for each row.

        Raises:
            HaltedError: `halt` was set.
        """
        keys = [(row.question, row.number) for row in rows]
        draws = Draws(self._how, keys, self.ends, self._device, self.decode, halt)
        return self._run(self.way, [row.prompt for row in rows], draws)

    @torch.inference_mode()
    def hidden_states(self, texts: Sequence[list[int]]) -> list[list[float]]:
        """(d,) of the last layer at the last token of each of these texts, in one more pass of the model's body."""
        longest = max(map(len, texts))
        ids = torch.tensor([[*text, *[self._pad] * (longest - len(text))] for text in texts], device=self._device)
        states = self._states(ids)
        last = torch.tensor([len(text) - 1 for text in texts], device=self._device)
        chosen: list[list[float]] = states[torch.arange(len(texts), device=self._device), last].float().tolist()
        return chosen

    def _states(self, ids: torch.Tensor) -> torch.Tensor:
        """(rows, tokens, d) of the last layer. Padding on the right is behind what a token sees: no mask is needed."""
        out = self._model.base_model(input_ids=ids, use_cache=False)
        if (states := getattr(out, "last_hidden_state", None)) is None:  # this model calls its body otherwise
            states = self._model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states[-1]
        assert isinstance(states, torch.Tensor)
        return states

    @torch.inference_mode()
    def _run(self, way: Way, prompts: Sequence[list[int]], draws: Draws) -> list[Tokens]:
        draws.thins = way.shares
        ids, mask, cache = self._begun(way, prompts)
        width = ids.shape[1]
        while len(draws.active):
            ids, cache = self._generate(ids, mask, cache, draws)
            if draws.halted:
                raise HaltedError
            draws.step = ids.shape[1] - width
            alive = draws.alive
            draws.active, ids = draws.active[alive], ids[alive]
            mask = torch.nn.functional.pad(mask[alive], (0, ids.shape[1] - mask.shape[1]), value=1)
            if cache is not None:
                cache.reorder_cache(alive)
        return draws.tokens()

    def _begun(self, way: Way, prompts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """Ids and mask (R, longest), and the cache of all but their last tokens, where prompts are shared."""
        places = {prompt: place for place, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        of_rows = torch.tensor([places[tuple(prompt)] for prompt in prompts], device=self._device)
        ids, mask = self._padded([list(prompt) for prompt in places])
        cache = None
        if way.shares and len(places) < len(prompts) and min(map(len, prompts)) > 1:
            cache = self._call(ids[:, :-1], mask[:, :-1], 1).past_key_values
            cache.reorder_cache(of_rows)
            self.tokens += ids[:, :-1].numel()
        return ids[of_rows], mask[of_rows], cache

    def _generate(self, ids: torch.Tensor, mask: torch.Tensor, cache: Any, draws: Draws) -> tuple[torch.Tensor, Any]:
        """All ids after a call of `generate`, and, where it is wanted, the cache of all but the last."""
        begun = cache.get_seq_length() if cache is not None else 0
        out = self._call(
            ids,
            mask,
            draws.left,
            past_key_values=cache,
            logits_processor=LogitsProcessorList([Drawing(draws)]),
            stopping_criteria=StoppingCriteriaList([Finished(draws)]),
        )
        self.tokens += ids.shape[0] * (out.sequences.shape[1] - 1 - begun)
        return out.sequences, out.past_key_values if draws.thins else None

    def _call(self, ids: torch.Tensor, mask: torch.Tensor, new: int, **more: Any) -> Any:
        settings = GenerationConfig(
            do_sample=False, max_new_tokens=new, pad_token_id=self._pad, use_cache=True, return_dict_in_generate=True
        )
        given = {name: value for name, value in more.items() if value is not None}
        return self._model.generate(input_ids=ids, attention_mask=mask, generation_config=settings, **given)

    def _padded(self, prompts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(map(len, prompts))
        gaps = [longest - len(prompt) for prompt in prompts]
        ids = [[self._pad] * gap + prompt for gap, prompt in zip(gaps, prompts, strict=True)]
        mask = [[0] * gap + [1] * (longest - gap) for gap in gaps]
        return torch.tensor(ids, device=self._device), torch.tensor(mask, device=self._device)


def _ids(ends: list[int] | int | None) -> list[int]:
    return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
