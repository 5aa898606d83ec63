"""Exact fields: their discrete laws are gradient descent, at any depth."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import by_axis, is_rounding, steps_of, told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.report.axes import new_axes, new_figure, set_log_axis


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Largest difference of any residual so far, over the steps, a colour a depth."""
    (tree,) = trees
    figure = new_figure(4.6, 3.2)
    title = "Exact fields against the weights"
    axes = new_axes(figure, title, "step", "largest |r difference| so far")
    gaps = by_axis(tree, "residual_gap", "depth", step=None, closure="exact")
    colours = colours_of(gaps)
    for depth, gap in gaps.items():
        plot_band(axes, steps_of(tree)[1:], gap[:, 1:], colours[depth], f"depth {depth}")
    set_log_axis(axes, np.concatenate([gap.ravel() for gap in gaps.values()]))
    axes.legend(**LEGEND)
    return figure


@claim(
    "exact-fields",
    source="2606.09744",
    statement="the discrete laws of the fields are gradient descent at every depth, flips included",
    configs=("exact-fields",),
    records=("residual_gap", "flips"),
    closures=("exact",),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Largest difference of the residuals over the whole run, at each depth."""
    (tree,) = trees
    gaps = by_axis(tree, "residual_gap", "depth", closure="exact")
    flips = by_axis(tree, "flips", "depth", step=None)
    rows = []
    for depth, gap in gaps.items():
        seen = np.median(flips[depth].sum(axis=(1, 2)))
        measured = f"median {told(np.median(gap))}, largest {told(gap.max())} of {len(gap)} runs"
        what = f"depth {depth}: max |r difference|, {told(seen)} flips"
        rows.append(Row(what, "0", measured, is_rounding(gap, tree)))
    return rows
