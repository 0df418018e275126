r"""Grade responses: decide which answers are right.

    math    The answer is in the last \boxed{}; without a box, the math judge finds the answer. The math judge compares
            the answer with the gold answer, in worker processes that are killed at a time limit.
    choice  The extractor "choice" finds a letter, which is compared with the gold letter.
    text    A judge that the user names decides whether the answer means the same as the gold answer.

A missing response, a response without an answer and an undecided comparison are not right. Each of these is counted. If
a question has no gold answer, its responses are neither right nor wrong; they have a semantic entropy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from empo_rl.core.rewards.labels import Grader
from empo_rl.data.suites import AnswerKind
from empo_rl.evaluate.questions import EvaluationQuestion
from empo_rl.evaluate.responses import Response
from semantic_entropy import Equivalence, InputError, Result, Scorer, load_equivalence

_CHUNK = 256  # number of questions graded between two progress reports


@dataclass(frozen=True, slots=True)
class Grade:
    """The grades of the n responses to one question.

    Attributes:
        answers: (n,) answers; None if the response has no answer or is missing.
        right: (n,) whether the answer equals the gold answer; None if the question has no gold answer.
        undecided: (n,) whether the judge could not decide.
        present: number of responses that are not missing.
        cut_off: number of responses that reached the token limit.
        tokens: number of tokens of all responses.
        entropy: semantic entropy in nats; nan if there are no responses.
        majority: whether the answer of the largest cluster is right. If several clusters are equally large, the first
            of these clusters counts. None if the question has no gold answer.
        result: the measurement of the responses; None if there are no responses, or the grade was read from a file.
    """

    answers: tuple[str | None, ...]
    right: tuple[bool | None, ...]
    undecided: tuple[bool, ...]
    present: int
    cut_off: int
    tokens: int
    entropy: float
    majority: bool | None
    result: Result | None = field(default=None, compare=False, repr=False)


class Judges:
    """The judge for each kind of answer, loaded on first use."""

    def __init__(
        self, grader: str | None = None, options: Mapping[str, Any] | None = None, extract: str | None = None
    ) -> None:
        self._grader, self._options, self._extract = grader, options or {}, extract
        self._loaded: dict[str, Equivalence] = {}

    def name(self, kind: AnswerKind) -> str:
        """The name of the judge for this kind of answer.

        Raises:
            InputError: the user has not named a judge for free text.
        """
        if kind == "choice":
            return "exact"
        if self._grader is None and kind == "text":
            raise InputError("free text has no default judge: choose a judge, for example --grader verifier.")
        return self._grader or "math"

    def extract(self, kind: AnswerKind) -> str | None:
        """The extractor that finds the answer in a response; None: the default of the judge."""
        return self._extract or ("choice" if kind == "choice" else None)

    def load(self, kind: AnswerKind) -> Equivalence:
        """The judge for this kind of answer."""
        name = self.name(kind)
        if name not in self._loaded:
            self._loaded[name] = load_equivalence(name, **(self._options if name == self._grader else {}))
        return self._loaded[name]

    def check(self, kinds: Iterable[AnswerKind]) -> None:
        """Load each judge, then release it. `evaluate` calls this before hours of sampling, to find errors early.

        Raises:
            SemanticEntropyError: a judge does not exist, does not accept the options, or cannot be loaded.
        """
        for kind in kinds:
            self.load(kind)
        self.close()

    def describe(self, kind: AnswerKind) -> dict[str, Any]:
        """The names of the judge and the extractor, and the versions of the judge's libraries, for `results.json`."""
        judge = self.load(kind)
        return {"judge": judge.describe(), "extract": self.extract(kind) or "the judge's own", **judge.versions}

    def close(self) -> None:
        """Stop worker processes and release models."""
        for judge in self._loaded.values():
            judge.close()
        self._loaded.clear()


def grade(
    questions: Sequence[EvaluationQuestion],
    responses: Sequence[Sequence[Response]],
    n: int,
    kind: AnswerKind,
    judges: Judges,
    progress: Callable[[int, int], None],
) -> list[Grade]:
    """The grade of each question, computed from its first n responses. `progress` is called with (done, total)."""
    grades: list[Grade] = []
    with Scorer(equivalence=judges.load(kind), extract=judges.extract(kind), long=False) as scorer:
        grader = Grader(scorer)
        for start in range(0, len(questions), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            grades += _grade(questions[chunk], responses[chunk], n, scorer, grader)
            progress(len(grades), len(questions))
    return grades


def _grade(
    questions: Sequence[EvaluationQuestion],
    responses: Sequence[Sequence[Response]],
    n: int,
    scorer: Scorer,
    grader: Grader,
) -> list[Grade]:
    with_responses = [i for i, group in enumerate(responses) if group]
    texts = [[response.text for response in responses[i]] for i in with_responses]
    asked = [questions[i].text for i in with_responses]
    measured = scorer.estimate(texts, question=asked) if with_responses else []
    results = dict(zip(with_responses, measured, strict=True))
    pairs = list(
        dict.fromkeys(
            (questions[i].text, answer, gold)
            for i, result in results.items()
            if (gold := questions[i].gold) is not None
            for answer in result.answers
            if answer is not None
        )
    )
    verdicts = dict(zip(pairs, grader.verdicts(pairs), strict=True))
    return [
        _question_grade(question, responses[i], n, results.get(i), verdicts) for i, question in enumerate(questions)
    ]


def _question_grade(
    question: EvaluationQuestion,
    responses: Sequence[Response],
    n: int,
    result: Result | None,
    verdicts: Mapping[Any, bool | None],
) -> Grade:
    missing = n - len(responses)
    answers = (*(result.answers if result else ()), *[None] * missing)
    common: dict[str, Any] = {
        "answers": answers,
        "present": len(responses),
        "cut_off": sum(response.cut_off for response in responses),
        "tokens": sum(response.tokens for response in responses),
        "entropy": result.entropy if result else math.nan,
        "result": result,
    }
    if question.gold is None:
        return Grade(right=(None,) * n, undecided=(False,) * n, majority=None, **common)
    decided = [None if a is None else verdicts[question.text, a, question.gold] for a in answers]
    majority = result.answer if result else None
    return Grade(
        right=tuple(verdict is True for verdict in decided),
        undecided=tuple(verdict is None and a is not None for verdict, a in zip(decided, answers, strict=True)),
        majority=majority is not None and verdicts[question.text, majority, question.gold] is True,
        **common,
    )
