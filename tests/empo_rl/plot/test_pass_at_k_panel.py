import json

import pytest
from matplotlib.figure import Figure

from empo_rl.plot.pass_at_k_panel import PassAtKCurve, draw_pass_at_k, read_evaluations


def number(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def evaluation(directory, label, **more):
    """A directory with results.json as `empo-eval` writes it: greedy pass@1, and the numbers of four samples."""
    found = {"title": "MATH", "questions": 30, "n": 4, "pass@1": number(0.9), "mean@4": number(0.5)}
    found |= {"pass@4": number(0.7), "pass@2": {"value": 0.6, "low": None, "high": None}, "majority@4": number(0.6)}
    directory.mkdir()
    (directory / "results.json").write_text(json.dumps({"label": label, "sets": {"math": found, **more}}))
    return directory


def test_the_curve_begins_with_the_mean_of_the_samples_not_with_greedy_pass_at_1(tmp_path):
    (curve,) = read_evaluations({evaluation(tmp_path / "a", "base"): "a"})
    assert (curve.model, curve.data, curve.ks, curve.values) == ("base", "MATH", (1, 2, 4), (0.5, 0.6, 0.7))
    assert curve.low == pytest.approx((0.4, 0.6, 0.6))
    assert curve.high == pytest.approx((0.6, 0.6, 0.8))


def test_a_set_without_samples_has_no_curve(tmp_path):
    greedy = {"title": "AIME24", "n": 0, "pass@1": number(0.1)}
    (curve,) = read_evaluations({evaluation(tmp_path / "a", "base", aime=greedy): "a"})
    assert curve.data == "MATH"


def test_evaluations_with_the_same_label_are_named_by_their_directories(tmp_path):
    one, two = (evaluation(tmp_path / name, "base") for name in "ab")
    assert [curve.model for curve in read_evaluations({one: "a", two: "b"})] == ["a", "b"]


@pytest.mark.parametrize(
    ("curves", "legend"),
    [
        ([("m", "MATH"), ("m", "AIME")], ["MATH", "AIME"]),
        ([("m", "MATH"), ("o", "MATH")], ["m", "o"]),
        ([("m", "MATH"), ("o", "AIME")], ["m, MATH", "o, AIME"]),
    ],
)
def test_the_legend_shows_what_differs_and_the_axis_is_logarithmic(curves, legend):
    axes = Figure().add_subplot()
    draw_pass_at_k(axes, [PassAtKCurve(*names, (1, 2), (0.4, 0.5), (0.3, 0.4), (0.5, 0.6)) for names in curves])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == legend
    assert list(axes.get_xticks()) == [1, 2]
    assert axes.get_xscale() == "log"
