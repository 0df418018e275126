"""Define the evaluation sets: dataset on the hub, column names, prompt template, and kind of answers.

    math      MATH-500, Minerva, OlympiadBench, AIME24, AMC23      Tables 1 and 3
    natural   MMLU-Pro, GPQA diamond                               Table 2
    omni      Omni-MATH                                            Figure 4

The paper names the sets, but not the datasets on the hub. The datasets here are in general use. The paper also does not
say how the 14 categories of MMLU-Pro form the four columns of Table 2. `MMLU_PRO_GROUPS` is the map of MMLU (Hendrycks
et al. 2021). With this map, the question-weighted average of the four columns equals the printed average in each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from semantic_entropy import InputError, nearest

AnswerKind = Literal["math", "choice", "text"]
"""How answers are graded: as mathematics, as a letter, or as free text by a judge."""

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


GoldPolicy = Literal["required", "nullable", "optional"]
"""Whether a row needs a gold answer. "required": yes; "nullable": it needs the column, which may be null or empty;
"optional": it may lack the column, too. A question without a gold answer counts only in the semantic entropy."""


@dataclass(frozen=True, slots=True)
class SetColumns:
    """Column names of an evaluation set. If a role has several names, the first name that a row contains is read.

    Attributes:
        question: the question.
        answer: the gold answer: text, a number, or a list of texts and numbers, which are joined by commas.
        solution: a solution. If a row has no answer, the content of the last box of its solution is the gold answer.
        options: the choices of a question, in the order of their letters.
        wrong: one column for each wrong choice. The choices of a question are the wrong choices and the answer,
            shuffled with the seed.
        category: the category of a question; `QuestionSet.groups` maps a category to its group.
        worked: a complete solution, for examples (`--few-shot`).
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
    """One evaluation set.

    Attributes:
        name: name in options and files.
        title: heading of the set's column in a table.
        dataset: name of the Hugging Face dataset.
        split: split of the dataset.
        kind: kind of the answers, which determines the grading.
        template: a name in `empo_rl.config.templates.TEMPLATES`.
        subset: subset of the dataset.
        columns: names of the columns.
        groups: category -> group; each group of the set has its own column in the table.
        examples: the split with the few-shot examples; None: the set has no split for examples.
        golds: whether each row needs a gold answer.
    """

    name: str
    title: str
    dataset: str
    split: str
    kind: AnswerKind
    template: str
    subset: str | None = None
    columns: SetColumns = SetColumns()
    groups: Mapping[str, str] | None = None
    examples: str | None = None
    golds: GoldPolicy = "required"


_GPQA = SetColumns(
    question=("Question", "question"),
    answer=("Correct Answer", "answer"),
    solution=(),
    wrong=("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
    worked=("Explanation",),
)

SETS: Mapping[str, QuestionSet] = {
    question_set.name: question_set
    for question_set in (
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
            columns=SetColumns(category="category"),
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


def select_sets(names: Sequence[str]) -> list[QuestionSet]:
    """The sets with these names. A suite stands for its sets. The order is that of `names`; each set is returned once.

    Raises:
        InputError: a name is neither a suite nor a set; the message suggests the nearest name.
    """
    found: dict[str, QuestionSet] = {}
    for name in names:
        if name not in SUITES and name not in SETS:
            known = [*SUITES, *SETS]
            raise InputError(
                f"--suite: {name!r} is neither a suite nor a set.{nearest(name, known)} "
                f"Choose from: {', '.join(known)}."
            )
        for set_name in SUITES.get(name, (name,)):
            found[set_name] = SETS[set_name]
    return list(found.values())
