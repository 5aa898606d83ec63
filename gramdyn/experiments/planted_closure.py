"""Both layers on samples close in preactivations and readout, with two kernels in closed form."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.data.planted_map import planted_map
from gramdyn.experiments.numbers import quantiles
from gramdyn.experiments.pictures import LEGEND, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below
from gramdyn.experiments.runs import Runs
from gramdyn.models.network import Network
from gramdyn.models.thin import thin_network, widen
from gramdyn.report.axes import dress, new_figure, set_log_axis
from gramdyn.systems.losses import SquaredLoss
from gramdyn.systems.make import make_system
from gramdyn.systems.network import NetworkSystem

CLOSES = 1e-10  # two exact computations over 2000 steps with flips on the way
SHAPES = ((6, 4, 1, 5), (8, 3, 2, 6), (12, 5, 3, 4))  # samples, inputs, outputs, neurons


def measure() -> xr.DataTree:
    """Errors of the kernel identities at generic points of some shapes."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        rows = [_identities(*shape) for shape in SHAPES]
    names = ("kernels", "formula", "spectrum", "decay")
    columns = zip(*rows, strict=True)
    found = {name: ("shape", list(column)) for name, column in zip(names, columns, strict=True)}
    return xr.DataTree.from_dict({"identities": xr.Dataset(found)})


def _identities(n: int, d: int, n_outputs: int, width: int) -> list[float]:
    """Errors of: sum of kernels, their closed forms, spectrum, decay of the loss."""
    task = planted_map(n_inputs=d, n_outputs=n_outputs, samples_per_input=n / d).cast("float64")
    network = widen(thin_network(jax.random.key(n), d, width, n_outputs, law="xavier"), d)
    system = make_system(network, task, loss=SquaredLoss("mean"), coordinates="weights")
    assert isinstance(system, NetworkSystem)
    state = system.initial_state()
    fields, inputs = system.fields(state), jnp.asarray(task.inputs)
    jacobian = _jacobian(system, state)
    kernel = np.asarray(fields.tangent_kernel).reshape(n * n_outputs, -1)
    mask = np.asarray(inputs @ network.layers[0].matrix().T > 0, np.float64)
    act, turned = np.asarray(fields.traces[0].act), np.asarray(network.layers[1].matrix())
    first = np.einsum("mi,ni,ci,ei->mcne", mask, mask, turned, turned)
    first *= np.asarray(inputs @ inputs.T)[:, None, :, None]
    second = np.einsum("mi,ni,ce->mcne", act, act, np.eye(n_outputs))
    formula = (first + second).reshape(kernel.shape)
    gauss = np.linalg.eigvalsh(jacobian.T @ jacobian)[::-1]
    values = np.linalg.eigvalsh(kernel)[::-1]
    shared, top = min(len(gauss), len(values)), values[0]
    residual = np.asarray(fields.residual).ravel()
    rate = -(fields.loss_scale**2) * residual @ kernel @ residual
    slopes = jax.tree.leaves(fields.gradient())
    square = -float(sum(jnp.sum(slope**2) for slope in slopes))
    return [
        float(np.abs(kernel - jacobian @ jacobian.T).max() / top),
        float(np.abs(kernel - formula).max() / top),
        float(np.abs(gauss[:shared] - values[:shared]).max() / top),
        abs(rate / square - 1),
    ]


def _jacobian(system: NetworkSystem, state: Network) -> np.ndarray:
    """Derivative of all outputs by all weights, by autodiff, shape (n C, weights)."""
    rest = system.start.partition()[1]
    outputs = lambda state: eqx.combine(state, rest)(system.inputs).reshape(-1)  # noqa: E731
    parts = jax.tree.leaves(jax.jacrev(outputs)(state))
    return np.concatenate([np.asarray(part).reshape(part.shape[0], -1) for part in parts], axis=1)


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Loss of the population, a panel a width: trained on it, and on samples."""
    runs, population = Runs.of(trees[0]), Runs.of(trees[1])
    widths = runs.values("width")
    figure = new_figure(4.9 * len(widths), 3.8)
    for axes, width in zip(np.atleast_1d(figure.subplots(1, len(widths))), widths, strict=True):
        _draw_width(axes, runs.where(width=width), population.where(width=width))
        dress(axes, f"Loss of the population, {width} neurons, the same starts", "steps", "loss")
    return figure


def _draw_width(axes: Axes, runs: Runs, population: Runs) -> None:
    steps = runs.steps()[1:]
    values = population.read("population_loss", None)[:, 1:]
    plot_band(axes, steps, values, "#3b72b8", "trained on the population")
    values = runs.where(coordinates="weights").read("population_loss", None)[:, 1:]
    plot_band(axes, steps, values, "#cc4a3c", "on 3 samples an input, weights")
    values = runs.where(coordinates="gram").read("population_loss", None)[:, 1:]
    axes.plot(steps, quantiles(values)[1], ":", color="#444b54", label="the same, Gram")
    set_log_axis(axes, np.array([1e-10, 1.0]))
    axes.legend(**LEGEND, loc="lower left")


@claim(
    "planted-closure",
    source="2606.04476",
    statement="both layers on samples close in (z, V): Gram coordinates give the same run",
    configs=("planted-closure", "planted-closure-population"),
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Deviation of the two coordinates, starts of all three, kernels against autodiff."""
    runs, population = Runs.of(trees[0]), Runs.of(trees[1])
    rows = []
    for width in runs.values("width"):
        rows += _width_rows(width, runs.where(width=width), population.where(width=width))
    return [*rows, *_identity_rows(trees[2]["identities"].to_dataset())]


def _width_rows(width: int, runs: Runs, population: Runs) -> list[Row]:
    where = f"k = {width}"
    weights, gram = (runs.where(coordinates=name) for name in ("weights", "gram"))
    rows = []
    for name in ("outputs", "hidden_rows", "readout_rows"):
        gap = np.abs(weights.read(name, None) - gram.read(name, None)).max()
        what = f"{where}: weights less Gram, 2000 steps: {name.replace('_', ' ')}"
        rows.append(below(what, gap, CLOSES))
    flips = int(weights.read("flips", None).sum())
    rows.append(Row(f"{where}: mask flips on the way", "some", f"{flips}", flips > 0))
    thin, wide = population.weights(0)[0], weights.weights(0)[0]
    padded = np.pad(thin, ((0, 0), (0, 0), (0, wide.shape[-1] - thin.shape[-1])))
    gap = np.abs(wide - padded).max()
    return [*rows, below(f"{where}: start on samples - that on the population", gap, 1e-15)]


def _identity_rows(found: xr.Dataset) -> list[Row]:
    told = {
        "kernels": "kernels of both layers - J J^T",
        "formula": "the same by masks, readout and activations",
        "spectrum": "their spectrum - that of J^T J",
        "decay": "dL/dt over -|gradient|^2, less 1",
    }
    return [below(what, float(found[name].max()), 1e-13) for name, what in told.items()]
