"""The command `empo-plot`: draw the metrics of training runs at each step, and the pass@k of evaluations.

    run_files.py         reads the directory of a run
    panels.py            table of the panels: columns of `metrics.jsonl`, y axis, figure
    step_panels.py       draws curves along the training steps, and alarms
    summary_panels.py    draws the cost of a step, and entropy against accuracy
    pass_at_k_panel.py   reads `results.json` of `empo-eval`, and draws pass@k
    style.py             colours, dashes and markers
    figures.py           puts panels into a figure, writes PNG and SVG
    cli.py               options of the command

matplotlib is imported only when a figure is drawn.
"""

from empo_rl.plot.figures import PlotData, draw_figure
from empo_rl.plot.run_files import SUMMARY, demo_run

__all__ = ["SUMMARY", "PlotData", "demo_run", "draw_figure"]
