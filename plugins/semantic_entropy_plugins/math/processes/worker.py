"""A worker process of the math judge: parses and compares answers with math-verify, and may be killed at any time.

`pool` runs this file as a script. The script imports nothing of this package, so that the process starts fast and
stays small. The process imports math-verify once and forks a child, which does the work. When a task kills the child,
the next child is ready within milliseconds. A message from the host is one JSON line with strings and numbers only:
`{"wall": seconds, "tasks": [[left, right, cpu seconds or null, [group, ...]], ...], "left": [seconds, ...]}`; a task is
not tried if all its groups have used the seconds that they have left. A reply line is one letter and a JSON value:

    L R l r V   the stage that begins: parsing left, parsing right, evaluating left, evaluating right, comparing
    =           the verdict on the task: [same, reason, seconds]; null: the task was not tried
    !           the child died during the task: the negative number
        of the signal, or the exit status

The limits are interval timers with the kernel's default action. They end the child even in C code, while the
interpreter lock is held, and after the host has died. Only LaTeX is parsed: math-verify's parser of plain expressions
calls Python's `eval`, and no text is evaluated here.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import zlib
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

# The parser builds its tables on first use, half a second for the first expression; every child inherits the tables.
_WARM_UP = (
    (r"\frac{x^{2}-1}{\sqrt{2}}+\sin(2 \pi t)", r"k \left(4 k^{2}+e^{-a t}\right) \ln 3"),
    (r"x \in (-\infty, 2] \cup [3, 5)", r"\{1, 2\}"),
    ("x = 3", "1, 2"),
    ("x+1", "1+x"),
    ("2x+4y-3=0", r"y=-\frac{x}{2}+\frac{3}{4}"),  # solving
    (r"\begin{pmatrix}1&x\\2&3\end{pmatrix}", r"2\begin{pmatrix}1&x\\2&3\end{pmatrix}"),
)

OUT_OF_MEMORY = 3  # exit status
SLOW = 0.01  # seconds of computing: a faster comparison does not count, so that large groups are compared completely


def main() -> None:
    """Serve messages from stdin until it closes."""
    memory_mb, policy = int(sys.argv[1]), sys.argv[2]
    _default_signals()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of a library must not reach the pipe
    judge = _MathVerify(out, policy)
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
    """Restore the default action of the timers' signals, which the host may ignore or block.

    A process inherits ignored and blocked signals.
    """
    if hasattr(signal, "setitimer"):
        timers = (signal.SIGALRM, signal.SIGPROF)
        for number in timers:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, timers)


def _serve_in_child(judge: _MathVerify, out: IO[str]) -> int:
    """Run `_serve` in a child process. Returns 0 after stdin has closed, else the exit status of the child."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        _serve(judge, out)
        status = 0
    except MemoryError:
        status = OUT_OF_MEMORY  # a process that ran out of memory once is unreliable
    finally:
        os._exit(status)


def _serve(judge: _MathVerify, out: IO[str]) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        remaining = message["left"]
        for left, right, cpu, groups in message["tasks"]:
            if groups and max(remaining[group] for group in groups) <= 0:
                print("= null", file=out)
                continue
            judge.cpu = cpu or 0.0
            began = time.process_time()
            _timer("ITIMER_REAL", message["wall"])
            verdict = judge.verdict(left, right)
            _timer("ITIMER_REAL", 0.0)
            seconds = time.process_time() - began
            for group in groups:
                remaining[group] -= seconds if seconds > SLOW else 0.0
            print("=", json.dumps([*verdict, seconds]), file=out)


def _timer(name: str, seconds: float) -> None:
    """Set a timer, or stop the timer (0). Windows has no timers, so only the host's deadline applies on Windows."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(getattr(signal, name), seconds)


class _MathVerify:
    def __init__(self, out: IO[str], policy: str) -> None:
        logging.disable(logging.CRITICAL)
        from math_verify import LatexExtractionConfig, parse, verify  # sympy: half a second

        _keep_case()

        sys.set_int_max_str_digits(0)  # a long number is slow, not an error; the timers limit slow tasks
        config = [LatexExtractionConfig(boxed_match_priority=0)]
        self._out, self._policy, self._verify = out, policy, verify
        self.cpu = 0.0  # seconds of computing time for each stage of a task; 0: no limit
        self._parse = lru_cache(maxsize=4096)(
            lambda text: _normalised(parse(as_latex(text), extraction_config=config, parsing_timeout=None))
        )
        self._value = lru_cache(maxsize=4096)(lambda text: _value(self._parse(text)[0]))

    def verdict(self, left: str, right: str) -> tuple[bool | None, str | None]:
        try:
            one = self._in_stage("L", self._parse, left)
            other = self._in_stage("R", self._parse, right)
            if not one or not other:
                return None, "math-verify cannot parse an answer"
            if _differ(self._in_stage("l", self._value, left), self._in_stage("r", self._value, right)):
                return False, None
            return self._in_stage("V", self._same, one, other), None
        except RecursionError:
            _timer("ITIMER_PROF", 0.0)
            return None, "nested too deeply"

    def _in_stage(self, stage: str, function: Any, *arguments: Any) -> Any:
        """Report the stage to the host, then run the function with the whole limit of computing time."""
        print(stage, file=self._out)
        _timer("ITIMER_PROF", self.cpu)
        result = function(*arguments)
        _timer("ITIMER_PROF", 0.0)
        return result

    def _same(self, one: Any, other: Any) -> bool:
        forward = self._one_way(one, other)
        if self._policy == "forward" or forward is (self._policy == "either"):  # as `needs_reverse`, without an import
            return forward
        return self._one_way(other, one)

    def _one_way(self, one: Any, other: Any) -> bool:
        return bool(self._verify(one, other, timeout_seconds=None, allow_set_relation_comp=True))


def _keep_case() -> None:
    """Make math-verify's parser keep the case of letters: it reads R - r as 0, and has no option for it."""
    from functools import partial

    from latex2sympy2_extended.latex2sympy2 import ConversionConfig
    from math_verify import parser

    parser.latex2sympy = partial(parser.latex2sympy, conversion_config=ConversionConfig(lowercase_symbols=False))


def _normalised(parsed: list[Any]) -> list[Any]:
    """The parsed answer with `i` as the imaginary unit, and with sums and multiples of matrices computed.

    math-verify compares the names of two symbols without case, if they are long: such names get another spelling.
    """
    from sympy import I, MatrixExpr, Symbol

    if not parsed or isinstance(parsed[0], str):
        return parsed
    expression, *others = parsed
    if isinstance(expression, MatrixExpr):
        expression = expression.doit()
    symbols: set[Any] = getattr(expression, "free_symbols", set())
    if any(symbol.name == "i" for symbol in symbols):
        # math-verify makes the other symbols complex, but only if it has noticed the i: `2i` and `i x` would not agree
        same = {symbol: I if symbol.name == "i" else Symbol(symbol.name, real=True) for symbol in symbols}
        expression = expression.subs(same)
    capital = [symbol for symbol in symbols if len(symbol.name) > 1 and symbol.name != symbol.name.lower()]
    if capital:  # Sigma and sigma, X_A and X_a
        expression = expression.subs({symbol: Symbol(_spelled(symbol.name), real=symbol.is_real) for symbol in capital})
    return [expression, *others]


def _spelled(name: str) -> str:
    return "".join(f"{char.lower()}0" if char.isupper() else char for char in name)


class _Value(NamedTuple):
    """An expression's value at one fixed point.

    Attributes:
        number: an mpmath complex number, which neither overflows nor underflows.
        noise: the largest error that rounded decimals can cause.
        constant: whether the expression has no variables.
    """

    number: Any
    noise: Any
    constant: bool


def _value(expression: Any) -> _Value | None:
    """The expression's value at one fixed point, or None if it is no plain expression (a set, a relation, words).

    If the values of two expressions are far apart, the expressions are not equal. This test avoids math-verify's
    simplifications, which take nearly all of the time, mostly for answers that differ.
    """
    from sympy import Add, Expr, Float, MatrixExpr, Symbol, UnevaluatedExpr

    if not isinstance(expression, Expr) or isinstance(expression, MatrixExpr | Symbol):
        return None  # a single symbol may be a word
    if expression.has(UnevaluatedExpr):
        return None  # an unevaluated factor is a percentage, 50 or 0.5
    point = {symbol: Float(_coordinate(symbol.name), _DIGITS) for symbol in expression.free_symbols}
    terms = expression.args if isinstance(expression, Add) else (expression,)
    numbers = [_number(term.subs(point)) for term in terms]
    if None in numbers:
        return None
    total = sum(numbers)
    if abs(total) > _LARGE:
        return None
    return _Value(total, max(map(abs, numbers)) * _NOISE if len(numbers) > 1 else 0, not point)


def _number(expression: Any) -> Any:
    """An expression without variables as an mpmath number; None if it has no value (an unevaluated integral)."""
    from mpmath import isfinite, mpc, mpmathify
    from sympy import Float

    try:
        real, imaginary = expression.evalf(_DIGITS).as_real_imag()
        number = mpc(mpmathify(Float(real, _DIGITS)), mpmathify(Float(imaginary, _DIGITS)))
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return None
    return number if isfinite(number) else None


_LARGE = 1e12  # above this value, the digits do not resolve a small difference
_DIGITS = 20
_NOISE = 1e-12  # of the largest term: decimals have fifteen digits
_DIFFERENT = 1e-4  # relative, at a point: far above any rounding


def _coordinate(name: str) -> float:
    """A number between 1 and 2, where roots and logarithms are real. It depends only on the symbol's name."""
    return 1 + (zlib.crc32(name.encode()) % 9973) / 9973


def _differ(one: _Value | None, other: _Value | None) -> bool:
    if one is None or other is None:
        return False
    size = max(abs(one.number), abs(other.number))
    exact = 5e-7 if size >= 0.1 else 5e-6 * size  # as `comparison.tolerance`, without an import
    limit = exact if one.constant and other.constant else _DIFFERENT * size
    return bool(abs(one.number - other.number) > max(limit, one.noise, other.noise))


def as_latex(text: str) -> str:
    """The answer in the form that math-verify parses: boxed if its braces balance, else between dollar signs."""
    balanced = text.replace("\\{", "").replace("\\}", "")
    return rf"\boxed{{{text}}}" if balanced.count("{") == balanced.count("}") else f"${text}$"


def _limit_memory(megabytes: int) -> None:
    try:
        import resource  # not on Windows
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + megabytes * 2**20,) * 2)


def _address_space() -> int:
    """The memory of the imports in bytes; the memory limit is added to this number."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 1 << 30


if __name__ == "__main__":
    main()
