"""Semantic entropy inside evaluation tools: inspect_ai, lm-evaluation-harness, MLflow and Langfuse, one module each.

`logged_answers` has what the tools share. Each tool is an extra, and only its own module imports it: this file imports
no tool. Docs: how-to/evaluators.md.
"""

from semantic_entropy.integrations.evaluators.logged_answers import (
    AnswerScore,
    LoggedAnswers,
    LoggedText,
    ScoringSummary,
    group_by_question,
    score_answers,
)

__all__ = ["AnswerScore", "LoggedAnswers", "LoggedText", "ScoringSummary", "group_by_question", "score_answers"]
