"""Dissipation in deep linear networks: what the loss lost is the integral of |gradient|^2."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from gramdyn.diagnostics.record import Record
from gramdyn.dynamics.adaptive import Adaptive
from gramdyn.dynamics.simulate import simulate_many
from gramdyn.experiments.linear_starts import linear_system
from gramdyn.experiments.numbers import MINUS, told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below
from gramdyn.models.network import Network
from gramdyn.report.axes import dress, new_figure, set_log_axis
from gramdyn.systems.base import AbstractFields, AbstractSystem
from gramdyn.systems.moments import MomentFields, MomentSystem

WIDTHS = {1: (4, 3), 2: (4, 5, 3), 3: (4, 5, 5, 3), 4: (4, 5, 5, 5, 3)}
VALUES, SCALE, RUNS = (2.0, 1.2, 0.6), 0.3, 32
# Short: the first step tried is a stretch, and at the steepest starts must not overflow.
STRETCH, STRETCHES, EVERY = 0.02, 1000, 10
LIMIT = 1e-9
# A rise of the loss by less is rounding of its first value.
ROUNDING = 1e-14

State = tuple[Network, Float[Array, ""]]


class DissipationFields(AbstractFields):
    """The fields of a network, and what it dissipated so far."""

    def __init__(self, inner: MomentFields, dissipated: Float[Array, ""]):
        self.inner = inner
        self.dissipated = dissipated

    @property
    def loss(self) -> Float[Array, ""]:
        """Loss of the network."""
        return self.inner.loss


class Dissipating(AbstractSystem):
    """Gradient flow with the integral of its squared velocity: dq/dt = |grad|^2, q(0) = 0.

    Attributes:
        inner: The network; the state is that of it, and q.
    """

    inner: MomentSystem

    @property
    def exact_for(self) -> str:
        """The state holds the weights themselves: "any" scheme."""
        return "any"

    def initial_state(self) -> State:
        """The trained arrays at t = 0, nothing dissipated."""
        state = self.inner.initial_state()
        return state, 0.0 * self.inner.fields(state).loss

    def fields(self, state: State) -> DissipationFields:
        """The fields of the network and q."""
        return DissipationFields(self.inner.fields(state[0]), state[1])

    def velocity(self, state: State, fields: DissipationFields | None = None) -> State:
        """Minus the gradient, and its square."""
        seen = self.fields(state) if fields is None else fields
        return self.inner.velocity(state[0], seen.inner), seen.inner.gradient_square

    def stiffness(self, fields: DissipationFields) -> Float[Array, ""]:
        """Largest rate of the network; q decays at none."""
        return self.inner.stiffness(fields.inner)


def balance(fields: DissipationFields) -> dict[str, Float[Array, ""]]:
    """Record of the loss and of what was dissipated."""
    return {"loss": fields.loss, "dissipated": fields.dissipated}


def flow_of(widths: Sequence[int], runs: int = RUNS) -> xr.Dataset:
    """Loss and dissipation over time from random starts, axes (run, time)."""
    scheme = Adaptive(STRETCH, 1e-12, 1e-14)
    build = lambda key: (Dissipating(linear_system(key, widths, VALUES, SCALE)), scheme)  # noqa: E731
    keys = jax.random.split(jax.random.key(0), runs)
    found = simulate_many(build, keys, STRETCHES, Record([balance], every=EVERY), batching="vmap")
    records = {name: (("run", "time"), np.asarray(found[name])) for name in ("loss", "dissipated")}
    return xr.Dataset(records, {"time": STRETCH * found.steps})


def measure() -> xr.DataTree:
    """Flows of one to four layers, each a child."""
    with jax.enable_x64(True):
        nodes = {f"layers-{layers}": flow_of(widths) for layers, widths in WIDTHS.items()}
    return xr.DataTree.from_dict(nodes)


def imbalance(node: Any) -> Float[np.ndarray, "runs times"]:
    """Size of loss(0) - loss(t) - integral of |grad|^2."""
    loss, dissipated = np.asarray(node["loss"]), np.asarray(node["dissipated"])
    return np.abs(loss[:, :1] - loss - dissipated)


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Loss and dissipation of the deepest networks, and how far they are from balance."""
    (tree,) = trees
    figure = new_figure(8.6, 3.4)
    left, right = figure.subplots(1, 2)
    *_, (name, deepest) = tree.children.items()
    dress(left, f"{_layers(name)} layers", "time", "share of the loss at t = 0")
    first = np.asarray(deepest["loss"])[:, :1]
    colours = colours_of(("loss", "dissipated"))
    for record, colour in colours.items():
        plot_band(left, deepest["time"], np.asarray(deepest[record]) / first, colour, record)
    dress(right, "Out of balance", "time", f"|loss lost {MINUS} dissipated|")
    colours = colours_of(tree.children)
    for name, node in tree.children.items():
        gap = np.maximum(imbalance(node), 1e-16)
        plot_band(
            right, np.asarray(node["time"])[1:], gap[:, 1:], colours[name], f"L = {_layers(name)}"
        )
    set_log_axis(right, np.array([1e-16, 1e-9]))
    left.legend(**LEGEND, loc="center right")
    right.legend(**LEGEND, ncols=2, loc="upper right")
    return figure


def _layers(name: str) -> str:
    return name.removeprefix("layers-")


@claim(
    "linear-dissipation",
    source="2511.10362",
    statement="loss(0) - loss(t) is the integral of |gradient|^2: the flow's loss never rises",
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """The identity and the monotone loss, in every run at every saved time."""
    (tree,) = trees
    return [row for name, node in tree.children.items() for row in _rows(_layers(name), node)]


def _rows(layers: str, node: Any) -> list[Row]:
    worst = float(imbalance(node).max())
    rise = float(np.max(np.diff(np.asarray(node["loss"]), axis=1), initial=0.0))
    end = f"L = {layers}, t to {float(node['time'].max()):g}"
    gap = f"{end}: |loss(0) {MINUS} loss {MINUS} dissipated|, largest of all runs"
    return [
        below(gap, worst, LIMIT),
        Row(f"{end}: largest rise of the loss", "rounding", told(rise), rise < ROUNDING),
    ]
