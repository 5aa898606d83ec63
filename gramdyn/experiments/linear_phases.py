"""When each mode of a deep linear network is learned, by the scale of its start and its depth."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import MINUS, told
from gramdyn.experiments.pictures import LEGEND, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.report.axes import new_axes, new_figure, set_log_axis
from gramdyn.report.statistics import fit_power_law

# Starts above this are no small ones: the first modes rise at once.
_SMALL = 0.33
# Of a slope, relative: a start of some 1/10 is not yet in the limit.
_CLOSE = 0.1

# Medians over seeds by (depth, width): scales, and the time of each mode, shape (scales, modes).
Times = dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]


def _times(tree: xr.DataTree) -> Times:
    """Median times; one that half of the runs do not reach is infinite."""
    found: dict[tuple[int, int], dict[float, np.ndarray]] = {}
    for node in tree.children.values():
        last = np.asarray(node["mode_times"].isel(step=-1))
        places = zip(*(np.asarray(node[key]).tolist() for key in _AXES), strict=True)
        members: dict[tuple[int, int, float], list[int]] = {}
        for run, place in enumerate(places):
            members.setdefault(place, []).append(run)
        for (depth, width, scale), runs in members.items():
            middle = np.quantile(last[runs], 0.5, axis=0, method="nearest")
            found.setdefault((depth, width), {})[scale] = middle
    return {
        key: (np.asarray(sorted(by)), np.stack([by[scale] for scale in sorted(by)]))
        for key, by in sorted(found.items())
    }


_AXES = ("depth", "width", "weight_scale")


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Median time of each mode against the scale, a panel a number of layers, widest networks."""
    times = _times(trees[0])
    depths = sorted({depth for depth, _ in times})
    figure = new_figure(2.5 * len(depths) + 0.6, 3.3)
    parts = figure.subfigures(1, len(depths), wspace=0.0, squeeze=False)[0]
    every = [middle[np.isfinite(middle)] for _, middle in times.values()]
    for part, depth in zip(parts, depths, strict=True):
        width = max(w for d, w in times if d == depth)
        told = "time to learn a mode" if depth == depths[0] else ""
        axes = new_axes(part, f"{depth + 1} layers", "scale of the start", told)
        _draw_panel(axes, *times[depth, width])
        set_log_axis(axes, np.concatenate(every))
    parts[0].axes[0].legend(title="mode", **LEGEND)
    return figure


def _draw_panel(axes: Axes, scales: np.ndarray, middle: np.ndarray) -> None:
    colours = colours_of(range(1, middle.shape[1] + 1))
    for mode, colour in colours.items():
        seen = np.where(np.isfinite(middle[:, mode - 1]), middle[:, mode - 1], np.nan)
        axes.plot(scales, seen, "o-", color=colour, ms=3.5, lw=1.4, label=str(mode))
    axes.set_xscale("log")
    axes.set_xlim(scales[0] / 1.5, scales[-1] * 1.5)


@claim(
    "linear-phases",
    source="1312.6120",
    statement="a mode waits for log(1/scale)/sigma with two layers, for scale^-(L-2) with L >= 3",
    configs=("linear-phases",),
    records=("mode_times",),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Slope of the waiting time against the scale, by layers and width."""
    first = next(iter(trees[0].children.values()))
    values = np.linalg.svd(np.asarray(first["targets"])[0], compute_uv=False)
    rows = []
    for (depth, width), (scales, middle) in _times(trees[0]).items():
        small = (scales <= _SMALL)[:, None] & np.isfinite(middle)
        if depth == 1:
            rows += _two_layers(width, scales, middle, small, values)
        else:
            rows.append(_more_layers(depth, width, scales, middle[:, 0], small[:, 0]))
    return rows


def _two_layers(
    width: int, scales: np.ndarray, middle: np.ndarray, small: np.ndarray, values: np.ndarray
) -> list[Row]:
    """Time gained by a start e times larger, sigma_i times it: 1 for every mode."""
    rows = []
    for mode, sigma in enumerate(values):
        kept = small[:, mode]
        slope = np.polyfit(-np.log(scales[kept]), middle[kept, mode], 1)[0] * sigma
        what = f"2 layers, width {width}, mode {mode + 1}: sigma dt/dlog(1/scale)"
        rows.append(Row(what, "1", told(float(slope)), bool(abs(slope - 1) < _CLOSE)))
    return rows


def _more_layers(
    depth: int, width: int, scales: np.ndarray, middle: np.ndarray, small: np.ndarray
) -> Row:
    """Exponent of the first mode's time; for information where fewer than three starts learn it."""
    wanted = depth - 1
    what = f"{depth + 1} layers, width {width}, first mode: exponent of the scale"
    law = fit_power_law(scales[small], middle[small]) if small.sum() > 1 else None
    if law is None:
        return Row(what, f"{MINUS}{wanted}", "not learned in time from two small starts", None)
    close = bool(abs(law.slope + wanted) < _CLOSE * wanted)
    holds = close if small.sum() > 2 else None
    return Row(what, f"{MINUS}{wanted}", f"{told(law.slope)} ({small.sum()} scales)", holds)
