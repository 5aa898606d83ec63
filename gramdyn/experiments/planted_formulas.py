"""The closed forms of the population: against sampling, differentiation and exact arithmetic."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from gramdyn.data.planted_map import Population
from gramdyn.diagnostics import Record
from gramdyn.dynamics import GradientDescent, simulate
from gramdyn.experiments.pictures import LEGEND
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below
from gramdyn.kernels.planted import loss_parts, population_gradient, population_loss
from gramdyn.kernels.planted_gram import gram_step
from gramdyn.kernels.planted_hessian import hessian_product
from gramdyn.models.activations import linear, relu
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network
from gramdyn.planted import thin
from gramdyn.report.axes import dress, new_figure, set_log_axis
from gramdyn.systems.make import make_planted_system

SAMPLES, CHUNK = 8_000_000, 200_000
# Neurons, outputs and inputs of random points, and the draws of each.
SHAPES = ((2, 1, 3), (3, 2, 5), (4, 3, 4), (5, 2, 7), (6, 1, 6))
ANGLES = (0.0, 1e-12, 1e-9, 1e-8, 1e-7, 1e-6, 1e-4, 1e-2, 0.1)


def sampled_scores(seed: int = 0) -> Float[np.ndarray, " z"]:
    """Z-scores of sampled means less closed forms: loss, its parts and its gradient."""
    rng = np.random.default_rng(seed)
    hidden, readout, target = (rng.standard_normal(s) for s in ((4, 3), (4, 2), (2, 3)))
    total, square, count = 0.0, 0.0, 0
    for _ in range(SAMPLES // CHUNK):
        found = _per_sample(rng.standard_normal((CHUNK, 3)), hidden, readout, target)
        total, square, count = total + found.sum(0), square + (found**2).sum(0), count + CHUNK
    mean = total / count
    error = np.sqrt((square / count - mean**2) / count)
    with jax.enable_x64(True):
        point = tuple(jnp.asarray(part) for part in (hidden, readout, target))
        parts = [population_loss(*point), *loss_parts(*point)]
        slopes = [np.asarray(part).ravel() for part in population_gradient(*point)]
    return np.asarray((mean - np.concatenate([np.asarray(parts), *slopes])) / error)


def _per_sample(
    x: np.ndarray, hidden: np.ndarray, readout: np.ndarray, target: np.ndarray
) -> Float[np.ndarray, "n z"]:
    """Loss, odd and even part, and gradient of each sample."""
    act, other = np.maximum(x @ hidden.T, 0), np.maximum(-x @ hidden.T, 0)
    gap = act @ readout - x @ target.T
    odd = (act - other) @ readout / 2 - x @ target.T
    even = (act + other) @ readout / 2
    losses = [0.5 * np.sum(part**2, axis=1) for part in (gap, odd, even)]
    drive = (gap @ readout.T) * (act > 0)
    by_hidden = (drive[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    by_readout = (act[:, :, None] * gap[:, None, :]).reshape(len(x), -1)
    return np.concatenate([np.stack(losses, axis=1), by_hidden, by_readout], axis=1)


def textbook_loss(hidden: Array, readout: Array, target: Array) -> Array:
    """The loss by clip and arccos, as one would write it first."""
    norms = jnp.sqrt(jnp.sum(hidden**2, axis=1))
    outer = norms[:, None] * norms[None, :]
    angle = jnp.arccos(jnp.clip(hidden @ hidden.T / outer, -1.0, 1.0))
    shape = jnp.sin(angle) + (jnp.pi - angle) * jnp.cos(angle)
    both = jnp.sum((readout @ readout.T) * outer * shape) / (4 * jnp.pi)
    cross = jnp.sum(readout * (hidden @ target.T)) / 2
    return both - cross + jnp.sum(target**2) / 2


def derivative_errors(draws: int = 10) -> tuple[float, float]:
    """Largest relative errors of gradient and Hessian product against autodiff of the textbook."""
    rng, worst = np.random.default_rng(1), np.zeros(2)
    for shape in SHAPES:
        for _ in range(draws):
            worst = np.maximum(worst, _derivative_gaps(*_drawn(rng, *shape)))
    return float(worst[0]), float(worst[1])


def _drawn(rng: np.random.Generator, k: int, n_outputs: int, d: int) -> list[Array]:
    """A point and a direction: W, V, B, and steps of W and V."""
    shapes = (k, d), (k, n_outputs), (n_outputs, d), (k, d), (k, n_outputs)
    return [jnp.asarray(rng.standard_normal(shape)) for shape in shapes]


@jax.jit
def _derivative_gaps(w: Array, v: Array, b: Array, step: Array, turn: Array) -> Array:
    slope = lambda w, v: jax.grad(_generic_loss, (0, 1))(w, v, b)  # noqa: E731
    wanted, bent = jax.jvp(slope, (w, v), (step, turn))
    pairs = (
        (population_gradient(w, v, b), wanted),
        (hessian_product(w, v, b, step, turn), bent),
    )
    return jnp.stack([_relative(*pair) for pair in pairs])


def _generic_loss(hidden: Array, readout: Array, target: Array) -> Array:
    """The textbook loss with E relu(w.x)^2 = n^2 / 2 on the diagonal, where arccos has no slope."""
    same = jnp.eye(hidden.shape[0], dtype=bool)
    norms = jnp.sqrt(jnp.sum(hidden**2, axis=1))
    outer = norms[:, None] * norms[None, :]
    cosine = jnp.where(same, 0.0, hidden @ hidden.T / outer)
    angle = jnp.arccos(cosine)
    shape = jnp.sin(angle) + (jnp.pi - angle) * jnp.cos(angle)
    gram = jnp.where(same, outer / 2, outer * shape / (2 * jnp.pi))
    both = jnp.sum((readout @ readout.T) * gram) / 2
    return both - jnp.sum(readout * (hidden @ target.T)) / 2 + jnp.sum(target**2) / 2


def _relative(found: Sequence[Array], wanted: Sequence[Array]) -> Array:
    gaps = [jnp.max(jnp.abs(one - two)) for one, two in zip(found, wanted, strict=True)]
    return jnp.max(jnp.stack(gaps)) / jnp.max(jnp.stack([jnp.max(jnp.abs(w)) for w in wanted]))


def exact_gradient(angle: float, opposite: bool) -> list[float]:
    """Gradient by the first row of two at an angle, or at pi less it, without cancellation.

    w_1 = (1, 0), w_2 = (cos, sin), V = (1, 1), B = 0: by series of the angle itself.
    """
    sine, share = math.sin(angle), (angle if opposite else math.pi - angle) / (2 * math.pi)
    row = (-math.cos(angle), sine) if opposite else (math.cos(angle), sine)
    own = 0.5 + sine / (2 * math.pi)
    return [own + share * row[0], share * row[1]]


def edge_errors(dtype: Any, opposite: bool) -> tuple[list[float], list[bool]]:
    """Error of the gradient by angle, and whether autodiff of the textbook is finite there."""
    errors, finite = [], []
    for angle in ANGLES:
        side = -1.0 if opposite else 1.0
        rows = np.array([[1.0, 0.0], [side * math.cos(angle), math.sin(angle)]])
        point = tuple(jnp.asarray(x, dtype) for x in (rows, np.ones((2, 1)), np.zeros((1, 2))))
        found = np.asarray(population_gradient(*point)[0], np.float64)[0]
        errors.append(float(np.abs(found - exact_gradient(angle, opposite)).max()))
        slope = jax.grad(textbook_loss)(*point)
        finite.append(bool(jnp.all(jnp.isfinite(slope))))
    return errors, finite


def trajectory_gaps() -> tuple[float, float]:
    """Thin coordinates by the engine, and the Gram form, less 500 plain steps of all 40 inputs."""
    rng = np.random.default_rng(3)
    hidden, readout, target = (
        0.3 * rng.standard_normal((5, 40)),
        0.3 * rng.standard_normal((5, 2)),
        np.eye(2, 40),
    )
    found = thin(hidden, target)
    layers = (
        Dense(jnp.asarray(found.hidden), None, None, relu()),
        Dense(jnp.asarray(readout.T), None, None, linear()),
    )
    population = Population(found.target[:, :2], np.asarray(40.0))
    run = simulate(
        make_planted_system(Network(layers), population),
        GradientDescent(0.1),
        500,
        Record(["planted_weights"], every=500),
    )
    rows, turned = jnp.asarray(hidden), jnp.asarray(readout)
    gram = rows @ rows.T, rows @ jnp.asarray(target).T, turned
    step = jax.jit(lambda w, v: population_gradient(w, v, jnp.asarray(target)))
    small = jax.jit(lambda q, p, v: gram_step(q, p, v, jnp.eye(2), 0.1))
    for _ in range(500):
        slopes = step(rows, turned)
        rows, turned = rows - 0.1 * slopes[0], turned - 0.1 * slopes[1]
        gram = small(*gram)
    wide = found.widen(np.asarray(run["hidden_rows"][-1]))
    gap = np.abs(wide - rows).max(), np.abs(run["readout_rows"][-1] - turned).max()
    wanted = rows @ rows.T, rows @ jnp.asarray(target).T, turned
    other = max(float(jnp.abs(one - two).max()) for one, two in zip(gram, wanted, strict=True))
    return float(max(gap)), other


def measure() -> xr.DataTree:
    """All of it, in float64 but where float32 is told."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        scores, derivatives = sampled_scores(), derivative_errors()
        gaps = trajectory_gaps()
        edges = {
            (name, side): edge_errors(dtype, side == "antiparallel")
            for name, dtype in (("float64", jnp.float64), ("float32", jnp.float32))
            for side in ("parallel", "antiparallel")
        }
        zero = _zero_row()
    data: dict[str, Any] = {
        f"{name}_{side}": ("angle", errors) for (name, side), (errors, _) in edges.items()
    }
    data |= {f"textbook_{name}_{side}": ("angle", ok) for (name, side), (_, ok) in edges.items()}
    numbers = dict(zip(("gradient", "hessian", "thin", "gram"), (*derivatives, *gaps), strict=True))
    return xr.DataTree.from_dict(
        {
            "scores": xr.Dataset({"z": ("quantity", scores)}),
            "edges": xr.Dataset(data, {"angle": [*ANGLES]}),
            "numbers": xr.Dataset({**numbers, "zero": zero}),
        }
    )


def _zero_row() -> float:
    """Largest entry of the gradient by a row of zeros, and by its readout; NaN if any is."""
    point = jnp.zeros((2, 3)).at[0, 0].set(1.0), jnp.ones((2, 1)), jnp.eye(1, 3)
    return float(max(jnp.max(jnp.abs(part[1])) for part in population_gradient(*point)))


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Error of the gradient near parallel rows; z-scores of sampled means."""
    (tree,) = trees
    figure = new_figure(9.6, 3.7)
    left, right = figure.subplots(1, 2)
    dress(left, "Error of the gradient by the angle of two rows", "angle", "largest entry")
    angles = np.maximum(np.asarray(ANGLES), 1e-13)
    for name, colour in (("float64", "#3b72b8"), ("float32", "#cc4a3c")):
        for side, dash in (("parallel", "-"), ("antiparallel", "--")):
            values = np.maximum(np.asarray(tree["edges"][f"{name}_{side}"]), 1e-17)
            left.plot(
                angles, values, dash, color=colour, marker="o", ms=3.5, label=f"{name}, {side}"
            )
    left.set_xscale("log")
    set_log_axis(left, np.array([1e-17, 1e-5]))
    left.legend(**LEGEND, loc="upper left")
    dress(right, "Sampled means less closed forms", "z-score, 8e6 samples", "quantities")
    right.hist(tree["scores"]["z"], np.linspace(-4, 4, 17), color="#3b72b8")
    return figure


@claim(
    "planted-formulas",
    source="derived here",
    statement="loss, gradient and Hessian of the population in closed form, exact at every angle",
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Z-scores, derivatives, edges of the angles, thin and Gram trajectories."""
    (tree,) = trees
    scores, numbers = np.asarray(tree["scores"]["z"]), tree["numbers"]
    edges = tree["edges"].to_dataset()
    worst = {
        name: max(float(edges[f"{name}_{side}"].max()) for side in ("parallel", "antiparallel"))
        for name in ("float64", "float32")
    }
    finite = [np.asarray(edges[name]) for name in edges if str(name).startswith("textbook")]
    broken = int(sum(np.sum(~one) for one in finite))
    return [
        below(f"{len(scores)} quantities, 8e6 samples: largest |z|", np.abs(scores).max(), 4.0),
        below("gradient - autodiff, 50 shapes", float(numbers["gradient"]), 1e-13),
        below("Hessian product - autodiff, 50 shapes", float(numbers["hessian"]), 1e-12),
        below("gradient at angles 0, 1e-12 ... 0.1 from 0 and pi", worst["float64"], 1e-15),
        below("the same in float32", worst["float32"], 3e-7),
        below("gradient of a row of zeros", float(numbers["zero"]), 1e-300),
        Row("textbook by autodiff: not finite", "at some", f"{broken} of 36 cases", None),
        below("thin coordinates - 40 inputs, 500 steps", float(numbers["thin"]), 1e-13),
        below("Gram form - 40 inputs, 500 steps", float(numbers["gram"]), 1e-12),
    ]
