"""Polar factors and the split of a step, against SciPy, exact Grams and first derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from gramdyn import InputError
from gramdyn.kernels.polar import horizontal_part, nearest_with_gram, polar_factor

SHAPES = [(4, 9), (9, 4), (5, 5), (1, 3), (3, 1)]


def pair(shape, size=0.3, seed=0):
    keys = jax.random.split(jax.random.key(seed))
    weight = jax.random.normal(keys[0], shape)
    return weight, size * jax.random.normal(keys[1], shape)


def test_is_the_orthogonal_factor_of_scipy():
    matrix = jax.random.normal(jax.random.key(0), (6, 6))
    wanted, _ = scipy.linalg.polar(np.asarray(matrix))
    np.testing.assert_allclose(polar_factor(matrix), wanted, atol=1e-13)
    found = polar_factor(matrix, method="newton_schulz", steps=30)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_of_a_singular_matrix_it_is_orthogonal_and_maps_its_range_as_any_other():
    columns = jax.random.normal(jax.random.key(0), (6, 2))
    matrix = columns @ jax.random.normal(jax.random.key(1), (2, 6))
    factor = polar_factor(matrix)
    np.testing.assert_allclose(factor @ factor.T, np.eye(6), atol=1e-13)
    product = np.asarray(matrix @ factor.T)  # the positive factor
    np.testing.assert_allclose(product, product.T, atol=1e-12)
    assert np.linalg.eigvalsh(product)[0] > -1e-12


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_weights_of_low_rank_get_the_gram_asked_for(rank):
    draw = jax.random.normal(jax.random.key(0), (3, 4))
    weight = jnp.where((jnp.arange(3) < rank)[:, None], draw, 0.0)
    wanted = weight + jnp.ones((3, 4))
    found = nearest_with_gram(weight, wanted)
    np.testing.assert_allclose(found.T @ found, wanted.T @ wanted, atol=1e-13)
    assert jnp.max(jnp.abs(found - weight)) > 0.1  # they move


def test_no_direction_of_the_weights_is_lost_in_single_precision():
    """A fresh layer, ten steps of no gradient: its weakest directions are as they were.

    Their squares are what is decomposed, 1e-6 of the largest and less, below float32's rounding.
    """
    shape = (256, 256)
    weight = jax.random.uniform(jax.random.key(0), shape, jnp.float32, -1 / 16, 1 / 16)
    before = np.linalg.svd(np.asarray(weight, np.float64), compute_uv=False)
    assert before[-1] ** 2 < 256 * np.finfo(np.float32).eps * before[0] ** 2
    again = jax.jit(lambda w: nearest_with_gram(w, w))
    after = weight
    for _ in range(10):
        after = again(after)
    one = again(weight)
    assert jnp.linalg.norm(one - weight) < 1e-5 * jnp.linalg.norm(weight)
    found = np.linalg.svd(np.asarray(after, np.float64), compute_uv=False)
    # ten products of float32, each off by some eps of the largest
    np.testing.assert_allclose(found[-4:], before[-4:], atol=1e-4 * before[0])
    assert found[-1] > 0.5 * before[-1]


@pytest.mark.parametrize("shape", SHAPES)
def test_gram_asked_for_is_kept_and_the_nearest_is_taken(shape):
    weight, step = pair(shape)
    found = nearest_with_gram(weight, weight + step)
    wanted = (weight + step).T @ (weight + step)
    np.testing.assert_allclose(found.T @ found, wanted, atol=1e-13)
    product = weight @ found.T
    np.testing.assert_allclose(product, product.T, atol=1e-13)
    assert np.linalg.eigvalsh(product)[0] > -1e-13
    distance = jnp.linalg.norm(found - weight)
    for seed in range(20):  # other weights with that Gram
        turn = np.linalg.qr(np.random.default_rng(seed).standard_normal(shape[:1] * 2))[0]
        assert jnp.linalg.norm(turn @ (weight + step) - weight) >= distance - 1e-12
    np.testing.assert_allclose(nearest_with_gram(weight, weight), weight, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_split_of_a_step(shape):
    weight, step = pair(shape)
    rest = horizontal_part(weight, step)
    product = weight @ rest.T
    np.testing.assert_allclose(product, product.T, atol=1e-13)
    gram = lambda w: w.T @ w  # noqa: E731
    moved = [jax.jvp(gram, (weight,), (move,))[1] for move in (step, rest, step - rest)]
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-13)
    np.testing.assert_allclose(moved[2], 0 * moved[2], atol=1e-13)
    assert abs(jnp.sum(rest * (step - rest))) < 1e-13


def test_transform_of_a_small_step_is_its_horizontal_part():
    weight, step = pair((4, 9))
    gaps = []
    for size in (1e-2, 1e-3):
        found = nearest_with_gram(weight, weight + size * step) - weight
        gaps.append(float(jnp.linalg.norm(found - size * horizontal_part(weight, step))))
    assert 80 < gaps[0] / gaps[1] < 125  # of second order


@pytest.mark.parametrize(("reached", "began"), [(0.5, 1.0e-3), (0.9, 2.46e-3), (0.99, 3.88e-3)])
def test_what_ten_steps_of_newton_schulz_reach(reached, began):
    """Share of |matrix|_F at which a singular value must begin; the norm is held by another."""
    values = jnp.asarray([began, jnp.sqrt(1 - began**2)])
    found = polar_factor(jnp.diag(values), method="newton_schulz")
    np.testing.assert_allclose(found[0, 0], reached, rtol=0.02)


def test_newton_schulz_moves_weights_that_nothing_moves():
    """No step at all: a fresh uniform layer changes by 23, 2.2 and 0.02 % at 5, 10, 20 steps."""
    weight = jax.random.uniform(jax.random.key(0), (256, 256), minval=-1 / 16, maxval=1 / 16)
    change = lambda steps: float(  # noqa: E731
        jnp.linalg.norm(
            nearest_with_gram(weight, weight, method="newton_schulz", steps=steps) - weight
        )
        / jnp.linalg.norm(weight)
    )
    found = [change(steps) for steps in (5, 10, 20)]
    assert 0.2 < found[0] < 0.26
    assert 0.015 < found[1] < 0.03
    assert found[2] < 1e-3


def test_refusals():
    with pytest.raises(InputError, match="method"):
        polar_factor(jnp.eye(2), method="qr")
    with pytest.raises(InputError, match="steps"):
        polar_factor(jnp.eye(2), method="newton_schulz", steps=0)
