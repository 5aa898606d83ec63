"""Gaussian expectations against quadrature and at their degenerate corners; exact linear decay."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import norm

from gramdyn.kernels import arc_cosine, limit_conj_grams, linear_residual, repeat_outputs

SLOPES = (0.0, 0.3, 1.0, -0.5, 2.0)


def _moments_by_quadrature(q: float, c: float, p: float, slope: float) -> tuple[float, float]:
    """E phi(u) phi(v) and E phi'(u) phi'(v), Var u = q, Cov = c, Var v = p.

    The mean over v at fixed u in closed form, then Gauss-Legendre over u on each side of the kink.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    found = np.zeros(2)
    for side in (1.0, -1.0):
        u = side * 6.0 * np.sqrt(q) * (nodes + 1.0)  # to 12 standard deviations
        density = 6.0 * np.sqrt(q) * weights * norm.pdf(u, scale=np.sqrt(q))
        mean, std = c / q * u, np.sqrt(p - c**2 / q)
        positive = norm.cdf(mean / std)
        rectified = mean * positive + std * norm.pdf(mean / std)
        phi, mask = (u, np.ones_like(u)) if side > 0 else (slope * u, np.full_like(u, slope))
        found[0] += np.sum(density * phi * (slope * mean + (1 - slope) * rectified))
        found[1] += np.sum(density * mask * (slope + (1 - slope) * positive))
    return found[0], found[1]


@pytest.mark.parametrize("slope", SLOPES)
def test_moments_by_quadrature(slope: float) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 7)) * np.array([[0.3], [1.0], [2.0], [1], [5]])
    cov = rows @ rows.T
    act, mask = arc_cosine(jnp.asarray(cov), slope)
    for i in range(5):
        for j in range(5):
            if i == j:
                continue
            wanted = _moments_by_quadrature(cov[i, i], cov[i, j], cov[j, j], slope)
            # quadrature of smooth functions: rounding of 400 terms
            np.testing.assert_allclose(
                (act[i, j], mask[i, j]), wanted, rtol=1e-11, atol=1e-12 * cov[i, i] ** 0.5
            )


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_diagonal_is_exact(slope: float, dtype: type) -> None:
    """To the last bit, even where the product of two variances underflows."""
    sizes = 10.0 ** np.linspace(-16 if dtype == np.float32 else -100, 3, 200)
    rows = np.random.default_rng(1).normal(size=(200, 3)) * sizes[:, None]
    cov = (rows @ rows.T).astype(dtype)
    act, mask = arc_cosine(jnp.asarray(cov), slope)
    assert act.dtype == mask.dtype == dtype
    assert np.all(np.isfinite(act))
    assert np.all(np.isfinite(mask))
    half = dtype((1 + slope**2) / 2)
    np.testing.assert_array_equal(np.diagonal(mask), half)
    np.testing.assert_array_equal(np.diagonal(act), half * np.diagonal(cov))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_parallel_and_antiparallel_rows(dtype: type) -> None:
    """All on one line: rounding takes some cosines beyond 1."""
    line = np.random.default_rng(7).normal(size=300).astype(dtype)
    cov = np.outer(line, line)
    act, mask = arc_cosine(jnp.asarray(cov))
    same = np.sign(cov) > 0
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(act, np.where(same, cov / 2, 0), rtol=0, atol=20 * eps)
    np.testing.assert_allclose(mask, np.where(same, 0.5, 0), rtol=0, atol=np.sqrt(eps))
    assert np.any(cov > np.sqrt(np.outer(line**2, line**2)))


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_are_parallel_antiparallel_nearly_the_same_or_zero(
    slope: float, dtype: type
) -> None:
    row = np.random.default_rng(2).normal(size=6)
    near = row + 1e-9 * np.random.default_rng(3).normal(size=6)
    rows = np.stack([row, 3 * row, -0.7 * row, near, 0 * row])
    cov = (rows @ rows.T).astype(dtype)
    act, mask = (np.asarray(found, np.float64) for found in arc_cosine(jnp.asarray(cov), slope))
    eps, size = np.finfo(dtype).eps, (1 - slope) ** 2
    half, q = (1 + slope**2) / 2, float(cov[0, 0])
    # an angle of 0 or pi is known to the root of the precision, the activations to its 3/2
    loose, tight = 2 * np.sqrt(eps) * size + 4 * eps, 40 * eps * q * (1 + slope**2)
    np.testing.assert_allclose(mask[0, [1, 3]], half, rtol=0, atol=loose)
    np.testing.assert_allclose(act[0, [1, 3]], half * cov[0, [1, 3]], rtol=0, atol=3 * tight)
    np.testing.assert_allclose(mask[0, 2], slope, rtol=0, atol=loose)
    np.testing.assert_allclose(act[0, 2], -0.7 * slope * q, rtol=0, atol=tight)
    # a constant 0: its mask is the slope, so the means multiply
    np.testing.assert_array_equal(act[4], 0.0)
    np.testing.assert_allclose(mask[4, :4], slope * (1 + slope) / 2, rtol=4 * eps)
    np.testing.assert_allclose(mask[4, 4], slope**2, rtol=4 * eps)


@pytest.mark.parametrize("slope", SLOPES)
def test_moments_are_positive_semidefinite(slope: float) -> None:
    rows = np.random.default_rng(4).normal(size=(30, 4))
    rows[10:20] = rows[:10] * 2  # ten parallel pairs
    for found in arc_cosine(jnp.asarray(rows @ rows.T), slope):
        values = np.linalg.eigvalsh(found)
        assert values[0] > -1e-7 * values[-1]  # angles of the pairs are known to 1e-8


def test_conjugate_grams_by_hand() -> None:
    masks = [np.random.default_rng(i).uniform(size=(3, 3)) for i in range(2)]
    found = limit_conj_grams([jnp.asarray(mask) for mask in masks], [2.0, 5.0])
    wanted = [10.0 * masks[0] * masks[1], 5.0 * masks[1], np.ones((3, 3))]
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


def test_outputs_repeat_as_a_kronecker_product() -> None:
    kernel = np.random.default_rng(5).normal(size=(3, 3))
    found = repeat_outputs(jnp.asarray(kernel), 2)
    np.testing.assert_array_equal(found.reshape(6, 6), np.kron(kernel, np.eye(2)))


def test_linear_residual_is_the_matrix_exponential() -> None:
    rng = np.random.default_rng(6)
    root, residual = rng.normal(size=(5, 4)), rng.normal(size=5)  # one mode never decays
    times = np.array([0.0, 0.3, 2.0])
    kernel = root @ root.T
    found = linear_residual(jnp.asarray(kernel), jnp.asarray(residual), jnp.asarray(times))
    wanted = [expm(-kernel * t) @ residual for t in times]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)
