"""Lazy limit: how far the tangent kernel moves falls with the width."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import MINUS, by_axis, told
from gramdyn.experiments.pictures import LEGEND, plot_widths, width_axis
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.slopes import slope_row
from gramdyn.report.axes import new_axes, new_figure

SLOPES = (-0.85, -0.45)


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Movement of each run at the end against the width, and the power law through the means."""
    (tree,) = trees
    moved = by_axis(tree, "kernel_movement", "width")
    figure = new_figure(4.6, 3.3)
    axes = new_axes(figure, "Kernel movement", "width", f"|K(T) {MINUS} K(0)| / |K(0)|")
    for width, values in moved.items():
        axes.plot([width] * len(values), values, "o", color="#8ba3bf", ms=3, alpha=0.4, mew=0)
    plot_widths(axes, _means(moved), "#30445c", "mean")
    width_axis(axes, moved, np.concatenate(list(moved.values())))
    axes.legend(**LEGEND)
    return figure


def _means(moved: dict[int, np.ndarray]) -> dict[int, float]:
    return {width: float(values.mean()) for width, values in moved.items()}


@claim(
    "lazy-limit",
    source="2606.09744",
    statement="under NTK parametrisation the kernel's relative movement falls with the width",
    configs=("lazy-limit",),
    records=("kernel_movement",),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Mean movement at each width, and its slope on log axes."""
    (tree,) = trees
    means = _means(by_axis(tree, "kernel_movement", "width"))
    rows = [Row(f"width {width}: movement", "", told(mean), None) for width, mean in means.items()]
    return [*rows, slope_row("slope of the means", means, SLOPES)]
