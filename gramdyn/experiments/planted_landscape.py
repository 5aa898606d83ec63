"""Where descent can stop: levels, types, spectra of stationary points, and what searches find."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.optimize import least_squares

from gramdyn.experiments.pictures import LEGEND
from gramdyn.experiments.planted_starts import descend_from
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below, count
from gramdyn.planted import (
    global_minimum,
    gradient_of,
    half_fit,
    hessian_matrix,
    kinds,
    loss_of,
    paired_minimum,
    plateau,
    plateau_spectrum,
    ray_spectrum,
)
from gramdyn.report.axes import dress, new_figure

D = 6
TARGET = np.eye(1, D)
Point = tuple[np.ndarray, np.ndarray]


def points() -> dict[str, tuple[Point, float, str]]:
    """Members of every family of one output: weights, level, kind."""
    rng = np.random.default_rng(0)
    flat = plateau(rng.standard_normal((3, D)), TARGET)
    return {
        "balanced pair": (global_minimum([1.0], [-1.0], TARGET), 0.0, "global_min"),
        "minimum of 4": (global_minimum([0.3, 0.7], [-1.5, 0.5], TARGET), 0.0, "global_min"),
        "minimum, unbalanced": (
            global_minimum([0.4, 0.6], [-1.0], TARGET, norms=[2.0, 0.3, 1.5]),
            0.0,
            "global_min",
        ),
        "half, one sign": (half_fit([0.3, 0.7], TARGET), 0.25, "spurious_min"),
        "half, along -a": (half_fit([-0.2, -0.8], TARGET, opposite=True), 0.25, "spurious_min"),
        "half, mixed signs": (half_fit([2.0, -1.0], TARGET), 0.25, "nonstrict_saddle"),
        "half, a dead neuron": (half_fit([1.0], TARGET, n_dead=1), 0.25, "half_fit_escapable"),
        "plateau": (flat, 0.5, "plateau"),
    }


def _spectrum_gap(name: str, point: Point) -> float:
    """Largest distance of the dense spectrum from the closed one, over the largest eigenvalue."""
    found = np.linalg.eigvalsh(hessian_matrix(*point, TARGET))
    is_plateau = name == "plateau"
    wanted = plateau_spectrum(point[0], TARGET) if is_plateau else ray_spectrum(*point, TARGET)
    return float(np.abs(found - np.sort(wanted)).max() / np.abs(found).max())


def _slope(point: Point) -> float:
    return float(np.sqrt(sum(np.sum(part**2) for part in gradient_of(*point, TARGET))))


def searched(width: int, count_of: int, seed: int) -> np.ndarray:
    """Losses at roots of the gradient that least squares finds from random points."""
    rng = np.random.default_rng(seed)

    def slope(flat: np.ndarray) -> np.ndarray:
        point = flat[: width * 3].reshape(width, 3), flat[width * 3 :, None]
        return np.concatenate([part.ravel() for part in gradient_of(*point, np.eye(1, 3))])

    found = []
    for _ in range(count_of):
        root = least_squares(slope, rng.standard_normal(width * 4), xtol=1e-15, gtol=1e-15)
        if np.abs(root.fun).max() < 1e-9:
            point = root.x[: width * 3].reshape(width, 3), root.x[width * 3 :, None]
            found.append(float(loss_of(*point, np.eye(1, 3))))
    return np.asarray(found)


def stability() -> np.ndarray:
    """Loss at the end from near the balanced pair, over the loss at the start, by the step."""
    hidden, readout = global_minimum([1.0], [-1.0], np.eye(1, 3))
    rng = np.random.default_rng(1)
    hidden = hidden + 1e-6 * rng.standard_normal((2, 2, 3))
    starts = np.broadcast_to(readout, (2, 2, 1))
    run = descend_from(
        hidden, starts, np.eye(1), step_size=np.asarray([1.9, 2.1]), n_steps=60, every=60
    )
    losses = np.asarray(run["loss"])
    return np.asarray(losses[:, -1] / losses[:, 0])


def measure() -> xr.DataTree:
    """Levels, gradients, spectra of every family; searches; stability of the balanced pair."""
    made = points()
    smooth = {name: p for name, (p, _, _) in made.items() if "dead" not in name}
    spectra = {name: _spectrum_gap(name, p) for name, p in smooth.items()}
    slope = [_slope(p) for p, _, _ in made.values()]
    levels = [loss_of(*p, TARGET) for p, _, _ in made.values()]
    family = xr.Dataset(
        {"level": ("point", np.asarray(levels)), "slope": ("point", np.asarray(slope))}
    )
    found = [searched(width, 40, width) for width in (2, 3, 4, 5)]
    roots = xr.Dataset({"level": ("root", np.concatenate(found))})
    widths = [np.full(len(one), width) for one, width in zip(found, (2, 3, 4, 5), strict=True)]
    roots["width"] = ("root", np.concatenate(widths))
    spectrum = xr.Dataset({"gap": ("point", [*spectra.values()])})
    stable = xr.Dataset({"growth": ("step_size", stability())}, {"step_size": [1.9, 2.1]})
    parts = {"family": family, "roots": roots, "spectrum": spectrum, "stable": stable}
    return xr.DataTree.from_dict(parts)


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Levels that searches from random points end on, by the number of neurons."""
    roots = trees[0]["roots"]
    figure = new_figure(5.4, 3.7)
    axes = figure.subplots()
    dress(axes, "Loss at roots of the gradient", "neurons", "loss")
    jitter = np.random.default_rng(0).uniform(-0.25, 0.25, roots.sizes["root"])
    axes.plot(np.asarray(roots["width"]) + jitter, roots["level"], "o", color="#3b72b8", ms=3)
    for level in (0, 0.25, 0.5):
        axes.axhline(level, color="#444b54", linewidth=0.8, zorder=0)
    axes.plot([], [], color="#444b54", label="0, 1/4, 1/2")
    axes.set_xticks([2, 3, 4, 5])
    axes.legend(**LEGEND, loc="upper right")
    return figure


@claim(
    "planted-landscape",
    source="derived here",
    statement="one output: every stationary point found has loss 0, 1/4 or 1/2",
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Levels, kinds and spectra of constructed points, levels of searched ones, stability."""
    (tree,) = trees
    made = points()
    wanted = np.asarray([level for _, level, _ in made.values()])
    told = np.asarray([kinds(*p, TARGET).item() == kind for p, _, kind in made.values()])
    family, roots, stable = tree["family"], np.asarray(tree["roots"]["level"]), tree["stable"]
    levels = np.min(np.abs(roots[:, None] - np.asarray([[0.0, 0.25, 0.5]])), axis=1)
    low, high = (float(one) for one in stable["growth"])
    return [
        below("level of 8 constructed points, off", np.abs(family["level"] - wanted).max(), 1e-14),
        below("their gradients", float(family["slope"].max()), 1e-14),
        count("their kinds", told),
        below(
            "spectra of 7 of them, off the closed form", float(tree["spectrum"]["gap"].max()), 1e-12
        ),
        _pair_row(),
        _dead_row(),
        below("curvature of a pair of pairs, two outputs: least", -_least_paired(), 1e-12),
        count(f"of {len(roots)} roots at 0, 1/4 or 1/2", levels < 1e-7),
        Row("step 1.9 near the pair: loss after 60 steps", "falls", f"x {low:.1e}", low < 1),
        Row("step 2.1 near the pair: loss after 60 steps", "grows", f"x {high:.1e}", high > 1),
    ]


def _pair_row() -> Row:
    """The balanced pair: 1/2 (2 (d - 1) times), 1 (twice), 0 (twice)."""
    point = global_minimum([1.0], [-1.0], TARGET)
    found = np.linalg.eigvalsh(hessian_matrix(*point, TARGET))
    wanted = np.sort([0.0] * 2 + [0.5] * (2 * (D - 1)) + [1.0] * 2)
    return below("balanced pair: 0, 0, 1/2 (10 times), 1, 1", np.abs(found - wanted).max(), 1e-12)


def _dead_row() -> Row:
    """Loss - 1/4 = v n psi(angle) beside a half fit with a dead neuron, psi >= 0: a way down."""
    hidden, readout = half_fit([1.0], TARGET, n_dead=1)
    size, angle = 1e-4, np.pi / 2
    moved = hidden + _dead(size), readout - size * np.eye(2)[:, 1:]
    own = size**4 / 4  # of the neuron by itself
    found = float(loss_of(*moved, TARGET)) - 0.25 - own
    wanted = -(size**2) * (np.sin(angle) - angle * np.cos(angle)) / (2 * np.pi)
    return below("way down at a dead neuron: off v n psi", abs(found / wanted - 1), 1e-6)


def _dead(norm: float) -> np.ndarray:
    """A second row at a right angle to a."""
    rows = np.zeros((2, D))
    rows[1, 1] = norm
    return rows


def _least_paired() -> float:
    """Least eigenvalue at a minimum of two pairs with two outputs."""
    hidden = np.asarray([[1.0, 0.2, 0.0], [-0.2, 1.0, 0.0]])
    readout = np.linalg.inv(hidden[:, :2]).T
    point = paired_minimum(hidden, readout)
    return float(np.linalg.eigvalsh(hessian_matrix(*point))[0])
