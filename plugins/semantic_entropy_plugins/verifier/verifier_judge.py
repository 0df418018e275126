"""The verifier judge: a causal language model says whether two answers are equivalent (Algorithm 3 of the EMPO paper).

    same = p(Yes) > p(No) at the token after prompt(question, reference, answer)

or, with `mode="generate"`, the "Final Decision" that the model writes. The shorter answer is the reference; if the
lengths are equal, the first answer by text is the reference. So the verdict does not change if the two answers are
swapped. The option `policy` says whether the reverse direction is judged too.

A prompt that does not fit into the model's window is undecided; no text is truncated.

Left out: a vote of several verifiers; protection from answers that are written to deceive the verifier.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

import torch

from semantic_entropy.plugin import (
    POLICIES,
    Equivalence,
    Pair,
    Policy,
    Verdict,
    combine_directions,
    errors,
    needs_reverse,
)
from semantic_entropy_plugins.models.checkpoints import model_identity
from semantic_entropy_plugins.models.loading import dtype_name, library_versions, load_model
from semantic_entropy_plugins.options import checked_choice, checked_number, describe_component
from semantic_entropy_plugins.verifier.prompts import canonical_order, load_prompt_template
from semantic_entropy_plugins.verifier.verifier_model import Query, VerifierModel, generating_model, scoring_model

MODEL = "TIGER-Lab/general-verifier"
TEMPLATES = {"logits": "paper", "generate": "general-verifier"}
"""The default template of each mode."""
_MAX_NEW_TOKENS = 1024


class Verifier(Equivalence):
    """A causal language model decides, by Yes or No, whether two answers are equivalent.

    Args:
        model: a causal language model on the Hugging Face hub, or a folder.
        mode: "logits" compares the probabilities of Yes and No for the next token, in one pass; the score is p(Yes) /
            (p(Yes) + p(No)). "generate" lets the model write its reasoning, and reads "Final Decision: Yes" or "Final
            Decision: No" from the written text. TIGER-Lab/general-verifier was trained for this mode, which costs much
            more.
        template: "paper", "general-verifier", "instruction-first", or a text with {question}, {left} (the reference)
            and {right}. None: "paper" for "logits", "general-verifier" for "generate".
        chat_template: whether the prompt is the user's turn in the tokenizer's chat template.
        policy: "both" (two answers mean the same only if the model says yes in both directions; the reverse direction
            is judged only after a yes), "either" (a yes in one direction is enough), or "forward" (only one direction,
            as in the paper; the shorter answer is the reference).
        revision: a branch, tag or commit of the model; None: the main branch.
        device: "cpu", "cuda", "cuda:1", ...; None: "cuda" if available, else "cpu".
        dtype: "float32", "bfloat16" or "float16"; None: bfloat16 on a GPU that supports it, else float16; float32 on a
            CPU.
        batch_tokens: the largest number of tokens in a forward pass, including a shared prefix for each row and the
            tokens that may be generated. The number is halved after an out-of-memory error. None: a default for the
            device.
        max_new_tokens: in the mode "generate", the largest number of tokens that the model writes.
        share_prefix: run a prefix that several prompts share only once. This does not change the verdicts.
        allow_pickle: read pickled weights if there are no safetensors.
        attn_implementation: the value for transformers' option of this name; None: its default.
        compile: `torch.compile` the model, in the mode "logits".

    Raises:
        OptionError: an option is invalid, or the model does not exist.
        EquivalenceError: the model is unavailable or does not run on this machine, or its tokenizer cannot distinguish
            Yes from No.
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
        policy: Policy = "both",
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int | None = None,
        max_new_tokens: int = _MAX_NEW_TOKENS,
        share_prefix: bool = True,
        allow_pickle: bool = False,
        attn_implementation: str | None = None,
        compile: bool = False,  # noqa: A002  # the option's name, as users know it from torch
    ) -> None:
        self.mode = checked_choice(self.name, "mode", mode, TEMPLATES)
        self.policy: Policy = checked_choice(self.name, "policy", policy, POLICIES)
        checked_number(self.name, "max_new_tokens", max_new_tokens, 1, whole=True)
        checked_number(self.name, "batch_tokens", batch_tokens, 1, whole=True, optional=True)
        prompt_template = load_prompt_template(TEMPLATES[mode] if template is None else template)
        self.uses_question = "{question}" in prompt_template.body
        self._options = {
            "model": model,
            "revision": revision,
            "mode": mode,
            "template": template,
            "chat_template": chat_template,
            "policy": policy,
            "max_new_tokens": max_new_tokens if mode == "generate" else _MAX_NEW_TOKENS,
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
        key, shown = model_identity(model, loaded.commit)
        # The template's text is part of the settings, since a named template may change from version to version.
        identity = {**self._options, "model": key, "template": tuple(prompt_template)}
        self._settings = (self.name, *identity.values(), dtype_name(loaded.dtype))
        self._versions = library_versions() | ({} if loaded.commit is None else {shown: loaded.commit})
        parts = (loaded, prompt_template, chat_template, batch_tokens)
        self._model: VerifierModel | None = (
            generating_model(*parts, max_new_tokens)
            if mode == "generate"
            else scoring_model(*parts, share_prefix=share_prefix)
        )

    @property
    def settings(self) -> Hashable:
        return self._settings

    @property
    def versions(self) -> Mapping[str, str]:
        return self._versions

    @property
    def forward_calls(self) -> int:
        """The number of forward passes of the model so far, without the checks at construction."""
        return self._open_model.runner.calls

    @property
    def forward_tokens(self) -> int:
        """The number of tokens that the model has read so far, including padding."""
        return self._open_model.runner.tokens

    def describe(self) -> str:
        return describe_component(Verifier, self.name, self._options)

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return self.collect(pairs)

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """Yields (index of the pair, verdict on the pair) as soon as the verdict is known."""
        members: dict[Query, list[int]] = {}
        for index, pair in enumerate(pairs):
            question = pair.question if self.uses_question else None
            members.setdefault((question, *canonical_order(pair.left, pair.right)), []).append(index)
        for query, verdict in self._verdicts(list(members)):
            yield from ((index, verdict) for index in members[query])

    def close(self) -> None:
        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _verdicts(self, queries: Sequence[Query]) -> Iterator[tuple[Query, Verdict]]:
        """Yields (query, verdict), and begins with the verdicts that need only one direction."""
        forward: dict[int, Verdict] = {}
        for index, verdict in self._open_model.verdicts(queries):
            if needs_reverse(self.policy, verdict.same):
                forward[index] = verdict
            else:
                yield queries[index], verdict
        undecided = list(forward)
        reversed_queries = [(question, right, left) for question, left, right in (queries[i] for i in undecided)]
        for position, verdict in self._open_model.verdicts(reversed_queries):
            index = undecided[position]
            yield queries[index], _combined(self.policy, forward[index], verdict)

    @property
    def _open_model(self) -> VerifierModel:
        if self._model is None:
            raise errors.EquivalenceError(f"{self.describe()} is closed: make a new one")
        return self._model


def _combined(policy: Policy, forward: Verdict, reverse: Verdict) -> Verdict:
    """The verdict from both directions, after the forward direction did not decide.

    If both directions agree, the score is the lower score for "both" and the higher score for "either".
    """
    same = combine_directions(policy, forward.same, reverse.same)
    if same is None:
        return Verdict(None, reason=forward.reason if forward.same is None else reverse.reason)
    if same is (policy == "either"):  # the reverse direction decides alone
        return reverse
    if forward.score is None or reverse.score is None:
        return Verdict(same)
    return Verdict(same, (max if policy == "either" else min)(forward.score, reverse.score))
