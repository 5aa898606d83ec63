"""Activations: values, masks by autodiff, gains by integration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.models import ACTIVATIONS, gelu, leaky_relu, linear, make_activation, relu, tanh

ALL = [relu(), leaky_relu(), leaky_relu(0.3), leaky_relu(1.0), linear()]
EACH = pytest.mark.parametrize("phi", ALL, ids=lambda phi: f"{phi.name}-{phi.gain:.2f}")


@EACH
def test_mask_is_the_derivative(phi) -> None:
    pre = jnp.asarray(np.random.default_rng(0).normal(size=(3, 7)))
    wanted = jax.vmap(jax.vmap(jax.grad(lambda z: phi.value(z[None, None])[0, 0])))(pre)
    np.testing.assert_array_equal(phi.mask(pre), wanted)


@pytest.mark.parametrize("phi", [gelu(), tanh()], ids=lambda phi: phi.name)
def test_smooth_ones_by_autodiff_and_quadrature(phi) -> None:
    pre = jnp.linspace(-4.0, 4.0, 41)[None, :]
    slope = jax.vmap(jax.grad(lambda z: phi.value(z[None, None])[0, 0]))
    bend = jax.vmap(jax.grad(lambda z: phi.mask(z[None, None])[0, 0]))
    np.testing.assert_allclose(phi.mask(pre)[0], slope(pre[0]), atol=1e-14)
    np.testing.assert_allclose(phi.curvature(pre)[0], bend(pre[0]), atol=1e-14)
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    square = np.sum(weights * np.asarray(phi.value(jnp.asarray(nodes)[None]))[0] ** 2)
    np.testing.assert_allclose(phi.gain * square / np.sum(weights), 1.0, rtol=1e-8)
    assert phi.value(pre.astype("float32")).dtype == jnp.float32
    assert phi.curvature(pre.astype("float32")).dtype == jnp.float32
    assert not phi.has_flips


@EACH
def test_value_is_mask_times_pre(phi) -> None:
    """Every activation here is positively homogeneous, so h = m z exactly, at 0 too."""
    pre = jnp.asarray([[-2.0, -0.5, 0.0, 0.5, 2.0]])
    np.testing.assert_array_equal(phi.value(pre), phi.mask(pre) * pre)
    np.testing.assert_array_equal(phi.value(3.0 * pre), 3.0 * phi.value(pre))


@EACH
def test_gain_keeps_the_mean_square(phi) -> None:
    """gain * E phi(z)^2 = 1 for z ~ N(0, 1), by Gauss-Hermite quadrature on each half line."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    # phi^2 is even on each half: E over z > 0 and z < 0 are half the even moments
    plus = np.asarray(phi.value(jnp.abs(jnp.asarray(nodes))[None]))[0]
    minus = np.asarray(phi.value(-jnp.abs(jnp.asarray(nodes))[None]))[0]
    mean = np.sum(weights * (plus**2 + minus**2) / 2) / np.sum(weights)
    np.testing.assert_allclose(phi.gain * mean, 1.0, rtol=1e-12)


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(phi, dtype: str) -> None:
    pre = jnp.ones((2, 3), dtype)
    assert phi.value(pre).dtype == phi.mask(pre).dtype == jnp.dtype(dtype)


def test_flips_are_where_the_mask_jumps() -> None:
    assert [phi.has_flips for phi in ALL] == [True, True, True, False, False]


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_by_name(name: str) -> None:
    assert make_activation(name).name == name
    assert make_activation(name) == ACTIVATIONS[name]()


def test_slope_by_name() -> None:
    assert make_activation("leaky_relu", 0.3) == leaky_relu(0.3)
    assert make_activation("leaky_relu", 0.3) != leaky_relu(0.2)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"Unknown activation `rellu`; did you mean `relu`"):
        make_activation("rellu")
