"""The data of one row in the page: short names, no field with its usual value, and each repeated text once.

The script of the page reads these fields, and nothing else; `page.js` names the same ones.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from semantic_entropy.report.findings import RankScore, ResponseAgreement, decision, reasons, score_of
from semantic_entropy.report.least_supported import sentence_fields
from semantic_entropy.report.scored_rows import ReportRow, known
from semantic_entropy.results import Provenance, Result

_COUNTS = ("asked", "cached", "undecided")
_OF_EACH_ROW = {"usage", "sampling_usage", "replies_usage", "decided_by", *_COUNTS}  # not parts of the method


class Texts:
    """Texts that several rows have, each stored once.

    Attributes:
        listed: the texts.
    """

    def __init__(self) -> None:
        self.listed: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the index of a text in `listed`."""
        if text not in self._numbers:
            self._numbers[text] = len(self.listed)
            self.listed.append(text)
        return self._numbers[text]


def shown_answer(result: Result) -> str | None:
    """Return the answer that a row shows: the long answer whose sentences are scored, else the main answer."""
    return result.answer if result.long_answer is None else result.long_answer.answer


def row_fields(
    row: ReportRow, agreement: ResponseAgreement, rank: int, score: RankScore, texts: Texts
) -> dict[str, Any]:
    """Return the data of a row.

    Args:
        row: the row.
        agreement: how far its responses agree.
        rank: its place in the ranking, from 0: the most uncertain row.
        score: the score of the ranking.
        texts: where repeated texts are stored.
    """
    result = row.result
    fields: dict[str, Any] = {
        "id": row.id,
        "question": row.question,
        "answer": shown_answer(result),
        "rank": rank,
        "score": _rounded(score_of(result, score)),
        "entropy": _rounded(result.entropy),
        "normalized": _rounded(result.normalized),
        "band": agreement.band,
        "largest": agreement.largest,
        "counted": agreement.counted,
        "valid": result.n_valid,
        "responses": list(row.responses),
        "labels": list(result.labels),
        "clusters": [[_position(result, i), _rounded(cluster.share)] for i, cluster in enumerate(result.clusters)],
        "why": [texts.number(reason) for reason in reasons(row, agreement)],
        "scores": [[texts.number(name), _rounded(value)] for name, value in result.scores.items()],
        "method": [texts.number(line) for line in _method(result.provenance)],
        "work": [texts.number(line) for line in _work(result)],
    }
    differing = [[i, a] for i, a in enumerate(result.answers) if a is not None and a != row.responses[i]]
    optional = {
        "answers": differing,
        "greedy": row.greedy,
        "undecided": [[u.left, u.right, u.reason] for u in result.undecided],
        "correct": [int(each) for each in row.correct] if row.correct else None,
        "fields": [[texts.number(name), value] for name, value in row.fields],
        "long": sentence_fields(result.long_answer) if result.long_answer else None,
    }
    fields |= {name: value for name, value in optional.items() if value}
    if row.wrong is not None:
        fields["wrong"] = int(row.wrong)
    if found := decision(row):
        action, basis = found
        fields |= {"p_wrong": _rounded(result.p_wrong), "action": action}
        fields["basis"] = [texts.number(reason) for reason in basis]
    return fields


def _position(result: Result, label: int) -> int | None:
    """Return the index of the response whose answer represents a cluster; None: the answer is invalid."""
    cluster = result.clusters[label]
    if cluster.representative is None:
        return None
    return next((i for i in cluster.indices if result.answers[i] == cluster.representative), cluster.indices[0])


def _method(provenance: Provenance) -> list[str]:
    """Return "name: value" of each choice that decides about the result."""
    fields = {field.name: getattr(provenance, field.name) for field in dataclasses.fields(provenance)}
    versions = ", ".join(f"{name} {value}" for name, value in fields.pop("versions").items())
    lines = []
    for name, value in fields.items():
        if name not in _OF_EACH_ROW and value:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            lines.append(f"{name.replace('_', ' ')}: {text}")
    return [*lines, f"versions: {versions}"]


def _work(result: Result) -> list[str]:
    """Return lines about the judges and the costs of one row."""
    found = result.provenance
    counts = f"{found.pairs} pairs compared: {found.asked} asked, {found.cached} cached, {found.undecided} undecided"
    return [counts, *found.costs()]


def _rounded(value: float | None) -> float | None:
    """Return a number with 4 decimals, which the page shows at most."""
    found = known(value)
    return None if found is None else round(found, 4)
