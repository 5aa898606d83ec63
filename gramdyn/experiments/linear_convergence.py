"""Where the flow of deep linear networks ends: at the global minimum, from random starts.

For two layers almost every start is known to end there. For three and more that is what is seen
here, and no theorem.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from gramdyn.deep_linear.critical import global_minimum
from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.report.axes import new_axes, new_figure, set_log_axis

NEAR, TIME = 1e-8, 400.0
# Least sigma_r - sigma_{r+1} of which a bottleneck of r neurons is asked to be done by t = 400.
APART = 0.05
# Gaps below this are drawn here: rounding of the loss where the minimum is not 0.
LEAST = 1e-16

Ends = tuple[str, np.ndarray, Float[np.ndarray, "runs times"], Float[np.ndarray, " runs"]]


def ends(trees: Sequence[xr.DataTree]) -> Iterator[Ends]:
    """Of each set of widths: its name, times, gap to the global minimum, and distance of modes."""
    for node in (node for tree in trees for node in tree.children.values()):
        minima, apart = _minima(node)
        gaps = np.asarray(node["excess_loss"]) - minima[:, None]
        times = np.asarray(node["step"]) * float(np.asarray(node["step_size"])[0])
        failed = np.asarray(node["status"]) != 0
        yield _name(node), times, np.where(failed[:, None], np.inf, gaps), apart


def _widths(node: Any) -> tuple[int, ...]:
    """d_0, ..., d_L of a group's networks."""
    hidden = (int(node["width"][0]),) * int(node["depth"][0])
    return node.sizes["sample"], *hidden, node.sizes["output"]


def _name(node: Any) -> str:
    return "-".join(map(str, _widths(node)))


def _minima(node: Any) -> tuple[Float[np.ndarray, " runs"], Float[np.ndarray, " runs"]]:
    """Lowest loss of each run, and sigma_r - sigma_{r+1} where its widths hold r modes of more."""
    widths = _widths(node)
    # Inputs are the unit vectors: targets are the map, transposed.
    targets = np.swapaxes(np.asarray(node["targets"]), 1, 2)
    found = [global_minimum(target, widths) for target in targets]
    values = np.linalg.svd(targets, compute_uv=False)
    values = np.concatenate([values, np.full((len(values), 1), -np.inf)], axis=1)
    apart = [row[one.rank - 1] - row[one.rank] for row, one in zip(values, found, strict=True)]
    task = np.asarray(node["task_index"])
    return np.array([one.value for one in found])[task], np.array(apart)[task]


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Gap to the global minimum over time, by widths; medians and 10 to 90 % of the runs."""
    figure = new_figure(6.4, 3.8)
    axes = new_axes(figure, "Gap to the global minimum", "time", "loss \N{MINUS SIGN} minimum")
    found = list(ends(trees))
    colours = colours_of(name for name, *_ in found)
    for name, times, gaps, _ in found:
        plot_band(axes, times[1:], np.maximum(gaps, LEAST)[:, 1:], colours[name], name)
    axes.set_xscale("log")
    axes.minorticks_off()
    set_log_axis(axes, np.array([LEAST, 10.0]))
    axes.axhline(NEAR, color="#9aa1aa", linewidth=1, linestyle="--")
    axes.legend(**LEGEND, loc="lower left")
    return figure


@claim(
    "linear-convergence",
    source="2511.10362",
    statement="random starts flow to the global minimum (for L > 2 seen here, no theorem)",
    configs=("linear-convergence", "linear-convergence-square", "linear-convergence-bottleneck"),
    records=("excess_loss",),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Runs that end within 1e-8 of the minimum: by t = 400 where modes are apart, and later."""
    return [row for end in ends(trees) for row in _rows(*end)]


def _rows(name: str, times: np.ndarray, gaps: np.ndarray, apart: np.ndarray) -> list[Row]:
    """All runs; those of a bottleneck with two nearly tied modes by a later time."""
    at = int(np.argmin(np.abs(times - TIME)))
    where, quick = f"{name}, t = {times[at]:g}", apart >= APART
    if quick.all():
        return [_row(where, gaps[:, at])]
    # The choice between two modes is made at the rate of their distance.
    late = f"{name}, t = {times[-1]:g}, cut modes {told(float(apart.min()))} apart and more"
    rows = [_row(late, gaps[:, -1]), replace(_row(where, gaps[:, at]), predicted="", holds=None)]
    if quick.any():
        rows.append(_row(f"{where}, cut modes {APART:g} apart and more", gaps[quick, at]))
    return rows


def _row(where: str, gaps: np.ndarray) -> Row:
    near = int(np.count_nonzero(np.abs(gaps) < NEAR))
    measured = f"{near} of {len(gaps)}, largest gap {told(float(gaps.max()))}"
    what = f"{where}: runs within 1e-8 of the global minimum"
    return Row(what, f"{len(gaps)} of {len(gaps)}", measured, near == len(gaps))
