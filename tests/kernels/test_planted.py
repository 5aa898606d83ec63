"""Population quantities by sampling, autodiff and differences, and at degenerate rows."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from gramdyn.kernels.planted import (
    angles,
    loss_parts,
    mask_moments,
    population_gradient,
    population_loss,
    relu_gram,
)
from gramdyn.kernels.planted_gram import gram_step, gram_velocity
from gramdyn.kernels.planted_hessian import hessian_product

Point = tuple[Array, Array, Array]

# Compiled, which takes less than the many small programs of plain calls.
LOSS = jax.jit(population_loss)
GRADIENT = jax.jit(population_gradient)
PRODUCT = jax.jit(hessian_product)
SLOPES = jax.jit(jax.grad(population_loss, (0, 1, 2)))
GRAM_STEP = jax.jit(gram_step)
GRAM_VELOCITY = jax.jit(gram_velocity)

# No case is more special than that of one neuron, one output, or fewer inputs than neurons.
SHAPES = ((1, 1, 2), (2, 1, 5), (5, 2, 3), (4, 3, 7), (3, 1, 1))
GAPS = (0.0, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 0.1)


def _draw(seed: int, k: int, c: int, d: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.normal(size=(k, 1)))
    rows = rng.normal(size=(k, d)) * scales
    return tuple(jnp.asarray(a) for a in (rows, rng.normal(size=(k, c)), rng.normal(size=(c, d))))


def _textbook(hidden: Array, readout: Array, target: Array) -> Array:
    """The loss by arccos off the diagonal, which autodiff takes at generic rows."""
    norms = jnp.linalg.norm(hidden, axis=1)
    off = ~jnp.eye(len(norms), dtype=bool)
    cosine = jnp.where(off, hidden @ hidden.T / norms[:, None] / norms[None, :], 0.5)
    angle = jnp.where(off, jnp.arccos(cosine), 0.0)
    shape = (jnp.sin(angle) + (jnp.pi - angle) * jnp.cos(angle)) / (2 * jnp.pi)
    gram = norms[:, None] * norms[None, :] * shape
    cross = jnp.sum(readout * (hidden @ target.T))
    return jnp.sum((readout @ readout.T) * gram) / 2 - cross / 2 + jnp.sum(target**2) / 2


@functools.partial(jax.jit, static_argnums=0)
def _along(loss: Callable, point: Point, step: Point) -> tuple[Array, Array]:
    """Derivative along a step of the gradient by W and V that autodiff takes of a loss."""
    return jax.jvp(jax.grad(loss, (0, 1)), point, step)[1]


def _summed(*point: Array) -> Array:
    return sum(jnp.sum(slope) for slope in jax.grad(population_loss, (0, 1))(*point))


def test_moments_by_sampling() -> None:
    """J, E[x mask relu], M and the loss against a mean over samples, in standard errors."""
    hidden, readout, target = _draw(0, 4, 2, 3)
    x = np.random.default_rng(1).normal(size=(400_000, 3))
    z = x @ np.asarray(hidden).T
    act, mask = np.maximum(z, 0), z > 0
    out = act @ np.asarray(readout)
    error = out - x @ np.asarray(target).T
    pairs = [
        (act[:, i] * act[:, j], relu_gram(hidden)[i, j]) for i in range(4) for j in range(i, 4)
    ]
    pulls = mask_moments(hidden, readout) @ hidden
    for i in range(4):
        back = mask[:, i] * (out @ np.asarray(readout)[i])
        pairs += [(back * x[:, a], pulls[i, a]) for a in range(3)]
    pairs.append((np.sum(error**2, axis=1) / 2, LOSS(hidden, readout, target)))
    for i, j in ((0, 1), (2, 3)):  # both masks, through the angle
        pairs.append((mask[:, i] * mask[:, j], 0.5 - angles(hidden)[i, j] / (2 * np.pi)))
    scores = [
        (np.mean(seen) - float(law)) / (np.std(seen) / np.sqrt(len(seen))) for seen, law in pairs
    ]
    assert len(scores) == 25
    assert np.max(np.abs(scores)) < 4.0  # chance 0.2 % for 25 of them; measured 2.7


@pytest.mark.parametrize("shape", SHAPES)
def test_derivatives_are_those_of_the_textbook_loss(shape: tuple[int, int, int]) -> None:
    for seed in range(3):
        point = _draw(seed, *shape)
        if shape[2] == 1:  # all rows on one line, where the textbook has no derivative
            continue
        size = float(_textbook(*point))
        np.testing.assert_allclose(LOSS(*point), size, rtol=1e-14)
        wanted = jax.jit(jax.grad(_textbook, (0, 1, 2)))(*point)
        found = (*GRADIENT(*point), SLOPES(*point)[2])
        # rounding of sums of some hundred terms of the size of the loss
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-14 * (1 + size))


@pytest.mark.parametrize("shape", SHAPES[:4])
def test_hessian_product_is_the_derivative_of_the_gradient(shape: tuple[int, int, int]) -> None:
    point, step = _draw(3, *shape), _draw(4, *shape)
    wanted = _along(_textbook, point, (*step[:2], 0 * step[2]))
    found = PRODUCT(*point, *step[:2])
    size = float(_textbook(*point) + _textbook(*step))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13 * (1 + size))


def test_both_modes_of_autodiff_give_the_closed_forms() -> None:
    point, step = _draw(5, 3, 2, 4), _draw(6, 3, 2, 4)
    reverse = SLOPES(*point)[:2]
    for one, other in zip(reverse, GRADIENT(*point), strict=True):
        np.testing.assert_array_equal(one, other)
    forward = jax.jit(jax.jvp, static_argnums=0)(population_loss, point, step)[1]
    slopes = SLOPES(*point)
    wanted = sum(jnp.sum(s * d) for s, d in zip(slopes, step, strict=True))
    np.testing.assert_allclose(forward, wanted, rtol=1e-13)
    # forward over reverse, with the target moving too, and reverse over reverse
    moved = _along(population_loss, point, step)
    textbook = _along(_textbook, point, step)
    pulled = jax.jit(jax.grad(_summed))(*point)
    ones = jnp.ones_like(point[0]), jnp.ones_like(point[1])
    for one, other in zip(moved, textbook, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    np.testing.assert_allclose(pulled, PRODUCT(*point, *ones)[0], rtol=0, atol=1e-13)


def test_gradient_by_differences() -> None:
    point, step = _draw(7, 4, 2, 5), _draw(8, 4, 2, 5)
    h = 1e-5
    ahead, behind = (
        LOSS(*(p + s * h * d for p, d in zip(point, step, strict=True))) for s in (1, -1)
    )
    wanted = jax.jit(jax.jvp, static_argnums=0)(population_loss, point, step)[1]
    # h^2 of the third derivative and rounding of the loss over h, both about 1e-10
    np.testing.assert_allclose((ahead - behind) / (2 * h), wanted, rtol=0, atol=1e-8)


def test_parts_add_up_and_the_odd_one_is_that_of_the_linear_map() -> None:
    hidden, readout, target = _draw(9, 4, 2, 5)
    odd, even = loss_parts(hidden, readout, target)
    np.testing.assert_allclose(odd + even, LOSS(hidden, readout, target), rtol=1e-15)
    np.testing.assert_allclose(odd, jnp.sum((readout.T @ hidden / 2 - target) ** 2) / 2, rtol=1e-14)
    assert even > 0
    # an opposite pair is linear: nothing is left of the even part
    pair = jnp.concatenate([hidden, -hidden]), jnp.concatenate([readout, -readout])
    assert abs(loss_parts(*pair, target)[1]) < 1e-15 * jnp.sum(jnp.abs(relu_gram(hidden)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_is_at_no_angle_to_itself(dtype: type) -> None:
    """The square of a normalised row is 1 - eps as often as 1."""
    rows = np.random.default_rng(16).normal(size=(50, 3)).astype(dtype)
    hidden, eps = jnp.asarray(rows), np.finfo(dtype).eps
    np.testing.assert_array_equal(np.diagonal(angles(hidden)), 0.0)
    norms = np.sum(rows.astype(np.float64) ** 2, axis=1)
    np.testing.assert_allclose(np.diagonal(relu_gram(hidden)), norms / 2, rtol=8 * eps)
    readout = jnp.asarray(np.eye(50, dtype=dtype))  # no neuron acts on another
    target, step = jnp.zeros((50, 3), dtype), jnp.ones_like(hidden)
    by_hidden = PRODUCT(hidden, readout, target, step, jnp.zeros_like(readout))[0]
    np.testing.assert_allclose(by_hidden, 0.5, rtol=8 * eps)


def _wanted_pull(norms: tuple[float, float], angle: float, anti: bool) -> np.ndarray:
    """E[x mask_0 relu(w_1 . x)] in the plane of two rows whose angle is known, not computed."""
    turn = np.pi - angle if anti else angle
    side = -1.0 if anti else 1.0
    other = norms[1] * np.array([side * np.cos(angle), np.sin(angle)])
    return ((np.pi - turn) * other + norms[1] * np.sin(angle) * np.array([1.0, 0.0])) / (2 * np.pi)


@pytest.mark.parametrize("anti", [False, True])
@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradient_is_exact_near_parallel_and_antiparallel_rows(
    dtype: type, gap: float, anti: bool
) -> None:
    side, norms = (-1.0 if anti else 1.0), (1.3, 0.7)
    rows = [[norms[0], 0.0], [side * norms[1] * np.cos(gap), norms[1] * np.sin(gap)]]
    hidden, readout = np.array(rows), np.array([[0.9], [-0.4]])
    target = jnp.zeros((1, 2), dtype)
    found = GRADIENT(jnp.asarray(hidden, dtype), jnp.asarray(readout, dtype), target)
    pull = readout[0, 0] * (
        readout[0, 0] * hidden[0] / 2 + readout[1, 0] * _wanted_pull(norms, gap, anti)
    )
    # a few roundings; the rows themselves are rounded to the dtype
    np.testing.assert_allclose(found[0][0], pull, rtol=0, atol=4 * np.finfo(dtype).eps)


def _degenerate() -> list[np.ndarray]:
    row, other = np.random.default_rng(10).normal(size=(2, 6))
    near = row + 1e-12 * other
    return [
        np.stack([row, row, 2 * row]),
        np.stack([row, -row, -3 * row]),
        np.stack([row, near, -near]),
        np.stack([row, 0 * row, other]),
        np.zeros((3, 6)),
        np.stack([1e-8 * row, other, 1e-12 * row]),
        np.stack([1e-30 * row, 1e-30 * other, other]),
        np.stack([1e-30 * row, -1e-30 * row, 0 * row]),
    ]


@pytest.mark.parametrize("case", range(8))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_is_nan_at_degenerate_rows(dtype: type, case: int) -> None:
    hidden = jnp.asarray(_degenerate()[case], dtype)
    _, readout, target = (jnp.asarray(a, dtype) for a in _draw(11, 3, 2, 6))
    step = jnp.ones_like(hidden), jnp.ones_like(readout)
    found = [
        LOSS(hidden, readout, target),
        *GRADIENT(hidden, readout, target),
        *PRODUCT(hidden, readout, target, *step),
        *SLOPES(hidden, readout, target),
        *_along(population_loss, (hidden, readout, target), (*step, target)),
        *GRAM_STEP(hidden @ hidden.T, hidden @ target.T, readout, target @ target.T, 0.1),
        *GRAM_VELOCITY(hidden @ hidden.T, hidden @ target.T, readout, target @ target.T),
        angles(hidden),
        mask_moments(hidden, readout),
    ]
    for array in found:
        assert array.dtype == dtype
        assert np.all(np.isfinite(array))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_dead_neuron_is_left_alone_and_leaves_the_others_alone(dtype: type) -> None:
    hidden, readout, target = (jnp.asarray(a, dtype) for a in _draw(12, 4, 2, 5))
    dead = hidden.at[1].set(0.0)
    rest = jnp.array([0, 2, 3])
    gram = dead @ dead.T, dead @ target.T, readout, target @ target.T
    found = (
        *GRADIENT(dead, readout, target),
        *PRODUCT(dead, readout, target, hidden, readout),
        *GRAM_VELOCITY(*gram)[1:],
    )
    small = dead[rest] @ dead[rest].T, dead[rest] @ target.T, readout[rest], gram[3]
    wanted = (
        *GRADIENT(dead[rest], readout[rest], target),
        *PRODUCT(dead[rest], readout[rest], target, hidden[rest], readout[rest]),
        *GRAM_VELOCITY(*small)[1:],
    )
    eps = np.finfo(dtype).eps
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one[1], 0.0)
        np.testing.assert_allclose(one[rest], other, rtol=0, atol=40 * eps)
    np.testing.assert_array_equal(mask_moments(dead, readout)[1], 0.0)
    np.testing.assert_array_equal(mask_moments(dead, readout)[:, 1], 0.0)
    np.testing.assert_array_equal(angles(dead)[1, rest], dtype(np.pi / 2))


def test_float32_is_good_to_rows_of_1e_17_and_takes_1e_20_for_zero() -> None:
    """The square of the norm must not underflow; float64 has room to 1e-154."""
    hidden, readout, target = _draw(13, 3, 1, 4)
    unit = hidden / jnp.linalg.norm(hidden, axis=1)[:, None]
    for scale in (1.0, 1e-8, 1e-17):
        wanted = GRADIENT(scale * unit, scale * readout, target)
        low = (scale * unit, scale * readout, target)
        found = GRADIENT(*(a.astype(jnp.float32) for a in low))
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6 * scale)
    if jax.default_backend() != "cpu":
        return  # accelerators keep the denormals that squares of 1e-20 are
    low = ((1e-20 * unit).astype(jnp.float32), readout.astype(jnp.float32))
    for found in GRADIENT(*low, target.astype(jnp.float32)):
        np.testing.assert_array_equal(found, 0.0)
    tiny = GRADIENT(1e-150 * unit, 1e-150 * readout, target)
    np.testing.assert_allclose(tiny[0] * 1e150, -readout @ target / 2, rtol=1e-14)


def test_batched_compiled_and_scanned_as_plain() -> None:
    points = [_draw(seed, 3, 2, 4) for seed in range(5)]
    stack = tuple(jnp.stack(parts) for parts in zip(*points, strict=True))
    batched = jax.jit(jax.vmap(population_gradient))(*stack)
    carried = jax.lax.scan(lambda c, p: (c, GRADIENT(*p)), 0, stack)[1]
    plain = [jnp.stack(p) for p in zip(*(GRADIENT(*p) for p in points), strict=True)]
    slopes = jax.jit(jax.vmap(jax.grad(population_loss, (0, 1))))(*stack)
    for found in (batched, carried, slopes):
        for one, other in zip(found, plain, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)  # of sums in another order


def _grams(hidden: Array, readout: Array, target: Array) -> tuple[Array, Array, Array]:
    return hidden @ hidden.T, hidden @ target.T, readout


def test_gram_form_is_descent_of_the_weights() -> None:
    """500 steps at d = 40, k = 5, C = 2."""
    rng = np.random.default_rng(14)
    hidden, readout = (jnp.asarray(rng.normal(size=s) / np.sqrt(40)) for s in ((5, 40), (5, 2)))
    target = jnp.eye(40)[:2] * jnp.array([[1.0], [0.7]])
    square, eta = target @ target.T, 0.1

    def both(state: tuple, _: None) -> tuple[tuple, None]:
        weights, grams = state
        slopes = population_gradient(*weights, target)
        moved = tuple(w - eta * s for w, s in zip(weights, slopes, strict=True))
        return (moved, gram_step(*grams, square, eta)), None

    start = ((hidden, readout), _grams(hidden, readout, target))
    weights, found = jax.jit(lambda s: jax.lax.scan(both, s, None, 500)[0])(start)
    assert LOSS(*weights, target) < 1e-2  # from 0.7
    for one, other in zip(found, _grams(*weights, target), strict=True):
        # rounding of 500 steps; measured 6e-15
        np.testing.assert_allclose(one, other, rtol=0, atol=3e-14)


def test_gram_velocity_is_that_of_the_flow_of_the_weights() -> None:
    hidden, readout, target = _draw(15, 4, 2, 6)
    slopes = GRADIENT(hidden, readout, target)
    down = (-slopes[0], -slopes[1], jnp.zeros_like(target))
    wanted = jax.jvp(_grams, (hidden, readout, target), down)[1]
    grams = _grams(hidden, readout, target)
    found = GRAM_VELOCITY(*grams, target @ target.T)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13 * float(jnp.max(jnp.abs(other))))
    np.testing.assert_array_equal(found[0], found[0].T)
