"""The evaluation sets: where each lies on the hub, what its columns are called, how it is asked and graded.

    math      MATH-500, Minerva, OlympiadBench, AIME24, AMC23      Tables 1 and 3
    natural   MMLU-Pro, GPQA diamond                               Table 2
    omni      Omni-MATH                                            Figure 4

The paper names the sets, not the copies of them; these are the ones in general use. It does not say either which of
MMLU-Pro's 14 categories make up its four columns. `MMLU_PRO_GROUPS` is the map of MMLU (Hendrycks et al. 2021), and the
one under which the paper's own averages, weighted by questions, come out in each row of Table 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from semantic_entropy import InputError, nearest

Kind = Literal["math", "choice", "text"]

MMLU_PRO_GROUPS: Mapping[str, str] = {
    "math": "STEM",
    "physics": "STEM",
    "chemistry": "STEM",
    "engineering": "STEM",
    "biology": "STEM",
    "computer science": "STEM",
    "law": "Humanities",
    "philosophy": "Humanities",
    "history": "Humanities",
    "economics": "Social",
    "psychology": "Social",
    "health": "Other",
    "business": "Other",
    "other": "Other",
}


@dataclass(frozen=True, slots=True)
class Columns:
    """What a set's columns are called. Of several names the first that a row has counts.

    answer: the gold answer: a text or a number, or a list of them (they are joined by commas).
    solution: whence the gold answer is the last box, where a row has no answer.
    options: the choices of a question, in the order of their letters.
    wrong: columns of wrong choices; the choices are these and the answer, shuffled under a seed.
    category: what the set's groups go by.
    worked: a solution in full, for examples (`--few-shot`).
    """

    question: tuple[str, ...] = ("question", "problem")
    answer: tuple[str, ...] = ("answer", "final_answer")
    solution: tuple[str, ...] = ("solution",)
    options: tuple[str, ...] = ("options", "choices")
    wrong: tuple[str, ...] = ()
    category: str | None = None
    worked: tuple[str, ...] = ("solution", "cot_content")


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """One set of questions.

    title: its column in a table.
    kind: how answers are graded: "math", "choice" (a letter), or "text" (by a judge).
    template: a name of `empo_rl.config.templates.TEMPLATES`.
    groups: category -> column of a table, where a set has several.
    examples: the split that examples come from; None: it has none.
    """

    name: str
    title: str
    dataset: str
    split: str
    kind: Kind
    template: str
    subset: str | None = None
    columns: Columns = Columns()
    groups: Mapping[str, str] | None = None
    examples: str | None = None


_GPQA = Columns(
    question=("Question", "question"),
    answer=("Correct Answer", "answer"),
    solution=(),
    wrong=("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
    worked=("Explanation",),
)

SETS: Mapping[str, QuestionSet] = {
    one.name: one
    for one in (
        QuestionSet("math500", "MATH", "HuggingFaceH4/MATH-500", "test", "math", "math"),
        QuestionSet("minerva_math", "Minerva", "math-ai/minervamath", "test", "math", "math"),
        QuestionSet("olympiadbench", "Olympiad", "math-ai/olympiadbench", "test", "math", "math"),
        QuestionSet("aime24", "AIME24", "HuggingFaceH4/aime_2024", "train", "math", "math"),
        QuestionSet("amc23", "AMC23", "math-ai/amc23", "test", "math", "math"),
        QuestionSet("omni_math", "Omni-MATH", "KbsdJames/Omni-MATH", "test", "math", "math"),
        QuestionSet(
            "mmlu_pro",
            "MMLU-Pro",
            "TIGER-Lab/MMLU-Pro",
            "test",
            "choice",
            "mmlu-pro",
            columns=Columns(category="category"),
            groups=MMLU_PRO_GROUPS,
            examples="validation",
        ),
        QuestionSet(
            "gpqa_diamond", "GPQA", "Idavidrein/gpqa", "train", "choice", "gpqa", subset="gpqa_diamond", columns=_GPQA
        ),
        QuestionSet("gpqa_main", "GPQA main", "Idavidrein/gpqa", "train", "choice", "gpqa", "gpqa_main", _GPQA),
    )
}

SUITES: Mapping[str, tuple[str, ...]] = {
    "math": ("math500", "minerva_math", "olympiadbench", "aime24", "amc23"),
    "natural": ("mmlu_pro", "gpqa_diamond"),
    "omni": ("omni_math",),
}


def sets_of(names: Sequence[str]) -> list[QuestionSet]:
    """The sets of suites or single sets by name, each once, in this order.

    Raises:
        InputError: no suite or set of that name; names the nearest.
    """
    found: dict[str, QuestionSet] = {}
    for name in names:
        if name not in SUITES and name not in SETS:
            known = [*SUITES, *SETS]
            near = nearest(name, known)
            raise InputError(f"--suite: {name!r} is no suite and no set.{near} Choose from: {', '.join(known)}.")
        for one in SUITES.get(name, (name,)):
            found[one] = SETS[one]
    return list(found.values())
