"""`label_file`: label the rows of a file from Python, as `semantic-entropy label` does."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any

from semantic_entropy.errors import InputError
from semantic_entropy.io import InputOptions
from semantic_entropy.labelling.items import ItemOptions
from semantic_entropy.labelling.label_run import LabelRun
from semantic_entropy.labelling.label_summary import LabelSummary
from semantic_entropy.labelling.page import read_labels
from semantic_entropy.scorer import Scorer
from semantic_entropy.tables import FieldNames


def label_file(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    gold: str | Sequence[str] = (),
    labels: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    answer: str | None = None,
    correct: str = "correct",
    responses: str = "responses",
    question: str | None = None,
    input_format: str | None = None,
    no_answer_is_wrong: bool = False,
    again: bool = False,
    progress: bool = False,
    **choices: Any,
) -> LabelSummary:
    """Label the rows of a file: is the main answer right? Continue an existing output.

    The output has the rows of the input with the fields `answer_correct` and `label`, which says who made the label.

    Args:
        source: the input, an output of `estimate_file` or any of its inputs.
        output: the file for the labelled rows, JSON lines.
        gold: the field with the gold answer, or several. A judge compares the main answer with it.
        labels: exports of a labelling page, or labelled files, whose labels are taken over before the judge labels.
        answer: the field with the answer that is labelled; None: the greedy answer, or the result's main answer.
        correct: the field with the labels of the responses.
        responses: the field with the responses.
        question: the field with the question; None: it is found.
        input_format: the format of the input; None: it is found.
        no_answer_is_wrong: whether an answer that is missing or a refusal is wrong; otherwise it has no label.
        again: make the labels of judges again. Labels of people stay.
        progress: whether a progress bar is shown.
        **choices: the arguments of `Scorer` for the judge, such as `equivalence`, `equivalence_options`, `extract` and
            `cache`.

    Returns:
        How many rows have a label, by whom, and with `still_needed(alpha, delta)` how many labels a guarantee needs.

    Raises:
        InputError: neither `gold` nor `labels` is given, the input cannot be read, the output has labels of another
            judge, or no label belongs to a row.
    """
    fields = (gold,) if isinstance(gold, str) else tuple(gold)
    exports = (labels,) if isinstance(labels, str | PathLike) else tuple(labels)
    if not fields and not exports:
        raise InputError("nobody decides: pass gold=, the field with the gold answers, or labels=, an export of labels")
    if choices and not fields:
        raise InputError(f"{', '.join(choices)}: these choose a judge, which needs gold=, the field with the answers")
    cache = choices.get("cache")
    run = LabelRun(
        fspath(source),
        fspath(output),
        names=FieldNames(responses=responses, question=question),
        options=InputOptions(input_format),
        items=ItemOptions(answer, fields, (), correct),
        cache=None if cache is None else fspath(cache),
    )
    with run:
        for name in exports:
            run.take_over(read_labels(fspath(name)), fspath(name))
        if fields:
            with Scorer(**choices) as scorer:
                run.judge(scorer, no_answer_is_wrong=no_answer_is_wrong, again=again, progress=progress)
        return run.finish()
