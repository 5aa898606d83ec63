"""The average gradient outer product against autodiff, and where the ansatz is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn import InputError
from gramdyn.kernels.agop import (
    ansatz_correlation,
    average_gradient_product,
    centred_ansatz_correlation,
    jacobian_correlation,
    matrix_power,
)


def balanced_linear(depth, width=4, seed=0):
    """W_l = Q_l s^(1/L) Q_{l-1}^T."""
    rng = np.random.default_rng(seed)
    frames = [np.linalg.qr(rng.standard_normal((width, width)))[0] for _ in range(depth + 1)]
    root = np.diag(np.array([3.0, 2.0, 1.0, 0.5]) ** (1 / depth))
    return [jnp.asarray(frames[i + 1] @ root @ frames[i].T) for i in range(depth)]


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_balanced_linear_layers_have_the_ansatz_exactly(depth):
    weights = balanced_linear(depth)
    for i, weight in enumerate(weights):
        above = jnp.eye(4)
        for other in weights[i:]:
            above = other @ above
        product = average_gradient_product(jnp.stack([above] * 3))
        root = matrix_power(product, 1 / (depth - i))
        np.testing.assert_allclose(weight.T @ weight, root, atol=1e-12)
        found = ansatz_correlation(weight.T @ weight, product, power=1 / (depth - i))
        np.testing.assert_allclose(found, 1.0, atol=1e-12)


def network(weights, x):
    return weights[1] @ jnp.tanh(weights[0] @ x)


def test_against_autodiff_and_through_the_preactivations():
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = (7, 5), (3, 7), (11, 5), (7, 5)
    first, last, inputs, start = (
        jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)
    )
    jacobians = jax.vmap(jax.jacrev(lambda x: network((first, last), x)))(inputs)
    wanted = np.mean([np.asarray(j).T @ np.asarray(j) for j in jacobians], axis=0)
    np.testing.assert_allclose(average_gradient_product(jacobians), wanted, atol=1e-13)
    sens = jax.vmap(jax.jacrev(lambda z: last @ jnp.tanh(z)))(inputs @ first.T)
    pulled = first.T @ average_gradient_product(sens) @ first
    np.testing.assert_allclose(pulled, wanted, atol=1e-13)
    middle = average_gradient_product(jacobians, centre=True)
    mean = np.mean(jacobians, axis=0)
    np.testing.assert_allclose(middle, wanted - mean.T @ mean, atol=1e-13)
    moved = np.asarray(first - start)
    other = moved.T @ np.asarray(average_gradient_product(sens)) @ moved
    own = moved.T @ moved
    cosine = np.sum(own * other) / np.linalg.norm(own) / np.linalg.norm(other)
    found = centred_ansatz_correlation(first, start, sens)
    np.testing.assert_allclose(found, cosine, rtol=1e-12)


def test_pearson_is_that_of_numpy_and_zeros_are_no_nan():
    rng = np.random.default_rng(0)
    rows, other = rng.standard_normal((2, 6, 4))
    one, two = jnp.asarray(rows.T @ rows), jnp.asarray(other.T @ other)
    wanted = np.corrcoef(np.ravel(one), np.ravel(two))[0, 1]
    found = ansatz_correlation(one, two, power=1.0, correlation="pearson")
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert ansatz_correlation(one, 0 * two) == 0
    with pytest.raises(InputError, match="correlation"):
        ansatz_correlation(one, two, correlation="rank")


@pytest.mark.parametrize("power", [0.5, 1.0, 0.3])
@pytest.mark.parametrize("correlation", ["cosine", "pearson"])
@pytest.mark.parametrize("centre", [False, True])
def test_both_forms_of_the_correlation_are_that_of_explicit_matrices(power, correlation, centre):
    """Fewer Jacobian rows and neurons than inputs, and more."""
    for n, outputs, width, neurons in ((3, 2, 20, 4), (30, 2, 5, 4), (3, 2, 20, 25)):
        keys = jax.random.split(jax.random.key(width + n))
        jacobians = 1.0 + jax.random.normal(keys[0], (n, outputs, width))
        weight = 0.5 + jax.random.normal(keys[1], (neurons, width))
        options = {"power": power, "correlation": correlation}
        product = average_gradient_product(jacobians, centre=centre)
        wanted = ansatz_correlation(weight.T @ weight, product, **options)
        found = jacobian_correlation(weight, jacobians, centre=centre, **options)
        # eigenvalues that are 0 are off by 1e-16 of the largest, to the power
        np.testing.assert_allclose(found, wanted, rtol=10 * 1e-16**power + 1e-12)


def test_jacobians_that_are_all_alike_have_nothing_left_without_their_mean():
    weight = jax.random.normal(jax.random.key(0), (3, 7))
    same = jnp.broadcast_to(weight[None], (40, 3, 7)) * (1.0 + 1e-16)
    assert jacobian_correlation(weight, same, centre=True) == 0
    np.testing.assert_allclose(jacobian_correlation(weight, same, power=1.0), 1.0, atol=1e-13)
