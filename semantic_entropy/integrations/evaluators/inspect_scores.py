"""Semantic entropy in inspect_ai: a reducer over epochs, a scorer that samples, and a function that scores a log.

    Epochs(10, "semantic_entropy/entropy")          the scores of 10 epochs become one: the entropy of their answers
    scorer=sampled_entropy(n=10)                    10 more answers in one epoch; their entropy is the score
    score_log("logs/2026-11-27_task.eval")          the epochs of a finished evaluation; the scores go into the log

inspect_ai finds the first two by its entry points; a name needs the package in front. A number that is not known is
NaN, which inspect_ai leaves out of metrics and counts as unscored. The explanation has the meanings, or the reason.

An answer of the reducer is `Score.answer`, as the scorer of the task extracted it. The answers `None` and the value "N"
(no answer) are invalid answers. Reducers get no question, so judges that read it compare without. `score_log` reads the
whole completions and the question.

Source: `inspect_ai.scorer`, "Reducing Epochs" and "Custom Reducers" in its documentation.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from inspect_ai import score as inspect_score
from inspect_ai.log import EvalLog, EvalSample, read_eval_log, resolve_sample_attachments, write_eval_log
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import (
    NOANSWER,
    Score,
    Scorer,
    ScoreReducer,
    Target,
    mean,
    mean_score,
    score_reducer,
    scorer,
    stderr,
)
from inspect_ai.solver import TaskState
from inspect_ai.util import collect

from semantic_entropy.errors import InputError
from semantic_entropy.integrations.evaluators.logged_answers import (
    SCORE_NAME,
    SOURCE,
    AnswerScore,
    LoggedAnswers,
    ScoringSummary,
    score_answers,
)
from semantic_entropy.progress import run_cancellable

_MEASURED: ContextVar[Mapping[str, AnswerScore] | None] = ContextVar("measured", default=None)


# inspect_ai puts the package before the name of a scorer, and not before that of a reducer.
@score_reducer(name="semantic_entropy/entropy")  # type: ignore[untyped-decorator]
def entropy(field: str = "answer", **choices: Any) -> ScoreReducer:
    """Reduce the scores of the epochs to the semantic entropy of their answers, in nats.

    Scores that are entropies already, such as those of `score_log`, become their mean.

    Args:
        field: the answer of an epoch: "answer" or "explanation" of its score, or a name in the score's metadata.
        **choices: the arguments of `semantic_entropy.estimate`, such as `equivalence` and `extract`.
    """

    def reduce(scores: list[Score]) -> Score:
        if all((score.metadata or {}).get("source") == SOURCE for score in scores):
            return mean_score()(scores)
        (measured,) = score_answers([LoggedAnswers(None, tuple(_answer(score, field) for score in scores))], **choices)
        return _as_score(measured)

    return reduce


@scorer(metrics=[mean(), stderr()])  # type: ignore[untyped-decorator]
def sampled_entropy(n: int = 10, temperature: float = 1.0, **choices: Any) -> Scorer:
    """Ask the evaluated model the same question n more times, and score the semantic entropy of these answers.

    The model answers the messages before its last reply: a task with tools or several turns needs epochs in place of
    this scorer.

    Args:
        n: the number of answers, at least 2.
        temperature: the temperature of the answers.
        **choices: the arguments of `semantic_entropy.estimate`, such as `equivalence` and `extract`.
    """
    if n < 2:
        raise InputError(f"n={n}: an entropy needs at least 2 answers")

    async def score(state: TaskState, target: Target) -> Score:  # noqa: ARG001  # the interface
        messages = list(state.messages)
        while messages and messages[-1].role == "assistant":
            messages.pop()
        model = get_model()
        config = GenerateConfig(temperature=temperature, cache=False)
        outputs = await collect(*(model.generate(messages, config=config) for _ in range(n)))
        answers = LoggedAnswers(state.input_text, tuple(output.completion for output in outputs))
        (measured,) = await run_cancellable(lambda: score_answers([answers], **choices))
        return _as_score(measured)

    return score


def score_log(
    log: str | PathLike[str] | EvalLog, output: str | PathLike[str] | None = None, **choices: Any
) -> ScoringSummary:
    """Score the epochs of a finished evaluation, and write the score `semantic_entropy` into its log.

    Each epoch of a sample gets the score of the sample. The scores of a second run replace those of the first. Epochs
    that ended with an error, or without an output, are not answers; the summary lists them.

    Args:
        log: the log file, or a log that `read_eval_log` returned, which changes in place and is written only with
            `output`.
        output: the file to write; None: the log file itself.
        **choices: the arguments of `semantic_entropy.estimate`, such as `equivalence` and `extract`.

    Raises:
        InputError: the log has no samples.
        SemanticEntropyError: the errors of `estimate`.
    """
    read = log if isinstance(log, EvalLog) else read_eval_log(fspath(log))
    if not read.samples:
        raise InputError(f"{read.location or 'the log'} has no samples: it has only a header, or nothing was evaluated")
    _remove_scores(read)
    answers, unreadable = _answers(read.samples)
    measured = dict(zip(answers, score_answers(answers.values(), **choices), strict=True))
    reducers, token = read.eval.config.epochs_reducer, _MEASURED.set(measured)
    try:  # the epochs of a sample have equal scores; the reducers of the evaluation may be of another kind
        inspect_score(read, logged_entropy(), epochs_reducer="mean", action="append", model="none/none", copy=False)
    finally:
        _MEASURED.reset(token)
        read.eval.config.epochs_reducer = reducers
    place = output if output is not None or isinstance(log, EvalLog) else log
    if place is not None:
        _write(read, fspath(place))
    scores = tuple(measured.values())
    written = sum(len(score.answers.entries) for score in scores if score.value is not None)
    return ScoringSummary(scores, written, unreadable)


@scorer(metrics=[mean(), stderr()], name=SCORE_NAME)  # type: ignore[untyped-decorator]
def logged_entropy() -> Scorer:
    """The scorer that `score_log` runs. inspect_ai needs it to read the metrics of a scored log."""

    async def score(state: TaskState, target: Target) -> Score:  # noqa: ARG001  # the interface
        measured = (_MEASURED.get() or {}).get(str(state.sample_id))
        if measured is None:
            return Score.unscored(explanation="no epoch was measured: call score_log(LOG) of semantic_entropy")
        return _as_score(measured)

    return score


def _answer(score: Score, field: str) -> str:
    if score.value == NOANSWER:
        return ""
    found = getattr(score, field) if field in ("answer", "explanation") else (score.metadata or {}).get(field)
    return "" if found is None else str(found)


def _as_score(measured: AnswerScore) -> Score:
    answer = measured.result.answer if measured.result else None
    if measured.value is None:
        return Score.unscored(answer=answer, explanation=measured.comment, metadata=measured.metadata())
    return Score(value=measured.value, answer=answer, explanation=measured.comment, metadata=measured.metadata())


def _answers(samples: Sequence[EvalSample]) -> tuple[dict[str, LoggedAnswers], dict[str, str]]:
    """Return the answers of each sample by its id, and the epochs without an answer."""
    epochs, unreadable = defaultdict(list), {}
    for sample in samples:
        epochs[str(sample.id)].append(sample)
    answers = {}
    for key, members in epochs.items():
        texts, names, question = [], [], None
        for sample in sorted(members, key=lambda member: member.epoch):
            whole = resolve_sample_attachments(sample)
            question = question or _question(whole)
            name = f"{key} epoch {sample.epoch}"
            if sample.error is not None:
                unreadable[name] = f"the epoch ended with an error: {sample.error.message}"
            elif not whole.output.choices:
                unreadable[name] = f"the epoch has no output{f': {whole.output.error}' * bool(whole.output.error)}"
            else:
                found = [choice.message.text for choice in whole.output.choices]
                texts += found
                names.append(name)
        answers[key] = LoggedAnswers(question, tuple(texts), tuple(names))
    return answers, unreadable


def _question(sample: EvalSample) -> str | None:
    if isinstance(sample.input, str):
        return sample.input
    return next((message.text for message in reversed(sample.input) if message.role == "user"), None)


def _write(log: EvalLog, place: str) -> None:
    """Write a local log beside its place first: a run that is killed leaves the old log whole."""
    if "://" in place:
        write_eval_log(log, place)
        return
    final = Path(place)
    beside = final.with_name(f".{os.getpid()}.{final.name}")
    try:
        write_eval_log(log, str(beside))
        beside.replace(final)
    finally:
        beside.unlink(missing_ok=True)


def _remove_scores(log: EvalLog) -> None:
    """Remove what an earlier run of `score_log` wrote, so that a second run replaces it."""
    for sample in log.samples or ():
        (sample.scores or {}).pop(SCORE_NAME, None)
    if log.results:
        log.results.scores = [each for each in log.results.scores if each.name != SCORE_NAME]
    log.reductions = [each for each in log.reductions or () if each.scorer != SCORE_NAME] or None
    if log.eval.scorers:
        log.eval.scorers = [each for each in log.eval.scorers if each.name.rpartition("/")[2] != SCORE_NAME]
