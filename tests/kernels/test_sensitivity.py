"""Spectra of chains against spectra known by construction, and first-order laws by differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn.kernels import (
    condition_bound,
    log_condition,
    log_singular_values,
    log_singular_values_by_qr,
    relative_spectral_sensitivity,
    squared_norm,
    top_singular_value,
)


def orthogonals(count, n, seed=0):
    rng = np.random.default_rng(seed)
    return [np.linalg.qr(rng.normal(size=(n, n)))[0] for _ in range(count)]


def chain(logs):
    """Factors U_l diag(e^{logs_l}) U_{l-1}^T, whose product has the summed logs."""
    turns = orthogonals(len(logs) + 1, len(logs[0]))
    steps = zip(turns[1:], logs, turns[:-1], strict=True)
    return jnp.asarray([left @ np.diag(np.exp(own)) @ right.T for left, own, right in steps])


@pytest.mark.parametrize("slope", [0.01, 0.1, 0.5, 2.0, 8.0])
def test_any_condition_is_found(slope):
    n, length = 5, 40
    logs = np.tile(slope * np.linspace(0.3, -1.0, n), (length, 1))
    factors, wanted = chain(logs), logs.sum(axis=0)
    found = jax.jit(log_singular_values)(factors)
    # By SVD the last of 13 digits of the smallest; by QR the basis turns to the singular vectors,
    # which here it has from the first step up to rotations within one factor: log 5 or so.
    if wanted[0] - wanted[-1] < 13 * np.log(10):
        np.testing.assert_allclose(found, wanted, atol=1e-2)
    else:
        np.testing.assert_allclose(found, wanted, atol=8.0)
        assert wanted[0] - wanted[-1] < 1.3 * (found[0] - found[-1])
    condition = (wanted[0] - wanted[-1]) / np.log(10)
    assert abs(float(log_condition(factors)) / condition - 1) < 0.25 or condition > 13


def test_neither_overflows_nor_underflows():
    for log in (-30.0, 30.0):
        factors = chain(np.full((50, 4), log))
        np.testing.assert_allclose(log_singular_values(factors), 50 * log, rtol=1e-12)
        np.testing.assert_allclose(log_singular_values_by_qr(factors), 50 * log, rtol=1e-12)


def test_singular_chains_have_an_infinite_condition():
    factors = chain(np.zeros((4, 3)))
    assert float(log_condition(factors)) < 1e-14
    dead = factors.at[2, 1].set(0.0)  # a row of zeros, as ReLU makes
    assert np.isposinf(log_condition(dead))
    # Its other singular values are 1 still, whatever column of whatever factor is 0.
    for broken in (dead, factors.at[0, :, 0].set(0.0)):
        np.testing.assert_allclose(log_singular_values(broken)[:2], [0.0, np.log(0.5)], atol=0.7)
        np.testing.assert_allclose(log_singular_values(broken)[0], 0.0, atol=1e-12)


def test_both_ways_agree_where_both_serve():
    rng = np.random.default_rng(1)
    factors = jnp.asarray(rng.normal(size=(12, 6, 6)) / 6**0.5)
    by_qr = log_singular_values_by_qr(factors)
    exact = np.log(np.linalg.svd(np.linalg.multi_dot(list(factors)[::-1]), compute_uv=False))
    np.testing.assert_allclose(log_singular_values(factors), exact, rtol=1e-8)
    # The determinant to what an SVD of this condition keeps of the least value; single values to
    # what a basis has not yet turned.
    np.testing.assert_allclose(np.sum(by_qr), np.sum(exact), rtol=1e-9)
    np.testing.assert_allclose(by_qr, exact, atol=3.0)


def test_lyapunov_exponents_of_free_matrices():
    from scipy.special import digamma

    n, length = 8, 4000
    rng = np.random.default_rng(2)
    factors = jnp.asarray(rng.normal(size=(length, n, n)) / n**0.5)
    found = np.asarray(log_singular_values_by_qr(factors)) / length
    wanted = (np.log(2 / n) + digamma((n - np.arange(n)) / 2)) / 2
    # Each log of R has a standard deviation below 1.2: four standard errors of their mean.
    np.testing.assert_allclose(found, wanted, atol=4 * 1.2 / length**0.5)


def test_sensitivity_is_the_derivative_of_the_singular_values():
    rng = np.random.default_rng(3)
    factors = jnp.asarray(rng.normal(size=(4, 5, 5)) / 5**0.5)
    found = relative_spectral_sensitivity(factors)

    def values(factors):
        return jnp.linalg.svd(factors[3] @ factors[2] @ factors[1] @ factors[0], compute_uv=False)

    slopes = jax.jacrev(values)(factors)  # (5, 4, 5, 5)
    wanted = jnp.linalg.norm(slopes.reshape(5, 4, -1), axis=2).T / values(factors)[None]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    np.testing.assert_allclose(relative_spectral_sensitivity(chain(np.zeros((6, 4)))), 1.0)
    assert np.all(np.isnan(relative_spectral_sensitivity(chain([[0.0, -40.0]] * 3))))


def test_products_alone_give_the_largest_and_the_norm():
    rng = np.random.default_rng(4)
    matrix = jnp.asarray(rng.normal(size=(60, 50)))
    found = top_singular_value(lambda v: matrix @ v, lambda u: matrix.T @ u, 50, matrix.dtype)
    np.testing.assert_allclose(found, np.linalg.norm(matrix, 2), rtol=1e-8)
    probes = jnp.asarray(rng.normal(size=(4000, 50)))
    estimate = squared_norm(lambda v: matrix @ v, probes)
    # Its variance is 2 |J^T J|_F^2 a probe.
    off = 4 * np.sqrt(2 * np.sum((matrix.T @ matrix) ** 2) / 4000)
    assert abs(float(estimate) - float(jnp.sum(matrix**2))) < off


def test_condition_bound_holds():
    rng = np.random.default_rng(5)
    for turn in orthogonals(20, 6, seed=6):
        extra = rng.normal(size=(6, 6))
        extra *= 0.3 / np.linalg.norm(extra, 2)
        assert np.linalg.cond(turn + extra) <= float(condition_bound(1.0, 1.0, 0.3))
    assert abs(float(condition_bound(1.0, 1.0, 0.3)) - 1.3 / 0.7) < 1e-15
    assert np.isposinf(condition_bound(1.0, 0.5, 0.5))
