"""Whether the numbers of a stored result agree with each other.

A row of a file can be edited, or damaged by a program between. What follows from the labels (G,) and the answers is
computed again and compared, to 1e-6: the counts of valid answers, `normalized`, the probabilities of discrete entropy,
the scores that are functions of the labels alone (`discrete`, `num_sets`, `majority`, `margin`), and the scores of a
long answer, which are functions of its sentences.

Left out: scores that need log-probabilities or similarities, which a row does not have, and a person who changes all
fields with care.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from semantic_entropy.errors import InputError
from semantic_entropy.estimators import Discrete, EntropyEstimator, Majority, Margin, NumSets
from semantic_entropy.long_answers import LongAnswer
from semantic_entropy.plain_fields import from_plain
from semantic_entropy.results import Result
from semantic_entropy.types import Evidence

_TOLERANCE = 1e-6
_OF_LABELS: Mapping[str, EntropyEstimator] = {each.name: each for each in (Discrete(), NumSets(), Majority(), Margin())}


def contradictions(result: Result) -> list[str]:
    """Return what contradicts itself in a result, as phrases with both values; empty: nothing does."""
    found = list(_contradictions(lambda name: getattr(result, name), result.provenance.estimator))
    best = max(
        (cluster for cluster in result.clusters if cluster.representative is not None),
        key=lambda cluster: cluster.share,
        default=None,
    )
    if result.long_answer is not None:
        found += _long_contradictions(result.long_answer, result.scores.get("unsupported"))
    if best is None and result.answer is not None:
        found.append(f"answer is {result.answer!r:.80}, and no cluster has a valid answer")
    elif best is not None and result.answer != best.representative:
        found.append(f"answer is {result.answer!r:.80}, and the largest cluster has {best.representative!r:.80}")
    return found


def _long_contradictions(answer: LongAnswer, score: float | None) -> Iterator[str]:
    """Yield what contradicts itself in a long answer: its scores, and the numbers and places of its sentences."""
    known = [each.uncertainty for each in answer.sentences if not each.unknown]
    half = bool(known) and 2 * len(known) >= len(answer.sentences)
    mean = math.fsum(known) / len(known) if half else math.nan
    highest = max(known) if known and len(known) == len(answer.sentences) else math.nan
    yield from _compared("long_answer.uncertainty", answer.uncertainty, mean, "its sentences give")
    yield from _compared("long_answer.highest", answer.highest, highest, "its sentences give")
    if not _is_unknown(score) and _differ(score, mean) and _differ(score, highest):
        yield f"the score unsupported is {_shown(score)}, and the sentences give {_shown(mean)}"
    for i, each in enumerate(answer.sentences):
        placed = each.start is not None and each.end is not None
        if not (each.unknown or 0 <= each.uncertainty <= 1) or not 0 <= each.supported_by <= answer.samples:
            yield (
                f"sentences[{i}] has the uncertainty {_shown(each.uncertainty)}, and {each.supported_by} of "
                f"{answer.samples} samples support it"
            )
        elif each.doubtful != (each.unknown or 2 * each.supported_by < answer.samples - each.undecided):
            mark = "doubtful" if each.doubtful else "not doubtful"
            yield f"sentences[{i}] is {mark}, and {each.supported_by} of {answer.samples} samples support it"
        elif placed and (answer.answer or "")[each.start : each.end] != each.text:
            yield f"sentences[{i}] is {each.text!r:.80}, and the answer has another text there"


def check_stored(fields: Mapping[str, Any]) -> None:
    """Check the numbers of an output row of `estimate`. A row without labels or provenance has nothing to compare.

    Args:
        fields: the fields of the result, and any others.

    Raises:
        InputError: two fields contradict each other. The message has both values.
    """
    labels, provenance = fields.get("labels"), fields.get("provenance")
    if labels is None or not isinstance(provenance, Mapping):
        return
    if not isinstance(labels, list | tuple) or not all(type(label) is int and label >= -1 for label in labels):
        raise InputError(f"the field labels is {labels!r:.80}; it must be a list of whole numbers from -1")
    try:
        found = list(_contradictions(fields.get, provenance.get("estimator")))
        long, scores = fields.get("long_answer"), fields.get("scores")
        if isinstance(long, Mapping) and "sentences" in long and isinstance(scores, Mapping):
            answer = from_plain(LongAnswer, long, of="a long answer", missing="use a file that estimate wrote")
            found += _long_contradictions(answer, scores.get("unsupported"))
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(f"the numbers of the result cannot be compared: {error}") from None
    if found:
        raise InputError(f"the result contradicts itself: {'; '.join(found)}. Measure this row again")


def _contradictions(field: Callable[[str], Any], main: Any) -> Iterator[str]:
    labels, answers, n_valid, invalid = map(field, ("labels", "answers", "n_valid", "invalid"))
    if answers is not None:
        valid = sum(bool(answer and answer.strip()) for answer in answers)
        if len(answers) != len(labels):
            yield f"there are {len(labels)} labels and {len(answers)} answers"
        if n_valid != valid or invalid != len(answers) - valid:
            yield f"{valid} of {len(answers)} answers are valid, and n_valid is {n_valid}, invalid is {invalid}"
    counted = tuple(label for label in labels if label >= 0)
    scores = field("scores")
    scores = scores if isinstance(scores, Mapping) else {}
    for name in _OF_LABELS.keys() & scores.keys():
        yield from _compared(f"the score {name}", scores[name], _value(name, counted))
    entropy = field("entropy")
    unmeasured = _is_unknown(entropy) and _is_unknown(scores.get(main))  # in training with another reward
    known = {"discrete": ("the labels give", _value("discrete", counted))}
    known |= {name: ("the scores have", value) for name, value in scores.items() if name not in known}
    if main in known and not unmeasured:
        source, value = known[main]
        yield from _compared("entropy", entropy, value, source)
    if main == "discrete" and counted:
        expected = [counted.count(label) / len(counted) for label in range(max(counted) + 1)]
        given = field("probabilities")
        if given is not None and (
            len(given) != len(expected) or any(_differ(p, q) for p, q in zip(given, expected, strict=True))
        ):
            yield f"probabilities are {list(given)!r:.80}, and the labels give {expected!r:.80}"
    if isinstance(n_valid, int) and n_valid > 1 and not _is_unknown(entropy):
        yield from _compared("normalized", field("normalized"), min(1.0, entropy / math.log(n_valid)), "entropy gives")


@lru_cache(maxsize=4096)  # many groups have equal labels
def _value(name: str, labels: tuple[int, ...]) -> float:
    return _OF_LABELS[name].estimate(Evidence(labels)).value if labels else math.nan


def _compared(what: str, given: Any, expected: Any, source: str = "the labels give") -> Iterator[str]:
    if _differ(given, expected):
        yield f"{what} is {_shown(given)}, and {source} {_shown(expected)}"


def _differ(given: Any, expected: Any) -> bool:
    if _is_unknown(given) or _is_unknown(expected):
        return _is_unknown(given) != _is_unknown(expected)
    return isinstance(given, bool) or not abs(given - expected) <= _TOLERANCE


def _is_unknown(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _shown(value: Any) -> str:
    return "unknown" if _is_unknown(value) else f"{value:.6g}"
