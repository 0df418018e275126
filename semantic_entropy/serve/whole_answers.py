"""Whether samples say all that an answer says, and not only the answer that the judge reads in it.

Two answers can mean the same although one of them says more: for the judge `text`, "Paris" and "Paris. Send money." do.
A gateway passes the whole response on. So it is compared with the samples that mean the same, its peers, in two ways:

    words        each word is written in one of the peers, or in the question, and near words are not only in the other
                 order there (`long_answers.unsaid_words`)
    sentences    at least half of the peers say each sentence, by the rule of `support=` (docs: how-to/long-answers.md)

Why both: a scorer of sentences accepts other words for the same, and so a few more words in a long sentence. The rule
of words does not see a new sentence of known words in a known order. `new_words="allow"` leaves the rule of words out.

Left out: the order of words that no peer says in one sentence, and whether a sentence that half of the peers say is
true.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from semantic_entropy import Result, Scorer
from semantic_entropy.clusters import Equivalence, strip_reasoning
from semantic_entropy.long_answers import unsaid_orders, unsaid_words
from semantic_entropy.measuring import MOST_CLAIMS
from semantic_entropy.plain_text import plural
from semantic_entropy.plugin import split_sentences
from semantic_entropy.scorer import Choices
from semantic_entropy.serve.service_settings import NewWords


class Doubted(NamedTuple):
    """An answer that is checked, and its peers: the samples that mean the same."""

    text: str
    peers: Sequence[str]


class Confirmation(NamedTuple):
    """Whether samples that mean the same as an answer say all that the answer says.

    Attributes:
        said: the number of samples that say its least supported sentence; 0 if it has new words or another order.
        excess: what too few samples say, without its text: a gateway shows it to the client; None: there is none.
        unknown: why the answer could not be compared as a whole; None: it was.
    """

    said: int
    excess: str | None = None
    unknown: str | None = None


class WholeAnswers:
    """Compares whole answers with samples.

    Args:
        scorer: its judge, or its `support=`, says which sentences a sample says.
        new_words: "block": a word that no peer and not the question has is an excess, and so is another order of words;
            "allow": neither is one.
        max_pairs: the most pairs of a sentence and a sample that a judge with a model compares in one call of
            `confirm`; with more of them, the answers are unknown.
    """

    def __init__(self, scorer: Scorer, *, new_words: NewWords, max_pairs: int) -> None:
        self._sentences, self._new_words, self._max_pairs = _of_sentences(scorer), new_words, max_pairs

    def confirm(self, question: str | None, answers: Sequence[Doubted]) -> list[Confirmation]:
        """Compare each answer as a whole with its peers, in one call of the judge."""
        split = cache(split_sentences)  # the peers of several answers are the same
        found = [self._by_words(question, answer, split) for answer in answers]
        open_ones = [
            at for at, each in enumerate(found) if answers[at].peers and each.excess is None and each.unknown is None
        ]
        if not open_ones:
            return found
        if why := self._too_many([answers[at] for at in open_ones]):
            return [Confirmation(0, unknown=why) if at in open_ones else each for at, each in enumerate(found)]
        results = self._sentences.estimate(
            [list(answers[at].peers) for at in open_ones],
            question=[question] * len(open_ones),
            greedy=[answers[at].text for at in open_ones],
        )
        for at, result in zip(open_ones, results, strict=True):
            found[at] = _by_sentences(result, len(answers[at].peers))
        return found

    def _by_words(self, question: str | None, answer: Doubted, split: Callable[[str], Sequence[str]]) -> Confirmation:
        """Return what is known of an answer before its sentences are compared."""
        count = len(answer.peers)
        if not count:
            return Confirmation(0)
        if why := _why_not_compared(answer.text):
            return Confirmation(count, unknown=why)
        if self._new_words == "block":
            peers = [strip_reasoning(peer) for peer in answer.peers]  # reasoning is no part of what they say
            if new := len(unsaid_words(answer.text, peers, question)):
                verb = "is" if new == 1 else "are"
                return Confirmation(0, f"{plural(new, 'word')} of it {verb} in none of the {count} that mean the same")
            known = [sentence for text in (question or "", *peers) for sentence in split(text)]
            if unsaid_orders(split(answer.text), known):
                return Confirmation(0, f"its words are in an order that none of the {count} that mean the same has")
        return Confirmation(count)

    def _too_many(self, answers: Sequence[Doubted]) -> str | None:
        """Return why a judge with a model is not asked about the sentences of answers; None: it is."""
        long_answers = self._sentences.long_answers
        if long_answers is None or long_answers.scorer.cheap:
            return None
        pairs = sum(len(_parts(text, None)) * len(set(peers) - {text}) for text, peers in answers)
        if pairs <= self._max_pairs:
            return None
        return f"needs {pairs:,} comparisons of a sentence with a sample, more than {self._max_pairs:,} (--max-pairs)"


def _of_sentences(scorer: Scorer) -> Scorer:
    """Return a scorer that says which sentences of an answer the samples support. Its clusters are not used."""
    judge = scorer.equivalence
    choices: Choices = {"equivalence": "exact", "extract": "whole", "estimator": "discrete", "long": True}
    choices |= {"claims": _parts, "claims_options": None}
    if judge is not None and type(judge).support is not Equivalence.support and scorer.choices.get("support") is None:
        choices |= {"support": judge}
    return scorer.derive(**choices)


def _parts(answer: str, _: str | None) -> list[str]:
    """Return the sentences of an answer, headings included: nothing of it may be left out."""
    return split_sentences(answer) or [answer]


def _why_not_compared(answer: str) -> str | None:
    if strip_reasoning(answer) != answer:
        return "has a reasoning block (<think>), which is not compared"
    if (count := len(split_sentences(answer))) > MOST_CLAIMS:
        return f"has {count} sentences, more than {MOST_CLAIMS}"
    return None


def _by_sentences(result: Result, peers: int) -> Confirmation:
    found = result.long_answer
    if found is None or not found.sentences:
        return Confirmation(0, unknown="has sentences that cannot be compared: " + "; ".join(result.warnings))
    said, count = min(sentence.supported_by for sentence in found.sentences), len(found.sentences)
    doubted = [(number, sentence) for number, sentence in enumerate(found.sentences, 1) if sentence.doubtful]
    for number, sentence in sorted(doubted, key=lambda each: each[1].unknown):  # what is known goes before
        if sentence.unknown:
            return Confirmation(said, unknown=f"has a sentence, {number} of {count}, that cannot be compared")
        samples = f"{sentence.supported_by} of {peers} that mean the same"
        return Confirmation(said, excess=f"sentence {number} of {count} is said by {samples}")
    return Confirmation(said)
