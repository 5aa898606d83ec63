"""Spectra of chains against spectra known by construction, and first-order laws by differences."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn import InputError
from gramdyn.experiments import depth_laws
from gramdyn.kernels import (
    chain_condition_bound,
    chain_rank,
    condition_bound,
    log_condition,
    log_singular_values,
    log_singular_values_by_qr,
    random_product_norm,
    relative_spectral_sensitivity,
    square_chain,
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
    # By SVD to its last digits of the smallest of 13; by QR to rounding, once the basis has turned.
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-12)
    condition = (wanted[0] - wanted[-1]) / np.log(10)
    np.testing.assert_allclose(log_condition(factors), condition, atol=1e-5, rtol=1e-12)


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
        np.testing.assert_allclose(log_singular_values(broken)[:2], 0.0, atol=1e-12)


def test_dead_units_leave_the_other_values_and_their_condition():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(4, 8, 8)) / 8**0.5
    factors[0, 3] = 0.0
    exact = np.linalg.svd(np.linalg.multi_dot(list(factors)[::-1]), compute_uv=False)
    found = log_singular_values(jnp.asarray(factors))
    np.testing.assert_allclose(found[:7], np.log(exact[:7]), rtol=1e-10)
    assert int(chain_rank(jnp.asarray(factors))) == 7
    # One value far below the rest, between generic factors.
    factors[0] = np.diag([1.0] * 7 + [1e-20]) @ orthogonals(1, 8)[0]
    found = log_singular_values(jnp.asarray(factors))
    exact = np.linalg.svd(np.linalg.multi_dot(list(factors)[::-1]), compute_uv=False)
    np.testing.assert_allclose(found[:7], np.log(exact[:7]), rtol=1e-10)
    whole = sum(np.linalg.slogdet(one)[1] for one in factors)
    np.testing.assert_allclose(np.sum(found), whole, rtol=1e-9)


def test_rank_is_that_of_the_product_however_badly_conditioned():
    apart = jnp.asarray([np.diag([1.0, 1.0, 0.0]), np.diag([0.0, 1.0, 1.0])])
    assert int(chain_rank(apart)) == 1
    assert int(chain_rank(0.0 * apart)) == 0
    steep = chain(np.tile(2.0 * np.linspace(0.3, -1.0, 5), (40, 1)))  # condition 1e45
    assert int(chain_rank(steep)) == 5
    assert int(chain_rank(steep.at[20, 3].set(0.0))) == 4


def test_sensitivity_scales_inversely_however_far():
    unit = jnp.asarray(orthogonals(150, 6), jnp.float32)
    for scale in (0.5, 2.0):  # 2^150 is beyond single precision; logarithms of 100 keep 3 digits
        found = relative_spectral_sensitivity(scale * unit)
        np.testing.assert_allclose(found, 1 / scale, rtol=1e-3)
    rng = np.random.default_rng(3)
    factors = jnp.asarray(rng.normal(size=(3, 5, 5)))
    wanted = relative_spectral_sensitivity(factors)
    found = 1e120 * relative_spectral_sensitivity(1e120 * factors)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_both_ways_agree_where_both_serve():
    rng = np.random.default_rng(1)
    factors = jnp.asarray(rng.normal(size=(12, 6, 6)) / 6**0.5)
    by_qr = log_singular_values_by_qr(factors)
    exact = np.log(np.linalg.svd(np.linalg.multi_dot(list(factors)[::-1]), compute_uv=False))
    np.testing.assert_allclose(log_singular_values(factors), exact, rtol=1e-8)
    # The determinant to what an SVD of this condition keeps of the least value; single values to
    # what two sweeps leave unturned between neighbours (0.056 found).
    np.testing.assert_allclose(np.sum(by_qr), np.sum(exact), rtol=1e-9)
    np.testing.assert_allclose(by_qr, exact, atol=0.1)


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


@pytest.mark.parametrize("widths", [(7, 5, 3, 6), (3, 5, 6), (6, 4, 3), (4, 4), (5, 3, 8, 3, 4)])
def test_chains_of_unlike_widths_have_a_square_one(widths):
    rng = np.random.default_rng(7)
    factors = [rng.normal(size=(n, m)) for m, n in pairwise(widths)]
    squares = square_chain([jnp.asarray(one) for one in factors])
    assert squares.shape == (len(factors), min(widths), min(widths))
    product = np.linalg.multi_dot([*factors[::-1], np.eye(widths[0])])
    wanted = np.log(np.linalg.svd(product, compute_uv=False)[: min(widths)])
    # Of conditions below 1e4, rounding leaves twelve digits.
    np.testing.assert_allclose(log_singular_values(squares), wanted, atol=1e-11)


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="fit one another"):
        square_chain([jnp.ones((3, 2)), jnp.ones((2, 4))])
    with pytest.raises(InputError, match="a matrix at least"):
        square_chain([])


def test_condition_of_a_chain_is_within_the_product_of_bounds():
    rng, length, n, c = np.random.default_rng(8), 16, 6, 0.5
    extra = rng.normal(size=(length, n, n))
    extra *= (c / length) / np.linalg.norm(extra, 2, axis=(1, 2))[:, None, None]
    factors = jnp.asarray(np.stack(orthogonals(length, n, seed=9)) + extra)
    ones = jnp.ones(length)
    bound = float(chain_condition_bound(ones, ones, ones * c / length))
    assert 1.0 < 10 ** float(log_condition(factors)) <= bound
    # Reached where the same directions gain and lose in every layer; e^(2 c) from above.
    worst = jnp.tile(jnp.diag(1 + jnp.array([c, -c]) / length), (length, 1, 1))
    np.testing.assert_allclose(10 ** float(log_condition(worst)), bound, rtol=1e-12)
    # The next term of the logarithm is 2 c^3 / (3 L^2).
    off = np.log(bound) - 2 * c
    np.testing.assert_allclose(off, 2 * c**3 / (3 * length**2), rtol=1e-3)
    assert np.isposinf(chain_condition_bound(ones, ones, ones))


def test_norm_of_products_of_free_matrices():
    assert abs(random_product_norm(1) - 2.0) < 1e-15  # one matrix: the edge of its quarter circle
    rng, short = np.random.default_rng(10), []
    for n, draws in ((8, 400), (64, 40)):
        pairs = jnp.asarray(rng.normal(size=(draws, 2, n, n)) / n**0.5)
        tops = jax.vmap(lambda one: jnp.linalg.norm(one[1] @ one[0], 2))(pairs)
        short.append(random_product_norm(2) - float(jnp.mean(tops)))
    # What is short falls as N^(-2/3), here to a quarter: .57 and .10 with errors of .02.
    assert 0.45 < short[0] < 0.7
    assert 0.03 < short[1] < 0.18


def test_signals_of_free_linear_chains_by_depth():
    n, length, draws = 8, 6, 4000
    rng = np.random.default_rng(11)
    act = np.tile(np.eye(n)[0], (draws, 1))
    for _ in range(length):
        act = np.einsum("dij,dj->di", rng.normal(size=(draws, n, n)) / n**0.5, act)
    logs = np.log(np.sum(act**2, axis=1))
    mean, variance = length * depth_laws.square_drift(n), length * depth_laws.square_variance(n)
    # Four standard errors; the fourth moment of one layer's logarithm is below 4 squares.
    assert abs(logs.mean() - mean) < 4 * (variance / draws) ** 0.5
    assert abs(logs.var() - variance) < 4 * variance * (3 / draws) ** 0.5
    assert 4 * (variance / draws) ** 0.5 < 0.2 * abs(mean)  # else 0 would pass as well


def test_condition_of_free_chains_by_depth():
    assert abs(depth_laws.condition_growth(32) - 1.0216) < 5e-5
    n, draws = 8, 200
    factors = jnp.asarray(np.random.default_rng(12).normal(size=(draws, 96, n, n)) / n**0.5)
    ends = [jax.vmap(log_condition)(factors[:, :length]) for length in (32, 96)]
    slopes = (ends[1] - ends[0]) / 64
    # Four standard errors, of 0.7 % each.
    off = 4 * float(jnp.std(slopes)) / draws**0.5
    assert off < 0.03 * depth_laws.condition_growth(n)
    assert abs(float(jnp.mean(slopes)) - depth_laws.condition_growth(n)) < off


def test_random_circulants_by_depth():
    n, draws = 16, 3000
    columns = np.random.default_rng(13).normal(size=(draws, n)) / n**0.5
    logs = np.log(np.abs(np.fft.rfft(columns)[:, 1:-1])).ravel()  # bins whose entries are complex
    mean, variance = depth_laws.circulant_drift(), depth_laws.circulant_variance()
    # Four standard errors; the fourth moment of ln of an exponential variable is 5.4 squares.
    assert abs(logs.mean() - mean) < 4 * (variance / logs.size) ** 0.5
    assert abs(logs.var() - variance) < 4 * variance * (4.4 / logs.size) ** 0.5
