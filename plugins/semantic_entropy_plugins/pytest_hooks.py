"""The pytest plugin: a fixture `assert_consistent`, a marker with its defaults, and a table at the end of the run.

    @pytest.mark.semantic_entropy(threshold=0.3, sampler="openai", sampler_options={"model": "gpt-4.1-mini"}, n=10)
    def test_the_model_knows_the_capital(assert_consistent):
        assert_consistent(question="What is the capital of Peru?")

pytest imports this module at its start in every project of the environment, so the module imports nothing but pytest:
the package is imported when a test uses the fixture. It works with pytest 7.0 or newer, and with pytest-xdist: the
lines of the table travel in the reports of the tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

_CHECKS = "semantic_entropy_checks"  # the attribute of a test, and of a report, with the checks
_PASSED_SHOWN = 50  # most checks that passed in the table
_INI = {
    "threshold": "The highest entropy in nats that assert_consistent lets pass; default: 0.5.",
    "calibration": "A calibration file in place of a threshold; the path is relative to the root of the project.",
    "equivalence": "The judge of assert_consistent; default: auto.",
    "n": 'The number of responses that the sampler of assert_consistent draws, or "auto".',
}
_MARKER = (
    "semantic_entropy(threshold=..., equivalence=..., sampler=..., n=..., ...): defaults for the arguments of "
    "assert_consistent in this test"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings of the configuration file."""
    for name, text in _INI.items():
        parser.addini(f"semantic_entropy_{name}", text, default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, which `--strict-markers` asks for."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def assert_consistent(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Raise AssertionError unless several answers to one question mean the same: see docs/how-to/gate.md.

    `assert_consistent(responses, question=None, threshold=..., ...)` has the arguments of
    `semantic_entropy.integrations.assert_consistent`, and defaults from the marker `semantic_entropy` and from the
    configuration of pytest.
    """
    from semantic_entropy.integrations.consistency import recorded

    markers = list(request.node.iter_markers("semantic_entropy"))[::-1]  # the nearest one comes last
    for marker in markers:
        if marker.args:
            raise pytest.UsageError(
                f"pytest.mark.semantic_entropy takes arguments by name, and not {marker.args!r:.80}"
            )
    settings = [_from_configuration(request.config), *(marker.kwargs for marker in markers)]
    return recorded(settings, request.node.__dict__.setdefault(_CHECKS, []).append)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Put the checks of a test into its report, which pytest-xdist sends to the process with the terminal.

    A test that passes although a check failed has caught the error of `assert_consistent`: it fails here, so that the
    exit status of the run and the table say the same.
    """
    outcome: Any = yield
    if checks := item.__dict__.get(_CHECKS):
        report = outcome.get_result()
        setattr(report, _CHECKS, list(checks))
        caught = [check for check in checks if check["reasons"]]
        checks.clear()  # the report of the next phase has the checks of that phase
        if caught and report.outcome != "failed" and not hasattr(report, "wasxfail"):
            report.outcome, report.longrepr = "failed", _caught(caught)


def _caught(checks: list[dict[str, Any]]) -> str:
    named = "; ".join(f"{check['name'] or 'a check'}: {check['reasons'][0]}" for check in checks)
    return (
        f"assert_consistent failed, and the test caught its AssertionError ({named}). A test that expects answers to "
        "differ uses check_consistency(...).passed of semantic_entropy.integrations, or pytest.mark.xfail"
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, if a test has a check."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    rows = [(report.nodeid, check) for report in reports for check in getattr(report, _CHECKS, ())]
    if not rows:
        return
    failed = sum(bool(check["reasons"]) for _, check in rows)
    terminalreporter.write_sep("=", "semantic entropy")
    for line in _table(sorted(rows, key=lambda row: row[0])):
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"{len(rows)} checks of consistency, {failed} failed")


def _from_configuration(config: pytest.Config) -> dict[str, Any]:
    settings: dict[str, Any] = {name: value for name in _INI if (value := config.getini(f"semantic_entropy_{name}"))}
    for name, kind in (("threshold", float), ("n", int)):
        if name in settings and settings[name] != "auto":
            try:
                settings[name] = kind(settings[name])
            except ValueError:
                raise pytest.UsageError(f"semantic_entropy_{name} = {settings[name]} is not a number") from None
    if "calibration" in settings:
        settings["calibration"] = config.rootpath / settings["calibration"]
    return settings


def _table(rows: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """Yield the lines of the table: all checks that failed, with their reasons and meanings, and some that passed."""
    shown, passed = [], 0
    for test, check in rows:
        passed += not check["reasons"]
        if check["reasons"] or passed <= _PASSED_SHOWN:
            entropy = "unknown" if math.isnan(check["entropy"]) else f"{check['entropy']:.3f}"
            p_wrong = "" if check["p_wrong"] is None else f"{check['p_wrong']:.3f}"
            shown.append(((test, check["name"], str(check["n"]), entropy, p_wrong, check["decision"]), check))
    heads = ("test", "check", "n", "entropy", "p(wrong)", "decision")
    widths = [max(len(head), *(len(cells[i]) for cells, _ in shown)) for i, head in enumerate(heads)]
    yield _line(heads, widths)
    for cells, check in shown:
        yield _line(cells, widths)
        for text in (*check["reasons"], *check["meanings"]):
            yield f"    {text}"
    if passed > _PASSED_SHOWN:
        yield f"... and {passed - _PASSED_SHOWN} more checks that passed"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    texts = [
        cell.rjust(width) if column in (2, 3, 4) else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(texts).rstrip()
