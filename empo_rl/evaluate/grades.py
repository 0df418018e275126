r"""From responses to which are right.

    math    the answer in the last \boxed{} (else as the math judge finds one), equal to the gold mathematics: by the
            math judge in worker processes that are killed when they run over their time
    choice  the letter, by the extractor "choice"
    text    the answer means the same as the gold, by a judge named by the user

A comparison that could not be decided, and a response with no answer in it, are not right; both are counted. So is a
response that never came.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from empo_rl.core.rewards.labels import Grader
from empo_rl.data.suites import AnswerKind
from empo_rl.evaluate.questions import Question
from empo_rl.evaluate.responses import Response
from semantic_entropy import Equivalence, InputError, Result, Scorer, load_equivalence

_CHUNK = 256  # questions between two reports of progress


@dataclass(frozen=True, slots=True)
class Grade:
    """Of one question's n responses, (n,) each: answers (None: none found, or no response), right, undecided.

    present: how many responses there are. entropy in nats, nan where there are none. majority: whether the answer of
    the largest cluster is right; the first to appear of several.
    """

    answers: tuple[str | None, ...]
    right: tuple[bool, ...]
    undecided: tuple[bool, ...]
    present: int
    cut_off: int
    tokens: int
    entropy: float
    majority: bool


class Judges:
    """What grades each kind, loaded when it is needed."""

    def __init__(
        self, grader: str | None = None, options: Mapping[str, Any] | None = None, extract: str | None = None
    ) -> None:
        self._grader, self._options, self._extract = grader, options or {}, extract
        self._loaded: dict[str, Equivalence] = {}

    def name(self, kind: AnswerKind) -> str:
        """Of the equivalence that grades this kind.

        Raises:
            InputError: nothing has been named that grades free text.
        """
        if kind == "choice":
            return "exact"
        if self._grader is None and kind == "text":
            raise InputError("free text has no default grader: name a judge, such as --grader verifier.")
        return self._grader or "math"

    def extract(self, kind: AnswerKind) -> str | None:
        """How an answer is found; None: the judge's own way."""
        return self._extract or ("choice" if kind == "choice" else None)

    def load(self, kind: AnswerKind) -> Equivalence:
        """The judge of this kind."""
        name = self.name(kind)
        if name not in self._loaded:
            self._loaded[name] = load_equivalence(name, **(self._options if name == self._grader else {}))
        return self._loaded[name]

    def check(self, kinds: Iterable[AnswerKind]) -> None:
        """Load each judge once, and let go of it: hours of generating are to end with a judge that can be had.

        Raises:
            SemanticEntropyError: there is none of that name, with these options, or it cannot be loaded.
        """
        for kind in kinds:
            self.load(kind)
        self.close()

    def describe(self, kind: AnswerKind) -> dict[str, Any]:
        """For the results."""
        judge = self.load(kind)
        return {"judge": judge.describe(), "extract": self.extract(kind) or "the judge's own", **judge.versions}

    def close(self) -> None:
        """End worker processes, let go of models."""
        for judge in self._loaded.values():
            judge.close()
        self._loaded.clear()


def grade(
    questions: Sequence[Question],
    responses: Sequence[Sequence[Response]],
    n: int,
    kind: AnswerKind,
    judges: Judges,
    progress: Callable[[int, int], None],
) -> list[Grade]:
    """One grade for each question, from the first n responses to it."""
    judge, grades = judges.load(kind), []
    grader = Grader(judge)
    with Scorer(equivalence=judge, extract=judges.extract(kind), invalid="separate") as scorer:
        for start in range(0, len(questions), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            grades += _grade(questions[chunk], responses[chunk], n, scorer, grader)
            progress(len(grades), len(questions))
    grader.close()
    return grades


def _grade(
    questions: Sequence[Question], responses: Sequence[Sequence[Response]], n: int, scorer: Scorer, grader: Grader
) -> list[Grade]:
    given = [i for i, ones in enumerate(responses) if ones]
    texts = [[one.text for one in responses[i]] for i in given]
    measured = scorer.estimate(texts, question=[questions[i].text for i in given]) if given else []
    results = dict(zip(given, measured, strict=True))
    pairs = list(
        dict.fromkeys(
            (questions[i].text, answer, questions[i].gold)
            for i, result in results.items()
            for answer in result.answers
            if answer is not None
        )
    )
    verdicts = dict(zip(pairs, grader.verdicts(pairs), strict=True))
    return [_of(question, responses[i], n, results.get(i), verdicts) for i, question in enumerate(questions)]


def _of(
    question: Question,
    responses: Sequence[Response],
    n: int,
    result: Result | None,
    verdicts: Mapping[Any, bool | None],
) -> Grade:
    missing = n - len(responses)
    answers = (*(result.answers if result else ()), *[None] * missing)
    said = [None if a is None else verdicts[question.text, a, question.gold] for a in answers]
    majority = result.answer if result else None
    return Grade(
        answers=answers,
        right=tuple(verdict is True for verdict in said),
        undecided=tuple(verdict is None and a is not None for verdict, a in zip(said, answers, strict=True)),
        present=len(responses),
        cut_off=sum(one.cut_off for one in responses),
        tokens=sum(one.tokens for one in responses),
        entropy=result.entropy if result else math.nan,
        majority=majority is not None and verdicts[question.text, majority, question.gold] is True,
    )
