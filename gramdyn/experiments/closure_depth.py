"""Closure by depth: what mask flips, moving operators and operators at all are worth."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from gramdyn.experiments.numbers import by_axis, is_rounding, quantiles, spread, told
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
# Errors of one or two runs of another implementation: by width and depth, of each closure.
REFERENCE = {
    (24, 2): {"flips_omitted": (0.03, 0.04), "frozen": (0.04, 0.08), "dropped": (0.20, 0.26)},
    (24, 3): {"flips_omitted": (0.11, 0.12), "frozen": (0.11, 0.24), "dropped": (0.28, 0.56)},
    (24, 4): {"flips_omitted": (0.08, 0.24), "frozen": (0.09, 0.27), "dropped": (0.68, 1.04)},
    (512, 2): {"flips_omitted": (5e-4, 5e-4), "frozen": (5e-4, 5e-4), "dropped": (9e-3, 9e-3)},
    (512, 3): {"flips_omitted": (0.012, 0.012), "frozen": (0.013, 0.013), "dropped": (0.62, 0.62)},
    (512, 4): {"flips_omitted": (0.031, 0.031), "frozen": (0.033, 0.033), "dropped": (1.28, 1.28)},
}
# Runs differ that much: 10 to 90 % of them span a factor of 2 to 4.
WITHIN = 3.0
# How far apart "dropped" and "flips_omitted" must lie from depth 2 on, in medians.
RATIO = 3.0
# And "dropped" and "frozen": at depth 2 the movement of operators costs about as much as flips.
FROZEN_RATIO = 2.0


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Error of the residual's trajectory by depth, a colour a closure, narrow and wide."""
    figure = new_figure(9.2, 3.9)
    panels = figure.subplots(1, len(trees), squeeze=False)[0]
    for axes, tree in zip(panels, trees, strict=True):
        width = tree.attrs["config"]["network"]["width"]
        dress(axes, f"Width {width}", "depth", "error of the residual's trajectory")
        _draw_errors(axes, tree)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, **LEGEND)
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
    if not seen:
        return
    set_log_axis(axes, np.concatenate(seen))
    depths = sorted(by_axis(tree, "closure_error", "depth"))
    axes.set_xticks([depth for depth in depths if depth > 1])
    axes.xaxis.set_minor_locator(NullLocator())


def _closures(tree: xr.DataTree) -> list[str]:
    first = next(iter(tree.children.values()))
    return [str(name) for name in np.asarray(first["closure"])]


@claim(
    "closure-depth",
    source="2606.09744",
    statement="depth 1 needs no operator; deeper, dropping them costs far more than freezing them",
    configs=("closure-depth", "closure-depth-wide"),
    records=("closure_error",),
    closures=("flips_omitted", "frozen", "dropped"),
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
            here = {name: found[depth] for name, found in errors.items()}
            rows += _exact_row(tree, here) if depth == 1 else _rows_at(width, depth, here)
    return rows


def _rows_at(width: int, depth: int, errors: dict[str, np.ndarray]) -> list[Row]:
    place = f"N = {width}, depth {depth}"
    known = REFERENCE.get((width, depth), {})
    rows = [_row(f"{place}: {SHOWN[name]}", e, known.get(name)) for name, e in errors.items()]
    rows.append(_ratio(f"{place}: dropped over kept", errors, "flips_omitted", RATIO))
    rows.append(_ratio(f"{place}: dropped over frozen", errors, "frozen", FROZEN_RATIO))
    return rows


def _ratio(what: str, errors: dict[str, np.ndarray], other: str, least: float) -> Row:
    ratio = float(np.median(errors["dropped"]) / np.median(errors[other]))
    return Row(what, f"above {least:g}", told(ratio), ratio > least)


def _exact_row(tree: xr.DataTree, errors: dict[str, np.ndarray]) -> list[Row]:
    """At depth 1 every closure is exact."""
    worst = np.max(np.stack(list(errors.values())), axis=0)
    what = f"N = {tree.attrs['config']['network']['width']}, depth 1: every closure"
    return [Row(what, "0", spread(worst), is_rounding(worst, tree))]


def _row(what: str, error: np.ndarray, known: tuple[float, float] | None) -> Row:
    """An error beside the reference; for information where there is none."""
    if known is None:
        return Row(what, "", spread(error), None)
    low, high = known
    told_range = told(low) if low == high else f"{told(low)} to {told(high)}"
    middle = float(np.median(error))
    return Row(what, told_range, spread(error), low / WITHIN <= middle <= WITHIN * high)
