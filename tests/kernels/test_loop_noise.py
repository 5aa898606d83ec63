"""Noise in a loop against SciPy's Lyapunov solver, closed forms and a simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax import lax
from support.loops import FAMILIES, loop_matrix

from gramdyn import InputError
from gramdyn.kernels.loop_noise import noise_gain, stationary_covariance, transient_growth


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("radius", [0.3, 0.9, 0.999])
def test_covariance_is_that_of_scipy(family, radius):
    jacobian = loop_matrix(family, 0, radius)
    found = stationary_covariance(jacobian, 0.3)
    wanted = scipy.linalg.solve_discrete_lyapunov(np.asarray(jacobian), 0.09 * np.eye(64))
    # either loses 1 / (1 - radius^2), and what a matrix far from normal adds
    np.testing.assert_allclose(found, wanted, atol=1e-10 * jnp.max(jnp.abs(found)))
    left = jacobian @ found @ jacobian.T + 0.09 * jnp.eye(64)
    np.testing.assert_allclose(found, left, atol=1e-12 * jnp.max(jnp.abs(found)))


def test_gain_of_normal_loops_is_a_mean_over_eigenvalues():
    for family in ("orthogonal", "symmetric", "circulant"):
        jacobian = loop_matrix(family, 1, 0.9)
        sizes = np.abs(np.linalg.eigvals(np.asarray(jacobian)))
        found = noise_gain(jacobian)
        np.testing.assert_allclose(found, np.mean(1.0 / (1.0 - sizes**2)), rtol=1e-10)
    np.testing.assert_allclose(
        noise_gain(loop_matrix("orthogonal", 0, 0.9)), 1.0 / 0.19, rtol=1e-12
    )


def test_of_normal_loops_at_one_radius_and_of_free_ones_in_the_mean_orthogonal_are_the_noisiest():
    """Means over 16 draws; the spread over draws of dense ones is a fifth, of normal ones 7 %."""
    gain, growth = {}, {}
    for family in ("dense", "orthogonal", "symmetric", "circulant"):
        draws = jnp.stack([loop_matrix(family, seed, 0.9) for seed in range(16)])
        gain[family] = jnp.mean(jax.vmap(noise_gain)(draws))
        growth[family] = jnp.mean(jax.vmap(lambda s: transient_growth(s, 40))(draws))
    assert 3.0 < gain["dense"] < 4.5
    assert 1.3 < gain["circulant"] < 1.6
    # semicircle of radius 0.9: 2 (1 - sqrt(1 - 0.81)) / 0.81 = 1.39, and more for its edge
    assert 1.39 < gain["symmetric"] < 1.6
    assert max(gain, key=gain.get) == "orthogonal"
    for family in ("orthogonal", "symmetric", "circulant"):
        np.testing.assert_allclose(growth[family], 1.0, rtol=1e-12)
    assert 1.5 < growth["dense"] < 2.2


def test_covariance_of_a_simulation():
    jacobian = loop_matrix("dense", 2, 0.9, size=6)
    keys = jax.random.split(jax.random.key(0), 200)
    start = jnp.zeros((20000, 6))

    def step(now, key):
        return now @ jacobian.T + 0.5 * jax.random.normal(key, now.shape), None

    drawn = jax.jit(lambda: lax.scan(step, start, keys)[0])()
    found = jnp.sum(drawn**2, axis=1)
    wanted = jnp.trace(stationary_covariance(jacobian, 0.5))
    assert abs(jnp.mean(found) - wanted) < 4.0 * jnp.std(found) / 20000**0.5
    np.testing.assert_allclose(wanted, noise_gain(jacobian) * 6 * 0.25, rtol=1e-13)


def test_no_covariance_where_the_loop_does_not_settle():
    for radius in (1.0, 1.1):
        jacobian = loop_matrix("orthogonal", 0, radius, size=4)
        assert jnp.all(jnp.isnan(stationary_covariance(jacobian)))
        assert jnp.isnan(noise_gain(jacobian))
    late = loop_matrix("orthogonal", 0, 0.99, size=4)
    assert jnp.isnan(noise_gain(late, doublings=3))  # 0.99^16 is no small number
    np.testing.assert_allclose(noise_gain(late), 1.0 / (1.0 - 0.99**2), rtol=1e-12)
    edge = loop_matrix("orthogonal", 0, 0.99998, size=4)
    np.testing.assert_allclose(noise_gain(edge), 1.0 / (1.0 - 0.99998**2), rtol=1e-9)


def test_growth_is_that_of_the_powers():
    matrix = loop_matrix("low-rank", 0, 0.9)
    norms = [np.linalg.norm(np.linalg.matrix_power(np.asarray(matrix), k), 2) for k in range(31)]
    np.testing.assert_allclose(transient_growth(matrix, 30), max(norms), rtol=1e-12)
    assert transient_growth(0.5 * jnp.eye(3), 5) == 1.0


def test_refusals():
    with pytest.raises(InputError, match="doublings"):
        stationary_covariance(jnp.eye(2), doublings=0)
    with pytest.raises(InputError, match="n_steps"):
        transient_growth(jnp.eye(2), 0)
