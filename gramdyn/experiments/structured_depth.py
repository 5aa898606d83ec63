"""Depth at the start: which structures keep a chain of layers well conditioned."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from gramdyn.experiments.depth_laws import (
    circulant_drift,
    circulant_variance,
    condition_growth,
    square_drift,
    square_variance,
)
from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import MARKERS, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import above, below, near
from gramdyn.kernels.chain_spectra import log_condition
from gramdyn.models.activations import make_activation
from gramdyn.models.enriched_network import enriched_network
from gramdyn.models.pathway import make_pathway
from gramdyn.report.axes import dress, new_figure

WIDTH, N_SEEDS, N_SAMPLES, N_DRAWS = 32, 8, 4, 4000
DEPTHS = (2, 4, 8, 16, 32, 64)
BESIDE = {"kind": "bottleneck"}
RELU = 2**0.5

# Options of each network, and another program's median log10 kappa at those depths.
MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "dense": ({"pathway": "dense"}, "4.2 6.9 10.0 17.0 32.9 66.5"),
    "dense, linear": ({"pathway": "dense", "activation": "linear"}, ""),
    "orthogonal": ({"pathway": "orthogonal"}, "1.76 1.98 2.26 2.46 2.74 3.10"),
    "orthogonal, linear": ({"pathway": "orthogonal", "activation": "linear"}, "0"),
    "circulant": ({"pathway": "circulant"}, "as orthogonal"),
    "orthogonal and bottleneck": ({"pathway": "orthogonal", "correction": BESIDE}, "1.81 .. 3.49"),
    "dense and bottleneck": ({"pathway": "dense", "correction": BESIDE}, "as dense"),
    "block": ({"pathway": "block"}, "3.8 5.7 9.7 15.2 31.5 62.1"),
    "low rank and diagonal": ({"pathway": "lowrank_diag"}, "3.0 4.3 6.0 10.0 16.4 32.1"),
    "circulant, random": (
        {"pathway": {"kind": "circulant", "init": "random"}},
        "2.3 3.5 4.0 6.7 11.4 16.1",
    ),
    "spectral, bound 1": ({"pathway": {"kind": "spectral", "bound": 1.0}}, "3.5 .. 65.9"),
    "spectral, bound 2": ({"pathway": {"kind": "spectral", "bound": 2.0}}, "as dense"),
    "residual, 1/√L": (
        {"pathway": "identity", "correction": "dense", "activation": "linear", "alpha": "depth"},
        ".84 .78 .78 .78 .79 .77",
    ),
    "residual, 1/L": (
        {
            "pathway": "identity",
            "correction": "dense",
            "activation": "linear",
            "alpha": "inverse_depth",
        },
        ".58 .. .10",
    ),
    "residual, 1": (
        {"pathway": "identity", "correction": "dense", "activation": "linear", "alpha": 1.0},
        "1.26 .. 5.51",
    ),
    "residual, gain 0": (
        {"pathway": "identity", "correction": "dense", "activation": "linear", "alpha": 0.0},
        "0",
    ),
    "dense, relu": (
        {"pathway": {"kind": "dense", "gain": RELU}, "activation": "relu"},
        "infinite",
    ),
    "orthogonal, relu": (
        {"pathway": {"kind": "orthogonal", "gain": RELU}, "activation": "relu"},
        "infinite",
    ),
}


def measure() -> xr.DataTree:
    """log10 kappa of end-to-end Jacobians, and norms of what is pulled back, in float64."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        found = [_measure(name) for name in MODELS]
        laws = _signals() | {"circulant": ("mode", _circulant_logs())}
    shape = ("model", "depth", "draw")
    data = xr.Dataset(
        {
            "log_condition": (shape, np.stack([one[0] for one in found])),
            "log_gradient": (shape, np.stack([one[1] for one in found])),
        },
        {"depth": list(DEPTHS)},
    )
    return xr.DataTree.from_dict({"models": data, "laws": xr.Dataset(laws)})


def _measure(name: str) -> tuple[np.ndarray, np.ndarray]:
    """log10 kappa and log10 of the gradient's ratio, shape (depths, seeds x samples)."""
    per_depth = "alpha" in MODELS[name][0]
    longest = None if per_depth else _factors(name, DEPTHS[-1])
    found = []
    for depth in DEPTHS:
        factors = _factors(name, depth) if longest is None else longest[:, :depth]
        found.append(_of_chain(factors))
    conditions, gradients = zip(*found, strict=True)
    return np.stack(conditions), np.stack(gradients)


def _factors(name: str, depth: int) -> Float[Array, "draws L N N"]:
    """Jacobians of each layer, of all seeds and samples."""
    options = dict(MODELS[name][0])
    options["activation"] = make_activation(options.get("activation", "tanh"))
    alpha = options.pop("alpha", 0.1)
    options["alpha"] = {"depth": depth**-0.5, "inverse_depth": 1 / depth}.get(alpha, alpha)
    keys = jax.random.split(jax.random.key(0), N_SEEDS)
    found = eqx.filter_jit(jax.vmap(partial(_chain, options=options, depth=depth)))(keys)
    return found.reshape(N_SEEDS * N_SAMPLES, depth, WIDTH, WIDTH)


def _chain(key: Any, *, options: dict[str, Any], depth: int) -> Float[Array, "n L N N"]:
    """Jacobians along one network, its layers drawn and met one after the other."""
    own, other = jax.random.split(key)
    act = jax.random.normal(other, (N_SAMPLES, WIDTH))
    act = WIDTH**0.5 * act / jnp.linalg.norm(act, axis=1, keepdims=True)

    def one(act: Array, key: Any) -> tuple[Array, Array]:
        network = enriched_network(key, WIDTH, (WIDTH,), embedding="none", bias=False, **options)
        layer = network.layers[0]
        trace = layer.forward(act)
        return trace.act, layer.jacobians(trace)

    return jnp.swapaxes(jax.lax.scan(one, act, jax.random.split(own, depth))[1], 0, 1)


@jax.jit
def _of_chain(factors: Float[Array, "draws L N N"]) -> tuple[Array, Array]:
    """log10 kappa, and log10 |J^T g| / |g| of a Gaussian g, of each draw."""
    rows = jax.random.normal(jax.random.key(1), (len(factors), WIDTH))

    def ratio(chain: Float[Array, "L N N"], row: Float[Array, " N"]) -> Float[Array, ""]:
        pulled, _ = jax.lax.scan(lambda now, one: (one.T @ now, None), row, chain, reverse=True)
        return jnp.log10(jnp.linalg.norm(pulled) / jnp.linalg.norm(row))

    return jax.lax.map(log_condition, factors), jax.vmap(ratio)(factors, rows)


def _signals() -> dict[str, tuple[str, np.ndarray]]:
    """Of linear chains J, one draw a number: ln |J h|^2 of a unit h, |J|^2 / N, sigma_1^2."""
    one, found = jnp.ones((1, WIDTH)) / WIDTH**0.5, {}
    for kind, axis in (("dense", "draw"), ("orthogonal", "chain")):
        whole = _ends(kind, jnp.eye(WIDTH), 4)
        found[kind] = (axis, np.log(np.sum(_ends(kind, one, 16) ** 2, axis=(1, 2))))
        found[f"{kind}_size"] = (axis, np.sum(whole**2, axis=(1, 2)) / WIDTH)
        found[f"{kind}_top"] = (axis, np.linalg.norm(whole, 2, axis=(1, 2)) ** 2)
    return found


def _ends(kind: str, start: Float[Array, "k N"], depth: int) -> np.ndarray:
    """What linear chains make of each row, shape (draws, k, N)."""

    def one(key: Any) -> Float[Array, "k N"]:
        def step(act: Array, key: Any) -> tuple[Array, None]:
            return make_pathway(kind, WIDTH, WIDTH, key=key)(act), None

        return jax.lax.scan(step, start, jax.random.split(key, depth))[0]

    keys = jax.random.split(jax.random.key(2), N_DRAWS if kind == "dense" else 40)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=200))(keys))


def _circulant_logs() -> np.ndarray:
    """Ln |fft c| of random circulant layers, at frequencies whose coefficient is complex."""
    columns = jax.random.normal(jax.random.key(3), (N_DRAWS, WIDTH)) / WIDTH**0.5
    return np.asarray(jnp.log(jnp.abs(jnp.fft.rfft(columns)[:, 1:-1])).ravel())


def _of(data: xr.DataArray, name: str) -> xr.DataArray:
    """What belongs to one model."""
    return data.isel(model=list(MODELS).index(name))


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """log10 kappa against depth, and the gradient's ratio at the largest."""
    data = trees[0]["models"].to_dataset()
    figure = new_figure(11.4, 4.8)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    shown = [name for name in MODELS if "relu" not in name and "linear" not in name]
    for k, colour in colours_of(range(len(shown))).items():
        values = _of(data["log_condition"], shown[k]).median("draw")
        style = {"color": colour, "marker": MARKERS[k % len(MARKERS)], "ms": 4.5, "lw": 1.3}
        left.plot(DEPTHS, np.maximum(values, 0.05), **style)
        spread = _of(data["log_gradient"], shown[k]).sel(depth=DEPTHS[-1])
        right.plot(spread, np.full(spread.size, k), ".", color=colour, alpha=0.5, ms=5)
    left.set_xscale("log", base=2)
    left.set_yscale("log")
    dress(left, f"log10 of the condition, N = {WIDTH}", "layers", "")
    # Names and colours of both pictures.
    right.set_yticks(range(len(shown)), shown)
    for label, colour in zip(right.get_yticklabels(), colours_of(shown).values(), strict=True):
        label.set_color(colour)
    dress(right, f"log10 of the gradient's ratio, {DEPTHS[-1]} layers", "", "")
    return figure


@claim(
    "structured-depth",
    source="2508.02126",
    statement="orthogonal and identity paths keep a chain well conditioned; free ones do not",
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Slopes and levels of log10 kappa, spreads of gradients, laws of signals; every model."""
    data, laws = (trees[0][name].to_dataset() for name in ("models", "laws"))
    middle = data["log_condition"].median("draw")
    slope = condition_growth(WIDTH)
    rows = []
    for name in ("dense, linear", "dense"):
        ends = _of(middle, name)
        found = float((ends.sel(depth=64) - ends.sel(depth=16)) / 48)
        rows.append(near(f"{name}: growth of log10 kappa a layer", found, slope, 0.03 * slope))
    rows.append(below("orthogonal, 64 layers", _of(middle, "orthogonal").sel(depth=64), 3.6))
    residual = _of(middle, "residual, 1/√L")
    rows.append(above("residual, 1/√L: least over depths", residual.min(), 0.6))
    rows.append(below("residual, 1/√L: most over depths", residual.max(), 1.0))
    exact = _of(data["log_condition"], "orthogonal, linear").max()
    rows.append(below("orthogonal, linear: most", exact, 1e-10))
    spread = data["log_gradient"].sel(depth=64).std("draw")
    ratio = float(_of(spread, "orthogonal") / _of(spread, "dense"))
    rows.append(below("spread of gradients, orthogonal over dense", ratio, 0.25))
    return [*rows, *_laws(laws), *_told(data)]


def _laws(laws: xr.Dataset) -> list[Row]:
    """Signals of linear chains of 16 layers, to four standard errors."""
    signal, modes = np.asarray(laws["dense"]), np.asarray(laws["circulant"])
    mean, variance = 16 * square_drift(WIDTH), 16 * square_variance(WIDTH)
    off = 4 * np.sqrt(variance / len(signal))
    rows = [near("dense, linear: mean of ln |h|²", float(signal.mean()), mean, off)]
    off = 4 * variance * np.sqrt(2 / len(signal))
    rows.append(near("dense, linear: its variance", float(signal.var()), variance, off))
    rows.append(below("orthogonal, linear: ln |h|², most", np.abs(laws["orthogonal"]).max(), 1e-12))
    off = 4 * np.sqrt(circulant_variance() / len(modes))
    what = "circulant, random: mean of ln sigma a layer"
    rows.append(near(what, float(modes.mean()), circulant_drift(), off))
    # The fourth moment of ln of an exponential variable is 5.4 squared variances.
    off = 4 * circulant_variance() * np.sqrt(4.4 / len(modes))
    what = "circulant, random: its variance"
    rows.append(near(what, float(modes.var()), circulant_variance(), off))
    return [*rows, *_sizes(laws)]


def _sizes(laws: xr.Dataset) -> list[Row]:
    """Noise is amplified alike on average, |J|^2 / N; it is the worst direction that differs."""
    size, rows = np.asarray(laws["dense_size"]), []
    off = 4 * size.std() / np.sqrt(len(size))
    rows.append(near("dense, linear, 4 layers: mean of |J|² / N", float(size.mean()), 1.0, off))
    wrong = np.abs(laws["orthogonal_size"] - 1).max()
    rows.append(below("orthogonal, linear, 4 layers: |J|² / N less 1", wrong, 1e-12))
    text = ", ".join(told(float(laws[f"{kind}_top"].mean())) for kind in ("dense", "orthogonal"))
    what = "largest singular value squared, dense, orthogonal, 4 layers"
    return [*rows, Row(what, "elsewhere 9.3, 1", text, None)]


def _told(data: xr.Dataset) -> list[Row]:
    """Median log10 kappa of every model by depth, and median and spread of its gradients."""
    rows = []
    for name, (_, elsewhere) in MODELS.items():
        values = _of(data["log_condition"], name).median("draw")
        pulled = _of(data["log_gradient"], name).sel(depth=64)
        text = " ".join(told(float(value)) for value in values)
        text += f"; {told(float(pulled.median()))} ± {told(float(pulled.std()))}"
        beside = f"elsewhere {elsewhere}" if elsewhere else "no claim"
        rows.append(Row(f"{name}: log10 kappa; gradient", beside, text, None))
    return rows
