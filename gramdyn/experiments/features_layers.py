"""Target Linearity rises while a network trains, and from layer to layer."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import above, below
from gramdyn.experiments.runs import Runs
from gramdyn.report.axes import dress, new_figure

# In another program's run of the recipe on a split of its own: at the end with momentum and with
# Adam, and held out.
ELSEWHERE = ("0.791, 0.855, 0.895, 0.913", "0.776, 0.808, 0.850, 0.883")
HELD_OUT = "0.814, 0.861, 0.893, 0.907"
SURROGATES = "from 0.088, 0.061, 0.011, 0.0014 to 0.35, 0.43, 0.58, 0.70"


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Linearity of each layer over the epochs, with momentum and with Adam."""
    figure = new_figure(9.6, 3.4)
    for axes, tree, title in zip(figure.subplots(1, 2), trees, ("Momentum", "Adam"), strict=True):
        runs = Runs.of(tree)
        values = runs.read("linearity", None)
        dress(axes, f"Target Linearity, {title}", "epoch", "")
        for layer, colour in colours_of(range(values.shape[1])).items():
            plot_band(axes, runs.steps() / 20, values[:, layer], colour, f"layer {layer + 1}")
        axes.legend(**LEGEND, loc="lower right")
    return figure


def _listed(values: np.ndarray) -> str:
    return ", ".join(told(float(value)) for value in values)


@claim(
    "features-layers",
    source="2605.06258",
    statement="Target Linearity rises during training and from layer to layer",
    configs=("features-layers", "features-layers-adam"),
    records=("linearity", "heldout_linearity", "surrogate_normalised", "linearity_null"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Increments in depth and time for every seed; what is not claimed, for information."""
    rows = []
    for tree, name, theirs in zip(trees, ("momentum", "Adam"), ELSEWHERE, strict=True):
        values = Runs.of(tree).read("linearity", None)
        mean = values[..., -1].mean(axis=0)
        rows.append(
            Row(f"{name}: at the end, by layer", f"elsewhere {theirs}", _listed(mean), None)
        )
    runs = Runs.of(trees[0])
    values = runs.read("linearity", None)
    start, end = values[..., 0], values[..., -1]
    rows.append(above("least increment in depth, any seed", np.diff(end, axis=1).min(), 0.01))
    rows.append(above("last layer over the first, any seed", (end[:, -1] - end[:, 0]).min(), 0.08))
    rows.append(above("least gain of a layer, any seed", (end - start).min(), 0.05))
    spread = np.ptp(start, axis=1).max()
    rows.append(below("spread over layers at the start, any seed", spread, 0.03))
    held = runs.read("heldout_linearity").mean(axis=0)
    rows.append(Row("held out, by layer", f"elsewhere {HELD_OUT}", _listed(held), None))
    rows.append(Row("null value", "rank / (n - 1)", _listed(runs.read("linearity_null")[0]), None))
    ends = [_listed(runs.read("surrogate_normalised", at).mean(axis=0)) for at in (0, -1)]
    what = "surrogate over its bound, start and end"
    rows.append(Row(what, f"elsewhere {SURROGATES}", f"from {ends[0]} to {ends[1]}", None))
    halves = [f"{low} to {high}" for low, high in _half_gains(values, runs.steps() / 20)]
    what = "epochs at which layers have half of their gain"
    return [*rows, Row(what, "order in depth, not in time", "; ".join(halves), None)]


def _half_gains(values: np.ndarray, epochs: np.ndarray) -> list[tuple[int, int]]:
    """First and last layer's epoch of half its gain, for each run."""
    middle = (values[..., :1] + values[..., -1:]) / 2
    reached = epochs[np.argmax(values >= middle, axis=-1)]
    return [(int(row.min()), int(row.max())) for row in reached]
