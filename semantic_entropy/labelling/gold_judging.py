"""A judge compares answers with gold answers: an answer is right if it means the same as one of them.

The gold answers of a row are asked for one after another, in one batch for all rows, and a row that is right asks no
more. A row is wrong if the judge says "not the same" about all its gold answers. If the judge could not decide about
one of them, and no other is the same, the row is undecided: it gets no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from semantic_entropy.clusters import Equivalence, load_extractor
from semantic_entropy.clusters.clusterers import Representative
from semantic_entropy.contracts import describe, extract_answers
from semantic_entropy.labelling.items import LabelItem
from semantic_entropy.labelling.labelled_file import JudgeLabel
from semantic_entropy.measuring.judges import first_suited
from semantic_entropy.measuring.pipeline import Job
from semantic_entropy.measuring.pipeline import run as run_pipeline
from semantic_entropy.scorer import Scorer
from semantic_entropy.types import Group

UNDECIDED, NO_GOLD, NO_ANSWER = "undecided", "no gold answer", "no answer"


@dataclass(frozen=True, slots=True)
class GoldTask:
    """An answer, its gold answers, and the judge that compares them. All are extracted."""

    question: str | None
    answer: str
    gold: tuple[str, ...]
    gold_digest: str
    judge: Equivalence

    def label(self, correct: bool) -> JudgeLabel:
        """The label that the judge gives."""
        return JudgeLabel(describe("equivalence", self.judge), correct, self.gold_digest)


class GoldJudge:
    """Compares answers with gold answers.

    Args:
        scorer: its judge, its extractor and its verdict cache are used.
        no_answer_is_wrong: whether an answer that is missing, empty or a refusal is wrong. Otherwise it has no label.
    """

    def __init__(self, scorer: Scorer, *, no_answer_is_wrong: bool = False) -> None:
        self._judges = [(judge, "") for judge in scorer.components["equivalence"]]
        self._cache = scorer.cache
        extract = scorer.choices["extract"]
        self._extract = None if extract is None else load_extractor(extract)
        self._no_answer_is_wrong = no_answer_is_wrong

    def task(self, item: LabelItem) -> GoldTask | JudgeLabel | str:
        """Return what the judge is asked for, or the label that needs no judge, or the reason why there is no label."""
        if not item.gold:
            return NO_GOLD
        given = [] if item.answer is None else [item.answer]
        judge, _ = first_suited(self._judges, Group((*given, *item.gold), item.question), None)
        answer = item.answer if item.extracted or not given else self._extracted(judge, given)[0]
        if answer is None:
            missing = JudgeLabel(describe("equivalence", judge), correct=False, gold=item.gold_digest)
            return missing if self._no_answer_is_wrong else NO_ANSWER
        extracted = self._extracted(judge, item.gold)
        gold = tuple(found or given for found, given in zip(extracted, item.gold, strict=True))
        return GoldTask(item.question, answer, tuple(dict.fromkeys(gold)), item.gold_digest, judge)

    def decide(self, tasks: Sequence[GoldTask]) -> list[JudgeLabel | str]:
        """Return the label of each task, or the reason why there is none."""
        found: list[JudgeLabel | str] = [task.label(correct=False) for task in tasks]
        open_, turn = list(range(len(tasks))), 0
        while open_:
            jobs = [
                Job(task.question, [task.answer, task.gold[turn]], task.judge, Representative())
                for task in (tasks[i] for i in open_)
            ]
            still_open = []
            for i, clustering in zip(open_, run_pipeline(jobs, self._cache), strict=True):
                if clustering.labels[0] == clustering.labels[1]:
                    found[i] = tasks[i].label(correct=True)
                    continue
                if clustering.undecided:
                    _, reason = clustering.undecided[0]
                    found[i] = f"{UNDECIDED}: {reason or 'the judge gave no reason'}"
                if turn + 1 < len(tasks[i].gold):
                    still_open.append(i)
            open_, turn = still_open, turn + 1
        return found

    def _extracted(self, judge: Equivalence, texts: Sequence[str]) -> Sequence[str | None]:
        return list(map(self._extract, texts)) if self._extract else extract_answers(judge, texts)
