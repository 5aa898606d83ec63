"""Closure by depth: what mask flips, moving operators and operators at all are worth."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from gramdyn.experiments.numbers import by_axis, quantiles, spread, told
from gramdyn.experiments.pictures import LEGEND, MARKERS, colours_of, plot_spots
from gramdyn.experiments.registry import Row, claim
from gramdyn.report.axes import dress, new_figure, set_log_axis

SHOWN = {
    "flips_omitted": "operators kept, flips omitted",
    "frozen": "operators frozen at t = 0",
    "dropped": "operators dropped",
    "order-1": "operators across one layer",
    "expansion-1": "operators to first order in dW",
}
# How far apart "dropped" and "flips_omitted" must lie from depth 2 on, in medians.
RATIO = 3.0
ROUNDING = 1e-12


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Error of the residual's trajectory by depth, a colour a closure, narrow and wide."""
    figure = new_figure(9.2, 3.5)
    panels = figure.subplots(1, len(trees), squeeze=False)[0]
    for axes, tree in zip(panels, trees, strict=True):
        width = tree.attrs["config"]["network"]["width"]
        dress(axes, f"Width {width}", "depth", "error of the residual's trajectory")
        _draw_errors(axes, tree)
    panels[0].legend(**LEGEND, loc="lower right")
    return figure


def _draw_errors(axes: Axes, tree: xr.DataTree) -> None:
    colours = colours_of(SHOWN)
    kept = [name for name in SHOWN if name in _closures(tree)]
    seen = []
    for i, name in enumerate(kept):
        shift = 0.11 * (i - (len(kept) - 1) / 2)
        for depth, error in by_axis(tree, "closure_error", "depth", closure=name).items():
            if depth == 1:  # exact, all of them: 1e-15 would squeeze the rest
                continue
            label = SHOWN[name] if depth == 2 else None
            plot_spots(axes, depth + shift, error, colours[name], MARKERS[i], label)
            seen.append(quantiles(error))
    set_log_axis(axes, np.concatenate(seen))
    axes.set_xticks([2, 3, 4], ["2", "3", "4"])
    axes.xaxis.set_minor_locator(NullLocator())


def _closures(tree: xr.DataTree) -> list[str]:
    first = next(iter(tree.children.values()))
    return [str(name) for name in np.asarray(first["closure"])]


@claim(
    "closure-depth",
    source="2606.09744",
    statement="depth 1 needs no operator; deeper, dropping them costs far more than freezing them",
    configs=("closure-depth", "closure-depth-wide"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Relative error of the residual's trajectory by depth and closure; ratios from depth 2 on."""
    rows: list[Row] = []
    for tree in trees:
        width = tree.attrs["config"]["network"]["width"]
        errors = {
            name: by_axis(tree, "closure_error", "depth", closure=name) for name in _closures(tree)
        }
        for depth in errors["dropped"]:
            rows += _rows_at(
                f"N = {width}, depth {depth}", {k: v[depth] for k, v in errors.items()}
            )
    return rows


def _rows_at(place: str, errors: dict[str, np.ndarray]) -> list[Row]:
    if place.endswith("depth 1"):
        worst = max(error.max() for error in errors.values())
        return [Row(f"{place}: every closure", "0", told(worst), bool(worst < ROUNDING))]
    rows = [
        Row(f"{place}: {SHOWN[name]}", "above 0", spread(error), bool(np.median(error) > ROUNDING))
        for name, error in errors.items()
    ]
    ratio = np.median(errors["dropped"]) / np.median(errors["flips_omitted"])
    what = f"{place}: dropped over kept"
    rows.append(Row(what, f"above {RATIO:g}", told(ratio), bool(ratio > RATIO)))
    return rows
