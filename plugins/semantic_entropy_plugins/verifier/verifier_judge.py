"""The verifier judge: a causal language model says whether two answers are equivalent (Algorithm 3 of the EMPO paper).

    same = p(Yes) > p(No) at the token after prompt(question, reference, answer)

or, with `mode="generate"`, the "Final Decision" that the model writes. Which of two answers stands as the reference
does not depend on which came as left: first the shorter one, by text where they are equally long. `policy` says what
becomes of the other way round.

A prompt that does not fit into the model's window is undecided; nothing is cut off. Templates, decision words, speed
and generation have a module each: `verifier.prompts`, `verifier.words`, `verifier.scores`, `verifier.generation`.

Left out: a vote of several verifiers; answers that are written to deceive one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
import transformers

from semantic_entropy.plugin import Equivalence, Pair, Verdict, errors
from semantic_entropy_plugins.models.checkpoints import model_identity
from semantic_entropy_plugins.models.loading import load_model
from semantic_entropy_plugins.verifier.prompts import as_template, canonical
from semantic_entropy_plugins.verifier.verifier_engine import Ask, Engine, generating, scoring

MODEL = "TIGER-Lab/general-verifier"
DEFAULTS = {
    "model": MODEL,
    "revision": None,
    "mode": "logits",
    "template": None,
    "chat_template": False,
    "policy": "both",
    "max_new_tokens": 1024,
}
"""Of the options that verdicts depend on, as far as they do not depend on the machine."""
TEMPLATES = {"logits": "paper", "generate": "general-verifier"}
"""What each mode asks where no template is chosen."""
POLICIES = ("both", "either", "forward")


class Verifier(Equivalence):
    """A causal language model says Yes or No.

    Args:
        model: a causal language model on the Hugging Face hub, or a folder.
        mode: "logits" compares Yes with No at the next token, in one pass; its score is p(Yes) / (p(Yes) + p(No)).
            "generate" lets the model write its reasoning and reads the "Final Decision: Yes" or "No" in it: what
            TIGER-Lab/general-verifier was trained for, and many times the cost.
        template: "paper", "general-verifier", "instruction-first", or a text with {question}, {left} (the reference)
            and {right}. None: the paper's for "logits", the general verifier's for "generate".
        chat_template: put the prompt into the tokenizer's chat template, as the user's turn.
        policy: "both" (the same only if the model says yes both ways; the second way is asked only where the first
            said yes), "either" (yes one way is enough), or "forward" (one way, as in the paper: the shorter answer is
            the reference).
        revision: a branch, tag or commit of the model; None: its main branch.
        device: "cpu", "cuda", "cuda:1", ...; None: "cuda" where there is one, else "cpu".
        dtype: "float32", "bfloat16", "float16"; None: bfloat16 on a GPU that has it, else float16; float32 on a CPU.
        batch_tokens: tokens in one forward pass, those of a shared prefix counted for each row, and those that may be
            generated too; halved where memory runs out. None: a default for the device.
        max_new_tokens: how many tokens "generate" may write.
        share_prefix: run what prompts have in common once; verdicts do not depend on it.
        allow_pickle: read pickled weights where the model has no others.
        attn_implementation: as transformers takes it; None: its choice.
        compile: `torch.compile` the model; for "logits".

    Raises:
        OptionError: an option cannot be, or there is no such model.
        EquivalenceError: the model cannot be had now, does not run here, or its tokenizer cannot tell Yes from No.
    """

    name = "verifier"
    cache_identity = "semantic_entropy_plugins.verifier:Verifier"
    uses_question = True

    def __init__(
        self,
        model: str = MODEL,
        *,
        mode: str = "logits",
        template: str | None = None,
        chat_template: bool = False,
        policy: str = "both",
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int | None = None,
        max_new_tokens: int = 1024,
        share_prefix: bool = True,
        allow_pickle: bool = False,
        attn_implementation: str | None = None,
        compile: bool = False,  # noqa: A002  # the option's name, as users know it from torch
    ) -> None:
        _one_of("mode", mode, tuple(TEMPLATES))
        _one_of("policy", policy, POLICIES)
        _positive("max_new_tokens", max_new_tokens)
        _positive("batch_tokens", 1 if batch_tokens is None else batch_tokens)
        self.mode, self.policy = mode, policy
        self._template = as_template(TEMPLATES[mode] if template is None else template)
        self.uses_question = "{question}" in self._template.body
        self._options = {
            "model": model,
            "revision": revision,
            "mode": mode,
            "template": template,
            "chat_template": chat_template,
            "policy": policy,
            "max_new_tokens": max_new_tokens if mode == "generate" else DEFAULTS["max_new_tokens"],
        }
        loaded = load_model(
            "AutoModelForCausalLM",
            model,
            revision=revision,
            device=device,
            dtype=dtype,
            allow_pickle=allow_pickle,
            attn_implementation=attn_implementation,
            compile=compile,
            purpose=self.name,
        )
        self._dtype = str(loaded.dtype).removeprefix("torch.")
        self._versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        self._known = model_identity(model, loaded.commit)
        self._versions |= {} if loaded.commit is None else {self._known.shown: loaded.commit}
        asked = (loaded, self._template, chat_template, batch_tokens)
        self._engine: Engine | None = (
            generating(*asked, max_new_tokens) if mode == "generate" else scoring(*asked, share_prefix=share_prefix)
        )

    @property
    def settings(self) -> Hashable:
        template = tuple(self._template)  # the text: a preset may change from version to version
        asked = {**self._options, "model": self._known.key, "template": template}
        return (self.name, *asked.values(), self._dtype)

    @property
    def versions(self) -> Mapping[str, str]:
        return self._versions

    @property
    def forward_calls(self) -> int:
        """How often the model has run so far, not counting its check at the start."""
        return self._working.run.calls

    @property
    def forward_tokens(self) -> int:
        """How many tokens went through it, padding included."""
        return self._working.run.tokens

    def describe(self) -> str:
        chosen = [f"{key}={value!r}" for key, value in self._options.items() if value != DEFAULTS[key]]
        return f"{self.name}({', '.join(chosen)})" if chosen else self.name

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return self.collect(pairs)

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        askers: dict[Ask, list[int]] = {}
        for index, pair in enumerate(pairs):
            question = pair.question if self.uses_question else None
            askers.setdefault((question, *canonical(pair.left, pair.right)), []).append(index)
        for ask, verdict in self._verdicts(list(askers)):
            yield from ((index, verdict) for index in askers[ask])

    def close(self) -> None:
        self._engine = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _verdicts(self, asks: Sequence[Ask]) -> Iterator[tuple[Ask, Verdict]]:
        """The verdict on each, as it comes: those that one way settles first."""
        left_open: dict[int, Verdict] = {}
        for index, verdict in self._working.verdicts(asks):
            if self.policy == "forward" or verdict.same is (self.policy == "either"):
                yield asks[index], verdict  # the other way cannot change it
            else:
                left_open[index] = verdict
        order = list(left_open)
        back = [(question, right, left) for question, left, right in (asks[index] for index in order)]
        for place, verdict in self._working.verdicts(back):
            yield asks[order[place]], _of_two(left_open[order[place]], verdict, self.policy)

    @property
    def _working(self) -> Engine:
        if self._engine is None:
            raise errors.EquivalenceError(f"{self.describe()} is closed: make a new one")
        return self._engine


def _of_two(there: Verdict, back: Verdict, policy: str) -> Verdict:
    """The verdict of two ways, the first of which left it open; the score is that of the way that decides."""
    settles = policy == "either"  # the answer that decides alone
    if back.same is settles:
        return back
    if None in (there.same, back.same):
        return Verdict(None, reason=there.reason if there.same is None else back.reason)
    if there.score is None or back.score is None:
        return Verdict(not settles)
    return Verdict(not settles, (max if settles else min)(there.score, back.score))


def _one_of(option: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise errors.OptionError(
            f"verifier: {option}={value!r} is unknown.{errors.nearest(str(value), choices)} "
            f"There are: {', '.join(choices)}"
        )


def _positive(option: str, value: Any) -> None:
    if type(value) is not int or value < 1:
        raise errors.OptionError(f"verifier: {option}={value!r} must be a whole number of at least 1")
