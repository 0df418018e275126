"""Judges: one verdict for each pair, one answer for each response, one key for each answer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Generator, Hashable, Sequence
from numbers import Real
from typing import Any, NoReturn

from semantic_entropy.clusters.equivalence import Equivalence
from semantic_entropy.contracts.component_calls import (
    are_hashable,
    call_component,
    is_usage,
    raised_message,
    share,
    shown,
)
from semantic_entropy.errors import EquivalenceError, SemanticEntropyError
from semantic_entropy.types import Pair, Verdict


def stream_verdicts(judge: Equivalence, pairs: Sequence[Pair]) -> Generator[tuple[int, Verdict], None, None]:
    """Yield (index of the pair, verdict) when a verdict arrives: exactly one verdict for each pair.

    If you stop early, close the generator. This closes the judge's stream, which ends the judge's pending calls.

    Raises:
        EquivalenceError: the judge raised, left out a pair, judged a pair twice, or returned a wrong value.
    """
    missing = set(range(len(pairs)))
    stream: Any = None
    try:
        if type(judge).stream is Equivalence.stream and "stream" not in vars(judge):
            # All verdicts arrive together: checking them together is faster.
            verdicts = judge.judge(pairs)
            if not hasattr(verdicts, "__iter__"):
                _reject_verdicts(judge, verdicts)
            if isinstance(verdicts, list) and len(verdicts) == len(pairs) and all(map(_is_plain_verdict, verdicts)):
                yield from enumerate(verdicts)
                return
            stream = enumerate(verdicts)
        else:
            stream = judge.stream(pairs)
        for index, verdict in stream:
            if isinstance(index, float) or index not in missing:  # 1.0 == 1
                _reject_count(judge, pairs, len(pairs) - len(missing) + 1 + sum(1 for _ in stream))
            missing.remove(index)
            yield index, verdict if _is_plain_verdict(verdict) else _plain_verdict(judge, pairs[index], verdict)
        if missing:
            _reject_count(judge, pairs, len(pairs) - len(missing))
    except SemanticEntropyError:
        raise
    except (Exception, SystemExit) as error:
        during = f"judge() on {len(pairs)} pairs, the first {pairs[:1]}"
        raise EquivalenceError(raised_message(_judge(judge), error, during)) from error
    finally:
        if hasattr(stream, "close"):
            stream.close()


def similarity_values(judge: Equivalence, pairs: Sequence[Pair]) -> list[float]:
    """Return the similarity of each pair, as a float in [0, 1].

    Raises:
        EquivalenceError: the judge raised, or returned a wrong number of values or a wrong value.
    """
    values = _list(judge, f"similarities() on {len(pairs)} pairs", judge.similarities, pairs)
    if len(values) != len(pairs):
        raise EquivalenceError(f"{_judge(judge)}: similarities() returned {shown(values)} for {len(pairs)} pairs")
    found = list(map(share, values))
    for pair, value in zip(pairs, found, strict=True):
        if type(value) is not float or not 0.0 <= value <= 1.0:
            raise EquivalenceError(
                f"{_judge(judge)} has the similarity {shown(value)} for {pair.left[:60]!r} and {pair.right[:60]!r}: "
                "return a number in [0, 1]"
            )
    return found


def _reject_verdicts(judge: Equivalence, verdicts: object) -> NoReturn:
    fix = "return a list with one Verdict for each pair"
    if inspect.iscoroutine(verdicts):
        verdicts.close()
        fix = "make it a plain function, without async"
    raise EquivalenceError(f"{_judge(judge)}: judge() returned a {type(verdicts).__name__}: {fix}")


def judge_pairs(judge: Equivalence, pairs: Sequence[Pair]) -> list[Verdict]:
    """Return the judge's verdicts in the order of the pairs. Raises the errors of `stream_verdicts`."""
    verdicts = dict(stream_verdicts(judge, pairs))
    return [verdicts[index] for index in range(len(pairs))]


def extract_answers(judge: Equivalence, responses: Sequence[str]) -> tuple[str | None, ...]:
    """Return the answer that the judge extracts from each response; None (invalid) for a missing or blank answer.

    Raises:
        EquivalenceError: the judge raised, or returned a wrong value.
    """
    answers = _list(judge, f"extract() on {len(responses)} responses", judge.extract, responses)
    if len(answers) != len(responses) or not all(issubclass(kind, str | None) for kind in set(map(type, answers))):
        raise EquivalenceError(
            f"{_judge(judge)} extracted {answers!r:.200} from {len(responses)} responses; "
            "extract() returns one str or None for each"
        )
    return tuple([a if a and not a.isspace() else None for a in answers])


def answer_keys(judge: Equivalence, question: str | None, answers: Sequence[str]) -> list[Hashable | None]:
    """Return the judge's key for each answer. Raises the errors of `extract_answers`."""
    keys = _list(judge, f"keys() on {len(answers)} answers", judge.keys, question, answers)
    if len(keys) != len(answers) or not are_hashable(keys):
        raise EquivalenceError(
            f"{_judge(judge)} returned the keys {keys!r:.200} for {len(answers)} answers; "
            "keys() returns one hashable key or None for each"
        )
    return keys


def judge_settings(judge: Equivalence) -> Hashable:
    """Return the judge's settings. Raise EquivalenceError if they cannot be part of a cache key."""
    settings = call_component(_judge(judge), lambda: judge.settings, error=EquivalenceError, during="settings")
    if not are_hashable([settings]):
        raise EquivalenceError(
            f"{_judge(judge)}: settings is {settings!r:.200}, which has no hash; return texts, numbers, None and "
            "tuples of these"
        )
    return settings  # type: ignore[no-any-return]


def _judge(judge: Equivalence) -> str:
    return f"equivalence {judge.name!r}"


def _list(judge: Equivalence, call: str, method: Callable[..., Any], *arguments: Any) -> list[Any]:
    return call_component(  # type: ignore[no-any-return]
        _judge(judge), lambda: list(method(*arguments)), error=EquivalenceError, during=call
    )


def _is_plain_verdict(verdict: Any) -> bool:
    """Whether all fields have the right types and limits. This is fast, because it is called for each verdict."""
    if type(verdict) is not Verdict:
        return False
    fields: tuple[Any, ...] = verdict  # not checked by a type: a plugin made it
    same, score, reason, by, usage = fields
    return (
        (same is True or same is False or same is None)
        and (score is None or (type(score) is float and 0.0 <= score <= 1.0))
        and (reason is None or isinstance(reason, str))
        and (by is None or isinstance(by, str))
        and (usage is None or is_usage(usage))
    )


def _plain_verdict(judge: Equivalence, pair: Pair, verdict: Any) -> Verdict:
    """Return the verdict with Python's bool and float; undecided if the score is nan.

    Raises:
        EquivalenceError: a field is wrong.
    """
    if not isinstance(verdict, Verdict) or not _is_decision(verdict.same):
        raise EquivalenceError(
            f"{_judge(judge)} returned {verdict!r:.200} for {pair!r}; "
            "return Verdict(True), Verdict(False), or Verdict(None) if the judge cannot decide"
        )
    same = None if verdict.same is None else bool(verdict.same)
    plain = verdict._replace(same=same, score=share(verdict.score))
    if isinstance(plain.score, Real) and math.isnan(plain.score):  # a model gave nan: its decision means nothing
        plain = plain._replace(same=None, score=None, reason="its score is not a number")
    if not _is_plain_verdict(plain):
        raise EquivalenceError(
            f"{_judge(judge)} returned {verdict!r:.200} for {pair!r}; the score is a number in [0, 1] or None, reason "
            "and by are texts or None, and usage is a Usage of numbers from 0 or None"
        )
    return plain


def _is_decision(same: Any) -> bool:
    return same is None or type(same).__name__ in ("bool", "bool_") or (isinstance(same, int) and same in (0, 1))


def _reject_count(judge: Equivalence, pairs: Sequence[Pair], count: int) -> NoReturn:
    raise EquivalenceError(
        f"{_judge(judge)} returned {count} verdicts for {len(pairs)} pairs; "
        "it returns one verdict for each pair: judge() in order, stream() with the index of each"
    )
