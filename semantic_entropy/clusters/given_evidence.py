"""Functions that check the evidence of a call: log-probabilities, tokens, similarities, embeddings, a greedy answer.

The error for an invalid value names its place and the value. Shapes: G responses, T tokens, k alternatives, d numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, replace
from typing import Any, NamedTuple

from semantic_entropy.clusters.chat_replies import read_replies
from semantic_entropy.errors import EvidenceError, InputError
from semantic_entropy.plain_text import show_value
from semantic_entropy.types import GivenEvidence, Sample

EVIDENCE_FIELDS = tuple(field.name for field in fields(GivenEvidence))
"""The names of all evidence besides log-probabilities, which are also arguments of `estimate` and fields of a row."""
_NO_LIST = (str, bytes, Mapping, AbstractSet)  # float("1") is a number, and the values of a set have no order
LOWEST_LOGPROB = -1e300  # sums of lower numbers could overflow
_LARGEST_SUM = 1.1  # of the probabilities of a token's alternatives: above 1 by rounding of low-precision logits
_ROUNDING = 1e-3  # low-precision logits round to values slightly above 0; a higher value is a mistake


class _Numbers(NamedTuple):
    """A kind of evidence: what one response has of it, and the valid range of numbers."""

    plural: str
    singular: str
    each: str
    lowest: float
    highest: float
    rule: str
    may_be_infinite: bool = False
    type: str = "floats"


_SIMILARITY = _Numbers("similarities", "similarity", "response", -_ROUNDING, 1 + _ROUNDING, "a similarity is in [0, 1]")
_LOGPROB = _Numbers(
    "log-probabilities",
    "log-probability",
    "token, in nats",
    LOWEST_LOGPROB,
    _ROUNDING,
    f"a log-probability is between {LOWEST_LOGPROB:g} and 0 (nats)",
)
_VECTOR = _Numbers("numbers", "number", "dimension", -1e150, 1e150, "it has finite numbers, at most 1e150 in size")
_KINDS = {
    "logprobs": _LOGPROB,
    "top_logprobs": _LOGPROB._replace(
        each="alternative of a token, in nats",
        lowest=-math.inf,
        rule="a log-probability is at most 0 (nats)",
        may_be_infinite=True,
    ),
    "token_entropies": _Numbers(
        "entropies", "entropy", "token, in nats", -_ROUNDING, 1e300, "an entropy is finite and at least 0 (nats)"
    ),
    "tokens": _Numbers("tokens", "text", "token", 0, 0, "a token is a text", type="str"),
    "token_similarity": _SIMILARITY._replace(each="token"),
    "sentence_support": _SIMILARITY,
    "similarity": _SIMILARITY,
    "greedy_similarity": _SIMILARITY,
    "embeddings": _VECTOR,
    "hidden_state": _VECTOR,
}


def ragged(name: str, values: Any, responses: int, where: str = "") -> tuple[tuple[float, ...], ...]:
    """Check a ragged list (G, T) of numbers with one list for each response. `name` is a field of evidence.

    Raises:
        EvidenceError: a response has no numbers, or a number is out of range. The message names the response.
    """
    listed = _one_each(name, values, responses, where)
    return tuple([_row(name, row, f"{where}{name} of response {i}") for i, row in enumerate(listed)])


def check_evidence(
    given: Mapping[str, Any], responses: int, where: str, logprobs: Sequence[Sequence[float]] | None = None
) -> GivenEvidence:
    """Check the evidence on one group. `given` has fields of `GivenEvidence` that are not None.

    Raises:
        EvidenceError: evidence has another shape than its responses, or holds an impossible number.
        InputError: a field has another name.
    """
    found: dict[str, Any] = {}
    if "greedy" in given:
        found["greedy"] = greedy_answer(given["greedy"], where)
    for name in given.keys() - {"greedy"}:
        if name not in EVIDENCE_FIELDS:
            raise InputError(f"{where}{name!r} is no evidence: use {', '.join(EVIDENCE_FIELDS)}")
        found[name] = _CHECKS[name](name, given[name], responses, where)
    matrix, size = found.get("similarity"), responses
    if matrix and len(matrix) == responses + 1:  # the last row and column belong to the greedy answer
        if "greedy" not in found:
            raise EvidenceError(
                f"{where}similarity has {responses + 1} rows for {responses} responses, and the last one belongs to a "
                "greedy answer: pass greedy= too, or one row and column for each response"
            )
        found.setdefault("greedy_similarity", matrix[-1][:-1])
        found["similarity"] = tuple([row[:size] for row in matrix[:size]])
    for name in ("token_entropies", "tokens", "token_similarity", "top_logprobs"):
        if name in found and logprobs:
            _same_lengths(name, logprobs, found[name], where)
    return GivenEvidence(**found)


def greedy_answer(value: Any, where: str = "") -> Sample:
    """Return the greedy answer as a `Sample`.

    The value is a `Sample`, a mapping with the same fields (other fields are ignored), its text alone, or one reply of
    a chat model.
    """
    value = {"text": value} if isinstance(value, str) else value
    what = f"{where}greedy"
    is_plain = isinstance(value, Mapping) and "text" in value and not isinstance(value.get("logprobs"), Mapping)
    if not (isinstance(value, Sample) or is_plain) and (replies := read_replies(value)):
        if len(replies.texts) != 1:
            raise EvidenceError(f"{what} has {len(replies.texts)} replies, and the greedy answer is one of them")
        known = {name: values[0] for name, values in replies.evidence.items()}
        logprobs = replies.logprobs and replies.logprobs[0]
        value = {"text": replies.texts[0], "logprobs": logprobs, **known}
        value["finish_reason"] = "length" if replies.cut_off else None
    if isinstance(value, Sample):
        return replace(value, **_lists_of_greedy({name: getattr(value, name) for name in _GREEDY_LISTS}, what))
    if not isinstance(value, Mapping) or not isinstance(value.get("text"), str):
        raise EvidenceError(
            f"{what}={show_value(value)} must be a text, or a mapping with a text, and if they are known logprobs, "
            "top_logprobs, token_entropies, hidden_state"
        )
    finish = value.get("finish_reason")
    lists = _lists_of_greedy(value, what)
    return Sample(value["text"], **lists, finish_reason=finish if isinstance(finish, str) else None)


_GREEDY_LISTS = ("logprobs", "token_entropies", "hidden_state", "top_logprobs")


def _lists_of_greedy(value: Mapping[str, Any], what: str) -> dict[str, Any]:
    lists: dict[str, Any] = {}
    for name in _GREEDY_LISTS:
        if value.get(name) is not None:
            check = _tokens_of_one if name == "top_logprobs" else _row
            lists[name] = check(name, value[name], what if name == "top_logprobs" else f"{what}: {name}")
    for name in ("token_entropies", "top_logprobs"):
        if name in lists and "logprobs" in lists and len(lists[name]) != len(lists["logprobs"]):
            raise EvidenceError(f"{what} has {len(lists['logprobs'])} logprobs and {len(lists[name])} {name}")
    return lists


def _one_each(name: str, values: Any, responses: int, where: str) -> Sequence[Any]:
    kind = _KINDS[name]
    if isinstance(values, _NO_LIST) or not hasattr(values, "__len__"):
        raise EvidenceError(
            f"{where}{name}={show_value(values)} must be a list with one list of {kind.type} for each response"
        )
    if len(values) != responses:
        missing = f"; response {len(values)} has no {kind.plural}" if len(values) < responses else ""
        raise EvidenceError(f"{where}{name} has {len(values)} entries for {responses} responses{missing}")
    return values  # type: ignore[no-any-return]  # it has a length


def _row(name: str, values: Any, what: str) -> tuple[float, ...]:
    kind = _KINDS[name]
    if values is None:
        raise EvidenceError(f"{what} are missing (None): pass one {kind.singular} for each {kind.each}")
    try:
        numbers = tuple(map(float, [None] if isinstance(values, _NO_LIST) else values))
    except (TypeError, ValueError, OverflowError):
        raise EvidenceError(
            f"{what} are {show_value(values)}; pass a list of floats, one for each {kind.each}"
        ) from None
    if not numbers:
        raise EvidenceError(f"{what} are empty: pass one {kind.singular} for each {kind.each}")
    for number in numbers:
        if not kind.lowest <= number <= kind.highest or (number == -math.inf and not kind.may_be_infinite):
            raise EvidenceError(f"{what} hold {number!r}; {kind.rule}")
    return numbers


def _clipped(name: str, values: Any, responses: int, where: str) -> tuple[tuple[float, ...], ...]:
    """Numbers in [0, 1] without their rounding errors."""
    return tuple([_clip(row) for row in ragged(name, values, responses, where)])


def _clip(row: Sequence[float]) -> tuple[float, ...]:
    return tuple([min(1.0, max(0.0, number)) for number in row])


def _tokens_of_one(name: str, values: Any, what: str) -> tuple[tuple[float, ...], ...]:
    if isinstance(values, str) or not hasattr(values, "__len__") or not len(values):
        raise EvidenceError(
            f"{what}: {name}={show_value(values)} must be a list with one list of floats for each token"
        )
    tokens = tuple([_row(name, row, f"{what}: {name} of token {i}") for i, row in enumerate(values)])
    for i, token in enumerate(tokens):
        total = math.fsum(map(math.exp, token))
        if total > _LARGEST_SUM:
            raise EvidenceError(
                f"{what}: {name} of token {i} are those of probabilities with the sum {total:.3g}, and all tokens "
                "together have 1: pass natural logarithms of the probabilities after softmax"
            )
    return tokens


def _top_logprobs(name: str, values: Any, responses: int, where: str) -> tuple[tuple[tuple[float, ...], ...], ...]:
    listed = _one_each(name, values, responses, where)
    return tuple([_tokens_of_one(name, row, f"{where}response {i}") for i, row in enumerate(listed)])


def _texts(name: str, values: Any, responses: int, where: str) -> tuple[tuple[str, ...], ...]:
    rows = []
    for i, row in enumerate(_one_each(name, values, responses, where)):
        if isinstance(row, _NO_LIST) or not hasattr(row, "__len__") or not all(isinstance(token, str) for token in row):
            raise EvidenceError(
                f"{where}tokens of response {i} are {show_value(row)}; pass a list of str: the text of each token"
            )
        rows.append(tuple(row))
    return tuple(rows)


def check_tokens(tokens: Sequence[Sequence[str]], responses: Sequence[str], where: str) -> None:
    """Raise EvidenceError if the tokens of a response, one after another, do not contain the response.

    Names of tokens in a vocabulary, such as "\u0120is", are no texts: a response without one of them is not comparable.
    """
    for i, (own, response) in enumerate(zip(tokens, responses, strict=True)):
        if response.strip() not in (written := "".join(own)):
            raise EvidenceError(
                f"{where}tokens of response {i} write {written[:60]!r}, and the response is {response[:60]!r}: pass "
                "the decoded text of each token, with its spaces"
            )


def _matrix(name: str, values: Any, responses: int, where: str) -> tuple[tuple[float, ...], ...]:
    with_greedy = name == "similarity" and hasattr(values, "__len__") and len(values) == responses + 1
    size = responses + with_greedy
    rows = _clipped(name, values, size, where)
    for i, row in enumerate(rows):
        if len(row) != size:
            raise EvidenceError(f"{where}{name} of response {i} has {len(row)} numbers for {size} responses")
    return tuple([(*row[:i], 1.0, *row[i + 1 :]) for i, row in enumerate(rows)])


def _greedy_row(name: str, values: Any, responses: int, where: str) -> tuple[float, ...]:
    row = _clip(_row(name, values, f"{where}{name}"))
    if len(row) != responses:
        raise EvidenceError(f"{where}{name} has {len(row)} numbers for {responses} responses")
    return row


def _vectors(name: str, values: Any, responses: int, where: str) -> tuple[tuple[float, ...], ...]:
    rows = ragged(name, values, responses, where)
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise EvidenceError(
                f"{where}{name} of response {i} has {len(row)} numbers, and that of response 0 has {len(rows[0])}"
            )
    return rows


def _same_lengths(name: str, logprobs: Sequence[Any], values: Sequence[Any], where: str) -> None:
    for i, (tokens, own) in enumerate(zip(logprobs, values, strict=True)):
        if len(tokens) != len(own):
            raise EvidenceError(f"{where}response {i} has {len(tokens)} logprobs and {len(own)} {name}")


_CHECKS: Mapping[str, Callable[[str, Any, int, str], Any]] = {
    "top_logprobs": _top_logprobs,
    "token_entropies": ragged,
    "tokens": _texts,
    "token_similarity": _clipped,
    "sentence_support": _matrix,
    "similarity": _matrix,
    "greedy_similarity": _greedy_row,
    "embeddings": _vectors,
    "hidden_state": _vectors,
}


def evidence_of_samples(samples: Sequence[Sample]) -> GivenEvidence | None:
    """Return what all samples have in addition to log-probabilities; None: nothing."""
    found: dict[str, Any] = {}
    for name in ("top_logprobs", "token_entropies", "hidden_state", "tokens"):
        values = [getattr(sample, name) for sample in samples]
        if values and all(values):
            found[name] = values
    try:
        return check_evidence(found, len(samples), "") if found else None
    except EvidenceError:
        return None  # a nan from a server must not make the responses unusable; the estimator says what is missing


def without_dropped(evidence: GivenEvidence, counted: Sequence[int]) -> GivenEvidence:
    """Return the evidence on the responses with these indices."""
    kept: dict[str, Any] = {}
    for name in EVIDENCE_FIELDS:
        values = getattr(evidence, name)
        if values is not None and name != "greedy":
            kept[name] = tuple([values[i] for i in counted])
    for name in {"similarity", "sentence_support"} & kept.keys():
        kept[name] = tuple([tuple([row[i] for i in counted]) for row in kept[name]])
    return replace(evidence, **kept)
