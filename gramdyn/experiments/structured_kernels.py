"""Kernels of structured layers in closed form, and how large they are."""

import math
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

from gramdyn.data.gaussian import gaussian
from gramdyn.diagnostics.record import Record
from gramdyn.dynamics.schemes import RungeKutta4
from gramdyn.dynamics.simulate import simulate
from gramdyn.experiments.pictures import LEGEND
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below, near
from gramdyn.models.enriched import MODES
from gramdyn.models.enriched_network import enriched_network
from gramdyn.models.network import Network
from gramdyn.models.pathway import make_pathway
from gramdyn.report.axes import dress, new_figure
from gramdyn.systems.make import make_system

BOUND = 1e-12
SMALL, WIDE, BLOCKS, RANK = 8, 64, 4, 8
N_SAMPLES, N_OUTPUTS, N_DRAWS = 5, 2, 200
RULE, SIZE = "#3b72b8", "#cc4a3c"

# Every pathway with its options, and the size of its kernel at equal |h| and |delta| by theory.
PATHWAYS: dict[str, tuple[dict[str, Any], float | None]] = {
    "dense": ({}, 1.0),
    "identity": ({}, 0.0),
    "diagonal": ({}, 1 / WIDE),
    "block": ({"blocks": BLOCKS}, 1 / BLOCKS),
    "lowrank": ({"rank": RANK}, RANK / WIDE + 1.0),
    "lowrank_diag": ({"rank": RANK}, RANK / WIDE + 0.5 + 1 / WIDE),
    "circulant": ({}, 1.0),
    "toeplitz": ({}, 1.0),
    "orthogonal": ({}, 1 - 1 / WIDE),
    "orthogonal, exp": ({"method": "exp"}, 1 - 1 / WIDE),
    "orthogonal, householder": ({"method": "householder", "reflectors": 3}, None),
    "butterfly": ({}, math.log2(WIDE) / WIDE),
    "spectral, normalise": ({"mode": "normalise"}, None),
    "spectral, clip": ({"mode": "clip"}, None),
    "spectral, power steps": ({"mode": "normalise", "iterations": 12}, None),
    "svd": ({}, None),
    "shaped": ({}, None),
    "monotone": ({}, None),
}
# Pathway and correction of the layers whose structure conserves something under gradient flow.
KEPT: dict[str, tuple[Any, Any]] = {
    "low rank": ("lowrank", "none"),
    "householder": ({"kind": "orthogonal", "method": "householder"}, "none"),
    "normalised": ({"kind": "spectral", "mode": "normalise"}, "none"),
    "shaped": ("shaped", "none"),
    "orthogonal and bottleneck": ("orthogonal", "bottleneck"),
}
TIME, DT = 0.5, 0.005
CORRECTIONS = ("none", "identity", "bottleneck", "gated", "dense")


def measure() -> xr.DataTree:
    """Relative errors against automatic differentiation, and sizes, in float64."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        names = list(PATHWAYS)
        sizes = np.array([_size(name) for name in names])
        pathways = xr.Dataset(
            {
                "layer": (("mode", "pathway"), [[_error(p, m) for p in names] for m in MODES]),
                "size": ("pathway", sizes.mean(axis=1)),
                "size_error": ("pathway", sizes.std(axis=1, ddof=1) / sizes.shape[1] ** 0.5),
            }
        )
        drifts = [[_drift(*one, dt) for dt in (2 * DT, DT)] for one in KEPT.values()]
        kept = xr.Dataset({"drift": (("structure", "dt"), drifts)})
        found = [[_network_error("orthogonal", c, m) for c in CORRECTIONS] for m in MODES]
        corrections = xr.Dataset({"network": (("mode", "correction"), found)})
    parts = {"pathways": pathways, "corrections": corrections, "kept": kept}
    return xr.DataTree.from_dict(parts)


def _kind(name: str) -> dict[str, Any]:
    return {"kind": name.split(",")[0], **PATHWAYS[name][0]}


def _error(name: str, mode: str) -> float:
    """Of a whole network of the pathway beside a bottleneck."""
    return _network_error(name, "bottleneck", mode)


def _network_error(name: str, correction: str, mode: str) -> float:
    """Largest error of a layer kernel or of their sum, relative to the largest entry."""
    options: dict[str, Any] = {"correction": correction, "mode": mode, "alpha": 0.7}
    options["pathway"] = _kind(name)
    network = _moved(enriched_network(jax.random.key(0), 4, (SMALL, SMALL), N_OUTPUTS, **options))
    task = gaussian(n_samples=N_SAMPLES, n_inputs=4, n_outputs=N_OUTPUTS, seed=1)
    system = make_system(network, task, coordinates="weights")
    found, wanted = _both(system)
    wholes = [jnp.sum(jnp.stack(one), axis=0) for one in (found, wanted)]
    pairs = [*zip(found, wanted, strict=True), (wholes[0], wholes[1])]
    return max(_relative(one, two) for one, two in pairs)


def _relative(one: Array, two: Array) -> float:
    return float(jnp.max(jnp.abs(one - two)) / jnp.max(jnp.abs(two)))


@eqx.filter_jit
def _both(system: Any) -> tuple[list[Array], list[Array]]:
    """Layer kernels by the rules, and by the Jacobian of the whole network."""
    state, rest = system.start.partition()
    jacobian = jax.jacrev(lambda own: eqx.combine(own, rest)(system.inputs))(state)
    wanted = []
    for layer in jacobian.layers:
        leaves = jax.tree.leaves(layer)
        rows = [leaf.reshape(N_SAMPLES, N_OUTPUTS, -1) for leaf in leaves]
        whole = jnp.concatenate(rows, axis=2)
        wanted.append(jnp.einsum("mcp,nep->mcne", whole, whole))
    return list(system.fields(state).layer_kernels), wanted


def _moved(network: Network) -> Network:
    """The network with all trained numbers moved, so that no term vanishes by chance."""
    trained, rest = network.partition()
    leaves, structure = jax.tree.flatten(trained)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    found = [leaf + 0.3 * jax.random.normal(key, leaf.shape, leaf.dtype) for leaf, key in pairs]
    moved: Network = eqx.combine(jax.tree.unflatten(structure, found), rest)
    return moved


def _drift(pathway: Any, correction: Any, dt: float) -> float:
    """How far what two layers conserve has gone, relative to its size, by RK4 from one start."""
    options = {"pathway": pathway, "correction": correction, "alpha": 0.7}
    network = enriched_network(jax.random.key(2), 4, (SMALL, SMALL), N_OUTPUTS, **options)
    task = gaussian(n_samples=N_SAMPLES, n_inputs=4, n_outputs=N_OUTPUTS, seed=1)
    system = make_system(network, task, coordinates="weights")
    n_steps = round(TIME / dt)
    record = Record(["structure_drift"], at=[0, n_steps])
    found = simulate(system, RungeKutta4(dt), n_steps, record).records["structure_drift"]
    return float(np.max(found[-1]))


def _size(name: str) -> list[float]:
    """Means of K[a, a] / (|h|^2 |delta|^2) over Gaussian h and delta, one a draw of parameters."""
    kind, options = name.split(",")[0], PATHWAYS[name][0]
    found = []
    for key in jax.random.split(jax.random.key(2), 8):
        pathway = make_pathway(kind, WIDE, WIDE, key=key, **options)
        found.append(float(jnp.mean(_ratios(pathway, key))))
    return found


def _ratios(pathway: Any, key: Any) -> Float[Array, " n"]:
    """K[a, a] / (|h|^2 |delta|^2) of some rows, one after the other."""
    own, other = jax.random.split(jax.random.fold_in(key, 1))
    act = jax.random.normal(own, (N_DRAWS, WIDE))
    sens = jax.random.normal(other, (N_DRAWS, WIDE))

    def one(rows: tuple[Array, Array]) -> Array:
        h, delta = rows
        kernel = pathway.kernel(h[None], delta[None, None])[0, 0, 0, 0]
        return kernel / (jnp.sum(h**2) * jnp.sum(delta**2))

    return jax.lax.map(one, (act, sens), batch_size=40)


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Errors of the rules, and sizes of the kernels beside the free matrix's."""
    (tree,) = trees
    figure = new_figure(10.4, 4.6)
    left, right = figure.subplots(1, 2, sharey=True)
    data = tree["pathways"].to_dataset()
    names = list(PATHWAYS)
    _bars(left, names, data["layer"].max("mode").values, RULE)
    dress(left, "closed form less autodiff, whole networks", "largest relative error", "")
    left.set_xscale("log")
    left.axvline(BOUND, color=SIZE, linewidth=1.0, label="allowed")
    left.legend(**LEGEND, loc="lower right")
    _bars(right, names, data["size"].values, SIZE)
    dress(right, f"size of the kernel at equal |h| and |δ|, N = {WIDE}", "tr K / (|h|² |δ|²)", "")
    return figure


def _bars(axes: Axes, names: Sequence[str], values: np.ndarray, colour: str) -> None:
    axes.barh(range(len(names)), values, color=colour, height=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


@claim(
    "structured-kernels",
    source="2508.02126",
    statement="each structure's kernel has a closed form, exact in whole networks",
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Errors of each pathway and correction over both modes; sizes by theory; what is conserved."""
    (tree,) = trees
    data, beside = tree["pathways"].to_dataset(), tree["corrections"].to_dataset()
    rows = []
    for i, name in enumerate(PATHWAYS):
        error = float(data["layer"].isel(pathway=i).max())
        rows.append(below(f"{name} beside a bottleneck, both modes: error", error, BOUND))
    for i, name in enumerate(CORRECTIONS):
        error = float(beside["network"].isel(correction=i).max())
        rows.append(below(f"orthogonal, correction {name}, both modes: error", error, BOUND))
    for i, (name, (_, wanted)) in enumerate(PATHWAYS.items()):
        if wanted is not None:
            size = float(data["size"].isel(pathway=i))
            # Four standard errors over 8 draws of the parameters, 200 pairs of rows each.
            off = 4 * float(data["size_error"].isel(pathway=i)) + 1e-12
            rows.append(near(f"{name}: size of its kernel, N = {WIDE}", size, wanted, off, 3))
    for name, (coarse, fine) in zip(KEPT, np.asarray(tree["kept"]["drift"]), strict=True):
        rows.append(below(f"{name}: drift of what it conserves, dt {DT}", fine, 1e-7))
        # Of order dt^4 it falls 16-fold; at such steps the next order still adds up to a third.
        rows.append(near(f"{name}: drift at twice the step over that", coarse / fine, 16.0, 6.0, 3))
    return rows
