"""Hessian of the population loss: against its products, differences and predicted spectra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.kernels.planted import population_gradient, population_loss
from gramdyn.kernels.planted_hessian import hessian_product
from gramdyn.planted import (
    global_minimum,
    half_fit,
    hessian_matrix,
    plateau,
    plateau_spectrum,
    ray_spectrum,
)
from gramdyn.planted._points import gradient_of, loss_of

SHAPES = ((1, 1, 2), (3, 2, 4), (4, 1, 3))
TARGET = np.array([[0.3, -0.4, 1.2]])
SIZE = 1.3


def _draw(seed: int, k: int, c: int, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(k, d)), rng.normal(size=(k, c)), rng.normal(size=(c, d))


def _by_products(hidden: np.ndarray, readout: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Columns of the Hessian, the products with unit directions."""
    size = hidden.size

    def column(unit: jax.Array) -> jax.Array:
        steps = unit[:size].reshape(hidden.shape), unit[size:].reshape(readout.shape)
        parts = hessian_product(*map(jnp.asarray, (hidden, readout, target)), *steps)
        return jnp.concatenate([part.ravel() for part in parts])

    return np.asarray(jax.jit(jax.vmap(column))(jnp.eye(size + readout.size)))


@pytest.mark.parametrize("shape", SHAPES)
def test_matrix_is_that_of_the_products(shape: tuple[int, int, int]) -> None:
    point = _draw(0, *shape)
    found = hessian_matrix(*point)
    # rounding of some ten terms of order ten
    np.testing.assert_allclose(found, _by_products(*point), rtol=0, atol=1e-13)


def test_a_dead_neuron_has_no_rows() -> None:
    hidden, readout, target = _draw(1, 3, 2, 4)
    hidden[1] = 0
    found = hessian_matrix(hidden, readout, target)
    np.testing.assert_allclose(found, _by_products(hidden, readout, target), rtol=0, atol=1e-13)
    assert not found[4:8].any()
    assert not found[14:16].any()


def test_matrix_by_differences_of_the_gradient() -> None:
    hidden, readout, target = _draw(2, 3, 2, 4)
    flat, h = np.concatenate([hidden.ravel(), readout.ravel()]), 1e-5

    def slope(at: np.ndarray) -> np.ndarray:
        parts = gradient_of(at[:12].reshape(3, 4), at[12:].reshape(3, 2), target)
        return np.concatenate([part.ravel() for part in parts])

    columns = [(slope(flat + h * e) - slope(flat - h * e)) / (2 * h) for e in np.eye(18)]
    # h^2 and rounding over h
    np.testing.assert_allclose(hessian_matrix(hidden, readout, target), columns, atol=1e-8)


def test_published_form_of_the_mixed_block() -> None:
    """(u_j u_i^T + u_i u_j^T - cos t (u_i u_i^T + u_j u_j^T)) / sin t, at a generic angle."""
    hidden, readout, target = _draw(3, 2, 2, 3)
    (u, w), gain = (row / np.linalg.norm(row) for row in hidden), readout[0] @ readout[1]
    angle = np.arccos(u @ w)
    bracket = np.outer(w, u) + np.outer(u, w)
    bracket -= np.cos(angle) * (np.outer(u, u) + np.outer(w, w))
    wanted = gain / (2 * np.pi) * ((np.pi - angle) * np.eye(3) + bracket / np.sin(angle))
    found = hessian_matrix(hidden, readout, target)[:3, 3:6]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)


def test_host_and_device_compute_the_same_loss_and_gradient() -> None:
    point = _draw(4, 5, 2, 4)
    device = tuple(map(jnp.asarray, point))
    np.testing.assert_allclose(loss_of(*point), population_loss(*device), rtol=1e-14)
    pairs = zip(gradient_of(*point), population_gradient(*device), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)
    batch = gradient_of(np.stack([point[0]] * 2), np.stack([point[1]] * 2), point[2])
    np.testing.assert_allclose(batch[0][1], gradient_of(*point)[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("forward", "backward"),
    [([1.0], [-1.0]), ([1.5, -0.5], [-1.0]), ([0.3, 0.7], [-0.1, -1.1, 0.2])],
)
def test_spectrum_of_aligned_global_minima(forward: list, backward: list) -> None:
    point = global_minimum(SIZE * np.array(forward), SIZE * np.array(backward), TARGET)
    found = np.linalg.eigvalsh(hessian_matrix(*point, TARGET))
    np.testing.assert_allclose(found, ray_spectrum(*point, TARGET), rtol=0, atol=1e-13)


@pytest.mark.parametrize("gains", [[1.0], [0.2, 0.8], [2.0, -1.0], [1.5, 0.5, -1.0]])
@pytest.mark.parametrize("opposite", [False, True])
def test_spectrum_of_half_fits(gains: list, opposite: bool) -> None:
    signed = (-SIZE if opposite else SIZE) * np.array(gains)
    norms = np.linspace(0.6, 1.7, len(gains))
    point = half_fit(signed, TARGET, opposite=opposite, norms=norms)
    found = np.linalg.eigvalsh(hessian_matrix(*point, TARGET))
    np.testing.assert_allclose(found, ray_spectrum(*point, TARGET), rtol=0, atol=1e-13)
    assert found[0] > -1e-13  # no negative one, whatever the signs


def test_balanced_pair_by_numbers() -> None:
    """1/2 for 2 (D - 1) directions, 1 twice, and 0 for the two rescalings."""
    target = np.eye(1, 4)
    found = ray_spectrum(*global_minimum([1.0], [-1.0], target), target)
    np.testing.assert_allclose(found, [0.0] * 2 + [0.5] * 6 + [1.0] * 2, atol=1e-15)


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_spectrum_of_the_plateau(scale: float) -> None:
    point = plateau(scale * np.random.default_rng(5).normal(size=(4, 3)), TARGET)
    found = np.linalg.eigvalsh(hessian_matrix(*point, TARGET))
    np.testing.assert_allclose(found, plateau_spectrum(point[0], TARGET), rtol=0, atol=1e-13)
    zero = plateau_spectrum(np.zeros((2, 3)), TARGET)
    np.testing.assert_allclose(zero, [-SIZE / 2] * 2 + [0.0] * 4 + [SIZE / 2] * 2, rtol=1e-15)


def test_curvature_at_zero_by_differences() -> None:
    """The loss is even there, so that two values suffice."""
    h, steps = 1e-4, (np.outer([1.0, 0.0], TARGET / SIZE), np.array([[1.0], [0.0]]))
    for sign in (1.0, -1.0):
        gain = loss_of(h * steps[0], sign * h * steps[1], TARGET) - SIZE**2 / 2
        # quartic terms, and rounding of the loss over h^2
        assert 2 * gain / (2 * h**2) == pytest.approx(-sign * SIZE / 2, abs=1e-7)


def test_points_of_another_kind_are_refused() -> None:
    rows, turned = global_minimum([SIZE], [-SIZE], TARGET)
    for hidden, readout in ((rows + 0.1, turned), (0 * rows, turned), (rows, 2 * turned)):
        with pytest.raises(InputError, match="Argument"):
            ray_spectrum(hidden, readout, TARGET)
    with pytest.raises(InputError, match="Argument `hidden` must have rows orthogonal"):
        plateau_spectrum(rows, TARGET)
    with pytest.raises(InputError, match="Argument `hidden` must be of one network"):
        hessian_matrix(rows[None], turned[None], TARGET)
