"""Aligned starts of deep linear networks: each mode by itself, against its exact solution."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.deep_linear import half_time, mode_solution
from gramdyn.experiments.numbers import by_axis, steps_of
from gramdyn.experiments.pictures import LEGEND, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below
from gramdyn.report.axes import dress, new_figure, set_log_axis

# Bounds on strengths and on what leaks off the modes; and on half-times, which are interpolated.
STRENGTH, TIME = 1e-8, 1e-5


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Strengths of two modes over time, marks on the exact lines; and what parts the two."""
    (tree,) = trees
    figure = new_figure(11.4, 3.5)
    *panels, right = figure.subplots(1, 3)
    found = by_axis(tree, "learned_modes", "depth", step=None)
    colours = colours_of(found)
    for mode, axes in enumerate(panels):
        dress(axes, rf"Mode of $\sigma$ = {_sigma(tree)[mode]:g}", "time", r"strength / $\sigma$")
        for depth, values in found.items():
            _strengths(axes, tree, depth, values[0, mode], mode, colours[depth])
    panels[0].legend(**LEGEND, loc="upper left")
    dress(right, "Run less exact solution", "time", "largest difference of a strength")
    for depth, values in found.items():
        gap = np.maximum(_gap(tree, depth, values), 1e-17)
        right.plot(_saved_times(tree), gap, color=colours[depth], linewidth=1.2)
    set_log_axis(right, np.array([1e-17, 1e-9]))
    return figure


def _strengths(
    axes: Axes,
    tree: xr.DataTree,
    depth: int,
    values: Float[np.ndarray, " steps"],
    mode: int,
    colour: str,
) -> None:
    """One mode of one run as marks, its exact solution as a line; time is logarithmic."""
    times, label = _saved_times(tree), f"L = {depth + 1}"
    axes.plot(times[1:], _exact(tree, depth)[mode, 1:], color=colour, linewidth=1.2)
    looks = np.unique(np.geomspace(1, len(times) - 1, 45).round().astype(int))
    axes.plot(times[looks], values[looks], "o", color=colour, ms=3.5, mew=0)
    axes.plot([], [], "o-", color=colour, ms=3.5, linewidth=1.2, label=label)
    axes.set_xscale("log")
    axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.minorticks_off()


def _sigma(tree: xr.DataTree) -> Float[np.ndarray, " modes"]:
    """Singular values of the target, zeros included."""
    task = tree.attrs["config"]["task"]
    values = np.zeros(min(task["n_inputs"], task["n_outputs"]))
    values[: len(task["singular_values"])] = task["singular_values"]
    return values


def _start(tree: xr.DataTree, depth: int) -> float:
    return float(tree.attrs["config"]["network"]["weight_scale"] ** (depth + 1))


def _saved_times(tree: xr.DataTree) -> Float[np.ndarray, " steps"]:
    return np.asarray(steps_of(tree) * tree.attrs["config"]["scheme"]["step_size"], np.float64)


def _exact(tree: xr.DataTree, depth: int) -> Float[np.ndarray, "modes steps"]:
    """Strengths over sigma, over the largest sigma where a mode has none."""
    times, sigma, start = _saved_times(tree), _sigma(tree), _start(tree, depth)
    found = [
        mode_solution(depth + 1, one, start, times) / (one or sigma.max()) for one in sigma.tolist()
    ]
    return np.stack(found)


def _gap(
    tree: xr.DataTree, depth: int, values: Float[np.ndarray, "runs modes steps"]
) -> Float[np.ndarray, " steps"]:
    """Largest difference of a strength from the exact one, over runs and modes."""
    sigma = np.where(_sigma(tree) > 0, _sigma(tree), _sigma(tree).max())
    gaps = np.abs(values - _exact(tree, depth)) * sigma[:, None]
    return np.asarray(gaps.max(axis=(0, 1)))


@claim(
    "linear-modes",
    source="1312.6120",
    statement="aligned modes obey ds/dt = L s^(2 - 2/L) (sigma - s), each alone",
    configs=("linear-modes",),
    records=("learned_modes", "off_diagonal", "mode_times"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Strengths, leaks and half-times of every depth against the exact solution."""
    (tree,) = trees
    strengths = by_axis(tree, "learned_modes", "depth", step=None)
    leaks = by_axis(tree, "off_diagonal", "depth", step=None)
    times = by_axis(tree, "mode_times", "depth")
    rows = []
    for depth, values in strengths.items():
        gap, where = _gap(tree, depth, values).max(), f"L = {depth + 1}"
        rows.append(below(f"{where}: strength less exact one", gap, STRENGTH))
        rows.append(below(f"{where}: map off the modes", leaks[depth].max(), STRENGTH))
        rows.append(_time_row(tree, depth, times[depth]))
    return rows


def _time_row(tree: xr.DataTree, depth: int, times: Float[np.ndarray, "runs modes"]) -> Row:
    """Half-times of modes that have something to learn, the run's beside the exact ones."""
    sigma, start = _sigma(tree), _start(tree, depth)
    exact = np.array([half_time(depth + 1, one, start) for one in sigma[sigma > 0].tolist()])
    found = times[:, sigma > 0]
    off = float(np.max(np.abs(found / exact - 1)))
    told_times = ", ".join(f"{time:.4f}" for time in exact)
    measured = ", ".join(f"{time:.4f}" for time in found.mean(axis=0))
    return Row(f"L = {depth + 1}: half-times", told_times, measured, off < TIME)
