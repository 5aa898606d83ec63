"""Onto saddles and off them: subspaces that lead to a level, directions that lead to the next."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.deep_linear import (
    UnstableDirection,
    Weights,
    canonical_weights,
    mode_time,
    project_onto_level_subspace,
    unstable_directions,
    whole_map,
)
from gramdyn.experiments.linear_flows import flow_from, white_moments
from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.report.axes import INK, dress, new_figure, set_log_axis

SIGMA = np.array([3.0, 2.0, 1.0])
TARGET = np.diag(SIGMA)
DEPTHS = (2, 3, 4)
LANDED, COEFFICIENT, TIME = 1e-8, 1e-3, 1e-4
# Sets whose level is approached, ten starts each; sets that are left by every other mode.
APPROACHED, LEFT = ((0,), (1,), (0, 2)), ((), (0,), (0, 1))
_STARTS, _SCALE = 10, 0.7
# Length of the move off a saddle, and of the one by which its coefficient is measured.
_MOVE, _SMALL = 0.2, 0.01
# Entries of every layer along mode 2, beside a network that has learned mode 1.
DELTAS = (0.2, 0.1, 0.05, 0.025)


def measure() -> xr.DataTree:
    """Three nodes a number of layers: onto levels, off saddles, and times of escape."""
    found = {}
    for n_layers in DEPTHS:
        found[f"onto-{n_layers}"] = _onto(n_layers)
        found[f"off-{n_layers}"] = _off(n_layers)
        found[f"times-{n_layers}"] = _times(n_layers)
    return xr.DataTree.from_dict(found)


def _level(learned: Sequence[int]) -> float:
    return 0.5 * float(np.sum(np.delete(SIGMA, list(learned)) ** 2))


def _levels(learned: Int[np.ndarray, "starts k"]) -> Float[np.ndarray, " starts"]:
    """Levels of sets given as 1 for a learned mode and 0 for others."""
    return np.asarray(0.5 * np.sum(np.where(learned > 0, 0.0, SIGMA**2), axis=1))


def _onto(n_layers: int) -> xr.Dataset:
    """Random starts of hidden width 4 in the invariant subspace of each set."""
    widths = (3, *[4] * (n_layers - 1), 3)
    rng = np.random.default_rng(n_layers)
    cases = [chosen for chosen in APPROACHED for _ in range(_STARTS)]
    starts = [project_onto_level_subspace(_random(rng, widths), TARGET, one) for one in cases]
    flow = flow_from(starts, white_moments(TARGET), step=0.01, n_steps=10_000, every=10_000)
    return xr.Dataset(
        {
            "loss": ("start", flow.records["loss"][:, -1]),
            "level": ("start", np.array([_level(one) for one in cases])),
        }
    )


def _random(rng: np.random.Generator, widths: Sequence[int]) -> Weights:
    return tuple(_SCALE * rng.normal(size=(up, low)) for low, up in pairwise(widths))


def _off(n_layers: int) -> xr.Dataset:
    """From each canonical saddle along the direction of each mode it lacks."""
    widths = (3,) * (n_layers + 1)
    cases = []
    for chosen in LEFT:
        weights = canonical_weights(TARGET, widths, chosen)
        cases += [(chosen, weights, way) for way in unstable_directions(weights, TARGET)]
    starts = [_moved(weights, way, _MOVE) for _, weights, way in cases]
    flow = flow_from(
        starts,
        white_moments(TARGET),
        step=0.01,
        n_steps=20_000,
        every=5,
        look=["loss", "learned_modes"],
    )
    modes = np.array([way.mode for *_, way in cases])
    falls = np.array([_fall(weights, way, n_layers) for _, weights, way in cases])
    return xr.Dataset(
        {
            "loss": (("start", "time"), flow.records["loss"]),
            "learned": (("start", "mode"), flow.records["learned_modes"][:, -1]),
            "mode_left_by": ("start", modes),
            "coefficient": ("start", falls),
            "wanted": (("start", "mode"), _wanted([chosen for chosen, *_ in cases], modes)),
        },
        coords={"time": flow.times},
    )


def _moved(weights: Weights, way: UnstableDirection, length: float) -> Weights:
    assert way.direction is not None
    return tuple(w + length * v for w, v in zip(weights, way.direction, strict=True))


def _fall(weights: Weights, way: UnstableDirection, order: int) -> float:
    """Fall of the loss along a short move, over its length to the power m = L."""
    before, after = (
        0.5 * float(np.sum((TARGET - whole_map(one)) ** 2))
        for one in (weights, _moved(weights, way, _SMALL))
    )
    return (before - after) / _SMALL**order


def _wanted(
    chosen: Sequence[tuple[int, ...]], modes: Int[np.ndarray, " starts"]
) -> Int[np.ndarray, "starts k"]:
    """Modes learned at the next level: those of the saddle and the one that it is left by."""
    found = np.zeros((len(modes), len(SIGMA)), int)
    for row, learned, mode in zip(found, chosen, modes, strict=True):
        row[[*learned, int(mode)]] = 1
    return found


def _times(n_layers: int) -> xr.Dataset:
    """Half-time of mode 2 from a small entry in every layer, mode 1 learned."""
    widths = (3,) * (n_layers + 1)
    bump = np.zeros((3, 3))
    bump[1, 1] = 1.0
    saddle = canonical_weights(TARGET, widths, (0,))
    starts = [tuple(weight + delta * bump for weight in saddle) for delta in DELTAS]
    flow = flow_from(
        starts,
        white_moments(TARGET),
        step=0.01,
        n_steps=45_000,
        every=45_000,
        look=["mode_times"],
    )
    exact = [_exact_time(n_layers, delta) for delta in DELTAS]
    found = flow.records["mode_times"][:, -1, 1]
    return xr.Dataset(
        {"found": ("delta", found), "exact": ("delta", np.array(exact))},
        coords={"delta": np.array(DELTAS)},
    )


def _exact_time(n_layers: int, delta: float) -> float:
    return mode_time(n_layers, float(SIGMA[1]), delta**n_layers, float(SIGMA[1]) / 2)


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Losses from saddles to the next level, two and four layers; times of escape."""
    (tree,) = trees
    figure = new_figure(11.6, 3.7)
    left, middle, right = figure.subplots(1, 3)
    for axes, n_layers, end in ((left, 2, 5), (middle, 4, 70)):
        dress(axes, f"Off each saddle, L = {n_layers}", "time", "loss")
        _losses(axes, tree[f"off-{n_layers}"].to_dataset())
        axes.set_xlim(0, end)
    middle.legend(**LEGEND, title="left by mode", title_fontsize=9, loc="center right")
    dress(right, "Time to half of mode 2 off {1}", r"entry $\delta$ of every layer", "time")
    for n_layers, colour in colours_of(DEPTHS).items():
        data = tree[f"times-{n_layers}"].to_dataset()
        deltas = np.geomspace(min(DELTAS), max(DELTAS), 50)
        exact = [_exact_time(n_layers, float(delta)) for delta in deltas]
        right.plot(deltas, exact, color=colour, linewidth=1.3)
        right.plot(data["delta"], data["found"], "o", color=colour, ms=5.5, mec="white", mew=0.6)
        right.plot([], [], "o-", color=colour, ms=5, label=f"L = {n_layers}")
    right.set_xscale("log")
    right.set_xticks(DELTAS, [f"{delta:g}" for delta in DELTAS])
    right.minorticks_off()
    set_log_axis(right, np.array([0.5, 450.0]))
    right.legend(**LEGEND, loc="upper right")
    return figure


def _losses(axes: Axes, data: xr.Dataset) -> None:
    """Losses over time, a colour the mode by which the saddle is left; levels dashed."""
    levels = [*np.unique(_levels(np.asarray(data["wanted"]))), _level(())]
    for level in levels:
        axes.axhline(level, color=INK, linewidth=0.7, linestyle=(0, (4, 3)), alpha=0.6)
    for mode, colour in colours_of(range(len(SIGMA))).items():
        for loss in np.asarray(data["loss"])[np.asarray(data["mode_left_by"]) == mode]:
            axes.plot(data["time"], loss, color=colour, linewidth=1.5)
        axes.plot([], [], color=colour, linewidth=1.5, label=f"{mode + 1}")
    axes.set_yticks(levels, [f"{level:g}" for level in levels])


@claim(
    "linear-escape",
    source="derived here",
    statement="linear subspaces lead onto saddles, one direction a mode to the next level",
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Landings, coefficients and times, a number of layers after the other."""
    (tree,) = trees
    rows = []
    for n_layers in DEPTHS:
        rows.append(_onto_row(n_layers, tree[f"onto-{n_layers}"].to_dataset()))
        rows += _off_rows(n_layers, tree[f"off-{n_layers}"].to_dataset())
        rows.append(_time_row(n_layers, tree[f"times-{n_layers}"].to_dataset()))
    return rows


def _onto_row(n_layers: int, data: xr.Dataset) -> Row:
    """Starts in the subspace of a set: distance of the loss from its level."""
    gap = np.abs(np.asarray(data["loss"] - data["level"]))
    good = int(np.sum(gap < LANDED))
    what = f"L = {n_layers}, starts in N_S that end within {told(LANDED)} of their level"
    measured = f"{good} of {len(gap)}, worst {told(float(gap.max()))}"
    return Row(what, f"{len(gap)} of {len(gap)}", measured, good == len(gap))


def _off_rows(n_layers: int, data: xr.Dataset) -> list[Row]:
    """Where each escape ends, and the coefficient with which it begins."""
    wanted = np.asarray(data["wanted"])
    gap = np.abs(np.asarray(data["loss"])[:, -1] - _levels(wanted))
    right = np.max(np.abs(np.asarray(data["learned"]) - wanted), axis=1) < 1e-4
    good, count = int(np.sum((gap < LANDED) & right)), len(gap)
    measured = f"{good} of {count}, worst {told(float(gap.max()))}"
    law = SIGMA[np.asarray(data["mode_left_by"])] * n_layers ** (-n_layers / 2)
    off = float(np.max(np.abs(np.asarray(data["coefficient"]) / law - 1)))
    where = f"L = {n_layers}"
    bound = f"within {told(COEFFICIENT)}"
    return [
        Row(
            f"{where}, saddles S left by p that end on S + p",
            f"{count} of {count}",
            measured,
            good == count,
        ),
        Row(
            f"{where}, fall of the loss / (sigma_p L^(-L/2) t^L), less 1",
            bound,
            told(off),
            off < COEFFICIENT,
        ),
    ]


def _time_row(n_layers: int, data: xr.Dataset) -> Row:
    """Half-times from entries delta beside a saddle against the exact ones."""
    found, exact = np.asarray(data["found"]), np.asarray(data["exact"])
    off = float(np.max(np.abs(found / exact - 1)))
    predicted, measured = (", ".join(f"{time:.5g}" for time in times) for times in (exact, found))
    deltas = ", ".join(f"{delta:g}" for delta in np.asarray(data["delta"]))
    return Row(f"L = {n_layers}, times of escape from {deltas}", predicted, measured, off < TIME)
