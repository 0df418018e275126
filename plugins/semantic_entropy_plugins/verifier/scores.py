"""How strongly a causal language model says Yes rather than No after each of many prompts.

    score = p(Yes) / (p(Yes) + p(No)) = sigmoid(logit(Yes) - logit(No)), at the prompt's last token

Three ways to compute it, the fastest first:

1. `shared`: a prefix that prompts have in common runs once (`verifier.prefix`, `verifier.cache`).
2. `batched`: whole prompts, padded at the right, where a causal model does not see the padding.
3. `alone`: one prompt at a time with all logits, nothing changed in the model: what the others must agree with.

For the first two the model's output head is replaced by its rows for Yes and No: what the model does with its logits
after that (scaling, soft caps) it goes on doing itself. On first use a way is compared with `alone` on a few prompts;
where they disagree (recurrent or hybrid layers), the next way is taken, with a warning.

Left out: a normalisation by the other words of the vocabulary; p(Yes) alone says less than p(Yes) against p(No).
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch

from semantic_entropy.plugin import Verdict, errors
from semantic_entropy_plugins.models.batches import TokenBudget
from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.verifier.prefix import Group, common_prefix, share
from semantic_entropy_plugins.verifier.prefix_cache import CannotShareError, Prefixes, Row, continued, kept, padded
from semantic_entropy_plugins.verifier.yes_no_tokens import Words

Prompt = list[int]
Margins = Iterator[tuple[int, float | None]]
Way = Callable[[Sequence[Prompt]], Margins]

# Tokens in one forward pass. A GPU needs many to be busy; a CPU is as fast with few, and those stay in its caches.
BATCH_TOKENS = {"cpu": 2048}
BATCH_TOKENS_GPU = 32768

# Largest difference of a score between two ways. Half precision rounds each way differently, so that there the
# comparison finds gross errors alone.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.1}


class YesNo:
    """One model's verdicts on prompts.

    Args:
        loaded: the model; its head is replaced.
        words: the ids of Yes and No.
        probes: three prompts, the first two with a common prefix, on which the ways are compared.
        tokens: in one forward pass, at most, prefixes that stand before it included; None: a default for the device.
        share_prefix: whether to try the first way.

    Raises:
        EquivalenceError: the model does not run here at all.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        words: Words,
        *,
        probes: Sequence[Prompt],
        tokens: int | None = None,
        share_prefix: bool = True,
    ) -> None:
        self._loaded = loaded
        self._budget = TokenBudget(tokens or BATCH_TOKENS.get(loaded.device.type, BATCH_TOKENS_GPU))
        self._words = self._columns = (words.yes, words.no)
        self._model = self._plain = getattr(loaded.model, "_orig_mod", loaded.model)  # what torch.compile has wrapped
        self._accepts = frozenset(inspect.signature(self._plain.forward).parameters)
        self.calls = self.tokens = 0
        self.way = self._fastest(probes, share_prefix=share_prefix)
        self.calls = self.tokens = 0

    def verdicts(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Verdict]]:
        """(index of the prompt, its verdict) as batches are done."""
        for index, margin in self.margins(prompts):
            yield index, _verdict(margin, len(prompts[index]))

    def margins(self, prompts: Sequence[Prompt]) -> Margins:
        """logit(Yes) - logit(No) of each prompt; None: it does not fit into memory."""
        ways: dict[str, Way] = {"shared": self.shared, "batched": self.batched, "alone": self.alone}
        return ways[self.way](prompts)

    def shared(self, prompts: Sequence[Prompt], groups: Sequence[Group] | None = None) -> Margins:
        """Each group's prefix once, then each of its prompts' own tokens; many groups to a batch."""
        groups = share(prompts) if groups is None else groups
        sharing = [group for group in groups if group.prefix]
        whole = [row for group in groups if not group.prefix for row in group.rows]
        found = self._budget.run(
            sharing,
            [group.prefix for group in sharing],
            lambda batch: self._keep([prompts[group.rows[0]][: group.prefix] for group in batch]),
            _no_room,
        )
        for _, batch in groupby(found, key=lambda one: one[1] and id(one[1][0])):
            prefixes: Prefixes | None = None
            rows: list[Row] = []
            for index, held in batch:
                group = sharing[index]
                if held is None:  # no memory for it, and so not for its prompts either: they will say so
                    whole += group.rows
                else:
                    prefixes = held[0]
                    rows += [Row(row, prompts[row][group.prefix :], held[1]) for row in group.rows]
            for row, margin in self._after(prefixes, rows):
                if margin is None:  # it may fit without the prefixes of others beside it
                    whole.append(row)
                else:
                    yield row, margin
        yield from ((whole[index], margin) for index, margin in self.batched([prompts[row] for row in whole]))

    def batched(self, prompts: Sequence[Prompt]) -> Margins:
        """Whole prompts, many to a batch."""
        return self._budget.run(prompts, [len(prompt) for prompt in prompts], self._whole, _no_room)

    def alone(self, prompts: Sequence[Prompt]) -> Margins:
        """One prompt at a time, as Algorithm 3 has it."""
        one = TokenBudget(1, rows=1)
        return one.run(prompts, [len(prompt) for prompt in prompts], self._whole, _no_room)

    def _after(self, prefixes: Prefixes | None, rows: list[Row]) -> Margins:
        if prefixes is None:
            return
        # By the row's own tokens, which are what is padded; the prefix, nearly the same for all, counts for the memory.
        lengths = [max(prefixes.lengths) + len(row.ids) for row in rows]
        for index, margin in self._budget.run(rows, lengths, partial(self._continue, prefixes), _no_room):
            yield rows[index].prompt, margin
        prefixes.layers.clear()  # the budget's generator still holds the results that point to them

    @torch.inference_mode()
    def _whole(self, prompts: list[Prompt]) -> list[float]:
        ids, last = padded(prompts, self._loaded.device)
        return self._margins(self._call(input_ids=ids, use_cache=False).logits, last)

    @torch.inference_mode()
    def _keep(self, prefixes: Sequence[Prompt]) -> list[tuple[Prefixes, int] | None]:
        return [*kept(self._call, prefixes, self._loaded.device)]

    @torch.inference_mode()
    def _continue(self, prefixes: Prefixes, rows: list[Row]) -> list[float]:
        inputs, last = continued(prefixes, rows)
        return self._margins(self._call(**inputs).logits, last)

    def _margins(self, logits: torch.Tensor, last: torch.Tensor) -> list[float]:
        """Of logits (rows, tokens, words); last (rows,) is the place of each row's last token."""
        at = logits[torch.arange(len(last), device=last.device), last].float()
        yes, no = self._columns
        margins: list[float] = (at[:, yes] - at[:, no]).tolist()
        return margins

    def _call(self, **inputs: Any) -> Any:
        self.calls += 1
        self.tokens += inputs["input_ids"].numel()
        if "past_key_values" in inputs and "past_key_values" not in self._accepts:
            raise CannotShareError("its forward takes no past_key_values")
        if "position_ids" not in self._accepts:
            inputs.pop("position_ids", None)
        return self._model(**inputs)

    def _fastest(self, probes: Sequence[Prompt], *, share_prefix: bool) -> str:
        """The first way that agrees with `alone` on the probes; the head is left as that way wants it."""
        try:
            expected = dict(self.alone(probes))
        except Exception as error:  # whatever a model makes of it
            raise errors.EquivalenceError(
                f"verifier: model={self._loaded.name!r} loads, but does not run on {self._loaded.device} in "
                f"{self._loaded.dtype}: {error}"
            ) from error
        self._model = self._loaded.model  # only now: nothing is compiled for a head that will be replaced
        head = self._plain.get_output_embeddings()
        one, other, third = probes
        groups = [Group((0, 1), common_prefix(one, other)), Group((2,), len(third) // 2)]
        trials: dict[str, Way] = {"shared": partial(self.shared, groups=groups)} if share_prefix else {}
        trials["batched"] = self.batched
        if type(head) is not torch.nn.Linear:
            return self._chosen("alone", dict.fromkeys(trials, f"its head is a {type(head).__name__}"))
        self._cut(head)
        trouble: dict[str, str] = {}
        for way, trial in trials.items():
            why = self._disagreement(trial, probes, expected)
            if why is None:
                return self._chosen(way, trouble)
            trouble[way] = why
        self._plain.set_output_embeddings(head)
        self._columns = self._words
        return self._chosen("alone", trouble)

    def _cut(self, head: torch.nn.Linear) -> None:
        """Leave the rows of Yes and No of the output head."""
        rows = list(self._columns)
        small = torch.nn.Linear(head.in_features, 2, bias=head.bias is not None).to(head.weight)
        small.weight.data.copy_(head.weight.data[rows])
        if head.bias is not None:
            small.bias.data.copy_(head.bias.data[rows])
        self._plain.set_output_embeddings(small.requires_grad_(requires_grad=False))
        self._columns = (0, 1)

    def _disagreement(self, way: Way, probes: Sequence[Prompt], expected: dict[int, float | None]) -> str | None:
        """Why a way will not do; None: it gives the scores expected."""
        try:
            found = dict(way(probes))
        except Exception as error:  # noqa: BLE001  # what a model raises over a cache it cannot use is its own affair
            return f"{type(error).__name__}: {error}"
        off = max(abs(_score(found[index]) - _score(margin)) for index, margin in expected.items())
        return None if off <= _TOLERANCE[self._loaded.dtype] else f"scores differ by {off:.2g}"

    def _chosen(self, way: str, trouble: dict[str, str]) -> str:
        if trouble:
            why = "; ".join(f"not {other!r} ({why:.200})" for other, why in trouble.items())
            warnings.warn(
                f"verifier: model={self._loaded.name!r} is run {way!r}, {why}: slower, with the same verdicts",
                RuntimeWarning,
                stacklevel=2,
            )
        return way


def _no_room(_: object, length: int) -> None:  # noqa: ARG001  # as TokenBudget calls it
    return None


def _score(margin: float | None) -> float:
    if margin is None or math.isnan(margin):
        return math.inf
    return 1 / (1 + math.exp(-margin)) if margin > -700 else 0.0  # exp(709) overflows


def _verdict(margin: float | None, length: int) -> Verdict:
    if margin is None:
        return Verdict(None, reason=f"out of memory at {length} tokens")
    if math.isnan(margin):
        return Verdict(None, reason="the model's output is not a number; dtype='float32' may help")
    return Verdict(margin > 0, _score(margin))
