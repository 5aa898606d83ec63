"""Conserved quantities of deep linear networks: how far each scheme lets them drift."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn._types import Key, Scalar
from gramdyn.diagnostics.record import Record
from gramdyn.dynamics.adaptive import Adaptive
from gramdyn.dynamics.schemes import add_step
from gramdyn.dynamics.simulate import simulate_many
from gramdyn.experiments.linear_starts import largest, linear_system
from gramdyn.experiments.numbers import spread, told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below
from gramdyn.kernels.linear import conserved_increment, conserved_quantities
from gramdyn.models.network import Network
from gramdyn.report.axes import dress, new_figure, set_log_axis
from gramdyn.systems.base import AbstractSystem
from gramdyn.systems.moments import MomentFields, MomentSystem

WIDTHS, VALUES, SCALE = (4, 5, 5, 3), (2.0, 1.2, 0.6), 0.5
RUNS, STEPS, DECAYS = 32, (0.01, 0.005), (0.05, 0.2)
# Drift of Runge-Kutta at t = 2 that the median run must stay below, by step.
LIMITS = {0.02: 1e-5, 0.01: 1e-6, 0.005: 1e-7}
NAMES = {"euler": "gradient descent", "rk4": "Runge-Kutta 4", "midpoint": "implicit midpoint"}


class Decaying(AbstractSystem):
    """Gradient flow with weight decay: dW/dt = -grad - decay W.

    Attributes:
        inner: The network without decay.
        decay: Factor on the weights.
    """

    inner: MomentSystem
    decay: Scalar

    @property
    def exact_for(self) -> str:
        """The state is the weights themselves: "any" scheme."""
        return "any"

    def initial_state(self) -> Network:
        """The trained arrays at t = 0."""
        return self.inner.initial_state()

    def fields(self, state: Network) -> MomentFields:
        """The fields of the network, its loss without the decay's part."""
        return self.inner.fields(state)

    def velocity(self, state: Network, fields: MomentFields | None = None) -> Network:
        """Minus the loss gradient, minus the decay."""
        found: Network = add_step(self.inner.velocity(state, fields), -self.decay, state)
        return found

    def stiffness(self, fields: MomentFields) -> Float[Array, ""]:
        """Largest rate: that of the loss, and the decay."""
        return self.inner.stiffness(fields) + self.decay


def conserved(fields: MomentFields) -> dict[str, Float[Array, "nodes N N"]]:
    """C_l of each hidden node, stacked: they have one width."""
    return {"conserved": jnp.stack(conserved_quantities(fields.weights))}


def decayed(decay: float) -> Float[np.ndarray, " runs"]:
    """Largest entry of C_l(t) - exp(-2 decay t) C_l(0) up to t = 10, one a run."""
    scheme = Adaptive(0.5, 1e-12, 1e-14)
    build = lambda key: (Decaying(linear_system(key, WIDTHS, VALUES, SCALE), decay), scheme)  # noqa: E731
    keys = jax.random.split(jax.random.key(0), RUNS)
    found = simulate_many(build, keys, 20, Record([conserved]), batching="vmap")
    shrunk = np.exp(-2 * decay * 0.5 * found.steps)[:, None, None, None]
    values = np.asarray(found["conserved"])
    return largest(values - shrunk * values[:, :1], 1)


def accumulated(step_size: float) -> Float[np.ndarray, " runs"]:
    """Change of C_l up to t = 2 less the exact increments of every step, largest entry, one a run.

    The increments are eta^2 (g_{l+1}^T g_{l+1} - g_l g_l^T), g_l the gradients on the way.
    """
    keys = jax.random.split(jax.random.key(0), RUNS)
    gap = jax.jit(jax.vmap(lambda key: _increment_gap(key, step_size)))(keys)
    return np.asarray(gap)


def _increment_gap(key: Key, step_size: float) -> Float[Array, ""]:
    system = linear_system(key, WIDTHS, VALUES, SCALE)
    state = system.initial_state()
    first = conserved_quantities(system.fields(state).weights)

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        state, known = carry
        fields = system.fields(state)
        known = add_step(known, 1.0, conserved_increment(fields.directions, step_size))
        return (system.descend(state, step_size, fields), known), None

    (state, known), _ = jax.lax.scan(step, (state, first), length=round(2 / step_size))
    last = conserved_quantities(system.fields(state).weights)
    return jnp.max(jnp.stack([jnp.max(jnp.abs(a - b)) for a, b in zip(last, known, strict=True)]))


def measure() -> xr.DataTree:
    """Exact increments of gradient descent, and what is left under weight decay."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        steps = np.stack([accumulated(step) for step in STEPS])
        decays = np.stack([decayed(decay) for decay in DECAYS])
    nodes = {
        "increment": xr.Dataset({"gap": (("step_size", "run"), steps)}, {"step_size": [*STEPS]}),
        "decay": xr.Dataset({"gap": (("decay", "run"), decays)}, {"decay": [*DECAYS]}),
    }
    return xr.DataTree.from_dict(nodes)


def drifts(tree: xr.DataTree, method: str, time: float) -> dict[float, Float[np.ndarray, " runs"]]:
    """Largest drift over the hidden nodes at a time, one a run, by step size."""
    node = tree[f"method-{method}"]
    found = largest(node["conserved_drift"].transpose("run", "step", "hidden"), 2)
    sizes, steps = np.asarray(node["step_size"]), np.asarray(node["step"])
    at = {size: int(np.argmin(np.abs(steps * size - time))) for size in np.unique(sizes)}
    return {float(size): found[sizes == size, at[size]] for size in at}


def histories(node: Any) -> tuple[np.ndarray, Float[np.ndarray, "runs times"]]:
    """Times and the largest drift over the hidden nodes at each, runs with one step size."""
    found = largest(node["conserved_drift"].transpose("run", "step", "hidden"), 2)
    return np.asarray(node["step"]) * float(np.asarray(node["step_size"])[0]), found


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Drift at t = 2 against the step, and drift over time where it is rounding."""
    figure = new_figure(8.6, 3.5)
    left, right = figure.subplots(1, 2)
    _draw_orders(left, trees[0])
    _draw_histories(right, trees[1], trees[2])
    for axes in (left, right):
        axes.legend(**LEGEND)
    return figure


def _draw_orders(axes: Axes, tree: xr.DataTree) -> None:
    """One line a scheme; the slope is its order."""
    dress(axes, "Drift at t = 2", "step", "largest |C(t) \N{MINUS SIGN} C(0)|")
    colours = colours_of(NAMES)
    for method, name in NAMES.items():
        found = drifts(tree, method, 2.0)
        values, sizes = np.stack(list(found.values()), axis=1), list(found)
        slope = np.polyfit(np.log(sizes), np.log(np.median(values, axis=0)), 1)[0]
        told_slope = "rounding" if method == "midpoint" else f"slope {slope:.2f}"
        plot_band(axes, sizes, values, colours[method], f"{name}: {told_slope}")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.minorticks_off()
    set_log_axis(axes, np.array([1e-16, 1e4]))


def _draw_histories(axes: Axes, flow: xr.DataTree, single: xr.DataTree) -> None:
    """Drift over time of what is kept to rounding, in double and single precision."""
    dress(axes, "Drift over time", "time", "largest |C(t) \N{MINUS SIGN} C(0)|")
    lines = {
        "Runge-Kutta, float32": single["runs"],
        "adaptive, float64": flow["method-adaptive"],
        "implicit midpoint, float64": flow["method-midpoint"],
    }
    colours = colours_of(lines)
    for name, node in lines.items():
        times, values = histories(node)
        kept = (times > 0) & (times <= 10)
        plot_band(axes, times[kept], values[:, kept], colours[name], name)
    set_log_axis(axes, np.array([1e-16, 1e0]))


@claim(
    "linear-conservation",
    source="2511.10362",
    statement="W_{l+1}^T W_{l+1} - W_l W_l^T is constant: each scheme drifts by its own order",
    configs=("linear-conservation", "linear-conservation-flow", "linear-conservation-single"),
    records=("loss", "conserved_drift"),
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Flow to t = 10, orders of the explicit schemes at t = 2, single precision, exact laws."""
    steps, flow, single, exact = trees
    return [
        *(_flow_row(flow, method) for method in ("adaptive", "midpoint")),
        *_order_rows(steps),
        *_single_rows(single),
        *_exact_rows(exact),
    ]


def _flow_row(tree: xr.DataTree, method: str) -> Row:
    worst = float(histories(tree[f"method-{method}"])[1].max())
    return below(f"flow to t = 10, {method}: drift, largest of all runs", worst, 1e-10)


def _order_rows(tree: xr.DataTree) -> list[Row]:
    """Limits and ratios of Runge-Kutta, ratios of gradient descent."""
    found = drifts(tree, "rk4", 2.0)
    rows = [
        # A start whose weights are large drifts more: the limits are those of a middling one.
        Row(
            f"Runge-Kutta 4, t = 2, dt = {size:g}: drift, median judged",
            f"below {limit:g}",
            spread(found[size]),
            bool(np.median(found[size]) < limit),
        )
        for size, limit in LIMITS.items()
    ]
    rows += [_ratio_row("Runge-Kutta 4", found, size, (14.0, 20.0)) for size in (0.02, 0.01)]
    return [*rows, _ratio_row("gradient descent", drifts(tree, "euler", 2.0), 0.01, (1.9, 2.2))]


def _ratio_row(
    name: str, found: dict[float, np.ndarray], size: float, bounds: tuple[float, float]
) -> Row:
    """Drift at a step over that at half of it, in every run."""
    ratios = found[size] / found[size / 2]
    what = f"{name}, t = 2: drift at {size:g} over that at {size / 2:g}, every run"
    holds = bool(ratios.min() > bounds[0] and ratios.max() < bounds[1])
    measured = f"{told(ratios.min())} to {told(ratios.max())}, median {told(np.median(ratios))}"
    return Row(what, f"{bounds[0]:g} to {bounds[1]:g}", measured, holds)


def _single_rows(tree: xr.DataTree) -> list[Row]:
    """Single precision: drift at rounding level, and the loss no higher for it."""
    node = tree["runs"]
    times, values = histories(node)
    worst = float(values[:, times <= 10.001].max())
    loss = np.asarray(node["loss"])
    then = loss[:, np.argmin(np.abs(times - 10))]
    end = float(loss[:, -1].max())
    runs = len(then)
    return [
        below("float32, Runge-Kutta 4, dt = 0.01, t = 10: drift, largest of all runs", worst, 1e-4),
        # Starts near a saddle take longer than t = 10, in double precision too.
        Row("float32: runs with loss below 1e-8 at t = 10", "", _share(then, runs), None),
        below(f"float32: loss at t = {times[-1]:g}, largest of all runs", end, 1e-8),
    ]


def _share(losses: np.ndarray, runs: int) -> str:
    return f"{np.count_nonzero(losses < 1e-8)} of {runs}"


def _exact_rows(tree: xr.DataTree) -> list[Row]:
    """Increment of a step of gradient descent, and decay, in every run."""
    rows = []
    for size in STEPS:
        worst = float(tree["increment"]["gap"].sel(step_size=size).max())
        what = f"gradient descent, eta = {size:g}: drift less eta^2 (g g) of all steps, largest"
        rows.append(below(what, worst, 1e-12))
    for decay in DECAYS:
        worst = float(tree["decay"]["gap"].sel(decay=decay).max())
        what = f"weight decay {decay:g}, t to 10: C(t) less exp(-2 decay t) C(0), largest"
        rows.append(below(what, worst, 1e-10))
    return rows
