"""Gradient descent of deep linear networks around the critical step: how its runs end."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.deep_linear.descent import OUTCOMES, outcomes
from gramdyn.deep_linear.hessian import critical_step
from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND
from gramdyn.experiments.registry import Row, claim
from gramdyn.report.axes import INK, new_axes, new_figure

# Shares of the critical step up to here must converge in every run; from here to 1 they are slow.
QUICK = 0.95
COLOURS = dict(zip(OUTCOMES, ("#2a9d8f", "#dd9a26", "#cc4a3c"), strict=True))

Ends = dict[float, tuple[Shaped[np.ndarray, " runs"], Float[np.ndarray, " runs"]]]


def ends(tree: xr.DataTree) -> tuple[int, Ends]:
    """Number of layers, and by share of the critical step the outcomes and losses of the runs."""
    (node,) = tree.children.values()
    layers = int(np.asarray(node["depth"])[0]) + 1
    eta = critical_step(np.asarray(node["targets"])[0].T, layers)
    shares = np.round(np.asarray(node["step_size"], np.float64) / eta, 6)
    losses, statuses = np.asarray(node["excess_loss"])[:, -1], np.asarray(node["status"])
    # Hidden layers hold all modes of the target: the lowest loss is that of the best linear map.
    found = outcomes(losses, statuses)
    return layers, {
        float(share): (found[shares == share], losses[shares == share])
        for share in np.unique(shares)
    }


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Shares of the three outcomes, a bar for each depth at each step."""
    figure = new_figure(8.2, 3.6)
    across = "number of layers; step / critical step"
    axes = new_axes(figure, "How runs end", across, "share of runs")
    found = dict(ends(tree) for tree in trees)
    steps = sorted({step for one in found.values() for step in one})
    names: dict[int, str] = {}
    for group, step in enumerate(steps):
        first = group * (len(found) + 1)
        for place, one in enumerate(found.values(), first):
            if step in one:
                _draw_bar(axes, place, one[step][0])
        names |= dict(enumerate(map(str, found), first))
        _name_group(axes, first + (len(found) - 1) / 2, f"{step:g}")
    _finish(axes, names, sum(step <= 1 for step in steps) * (len(found) + 1) - 1)
    return figure


def _name_group(axes: Axes, place: float, name: str) -> None:
    across = ("data", "axes fraction")
    axes.annotate(name, (place, -0.13), xycoords=across, ha="center", color=INK)


def _draw_bar(axes: Axes, place: int, found: Shaped[np.ndarray, " runs"]) -> None:
    """One bar: shares of the outcomes, one upon the other."""
    bottom = 0.0
    for outcome in OUTCOMES:
        share = float(np.mean(found == outcome))
        axes.bar(place, share, 0.86, bottom, color=COLOURS[outcome], linewidth=0)
        bottom += share


def _finish(axes: Axes, names: dict[int, str], critical: int) -> None:
    """Names of the bars, the critical step as a line, and what the colours say."""
    axes.set_xticks(list(names), list(names.values()), fontsize=8.5)
    axes.tick_params(axis="x", length=0)
    axes.xaxis.labelpad = 20
    axes.grid(False, axis="x")
    axes.set_ylim(0, 1)
    axes.axvline(critical, color=INK, linewidth=1, linestyle="--")
    for outcome, colour in COLOURS.items():
        axes.bar(0, 0, color=colour, label=outcome)
    axes.legend(**LEGEND, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)


@claim(
    "linear-descent",
    source="2402.13108",
    statement="gradient descent does not converge above eta_c = 2 / (L sigma_1^(2-2/L))",
    configs=tuple(f"linear-descent-{layers}" for layers in (1, 2, 3, 4)),
    records=("excess_loss",),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Runs that converge, all below the critical step and none above, and how the others end."""
    rows = []
    for layers, found in map(ends, trees):
        rows += [_row(layers, share, *found[share]) for share in found]
    return rows


def _row(
    layers: int, share: float, found: Shaped[np.ndarray, " runs"], losses: Float[np.ndarray, "runs"]
) -> Row:
    """Outcomes at one step; close below the critical one they are for information."""
    runs, near = len(found), int(np.count_nonzero(found == "converged"))
    counts = ", ".join(f"{np.count_nonzero(found == outcome)} {outcome}" for outcome in OUTCOMES)
    bounded: Bool[np.ndarray, " runs"] = found == "bounded"
    level = f", at loss {told(float(np.median(losses[bounded])))}" if bounded.any() else ""
    what = f"L = {layers}, step {share:g} eta_c: runs that converge"
    if QUICK < share <= 1:
        return Row(what, "", counts + level, None)
    wanted = runs if share < 1 else 0
    return Row(what, f"{wanted} of {runs}", counts + level, near == wanted)
