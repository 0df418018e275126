"""Estimators that ask the model about its own answers. Each sends one prompt for each group.

    p_true                P("true" | question, responses, answer)              Kadavath et al., arXiv 2207.05221
    self_assessment       P(option of the largest cluster | question, options) Cao et al., arXiv 2606.03846
    verbalised            the confidence that the model states, divided by 100 Tian et al., arXiv 2305.14975
    verbalised_agreement  (verbalised + share of the largest cluster) / 2      Del et al., arXiv 2603.19118

All four are probabilities of a right answer: higher is MORE certain. The answer is the greedy answer if it is given,
else the most frequent answer of the largest cluster with valid answers.

The prompts are of this package, because the papers' prompts are for models without chat templates, or for another task.
`p_true` and `self_assessment` read the probabilities of option letters at the first token of the reply, divided by
their sum. The options of `self_assessment` are the clusters, the largest first, and "None of the above", so that a
group with one meaning has a score too. In 2603.19118, the model states its confidence in each response. Here it is
asked once, so that responses of any origin have a score.

A reply that has no option, or no clear number, gives no score: nan, with the reason as a warning of the result.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import NamedTuple

from semantic_entropy.errors import EvidenceError
from semantic_entropy.estimators.base import EntropyEstimator
from semantic_entropy.types import Estimate, Evidence, Sample, SampleFailure

_MOST_OPTIONS = 19  # with "None of the above" as many as the alternatives of a token that servers send
_MOST_SHOWN = 20  # different responses in a prompt of p_true: more make the prompt long, and add little
_LEAST_MASS = 0.5  # of the options at the first token: with less, the model says something else
_OPTION = re.compile(r"[\W_]*([A-Z])(?![^\W_]|['\u2019])(?! [a-z])")  # "(B)", "A) true", but not "A city"
_NUMBER = re.compile(r"(?<![\w.,])(-?\d+(?:\.\d+)?)(?:\s*(%)|\s*/\s*(100|10)(?![\d.]))?(?!\w|,\d)")


class AskedEstimator(EntropyEstimator):
    """Base class of estimators that ask the model one question about the answer to a group's question.

    Implement `prompt` and `read`.
    """

    requires = frozenset({"answers", "question", "replies"})
    uses = frozenset({"greedy"})
    higher_is_uncertain = False
    is_probability = True

    @abstractmethod
    def prompt(self, evidence: Evidence, answer: str) -> str:
        """Return the prompt about this answer."""

    @abstractmethod
    def read(self, reply: Sample, evidence: Evidence) -> float | str:
        """Return the score in [0, 1]; or a text that says why the reply has none."""

    def prompts(self, evidence: Evidence) -> Sequence[str]:
        answer = _answer(evidence)
        return () if answer is None else (self.prompt(evidence, answer),)

    def check(self, evidence: Evidence) -> None:
        if not evidence.question:
            raise EvidenceError(
                f"estimator {self.name!r} asks the model about an answer to a question: pass question= too"
            )
        if not evidence.has("replies"):
            raise EvidenceError(f'estimator {self.name!r} asks the model: pass sampler=, such as sampler="openai"')
        for prompt in self.prompts(evidence):
            if prompt not in (evidence.replies or {}):
                raise EvidenceError(f"estimator {self.name!r} needs the reply of the model to its prompt {prompt!r}")

    def estimate(self, evidence: Evidence) -> Estimate:
        prompts = self.prompts(evidence)
        if not prompts:
            return Estimate(math.nan, note=f"{self.name} is unknown: there is no valid answer to ask about")
        reply = (evidence.replies or {})[prompts[0]]
        found = reply.reason if isinstance(reply, SampleFailure) else self.read(reply, evidence)
        if isinstance(found, str):
            return Estimate(math.nan, note=f"{self.name} is unknown: {found}")
        return Estimate(found)


class PTrue(AskedEstimator):
    """The probability of "true", of the options "true" and "false", that the model gives the answer. In [0, 1].

    The prompt shows the different responses (at most 20, the most frequent ones) as brainstormed ideas, and the answer.
    """

    name = "p_true"

    def prompt(self, evidence: Evidence, answer: str) -> str:
        counts = Counter(text for text in (given.strip() for given in evidence.answers or () if given) if text)
        ideas = sorted(counts, key=lambda text: (-counts[text], text))[:_MOST_SHOWN]
        return "\n".join(
            [
                f"Question: {evidence.question}",
                "Brainstormed answers:",
                *ideas,
                f"Possible answer: {answer}",
                "Is the possible answer true or false?",
                "A) true",
                "B) false",
                "Reply with the letter of one option only.",
            ]
        )

    def read(self, reply: Sample, evidence: Evidence) -> float | str:
        return _option_probability(reply, 2, 0)


class SelfAssessment(AskedEstimator):
    """The probability of the largest cluster's answer among the clusters as options of a question. In [0, 1].

    The options are the answers of the 19 largest clusters, and "None of the above".
    """

    name = "self_assessment"

    def prompt(self, evidence: Evidence, answer: str) -> str:
        options = _options(evidence)
        return "\n".join(
            [
                f"Question: {evidence.question}",
                "Which of these answers is right?",
                *(f"{letter}) {text}" for letter, text in zip(ascii_uppercase, options, strict=False)),
                "Reply with the letter of one option only.",
            ]
        )

    def read(self, reply: Sample, evidence: Evidence) -> float | str:
        return _option_probability(reply, len(_options(evidence)), 0)


class Verbalised(AskedEstimator):
    """The confidence, from 0 to 100, that the model states for the answer; divided by 100."""

    name = "verbalised"

    def prompt(self, evidence: Evidence, answer: str) -> str:
        return "\n".join(
            [
                f"Question: {evidence.question}",
                f"Possible answer: {answer}",
                "How likely is it that the possible answer is right?",
                "Reply with a whole number from 0 (surely wrong) to 100 (surely right), and nothing else.",
            ]
        )

    def read(self, reply: Sample, evidence: Evidence) -> float | str:
        return _stated_confidence(reply.text)


class VerbalisedAgreement(Verbalised):
    """The mean of the stated confidence and of the share of the largest cluster. Two responses are enough."""

    name = "verbalised_agreement"

    def read(self, reply: Sample, evidence: Evidence) -> float | str:
        stated = _stated_confidence(reply.text)
        if isinstance(stated, str):
            return stated
        largest = max(len(cluster.members) for cluster in _clusters(evidence))
        return (stated + largest / len(evidence.labels)) / 2


class _Cluster(NamedTuple):
    """The valid answers of a cluster, and the most frequent of them."""

    members: Sequence[str]
    answer: str


def _clusters(evidence: Evidence) -> list[_Cluster]:
    """The clusters with valid answers, the largest first; the order does not depend on that of the responses."""
    members: dict[int, list[str]] = {}
    for label, answer in zip(evidence.labels, evidence.answers or (), strict=True):
        if answer is not None:
            members.setdefault(label, []).append(answer)
    clusters = []
    for answers in members.values():
        counts = Counter(answers)
        clusters.append(_Cluster(answers, min(counts, key=lambda text: (-counts[text], len(text), text))))
    return sorted(clusters, key=lambda cluster: (-len(cluster.members), cluster.answer))


def _answer(evidence: Evidence) -> str | None:
    if evidence.greedy is not None:
        return evidence.greedy.text.strip() or None
    clusters = _clusters(evidence)
    return clusters[0].answer if clusters else None


def _options(evidence: Evidence) -> list[str]:
    return [cluster.answer for cluster in _clusters(evidence)[:_MOST_OPTIONS]] + ["None of the above"]


def _option_probability(reply: Sample, options: int, wanted: int) -> float | str:
    """Return the probability of an option's letter among all options, at the first token of the reply."""
    letters = ascii_uppercase[:options]
    said = _OPTION.match(reply.text)
    if not said or said.group(1) not in letters:
        return f"the model replied {reply.text[:60]!r}, and not with one of the letters {letters[0]} to {letters[-1]}"
    if not reply.top_logprobs or not reply.top_tokens:
        return "the reply has no log-probabilities of the options: the server or model must send top_logprobs"
    for tokens, logprobs in zip(reply.top_tokens, reply.top_logprobs, strict=True):
        masses = _masses(tokens, logprobs, letters)
        total = math.fsum(masses.values())
        if total >= _LEAST_MASS:
            return min(1.0, masses[letters[wanted]] / total)
    return f"the options have less than half of the probability at each token of the reply {reply.text[:60]!r}"


def _masses(tokens: Sequence[str], logprobs: Sequence[float], letters: str) -> Mapping[str, float]:
    """The probability of each letter: " A", "A" and "(A" are tokens of one letter."""
    masses = dict.fromkeys(letters, 0.0)
    for token, logprob in zip(tokens, logprobs, strict=True):
        letter = token.strip(" \t\n\r(*_[\"'`▁Ġ")
        if letter.rstrip(").:]*") in masses:
            masses[letter.rstrip(").:]*")] += math.exp(logprob)
    return masses


def _stated_confidence(text: str) -> float | str:
    """Return the one number of a reply as a share: "85", "85%", "85/100", "8.5/10" or "0.85"."""
    stated = set()
    for number, percent, of in _NUMBER.findall(text):
        value = float(number)
        if of:
            value /= float(of)
        elif percent or not ("." in number and value <= 1):  # a whole number was asked for, so that 1 is 1%
            value /= 100
        stated.add(value)
    if len(stated) != 1 or not 0 <= (found := stated.pop()) <= 1:
        return f"the model replied {text[:60]!r}, and not with one number from 0 to 100"
    return found
