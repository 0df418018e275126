"""The other end of the math judge's pipe: parses and verifies with math-verify, in a process that may be killed.

Run as a script by `math.pool`; imports nothing of this package. It imports math-verify once and forks a child to do the
work; when a task kills the child, the next one is there in milliseconds. A message is a JSON line, strings only:
`{"cpu": seconds or null, "wall": seconds, "tasks": [[left, right], ...]}`. Out go lines of one letter and a JSON value:

    L R l r V   where the task is: parsing left, right, their values, verifying
    =           its verdict: [same, reason]
    !           the child died on it: minus the signal, or the exit status

The limits are interval timers with the kernel's default action: they end the child whatever sympy is doing, in C or
with the interpreter locked, and also where the host has died. Only LaTeX is parsed: math-verify's reader of plain
expressions calls Python's `eval`, and text is never evaluated here.
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
from typing import IO, Any

# The parser learns its grammar as it goes, half a second for a first expression; every child inherits what it learned.
_WARM_UP = (
    (r"\frac{x^{2}-1}{\sqrt{2}}+\sin(2 \pi t)", r"k \left(4 k^{2}+e^{-a t}\right) \ln 3"),
    (r"x \in (-\infty, 2] \cup [3, 5)", r"\{1, 2\}"),
    ("x = 3", "1, 2"),
    ("x+1", "1+x"),
)

POLICIES = ("both", "either", "forward")
OUT_OF_MEMORY = 3  # exit status


def main() -> None:
    """Serve messages from stdin until it closes."""
    memory_mb, policy = int(sys.argv[1]), sys.argv[2]
    _default_signals()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # nothing that a library prints may reach the pipe
    judge = _Judge(out, policy)
    for left, right in _WARM_UP:
        judge.verdict(left, right)
    _limit_memory(memory_mb)
    print("ready", file=out)
    if hasattr(os, "fork"):
        while died := _serve_in_child(judge, out):
            print("!", died, file=out)
    else:
        _serve(judge, out)


def _default_signals() -> None:
    """What the host ignores or blocks is inherited; the timers need the kernel's own action."""
    if hasattr(signal, "setitimer"):
        timers = (signal.SIGALRM, signal.SIGPROF)
        for number in timers:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, timers)


def _serve_in_child(judge: _Judge, out: IO[str]) -> int:
    """0 once stdin has closed, else how the child died."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        _serve(judge, out)
        status = 0
    except MemoryError:
        status = OUT_OF_MEMORY  # a process that ran out once is not to be trusted with the next task
    finally:
        os._exit(status)


def _serve(judge: _Judge, out: IO[str]) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        judge.cpu = message["cpu"] or 0.0
        for left, right in message["tasks"]:
            _timer("ITIMER_REAL", message["wall"])
            verdict = judge.verdict(left, right)
            _timer("ITIMER_REAL", 0.0)
            print("=", json.dumps(verdict), file=out)


def _timer(name: str, seconds: float) -> None:
    """Set or, with 0, stop it; without timers (Windows) the host's deadline is all there is."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(getattr(signal, name), seconds)


class _Judge:
    def __init__(self, out: IO[str], policy: str) -> None:
        logging.disable(logging.CRITICAL)
        from math_verify import LatexExtractionConfig, parse, verify  # sympy: half a second

        sys.set_int_max_str_digits(0)  # a long number is slow, not an error; the timers take care of slow
        config = [LatexExtractionConfig(boxed_match_priority=0)]
        self._out, self._policy, self._verify = out, policy, verify
        self.cpu = 0.0  # seconds of computing for each stage of a task; 0: no limit
        self._parse = lru_cache(maxsize=4096)(
            lambda text: parse(as_latex(text), extraction_config=config, parsing_timeout=None)
        )
        self._value = lru_cache(maxsize=4096)(lambda text: _value(self._parse(text)[0]))

    def verdict(self, left: str, right: str) -> tuple[bool | None, str | None]:
        try:
            one = self._at("L", self._parse, left)
            other = self._at("R", self._parse, right)
            if not one or not other:
                return None, "math-verify cannot parse it"
            if _far(self._at("l", self._value, left), self._at("r", self._value, right)):
                return False, None
            return self._at("V", self._same, one, other), None
        except RecursionError:
            _timer("ITIMER_PROF", 0.0)
            return None, "nested too deeply"

    def _at(self, stage: str, function: Any, *arguments: Any) -> Any:
        """Say where this task is before going there; it has all of its computing time for that."""
        print(stage, file=self._out)
        _timer("ITIMER_PROF", self.cpu)
        result = function(*arguments)
        _timer("ITIMER_PROF", 0.0)
        return result

    def _same(self, one: Any, other: Any) -> bool:
        there = bool(self._verify(one, other, timeout_seconds=None))
        if self._policy == "forward" or there is (self._policy == "either"):
            return there
        return bool(self._verify(other, one, timeout_seconds=None))


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
