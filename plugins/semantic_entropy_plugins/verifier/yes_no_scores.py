"""Computes how strongly a causal language model prefers Yes to No after a prompt.

    score = p(Yes) / (p(Yes) + p(No)) = sigmoid(logit(Yes) - logit(No)), at the prompt's last token

The tokens of Yes and No are found after an actual prompt:

    prompt + " Yes" -> shared tokens, yes, ...
    prompt + " No"  -> shared tokens, no, ...

The model reads the shared tokens. Then the logits of the first tokens that differ, yes and no, are compared. This works
for words of several tokens, for a separate space token before the word, and for tokenizers of bytes, characters or word
pieces.

There are three methods to compute the scores, the fastest first:

1. `shared`: a prefix that several prompts share runs once (`shared_prefixes`).
2. `batched`: whole prompts run in batches. They are padded on the right, because a causal model does not see padding on
   the right.
3. `alone`: one prompt runs at a time, with all logits and an unchanged model. `shared` and `batched` must agree with
   `alone`.

For `shared` and `batched`, the model's output head is reduced to the rows of Yes and No. Later steps of the model
(scaling or soft caps on the logits) still apply. At construction, a method is compared with `alone` on a few prompts.
If the scores differ (for example because of recurrent or hybrid layers), the next method is used, with a warning.

Left out: other spellings of the words (YES, yes); the absolute p(Yes), because it says less than the ratio of p(Yes)
and p(No).
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import torch

from semantic_entropy.plugin import Verdict, errors
from semantic_entropy_plugins.models.batches import TokenBudget
from semantic_entropy_plugins.models.loading import LoadedModel
from semantic_entropy_plugins.verifier.shared_prefixes import (
    CachedPrefixes,
    CannotShareError,
    Continuation,
    PrefixGroup,
    TokenIds,
    cache_prefixes,
    common_prefix,
    continue_prefixes,
    group_by_prefix,
    pad_right,
)

Encode = Callable[[Sequence[str]], list[TokenIds | None]]
"""A function that takes prompts and returns their token ids; None in place of ids: the prompt cannot be scored."""
Margins = Iterator[tuple[int, float | None]]
Method = Callable[[Sequence[TokenIds]], Margins]

# Tokens in one forward pass. A GPU needs many tokens; a CPU is as fast with few tokens, which stay in its caches.
BATCH_TOKENS = {"cpu": 2048}
BATCH_TOKENS_GPU = 32768

# The largest allowed difference of a score between two methods. In half precision each method rounds differently, so
# the comparison detects only large errors.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.1}
_YES, _NO = "Yes", "No"


class YesNoTokens(NamedTuple):
    """The tokens of Yes and No that are compared.

    Attributes:
        yes, no: the ids of these tokens.
        space: the text between a prompt and the word.
        tail: in the tokens of a prompt followed by " Yes", the number of tokens from `yes` to the end, including tokens
            that the tokenizer adds at the end.
    """

    yes: int
    no: int
    space: str
    tail: int


def find_yes_no(tokenizer: Any, encode: Encode, prompt: str) -> YesNoTokens:
    """Find the ids of Yes and No after a prompt.

    Args:
        tokenizer: the model's tokenizer, for the id of unknown tokens.
        encode: returns the token ids of prompts.
        prompt: any of the prompts, because all prompts have the same end.

    Raises:
        EquivalenceError: Yes and No are unknown to the tokenizer, or have the same tokens. The message shows the ids.
    """
    tried = []
    for space in ("",) if prompt[-1:].isspace() else (" ", ""):
        ids = [ids or [] for ids in encode([prompt + space + word for word in (_YES, _NO)])]
        shared = common_prefix(*ids)
        yes, no = (word_ids[shared] for word_ids in ids)
        if yes != no and tokenizer.unk_token_id not in (yes, no):
            return YesNoTokens(yes, no, space, len(ids[0]) - shared)
        tried += [f"{space + word!r} {word_ids[-4:]}" for word, word_ids in zip((_YES, _NO), ids, strict=True)]
    raise errors.EquivalenceError(
        f"verifier: this tokenizer cannot distinguish Yes from No after {prompt[-30:]!r}. The last ids with each word "
        f"are {', '.join(tried)}; {tokenizer.unk_token_id} is the id of unknown tokens. Use another model, or "
        "mode='generate'"
    )


def before_decision(encode: Encode, words: YesNoTokens) -> Encode:
    """A function that takes prompts and returns the ids that the model reads before it decides.

    The function returns None for a prompt after which the tokenizer splits Yes or No differently, because then the
    compared ids would not belong to these words.
    """

    def encode_before(prompts: Sequence[str]) -> list[TokenIds | None]:
        found = encode([prompt + words.space + _YES for prompt in prompts])
        return [ids[: -words.tail] if ids and ids[-words.tail :][:1] == [words.yes] else None for ids in found]

    return encode_before


class YesNoScores:
    """Computes verdicts on prompts from a model's scores of Yes and No.

    Args:
        loaded: the model. Its output head is replaced, unless only the method `alone` works.
        words: the tokens of Yes and No.
        probes: the token ids of three prompts; the first two prompts share a prefix. The scores of each method on these
            prompts are compared with the scores of `alone` when this object is made.
        tokens: the largest number of tokens in one forward pass, including cached prefixes; None: a default for the
            device.
        share_prefix: whether to try the method `shared` first.

    Raises:
        EquivalenceError: the model does not run on this machine.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        words: YesNoTokens,
        *,
        probes: Sequence[TokenIds],
        tokens: int | None = None,
        share_prefix: bool = True,
    ) -> None:
        self._loaded = loaded
        self._budget = TokenBudget(tokens or BATCH_TOKENS.get(loaded.device.type, BATCH_TOKENS_GPU))
        self._words = self._columns = (words.yes, words.no)
        self._model = self._plain = getattr(
            loaded.model, "_orig_mod", loaded.model
        )  # the model inside torch.compile's wrapper
        self._accepts = frozenset(inspect.signature(self._plain.forward).parameters)
        self.calls = self.tokens = 0
        self.method = self._fastest(probes, share_prefix=share_prefix)
        self.calls = self.tokens = 0

    def verdicts(self, prompts: Sequence[TokenIds]) -> Iterator[tuple[int, Verdict]]:
        """Yields (index of the prompt, verdict on the prompt) after each batch."""
        for index, margin in self.margins(prompts):
            yield index, _verdict(margin, len(prompts[index]))

    def margins(self, prompts: Sequence[TokenIds]) -> Margins:
        """logit(Yes) - logit(No) of each prompt; None: the prompt does not fit into memory."""
        methods: dict[str, Method] = {"shared": self.shared, "batched": self.batched, "alone": self.alone}
        return methods[self.method](prompts)

    def shared(self, prompts: Sequence[TokenIds], groups: Sequence[PrefixGroup] | None = None) -> Margins:
        """Run the prefix of each group once, then the other tokens of the group's prompts, many groups in a batch."""
        groups = group_by_prefix(prompts) if groups is None else groups
        sharing = [group for group in groups if group.prefix]
        whole = [row for group in groups if not group.prefix for row in group.rows]
        found = self._budget.run(
            sharing,
            [group.prefix for group in sharing],
            lambda batch: self._cache([prompts[group.rows[0]][: group.prefix] for group in batch]),
            _too_large,
        )
        for _, batch in groupby(found, key=lambda result: result[1] and id(result[1][0])):
            prefixes: CachedPrefixes | None = None
            rows: list[Continuation] = []
            for index, cached in batch:
                group = sharing[index]
                if cached is None:  # no memory for the prefix, so there is none for the whole prompts either
                    whole += group.rows
                else:
                    prefixes = cached[0]
                    rows += [Continuation(row, prompts[row][group.prefix :], cached[1]) for row in group.rows]
            for row, margin in self._after(prefixes, rows):
                if margin is None:  # the prompt may fit without the cached prefixes of other prompts
                    whole.append(row)
                else:
                    yield row, margin
        yield from ((whole[index], margin) for index, margin in self.batched([prompts[row] for row in whole]))

    def batched(self, prompts: Sequence[TokenIds]) -> Margins:
        """Whole prompts in batches."""
        return self._budget.run(prompts, [len(prompt) for prompt in prompts], self._whole, _too_large)

    def alone(self, prompts: Sequence[TokenIds]) -> Margins:
        """One prompt at a time, as in Algorithm 3."""
        return TokenBudget(1, rows=1).run(prompts, [len(prompt) for prompt in prompts], self._whole, _too_large)

    def _after(self, prefixes: CachedPrefixes | None, rows: list[Continuation]) -> Margins:
        if prefixes is None:
            return
        # Rows are sorted by their remaining tokens, which are padded. The length of a prefix only counts for memory.
        lengths = [max(prefixes.lengths) + len(row.ids) for row in rows]
        for index, margin in self._budget.run(rows, lengths, partial(self._continue, prefixes), _too_large):
            yield rows[index].prompt, margin
        prefixes.layers.clear()  # the budget's generator still refers to these results, and would keep the memory

    @torch.inference_mode()
    def _whole(self, prompts: list[TokenIds]) -> list[float]:
        ids, last = pad_right(prompts, self._loaded.device)
        return self._margins(self._call(input_ids=ids, use_cache=False).logits, last)

    @torch.inference_mode()
    def _cache(self, prefixes: Sequence[TokenIds]) -> list[tuple[CachedPrefixes, int] | None]:
        return [*cache_prefixes(self._call, prefixes, self._loaded.device)]

    @torch.inference_mode()
    def _continue(self, prefixes: CachedPrefixes, rows: list[Continuation]) -> list[float]:
        inputs, last = continue_prefixes(prefixes, rows)
        return self._margins(self._call(**inputs).logits, last)

    def _margins(self, logits: torch.Tensor, last: torch.Tensor) -> list[float]:
        """The margins of all rows, from logits (rows, tokens, words) and the index of each row's last token (rows,)."""
        at = logits[torch.arange(len(last), device=last.device), last].float()
        yes, no = self._columns
        margins: list[float] = (at[:, yes] - at[:, no]).tolist()
        return margins

    def _call(self, **inputs: Any) -> Any:
        self.calls += 1
        self.tokens += inputs["input_ids"].numel()
        if "past_key_values" in inputs and "past_key_values" not in self._accepts:
            raise CannotShareError("its forward method takes no past_key_values")
        if "position_ids" not in self._accepts:
            inputs.pop("position_ids", None)
        return self._model(**inputs)

    def _fastest(self, probes: Sequence[TokenIds], *, share_prefix: bool) -> str:
        """The first method that agrees with `alone` on the probes. The model's head is left as this method needs it."""
        try:
            expected = dict(self.alone(probes))
        except Exception as error:  # a model can raise anything
            raise errors.EquivalenceError(
                f"verifier: model={self._loaded.name!r} loads, but does not run on {self._loaded.device} in "
                f"{self._loaded.dtype}: {error}"
            ) from error
        self._model = self._loaded.model  # only now: torch.compile must not compile the original head
        head = self._plain.get_output_embeddings()
        one, other, third = probes
        groups = [PrefixGroup((0, 1), common_prefix(one, other)), PrefixGroup((2,), len(third) // 2)]
        trials: dict[str, Method] = {"shared": partial(self.shared, groups=groups)} if share_prefix else {}
        trials["batched"] = self.batched
        if type(head) is not torch.nn.Linear:
            return self._chosen("alone", dict.fromkeys(trials, f"its head is a {type(head).__name__}"))
        self._replace_head(head)
        problems: dict[str, str] = {}
        for name, trial in trials.items():
            problem = self._disagreement(trial, probes, expected)
            if problem is None:
                return self._chosen(name, problems)
            problems[name] = problem
        self._plain.set_output_embeddings(head)
        self._columns = self._words
        return self._chosen("alone", problems)

    def _replace_head(self, head: torch.nn.Linear) -> None:
        """Replace the output head by its rows for Yes and No."""
        rows = list(self._columns)
        small = torch.nn.Linear(head.in_features, 2, bias=head.bias is not None).to(head.weight)
        small.weight.data.copy_(head.weight.data[rows])
        if head.bias is not None:
            small.bias.data.copy_(head.bias.data[rows])
        self._plain.set_output_embeddings(small.requires_grad_(requires_grad=False))
        self._columns = (0, 1)

    def _disagreement(
        self, method: Method, probes: Sequence[TokenIds], expected: dict[int, float | None]
    ) -> str | None:
        """Why a method fails; None: its scores are the expected scores."""
        try:
            found = dict(method(probes))
        except Exception as error:  # noqa: BLE001  # a model that cannot use a cache can raise anything
            return f"{type(error).__name__}: {error}"
        difference = max(abs(_score(found[index]) - _score(margin)) for index, margin in expected.items())
        return None if difference <= _TOLERANCE[self._loaded.dtype] else f"scores differ by {difference:.2g}"

    def _chosen(self, method: str, problems: dict[str, str]) -> str:
        if problems:
            reasons = "; ".join(f"{name!r} fails ({problem:.200})" for name, problem in problems.items())
            warnings.warn(
                f"verifier: model={self._loaded.name!r} uses the method {method!r}, because {reasons}. This is slower; "
                "the verdicts are the same",
                RuntimeWarning,
                stacklevel=2,
            )
        return method


def _too_large(_: object, length: int) -> None:  # noqa: ARG001  # as TokenBudget calls it
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
