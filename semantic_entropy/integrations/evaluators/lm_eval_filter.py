"""Semantic entropy in lm-evaluation-harness: two filters and two metrics for tasks with `repeats`.

lm-eval has no entry points: a task's YAML names this module with `!function`, which needs no flag of the command line.

    repeats: 10
    generation_kwargs: {do_sample: true, temperature: 1.0}
    filter_list:
      - name: majority                          # the usual metrics score the answer of the largest meaning
        filter:
          - function: !function semantic_entropy.integrations.evaluators.lm_eval_filter.SemanticMajority

With `SemanticEntropyFilter` and `process_results` instead, the metrics of the task are the mean entropy in nats, over
the documents that have one, and the share of the documents that have none. After `import` of this module, the filters
also have names: `semantic_majority` and `semantic_entropy`.

The question of a document is the field that `question=` names, or one with a common name. Source: `lm_eval.api.filter`
and docs/task_guide.md of lm-evaluation-harness.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lm_eval.api.filter import Filter
from lm_eval.api.registry import register_filter

from semantic_entropy.errors import InputError
from semantic_entropy.integrations.evaluators.logged_answers import (
    SCORE_NAME,
    AnswerScore,
    LoggedAnswers,
    question_text,
    score_answers,
)


class _AnswersFilter(Filter):  # type: ignore[misc]  # lm-eval has no types
    """Measures the responses to each document. The arguments are those of `estimate`.

    Args:
        question: the field of a document with the question; None: a field with a common name, such as "question".
        **choices: the arguments of `semantic_entropy.estimate`, such as `equivalence` and `extract`.
    """

    def __init__(self, question: str | None = None, **choices: Any) -> None:
        super().__init__()
        self.question, self.choices = question, choices

    def scores(self, resps: Iterable[Sequence[Any]], docs: Iterable[Any]) -> list[AnswerScore]:
        groups = []
        for number, (responses, doc) in enumerate(zip(resps, docs, strict=True)):
            if isinstance(responses, str) or not all(isinstance(text, str) for text in responses):
                raise InputError(
                    f"document {number} has {responses!r:.60} in place of a list of texts: this filter comes first, "
                    "or after filters that keep all responses, in a task of the type generate_until"
                )
            question = question_text(doc, self.question) if isinstance(doc, Mapping) else None
            groups.append(LoggedAnswers(question, tuple(responses)))
        return score_answers(groups, **self.choices)


@register_filter("semantic_majority")
class SemanticMajority(_AnswersFilter):
    """Replaces the responses to a document by one of them: the first with the most probable meaning.

    Without a valid answer, the first response remains, as it is. One response needs no vote.
    """

    def apply(self, resps: Iterable[Sequence[str]], docs: Iterable[Any]) -> list[list[str]]:
        """Return one response for each document, in a list."""
        measured = self.scores(resps, docs)
        return [[score.answers.responses[_majority(score)]] for score in measured]


def _majority(score: AnswerScore) -> int:
    """The index of the first response in the most probable cluster of valid answers."""
    result = score.result
    if result is None:
        return 0
    valid = [cluster for cluster in result.clusters if cluster.representative is not None]
    return min(max(valid, key=lambda cluster: cluster.share).indices) if valid else 0


@register_filter("semantic_entropy")
class SemanticEntropyFilter(_AnswersFilter):
    """Replaces the responses to a document by what was measured, which `process_results` reads.

    `--log_samples` writes it: the entropy (null: unknown), the meanings, the warnings and the reason.
    """

    def apply(self, resps: Iterable[Sequence[str]], docs: Iterable[Any]) -> list[dict[str, Any]]:
        """Return the measured values of each document."""
        return [{SCORE_NAME: score.value, **score.metadata()} for score in self.scores(resps, docs)]


def process_results(doc: Any, results: Sequence[Any]) -> dict[str, float]:  # noqa: ARG001  # the interface
    """Return the metrics of a document: `semantic_entropy`, only if it is known, and `semantic_entropy_missing`.

    Raises:
        InputError: the filter of the task is not `SemanticEntropyFilter`.
    """
    found = results[0] if results else None
    if not isinstance(found, Mapping) or SCORE_NAME not in found:
        raise InputError(
            f"process_results got {found!r:.60}: each entry of filter_list needs the filter SemanticEntropyFilter"
        )
    value = found[SCORE_NAME]
    return {f"{SCORE_NAME}_missing": 1.0} if value is None else {SCORE_NAME: value, f"{SCORE_NAME}_missing": 0.0}
