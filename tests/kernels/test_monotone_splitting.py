"""Splittings of monotone layers against the active set, their bounds, and central differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn.kernels.fixed_points import (
    distances,
    implicit_adjoint,
    iterate,
    iterate_adjoint,
    local_rates,
    solve_fixed_point,
)
from gramdyn.kernels.splitting import (
    forward_backward,
    monotone_margin,
    peaceman_rachford,
    splitting_inverse,
    splitting_rates,
)

SIZE = 64


def monotone(seed=0, margin=0.5, scale=1.0):
    """S = (1 - m) 1 - A^T A + B - B^T and a bias."""
    rng = np.random.default_rng(seed)
    half, turn = scale * rng.standard_normal((2, SIZE, SIZE)) / SIZE**0.5
    matrix = (1.0 - margin) * np.eye(SIZE) - half.T @ half + turn - turn.T
    return jnp.asarray(matrix), jnp.asarray(rng.standard_normal(SIZE))


def forward(matrix, bias, tol=1e-9):
    size = splitting_rates(matrix).size
    step = lambda z: forward_backward(z, matrix, bias, size)  # noqa: E731
    return solve_fixed_point(step, 0.0 * bias, tol=tol, max_steps=20000)


def reflected(matrix, bias, tol=1e-9):
    inverse = splitting_inverse(matrix)
    step = lambda u: peaceman_rachford(u, inverse, bias)  # noqa: E731
    return solve_fixed_point(step, 0.0 * bias, tol=tol)


def exact(matrix, bias):
    """The point of the active set that Peaceman-Rachford finds, by a linear solve."""
    on = np.asarray(reflected(matrix, bias).point) > 0
    point = np.zeros(SIZE)
    inner = np.eye(on.sum()) - np.asarray(matrix)[np.ix_(on, on)]
    point[on] = np.linalg.solve(inner, np.asarray(bias)[on])
    pre = np.asarray(matrix) @ point + np.asarray(bias)
    assert np.all(point[on] > 0)
    assert np.all(pre[~on] < 0)
    return jnp.asarray(point)


@pytest.mark.parametrize("seed", range(3))
def test_both_find_the_one_point_where_plain_iteration_diverges(seed):
    matrix, bias = monotone(seed)
    wanted = exact(matrix, bias)
    by_steps, by_inverse = forward(matrix, bias, 1e-11), reflected(matrix, bias, 1e-11)
    assert by_steps.converged
    assert by_inverse.converged
    np.testing.assert_allclose(by_steps.point, wanted, atol=1e-9)  # 1e-11 over 1 - 0.98
    np.testing.assert_allclose(jax.nn.relu(by_inverse.point), wanted, atol=1e-10)
    np.testing.assert_allclose(by_inverse.point, matrix @ wanted + bias, atol=1e-10)
    plain = solve_fixed_point(lambda z: jax.nn.relu(matrix @ z + bias), wanted + 1e-3)
    assert not plain.converged
    assert plain.residual > 1e6
    assert local_rates(lambda z: matrix @ z, wanted).radius > 2.0


def test_counts_to_nine_digits():
    """Tens of steps with the inverse, hundreds to thousands without."""
    for scale, least in ((1.0, 600), (1.4, 1500)):
        matrix, bias = monotone(scale=scale)
        assert least < forward(matrix, bias).iterations < 8000
        assert 20 < reflected(matrix, bias).iterations < 90


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.0])
def test_errors_fall_by_the_bounds_in_every_step(margin):
    matrix, bias = monotone(1, margin)
    rates, point = splitting_rates(matrix), exact(matrix, bias)
    np.testing.assert_allclose(rates.margin, margin, atol=0.01)  # A^T A has eigenvalues near 0
    start = jnp.asarray(np.random.default_rng(2).standard_normal(SIZE))
    inverse = splitting_inverse(matrix)
    paths = (
        (iterate(lambda z: forward_backward(z, matrix, bias, rates.size), start, 100), point),
        (iterate(lambda u: peaceman_rachford(u, inverse, bias), start, 30), matrix @ point + bias),
    )
    for (history, end), bound in zip(
        paths, (rates.forward_backward, rates.peaceman_rachford), strict=True
    ):
        errors = distances(history, end)
        assert jnp.max(errors[1:] / errors[:-1]) < bound < 1.0


def test_bounds_are_reached():
    """S = (1 - m) 1 on points all above 0: both contract evenly, PR where 1 - S is orthogonal."""
    rates = splitting_rates(0.5 * jnp.eye(4))
    np.testing.assert_allclose([rates.size, rates.forward_backward], [2.0, 0.0], atol=1e-7)
    # 1 - S = cos + sin of a quarter turn: |1 - a (1 - S)|^2 = sin^2 at a = cos
    turn = jnp.asarray([[0.8, -0.6], [0.6, 0.8]])
    rates = splitting_rates(jnp.eye(2) - turn)
    np.testing.assert_allclose([rates.margin, rates.norm], [0.8, 1.0], rtol=1e-14)
    np.testing.assert_allclose(rates.forward_backward, 0.6, rtol=1e-14)
    step = local_rates(
        lambda z: forward_backward(z, jnp.eye(2) - turn, jnp.ones(2), rates.size), jnp.ones(2)
    )
    np.testing.assert_allclose(step.norm, 0.6, rtol=1e-14)
    inverse = splitting_inverse(jnp.eye(2) - turn)
    step = local_rates(lambda u: peaceman_rachford(u, inverse, jnp.ones(2)), jnp.ones(2))
    np.testing.assert_allclose(step.norm, rates.peaceman_rachford, rtol=1e-12)


def test_margin_is_the_least_quadratic_form():
    matrix, _ = monotone()
    rng = np.random.default_rng(0)
    probes = rng.standard_normal((200, SIZE))
    forms = np.sum(probes * (probes @ (np.eye(SIZE) - matrix).T), axis=1) / np.sum(probes**2, 1)
    assert np.min(forms) > monotone_margin(matrix)
    worst = jnp.linalg.eigh(matrix + matrix.T)[1][:, -1]
    np.testing.assert_allclose(
        worst @ (worst - matrix @ worst), monotone_margin(matrix), atol=1e-13
    )
    assert monotone_margin(1.2 * jnp.eye(3)) < 0
    assert jnp.isnan(splitting_rates(1.2 * jnp.eye(3)).forward_backward)
    assert jnp.isnan(splitting_rates(1.2 * jnp.eye(3)).size)


def test_adjoint_by_iteration_where_only_the_splitting_contracts():
    matrix, bias = monotone()
    point, size = exact(matrix, bias), splitting_rates(matrix).size
    row = jnp.asarray(np.random.default_rng(3).standard_normal((1, SIZE)))
    plain = lambda b: lambda z: jax.nn.relu(matrix @ z + b)  # noqa: E731
    split = lambda b: lambda z: forward_backward(z, matrix, b, size)  # noqa: E731
    wanted = jax.vjp(lambda b: plain(b)(point), bias)[1](
        implicit_adjoint(plain(bias), point, row)[0]
    )
    lost = iterate_adjoint(plain(bias), point, row)
    found = iterate_adjoint(split(bias), point, row, max_steps=20000)
    assert not lost.converged[0]
    assert found.converged[0]
    by_bias = jax.vjp(lambda b: split(b)(point), bias)[1](found.point[0])[0]
    np.testing.assert_allclose(by_bias, wanted[0], atol=1e-9)
    # the solver's own derivative, and central differences: linear between kinks
    value = lambda b: row[0] @ jax.nn.relu(reflected(matrix, b, 1e-13).point)  # noqa: E731
    np.testing.assert_allclose(jax.grad(value)(bias), wanted[0], atol=1e-10)
    move = jnp.zeros(SIZE).at[5].set(1e-5)
    slope = (value(bias + move) - value(bias - move)) / 2e-5
    np.testing.assert_allclose(by_bias[5], slope, atol=1e-8)
