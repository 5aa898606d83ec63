"""White coordinates: critical points, losses and inertia carry over to data of any moment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.deep_linear.critical import critical_points
from gramdyn.deep_linear.hessian import hessian_spectrum, inertia
from gramdyn.deep_linear.products import whole_map
from gramdyn.deep_linear.whitening import unwhiten_weights, white_target, whiten_weights


def problem(d0, outputs, n, seed=0):
    """Correlated inputs, any outputs: X, Y, Sxx, T and the floor of the loss."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(d0, d0)) @ rng.normal(size=(d0, n))
    outputs = rng.normal(size=(outputs, d0)) @ inputs + rng.normal(size=(outputs, n))
    moment, cross = inputs @ inputs.T / n, outputs @ inputs.T / n
    target = cross @ np.linalg.pinv(moment, rcond=1e-10)
    floor = 0.5 * np.trace(outputs @ outputs.T / n - target @ moment @ target.T)
    return inputs, outputs, moment, target, max(float(floor), 0.0)


def data_loss(weights, inputs, outputs):
    """Loss of the data themselves, with no moment in it."""
    found = inputs
    for weight in weights:
        found = weight @ found
    return 0.5 * jnp.sum((outputs - found) ** 2) / inputs.shape[1]


def largest_gradient(weights, inputs, outputs):
    with jax.enable_x64(True):
        slopes = jax.grad(data_loss)(tuple(jnp.asarray(w) for w in weights), inputs, outputs)
    return max(float(jnp.abs(slope).max()) for slope in slopes)


@pytest.mark.parametrize("widths", [(3, 3, 3), (3, 4, 4, 3)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_points_values_and_inertia_carry_over(widths, seed):
    inputs, outputs, moment, target, floor = problem(3, 3, 20, seed)
    for point in critical_points(white_target(target, moment), widths, floor):
        weights = unwhiten_weights(point.weights, moment)
        assert largest_gradient(weights, inputs, outputs) < 1e-10  # measured 8e-13
        assert point.value == pytest.approx(float(data_loss(weights, inputs, outputs)), rel=1e-12)
        spectrum = hessian_spectrum(weights, target, input_moment=moment)
        assert inertia(spectrum) == inertia(point.spectrum)


@pytest.mark.parametrize("widths", [(4, 3, 3), (4, 3, 4, 3)])
def test_singular_moment(widths):
    inputs, outputs, moment, target, floor = problem(4, 3, 2)
    seen = np.linalg.svd(inputs)[0][:, :2]
    white = white_target(target, moment)
    assert np.abs(white @ (np.eye(4) - seen @ seen.T)).max() < 1e-12
    reduced = critical_points(white @ seen, (2, *widths[1:]), floor)
    for point, short in zip(critical_points(white, widths, floor), reduced, strict=True):
        weights = unwhiten_weights(point.weights, moment)
        assert largest_gradient(weights, inputs, outputs) < 1e-10
        assert point.value == pytest.approx(float(data_loss(weights, inputs, outputs)), rel=1e-9)
        # The Hessian of the data is that of the problem on the range, and zero beside it.
        negative, positive, _ = inertia(hessian_spectrum(weights, target, input_moment=moment))
        assert (negative, positive) == inertia(short.spectrum)[:2]


def test_the_loss_is_the_white_one():
    inputs, outputs, moment, target, floor = problem(4, 2, 3)  # singular
    rng = np.random.default_rng(3)
    weights = tuple(rng.normal(size=shape) for shape in [(3, 4), (2, 3)])
    found = whole_map(whiten_weights(weights, moment))
    white = floor + 0.5 * np.sum((white_target(target, moment) - found) ** 2)
    assert white == pytest.approx(float(data_loss(weights, inputs, outputs)), rel=1e-12)


@pytest.mark.parametrize("n", [20, 2, 1])
@pytest.mark.parametrize("seed", range(6))  # eigenvalues of zero round to either side of it
def test_there_and_back_is_the_projector_on_the_range(n, seed):
    inputs, _, moment, _, _ = problem(3, 2, n, seed)
    rng = np.random.default_rng(4)
    weights = tuple(rng.normal(size=shape) for shape in [(3, 3), (2, 3)])
    seen = inputs @ np.linalg.pinv(inputs)
    for one, other in [(whiten_weights, unwhiten_weights), (unwhiten_weights, whiten_weights)]:
        back = other(one(weights, moment), moment)
        # Roundoff times the condition of Sxx^{1/2}, some 30 for these inputs.
        assert np.abs(back[0] - weights[0] @ seen).max() < 1e-12
        assert np.array_equal(back[1], weights[1])


def test_identity_and_zero_moments():
    weights = (np.ones((2, 3)), np.ones((1, 2)))
    assert np.abs(whiten_weights(weights, np.eye(3))[0] - 1).max() < 1e-15
    assert np.array_equal(white_target(np.ones((1, 3)), np.zeros((3, 3))), np.zeros((1, 3)))
    assert np.array_equal(unwhiten_weights(weights, np.zeros((3, 3)))[0], np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (np.eye(2), "3 x 3"),
        (np.diag([1.0, 1.0, -0.1]), "no eigenvalue below 0"),
        (np.eye(3) + np.eye(3, k=1), "symmetric"),
        (np.eye(3) * np.nan, "finite"),
    ],
)
def test_what_is_no_moment_is_refused(moment, words):
    weights = (np.ones((2, 3)), np.ones((1, 2)))
    for call in (whiten_weights, unwhiten_weights):
        with pytest.raises(InputError, match=words):
            call(weights, moment)
    with pytest.raises(InputError, match=words):
        white_target(np.ones((1, 3)), moment)
