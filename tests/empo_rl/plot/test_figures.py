import pytest

from empo_rl.plot.figures import PlotData, draw_figure
from empo_rl.plot.panels import NAMES
from empo_rl.plot.pass_at_k_panel import PassAtKCurve
from empo_rl.plot.run_files import Run
from tests.empo_rl.plot.example_runs import example_run


@pytest.mark.parametrize(
    "runs", [[example_run()], [example_run("one"), example_run("two", shift=0.2), example_run("three", steps=1)]]
)
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
