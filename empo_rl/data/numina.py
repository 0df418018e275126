r"""NuminaMath-CoT: a question, its solution, and as its answer what the solution's last `\boxed{}` holds.

The paper draws 20,000 of its questions "without additional data engineering" (section 4.1, Appendix G). Neither its
seed nor its way of drawing is printed: these are other 20,000. Answers are read with balanced braces, so that
`\boxed{\frac{1}{2}}` is whole; a proof has none (null), and needs none to be trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from empo_rl.data.draw import Row
from empo_rl.data.preparation import Columns, Preparation, Removed, text
from semantic_entropy import load_extractor

NO_QUESTION = "no question"
NO_ANSWER = r"no \boxed answer (--answered)"


def numina(*, answered: bool = False) -> Preparation:
    """How NuminaMath-CoT is prepared. `answered`: only questions whose solution boxes an answer."""
    boxed = load_extractor("boxed")

    def row(record: Mapping[str, Any], place: str, columns: Columns) -> Row | Removed:
        question = text(record, columns, "question", place)
        if question is None:
            return Removed(NO_QUESTION)
        solution = text(record, columns, "solution", place)
        answer = boxed(solution) if solution else None
        if answered and answer is None:
            return Removed(NO_ANSWER)
        source = text(record, columns, "source", place)
        return {"question": question, "answer": answer, "solution": solution, "source": source}

    return Preparation(
        name="numina",
        source="AI-MO/NuminaMath-CoT",
        count=20_000,
        columns={"question": "problem", "solution": "solution", "source": "source"},
        optional=frozenset({"source"}),
        rules=(NO_QUESTION, NO_ANSWER) if answered else (NO_QUESTION,),
        row=row,
    )
