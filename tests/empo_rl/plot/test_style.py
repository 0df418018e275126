from itertools import pairwise

import matplotlib as mpl

from empo_rl.plot.style import line_style


def test_seven_runs_differ_in_colour_and_marker_and_neighbours_also_in_lightness():
    styles = [line_style(number) for number in range(7)]
    assert len({style.colour for style in styles}) == len({style.marker for style in styles}) == 7
    assert all(a.dashes != b.dashes for a, b in pairwise(styles))
    weights = (0.2126, 0.7152, 0.0722)  # weights of red, green and blue in perceived lightness
    colours = [mpl.colors.to_rgb(style.colour) for style in styles]
    grey = [sum(weight * part for weight, part in zip(weights, colour, strict=True)) for colour in colours]
    assert all(abs(a - b) > 0.08 for a, b in pairwise(grey))
