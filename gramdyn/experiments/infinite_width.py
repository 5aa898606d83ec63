"""Infinite width: the kernel's closed form, and the linear run it gives."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import by_axis, steps_of, told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band, plot_widths, width_axis
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.slopes import slope_row
from gramdyn.report.axes import dress, new_figure, set_log_axis

# What falls with the width, and the slopes that the theory allows: fluctuations of a kernel at
# t = 0 are of order N^(-1/2); what training adds falls with a like power.
DEVIATIONS = {
    "limit_distance": ("distance of K(0) from its limit", (-0.6, -0.4)),
    "limit_error": ("error of the limit's residual", (-0.75, -0.35)),
    "linear_error": ("error of the residual linearised at t = 0", (-0.9, -0.35)),
}


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Loss at each width beside the limit's, and what is left against the width."""
    (tree,) = trees
    figure = new_figure(9.6, 3.4)
    left, right = figure.subplots(1, 2)
    dress(left, "Loss and its limit", "step", "loss: median, 10 to 90 %")
    _draw_losses(left, tree)
    dress(right, "Deviation from the limit", "width", "mean over runs")
    colours = colours_of(DEVIATIONS)
    values = {name: _deviation(tree, name) for name in DEVIATIONS}
    for name, (title, _) in DEVIATIONS.items():
        plot_widths(right, values[name], colours[name], title)
    every = np.concatenate([list(one.values()) for one in values.values()])
    width_axis(right, values["limit_distance"], every)
    right.set_ylim(right.get_ylim()[0] / 3, right.get_ylim()[1])  # room for the key
    right.legend(**LEGEND, loc="lower left")
    return figure


def _draw_losses(axes: Axes, tree: xr.DataTree) -> None:
    losses = by_axis(tree, "loss", "width", step=None)
    colours = colours_of(losses)
    steps = steps_of(tree)
    for width, loss in losses.items():
        plot_band(axes, steps, loss, colours[width], f"N = {width}")
    limit = list(by_axis(tree, "limit_loss", "width", step=None).values())[-1]
    median = np.median(limit, axis=0)
    axes.plot(steps, median, "--", color="#24292f", linewidth=1.5, label="limit")
    set_log_axis(axes, np.concatenate([median, *(np.median(one, 0) for one in losses.values())]))
    axes.legend(**LEGEND, loc="lower left")


def _deviation(tree: xr.DataTree, name: str) -> dict[int, float]:
    """Mean over runs at each width: of the kernel at t = 0, of errors their largest in time."""
    found = by_axis(tree, name, "width", step=None)
    of = (lambda x: x[:, 0]) if name == "limit_distance" else (lambda x: x.max(axis=1))
    return {width: float(of(values).mean()) for width, values in found.items()}


@claim(
    "infinite-width",
    source="1806.07572",
    statement="as width grows, kernel and residual tend to the closed-form kernel's linear run",
    configs=("infinite-width",),
    records=(*DEVIATIONS, "loss", "limit_loss"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Mean deviations at each width, and their slopes on log axes."""
    (tree,) = trees
    rows = []
    for name, (title, slopes) in DEVIATIONS.items():
        means = _deviation(tree, name)
        at = ", ".join(f"{told(mean)} at {width}" for width, mean in means.items())
        rows.append(Row(title, "falls", at, None))
        rows.append(slope_row("  slope", means, slopes))
    return rows
