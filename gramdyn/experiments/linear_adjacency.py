"""The flow of a deep linear network as one equation for its adjacency matrix."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.diagnostics.record import Record
from gramdyn.dynamics.schemes import RungeKutta4
from gramdyn.dynamics.simulate import simulate_many
from gramdyn.experiments.linear_starts import linear_system, target_of, whole_matrix
from gramdyn.experiments.numbers import MINUS, told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below
from gramdyn.kernels.adjacency import (
    adjacency,
    adjacency_velocity,
    corner,
    from_adjacency,
    input_block,
)
from gramdyn.kernels.linear import descent_direction, maps_above
from gramdyn.report.axes import INK, dress, new_figure, set_log_axis
from gramdyn.systems.base import AbstractFields, AbstractSystem

# Every node of another width than its neighbours.
WIDTHS = {1: (3, 4), 2: (3, 5, 4), 3: (3, 5, 2, 4), 4: (3, 5, 4, 5, 4), 5: (3, 5, 4, 5, 3, 4)}
VALUES, SCALE, RUNS = (2.0, 1.2, 0.6), 0.5, 16
STEP, STEPS, EVERY = 0.02, 1000, 50
SHOWN = 3
LIMIT = 1e-12

Matrix = Float[Array, "n n"]


class MatrixFields(AbstractFields):
    """The adjacency matrix, and the loss 1/2 |E - A^L|^2 of white inputs."""

    def __init__(self, matrix: Matrix, target: Matrix, n_layers: int):
        self.matrix = matrix
        self.target = target
        self.n_layers = n_layers

    @property
    def loss(self) -> Float[Array, ""]:
        """Loss."""
        return matrix_loss(self.matrix, self.target, self.n_layers)


class MatrixSystem(AbstractSystem):
    """dA/dt = sum_j (A^T)^(L-j) (E - A^L) (A^T)^(j-1) on all n_v^2 entries, without a mask.

    Attributes:
        start: Adjacency matrix at t = 0.
        target: Target in the corner block, E.
        n_layers: Number of weight layers L.
    """

    start: Matrix
    target: Matrix
    n_layers: int = eqx.field(static=True)

    @property
    def exact_for(self) -> str:
        """The state holds the weights themselves: "any" scheme."""
        return "any"

    def initial_state(self) -> Matrix:
        """The matrix at t = 0."""
        return self.start

    def fields(self, state: Matrix) -> MatrixFields:
        """The matrix and its loss."""
        return MatrixFields(state, self.target, self.n_layers)

    def velocity(self, state: Matrix, fields: Any = None) -> Matrix:
        """The matrix equation."""
        return adjacency_velocity(state, self.target, self.n_layers)

    def stiffness(self, fields: Any) -> Float[Array, ""]:
        """Not known: steps are given as numbers."""
        raise NotImplementedError


def matrix_loss(
    matrix: Matrix, target: Matrix, n_layers: int, moment: Matrix | None = None
) -> Float[Array, ""]:
    """1/2 tr((E - A^L) S (E - A^L)^T), S the identity if None."""
    gap = target - jnp.linalg.matrix_power(matrix, n_layers)
    return 0.5 * jnp.sum(gap * (gap if moment is None else gap @ moment))


def one_matrix(fields: MatrixFields) -> dict[str, Matrix]:
    """Record of the matrix itself."""
    return {"matrix": fields.matrix}


def flow_of(widths: Sequence[int], whole: bool, runs: int = RUNS) -> Float[np.ndarray, "B T n n"]:
    """Adjacency matrices of Runge-Kutta runs, stepped as one matrix or layer by layer."""
    layers, scheme = len(widths) - 1, RungeKutta4(STEP)
    target = corner(jnp.asarray(target_of(widths, VALUES)), widths)

    def build(key: Any) -> tuple[AbstractSystem, RungeKutta4]:
        inner = linear_system(key, widths, VALUES, SCALE)
        start = adjacency(inner.fields(inner.initial_state()).weights)
        return MatrixSystem(start, target, layers) if whole else inner, scheme

    record = Record([one_matrix if whole else whole_matrix], every=EVERY)
    keys = jax.random.split(jax.random.key(0), runs)
    return np.asarray(simulate_many(build, keys, STEPS, record, batching="vmap")["matrix"])


def velocities(
    matrix: Matrix, widths: Sequence[int], moment: Float[Array, "d d"]
) -> tuple[Matrix, Matrix, Matrix]:
    """Velocity of a state by the matrix equation, layer by layer, and by automatic derivatives."""
    layers, map_goal = len(widths) - 1, jnp.asarray(target_of(widths, VALUES))
    target, block = corner(map_goal, widths), input_block(moment, widths)
    weights = from_adjacency(matrix, widths)
    error = (map_goal - maps_above(weights)[0]) @ moment
    by_layers = adjacency(descent_direction(weights, error))
    by_autodiff = -jax.grad(matrix_loss)(matrix, target, layers, block)
    return adjacency_velocity(matrix, target, layers, block), by_layers, by_autodiff


def velocity_gaps(
    matrices: Float[np.ndarray, "B T n n"], widths: Sequence[int], moment: np.ndarray
) -> dict[str, Float[np.ndarray, "B T"]]:
    """Largest difference of the matrix equation to the two others, at every state."""
    every = jax.jit(jax.vmap(jax.vmap(lambda one: velocities(one, widths, jnp.asarray(moment)))))
    law, layers, autodiff = map(np.asarray, every(jnp.asarray(matrices)))
    largest = lambda gap: np.abs(gap).max(axis=(-1, -2))  # noqa: E731
    return {"layers": largest(law - layers), "autodiff": largest(law - autodiff)}


def check_flow(widths: Sequence[int], runs: int = RUNS) -> xr.Dataset:
    """Of one depth: trajectories beside each other, velocities, powers, entries off the blocks."""
    apart, whole = (flow_of(widths, kind, runs) for kind in (False, True))
    root = np.random.default_rng(0).normal(size=(widths[0], widths[0]))
    moments = {"white": np.eye(widths[0]), "correlated": root @ root.T / widths[0]}
    off = np.asarray(adjacency([jnp.ones(s) for s in zip(widths[1:], widths[:-1], strict=True)]))
    found = {
        "trajectory_gap": np.abs(whole - apart).max(axis=(-1, -2)),
        "off_blocks": np.abs(whole * (off == 0)).max(axis=(-1, -2)),
        "last_power": np.abs(np.linalg.matrix_power(whole, len(widths))).max(axis=(-1, -2)),
    }
    for inputs, moment in moments.items():
        gaps = velocity_gaps(apart, widths, moment)
        found |= {f"{other}_gap_{inputs}": gap for other, gap in gaps.items()}
    times = STEP * EVERY * np.arange(apart.shape[1])
    arrays = {name: (("run", "time"), values) for name, values in found.items()}
    return xr.Dataset(arrays | {"matrix": (("row", "column"), whole[0, -1])}, {"time": times})


def measure() -> xr.DataTree:
    """One child a depth."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        nodes = {f"layers-{layers}": check_flow(widths) for layers, widths in WIDTHS.items()}
    return xr.DataTree.from_dict(nodes)


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """A trained network's matrix, its L-th power, and the two trajectories' distance over time."""
    (tree,) = trees
    figure = new_figure(11.4, 3.5)
    left, middle, right = figure.subplots(1, 3)
    matrix = np.asarray(tree[f"layers-{SHOWN}"]["matrix"])
    _draw_matrix(left, matrix, f"A of a trained network, {SHOWN} layers")
    image = _draw_matrix(middle, np.linalg.matrix_power(matrix, SHOWN), f"$A^{SHOWN}$")
    figure.colorbar(image, ax=[left, middle], shrink=0.8).outline.set_visible(False)
    _draw_gaps(right, tree)
    return figure


def _draw_gaps(axes: Axes, tree: xr.DataTree) -> None:
    """Distance of the trajectories over time, a line a depth where it is not 0."""
    dress(axes, "One matrix or layers", "time", f"largest |A {MINUS} A by layers|")
    colours = colours_of(tree.children)
    for name, node in tree.children.items():
        times, gap = np.asarray(node["time"]), np.asarray(node["trajectory_gap"])
        kept = slice(1, None if gap.any() else 1)
        label = f"L = {_layers(name)}" + ("" if gap.any() else ": 0")
        plot_band(axes, times[kept], np.maximum(gap, 1e-17)[:, kept], colours[name], label)
    set_log_axis(axes, np.array([1e-17, 1e-12]))
    axes.legend(**LEGEND, ncols=2, loc="upper right")


def _layers(name: str) -> str:
    return name.removeprefix("layers-")


def _draw_matrix(axes: Axes, matrix: Float[np.ndarray, "n n"], title: str) -> Any:
    """Entries by colour, nodes parted by lines and named by their number."""
    widths = WIDTHS[SHOWN]
    dress(axes, title, "from node", "to node").grid(False)
    image = axes.imshow(matrix, cmap="RdBu", vmin=-2, vmax=2)
    ends = np.cumsum([0, *widths])
    for end in ends[1:-1] - 0.5:
        axes.axhline(end, color=INK, linewidth=0.6)
        axes.axvline(end, color=INK, linewidth=0.6)
    middles = (ends[1:] + ends[:-1] - 1) / 2
    names = [str(node) for node in range(len(widths))]
    axes.set_xticks(middles, names)
    axes.set_yticks(middles, names)
    return image


@claim(
    "linear-adjacency",
    source="2511.10362",
    statement="the flow is one equation for the nilpotent adjacency matrix, blocks kept by itself",
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Velocities, trajectories, blocks and powers, at all saved states of all runs."""
    (tree,) = trees
    return [row for name, node in tree.children.items() for row in _rows(int(_layers(name)), node)]


def _rows(layers: int, node: Any) -> list[Row]:
    worst = {name: float(np.max(np.asarray(node[name]))) for name in node.data_vars}
    own, auto = (
        max(worst[f"{other}_gap_{inputs}"] for inputs in ("white", "correlated"))
        for other in ("layers", "autodiff")
    )
    rows = [
        below(f"L = {layers}: {what}, largest", gap, LIMIT)
        for what, gap in (
            ("velocity of A less gradients layer by layer", own),
            ("velocity of A less automatic derivatives", auto),
            ("t to 20: A less that of layers", worst["trajectory_gap"]),
        )
    ]
    for name, what in (("off_blocks", "A off its blocks"), ("last_power", f"A^{layers + 1}")):
        value = worst[name]
        rows.append(Row(f"L = {layers}, t to 20: {what}, largest", "0", told(value), value == 0))
    return rows
