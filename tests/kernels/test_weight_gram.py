"""The weight Gram against explicit matrices, automatic differentiation and its exact step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gramdyn.kernels.weight_gram import (
    cross_moment,
    gram_against_centred,
    gram_against_virtual,
    gram_products,
    learning_equation,
    step_against_moment,
    virtual_change,
    weight_gram_change,
)

# n < M and n > M: the two forms of `gram_products`.
SHAPES = [(5, 9, 4), (20, 6, 7), (3, 3, 3), (1, 4, 2)]


def arrays(n, width, outputs):
    keys = jax.random.split(jax.random.key(n), 3)
    shapes = (n, width), (n, outputs), (outputs, width)
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize("shape", SHAPES)
def test_learning_equation_by_autodiff_through_a_skip(shape):
    inputs, _, weight = arrays(*shape)
    labels = jnp.arange(shape[0]) % shape[2]

    def of(eps, weight):  # the second use of the weight is held fixed: it is not this layer's
        hidden = jax.nn.gelu((inputs + eps) @ weight.T + 1.0, approximate=False)
        outputs = hidden + jax.lax.stop_gradient(inputs @ weight.T)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, labels))

    pulled, gradient = jax.grad(of, (0, 1))(jnp.zeros_like(inputs), weight)
    np.testing.assert_allclose(
        weight.T @ gradient, cross_moment(pulled, inputs), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_error_of_the_equation_is_rounding_and_sees_a_wrong_gradient(shape):
    inputs, sens, weight = arrays(*shape)
    assert learning_equation(weight, inputs, sens).error < 1e-14
    assert learning_equation(weight, 0 * inputs, sens).error == 0
    gradient = sens.T @ inputs
    wrong = gradient.at[0, 0].multiply(1.0 + 1e-6)
    assert learning_equation(weight, inputs, sens, gradient).error < 1e-14
    assert learning_equation(weight, inputs, sens, wrong).error > 1e-9


def close(found, wanted):
    """Equal to some eps of the largest entry, and of the entries of the Grams that cancel."""
    atol = 4e-15 * (float(jnp.max(jnp.abs(wanted))) + 10)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


@pytest.mark.parametrize("eta", [1e-3, 0.3, 2.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_changes_are_differences_of_explicit_matrices(shape, eta):
    inputs, sens, weight = arrays(*shape)
    pulled, gradient = sens @ weight, sens.T @ inputs
    after, virtual = weight - eta * gradient, inputs - eta * pulled
    close(weight_gram_change(weight, -eta * gradient), after.T @ after - weight.T @ weight)
    close(virtual_change(inputs, pulled, eta), virtual.T @ virtual - inputs.T @ inputs)
    n = shape[0]
    own = inputs - eta * n * pulled
    mean = (own.T @ own - inputs.T @ inputs) / n
    close(virtual_change(inputs, pulled, eta, convention="per_sample"), mean)
    middle = jnp.eye(n) - 1 / n
    wanted = (middle @ virtual).T @ virtual - (middle @ inputs).T @ inputs
    close(virtual_change(inputs, pulled, eta, centre=True), wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_gap_of_gram_and_virtual_covariance_is_of_second_order_and_exact(shape):
    inputs, sens, weight = arrays(*shape)
    pulled, gradient = sens @ weight, sens.T @ inputs
    gaps = [
        weight_gram_change(weight, -eta * gradient) - virtual_change(inputs, pulled, eta)
        for eta in (0.1, 0.05)
    ]
    wanted = 0.01 * (gradient.T @ gradient - pulled.T @ pulled)
    np.testing.assert_allclose(gaps[0], wanted, rtol=0, atol=1e-13)
    np.testing.assert_allclose(jnp.linalg.norm(gaps[0]) / jnp.linalg.norm(gaps[1]), 4, rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_products_and_comparison_against_explicit_matrices(shape):
    inputs, sens, weight = arrays(*shape)
    pulled, gradient = sens @ weight, sens.T @ inputs
    half = pulled.T @ inputs
    first, second, virtual = half + half.T, gradient.T @ gradient, pulled.T @ pulled
    pairs = (first, first), (first, second), (first, virtual)
    pairs += (second, second), (virtual, virtual), (second, virtual)
    found = gram_products(inputs, sens, pulled)
    wanted = [jnp.sum(one * two) for one, two in pairs]
    scale = float(max(map(abs, wanted)))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13 * scale)
    for eta in (0.1, 1.0):
        moved = weight_gram_change(weight, -eta * gradient)
        other = virtual_change(inputs, pulled, eta)
        told = gram_against_virtual(found, eta)
        norms = jnp.linalg.norm(moved), jnp.linalg.norm(other)
        cosine = jnp.sum(moved * other) / (norms[0] * norms[1])
        np.testing.assert_allclose(told["cosine"], cosine, rtol=1e-9)
        np.testing.assert_allclose(told["gap"], jnp.linalg.norm(moved - other) / norms[0], 1e-9)


def test_nothing_moves_without_a_gradient():
    inputs, sens, weight = arrays(5, 9, 4)
    told = gram_against_virtual(gram_products(inputs, 0 * sens, 0 * sens @ weight), 0.1)
    assert told["cosine"] == 0
    assert told["gap"] == 0


def test_at_a_stationary_point_of_decay_the_gram_is_minus_the_cross_moment():
    """W = -g / lambda there, so M = -A / lambda, symmetric and negative semidefinite A."""
    inputs, _, weight = arrays(20, 4, 3)
    targets, decay = jnp.sin(inputs @ weight.T), 0.1
    loss = lambda w: jnp.mean((inputs @ w.T - targets) ** 2)  # noqa: E731
    hessian = jax.hessian(loss)(weight).reshape(12, 12) + decay * jnp.eye(12)
    gradient = jax.grad(loss)(jnp.zeros_like(weight)).reshape(-1)
    found = -jnp.linalg.solve(hessian, gradient).reshape(3, 4)
    pulled = jax.grad(lambda x: jnp.mean((x @ found.T - targets) ** 2))(inputs)
    np.testing.assert_allclose(found.T @ found, -cross_moment(pulled, inputs) / decay, atol=1e-13)


@pytest.mark.parametrize("shape", [(6, 40, 4), (30, 8, 5)])
def test_gap_of_centred_arrays_is_that_of_plain_ones_in_single_precision(shape):
    """Of inputs and sensitivities without means both forms say the same, however small a step."""
    inputs, sens, weight = (part.astype(jnp.float32) for part in arrays(*shape))
    inputs, sens = (part - part.mean(axis=0, keepdims=True) for part in (inputs, sens))
    pulled = sens @ weight
    for eta in (1e-3, 1e-5):
        plain = gram_against_virtual(gram_products(inputs, sens, pulled), eta)
        centred = gram_against_centred(inputs, sens, pulled, eta)
        np.testing.assert_allclose(centred["cosine"], plain["cosine"], atol=1e-5)
        # the second order is some eta^2 of the first: float32 resolves it to its eps / eta
        if shape[0] < shape[1]:
            np.testing.assert_allclose(centred["gap"], plain["gap"], rtol=0.02 + 3e-8 / eta)


@pytest.mark.parametrize("shape", [*SHAPES, (3, 20, 4)])  # the last without matrices of M x M
def test_what_a_step_did_beside_explicit_matrices(shape):
    inputs, sens, weight = arrays(*shape)
    step = 0.3 * jax.random.normal(jax.random.key(9), weight.shape)
    found = step_against_moment(weight, step, inputs, sens @ weight)
    moved = (weight + step).T @ (weight + step) - weight.T @ weight
    half = cross_moment(sens @ weight, inputs)
    wanted = -(half + half.T)
    cosine = jnp.sum(moved * wanted) / jnp.linalg.norm(moved) / jnp.linalg.norm(wanted)
    np.testing.assert_allclose(found["cosine"], cosine, rtol=1e-10)
    np.testing.assert_allclose(found["size"], jnp.linalg.norm(moved), rtol=1e-12)
    second = jnp.linalg.norm(step.T @ step) / jnp.linalg.norm(moved)
    np.testing.assert_allclose(found["second"], second, rtol=1e-12)


@pytest.mark.parametrize("of", [step_against_moment, gram_against_centred])
def test_many_samples_take_memory_in_proportion(of):
    """No array of two samples' sides: twice the samples, at most twice the memory."""

    def bytes_of(n):
        shapes = {"inputs": (n, 20), "sens": (n, 10), "pulled": (n, 20), "weight": (10, 20)}
        given = {name: jax.ShapeDtypeStruct(shape, jnp.float64) for name, shape in shapes.items()}
        if of is step_against_moment:
            given = [given[name] for name in ("weight", "weight", "inputs", "pulled")]
        else:
            given = [given[name] for name in ("inputs", "sens", "pulled")]
            given.append(jax.ShapeDtypeStruct((), jnp.float64))
        return jax.jit(of).lower(*given).compile().memory_analysis().temp_size_in_bytes

    assert bytes_of(2000) < 2.2 * bytes_of(1000) + 10_000
