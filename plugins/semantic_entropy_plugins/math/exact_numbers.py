"""Exact arithmetic on sums of q * sqrt(n) * pi^k, with a bound on every size.

A function raises `OutsideError` if its result does not have this form or exceeds a bound. Then math-verify compares the
answers. Only `approximate` uses floats.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from fractions import Fraction
from functools import lru_cache

MOST_BITS = 4096  # of a numerator or denominator: about 1,200 digits
LARGEST_EXPONENT = 256
_LARGEST_FACTORIAL = 300  # 2,000 bits
_LARGEST_RADICAND = 10**8  # trial division goes up to the square root, 10^4

ExactNumber = dict[tuple[int, int], Fraction]
"""(square-free radicand n, power k of pi) -> coefficient q. No coefficient is zero."""


class OutsideError(Exception):
    """The number does not have this form, or exceeds a bound."""


def add(left: ExactNumber, right: ExactNumber) -> ExactNumber:
    """The sum."""
    total = dict(left)
    for basis, coefficient in right.items():
        total[basis] = total.get(basis, Fraction()) + coefficient
    return without_zeros(total)


def scale(value: ExactNumber, factor: Fraction) -> ExactNumber:
    """The product of a number and a rational factor."""
    return {basis: coefficient * factor for basis, coefficient in value.items()}


def multiply(left: ExactNumber, right: ExactNumber) -> ExactNumber:
    """The product."""
    if len(left) * len(right) > 64:
        raise OutsideError
    product: ExactNumber = {}
    for (n, j), p in left.items():
        for (m, k), q in right.items():
            common = math.gcd(n, m)  # sqrt(n) sqrt(m) = common sqrt(n m / common^2), square-free again
            basis = (n * m // common**2, j + k)
            if basis[0] > _LARGEST_RADICAND:
                raise OutsideError
            product[basis] = product.get(basis, Fraction()) + p * q * common
    return _bounded(without_zeros(product))


def divide(left: ExactNumber, right: ExactNumber) -> ExactNumber:
    """The quotient; the divisor must have exactly one term."""
    if len(right) != 1:
        if not right:
            raise ZeroDivisionError
        raise OutsideError
    ((n, k), q), *_ = right.items()
    return multiply(left, {(n, -k): 1 / (q * n)})  # 1/sqrt(n) = sqrt(n)/n


def power(base: ExactNumber, exponent: int) -> ExactNumber:
    """The power."""
    if abs(exponent) > LARGEST_EXPONENT:
        raise OutsideError
    if exponent < 0:
        base, exponent = divide({(1, 0): Fraction(1)}, base), -exponent
    if exponent == 0 and not base:
        raise OutsideError
    result: ExactNumber = {(1, 0): Fraction(1)}
    for _ in range(exponent):
        result = multiply(result, base)
    return result


def factorial(value: ExactNumber) -> ExactNumber:
    """The factorial of a small whole number."""
    n = to_integer(value)
    if not 0 <= n <= _LARGEST_FACTORIAL:
        raise OutsideError
    return {(1, 0): Fraction(math.factorial(n))}


def root(value: ExactNumber, degree: int) -> ExactNumber:
    """The root of a rational number: any square root, or a higher root if the result is rational."""
    if not value:
        return {}
    if set(value) != {(1, 0)} or value[1, 0] < 0 or not 2 <= degree <= 16:
        raise OutsideError
    q = value[1, 0]
    if degree == 2:
        if q.numerator * q.denominator > _LARGEST_RADICAND:
            numerator, denominator = math.isqrt(q.numerator), math.isqrt(q.denominator)
            if Fraction(numerator**2, denominator**2) != q:
                raise OutsideError
            return {(1, 0): Fraction(numerator, denominator)}
        outside, inside = _square_part(q.numerator * q.denominator)
        return {(inside, 0): Fraction(outside, q.denominator)}
    roots = [round(part ** (1 / degree)) for part in (q.numerator, q.denominator)]
    if roots[0] ** degree != q.numerator or roots[1] ** degree != q.denominator:
        raise OutsideError
    return {(1, 0): Fraction(*roots)}


@lru_cache(maxsize=4096)
def _square_part(n: int) -> tuple[int, int]:
    """N = outside^2 * inside, with `inside` square-free."""
    if n > _LARGEST_RADICAND:
        raise OutsideError
    outside, inside, factor = 1, n, 2
    while factor * factor <= inside:
        if inside % (factor * factor) == 0:
            inside //= factor * factor
            outside *= factor
        else:
            factor += 1
    return outside, inside


def to_integer(value: ExactNumber) -> int:
    """The value as an int."""
    if not value:
        return 0
    if set(value) != {(1, 0)} or value[1, 0].denominator != 1:
        raise OutsideError
    return value[1, 0].numerator


def without_zeros(value: ExactNumber) -> ExactNumber:
    """The number without terms whose coefficient is zero."""
    return {basis: coefficient for basis, coefficient in value.items() if coefficient}


def _bounded(value: ExactNumber) -> ExactNumber:
    for coefficient in value.values():
        if coefficient.numerator.bit_length() > MOST_BITS or coefficient.denominator.bit_length() > MOST_BITS:
            raise OutsideError
    return value


def hashable(value: ExactNumber) -> Hashable:
    """A key: two keys are equal if and only if the two values are equal."""
    if not value:
        return 0
    if len(value) > 1 or (1, 0) not in value:
        return frozenset(value.items())
    rational = value[1, 0]
    return rational.numerator if rational.denominator == 1 else rational  # an int is compared faster


def subtract(left: ExactNumber, right: ExactNumber) -> ExactNumber:
    """The difference."""
    return add(left, scale(right, Fraction(-1)))


def approximate(value: ExactNumber) -> float:
    """The value as a float, to distinguish values that are far apart.

    Raises:
        OverflowError: the value is too large for a float.
    """
    return float(sum(float(q) * math.sqrt(n) * math.pi**k for (n, k), q in value.items()))
