"""How fast layers that feed themselves settle, by structure, and how much noise they keep."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, MARKERS, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below, count, near
from gramdyn.kernels.fixed_points import (
    distances,
    iterate,
    jacobian_at,
    measured_rate,
    solve_fixed_point,
)
from gramdyn.kernels.loop_noise import noise_gain, transient_growth
from gramdyn.kernels.splitting import (
    forward_backward,
    peaceman_rachford,
    splitting_inverse,
    splitting_rates,
)
from gramdyn.models.pathway import make_pathway
from gramdyn.report.axes import SOFT, dress, new_figure, set_log_axis

SIZE, N_SEEDS, RADII = 64, 8, (0.3, 0.5, 0.7, 0.9)
N_NOISY = 64  # draws for gains of noise, which vary by half from draw to draw
# Of the map whose slope at its fixed point is S, and of the loop with noise.
STILL, NOISY = 0.8, 0.9
# Points are found to this, and monotone ones, with many more steps, to LOOSE.
TIGHT, LOOSE = 1e-13, 1e-9
# Every family: its pathway, whether of S + S^T, and numbers of another computation: sigma_1 over
# the radius, iterations to 1e-8 at radius 0.9, gain of noise.
FAMILIES: dict[str, tuple[str, dict[str, Any], bool, tuple[str, str, str]]] = {
    "dense": ("dense", {}, False, ("1.77 to 1.85", "77", "3.78 ± 0.71")),
    "orthogonal": ("orthogonal", {}, False, ("1.00", "71", "5.26")),
    "symmetric": ("dense", {}, True, ("1.00", "none", "1.48")),
    "circulant": ("circulant", {"init": "random"}, False, ("1.00", "none", "1.47")),
    "block": ("block", {"blocks": 4}, False, ("1.6 to 1.7", "none", "none")),
    "low-rank": ("lowrank", {"rank": 8}, False, ("3.6 to 4.5", "none", "none")),
}
NORMAL = ("orthogonal", "symmetric", "circulant")


def measure() -> xr.DataTree:
    """Rates, rates without a bias and gains of noise of each family; monotone loops. In float64."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        parts = {family: xr.merge([_rates(family), _others(family)]) for family in FAMILIES}
        return xr.DataTree.from_dict(parts | {"monotone": _monotone()})


def _radius(matrices: Float[np.ndarray, "*batch N N"]) -> Float[np.ndarray, "*batch"]:
    """Largest size of an eigenvalue."""
    found: Float[np.ndarray, "*batch"] = np.abs(np.linalg.eigvals(matrices)).max(axis=-1)
    return found


def loops(family: str, radius: float, seeds: int = N_SEEDS) -> Float[np.ndarray, "seeds N N"]:
    """Matrices of a family, one a seed, scaled to a spectral radius."""
    kind, options, mirrored, _ = FAMILIES[family]
    keys = map(jax.random.key, range(seeds))
    made = [make_pathway(kind, SIZE, SIZE, key=key, **options).matrix() for key in keys]
    found = np.stack([np.asarray(one) for one in made])
    found = found + found.transpose(0, 2, 1) if mirrored else found
    return found * (radius / _radius(found))[:, None, None]


def _normals(stream: int) -> Float[np.ndarray, "seeds N"]:
    return np.random.default_rng(stream).standard_normal((N_SEEDS, SIZE))


@jax.jit
@jax.vmap
def _settle(
    matrix: Float[Array, "N N"], bias: Float[Array, " N"]
) -> tuple[Array, Array, Array, Array]:
    """Of z <- tanh(S z + b) from 0: whether it settles, its rate, its slope, steps to 1e-8."""
    step, start = (lambda z: jnp.tanh(matrix @ z + bias)), jnp.zeros_like(bias)
    found = solve_fixed_point(step, start, tol=TIGHT, max_steps=2000)
    errors = distances(iterate(step, start, 400), found.point)
    slope = jacobian_at(step, found.point)
    return found.converged, measured_rate(errors), slope, jnp.sum(errors > 1e-8)


def _rates(family: str) -> xr.Dataset:
    """Of each radius and seed: what iterations do, beside the slope's own radius."""
    bias, rows = 0.3 * _normals(0), []
    for radius in RADII:
        matrices = loops(family, radius)
        settles, rate, slope, steps = map(np.asarray, _settle(matrices, bias))
        gap = np.linalg.norm(matrices, 2, axis=(1, 2)) / radius
        rows.append((settles.astype(int), rate, _radius(slope), steps, gap))
    names = ("settles", "rate", "slope_radius", "steps", "gap")
    columns = zip(names, zip(*rows, strict=True), strict=True)
    arrays = {name: (("radius", "seed"), np.stack(column)) for name, column in columns}
    return xr.Dataset(arrays, {"radius": list(RADII)})


@jax.jit
@jax.vmap
def _slowest(matrix: Float[Array, "N N"]) -> Float[Array, ""]:
    """Rate of z <- tanh(S z) from |z| = 1e-3 sqrt(N) along the first singular vector of S."""
    start = 1e-3 * SIZE**0.5 * jnp.linalg.eigh(matrix.T @ matrix)[1][:, -1]
    return measured_rate(distances(iterate(lambda z: jnp.tanh(matrix @ z), start, 200), 0 * start))


@jax.jit
@jax.vmap
def _kept(matrix: Float[Array, "N N"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Gain of noise in z <- S z + xi, and the growth that perturbations reach on the way."""
    return noise_gain(matrix), transient_growth(matrix, 40)


def _others(family: str) -> xr.Dataset:
    """Rates without a bias, and what noise comes to."""
    gain, growth = _kept(loops(family, NOISY, N_NOISY))
    arrays = {"gain": ("draw", np.asarray(gain)), "growth": ("draw", np.asarray(growth))}
    return xr.Dataset(arrays | {"still_rate": ("seed", np.asarray(_slowest(loops(family, STILL))))})


@jax.jit
@jax.vmap
def _split(matrix: Float[Array, "N N"], bias: Float[Array, " N"]) -> dict[str, Array]:
    """Plain iteration of z <- relu(S z + b) and both splittings: whether, and after how many."""
    inverse, rates = splitting_inverse(matrix), splitting_rates(matrix)
    steps: dict[str, Callable[[Array], Array]] = {
        "plain": lambda z: forward_backward(z, matrix, bias, 1.0),
        "forward": lambda z: forward_backward(z, matrix, bias, rates.size),
        "reflected": lambda u: peaceman_rachford(u, inverse, bias),
    }
    found: dict[str, Array] = {"norm": jnp.linalg.norm(matrix, 2)}
    points = {}
    for name, step in steps.items():
        one = solve_fixed_point(step, jnp.zeros_like(bias), tol=LOOSE, max_steps=20000)
        found |= {f"{name}_settles": one.converged.astype(int), f"{name}_steps": one.iterations}
        points[name] = one.point
    apart = jax.nn.relu(points["reflected"]) - points["forward"]
    return found | {"apart": jnp.linalg.norm(apart)}


def _monotone() -> xr.Dataset:
    keys = jax.random.split(jax.random.key(1), N_SEEDS)
    matrices = jnp.stack([make_pathway("monotone", SIZE, SIZE, key=key).matrix() for key in keys])
    found = _split(matrices, jnp.asarray(_normals(1)))
    return xr.Dataset({name: ("seed", np.asarray(value)) for name, value in found.items()})


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Rates against the radius of the slope, and gains of noise, by family."""
    (tree,) = trees
    figure = new_figure(10.2, 4.4)
    left, right = figure.subplots(1, 2)
    colours = colours_of(FAMILIES)
    left.plot([0.2, 0.9], [0.2, 0.9], color=SOFT, linewidth=1.0, label="equal")
    for (family, colour), marker in zip(colours.items(), MARKERS, strict=True):
        data = tree[family]
        style: dict[str, Any] = {"color": colour, "marker": marker, "ms": 5, "ls": "", "alpha": 0.8}
        across, up = (np.ravel(data[name]) for name in ("slope_radius", "rate"))
        good = np.ravel(data["settles"]) == 1
        left.plot(across[good], up[good], label=family, **style)
    left.legend(**LEGEND, loc="upper left")
    dress(left, f"Errors a step, N = {SIZE}", "spectral radius of the slope at z*", "rate")
    _gains(right, _of_each(tree, "gain"), colours)
    return figure


def _of_each(tree: xr.DataTree, name: str) -> dict[str, np.ndarray]:
    return {family: np.asarray(tree[family][name]) for family in FAMILIES}


def _gains(axes: Axes, found: dict[str, np.ndarray], colours: dict[Any, str]) -> None:
    """A dot a draw, a bar at the median."""
    for place, (family, colour) in enumerate(colours.items()):
        gains = found[family]
        across = place + np.linspace(-0.2, 0.2, gains.size)
        axes.plot(across, gains, "o", color=colour, ms=4, alpha=0.6, mew=0)
        axes.plot([place - 0.3, place + 0.3], [np.median(gains)] * 2, color=colour, linewidth=2.0)
    axes.axhline(
        _orthogonal_gain(), color=SOFT, linewidth=1.0, label="1 / (1 - r²), all modes slow"
    )
    axes.set_xticks(range(len(colours)), list(colours), rotation=20)
    axes.legend(**LEGEND, loc="upper left")
    set_log_axis(axes, np.concatenate(list(found.values())))
    dress(axes, f"Noise in the loop, radius r = {NOISY}", "", "tr Σ / (N s²)")


def _orthogonal_gain() -> float:
    return 1 / (1 - NOISY**2)


@claim(
    "structured-rates",
    source="derived here",
    statement="loops settle by their slope's radius; of normal ones orthogonal keep most noise",
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Rates of each family, the certificate, noise, and splittings of monotone loops."""
    (tree,) = trees
    rows = [row for family in FAMILIES for row in _rate_rows(family, tree[family].to_dataset())]
    rows += _still_rows(_of_each(tree, "still_rate"))
    rows += _noise_rows(_of_each(tree, "gain"), _of_each(tree, "growth"))
    return rows + _monotone_rows(tree["monotone"].to_dataset())


def _rate_rows(family: str, data: xr.Dataset) -> list[Row]:
    """How far off the law of the rate is, over the runs that settle; how many do; the gap."""
    good = np.asarray(data["settles"]) == 1
    off = np.abs(np.log(data["rate"].values) / np.log(data["slope_radius"].values) - 1)[good]
    gap, last = np.asarray(data["gap"]), data.sel(radius=RADII[-1])
    bare = good & (gap * np.asarray(RADII)[:, None] >= 1)  # tanh' is 1 at most
    steps = np.asarray(last["steps"])[np.asarray(last["settles"]) == 1]
    wide, slow, _ = FAMILIES[family][-1]
    settled = f"{good.sum()} of {good.size}, {bare.sum()} without certificate"
    what = f"{family}: iterations to 1e-8 at radius {RADII[-1]}"
    return [
        below(f"{family}: median of |ln rate / ln radius - 1|", np.median(off), 0.1),
        below(f"{family}: the largest", off.max(), 0.25),
        Row(f"{family}: loops that settle, others left out", "no claim", settled, None),
        Row(f"{family}: sigma_1 of S over its radius", f"elsewhere {wide}", _span(gap), None),
        Row(what, f"elsewhere {slow}", f"{np.median(steps):g}", None),
    ]


def _span(values: np.ndarray) -> str:
    return f"{told(float(values.min()))} to {told(float(values.max()))}"


def _still_rows(rates: dict[str, np.ndarray]) -> list[Row]:
    """Without a bias the slope at z* = 0 is S itself."""
    rows = []
    for family in NORMAL:
        off = np.abs(rates[family] - STILL).max()
        rows.append(
            below(
                f"{family}, no bias, radius {STILL}, along its first direction: rate off it",
                off,
                1e-8,
            )
        )
    what = f"dense, no bias, radius {STILL}: median rate"
    return [*rows, Row(what, "elsewhere 0.80002", f"{np.median(rates['dense']):.5f}", None)]


def _noise_rows(gain: dict[str, np.ndarray], growth: dict[str, np.ndarray]) -> list[Row]:
    """Gains at one radius: of normal loops orthogonal ones keep most, all their modes being slow.

    A loop that is not normal may keep more: many of low rank do, free ones seldom.
    """
    mean, wanted = {name: float(one.mean()) for name, one in gain.items()}, _orthogonal_gain()
    order = [mean[name] for name in ("orthogonal", "dense", "symmetric")]
    falls = order[0] > order[1] > order[2]
    normal = np.concatenate([gain["symmetric"], gain["circulant"]])
    rows = [
        near("orthogonal: gain of noise", gain["orthogonal"].max(), wanted, 1e-10),
        count("symmetric and circulant: draws with less", normal < wanted),
        Row(
            "orthogonal, dense, symmetric: mean gains", "fall", " > ".join(map(told, order)), falls
        ),
    ]
    for name, (*_, (_, _, elsewhere)) in FAMILIES.items():
        above = f"{np.sum(gain[name] > wanted + 1e-10)} of {gain[name].size}"
        middle, off = (told(float(of(gain[name]))) for of in (np.median, np.std))
        grown = told(float(growth[name].mean()))
        shown = f"{told(mean[name])} ± {off} (median {middle}); {above}; {grown}"
        what = f"{name}: gain; draws above orthogonal; growth"
        rows.append(Row(what, f"elsewhere {elsewhere}", shown, None))
    return rows


def _monotone_rows(data: xr.Dataset) -> list[Row]:
    """Plain iteration fails at every loop, both splittings find the point."""
    values = {str(name): np.asarray(data[name]) for name in data.data_vars}
    reflected, forward = (values[f"{name}_steps"] for name in ("reflected", "forward"))
    plain = values["plain_settles"]
    norm = told(float(np.median(values["norm"])))
    return [
        count(f"monotone, sigma_1 {norm}: plain iteration never settles", plain == 0),
        count("monotone: forward-backward settles", values["forward_settles"] == 1),
        count("monotone: Peaceman-Rachford settles", values["reflected_settles"] == 1),
        # Either stops at a last step of 1e-9, and forward-backward leaves 100 times as much.
        below("monotone: points of both apart", values["apart"].max(), 1e-6),
        count("monotone: it takes less than a fifth of the steps", 5 * reflected < forward),
        Row("steps to 1e-9, Peaceman-Rachford", "elsewhere 42", f"{np.median(reflected):g}", None),
        Row("steps to 1e-9, forward-backward", "elsewhere 2059", f"{np.median(forward):g}", None),
    ]
