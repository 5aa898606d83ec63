"""Closure at depth 1: the fields (z, r) and the Gram of the inputs are enough."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import by_axis, is_rounding, steps_of, told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.report.axes import dress, new_figure, set_log_axis


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Largest difference of any preactivation so far, and mask flips so far, over the steps."""
    figure = new_figure(8.0, 3.2)
    left, right = figure.subplots(1, 2)
    dress(left, "Closed run against the run of weights", "step", "largest |z difference| so far")
    dress(right, "Mask flips on the way", "step", "flips so far")
    named = zip(colours_of(range(len(trees))).items(), trees, strict=True)
    gaps = []
    for (_, colour), tree in named:
        steps, label = steps_of(tree)[1:], _name(tree)
        gap = _whole(tree, "field_gap")[:, 0, 1:]
        gaps.append(gap)
        plot_band(left, steps, gap, colour, label)
        flips = np.cumsum(_whole(tree, "flips")[:, 0, 1:], axis=1)
        plot_band(right, steps, flips, colour, label)
    set_log_axis(left, np.concatenate([gap.ravel() for gap in gaps]))
    right.set_yscale("log")
    left.legend(**LEGEND)
    return figure


def _whole(tree: xr.DataTree, name: str) -> np.ndarray:
    return next(iter(by_axis(tree, name, "depth", step=None).values()))


def _name(tree: xr.DataTree) -> str:
    config = tree.attrs["config"]
    return f"n = {config['task']['n_samples']}, N = {config['network']['width']}"


@claim(
    "closure-one-layer",
    source="2606.09744",
    statement="one hidden layer closes in (z, r) with the Gram of the inputs, flips included",
    configs=("closure-one-layer", "closure-one-layer-large"),
    records=("field_gap", "flips"),
    closures=("exact",),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Largest difference of the preactivations over the whole run, for every run."""
    rows = []
    for tree in trees:
        gap = _whole(tree, "field_gap")[:, 0, -1]
        flips = _whole(tree, "flips")[:, 0].sum(axis=1)
        measured = f"median {told(np.median(gap))}, largest {told(gap.max())} of {len(gap)} runs"
        rows.append(
            Row(f"max |z difference|, {_name(tree)}", "0", measured, is_rounding(gap, tree))
        )
        rows.append(Row("  mask flips on the way", "", told(np.median(flips)), None))
    return rows
