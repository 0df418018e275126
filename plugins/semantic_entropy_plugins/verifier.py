"""The verifier judge: a causal language model says whether two answers are equivalent (Algorithm 3 of the EMPO paper).

    same = p(Yes) > p(No) at the token after prompt(question, reference, answer)

or, with `mode="generate"`, the "Final Decision" that the model writes. Which of two answers stands as the reference
does not depend on which came as left: first the shorter one, by text where they are equally long. `policy` says what
becomes of the other way round.

A prompt that does not fit into the model's window is undecided; nothing is cut off. Templates, decision words, speed
and generation have a module each: `verifier_prompts`, `verifier_words`, `verifier_scores`, `verifier_generation`.

Left out: a vote of several verifiers; answers that are written to deceive one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

from semantic_entropy.plugin import Equivalence, Pair, Verdict, errors
from semantic_entropy_plugins.models import Loaded, load_model
from semantic_entropy_plugins.verifier_generation import Decisions
from semantic_entropy_plugins.verifier_prompts import as_template, canonical, writer
from semantic_entropy_plugins.verifier_scores import YesNo
from semantic_entropy_plugins.verifier_words import encoder, find_words

MODEL = "TIGER-Lab/general-verifier"
_TEMPLATES = {"logits": "paper", "generate": "general-verifier"}
_POLICIES = ("both", "either", "forward")
_BLOCK = 4096  # prompts that are held as tokens at a time: a few megabytes

# Any three prompts will do, if the first two begin alike: on them the fast ways of running the model are checked.
_PROBES = (
    ("What is the capital of Italy?", "Rome", "The city of Rome."),
    ("What is the capital of Italy?", "Rome", "Paris"),
    ("Who wrote the tragedy Faust, in two parts, and when was the first one printed?", "Goethe", "Goethe, in 1808"),
)

_Ask = tuple[str | None, str, str]
"""Question, the answer that stands as the reference, and the one that is checked against it."""


class _Engine(NamedTuple):
    """A loaded model at work: prompts as texts, as token ids, and verdicts on them."""

    write: Callable[[str | None, str, str], str]
    encode: Callable[[Sequence[str]], list[list[int] | None]]
    run: YesNo | Decisions
    window: int | None


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
        policy: "both" (the same only if the model says yes both ways; the second way is asked only where the first said
            yes), "either" (yes one way is enough), or "forward" (one way, as in the paper: the shorter answer is the
            reference).
        revision: a branch, tag or commit on the hub; None: its main branch.
        device: "cpu", "cuda", "cuda:1", ...; None: "cuda" where there is one.
        dtype: "float32", "bfloat16" or "float16"; None: float32 on a CPU, half precision on a GPU.
        batch_tokens: tokens in one pass of the model, those of a shared prefix counted for each row.
        max_new_tokens: how many tokens "generate" may write.
        share_prefix: run what prompts have in common once; verdicts do not depend on it.
        allow_pickle: read pickled weights where a model has no others.
        compile: `torch.compile` the model, for "logits".

    Raises:
        OptionError: an option is wrong, or there is no such model; says what there is.
        EquivalenceError: the model cannot be had now, or its tokenizer cannot tell Yes from No.
    """

    name = "verifier"
    uses_question = True

    def __init__(
        self,
        model: str = MODEL,
        mode: str = "logits",
        template: str | None = None,
        chat_template: bool = False,
        policy: str = "both",
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int = 8192,
        max_new_tokens: int = 1024,
        share_prefix: bool = True,
        allow_pickle: bool = False,
        compile: bool = False,  # noqa: A002  # the option's name, as users know it from torch
    ) -> None:
        _one_of("mode", mode, tuple(_TEMPLATES))
        _one_of("policy", policy, _POLICIES)
        _positive("batch_tokens", batch_tokens)
        _positive("max_new_tokens", max_new_tokens)
        self.mode, self.policy = mode, policy
        self._options = {
            "model": (model, MODEL),
            "mode": (mode, "logits"),
            "template": (template, None),
            "chat_template": (chat_template, False),
            "policy": (policy, "both"),
            "revision": (revision, None),
            "dtype": (dtype, None),
            "max_new_tokens": (max_new_tokens, 1024),
        }
        self._template = as_template(_TEMPLATES[mode] if template is None else template)
        self._chat, self._batch_tokens, self._new, self._share = (
            chat_template,
            batch_tokens,
            max_new_tokens,
            share_prefix,
        )
        self._load = partial(
            load_model,
            "AutoModelForCausalLM",
            model,
            revision=revision,
            device=device,
            dtype=dtype,
            allow_pickle=allow_pickle,
            compile=compile,
            purpose=self.name,
        )
        self._source, self._precision = (model, revision), ""
        self._commit: str | None = None
        self._engine: _Engine | None = None
        self._ready()

    @property
    def settings(self) -> Hashable:
        written = self._new if self.mode == "generate" else None
        asked = (self.mode, written, self.policy, tuple(self._template), self._chat)
        return (self.name, *self._source, self._precision, *asked)

    @property
    def versions(self) -> Mapping[str, str]:
        commit = {"model": self._commit} if self._commit else {}
        return {"torch": version("torch"), "transformers": version("transformers"), **commit}

    @property
    def forward_calls(self) -> int:
        """Passes of the model since it was loaded, those that checked it included."""
        return self._engine.run.calls if self._engine else 0

    @property
    def forward_tokens(self) -> int:
        """Tokens in those passes, padding included."""
        return self._engine.run.tokens if self._engine else 0

    def describe(self) -> str:
        given = [f"{name}={value}" for name, (value, default) in self._options.items() if value != default]
        return f"{self.name}({', '.join(given)})" if given else self.name

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return self.collect(pairs)

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        there = [(pair.question, *canonical(pair.left, pair.right)) for pair in pairs]
        left_open: dict[int, Verdict] = {}
        for index, verdict in self._ask(there):
            if self.policy == "forward" or verdict.same is (self.policy == "either"):
                yield index, verdict  # the other way cannot change it
            else:
                left_open[index] = verdict
        order = list(left_open)
        back = [(question, right, left) for question, left, right in (there[index] for index in order)]
        for place, verdict in self._ask(back):
            yield order[place], self._both(left_open[order[place]], verdict)

    def close(self) -> None:
        """Let go of the model; the next question loads it again."""
        self._engine = None

    def _ask(self, asks: Sequence[_Ask]) -> Iterator[tuple[int, Verdict]]:
        """(index, verdict) of each, as batches are done; what is asked twice is run once."""
        engine = self._ready()
        askers: dict[_Ask, list[int]] = {}
        for index, ask in enumerate(asks):
            askers.setdefault(ask, []).append(index)
        distinct = list(askers)
        for start in range(0, len(distinct), _BLOCK):
            block = distinct[start : start + _BLOCK]
            for place, verdict in self._run(engine, [engine.write(*ask) for ask in block]):
                yield from ((index, verdict) for index in askers[block[place]])

    def _run(self, engine: _Engine, texts: Sequence[str]) -> Iterator[tuple[int, Verdict]]:
        places, prompts = [], []
        for place, ids in enumerate(engine.encode(texts)):
            if ids is None:
                yield place, Verdict(None, reason="the tokenizer reads the decision word differently after this prompt")
            elif engine.window is not None and len(ids) > engine.window:
                yield place, Verdict(None, reason=f"a prompt of {len(ids)} tokens, over the window of {engine.window}")
            else:
                places.append(place)
                prompts.append(ids)
        yield from ((places[index], verdict) for index, verdict in engine.run.verdicts(prompts))

    def _both(self, there: Verdict, back: Verdict) -> Verdict:
        """Two ways, the first of which left it open."""
        settles = self.policy == "either"  # the answer that decides alone
        scores = [verdict.score for verdict in (there, back) if verdict.score is not None]
        score = (max if settles else min)(scores) if len(scores) == 2 else None
        if back.same is settles:
            return back._replace(score=score if score is not None else back.score)
        if None in (there.same, back.same):
            return Verdict(None, reason=there.reason if there.same is None else back.reason)
        return Verdict(not settles, score)

    def _ready(self) -> _Engine:
        if self._engine is None:
            loaded = self._load()
            self._precision, self._commit = str(loaded.dtype).removeprefix("torch."), loaded.commit
            self._engine = self._generating(loaded) if self.mode == "generate" else self._scoring(loaded)
        return self._engine

    def _scoring(self, loaded: Loaded) -> _Engine:
        write = writer(self._template, loaded.tokenizer, chat=self._chat, lead=True)
        special = not self._chat  # a chat template writes them itself
        texts = [write(*probe) for probe in _PROBES]
        words = find_words(loaded.tokenizer, texts[0], special=special)
        encode = encoder(loaded.tokenizer, words, special=special)
        probes = [ids or [] for ids in encode(texts)]
        if loaded.max_length is not None and max(map(len, probes)) > loaded.max_length:
            raise errors.OptionError(
                f"verifier: the template with a short question takes {max(map(len, probes))} tokens, over the window "
                f"of {loaded.max_length} of model={loaded.name!r}: use another of them"
            )
        run = YesNo(loaded, words, tokens=self._batch_tokens, probes=probes, share_prefix=self._share)
        return _Engine(write, encode, run, loaded.max_length)

    def _generating(self, loaded: Loaded) -> _Engine:
        write = writer(self._template, loaded.tokenizer, chat=self._chat, lead=False)
        run = Decisions(loaded, tokens=self._batch_tokens, max_new_tokens=self._new)

        def encode(texts: Sequence[str]) -> list[list[int] | None]:
            if not texts:
                return []
            ids: list[list[int] | None] = loaded.tokenizer(
                list(texts), add_special_tokens=not self._chat, verbose=False
            )["input_ids"]
            return ids

        return _Engine(write, encode, run, None if loaded.max_length is None else loaded.max_length - self._new)


def _one_of(option: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise errors.OptionError(
            f"verifier: {option}={value!r} is unknown.{errors.nearest(str(value), choices)} "
            f"There are: {', '.join(choices)}"
        )


def _positive(option: str, value: Any) -> None:
    if type(value) is not int or value < 1:
        raise errors.OptionError(f"verifier: {option}={value!r} must be a whole number of at least 1")
