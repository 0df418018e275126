from empo_rl.plot.panels import BY_NAME, FIGURES, NAMES
from empo_rl.plot.run_files import Run


def run(name, *rows):
    return Run(name, rows, {}, ())


BOTH = run("both", {"step": 1, "empo/accuracy": 0.5, "eval/pass@1": 0.5, "eval/mean@8": 0.4})
EVALUATED = run("evaluated", {"step": 1, "eval/mean@8": 0.4})


def columns(name, *runs):
    return [curve.column for curve in BY_NAME[name].available_curves(runs)]


def test_one_run_shows_all_its_curves():
    assert columns("accuracy", BOTH) == ["empo/accuracy", "eval/pass@1", "eval/mean@8"]
    assert columns("entropy", BOTH) == []


def test_several_runs_show_the_curve_that_most_runs_have():
    assert columns("accuracy", BOTH, EVALUATED) == ["empo/accuracy", "eval/mean@8"]
    assert columns("accuracy", BOTH, BOTH) == ["empo/accuracy", "eval/pass@1"]


def test_every_panel_is_in_exactly_one_figure():
    assert sorted(NAMES) == sorted(set(NAMES))
    assert set(BY_NAME) < set(NAMES)
    assert sum(map(len, FIGURES.values())) == len(NAMES)
