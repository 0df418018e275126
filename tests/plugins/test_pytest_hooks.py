"""The pytest plugin in real runs of pytest, each a process: fixture, marker, settings, table, entry point, xdist."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.semantic_entropy.decisions.test_gate import CALIBRATION

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TESTS = """
    import pytest

    def test_sure(assert_consistent):
        result = assert_consistent(["Paris", "It is Paris.", "Paris"], question="Capital of France?")
        assert result.answer == "Paris"

    def test_unsure(assert_consistent):
        assert_consistent(["Lima", "Cuzco", "Arequipa"], name="Peru")

    def test_two_checks(assert_consistent):
        assert_consistent(["4", "4.0", "4"], name="sum")
        assert_consistent(["9", "9"], name="product", min_samples=2)

    def test_without_a_check():
        pass
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run pytest on a test file, in an environment where this package is installed with its entry point."""
    info = pytester.mkdir("semantic_entropy_of_tests-0.dist-info")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: semantic-entropy-of-tests\nVersion: 0\n")
    points = PYPROJECT["project"]["entry-points"]["pytest11"]
    (info / "entry_points.txt").write_text("[pytest11]\n" + "".join(f"{name} = {at}\n" for name, at in points.items()))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)

    def run_pytest(source, *options):
        pytester.makepyfile(**source) if isinstance(source, dict) else pytester.makepyfile(source)
        return pytester.runpytest_subprocess("--strict-markers", *options)

    return run_pytest


@pytest.mark.parametrize("options", [("-p", "no:xdist"), ("-n", "2")], ids=["one process", "xdist"])
def test_the_fixture_asserts_and_the_run_ends_with_a_table(run, options):
    if "-n" in options:
        pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    ran = run(TESTS, *options)
    ran.assert_outcomes(passed=3, failed=1)
    ran.stdout.fnmatch_lines(
        [
            "*AssertionError: not consistent: the entropy is 1.099 nats, above 0.5*",
            "*33.3%*1 x  Lima*",
            "*= semantic entropy =*",
            "test * check * n  entropy  p(wrong)  decision",
            "*::test_sure * Capital of France? * 3    0.000            pass",
            "*::test_two_checks * sum * 3    0.000            pass",
            "*::test_two_checks * product * 2    0.000            pass",
            "*::test_unsure * Peru * 3    1.099            fail",
            "    the entropy is 1.099 nats, above 0.5",
            "    1 x Lima",
            "    1 x Cuzco",
            "    1 x Arequipa",
            "4 checks of consistency, 1 failed",
        ]
    )
    assert "in assert_consistent" not in ran.stdout.str()  # the traceback ends at the line of the test


def test_the_nearest_marker_wins_over_the_configuration_and_an_argument_over_both(run, pytester):
    pytester.makeini("[pytest]\nsemantic_entropy_threshold = 0.1\nsemantic_entropy_equivalence = exact\n")
    ran = run(
        """
        import pytest

        TWO = ["Paris", "Paris", "Rome"]  # 0.637 nats

        def test_configuration(assert_consistent):
            assert assert_consistent(["Paris"] * 3).provenance.equivalence == "exact"
            assert_consistent(TWO)

        @pytest.mark.semantic_entropy(threshold=0.7, equivalence="text")
        class TestMarked:
            def test_class(self, assert_consistent):
                assert assert_consistent(TWO).provenance.equivalence.startswith("text")

            @pytest.mark.semantic_entropy(threshold=0.2)
            def test_function(self, assert_consistent):
                assert assert_consistent(TWO, threshold=0.64).provenance.equivalence.startswith("text")
                assert_consistent(TWO)
        """
    )
    ran.assert_outcomes(passed=1, failed=2)
    ran.stdout.fnmatch_lines(["    the entropy is 0.637 nats, above 0.2", "    the entropy is 0.637 nats, above 0.1"])


def test_a_sampler_of_the_marker_asks_the_model(run):
    ran = run(
        """
        import pytest
        from semantic_entropy.plugin import Sample, Sampler

        class Fixed(Sampler):
            name, settings = "fixed", "fixed"

            def __init__(self, *texts):
                self.texts = texts

            def stream(self, requests):
                for request in requests:
                    for i in range(request.n):
                        yield request, Sample(self.texts[i % len(self.texts)])

        @pytest.mark.semantic_entropy(sampler=Fixed("Lima"), n=4)
        def test_sure(assert_consistent):
            assert assert_consistent(question="Capital of Peru?").n_valid == 4
            assert assert_consistent(["Lima"] * 3).n_valid == 3  # the answers are there: nobody is asked

        @pytest.mark.semantic_entropy(sampler=Fixed("Lima", "Cuzco"), n=4)
        def test_unsure(assert_consistent):
            assert_consistent(question="Capital of Peru?")

        @pytest.mark.semantic_entropy(sampler=Fixed("Lima"), n="auto", threshold=0.4)
        def test_adaptive(assert_consistent):
            assert assert_consistent(question="Capital of Peru?").n_valid < 10
        """
    )
    ran.assert_outcomes(passed=2, failed=1)
    ran.stdout.fnmatch_lines(["*::test_unsure * Capital of Peru? * 4    0.693            fail"])


def test_a_calibration_decides_in_place_of_a_threshold(run, pytester):
    CALIBRATION.save(pytester.path / "calibration.json")
    pytester.makeini(
        "[pytest]\nsemantic_entropy_calibration = calibration.json\nsemantic_entropy_equivalence = exact\n"
    )
    ran = run(
        """
        import pytest

        def test_same(assert_consistent):
            assert_consistent(["Paris"] * 4, name="same")

        def test_split(assert_consistent):
            assert_consistent(["Paris", "Rome", "Oslo", "Bern"], name="split")

        def test_foreign(assert_consistent):
            assert_consistent(["Paris"] * 5, name="foreign")

        @pytest.mark.semantic_entropy(threshold=9)
        def test_nearest_rule(assert_consistent):
            assert_consistent(["Paris", "Rome", "Oslo", "Bern"], name="entropy")
            with pytest.raises(ValueError, match="are two rules: pass one of them"):
                assert_consistent(["Paris"] * 4, threshold=1, calibration="calibration.json")
        """
    )
    ran.assert_outcomes(passed=2, failed=2)
    ran.stdout.fnmatch_lines(
        [
            "*::test_foreign * foreign * 5    0.000            defer",
            "    the calibration is for other conditions: n 4 responses, and here 5 responses*",
            "*::test_nearest_rule * entropy * 4    1.386            pass",
            "*::test_same * same * 4    0.000     0.007  warn",  # the model is undeclared
            "*::test_split * split * 4    1.386     0.998  block",
        ]
    )


CAUGHT = """
    import contextlib
    import pytest

    def test_caught(assert_consistent):
        try:
            assert_consistent(["Lima", "Cuzco", "Arequipa"], name="Peru")
        except AssertionError:
            pass

    def test_expected_in_the_test(assert_consistent):
        with pytest.raises(AssertionError):
            assert_consistent(["a", "b"], name="raises")

    def test_skipped_after_it(assert_consistent):
        with contextlib.suppress(AssertionError):
            assert_consistent(["a", "b"], name="skips")
        pytest.skip("no")

    @pytest.fixture
    def checked(assert_consistent):
        with contextlib.suppress(AssertionError):
            assert_consistent(["a", "b"], name="fixture")

    def test_with_a_fixture(checked):
        pass

    @pytest.mark.xfail
    def test_expected_to_fail(assert_consistent):
        with contextlib.suppress(AssertionError):
            assert_consistent(["a", "b"], name="known")

    def test_not_caught(assert_consistent):
        assert_consistent(["4"] * 3, name="sum")
"""


@pytest.mark.parametrize("options", [("-p", "no:xdist"), ("-n", "2")], ids=["one process", "xdist"])
def test_a_failed_check_that_the_test_caught_fails_the_run(run, options):
    if "-n" in options:
        pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    ran = run(CAUGHT, *options, "--junitxml=junit.xml")
    assert ran.ret == 1
    ran.assert_outcomes(passed=1, failed=3, errors=1, xpassed=1)
    ran.stdout.fnmatch_lines(
        [
            "assert_consistent failed, and the test caught its AssertionError (Peru: the entropy is 1.099 nats*",
            "*::test_caught * Peru * 3    1.099            fail",
            "*::test_with_a_fixture * fixture * 2    0.693            fail",
            "6 checks of consistency, 5 failed",
        ]
    )


def test_a_wrong_setting_is_an_error_and_not_a_pass(run, pytester):
    ran = run(
        """
        import pytest

        @pytest.mark.semantic_entropy(0.5)
        def test_by_position(assert_consistent):
            assert_consistent(["a", "a"])

        @pytest.mark.semantic_entropy(treshold=0.5)
        def test_typing_mistake(assert_consistent):
            assert_consistent(["a", "a"])

        @pytest.mark.semantic_entropy(threshold=float("nan"))
        def test_nan(assert_consistent):
            assert_consistent(["a", "a"])
        """
    )
    ran.assert_outcomes(failed=2, errors=1)
    ran.stdout.fnmatch_lines(["*Did you mean 'threshold'?*", "*nan is no limit for an entropy in nats*"])
    pytester.makeini("[pytest]\nsemantic_entropy_threshold = low\n")
    ran = run("def test_it(assert_consistent): assert_consistent(['a', 'a'])")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*semantic_entropy_threshold = low is not a number*"])


def test_hostile_answers_reach_the_table_through_xdist(run):
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    ran = run(
        r"""
        def test_it(assert_consistent):
            assert_consistent(["\ud800 half", "\x1b[31m red", "line\nbreak", "", "x" * 5000], name="\ud800\n")
        """,
        *("-n", "1"),
    )
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*::test_it * 5    1.609            fail", "    1 x * half"])
    assert "\x1b[31m" not in ran.stdout.str().partition("= semantic entropy =")[2]


def test_a_run_without_a_check_has_no_table_and_imports_nothing_of_the_package(run):
    ran = run(
        """
        import sys

        def test_it(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("semantic_entropy")
            ours = [name for name in sys.modules if name.startswith("semantic_entropy")]
            assert sorted(ours) == ["semantic_entropy_plugins", "semantic_entropy_plugins.pytest_hooks"]
            assert "numpy" not in sys.modules
        """
    )
    ran.assert_outcomes(passed=1)
    assert "semantic entropy" not in ran.stdout.str()


def test_the_plugin_can_be_switched_off(run):
    ran = run(
        "def test_it(pytestconfig): assert not pytestconfig.pluginmanager.hasplugin('semantic_entropy')",
        *("-p", "no:semantic_entropy"),
    )
    ran.assert_outcomes(passed=1)


def test_the_marker_is_listed(run):
    ran = run("", "--markers")
    ran.stdout.fnmatch_lines(["@pytest.mark.semantic_entropy(threshold=...*"])


def test_the_example_of_the_docs_prints_the_table_of_the_docs(run):
    page = (ROOT / "docs/how-to/gate.md").read_text(encoding="utf-8").partition("## In a test\n")[2]
    source, table = page.split("```")[1::2][:2]
    ran = run({"test_capitals": source.removeprefix("python\n")})
    ran.assert_outcomes(passed=1, failed=1)
    shown = table.removeprefix("text\n").splitlines()[1:]  # without the rule, which is as wide as the terminal
    ran.stdout.fnmatch_lines(shown, consecutive=True)
