"""The NLI judge: answers that entail each other, by a natural language inference (NLI) model, mean the same.

    answers -> "{question} {answer}" -> the model on (premise, hypothesis), both directions -> a rule -> same or not

`entailment_rules` describes the rules (`strict`, `nonstrict`, `either`) and their scores. The model judges the second
direction only if the first direction does not decide. The order of the directions depends only on the two texts, so a
verdict and its score do not change if the two answers are swapped. A shorter text seldom entails a longer text. So the
first premise is the shorter text for `strict` and `nonstrict`, and the longer text for `either`.

All pairs of a call run through the model together, and each distinct direction runs once. A pair that is longer than
the model's window is undecided; no text is truncated. In float32 a verdict does not depend on the other rows of its
batch. In bfloat16 and float16, rounding depends on the shape of the batch, so a close decision may change.

Sources: Kuhn, Gal, Farquhar 2023 (Semantic Uncertainty); Farquhar et al. 2024 (Nature 630), whose judge sees the
question in both texts.

Left out: splitting long answers, thresholds on probabilities, several models.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence

import torch

from semantic_entropy.plugin import Equivalence, Pair, Verdict, errors
from semantic_entropy_plugins.models.checkpoints import model_identity
from semantic_entropy_plugins.models.loading import LoadedModel, dtype_name, library_versions, load_model
from semantic_entropy_plugins.nli.entailment_rules import (
    RULES,
    Direction,
    Relation,
    decide,
    read_direction,
    read_labels,
)
from semantic_entropy_plugins.nli.pair_classifier import PairClassifier
from semantic_entropy_plugins.options import checked_choice, checked_number, describe_component

MODEL = "microsoft/deberta-large-mnli"
TEMPLATE = "{question} {answer}"
_Texts = tuple[str, str]
"""Premise and hypothesis."""


class NLI(Equivalence):
    """Two answers mean the same if they entail each other, according to a sequence classification model for NLI.

    Args:
        model: a model on the Hugging Face hub, or a folder.
        rule: "strict": both directions entail; "nonstrict": no direction contradicts, and not both are neutral;
            "either": at least one direction entails.
        question: put the question, if there is a question, into both texts.
        template: the text that contains `{question}` and `{answer}`, which are replaced. Nothing else is replaced.
        revision: a branch, tag or commit of the model; None: the main branch.
        device: "cpu", "cuda", "cuda:1", ...; None: "cuda" if available, else "cpu".
        dtype: "float32", "bfloat16" or "float16"; None: bfloat16 on a GPU that supports it, else float16; float32 on a
            CPU.
        batch_tokens: the largest number of tokens in a forward pass. It is halved after an out-of-memory error. None: a
            default for the device.
        allow_pickle: read pickled weights if there are no safetensors.
        attn_implementation: the value for transformers' option of this name; None: its default.
        compile: `torch.compile` the model.

    Raises:
        OptionError: an option is invalid, or the model has no NLI labels; the message shows the model's labels.
        EquivalenceError: the model is unavailable: no network, no permission, no disk space, no memory.
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
        checked_choice(self.name, "rule", rule, RULES)
        checked_number(self.name, "batch_tokens", batch_tokens, 1, whole=True, optional=True)
        if "{answer}" not in template:
            raise errors.OptionError(f"nli: template={template!r} has no {{answer}}: the default is {TEMPLATE!r}")
        self.rule, self.template = rule, template
        self._template_parts = re.split(r"(\{question\}|\{answer\})", template)
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
        key, shown = model_identity(model, loaded.commit)
        self._settings = (self.name, *{**self._options, "model": key}.values(), dtype_name(loaded.dtype))
        self._versions = library_versions() | ({} if loaded.commit is None else {shown: loaded.commit})
        self._classifier: PairClassifier | None = PairClassifier(loaded, batch_tokens)

    @property
    def settings(self) -> Hashable:
        return self._settings

    @property
    def versions(self) -> Mapping[str, str]:
        return self._versions

    @property
    def forward_calls(self) -> int:
        """The number of forward passes of the model so far."""
        return self._open_classifier.forward_calls

    @property
    def forward_rows(self) -> int:
        """The number of directions of pairs that the model has judged so far."""
        return self._open_classifier.forward_rows

    def describe(self) -> str:
        return describe_component(NLI, self.name, self._options)

    def judge(self, pairs: Sequence[Pair]) -> Sequence[Verdict]:
        return self.collect(pairs)

    def stream(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """Yields (index of the pair, verdict on the pair) as soon as the verdict is known."""
        members: dict[_Texts, list[int]] = {}
        for index, pair in enumerate(pairs):
            members.setdefault(self._first_direction(pair), []).append(index)
        for texts, verdict in self._verdicts(list(members)):
            for index in members[texts]:
                yield index, verdict

    def similarities(self, pairs: Sequence[Pair]) -> Sequence[float]:
        """P(left entails right) for each pair; 0 for a pair that is too long for the model."""
        texts = [(self._text(pair.question, pair.left), self._text(pair.question, pair.right)) for pair in pairs]
        distinct = list(dict.fromkeys(texts))
        found = {
            distinct[index]: 0.0 if isinstance(direction, str) else direction.entailment
            for index, direction in self._directions(distinct)
        }
        return [found[pair] for pair in texts]

    def support(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, Verdict]]:
        """Yield how far each sample (the premise) entails the sentence (the hypothesis), without the question.

            support = P(entailment) / (P(entailment) + P(contradiction))

        P(contradiction) / (P(entailment) + P(contradiction)), so 1 - support, is SelfCheck-NLI (Manakul et al. 2023,
        Section 5.4); the support is that of LUQ (Zhang et al. 2024). With labels "entailment" and "not_entailment", it
        is P(entailment). A sample that is longer than the model's window is undecided: no text is truncated.
        """
        directions: dict[_Texts, list[int]] = {}
        for index, pair in enumerate(pairs):
            directions.setdefault((pair.left, pair.right), []).append(index)
        distinct = list(directions)
        for position, found in self._directions(distinct):
            verdict = Verdict(None, reason=found) if isinstance(found, str) else _support(found, self._relations)
            for index in directions[distinct[position]]:
                yield index, verdict

    def close(self) -> None:
        self._classifier = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _first_direction(self, pair: Pair) -> _Texts:
        texts = (self._text(pair.question, pair.left), self._text(pair.question, pair.right))
        shorter, longer = sorted(texts, key=lambda text: (len(text), text))
        return (longer, shorter) if self.rule == "either" else (shorter, longer)

    def _text(self, question: str | None, answer: str) -> str:
        if question is None or not self.uses_question:
            return answer
        texts = {"{question}": question, "{answer}": answer}
        return "".join([texts.get(part, part) for part in self._template_parts])

    def _verdicts(self, pairs: list[_Texts]) -> Iterator[tuple[_Texts, Verdict]]:
        """Yields (two texts, verdict), and begins with the verdicts that need only one direction."""
        first: dict[int, Direction] = {}
        for index, found in self._directions(pairs):
            if isinstance(found, str):
                yield pairs[index], Verdict(None, reason=found)
            elif (verdict := decide(self.rule, found)) is None:
                first[index] = found
            else:
                yield pairs[index], verdict
        undecided = list(first)
        for position, found in self._directions([pairs[index][::-1] for index in undecided]):
            index = undecided[position]
            verdict = Verdict(None, reason=found) if isinstance(found, str) else decide(self.rule, first[index], found)
            assert verdict is not None  # with two directions every rule has a verdict
            yield pairs[index], verdict

    def _directions(self, pairs: Sequence[_Texts]) -> Iterator[tuple[int, Direction | str]]:
        for index, found in self._open_classifier.run(pairs):
            yield index, found if isinstance(found, str) else read_direction(self._relations, found)

    @property
    def _open_classifier(self) -> PairClassifier:
        if self._classifier is None:
            raise errors.EquivalenceError(f"{self.describe()} is closed: make a new one")
        return self._classifier


def _support(direction: Direction, relations: Sequence[Relation]) -> Verdict:
    decisive = direction.entailment + direction.contradiction if "contradiction" in relations else 1.0
    if not decisive > 0:
        return Verdict(None, reason="the probabilities of entailment and contradiction are both 0")
    score = min(1.0, direction.entailment / decisive)
    return Verdict(score >= 0.5, score)


def _relations(loaded: LoadedModel, rule: str) -> tuple[Relation, ...]:
    """The relation of each of the model's outputs, read from the model's own labels."""
    named = loaded.model.config.id2label
    if sorted(named) != list(range(len(named))):  # otherwise labels would be assigned to the wrong outputs
        raise errors.OptionError(
            f"nli: model={loaded.name!r} numbers its labels {', '.join(map(str, sorted(named)))}, but the model's "
            "outputs count from 0. Correct `id2label` in its config.json"
        )
    labels = [named[output] for output in range(len(named))]
    relations = read_labels(labels)
    if relations is None:
        raise errors.OptionError(
            f"nli: model={loaded.name!r} is not known to be an NLI model: its labels are {', '.join(labels)}. They "
            "must be entailment, neutral and contradiction, or entailment and not_entailment, in any order and case. "
            "Choose an NLI model; if this is an NLI model, name its labels in `id2label` of its config.json"
        )
    if rule == "nonstrict" and "contradiction" not in relations:
        raise errors.OptionError(
            f"nli: rule='nonstrict' distinguishes neutral from contradiction, but the labels of model={loaded.name!r} "
            f"are {', '.join(labels)}. Use rule='strict' or rule='either'"
        )
    return relations
