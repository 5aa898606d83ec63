"""Deep linear networks from small random starts: the loss waits at the levels of saddles."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.deep_linear import plateau_levels
from gramdyn.experiments.numbers import steps_of, told
from gramdyn.experiments.pictures import LEGEND
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below
from gramdyn.report.axes import INK, SOFT, dress, new_figure, set_log_axis

TWO, THREE = "#3b72b8", "#cc4a3c"
# Bounds on the distance of a plateau from its level, over the loss of the zero map, by depth.
BOUNDS = {1: 5e-3, 2: 1e-4}
# States between two half-times at which independent modes are looked at.
_LOOKS = 4001


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Loss of every run over time for both depths, and distances from the level by the gap."""
    figure = new_figure(11.6, 3.5)
    left, middle, right = figure.subplots(1, 3)
    _losses(left, trees[0], "Two layers, scale $10^{-6}$", TWO)
    _losses(middle, trees[1], "Three layers, scale $10^{-2}$", THREE)
    left.set_xlim(0, 20)
    middle.set_xscale("log")
    middle.set_xlim(8, 1000)
    _distances(right, trees)
    return figure


def _losses(axes: Axes, tree: xr.DataTree, title: str, colour: str) -> None:
    dress(axes, title, "time", "loss")
    data, levels = _smallest(tree), plateau_levels(np.diag(_sigma(tree)))
    times = steps_of(tree) * tree.attrs["config"]["scheme"]["step_size"]
    for loss in np.asarray(data["loss"]):
        axes.plot(times[1:], loss[1:], color=colour, linewidth=0.9, alpha=0.6)
    for level in levels:
        axes.axhline(level, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_yticks(levels, [f"{level:g}" for level in levels])


def _distances(axes: Axes, trees: Sequence[xr.DataTree]) -> None:
    """Distance of the plateau after the first mode against the gap between half-times."""
    dress(axes, "Plateau of one learned mode", "gap between half-times", "|loss \u2212 2.5| / 7")
    shown = []
    for tree, colour, name in zip(
        trees, (TWO, THREE), ("two layers", "three layers"), strict=False
    ):
        gap, distance = _gaps(_runs(tree))[:, 0], _distance(_runs(tree))[:, 1]
        seen = (gap > 0) & np.isfinite(distance)
        axes.plot(
            gap[seen], distance[seen], "o", color=colour, ms=4.5, mew=0, alpha=0.7, label=name
        )
        shown.append(distance[seen])
    gaps = np.geomspace(1.0, 4.0, 40)
    law = [_aligned_distance(np.array([0.0, gap, 99.0]), _sigma(trees[0]), 1) for gap in gaps]
    axes.plot(gaps, law, color=SOFT, linewidth=1.2, label="two aligned modes", zorder=1)
    axes.set_xscale("log")
    axes.set_xticks([1, 10, 100], ["1", "10", "100"])
    axes.minorticks_off()
    set_log_axis(axes, np.concatenate(shown))
    axes.legend(**LEGEND)


def _sigma(tree: xr.DataTree) -> Float[np.ndarray, " k"]:
    return np.asarray(tree.attrs["config"]["task"]["singular_values"], float)


def _runs(tree: xr.DataTree) -> xr.Dataset:
    """Runs that came through."""
    (node,) = tree.children.values()
    return node.to_dataset().isel(run=np.asarray(node["status"]) == 0)


def _smallest(tree: xr.DataTree, largest: bool = False) -> xr.Dataset:
    """Runs of the smallest scale of the start, or of the largest."""
    data = _runs(tree)
    scales = np.asarray(data.get("weight_scale", xr.zeros_like(data["seed"], float)))
    return data.isel(run=scales == (scales.max() if largest else scales.min()))


def _times(data: xr.Dataset) -> Float[np.ndarray, "runs modes"]:
    return np.asarray(data["mode_times"].isel(step=-1))


def _gaps(data: xr.Dataset) -> Float[np.ndarray, "runs gaps"]:
    return np.diff(np.where(np.isfinite(_times(data)), _times(data), 1e9), axis=1)


def _distance(data: xr.Dataset) -> Float[np.ndarray, "runs stages"]:
    """Distance of each plateau from the level of its modes, over the loss of the zero map.

    Infinite for a stage that the run skipped.
    """
    last = data.isel(step=-1)
    loss, level = np.asarray(last["plateau_loss"]), np.asarray(last["plateau_level"])
    seen = np.isfinite(loss)
    found = np.abs(np.where(seen, loss, 0.0) - np.where(seen, level, 0.0))
    return np.where(seen, found / np.max(np.asarray(data["plateau_level"][:, 0, 0])), np.inf)


def _aligned_distance(
    times: Float[np.ndarray, " modes"], sigma: Float[np.ndarray, " modes"], stage: int
) -> float:
    """The same for two layers whose modes are aligned and have these half-times.

    Each mode is s = sigma / (1 + exp(-2 sigma (t - t_half))) by itself, and the plateau is where
    the squared gradient sum 2 s (sigma - s)^2 is least between the half-times.
    """
    looks = np.linspace(times[stage - 1], times[stage], _LOOKS)[1:-1, None]
    left = sigma / (1 + np.exp(np.minimum(2 * sigma * (looks - times), 700.0)))
    slowest = np.argmin(np.sum((sigma - left) * left**2, axis=1))
    level = np.sum(sigma[stage:] ** 2)
    return float(abs(np.sum(left[slowest] ** 2) - level) / np.sum(sigma**2))


@claim(
    "linear-plateaus",
    source="1312.6120",
    statement="from small starts the loss waits at 1/2 of the squares of the modes left to learn",
    configs=("linear-plateaus", "linear-plateaus-deep", "linear-plateaus-order"),
    records=("loss", "mode_times"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Distances of the plateaus from the levels, what sets them, and the order of learning."""
    rows = [*_depth_rows(trees[0], 1), *_law_rows(trees[0]), *_depth_rows(trees[1], 2)]
    wide = _smallest(trees[0], largest=True)
    loss = float(np.median(np.asarray(wide["plateau_loss"].isel(step=-1))[:, 1]))
    rows.append(
        Row("L = 2, scale 0.001: loss at level 2.5", "2.3, modes overlap", told(loss), None)
    )
    return [*rows, *_order_rows(trees[2])]


def _depth_rows(tree: xr.DataTree, depth: int) -> list[Row]:
    """Horizon, medians, and worst runs of one depth."""
    data, bound = _smallest(tree), BOUNDS[depth]
    where, levels = f"L = {depth + 1}", plateau_levels(np.diag(_sigma(tree)))
    learned = np.isfinite(_times(data)).all(axis=1)
    rows = [_count_row(f"{where}: runs that learn every mode", learned, True)]
    for stage in range(1, len(levels) - 1):
        found = _distance(data)[:, stage]
        what = f"{where}, level {levels[stage]:g}: distance / {levels[0]:g}"
        rows.append(below(f"{what}, median", np.median(found), bound))
        rows.append(Row(f"{what}, worst", "", told(float(found.max())), None))
        rows.append(_count_row(f"{what}, runs below {bound:g}", found < bound, None))
    return rows


def _law_rows(tree: xr.DataTree) -> list[Row]:
    """Two layers: distances beside those of aligned modes with the half-times of the run."""
    data, rows, sigma = _smallest(tree), [], _sigma(tree)
    data = data.isel(run=np.isfinite(_times(data)).all(axis=1))
    if data.sizes["run"] == 0:
        return []
    for stage in (1, 2):
        law = np.array([_aligned_distance(row, sigma, stage) for row in _times(data)])
        ratio = _distance(data)[:, stage] / law
        what = f"L = 2, {stage} learned: distance / that of aligned modes of equal half-times"
        span = f"{told(float(ratio.min()))} to {told(float(ratio.max()))}"
        rows.append(Row(what, "0.9 to 1.1", span, bool(np.all(np.abs(ratio - 1) < 0.1))))
    return rows


def _order_rows(tree: xr.DataTree) -> list[Row]:
    """How often modes reach half their sigma in the order of sigma, by depth and width."""
    rows = []
    for node in tree.children.values():
        data = node.to_dataset().isel(run=np.asarray(node["status"]) == 0)
        for width in np.unique(data["width"]):
            times = _times(data.isel(run=np.asarray(data["width"]) == width))
            learned = np.isfinite(times).all(axis=1)
            ordered = np.all(np.diff(times[learned], axis=1) > 0, axis=1)
            depth = int(np.asarray(data["depth"])[0])
            where = f"L = {depth + 1}, width {width}, scale 0.03"
            rows.append(_count_row(f"{where}: runs that learn every mode", learned, None))
            rows.append(_count_row(f"{where}: of these in the order of sigma", ordered, None))
    return rows


def _count_row(what: str, good: np.ndarray, judged: bool | None) -> Row:
    """How many runs are good; judged where all must be."""
    holds = bool(good.all()) if judged else None
    return Row(what, "all" if judged else "", f"{int(good.sum())} of {len(good)}", holds)
