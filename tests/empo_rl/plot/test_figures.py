"""The content of the axes, read from matplotlib, and the files."""

import math
from itertools import pairwise

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from empo_rl.plot.figures import PlotData, draw_figure
from empo_rl.plot.panels import BY_NAME, NAMES
from empo_rl.plot.pass_at_k_panel import PassAtKCurve
from empo_rl.plot.run_files import RaisedAlarm, Run
from empo_rl.plot.step_panels import draw_alarms, draw_steps
from empo_rl.plot.style import line_style
from empo_rl.plot.summary_panels import draw_cost, draw_scatter

ALARM = RaisedAlarm(3, "entropy_floor")


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


def test_a_smoothed_curve_has_the_measured_curve_behind_it(axes):
    draw_steps(axes, BY_NAME["entropy"], [run(alarms=())], window=4)
    (steps, measured), (_, mean) = lines(axes)
    assert steps == list(range(1, 13))
    assert measured == [1 / step for step in steps]
    assert mean[3] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    measured_line, mean_line = axes.get_lines()
    assert measured_line.get_alpha() < 0.5
    assert mean_line.get_alpha() is None


def test_the_y_axis_shows_zero_for_entropy_the_full_range_for_shares_and_negative_rewards(axes):
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


def test_each_kind_of_alarm_has_a_row_with_markers_at_its_steps(axes):
    alarms = [RaisedAlarm(3, "entropy_floor"), RaisedAlarm(5, "length_drift"), RaisedAlarm(9, "entropy_floor")]
    draw_alarms(axes, [run(alarms=alarms)])
    assert lines(axes) == [([3, 5, 9], [0, 1, 0])]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["entropy_floor", "length_drift"]


def test_the_first_alarm_is_marked_in_the_other_panels(axes):
    draw_steps(
        axes, BY_NAME["entropy"], [run(alarms=[RaisedAlarm(9, "b"), RaisedAlarm(4, "a")])], window=1, explain=True
    )
    assert [4, 4] in [steps for steps, _ in lines(axes)]
    assert axes.get_legend().get_texts()[-1].get_text() == "first alarm"


def test_the_bar_of_a_run_shows_the_mean_time_of_each_part_of_a_step(axes):
    draw_cost(axes, [run()])
    assert [bar.get_width() for bar in axes.patches] == [1.0, 0.5, 2.5]
    assert [text.get_text() for text in axes.texts] == [" 25%, 12%, 62%\n peak memory 12.5 GiB"]
    assert axes.get_xlabel().endswith("(seconds)")


def test_the_legend_of_the_scatter_panel_shows_pearsons_r(axes):
    draw_scatter(axes, [run()])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["r = -1.00, 12 steps"]


def test_seven_runs_differ_in_colour_and_marker_and_neighbours_also_in_lightness():
    styles = [line_style(number) for number in range(7)]
    assert len({style.colour for style in styles}) == len({style.marker for style in styles}) == 7
    assert all(a.dashes != b.dashes for a, b in pairwise(styles))
    weights = (0.2126, 0.7152, 0.0722)  # weights of red, green and blue in perceived lightness
    colours = [mpl.colors.to_rgb(style.colour) for style in styles]
    grey = [sum(weight * part for weight, part in zip(weights, colour, strict=True)) for colour in colours]
    assert all(abs(a - b) > 0.08 for a, b in pairwise(grey))


@pytest.mark.parametrize("runs", [[run()], [run("one"), run("two", shift=0.2), run("three", steps=1)]])
def test_all_panels_are_written_as_png_and_svg_and_a_second_svg_is_identical(runs, tmp_path):
    curve = PassAtKCurve("model", "math", (1, 2, 4), (0.4, 0.5, 0.6), (0.3, 0.4, 0.5), (0.5, 0.6, 0.7))
    data = PlotData(tuple(runs), (curve,), window=3)
    assert [name for name in NAMES if data.missing(name)] == []
    paths = [tmp_path / "all.png", tmp_path / "all.svg"]
    draw_figure(NAMES, data, paths)
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    first = paths[1].read_text()
    assert "<svg" in first
    draw_figure(NAMES, data, paths)
    assert paths[1].read_text() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.png", "all.svg"]


def test_the_reason_for_a_missing_panel_names_the_option_that_writes_its_columns():
    bare = PlotData((Run("bare", ({"step": 1, "loss": 0.0},), {}, ()),))
    assert all(bare.missing(name) for name in NAMES)
    assert bare.missing("correlation") == "no run has empo/golden_correlation (empo.measure_gold=true writes it)"
