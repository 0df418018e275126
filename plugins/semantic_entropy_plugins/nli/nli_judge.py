"""Answers that entail each other mean the same, by a natural language inference (NLI) model.

    answers -> "{question} {answer}" -> the model on (premise, hypothesis), both ways -> a rule -> same or not

The rules (`strict`, `nonstrict`, `either`) and their scores are in `nli_rules`. The second direction is asked only
where the first leaves the verdict open. Which is first depends on the two texts alone, so that a verdict and its score
cannot depend on which answer is left: a shorter text seldom entails a longer one, so `strict` and `nonstrict` ask that
direction first, and `either` the other.

All pairs of a call go through the model together, each distinct direction once. A pair that is longer than the model's
window is undecided; nothing is cut. In float32 a verdict is the same whatever else is in its batch; in bfloat16 and
float16 sums depend on the shape of the batch, and a close call may fall either way.

Source: Kuhn, Gal, Farquhar 2023 (Semantic Uncertainty); Farquhar et al. 2024 (Nature 630), whose judge sees the
question in both texts.

Left out: long answers in pieces, thresholds on probabilities, several models.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence

import torch
import transformers

from semantic_entropy.plugin import Equivalence, Pair, Verdict, errors
from semantic_entropy_plugins.models.checkpoints import Known, known
from semantic_entropy_plugins.models.loading import Loaded, load_model
from semantic_entropy_plugins.nli.entailment_rules import RULES, Outcome, Relation, decide, outcome, read_labels
from semantic_entropy_plugins.nli.pair_classifier import PairClassifier

MODEL = "microsoft/deberta-large-mnli"
TEMPLATE = "{question} {answer}"
DEFAULTS = {"model": MODEL, "revision": None, "rule": "strict", "question": True, "template": TEMPLATE}
"""Of the options that verdicts depend on, as far as they do not depend on the machine."""


class NLI(Equivalence):
    """Answers that entail each other, by a sequence classification model for NLI.

    Args:
        model: a model on the Hugging Face hub, or a folder.
        rule: "strict", both directions entail; "nonstrict", no contradiction and not both neutral; "either", at least
            one direction entails.
        question: whether the question, where there is one, is part of both texts.
        template: how the two are put together: `{question}` and `{answer}` are replaced, all else stands as it is.
        revision: a branch, tag or commit of the model; None: its main branch.
        device: "cpu", "cuda", "cuda:1", ...; None: "cuda" where there is one, else "cpu".
        dtype: "float32", "bfloat16", "float16"; None: bfloat16 on a GPU that has it, else float16; float32 on a CPU.
        batch_tokens: tokens in one forward pass; halved where memory runs out. None: a default for the device.
        allow_pickle: read pickled weights where the model has no others.
        attn_implementation: as transformers takes it; None: its choice.
        compile: `torch.compile` the model.

    Raises:
        OptionError: an option cannot be, or the model is none for NLI: shows its labels.
        EquivalenceError: the model cannot be had now: no network, no permission, no space, no memory.
    """

    name = "nli"
    cache_identity = "semantic_entropy_plugins.nli:NLI"

    def __init__(
        self,
        model: str = MODEL,
        *,
        rule: str = "strict",
        question: bool = True,
        template: str = TEMPLATE,
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int | None = None,
        allow_pickle: bool = False,
        attn_implementation: str | None = None,
        compile: bool = False,  # noqa: A002  # the option's name, as users know it from torch
    ) -> None:
        _check(rule, template, batch_tokens)
        self.rule, self.template = rule, template
        self.uses_question = question and "{question}" in template
        loaded = load_model(
            "AutoModelForSequenceClassification",
            model,
            revision=revision,
            device=device,
            dtype=dtype,
            allow_pickle=allow_pickle,
            attn_implementation=attn_implementation,
            compile=compile,
            purpose=self.name,
        )
        self._relations = _relations(loaded, rule)
        self._options = {"model": model, "revision": revision, "rule": rule, "question": question, "template": template}
        self._known = known(model, loaded.commit)
        self._dtype, self._versions = str(loaded.dtype).removeprefix("torch."), _versions(self._known, loaded.commit)
        self._classifier: PairClassifier | None = PairClassifier(loaded, batch_tokens)

    @property
    def settings(self) -> Hashable:
        return (self.name, *{**self._options, "model": self._known.key}.values(), self._dtype)

    @property
    def versions(self) -> Mapping[str, str]:
        return self._versions

    @property
    def forward_calls(self) -> int:
        """How often the model has run so far."""
        return self._working.forward_calls

    @property
    def forward_rows(self) -> int:
        """How many directions of pairs it has judged so far."""
        return self._working.forward_rows

    def describe(self) -> str:
        chosen = [f"{key}={value!r}" for key, value in self._options.items() if value != DEFAULTS[key]]
        return f"{self.name}({', '.join(chosen)})" if chosen else self.name

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return self.collect(pairs)

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        members: dict[tuple[str, str], list[int]] = {}
        for index, pair in enumerate(pairs):
            members.setdefault(self._direction(pair), []).append(index)
        for direction, verdict in self._verdicts(list(members)):
            for index in members[direction]:
                yield index, verdict

    def close(self) -> None:
        self._classifier = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _direction(self, pair: Pair) -> tuple[str, str]:
        """Premise and hypothesis of the direction that is asked first."""
        texts = sorted((self._text(pair.question, pair.left), self._text(pair.question, pair.right)), key=_by_length)
        return (texts[1], texts[0]) if self.rule == "either" else (texts[0], texts[1])

    def _text(self, question: str | None, answer: str) -> str:
        if question is None or not self.uses_question:
            return answer
        parts = {"{question}": question, "{answer}": answer}
        return re.sub(r"\{question\}|\{answer\}", lambda found: parts[found[0]], self.template)

    def _verdicts(self, directions: list[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], Verdict]]:
        """The verdict for each, as it comes: those that one direction settles first."""
        first: dict[int, Outcome] = {}
        for index, found in self._outcomes(directions):
            if isinstance(found, str):
                yield directions[index], Verdict(None, reason=found)
            elif (verdict := decide(self.rule, found)) is None:
                first[index] = found
            else:
                yield directions[index], verdict
        left = list(first)
        for position, found in self._outcomes([directions[index][::-1] for index in left]):
            index = left[position]
            verdict = Verdict(None, reason=found) if isinstance(found, str) else decide(self.rule, first[index], found)
            assert verdict is not None  # two directions settle every rule
            yield directions[index], verdict

    def _outcomes(self, directions: Sequence[tuple[str, str]]) -> Iterator[tuple[int, Outcome | str]]:
        for index, found in self._working.run(directions):
            yield index, found if isinstance(found, str) else outcome(self._relations, found)

    @property
    def _working(self) -> PairClassifier:
        if self._classifier is None:
            raise errors.EquivalenceError(f"{self.describe()} is closed: make a new one")
        return self._classifier


def _check(rule: str, template: str, batch_tokens: int | None) -> None:
    if rule not in RULES:
        raise errors.OptionError(
            f"nli: rule={rule!r} is unknown.{errors.nearest(str(rule), RULES)} There are: {', '.join(RULES)}"
        )
    if "{answer}" not in template:
        raise errors.OptionError(f"nli: template={template!r} has no {{answer}}: the default is {TEMPLATE!r}")
    if batch_tokens is not None and batch_tokens < 1:
        raise errors.OptionError(f"nli: batch_tokens={batch_tokens} must be at least 1")


def _relations(loaded: Loaded, rule: str) -> tuple[Relation, ...]:
    """What each of the model's outputs stands for, by its own labels."""
    named = loaded.model.config.id2label
    if sorted(named) != list(range(len(named))):  # else a label would be taken for the output before its own
        raise errors.OptionError(
            f"nli: model={loaded.name!r} numbers its labels {', '.join(map(str, sorted(named)))}: they name the "
            "model's outputs, which count from 0. Correct `id2label` in its config.json"
        )
    labels = [named[output] for output in range(len(named))]
    relations = read_labels(labels)
    if relations is None:
        raise errors.OptionError(
            f"nli: model={loaded.name!r} is not known to be an NLI model: its labels are {', '.join(labels)}. They "
            "must be entailment, neutral and contradiction, or entailment and not_entailment, in any order and case. "
            "Choose an NLI model; if this is one, name its labels in `id2label` of its config.json"
        )
    if rule == "nonstrict" and "contradiction" not in relations:
        raise errors.OptionError(
            f"nli: rule='nonstrict' tells neutral from contradiction, and the labels of model={loaded.name!r} are "
            f"{', '.join(labels)}. Use rule='strict' or rule='either'"
        )
    return relations


def _versions(model: Known, commit: str | None) -> Mapping[str, str]:
    libraries = {"torch": torch.__version__, "transformers": transformers.__version__}
    return libraries if commit is None else {**libraries, model.shown: commit}


def _by_length(text: str) -> tuple[int, str]:
    return len(text), text
