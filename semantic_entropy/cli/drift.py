"""`semantic-entropy drift`: whether scores without labels look like those of a calibration."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from semantic_entropy.cli.options import FORMATS, FiniteNumber, OutputFile, json_option

if TYPE_CHECKING:
    from semantic_entropy.decisions import Calibration, Origin


@click.command("drift")
@click.argument("calibration", type=click.Path(dir_okay=False, exists=True))
@click.argument("scored", type=click.Path(allow_dash=True))
@click.option(
    "--level",
    default=0.05,
    show_default=True,
    type=FiniteNumber(0, 1, min_open=True, max_open=True),
    metavar="P",
    help="A drift is reported if the p-value is smaller: the share of false alarms that you accept.",
)
@click.option("--input-format", type=click.Choice(FORMATS), help="The format of SCORED; default: found.")
@click.option("--picture", type=OutputFile(), metavar="FILE.png", help="Draw both distributions (.png, .svg, .pdf).")
@json_option
def drift_command(
    *, calibration: str, scored: str, level: float, input_format: str | None, picture: str | None, as_json: bool
) -> None:
    """Compare the scores in SCORED with those that CALIBRATION was learned from. No labels are needed.

    CALIBRATION is a file of `semantic-entropy calibrate`, SCORED an output of `estimate`, of new questions. First, the
    choices are compared: another judge, model or number of responses is a drift. Then a Kolmogorov-Smirnov test
    compares the distributions of the score that the threshold is on, and of each score that is combined in it. A row
    without a score counts as the most uncertain one.

    Exit status: 0 no drift found, 3 drift, 2 a wrong command, 1 an error, such as a file without scores, or with the
    rows that the calibration was learned from, or the folder of a run that is not finished.

    No drift found does not certify anything: answers can become wrong at the same scores, and only labels show it.
    """
    from pathlib import Path

    from semantic_entropy.decisions import Calibration
    from semantic_entropy.decisions.drift_picture import draw_drift
    from semantic_entropy.decisions.score_drift import compare_scores, reference_samples
    from semantic_entropy.evaluation.picture import check_picture
    from semantic_entropy.files import check_distinct
    from semantic_entropy.io import unfinished_shards

    if picture:
        check_picture(picture)
        check_distinct({"calibration": Path(calibration), "input": Path(scored), "picture": Path(picture)})
    learned = Calibration.load(calibration)
    scores, origins, questions, bad = _read(scored, input_format, learned)
    found = compare_scores(learned, scores, origins=origins, questions=questions, level=level)
    if picture:
        draw_drift(found, reference_samples(learned)[0], [learned.risk_score(each) for each in scores], picture)
    if bad:
        click.echo(f"{bad} rows have no scores: they count as the most uncertain ones", err=True)
    click.echo(_json(found) if as_json else str(found))
    if found.is_seen:
        sys.exit(3)
    if (missing := unfinished_shards(scored)) or found.is_void:
        click.echo(f"exit status 1: {missing or 'nothing was compared'}", err=True)
        sys.exit(1)


def _has_gap(learned: Calibration, origin: Origin, n_valid: Any, answer: Any) -> bool:
    """Whether a row of the same choices has no known score to the calibration, such as one with one valid answer."""
    conditions = learned.conditions
    if conditions is None or conditions.differences(origin):
        return False
    valid = n_valid if isinstance(n_valid, int) else 0
    return bool(conditions.gaps(origin, valid, answer if isinstance(answer, str) else None))


def _json(found: Any) -> str:
    from semantic_entropy.plain_text import to_json_line

    return to_json_line(found.to_dict())


def _number(value: Any) -> Any:
    """Return the number in a cell of a CSV file."""
    with contextlib.suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return None


def _read(
    name: str, input_format: str | None, learned: Calibration
) -> tuple[list[Mapping[str, Any]], list[Origin], list[str], int]:
    """Return the scores of each row, how the rows were measured, their questions, and the number without scores."""
    from semantic_entropy.decisions import Origin
    from semantic_entropy.decisions.stored_results import check_stored
    from semantic_entropy.errors import InputError
    from semantic_entropy.evaluation.labelled_scores import result_field, result_fields
    from semantic_entropy.io import InputOptions, open_reader
    from semantic_entropy.tables import FieldNames

    scores: list[Mapping[str, Any]] = []
    origins: dict[Origin, None] = {}
    questions: list[str] = []
    bad, names = 0, FieldNames()
    reader = open_reader(name, names, InputOptions(input_format), has_sampler=True)
    with contextlib.closing(reader.rows()) as rows:
        for row in rows:
            fields = row.fields or {}
            given, provenance, answers = (result_field(fields, key) for key in ("scores", "provenance", "answers"))
            try:
                check_stored(result_fields(fields))
            except InputError as error:
                raise InputError(f"{name}, {reader.unit} {row.number}: {error}") from None
            own = {key: _number(fields[key]) for key in learned.names if key in fields}
            scores.append({**own, **given} if isinstance(given, Mapping) else own)
            bad += not scores[-1]
            _, question = names.question_in(fields)
            questions += [question] if isinstance(question, str) else []
            if isinstance(provenance, Mapping):
                origin = Origin.of(provenance, len(answers) if isinstance(answers, list) else None)
                origins[origin] = None
                if _has_gap(learned, origin, result_field(fields, "n_valid"), result_field(fields, "answer")):
                    scores[-1] = {}
    return scores, list(origins), questions, bad
