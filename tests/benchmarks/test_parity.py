"""benchmarks/parity.py: it finds each kind of difference, and its engines that need no further package agree."""

import dataclasses
import importlib.util
import json
import math
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NO_SAMPLES = ["--samples", "missing.jsonl"]


@pytest.fixture(scope="module")
def parity():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("parity", BENCHMARKS / "parity.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["parity"] = module  # for its dataclasses
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def cases_module(parity):
    return sys.modules["parity_engines.cases"]


@pytest.fixture(scope="module")
def decided(cases_module):
    """The cases, and the rows of the reference."""
    from parity_engines.local import decide

    cases = cases_module.make_cases(None)
    return cases, decide(cases)


def test_the_cases_have_the_groups_that_are_hard(decided):
    cases, ran = decided
    by_name = {case.name: case for case in cases}
    assert {len(group.completions) for group in by_name["sizes"].groups} >= {2, 3, 8}
    assert any(any(group.truncated) for group in by_name["window"].groups)
    assert all(len(case.groups) % 2 for case in cases if case.name != "sizes")  # two processes cut a group
    kept = [any(rows.loss_mask) for rows in ran.cases["window"]]
    assert any(kept)
    assert not all(kept)
    assert any(any(rows.loss_mask) and not all(rows.loss_mask) for rows in ran.cases["drop"])
    assert any(reward is None for rows in ran.cases["drop"] for reward in rows.rewards)
    assert any(all(rows.loss_mask) and len(set(rows.rewards)) == 1 for rows in ran.cases["window"])  # equal rewards


def changed(ran, case, group, **columns):
    """The rows of an engine with other columns in one group."""
    groups = list(ran.cases[case])
    groups[group] = dataclasses.replace(groups[group], **columns)
    return dataclasses.replace(ran, cases={**ran.cases, case: groups})


def test_a_flipped_reward_mask_or_advantage_a_missing_reward_and_nan_are_found(decided, cases_module):
    cases, ran = decided
    rows = ran.cases["sizes"][1]
    first, *others = rows.rewards
    compare = cases_module.compare
    assert compare(cases, ran, ran).equal
    assert compare(cases, ran, changed(ran, "sizes", 1, rewards=[first + 2e-6, *others])).reward_difference > 1e-6
    wrong = {
        "reward": {"rewards": [1 - first, *others]},
        "mask": {"loss_mask": [not rows.loss_mask[0], *rows.loss_mask[1:]]},
        "advantage": {"advantages": [rows.advantages[0] + 2e-6, *rows.advantages[1:]]},
        "no reward": {"rewards": [None, *others]},
        "nan": {"advantages": [math.nan, *rows.advantages[1:]]},
        "short": {"rewards": others},
    }
    for name, columns in wrong.items():
        assert not compare(cases, ran, changed(ran, "sizes", 1, **columns)).equal, name
    assert compare(cases, ran, changed(ran, "sizes", 1, rewards=[first + 1e-7, *others])).equal


def test_a_case_that_is_missing_or_a_comparison_of_nothing_is_no_equality(decided, cases_module):
    cases, ran = decided
    fewer = dataclasses.replace(ran, cases={name: rows for name, rows in ran.cases.items() if name != "text"})
    assert not cases_module.compare(cases, ran, fewer).equal
    assert cases_module.compare(cases, ran, dataclasses.replace(fewer, left_out={"text": "a reason"})).equal
    nothing = dataclasses.replace(ran, cases={}, left_out={case.name: "a reason" for case in cases})
    assert not cases_module.compare(cases, ran, nothing).equal


def test_slime_and_the_service_agree_with_one_process(parity, capsys):
    engines = ["slime", *(["service"] if find_spec("fastapi") else [])]
    status = parity.main(["--only", *engines, *NO_SAMPLES])
    printed = capsys.readouterr()
    assert status == 0, printed
    rows = [line.split("|") for line in printed.out.splitlines() if line.startswith("|")]
    assert [row[1].strip() for row in rows[2:]] == ["local", *engines]
    assert all(int(row[2]) > 30 for row in rows[2:])


@pytest.mark.timeout(280)
@pytest.mark.parametrize("engine", ["trl", "trl-2"])
def test_trl_agrees_with_one_process(engine, parity, capsys):
    pytest.importorskip("trl", reason="the extra rl is not installed")
    assert parity.main(["--only", engine, *NO_SAMPLES]) == 0, capsys.readouterr()


def other_engine(parity, code):
    """slime's runner in a process that runs this code first."""
    return parity.Engine("slime", ("-c", f"{code}; from parity_engines import slime_rollout as s; s.run(s.decide)"))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import empo_rl.core.advantages as a; a.EPSILON = 1e-6", "NOT equal"),  # slime's own constant
        ("import empo_rl.core.provider as p; p.EmpoProvider.close = None; raise OSError('gone')", "not run: OSError"),
        ("raise SystemExit(3)", "not run: exit status 3"),
    ],
)
def test_another_constant_and_an_engine_that_ends_are_failures(code, found, parity, capsys):
    engines = [parity.ENGINES[0], other_engine(parity, code)]
    assert parity.main(NO_SAMPLES, engines) == 1
    printed = capsys.readouterr().out
    assert found in printed
    assert "NOT equal" in printed


def test_an_engine_whose_package_is_missing_fails_unless_it_is_left_out(parity, capsys):
    missing = parity.Engine("verl", ("-c", "import no_such_package"))
    engines = [parity.ENGINES[0], missing]
    assert parity.main(NO_SAMPLES, engines) == 1
    assert "not run: ModuleNotFoundError: No module named 'no_such_package'" in capsys.readouterr().out
    assert parity.main(["--without", "verl", *NO_SAMPLES], engines) == 0


def test_the_output_of_a_runner_is_read_back(decided, cases_module, tmp_path):
    cases, ran = decided
    cases_module.write_cases(tmp_path / "cases.json", cases)
    assert cases_module.read_cases(tmp_path / "cases.json") == cases
    (tmp_path / "ran.json").write_text(json.dumps(dataclasses.asdict(ran)))
    assert cases_module.read_ran(tmp_path / "ran.json") == ran
