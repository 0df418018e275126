"""Natural Reasoning, filtered as the paper's Algorithm 4 (Appendix G) does.

    len(answer) > 0, len(answer) < 129, len(response) < 4096, len(question) < 512,
    neither "prove" nor "proof" in the question's lower case ("improve" holds "prove")

All lengths are in characters, as printed. For the response the paper's text says tokens where its code says `len`: the
code is followed, and `length` counts otherwise. The hub's data set has changed since: `responses` is a list of objects
with a field `response`, where the paper's code reads `llama_responses`. Of several the longest is measured, and the
first kept; `len` of the list would count responses and remove nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from empo_rl.data.draw import Row
from empo_rl.data.preparation import Columns, Preparation, Removed, responses, text

LONGEST_ANSWER, LONGEST_RESPONSE, LONGEST_QUESTION = 129, 4096, 512  # Algorithm 4: the first length that is too long

NO_QUESTION = "no question"
NO_ANSWER = "no answer"
LONG_ANSWER = f"answer of {LONGEST_ANSWER} characters or more"
LONG_QUESTION = f"question of {LONGEST_QUESTION} characters or more"
PROVE, PROOF = '"prove" in the question', '"proof" in the question'


def natural(length: Callable[[str], int] = len, unit: str = "characters") -> Preparation:
    """How Natural Reasoning is prepared. `length` of a response, in `unit`."""
    long_response = f"response of {LONGEST_RESPONSE} {unit} or more"

    def row(record: Mapping[str, Any], place: str, columns: Columns) -> Row | Removed:
        question = text(record, columns, "question", place)
        answer = text(record, columns, "answer", place)
        texts = responses(record, columns, "response", place) if columns["response"] else []
        if question is None:
            return Removed(NO_QUESTION)
        if answer is None:
            return Removed(NO_ANSWER)
        if len(answer) >= LONGEST_ANSWER:
            return Removed(LONG_ANSWER)
        if any(length(each) >= LONGEST_RESPONSE for each in texts):
            return Removed(long_response)
        rule = _broken(question)
        return Removed(rule) if rule else {"question": question, "answer": answer, "response": next(iter(texts), None)}

    return Preparation(
        name="natural",
        source="facebook/natural_reasoning",
        count=18_000,
        columns={"question": "question", "answer": "reference_answer", "response": "responses.response"},
        optional=frozenset({"response"}),
        rules=(NO_QUESTION, NO_ANSWER, LONG_ANSWER, long_response, LONG_QUESTION, PROVE, PROOF),
        row=row,
    )


def _broken(question: str) -> str | None:
    """The first of the rules about the question that it breaks."""
    asked = question.lower()
    rules = {
        LONG_QUESTION: len(question) >= LONGEST_QUESTION,
        PROVE: "prove" in asked,
        PROOF: "proof" in asked,
    }
    return next((rule for rule, breaks in rules.items() if breaks), None)
