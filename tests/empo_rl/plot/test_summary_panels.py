from empo_rl.plot.summary_panels import draw_cost, draw_scatter
from tests.empo_rl.plot.example_runs import example_run


def test_the_bar_of_a_run_shows_the_mean_time_of_each_part_of_a_step(axes):
    draw_cost(axes, [example_run()])
    assert [bar.get_width() for bar in axes.patches] == [1.0, 0.5, 2.5]
    assert [text.get_text() for text in axes.texts] == [" 25%, 12%, 62%\n peak memory 12.5 GiB"]
    assert axes.get_xlabel().endswith("(seconds)")


def test_the_legend_of_the_scatter_panel_shows_pearsons_r(axes):
    draw_scatter(axes, [example_run()])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["r = -1.00, 12 steps"]
