"""The other end of the math judge's pipe: parses and verifies with math-verify, in a process that may be killed.

Run as a script by `math_pool`; imports nothing of this package. Tasks come in as JSON lines `[[left, right], ...]`,
strings only. Out go lines of one letter and a JSON value: `L`, `R` and `V` (now parsing left, parsing right, verifying)
and `=` (the verdict of a task: [same, reason]).

The wall clock limit is an interval timer with the kernel's default action: it ends the process whatever sympy is doing,
in C or with the interpreter locked, and also where the parent has died. Only LaTeX is parsed: math-verify's reader of
plain expressions calls Python's `eval`, and text is never evaluated here.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

POLICIES = ("both", "either", "forward")


def main() -> None:
    """Serve tasks from stdin until it closes."""
    timeout, memory_mb, policy = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # nothing that a library prints may reach the pipe
    judge = _Judge(out, timeout, policy)
    _limit_memory(memory_mb)
    print("ready", file=out)
    for line in sys.stdin:
        for left, right in json.loads(line):
            try:
                verdict = judge.verdict(left, right)
            except MemoryError:
                print("=", json.dumps([None, f"needs more than {memory_mb} MB"]), file=out)
                return  # a process that ran out once is not to be trusted with the next task
            print("=", json.dumps(verdict), file=out)


class _Judge:
    def __init__(self, out: Any, timeout: float, policy: str) -> None:
        logging.disable(logging.CRITICAL)
        from math_verify import LatexExtractionConfig, parse, verify  # sympy: half a second

        sys.set_int_max_str_digits(0)  # a long number is slow, not an error; the timer takes care of slow
        config = [LatexExtractionConfig(boxed_match_priority=0)]
        self._out, self._timeout, self._policy, self._verify = out, timeout, policy, verify
        self._parse = lru_cache(maxsize=4096)(
            lambda text: parse(as_latex(text), extraction_config=config, parsing_timeout=None)
        )
        self._value = lru_cache(maxsize=4096)(lambda text: _value(self._parse(text)[0]))

    def verdict(self, left: str, right: str) -> tuple[bool | None, str | None]:
        self._timer(self._timeout)
        try:
            print("L", file=self._out)
            one = self._parse(left)
            print("R", file=self._out)
            other = self._parse(right)
            print("V", file=self._out)
            if not one or not other:
                return None, "math-verify cannot parse it"
            if _far(self._value(left), self._value(right)):
                return False, None
            return self._same(one, other), None
        except RecursionError:
            return None, "nested too deeply"
        finally:
            self._timer(0)

    def _same(self, one: Any, other: Any) -> bool:
        there = bool(self._verify(one, other, timeout_seconds=None))
        if self._policy == "forward" or there is (self._policy == "either"):
            return there
        return bool(self._verify(other, one, timeout_seconds=None))

    @staticmethod
    def _timer(seconds: float) -> None:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)


def _value(expression: Any) -> complex | None:
    """The expression at one fixed point, or None where it is not a plain expression: a set, a relation, words.

    Two that are far apart there are not equal, which spares math-verify its simplifications: nearly all of its time
    goes into answers that differ.
    """
    from sympy import Expr, Float, Symbol, UnevaluatedExpr

    if not isinstance(expression, Expr) or isinstance(expression, Symbol) or expression.has(UnevaluatedExpr):
        return None  # a symbol alone may be a word; an unevaluated factor is a percent, 50 or 0.5 as need be
    try:
        point = {symbol: Float(_coordinate(symbol.name)) for symbol in expression.free_symbols}
        value = complex(expression.subs(point).evalf(15))
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return None  # no number comes out: an integral left as it is, a function nobody knows
    return value if abs(value) < _LARGE else None


_LARGE = 1e12  # past it, fifteen digits no longer tell two values apart by _APART
_APART = 1e-4  # a hundred times what math-verify rounds to


def _coordinate(name: str) -> float:
    """Between 1 and 2, by name: where roots and logarithms are real, and the same in every process."""
    return 1 + (zlib.crc32(name.encode()) % 9973) / 9973


def _far(one: complex | None, other: complex | None) -> bool:
    return one is not None and other is not None and abs(one - other) > _APART * max(1.0, abs(one), abs(other))


def as_latex(text: str) -> str:
    """The answer as math-verify expects one: boxed where its braces balance, else between dollars."""
    balanced = text.replace("\\{", "").replace("\\}", "")
    return rf"\boxed{{{text}}}" if balanced.count("{") == balanced.count("}") else f"${text}$"


def _limit_memory(megabytes: int) -> None:
    try:
        import resource  # not on Windows
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + megabytes * 2**20,) * 2)


def _address_space() -> int:
    """What the imports already take, in bytes: the limit is on top."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 1 << 30


if __name__ == "__main__":
    main()
