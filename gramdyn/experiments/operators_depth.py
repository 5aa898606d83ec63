"""Operators at work: which layers' fields they move, by depth."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import by_axis, told
from gramdyn.experiments.pictures import LEGEND, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.report.axes import dress, new_figure

SHARES = {
    "transport_share": "share of dz carried from below",
    "pullback_share": "share of dq carried from above",
    "flip_current": "share of |dq| by mask flips",
}


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """The three shares, layer by layer, a colour a depth; medians over runs, means over time."""
    (tree,) = trees
    figure = new_figure(10.2, 3.2)
    for axes, (name, title) in zip(figure.subplots(1, 3), SHARES.items(), strict=True):
        dress(axes, title, "layer", "share")
        found = _means(tree, name)
        colours = colours_of(found)
        for depth, values in found.items():
            layers = np.arange(1, depth + 1)
            median = np.median(values, axis=0)
            axes.plot(layers, median, "o-", color=colours[depth], label=f"depth {depth}", ms=5)
        axes.set_ylim(-0.04, 1.04)
        axes.set_xticks(range(1, max(found) + 1))
    figure.axes[0].legend(**LEGEND)
    return figure


def _means(tree: xr.DataTree, name: str) -> dict[int, np.ndarray]:
    """Means over the saved times after the start, shape (runs, layers), by depth."""
    found = by_axis(tree, name, "depth", step=None)
    return {depth: values[..., 1:].mean(axis=-1) for depth, values in found.items()}


@claim(
    "operators-depth",
    source="2606.09744",
    statement="the law of q^l needs operators from depth 3 on, in all but its last two layers",
    configs=("operators-depth",),
    records=tuple(SHARES),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Shares that must vanish beside shares that must not, layer by layer."""
    (tree,) = trees
    rows = []
    # Layers whose field no operator and no flip reaches: the first for z, the last ones for q.
    trained = tree.attrs["config"]["network"]["readout"] == "trained"
    last = 1 if trained else 2
    free = {"transport_share": (1, 0), "pullback_share": (0, last), "flip_current": (0, 1)}
    for name, title in SHARES.items():
        below, above = free[name]
        for depth, values in _means(tree, name).items():
            for layer in range(1, depth + 1):
                none = layer <= below or layer > depth - above
                rows.append(_row(f"depth {depth}, layer {layer}: {title}", values, layer, none))
    return rows


def _row(what: str, values: np.ndarray, layer: int, none: bool) -> Row:
    found = values[:, layer - 1]
    holds = bool(np.all(found == 0) if none else np.median(found) > 0.01)
    return Row(what, "0" if none else "above 0", told(float(np.median(found))), holds)
