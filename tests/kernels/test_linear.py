"""Products and flow of deep linear networks: autodiff, explicit products, what is conserved."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn.kernels.linear import (
    conserved_increment,
    conserved_quantities,
    descent_direction,
    layer_map_velocities,
    maps_above,
    multiply,
    pulled_errors,
)

# d_0 to d_L: one layer, wide, bottleneck, deep
WIDTHS = ((4, 3), (4, 7, 3), (5, 2, 4, 3), (3, 5, 4, 2, 6))
by_widths = pytest.mark.parametrize("widths", WIDTHS, ids=lambda widths: "-".join(map(str, widths)))


def draw(widths, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(
        jnp.asarray(rng.normal(size=(out, into)) / np.sqrt(into))
        for into, out in itertools.pairwise(widths)
    )


def product(matrices, n):
    """M_k ... M_1 of a list that starts with M_1, in numpy."""
    return functools.reduce(lambda below, one: np.asarray(one) @ below, matrices, np.eye(n))


def problem(widths, seed=1):
    """T and Sxx, not white."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(widths[0], widths[0])) / np.sqrt(widths[0])
    return jnp.asarray(rng.normal(size=(widths[-1], widths[0]))), jnp.asarray(root @ root.T)


def close(found, wanted, tolerance=1e-13):
    wanted = np.asarray(wanted)
    size = max(float(np.abs(wanted).max()), 1e-3)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * size)


@by_widths
def test_descent_is_minus_the_gradient_of_the_loss(widths) -> None:
    weights, (target, moment) = draw(widths), problem(widths)

    def loss(weights):
        gap = target - functools.reduce(lambda below, one: one @ below, weights)
        return 0.5 * jnp.trace(gap @ moment @ gap.T)

    gap = target - functools.reduce(lambda below, one: one @ below, weights)
    found = descent_direction(weights, gap @ moment)
    for move, slope in zip(found, jax.grad(loss)(weights), strict=True):
        assert move.shape == slope.shape
        close(move, -slope)
    again = descent_direction(weights, gap @ moment, maps_above(weights))
    for move, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(move, other)


@by_widths
def test_products_are_those_written_out(widths) -> None:
    weights, n_layers = draw(widths), len(widths) - 1
    error = jnp.asarray(np.random.default_rng(2).normal(size=(widths[-1], widths[0])))
    above, pulled = maps_above(weights), pulled_errors(weights, error)
    assert len(above) == len(pulled) == n_layers
    for i in range(n_layers):
        close(above[i], product(weights[i:], widths[i]))
        close(pulled[i], np.asarray(error) @ product(weights[:i], widths[0]).T)


@by_widths
def test_shares_of_the_layers_add_up_to_the_motion_of_the_map(widths) -> None:
    weights = draw(widths)
    error = jnp.asarray(np.random.default_rng(2).normal(size=(widths[-1], widths[0])))
    whole = lambda weights: functools.reduce(lambda below, one: one @ below, weights)  # noqa: E731
    moves = descent_direction(weights, error)
    shares = layer_map_velocities(weights, error)
    assert shares.shape == (len(weights), widths[-1], widths[0])
    close(jnp.sum(shares, axis=0), jax.jvp(whole, (weights,), (moves,))[1])
    for i, share in enumerate(shares):
        alone = tuple(move if i == j else 0 * move for j, move in enumerate(moves))
        close(share, jax.jvp(whole, (weights,), (alone,))[1])
        up, below = product(weights[i + 1 :], widths[i + 1]), product(weights[:i], widths[0])
        close(share, up @ up.T @ np.asarray(error) @ below.T @ below)
    again = layer_map_velocities(weights, error, maps_above(weights))
    np.testing.assert_array_equal(again, shares)


@by_widths
def test_flow_conserves_and_decay_shrinks(widths) -> None:
    """For any error at all; along another direction the quantities do move."""
    weights = draw(widths)
    error = jnp.asarray(np.random.default_rng(2).normal(size=(widths[-1], widths[0])))
    found = conserved_quantities(weights)
    assert [one.shape for one in found] == [(width, width) for width in widths[1:-1]]
    for one, low, up in zip(found, weights[:-1], weights[1:], strict=True):
        close(one, np.asarray(up).T @ up - low @ np.asarray(low).T)
    moves = descent_direction(weights, error)
    along = lambda way: jax.jvp(conserved_quantities, (weights,), (way,))[1]  # noqa: E731
    for drift, other in zip(along(moves), along(draw(widths, seed=9)), strict=True):
        close(drift, np.zeros(drift.shape), 1e-11)  # 1e-14 of what the two terms are
        assert np.abs(other).max() > 0.1
    decaying = tuple(move - 0.3 * weight for move, weight in zip(moves, weights, strict=True))
    for drift, one in zip(along(decaying), found, strict=True):
        close(drift, -0.6 * one)


@by_widths
def test_increment_of_a_step_is_exact(widths) -> None:
    weights, step = draw(widths), 0.1
    error = jnp.asarray(np.random.default_rng(2).normal(size=(widths[-1], widths[0])))
    moves = descent_direction(weights, error)
    after = tuple(weight + step * move for weight, move in zip(weights, moves, strict=True))
    pairs = zip(conserved_quantities(after), conserved_quantities(weights), strict=True)
    for (now, then), wanted in zip(pairs, conserved_increment(moves, step), strict=True):
        np.testing.assert_allclose(now - then, wanted, rtol=0, atol=1e-14)
        assert np.abs(wanted).max() > 1e-4


@pytest.mark.parametrize(
    ("n", "k", "m", "library"), [(3, 4, 5, False), (16, 16, 16, False), (20, 21, 10, True)]
)
def test_both_products_are_the_matrix_product(n, k, m, library) -> None:
    rng = np.random.default_rng(0)
    left, right = jnp.asarray(rng.normal(size=(n, k))), jnp.asarray(rng.normal(size=(k, m)))
    assert ("dot_general" in str(jax.make_jaxpr(multiply)(left, right))) == library
    close(multiply(left, right), np.asarray(left) @ np.asarray(right), 1e-14)
    many = jnp.stack([left, 2 * left])
    close(jax.vmap(multiply, (0, None))(many, right), np.asarray(many) @ np.asarray(right), 1e-14)
    slopes = jax.grad(lambda a, b: jnp.sum(jnp.sin(multiply(a, b))), (0, 1))(left, right)
    wanted = jax.grad(lambda a, b: jnp.sum(jnp.sin(a @ b)), (0, 1))(left, right)
    for slope, other in zip(slopes, wanted, strict=True):
        close(slope, other)
