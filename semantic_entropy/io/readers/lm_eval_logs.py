"""Sample logs of lm-evaluation-harness (`lm_eval --log_samples`): one JSON line for each document and filter.

    {"doc_id": 0, "doc": {...}, "resps": [["Paris", "Rome"]], "filtered_resps": [["Paris", "Rome"]], "filter": "none"}

`resps` has a list for each request of the document; a task of the type `generate_until` has one request, with `repeats`
responses. These are the responses; with `--responses filtered_resps`, those after the filter. The question is a field
of `doc`: the field that `--question` names, or one with a common name. Tasks that compare log-likelihoods of given
choices have no responses: their rows are bad rows. The log has no log-probabilities of generated texts. If a task has
several filters, the log has each document once for each filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semantic_entropy.clusters import one_group
from semantic_entropy.errors import InputError
from semantic_entropy.tables import FieldNames
from semantic_entropy.types import Group

_RESPONSES = "resps"


def is_sample_row(fields: Mapping[str, Any]) -> bool:
    """Whether these fields are those of a sample log."""
    return {"doc", "arguments", _RESPONSES} <= fields.keys()


def check_sample(fields: Mapping[str, Any], names: FieldNames) -> tuple[Group | None, str | None]:
    """Return (group, None) for a row of a sample log that can be measured, else (None, problem)."""
    field = _RESPONSES if names.responses == FieldNames().responses else names.responses
    doc = fields.get("doc")
    known: Mapping[str, Any] = doc if isinstance(doc, Mapping) else {}
    for name, place in ((field, fields), (names.question, {**known, **fields})):
        if name is not None and name not in place:
            return None, f"no field {name!r}; it has {', '.join(place) or 'none'}"
    _, question = names.question_in(fields if names.question in fields else known)
    requests = fields[field]
    if not isinstance(requests, list) or not requests:
        return None, f"{field} is not a list of responses"
    if isinstance(requests[0], list) and len(requests) > 1:
        return None, f"{field} has {len(requests)} requests: only tasks of the type generate_until have responses"
    responses = requests[0] if isinstance(requests[0], list) else requests
    if not all(isinstance(text, str) for text in responses):
        return None, f"{field} has log-likelihoods: only tasks of the type generate_until have responses"
    try:
        return one_group(responses, question, None), None
    except InputError as error:
        return None, str(error)
