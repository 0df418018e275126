"""Lets a causal language model write a text after each prompt, and reads the decision from the text.

The model generates greedily until it writes an end token or reaches `max_new_tokens`. The decision is the last "Final
Decision: Yes" or "Final Decision: No" after the reasoning block, or a text that is only Yes or No. If there is no
decision, the verdict is undecided, with the end of the text as the reason. A text that `max_new_tokens` has cut off is
undecided unless it ends with a decision, because it may quote the task ("output Final Decision: Yes if ...") before its
own decision.

The checkpoint's generation settings (temperature, repetition penalty) are ignored, except the end tokens. So generation
is greedy, and a prompt always has the same verdict.

Left out: shared prefixes, because writing a text costs more than reading the prompt; a vote over several texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import torch
from transformers import GenerationConfig

from semantic_entropy.plugin import Verdict, strip_reasoning
from semantic_entropy_plugins.models.batches import TokenBudget
from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.verifier.shared_prefixes import TokenIds

# Tokens in one batch. Each new token is a forward pass of one token per row, which is efficient only with many rows.
BATCH_TOKENS = {"cpu": 16384}
BATCH_TOKENS_GPU = 131072

_DECISION = re.compile(r"final\s+decision[\W_]{0,12}(yes|no)\b", re.IGNORECASE)
_FINAL_DECISION = re.compile(rf"{_DECISION.pattern}[\s.*_]*\Z", re.IGNORECASE)
_BARE = re.compile(r"\W*(yes|no)\W*", re.IGNORECASE)
_END_LENGTH = 80  # characters of the text's end in a reason


def read_decision(text: str) -> bool | None:
    """The decision in a text: True for yes, False for no, None if there is no decision.

    >>> read_decision("0.5 = 1/2, so they are equal. Final Decision: Yes")
    True
    """
    answer = strip_reasoning(text)
    found = [match[1] for match in _DECISION.finditer(answer)]
    if not found and (bare := _BARE.fullmatch(answer)):
        found = [bare[1]]
    return found[-1].lower() == "yes" if found else None


def ends_decided(text: str) -> bool:
    """Whether the text ends with a decision. White space and the characters `.`, `*` and `_` may follow the decision.

    >>> ends_decided("Final Decision: **Yes**."), ends_decided('Write "Final Decision: Yes" if they are equal. First')
    (True, False)
    """
    return bool(_FINAL_DECISION.search(text[-_END_LENGTH:]))


class WrittenDecisions:
    """Computes verdicts on prompts by reading the texts that a model writes.

    Args:
        loaded: the model; its generation settings are replaced.
        tokens: the largest number of tokens in one batch, including new tokens; None: a default for the device.
        max_new_tokens: the largest number of tokens that the model writes.
    """

    def __init__(self, loaded: LoadedModel, *, tokens: int | None, max_new_tokens: int) -> None:
        self.calls = self.tokens = 0
        self._loaded, self._new = loaded, max_new_tokens
        self._budget = TokenBudget(tokens or BATCH_TOKENS.get(loaded.device.type, BATCH_TOKENS_GPU))
        own = loaded.model.generation_config
        ends = own.eos_token_id if own.eos_token_id is not None else loaded.tokenizer.eos_token_id
        self._ends = frozenset(() if ends is None else ends if isinstance(ends, list) else [ends])
        self._pad = next(
            (token for token in (loaded.tokenizer.pad_token_id, own.pad_token_id, _first(ends)) if token is not None), 0
        )
        loaded.model.generation_config = GenerationConfig(
            do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=ends, pad_token_id=self._pad
        )

    def verdicts(self, prompts: Sequence[TokenIds]) -> Iterator[tuple[int, Verdict]]:
        """Yields (index of the prompt, verdict on the prompt) after each batch."""
        return self._budget.run(prompts, [len(prompt) + self._new for prompt in prompts], self._decide, _too_large)

    @torch.inference_mode()
    def _decide(self, prompts: list[TokenIds]) -> list[Verdict]:
        device, longest = self._loaded.device, max(map(len, prompts))
        gaps = [longest - len(prompt) for prompt in prompts]
        ids = torch.tensor([[self._pad] * gap + ids for gap, ids in zip(gaps, prompts, strict=True)], device=device)
        mask = torch.arange(longest, device=device)[None] >= torch.tensor(gaps, device=device)[:, None]
        written = self._loaded.model.generate(input_ids=ids, attention_mask=mask.long())
        self.calls += written.shape[1] - longest
        self.tokens += ids.numel() + written[:, longest:].numel()
        return [self._verdict(row) for row in written[:, longest:].tolist()]

    def _verdict(self, written: list[int]) -> Verdict:
        text = self._loaded.tokenizer.decode(written, skip_special_tokens=True)
        same, end = read_decision(text), f"...{text[-_END_LENGTH:]!r}"
        if self._ends and self._ends.isdisjoint(written) and not ends_decided(text):
            return Verdict(None, reason=f"cut off before the decision: {end}. Raise max_new_tokens={self._new}")
        return Verdict(same, reason=None if same is not None else f"no final decision in {end}")


def _too_large(_: TokenIds, length: int) -> Verdict:
    return Verdict(None, reason=f"out of memory at {length} tokens, including new tokens")


def _first(ids: list[int] | int | None) -> int | None:
    return ids[0] if isinstance(ids, list) else ids
