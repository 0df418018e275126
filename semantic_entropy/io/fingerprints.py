"""What decides that a result is kept: the key of its row, and the choices of its run.

The key of a row is a digest of what the row is measured from: its responses, its question, its log-probabilities and
its id. A row whose responses a sampler draws has no responses yet; its key is a digest of its question and its id. The
other fields and the position of the row are not in the key: a row that moves keeps its result, and equal rows have
equal results.

The choices of a run are all choices that can change a number: those of the scorer, the `rules` of its components, and
the name of the field that holds the responses. Choices at their default are left out, so that a later release with
more choices continues older files. The version of the package is no choice: an upgrade throws no paid work away.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from semantic_entropy.cache.identity import describe_function, describe_identity
from semantic_entropy.errors import InputError
from semantic_entropy.io.rows import GREEDY, InputRow
from semantic_entropy.measuring import JACCARD
from semantic_entropy.scorer import Scorer
from semantic_entropy.tables import FieldNames

RunChoices = dict[str, Any]
_DEFAULTS = {"convention": "default", "equivalence": "auto", "invalid": "separate"}
_ABSENT = {"sampler": "no sampler", "n": "no sampler", "greedy": "no greedy answer", "claims": "no claims"}


def row_key(row: InputRow, names: FieldNames) -> str:
    """Return the key of a row that can be measured or sampled: 32 hexadecimal digits (128 bits of SHA-256)."""
    fields, group = row.fields or {}, row.group
    question = names.question_in(fields)[1]
    measured = (group.responses, group.question, group.logprobs) if group else (None, question, None)
    evidence = [dataclasses.asdict(group.evidence)] if group and group.evidence and not group.sampler else []
    if group is None and GREEDY in names.evidence and fields.get(GREEDY) is not None:
        evidence = [{GREEDY: fields[GREEDY]}]  # of the evidence in a row whose responses are drawn, it alone is read
    text = json.dumps([*measured, fields.get(names.id), *evidence], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def run_choices(scorer: Scorer, names: FieldNames) -> list[RunChoices]:
    """Return the choices of rows with given responses, and, if there is a sampler, those of rows with drawn ones."""
    given, components = scorer.choices, scorer.components
    extract = given["extract"]
    support = scorer.long_answers.chosen if scorer.long_answers else None
    claims = scorer.long_answers.claims if scorer.long_answers else None
    choices: RunChoices = {
        "responses": names.responses if names.responses != FieldNames().responses else None,
        "answer": names.answer,
        "convention": scorer.convention.name if scorer.convention.name != "default" else None,
        "equivalence": describe_identity(scorer.equivalence) if scorer.equivalence else None,
        "clusterer": describe_identity(scorer.clusterer) if given["clusterer"] else None,
        "estimators": list(map(describe_identity, components["estimators"])) if given["estimator"] else None,
        "extract": extract if isinstance(extract, str | None) else describe_function(extract),
        "invalid": scorer.invalid if scorer.invalid != "separate" else None,
        "similarity": _similarity(scorer),
        "long": {None: None, True: "yes", False: "no"}[given["long"]],
        "support": describe_identity(support) if support and given["support"] not in (None, "text") else None,
        "claims": claims.identity if claims else None,
        "calibration": scorer.calibration.digest if scorer.calibration else None,
        "model": scorer.model,
    }
    measuring = [*components["equivalence"], *components["clusterer"], *components["estimators"]]
    if scorer.similarity and scorer.similarity.judge:
        measuring.append(scorer.similarity.judge)
    measuring += [each for each in (support, claims) if each]
    choices = _given(choices | {"rules": _rules(measuring)})
    if scorer.sampler is None:
        return [choices]
    sampler = {
        "sampler": describe_identity(scorer.sampler),
        "n": str(scorer.rule) if scorer.rule else scorer.n,
        "greedy": describe_identity(scorer.greedy_sampler) if scorer.greedy_sampler else None,
    }
    return [choices, _given(choices | sampler | {"rules": _rules([*measuring, scorer.sampler])})]


def _similarity(scorer: Scorer) -> Any:
    """Return the identity of the similarity; None if it is the default, or if no estimator reads a similarity."""
    given, used = scorer.choices["similarity"], scorer.similarity
    if used is None or given == JACCARD:
        return None
    return describe_identity(used.judge) if used.judge else describe_function(given)


def _rules(components: Sequence[Any]) -> dict[str, int]:
    """Return the versions of rules that are not the first version, by the names of the components."""
    return {component.name: component.rules for component in components if component.rules != 1}


def _given(choices: RunChoices) -> RunChoices:
    return {name: value for name, value in choices.items() if value}


def check_choices(output: str, then: RunChoices, now: Sequence[RunChoices]) -> None:
    """Raise InputError if the choices of an existing result are none of the choices of this run.

    The message names each choice that differs, with both values.
    """
    if then in now:
        return
    old, new = _flat(then), _flat(now[-1] if "sampler" in then else now[0])
    differ = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    differ = [name for name in differ if " " not in name] or differ  # a class says less than a description
    made, has = (", ".join(dict.fromkeys(_shown(name, side.get(name)) for name in differ)) for side in (old, new))
    raise InputError(f"{output} was made with {made}, and this run has {has}: use --overwrite, or another output")


def _flat(choices: RunChoices) -> dict[str, Any]:
    """Return the choices with one value for each name: the description of a component, then its class and settings."""
    flat: dict[str, Any] = {}
    for name, value in choices.items():
        if name == "rules":
            flat |= {f"rules of {component}": version for component, version in value.items()}
        elif isinstance(value, dict | list):
            parts = value if isinstance(value, list) else [value]
            flat[name] = ", ".join(part["name"] for part in parts)
            for detail in ("class", "settings"):
                flat[f"{name} {detail}"] = ", ".join(part.get(detail, "") for part in parts)
        else:
            flat[name] = value
    return flat


def _shown(name: str, value: Any) -> str:
    value = _DEFAULTS.get(name) if value is None else value
    return _ABSENT.get(name, f"the default {name}") if value is None else f"{name} {value!r}"
