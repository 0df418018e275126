"""The command `empo-plot`, with directories that have the files of runs."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from empo_rl.plot.cli import main
from semantic_entropy import install_command

ROW = {"empo/entropy": 1.0, "empo/reward": 0.4, "empo/keep_fraction": 1.0}
SET = {"n": 2, **{name: {"value": 0.4, "low": 0.3, "high": 0.5} for name in ("pass@1", "mean@2", "pass@2")}}


def plot(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def run(tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    rows = "".join(json.dumps({"step": step, **ROW}) + "\n" for step in (1, 2, 3))
    (directory / "metrics.jsonl").write_text(rows)
    return directory


@pytest.fixture
def evaluation(tmp_path):
    directory = tmp_path / "evaluation"
    directory.mkdir()
    (directory / "results.json").write_text(json.dumps({"label": "m", "sets": {"math-500": SET}}))
    return directory


def test_a_directory_gets_a_png_and_an_svg_of_each_figure_and_missing_panels_are_reported(run, tmp_path):
    done = plot(run, "-o", tmp_path / "plots")
    assert done.exit_code == 0, done.output
    names = ["dynamics.png", "dynamics.svg", "training.png", "training.svg"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == names
    assert sorted(done.stdout.split()) == [str(tmp_path / "plots" / name) for name in names]
    assert "left out: correlation: no run has empo/golden_correlation" in done.stderr
    assert "left out: pass@k: no directory of `empo-eval` is given" in done.stderr


def test_a_file_contains_all_requested_panels(run, evaluation, tmp_path):
    done = plot(run, evaluation, "-o", tmp_path / "new" / "all.svg", "--only", "pass@k,entropy")
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["all.svg"]
    assert done.stderr == ""


def test_an_unfinished_last_line_of_a_run_is_left_out(run, tmp_path):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "em')
    done = plot(run, "-o", tmp_path / "x.png", "--only", "entropy")
    assert done.exit_code == 0
    assert "the last line is unfinished" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "entropi"], "'entropi': choose from entropy, accuracy"),
        (["--only", ","], "no panel is named"),
        (["--smooth", "0"], "0 is not in the range"),
        (["-o", "picture.pdf"], "the suffix of a file must be .png or .svg"),
        (["--only", "correlation"], "nothing to draw"),
    ],
)
def test_an_error_has_a_message_and_writes_no_file(arguments, message, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = plot(run, *arguments)
    assert done.exit_code in (1, 2)
    assert message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "contains a list, not 'sets'"),
        ('{"tables": 1}', "contains the keys ['tables'], not 'sets'"),
        (
            '{"sets": {"m": {"n": 0, "pass@1": {"value": 0.5}}}}',
            "no pass@k: evaluate with several samples for each question",
        ),
        ('{"sets": {"m": {"n": 2, "pass@2": 0.5}}}', "a pass@k of m does not have the form {value, low, high}"),
    ],
)
def test_an_evaluation_with_an_unknown_structure_is_refused(text, message, evaluation):
    (evaluation / "results.json").write_text(text)
    done = plot(evaluation)
    assert done.exit_code == 1
    assert message in done.stderr


def test_without_matplotlib_the_error_names_the_pip_command_and_help_works(run):
    code = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'matplotlib' else real(name, *more)\n"
        "sys.modules['matplotlib'] = None\n"
        "from empo_rl.plot.cli import main; main()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run([*command, str(run)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Error: empo-plot needs matplotlib, which is not installed" in done.stderr
    assert install_command("semantic-entropy[report]") in done.stderr
    assert subprocess.run([*command, "--help"], capture_output=True, text=True, check=False).returncode == 0
