"""A threshold with a guarantee: the risk of a wrong answer among those answered is at most alpha.

    risk(t) = P(wrong | score <= t)         answered: the groups with a score of at most t

Learn-then-test (Angelopoulos et al., arXiv 2110.01052) with fixed-sequence testing (section 3.3): the thresholds are
tested in a fixed order, the strictest first. Of the n answered groups at a threshold, k are wrong. The hypothesis
"risk(t) > alpha" is rejected if

    P(Binomial(n, alpha) <= k) <= delta

The first hypothesis that is not rejected ends the sequence. The certified threshold is the last one that was rejected.
If all risks are above alpha, a threshold is certified with probability at most delta; the number of thresholds does not
change this.

What must hold: the labelled groups are drawn independently from the groups that the threshold is used on, and the
thresholds and their order are chosen without the labels that they are tested on. `sequence_of` takes them from the
scores of other groups. Under a shift of the questions or of the model, the guarantee is void.

Left out: other risks than the share of wrong answers, and bounds for dependent groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from semantic_entropy.errors import InputError

FIT_SHARE = 0.2
"""The share of the labelled groups on which p(wrong) is fitted; the others certify the threshold."""
DELTA = 0.1
_STEPS = 20  # thresholds of a sequence: more of them cost nothing in the test, but each can end the sequence by chance
_START = 2  # times `labels_needed`: with as many answered groups, a wrong one or two among them still certify
_SMALL_START, _SMALL_SHARE = 1.3, 0.3  # of few groups, twice as many would be most of them
_LARGE_START, _LARGE_SHARE = 4, 0.1  # of many groups, a tenth is strict enough
_FEWEST_SHOWN = 10  # answers: the share of wrong ones among fewer says nothing
_MOST_LABELS = 100_000  # nobody labels more, so it is the same as never
_NEGLIGIBLE = 1e-20  # relative: a float has 16 digits, and the terms decrease


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What was certified, on labelled groups that nothing was fitted on.

    Attributes:
        alpha: the highest risk that is allowed among the answered groups.
        delta: the probability that the guarantee does not hold.
        threshold: the highest score that is answered; None: nothing is certified.
        reason: why no higher threshold is certified, or none at all, for the user.
        groups: the number of groups with a label that certified.
        answered: the number of these with a score of at most the threshold; without a threshold, 0.
        wrong: the number of wrong answers among the answered groups.
        upper_bound: the upper end of the exact one-sided interval (level 1 - delta) of the risk at the threshold, as
            if this threshold had been the only one; None: nothing is certified.
        tested: the number of thresholds that were tested.
        missing: if nothing is certified, about how many more groups with a label could certify; None: no number of
            labels helps, or a threshold is certified.
    """

    alpha: float
    delta: float
    threshold: float | None
    reason: str
    groups: int
    answered: int
    wrong: int
    upper_bound: float | None
    tested: int
    missing: int | None = None

    @property
    def coverage(self) -> float:
        """The share of answered groups; nan if there are no groups."""
        return self.answered / self.groups if self.groups else math.nan

    @property
    def risk(self) -> float:
        """The share of wrong answers among the answered groups; nan if none is answered."""
        return self.wrong / self.answered if self.answered else math.nan

    def __str__(self) -> str:
        if self.threshold is None:
            more = "" if self.missing is None else f": about {self.missing:,} more labels that certify"
            level = f"a risk of at most {self.alpha:g} with confidence {1 - self.delta:g}"
            return f"cannot certify {level}: {self.reason}{more}"
        return (
            f"answer only where the score is at most {self.threshold:.6g}: with confidence {1 - self.delta:g}, at most "
            f"{self.alpha:.3g} of those answers are wrong, on questions like these ({self.wrong} of {self.answered} "
            f"were; {self.coverage:.1%} of the {self.groups:,} groups are answered)"
        )


def check_levels(alpha: float, delta: float) -> None:
    """Raise InputError if alpha or delta is not a number between 0 and 1."""
    for name, value in (("alpha", alpha), ("delta", delta)):
        if not 0 < value < 1:  # also nan
            raise InputError(f"{name}={value!r} must be between 0 and 1, such as 0.1")


@lru_cache(maxsize=4096)
def labels_needed(alpha: float, delta: float = DELTA, wrong: int = 0) -> int:
    """Return the smallest number of answered groups with a label that can certify, with this many wrong among them.

        min n: P(Binomial(n, alpha) <= wrong) <= delta

    Without a wrong answer this is ln(delta) / ln(1 - alpha), rounded up: 45, 22 and 11 for alpha 0.05, 0.1 and 0.2.

    Raises:
        InputError: alpha or delta is not between 0 and 1, or `wrong` is negative.
    """
    check_levels(alpha, delta)
    if wrong < 0:
        raise InputError(f"wrong={wrong} is a number of answers, from 0")
    low, high = wrong, max(1, wrong + 1)  # n = wrong cannot certify: the tail is 1
    while binomial_tail(wrong, high, alpha) > delta:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if binomial_tail(wrong, middle, alpha) <= delta else (middle, high)
    return high


def answers_needed(risk: float, alpha: float, delta: float = DELTA) -> int | None:
    """Return about how many answered groups certify if this share of them is wrong; None: more than 100,000, or never.

    It is the smallest number up to jumps of one wrong answer.
    """

    def certifies(n: int) -> bool:
        return binomial_tail(math.ceil(n * risk), n, alpha) <= delta

    if risk >= alpha:
        return None
    low, high = 0, labels_needed(alpha, delta)  # low does not certify
    while not certifies(high):
        low, high = high, 2 * high
        if high > _MOST_LABELS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if certifies(middle) else (middle, high)
    return high


def binomial_tail(k: int, n: int, p: float) -> float:
    """Return P(Binomial(n, p) <= k), the exact sum: from the largest term on, until the terms change it no more."""
    if k >= n or p <= 0:
        return 1.0 if k >= 0 else 0.0
    if k < 0 or p >= 1:
        return 0.0
    if k > (n + 1) * p:  # the terms must decrease from k on
        return 1.0 - binomial_tail(n - k - 1, n, 1 - p)
    log_term = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p)
    term = math.exp(log_term + (n - k) * math.log1p(-p))
    terms, odds = [term], (1 - p) / p
    for i in range(k, 0, -1):
        term *= i / (n - i + 1) * odds
        terms.append(term)
        if term <= terms[0] * _NEGLIGIBLE:  # also if the largest term is 0, below the smallest float
            break
    return min(1.0, math.fsum(terms))


@lru_cache(maxsize=1 << 16)
def most_wrong(n: int, alpha: float, delta: float) -> int:
    """Return the largest number of wrong answers among n that certifies; -1 if n is too small."""
    low, high = -1, n  # low certifies, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if binomial_tail(middle, n, alpha) <= delta else (low, middle)
    return low


def proportion_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a proportion, k of n (Clopper and Pearson 1934); (0, 1) for n = 0."""
    if not 0 <= k <= n:
        raise InputError(f"{k} of {n} is no proportion")
    tail = (1 - level) / 2
    return 1 - upper_bound(n - k, n, tail), upper_bound(k, n, tail)


def upper_bound(k: int, n: int, delta: float) -> float:
    """Return the exact one-sided upper bound of a proportion, k of n: the p with P(Binomial(n, p) <= k) = delta."""
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(60):  # each step halves the interval: 60 reach the precision of a float
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_tail(k, n, middle) > delta else (low, middle)
    return high


def sequence_of(scores: Sequence[float], certifying: int, alpha: float, delta: float = DELTA) -> list[float]:
    """Return the thresholds to test, the strictest first: quantiles of scores that certify nothing.

    The sequence starts at the lowest score at which about twice as many of the certifying groups will be answered as
    `labels_needed`, by the share of these scores that are not above it. Starting at `labels_needed` itself, every
    second sequence would end at once, because fewer are answered or one answer is wrong. If twice as many are more than
    three tenths of the groups, it starts lower (at three tenths, or at 1.3 times as many); if they are less than a
    tenth, higher (at a tenth, or at four times as many). Equal scores are never separated: a threshold is a score, and
    all groups with this score are answered.

    Args:
        scores: scores of groups, higher for more uncertain answers. The test uses other groups. nan: unknown, ranked
            as the most uncertain; no threshold answers it.
        certifying: the number of groups of the test.
        alpha: as in `learn_then_test`.
        delta: as in `learn_then_test`.
    """
    check_levels(alpha, delta)
    known = sorted(score for score in scores if not math.isnan(score))
    if not known or not certifying:
        return []
    n, needed = len(scores), labels_needed(alpha, delta) / certifying
    small = min(_START * needed, max(_SMALL_SHARE, _SMALL_START * needed))
    first = min(1.0, max(small, min(_LARGE_START * needed, _LARGE_SHARE)))
    shares = [first + (1 - first) * step / _STEPS for step in range(_STEPS + 1)]
    places = [min(len(known), max(1, math.ceil(share * n - 1e-9))) - 1 for share in shares]
    return list(dict.fromkeys(known[place] for place in places))


def learn_then_test(
    scores: Sequence[float],
    wrong: Sequence[bool],
    thresholds: Sequence[float],
    alpha: float,
    delta: float = DELTA,
    *,
    explain: bool = True,
) -> Guarantee:
    """Certify the highest threshold of a fixed sequence whose risk is at most alpha, with confidence 1 - delta.

    Args:
        scores: (N,) higher for more uncertain answers; nan: unknown, never answered.
        wrong: (N,) whether the answer is wrong.
        thresholds: in the order of the test, increasing; chosen without these labels.
        alpha: the highest risk that is allowed, in (0, 1).
        delta: the probability with which the guarantee may fail, in (0, 1).
        explain: False: leave `reason` empty and `missing` None, which is faster, for simulations.

    Raises:
        InputError: alpha or delta is not between 0 and 1, the lengths differ, or the thresholds do not increase.
    """
    check_levels(alpha, delta)
    if len(scores) != len(wrong):
        raise InputError(f"{len(scores)} scores for {len(wrong)} labels: give one label for each score")
    if any(not low < high for low, high in pairwise(thresholds)):
        raise InputError("the thresholds must increase: the strictest is tested first")
    ranked = sorted((x, bool(label)) for x, label in zip(scores, wrong, strict=True) if not math.isnan(x))
    answered = errors = tested = 0
    passed: tuple[float, int, int] | None = None  # threshold, answered, wrong
    reason = "every threshold is certified"
    for threshold in thresholds:
        while answered < len(ranked) and ranked[answered][0] <= threshold:
            errors += ranked[answered][1]
            answered += 1
        tested += 1
        if errors > most_wrong(answered, alpha, delta):
            reason = (
                f"the next threshold is not certified: {errors} of the {answered} answers with a score of at most "
                f"{threshold:.6g} are wrong"
            )
            break
        passed = threshold, answered, errors
    reason = reason if explain else ""
    if passed is not None:
        certified, kept, kept_wrong = passed
        bound = upper_bound(kept_wrong, kept, delta) if explain else None
        return Guarantee(alpha, delta, certified, reason, len(scores), kept, kept_wrong, bound, tested)
    reason, missing = _what_is_needed(ranked, len(scores), alpha, delta) if explain else ("", None)
    return Guarantee(alpha, delta, None, reason, len(scores), 0, 0, None, tested, missing)


def _what_is_needed(
    ranked: Sequence[tuple[float, bool]], groups: int, alpha: float, delta: float
) -> tuple[str, int | None]:
    """Return why nothing is certified, and about how many more groups could certify; None: more of them do not help.

    Of the most certain 5%, 10%, ... of the answers, those are named that need the fewest labels if the share of wrong
    answers among them is the true one. If each share is above alpha, the exact lower bound of the lowest one says
    whether it can be below alpha all the same.
    """
    if not ranked:
        return "no group has a known score", None
    prefixes = _prefixes(ranked)
    totals = []
    for _, n, k in prefixes:
        needed = answers_needed(k / n, alpha, delta)
        totals.append(math.inf if needed is None else groups * needed / n)
    total = min(totals)
    if math.isinf(total):
        threshold, n, k = min(prefixes, key=lambda prefix: prefix[2] / prefix[1])
        found = f"even of the {n} answers with a score of at most {threshold:.6g}, {k} are wrong ({k / n:.1%})"
        if 1 - upper_bound(n - k, n, delta) < alpha:  # the exact one-sided lower bound
            return f"{found}, and so few answers do not tell whether a risk of {alpha:g} can be reached", groups
        return f"{found}, so that more of these labels do not help: another score, model or better labels can", None
    threshold, n, k = prefixes[totals.index(total)]
    found = f"{k} of the {n} answers with a score of at most {threshold:.6g} are wrong ({k / n:.1%})"
    needed = answers_needed(k / n, alpha, delta)
    return (
        f"{found}, and it takes {'about ' * bool(k)}{needed} such answers to certify with this share of wrong ones",
        max(math.ceil(total) - groups, math.ceil(groups / 4)),  # just enough certify in every second case
    )


def _prefixes(ranked: Sequence[tuple[float, bool]]) -> list[tuple[float, int, int]]:
    """Return (threshold, answered, wrong) at quantiles of the ranked scores, of at least ten answers if possible.

    If several answers have the lowest score, as unanimous groups have, they are one of these.
    """
    count = len(ranked)
    found: dict[float, tuple[float, int, int]] = {}
    has_lowest = count > 1 and ranked[1][0] == ranked[0][0]
    sizes = [max(_FEWEST_SHOWN, math.ceil(count * step / _STEPS)) for step in range(1, _STEPS + 1)]
    for size in (*((1,) if has_lowest else ()), *(min(count, size) for size in sizes)):
        threshold = ranked[size - 1][0]
        labels = [label for score, label in ranked if score <= threshold]
        found[threshold] = threshold, len(labels), sum(labels)
    return list(found.values())
