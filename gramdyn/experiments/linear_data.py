"""Data that are not white: the landscape is that of white inputs, the flow is not."""

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.data.moments import Moments, task_moments
from gramdyn.data.task import Task, make_task
from gramdyn.deep_linear import (
    Weights,
    canonical_spectrum,
    canonical_weights,
    critical_values,
    hessian_spectrum,
    inertia,
    unwhiten_weights,
)
from gramdyn.experiments.linear_flows import flow_from
from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below
from gramdyn.kernels.linear import conserved_quantities
from gramdyn.report.axes import INK, SOFT, dress, new_figure, set_log_axis
from gramdyn.systems.moments import MomentFields

WIDTHS = ((3, 3, 3), (3, 4, 4, 3))
BOUND, MOVED = 1e-10, 1e-2
OWN, WHITE = "#3b72b8", "#cc4a3c"
_SAMPLES, _STARTS = 20, 8


def measure() -> xr.DataTree:
    """A node a width set: critical points of the data, and what the flow conserves."""
    found = {}
    for seed, widths in enumerate(WIDTHS):
        task = _task(widths, seed)
        moments = task_moments(task, 1.0 / task.n_samples)
        found[_name(widths)] = xr.merge([_points(widths, task, moments), _drifts(widths, moments)])
    return xr.DataTree.from_dict(found)


def _name(widths: Sequence[int]) -> str:
    return "-".join(map(str, widths))


def _task(widths: Sequence[int], seed: int) -> Task:
    """Correlated inputs of unlike size, targets that no linear map of them reaches."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(widths[0], widths[0])) * np.geomspace(2.0, 0.3, widths[0])[:, None]
    inputs = rng.normal(size=(_SAMPLES, widths[0])) @ mixed
    targets = inputs @ rng.normal(size=(widths[0], widths[-1]))
    return make_task(inputs, targets + 0.3 * rng.normal(size=targets.shape))


def _points(widths: tuple[int, ...], task: Task, moments: Moments) -> xr.Dataset:
    """What is found at the white canonical point of every set of modes, mapped back to the data."""
    white = np.asarray(moments.white_target())
    levels = critical_values(white, widths, float(moments.floor))
    rows = [_point(widths, one, task, moments) for one in levels.chosen]
    data = {name: ("point", np.array([row[name] for row in rows])) for name in rows[0]}
    counts = ("point", np.array([len(one) for one in levels.chosen]))
    return xr.Dataset({**data, "level": ("point", levels.values), "n_learned": counts})


def _point(
    widths: tuple[int, ...], chosen: tuple[int, ...], task: Task, moments: Moments
) -> dict[str, float | bool]:
    """One critical point: gradient and loss by the samples, inertia by the Hessian of the data."""
    white, moment = np.asarray(moments.white_target()), np.asarray(moments.input_moment)
    target = np.asarray(moments.target)
    weights = unwhiten_weights(canonical_weights(white, widths, chosen), moment)
    loss, gradient = _by_samples(weights, task)
    signs = inertia(hessian_spectrum(weights, target, input_moment=moment))
    raw = np.delete(np.linalg.svd(target, compute_uv=False), list(chosen))
    return {
        "gradient": gradient,
        "loss": loss,
        "level_of_raw": 0.5 * float(np.sum(raw**2)) + float(moments.floor),
        "same_inertia": signs == inertia(canonical_spectrum(white, widths, chosen)),
    }


def _by_samples(weights: Weights, task: Task) -> tuple[float, float]:
    """Mean loss over the samples and the norm of its gradient, without any moment."""
    inputs, targets = np.asarray(task.inputs), np.asarray(task.targets)

    def loss(layers: Sequence[Float[Array, "_ _"]]) -> Float[Array, ""]:
        outputs = jnp.asarray(inputs)
        for layer in layers:
            outputs = outputs @ layer.T
        return 0.5 * jnp.sum((jnp.asarray(targets) - outputs) ** 2) / len(inputs)

    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        value, slopes = jax.value_and_grad(loss)([jnp.asarray(layer) for layer in weights])
        return float(value), float(jnp.sqrt(sum(jnp.sum(one**2) for one in slopes)))


def _drifts(widths: tuple[int, ...], moments: Moments) -> xr.Dataset:
    """Largest drift of C_l over time, with W_1 itself and with the whitened one."""
    rng = np.random.default_rng(len(widths))
    shapes = [(up, low) for low, up in pairwise(widths)]
    starts = [tuple(0.5 * rng.normal(size=shape) for shape in shapes) for _ in range(_STARTS)]
    flow = flow_from(
        starts,
        moments,
        step=0.005,
        n_steps=4000,
        every=20,
        look=[_conserved],
        method="midpoint",
    )
    kept = ("own", "white")
    drifts = {
        name: np.abs(flow.records[name] - flow.records[name][:, :1]).max(axis=(2, 3))
        for name in kept
    }
    data = {f"drift_{name}": (("start", "time"), drifts[name]) for name in kept}
    return xr.Dataset(data, coords={"time": flow.times})


def _conserved(fields: MomentFields) -> dict[str, Float[Array, "d1 d1"]]:
    """C_1 = W_2^T W_2 - W_1 W_1^T, and the same with W_1 Sxx^(1/2) for W_1."""
    first, *rest = fields.weights
    white = fields.moments.whiten(first)
    return {
        "own": conserved_quantities([first, *rest])[0],
        "white": conserved_quantities([white, *rest])[0],
    }


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Losses of the critical points beside levels, and drifts of what is conserved over time."""
    (tree,) = trees
    figure = new_figure(11.4, 3.6)
    left, *panels = figure.subplots(1, 3)
    _levels(left, tree[_name(WIDTHS[0])].to_dataset())
    for axes, widths in zip(panels, WIDTHS, strict=True):
        data = tree[_name(widths)].to_dataset()
        dress(axes, f"Conserved or not, {_name(widths)}", "time", "drift of $C_1$")
        for name, colour in (("drift_own", OWN), ("drift_white", WHITE)):
            for drift in np.asarray(data[name]):
                seen = np.maximum(drift[1:], 1e-17)
                axes.plot(data["time"][1:], seen, color=colour, linewidth=0.9, alpha=0.7)
        axes.plot([], [], color=WHITE, label="with whitened $W_1$")
        axes.plot([], [], color=OWN, label="with $W_1$ itself")
        set_log_axis(axes, np.array([1e-16, 1e2]))
        axes.legend(**LEGEND, loc="center right")
    return figure


def _levels(axes: Axes, data: xr.Dataset) -> None:
    """Loss at each critical point, inside rings of levels of the white target."""
    dress(axes, f"Critical points of the data, {_name(WIDTHS[0])}", "learned modes", "loss")
    spread = np.asarray(data["n_learned"], float)
    axes.plot(spread, data["level"], "o", mec=OWN, mfc="none", ms=10, label="level, white target")
    axes.plot(spread, data["loss"], "o", color=INK, ms=4, label="loss of the samples")
    axes.plot(spread, data["level_of_raw"], "x", color=SOFT, ms=5, label="level if T were white")
    axes.set_xticks(range(int(spread.max()) + 1))
    axes.legend(**LEGEND, loc="center left")


@claim(
    "linear-data",
    source="2511.10362",
    statement="whitening the inputs keeps the landscape and changes the flow",
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Gradients, losses and inertia of mapped points, and drifts, a width set after the other."""
    (tree,) = trees
    rows = []
    for widths in WIDTHS:
        data = tree[_name(widths)].to_dataset()
        rows += [*_point_rows(_name(widths), data), *_drift_rows(_name(widths), data)]
    return rows


def _point_rows(where: str, data: xr.Dataset) -> list[Row]:
    gradient = float(data["gradient"].max())
    gap = float(abs(data["loss"] - data["level"]).max())
    same, count = int(data["same_inertia"].sum()), data.sizes["point"]
    raw = float(abs(data["loss"] - data["level_of_raw"]).max())
    return [
        below(f"{where}, {count} points: gradient", gradient, BOUND),
        below(f"{where}: loss less level of the white target", gap, BOUND),
        Row(f"{where}: same inertia", f"{count} of {count}", f"{same} of {count}", same == count),
        Row(f"{where}: loss less level of T as it is", "", told(raw), None),
    ]


def _drift_rows(where: str, data: xr.Dataset) -> list[Row]:
    """Largest drift of each run; that of the whitened first layer must not vanish."""
    own = float(data["drift_own"].max())
    white = np.asarray(data["drift_white"].max("time"))
    least = float(white.min())
    return [
        below(f"{where}: drift of C_1", own, BOUND),
        Row(
            f"{where}: drift of C_1 with whitened W_1, least and largest of {len(white)} starts",
            f"above {told(MOVED)}",
            f"{told(least)}, {told(float(white.max()))}",
            least > MOVED,
        ),
    ]
