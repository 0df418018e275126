"""Functions that check the responses, questions and log-probabilities of a call, and return them as groups.

The error for an invalid value names its place and the value. Later stages do not check a group again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from semantic_entropy.clusters.chat_replies import is_reply, read_replies
from semantic_entropy.clusters.given_evidence import EVIDENCE_FIELDS, check_evidence, check_tokens, ragged
from semantic_entropy.errors import InputError, nearest
from semantic_entropy.plain_text import show_value as _show
from semantic_entropy.types import Group


def as_lists(values: Any) -> Any:
    """Return NumPy arrays, tensors, and pandas and polars Series as lists, also inside a list; other values unchanged.

    A missing value (nan, NA) of a Series is None. The numbers inside a list of lists stay as they are.
    """
    if hasattr(values, "shape") and (method := getattr(values, "tolist", None) or getattr(values, "to_list", None)):
        listed = method()
        values = [None if is_missing(value) else value for value in listed] if isinstance(listed, list) else listed
    if isinstance(values, list | tuple) and any(hasattr(value, "shape") for value in values):
        return [as_lists(value) for value in values]
    return values


def evidence_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the evidence of a call, with arrays as lists."""
    if unknown := given.keys() - set(EVIDENCE_FIELDS):
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}.{nearest(min(unknown), EVIDENCE_FIELDS)}")
    if callable(given.get("similarity")):
        raise InputError("similarity= is a function: pass it to Scorer(similarity=...), or to estimate()")
    return {name: as_lists(value) for name, value in given.items()}


def is_missing(value: object) -> bool:
    """Whether the value is None, nan, NaT or NA. Pandas stores one of them in place of None."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Real) and math.isnan(value)


def is_batch(responses: Any) -> bool:
    """Whether `responses` belong to many groups (a list of lists of str), not to one group (a list of str).

    Raises:
        InputError: `responses` is neither of the two. The message names the first wrong element.
    """
    if is_reply(responses):
        return False
    if isinstance(responses, str) or not isinstance(responses, Sequence):
        raise InputError(
            f"responses={_show(responses)} is a {type(responses).__name__}; pass a list of str (several answers to one "
            "question), or a list of such lists"
        )
    nested = [not isinstance(r, str) and isinstance(r, Sequence) for r in responses]
    if any(nested) and not all(nested):
        at = nested.index(not nested[0])
        raise InputError(f"responses mixes lists and other values: element {at} is {_show(responses[at])}")
    return any(nested)


def one_group(
    responses: Any, question: Any, logprobs: Any, where: str = "", evidence: Mapping[str, Any] | None = None
) -> Group:
    """Check one group. Error messages begin with `where`, such as "group 3: ".

    The responses can also be replies of a chat model, such as the `choices` of an OpenAI object (`chat_replies`).
    `evidence` has fields of `GivenEvidence`; None: that of the replies, if they have it.
    """
    cut_off = None
    if replies := read_replies(responses):
        cut_off = replies.cut_off
        responses, logprobs = replies.texts, replies.logprobs if logprobs is None else logprobs
        known = {name: value for name, value in (evidence or {}).items() if value is not None}
        evidence = {**{name: replies.evidence.get(name) for name in evidence or ()}, **known}
    if isinstance(responses, str) or not isinstance(responses, Sequence):
        raise InputError(f"{where}responses={_show(responses)} must be a list of str")
    if not responses:
        raise InputError(f"{where}responses is empty: pass at least one response (two or more to measure uncertainty)")
    for i, response in enumerate(responses):
        if not isinstance(response, str):
            raise InputError(f"{where}response {i} is {_show(response)}, a {type(response).__name__}; it must be a str")
    if question is not None and not isinstance(question, str):
        raise InputError(f"{where}question is {_show(question)}, a {type(question).__name__}; it must be a str or None")
    known = {name: value for name, value in (evidence or {}).items() if value is not None}
    size = len(responses)
    checked = None if logprobs is None else ragged("logprobs", logprobs, size, where)
    found = check_evidence(known, size, where, checked) if known else None
    if found and found.tokens:
        check_tokens(found.tokens, responses, where)
    return Group(tuple(responses), question, checked, cut_off=cut_off, evidence=found)


def many_groups(
    responses: Sequence[Any], question: Any, logprobs: Any, evidence: Mapping[str, Any] | None = None
) -> list[Group]:
    """Check a batch of groups. Each argument must be None or have one entry for each group."""
    size = len(responses)
    questions, all_logprobs = _one_each("question", question, size), _one_each("logprobs", logprobs, size)
    known = {name: _one_each(name, values, size) for name, values in (evidence or {}).items()}
    return [
        one_group(r, q, lp, f"group {i}: ", {name: values[i] for name, values in known.items()})
        for i, (r, q, lp) in enumerate(zip(responses, questions, all_logprobs, strict=True))
    ]


def _one_each(name: str, values: Any, groups: int) -> Sequence[Any]:
    if values is None:
        return [None] * groups
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(f"{name}={_show(values)}: responses holds {groups} groups, so pass a list with one entry each")
    if len(values) != groups:
        raise InputError(f"{name} has {len(values)} entries for {groups} groups")
    return values
