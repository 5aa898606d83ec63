"""Bounds on the distance to a fixed point, against measured distances and against equality."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.loops import FAMILIES, SIZE, loop_matrix, spectral_radius

from gramdyn import InputError
from gramdyn.kernels.contraction import (
    adjoint_bound,
    contraction_factor,
    perron_bound,
    posterior_bound,
    prior_bound,
    response_bound,
)
from gramdyn.kernels.fixed_points import (
    distances,
    implicit_adjoint,
    iterate,
    iterate_adjoint,
    local_rates,
    solve_fixed_point,
)

STEPS = jnp.arange(60)


def corrected(seed=0):
    """T(z) = tanh(S z + b) + alpha U tanh(V^T z) with its factor q = 0.6 + 0.3 * 0.8."""
    rng = np.random.default_rng(seed)
    matrix, left, right = rng.standard_normal((3, 10, 10))
    matrix *= 0.6 / np.linalg.norm(matrix, 2)
    left, right = left[:, :3], right[:, :3]
    left *= 0.8 / (np.linalg.norm(left, 2) * np.linalg.norm(right, 2))
    matrix, left, right, bias = map(jnp.asarray, (matrix, left, right, rng.standard_normal(10)))
    factor = contraction_factor(1.0, 0.6, -0.3, 0.8)
    np.testing.assert_allclose(factor, 0.84, rtol=1e-14)
    inside = lambda z: jnp.tanh(matrix @ z + bias)  # noqa: E731
    return lambda z: inside(z) - 0.3 * (left @ jnp.tanh(right.T @ z)), factor


def history_of(step, size):
    history = iterate(step, jnp.zeros(size), len(STEPS))
    point = solve_fixed_point(step, history[-1], tol=1e-14).point
    return history, point, np.linalg.norm(np.diff(history, axis=0), axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_bounds_hold_on_the_way(seed):
    step, factor = corrected(seed)
    history, point, moves = history_of(step, 10)
    errors = distances(history, point)
    room = 1e-13  # rounding of the point
    assert jnp.all(errors[:-1] <= prior_bound(factor, moves[0], STEPS) + room)
    assert jnp.all(errors[1:] <= posterior_bound(factor, jnp.asarray(moves)) + room)
    rates = local_rates(step, point)
    assert rates.radius <= rates.norm <= factor


def test_bounds_are_reached_by_a_map_that_shrinks_evenly():
    """T(z) = q z + b: errors are q^k |b| / (1 - q), moves q^k |b|."""
    step = lambda z: 0.7 * z + 1.0  # noqa: E731
    history, _, moves = history_of(step, 4)
    errors = distances(history, jnp.full(4, 1.0 / 0.3))
    np.testing.assert_allclose(prior_bound(0.7, moves[0], STEPS), errors[:-1], rtol=1e-6)
    np.testing.assert_allclose(
        posterior_bound(0.7, jnp.asarray(moves[:20])), errors[1:21], rtol=1e-10
    )
    # by a shift of b
    np.testing.assert_allclose(response_bound(0.7, 2.0), 2.0 / 0.3, rtol=1e-14)


def test_no_bound_without_a_contraction():
    for factor in (1.0, 1.3):
        assert prior_bound(factor, 1.0, 3) == jnp.inf
        assert posterior_bound(factor, jnp.ones(2))[0] == jnp.inf
        assert response_bound(factor, 1.0) == jnp.inf


def test_a_correction_inside_the_activation_is_flattened_with_it():
    np.testing.assert_allclose(contraction_factor(0.25, 2.0, 0.5, 3.0), 0.5 + 1.5)
    np.testing.assert_allclose(contraction_factor(0.25, 2.0, 0.5, 3.0, inside=True), 0.25 * 3.5)


def test_bound_of_the_adjoint_holds_and_is_reached():
    step, factor = corrected()
    point = solve_fixed_point(step, jnp.zeros(10), tol=1e-14).point
    row = jnp.asarray(np.random.default_rng(3).standard_normal((1, 10)))
    exact = implicit_adjoint(step, point, row)
    for count in (1, 5, 20):
        found = iterate_adjoint(step, point, row, max_steps=count).point
        error = jnp.linalg.norm(found - exact)
        assert error <= adjoint_bound(factor, jnp.linalg.norm(row), count)
        plain = iterate_adjoint(lambda z: 0.7 * z, point, row, max_steps=count).point
        bound = adjoint_bound(0.7, jnp.linalg.norm(row), count)
        np.testing.assert_allclose(jnp.linalg.norm(plain - row / 0.3), bound, rtol=1e-10)


def test_an_input_moves_the_point_by_no_more_than_its_bound():
    step, factor = corrected()
    shift = 1e-3 * jnp.asarray(np.random.default_rng(4).standard_normal(10))
    ends = [
        solve_fixed_point(lambda z: step(z) + sign * shift, jnp.zeros(10), tol=1e-13).point  # noqa: B023
        for sign in (0.0, 1.0)
    ]
    moved = jnp.linalg.norm(ends[1] - ends[0]) / jnp.linalg.norm(shift)
    assert 0.5 < moved < response_bound(factor, 1.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_perron_value_is_that_of_numpy(family):
    matrix = loop_matrix(family, 0, 0.9)
    wanted = spectral_radius(np.abs(matrix))
    np.testing.assert_allclose(perron_bound(matrix), wanted, rtol=1e-12)
    falling = [float(perron_bound(matrix, steps=count)) for count in (1, 3, 10)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] > wanted * (1 - 1e-13)
    single = perron_bound(matrix.astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("matrix", "wanted"),
    [
        (np.roll(np.eye(5), 1, axis=0) * 0.7, 0.7),  # five eigenvalues of one size
        (np.diag([0.1, -0.9, 0.5]), 0.9),  # parts that do not see each other
        (np.zeros((3, 3)), 0.0),
        (np.triu(np.ones((4, 4)), 1), 0.0),  # all eigenvalues 0, no eigenvectors
    ],
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_perron_value_of_matrices_with_zeros(matrix, wanted, dtype):
    found = perron_bound(jnp.asarray(matrix, dtype), steps=400)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_perron_certificate_where_the_norm_certifies_nothing():
    """|S|_2 > 5 with a largest eigenvalue of |S| of 0.5: one point, from every start."""
    rng = np.random.default_rng(0)
    scale = np.exp(2.0 * rng.standard_normal(SIZE))
    matrix = scale[:, None] * np.asarray(loop_matrix("dense", 0, 1.0)) / scale
    matrix = jnp.asarray(matrix * 0.5 / spectral_radius(np.abs(matrix)))
    assert jnp.linalg.norm(matrix, 2) > 5.0
    assert perron_bound(matrix) < 0.5 + 1e-12
    bias, starts = jnp.asarray(rng.standard_normal(SIZE)), jnp.asarray(rng.normal(0, 30, (8, SIZE)))
    found = jax.vmap(
        lambda s: solve_fixed_point(lambda z: jax.nn.relu(matrix @ z + bias), s, tol=1e-10)
    )(starts)
    assert jnp.all(found.converged)
    # from distances of 1e4 by 1/2 a step at least
    assert int(jnp.max(found.iterations)) < np.log2(1e4 / 1e-10)
    np.testing.assert_allclose(found.point, jnp.tile(found.point[:1], (8, 1)), atol=1e-8)


def test_refusals():
    with pytest.raises(InputError, match="steps"):
        perron_bound(jnp.eye(2), steps=0)
