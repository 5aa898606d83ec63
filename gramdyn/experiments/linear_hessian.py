"""The Hessian at every canonical critical point: closed spectrum against the dense matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.data.linear_map import linear_map
from gramdyn.deep_linear import critical_points, hessian_spectrum
from gramdyn.experiments.pictures import LEGEND
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below
from gramdyn.report.axes import SOFT, dress, new_figure

BOUND = 1e-10
SIGMA = (3.0, 2.0, 1.0)
CLOSED, DENSE = "#3b72b8", "#cc4a3c"
# Two to four layers: square, narrow, wide, rectangular, and with a target of lower rank (4-4-4).
WIDTHS = (
    (3, 3, 3),
    (3, 1, 3),
    (4, 5, 2),
    (4, 4, 4),
    (3, 3, 3, 3),
    (4, 2, 5, 3),
    (3, 3, 3, 3, 3),
)


def measure() -> xr.DataTree:
    """Both spectra of every set of learned modes, a node a width set."""
    return xr.DataTree.from_dict({_name(widths): _spectra(widths) for widths in WIDTHS})


def _name(widths: Sequence[int]) -> str:
    return "-".join(map(str, widths))


def _spectra(widths: tuple[int, ...]) -> xr.Dataset:
    target = _target(widths)
    points = critical_points(target, widths)
    learned = np.array([[mode in one.chosen for mode in range(len(SIGMA))] for one in points], int)
    axes = ("point", "eigenvalue")
    dense = np.stack([hessian_spectrum(one.weights, target) for one in points])
    return xr.Dataset(
        {
            "learned": (("point", "mode"), learned),
            "closed": (axes, np.stack([one.spectrum for one in points])),
            "dense": (axes, dense),
        }
    )


def _target(widths: tuple[int, ...]) -> Float[np.ndarray, "C d"]:
    """A target of random singular vectors."""
    values = SIGMA[: min(widths[0], widths[-1])]
    task = linear_map(
        n_inputs=widths[0], n_outputs=widths[-1], singular_values=values, rotate=True, seed=1
    )
    return np.asarray(task.targets).T


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Every eigenvalue of every set of learned modes, for square networks of 2 to 4 layers."""
    (tree,) = trees
    figure = new_figure(11.4, 3.9)
    for n_layers, axes in zip((2, 3, 4), figure.subplots(1, 3), strict=True):
        dress(axes, f"L = {n_layers}, widths 3", "learned modes", "eigenvalue of the Hessian")
        _columns(axes, tree[_name((3,) * (n_layers + 1))].to_dataset())
    first = figure.axes[0]
    first.set_ylim(top=7.2)  # room for the legend
    first.legend(**LEGEND, loc="upper left", ncols=2)
    return figure


def _columns(axes: Axes, data: xr.Dataset) -> None:
    """A column of marks for each set, rings for the closed form around dots of the matrix."""
    shown = np.argsort(np.asarray(data["learned"]).sum(axis=1), kind="stable")
    axes.axhline(0.0, color=SOFT, linewidth=0.8)
    ring: dict[str, Any] = {"mec": CLOSED, "mfc": "none", "ms": 7, "mew": 1.1, "ls": ""}
    for place, point in enumerate(shown):
        closed, dense = (np.asarray(data[name][point]) for name in ("closed", "dense"))
        label = ("closed form", "dense matrix") if place == 0 else (None, None)
        axes.plot(np.full(closed.size, place), closed, "o", label=label[0], **ring)
        axes.plot(
            np.full(dense.size, place), dense, ".", color=DENSE, ms=4, mew=0, label=label[1], ls=""
        )
    names = [_set_name(row) for row in np.asarray(data["learned"])[shown]]
    axes.set_xticks(range(len(names)), names)


def _set_name(learned: np.ndarray) -> str:
    return ",".join(str(mode + 1) for mode in np.flatnonzero(learned)) or "none"


@claim(
    "linear-hessian",
    source="derived here",
    statement="the Hessian at canonical critical points has a spectrum in closed form",
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Largest difference of an eigenvalue over all sets of learned modes, a row a width set."""
    (tree,) = trees
    rows = []
    for widths in WIDTHS:
        data = tree[_name(widths)].to_dataset()
        gap = float(abs(data["closed"] - data["dense"]).max())
        count = f"{data.sizes['point']} points of {data.sizes['eigenvalue']} eigenvalues"
        rows.append(below(f"widths {_name(widths)}, {count}: closed less dense", gap, BOUND))
    return rows
