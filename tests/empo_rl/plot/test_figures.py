"""What is on the axes, read back from matplotlib; the files by what they are."""

import math
from itertools import pairwise

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from empo_rl.plot.evaluations import Evaluated
from empo_rl.plot.figures import Material, draw
from empo_rl.plot.other_sources import draw_cost, draw_scatter
from empo_rl.plot.panels import BY_NAME, NAMES
from empo_rl.plot.run_files import Alarm, Run
from empo_rl.plot.steps import draw_alarms, draw_steps
from empo_rl.plot.style import look

ALARM = Alarm(3, "entropy_floor")


def run(name="run", *, shift=0.0, steps=12, alarms=(ALARM,)):
    rows = [
        {
            "step": step,
            "empo/entropy": 1 / step + shift,
            "empo/accuracy": 1 - 1 / step,
            "empo/golden_correlation": math.sin(step),
            "empo/reward": -step,
            "empo/keep_fraction": 0.5,
            "empo/step_skipped": float(step == 7),
            "completions/mean_length": 30.0,
            "cost/generation_seconds": 1.0,
            "cost/judging_seconds": 0.5,
            "cost/loss_seconds": 2.5,
            "cost/step_seconds": 4.0,
            "cost/peak_memory_gib": 0.5 + step,
        }
        for step in range(1, steps + 1)
    ]
    return Run(name, tuple(rows), {}, tuple(alarms))


@pytest.fixture
def axes():
    return Figure().add_subplot()


def lines(axes):
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()]


def test_a_smoothed_curve_has_what_was_measured_behind_it(axes):
    draw_steps(axes, BY_NAME["entropy"], [run(alarms=())], window=4)
    (steps, measured), (_, mean) = lines(axes)
    assert steps == list(range(1, 13))
    assert measured == [1 / step for step in steps]
    assert mean[3] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    behind, front = axes.get_lines()
    assert behind.get_alpha() < 0.5
    assert front.get_alpha() is None


def test_entropy_begins_at_zero_shares_have_all_of_their_range_and_a_negative_reward_is_not_cut(axes):
    draw_steps(axes, BY_NAME["entropy"], [run()], window=1)
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > 1
    draw_steps(axes, BY_NAME["accuracy"], [run()], window=1)
    assert axes.get_ylim() == pytest.approx((-0.03, 1.03))
    other = Figure().add_subplot()
    draw_steps(other, BY_NAME["reward"], [run()], window=1)
    assert other.get_ylim()[0] < -12


def test_skipped_steps_are_marked(axes):
    draw_steps(axes, BY_NAME["keep"], [run()], window=1)
    assert [7] in [steps for steps, _ in lines(axes)]
    assert "step skipped: nothing kept" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_alarms_have_a_row_each_and_stand_at_their_steps(axes):
    alarms = [Alarm(3, "entropy_floor"), Alarm(5, "length_drift"), Alarm(9, "entropy_floor")]
    draw_alarms(axes, [run(alarms=alarms)])
    assert lines(axes) == [([3, 5, 9], [0, 1, 0])]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["entropy_floor", "length_drift"]


def test_the_first_alarm_stands_in_the_other_panels(axes):
    draw_steps(axes, BY_NAME["entropy"], [run(alarms=[Alarm(9, "b"), Alarm(4, "a")])], window=1, explain=True)
    assert [4, 4] in [steps for steps, _ in lines(axes)]
    assert axes.get_legend().get_texts()[-1].get_text() == "first alarm"


def test_the_bar_of_a_run_is_the_mean_step_by_part(axes):
    draw_cost(axes, [run()])
    assert [bar.get_width() for bar in axes.patches] == [1.0, 0.5, 2.5]
    assert [text.get_text() for text in axes.texts] == [" 25%, 12%, 62%\n peak memory 12.5 GiB"]
    assert axes.get_xlabel().endswith("(seconds)")


def test_the_scatter_has_pearsons_r_of_the_steps(axes):
    draw_scatter(axes, [run()])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["r = -1.00, 12 steps"]


def test_up_to_seven_runs_differ_in_colour_and_mark_and_neighbours_in_grey_too():
    looks = [look(number) for number in range(7)]
    assert len({style.colour for style in looks}) == len({style.mark for style in looks}) == 7
    assert all(a.dashes != b.dashes for a, b in pairwise(looks))
    weights = (0.2126, 0.7152, 0.0722)  # of red, green and blue in what the eye calls light
    colours = [mpl.colors.to_rgb(style.colour) for style in looks]
    grey = [sum(weight * part for weight, part in zip(weights, colour, strict=True)) for colour in colours]
    assert all(abs(a - b) > 0.08 for a, b in pairwise(grey))


@pytest.mark.parametrize("runs", [[run()], [run("one"), run("two", shift=0.2), run("three", steps=1)]])
def test_all_panels_together_are_a_png_and_an_svg_and_the_same_file_again(runs, tmp_path):
    curve = Evaluated("model", "math", (1, 2, 4), (0.4, 0.5, 0.6), (0.3, 0.4, 0.5), (0.5, 0.6, 0.7))
    material = Material(tuple(runs), (curve,), window=3)
    assert [name for name in NAMES if material.missing(name)] == []
    paths = [tmp_path / "all.png", tmp_path / "all.svg"]
    draw(NAMES, material, paths)
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    first = paths[1].read_text()
    assert "<svg" in first
    draw(NAMES, material, paths)
    assert paths[1].read_text() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.png", "all.svg"]


def test_what_is_missing_is_told_with_what_would_bring_it():
    bare = Material((Run("bare", ({"step": 1, "loss": 0.0},), {}, ()),))
    assert all(bare.missing(name) for name in NAMES)
    assert bare.missing("correlation") == "no run has empo/golden_correlation (empo.measure_gold=true writes it)"
