"""The matrix form of the flow against layers written out and against autodiff in every entry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn.kernels.adjacency import (
    adjacency,
    adjacency_velocity,
    corner,
    from_adjacency,
    input_block,
)

WIDTHS = {1: (3, 2), 2: (3, 4, 2), 3: (2, 4, 1, 3), 4: (3, 2, 3, 4, 2), 5: (2, 3, 3, 2, 4, 3)}
# Sums of products of some ten float64 numbers of order one.
ATOL = 1e-12


def _weights(widths: tuple[int, ...], seed: int = 0) -> tuple[jax.Array, ...]:
    rng = np.random.default_rng([seed, *widths])
    pairs = zip(widths[1:], widths[:-1], strict=True)
    return tuple(jnp.asarray(rng.normal(size=shape) / np.sqrt(shape[1])) for shape in pairs)


def _target(widths: tuple[int, ...]) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).normal(size=(widths[-1], widths[0])))


def _moment(widths: tuple[int, ...]) -> jax.Array:
    root = np.random.default_rng(2).normal(size=(widths[0], widths[0] + 2))
    return jnp.asarray(root @ root.T / root.shape[1])


def _map(weights: tuple[jax.Array, ...]) -> jax.Array:
    found = weights[0]
    for weight in weights[1:]:
        found = weight @ found
    return found


@pytest.mark.parametrize("n_layers", WIDTHS)
def test_blocks_of_powers_are_partial_products(n_layers: int) -> None:
    widths = WIDTHS[n_layers]
    weights = _weights(widths)
    matrix = adjacency(weights)
    starts = np.cumsum([0, *widths])
    power = jnp.eye(sum(widths))
    for k in range(1, n_layers + 1):
        power = power @ matrix
        left = np.array(power)
        for low in range(n_layers - k + 1):
            rows = slice(starts[low + k], starts[low + k + 1])
            columns = slice(starts[low], starts[low + 1])
            wanted = _map(weights[low : low + k])
            np.testing.assert_allclose(left[rows, columns], wanted, rtol=0, atol=ATOL)
            left[rows, columns] = 0.0
        assert not np.any(left)  # nothing beside the block diagonal k
    assert not np.any(power @ matrix)  # A^{L+1} = 0, exactly
    np.testing.assert_allclose(power, corner(_map(weights), widths), rtol=0, atol=ATOL)


@pytest.mark.parametrize("n_layers", WIDTHS)
def test_weights_come_back(n_layers: int) -> None:
    weights = _weights(WIDTHS[n_layers])
    for found, wanted in zip(
        from_adjacency(adjacency(weights), WIDTHS[n_layers]), weights, strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


def test_embeddings_fill_their_block_alone() -> None:
    widths = (2, 3, 1)
    outer, inner = corner(jnp.ones((1, 2)), widths), input_block(jnp.ones((2, 2)), widths)
    assert np.argwhere(outer).tolist() == [[5, 0], [5, 1]]
    assert np.argwhere(inner).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_reversed_nodes_give_the_published_order() -> None:
    """W_1 ... W_h on the block superdiagonal, numbered from the outputs."""
    widths = (3, 4, 2)
    first, second = _weights(widths)
    order = np.concatenate([[7, 8], [3, 4, 5, 6], [0, 1, 2]])
    found = adjacency((first, second))[np.ix_(order, order)]
    wanted = np.zeros((9, 9))
    wanted[:2, 2:6], wanted[2:6, 6:] = second, first
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("white", [True, False])
@pytest.mark.parametrize("n_layers", WIDTHS)
def test_velocity_is_that_of_the_layers(n_layers: int, white: bool) -> None:
    widths = WIDTHS[n_layers]
    weights, target = _weights(widths), _target(widths)
    moment = jnp.eye(widths[0]) if white else _moment(widths)

    def loss(layers: tuple[jax.Array, ...]) -> jax.Array:
        left = target - _map(layers)
        return jnp.trace(left @ moment @ left.T) / 2

    by_autodiff = [-g for g in jax.grad(loss)(weights)]
    embedded = None if white else input_block(moment, widths)
    velocity = adjacency_velocity(adjacency(weights), corner(target, widths), n_layers, embedded)
    # No entry beside the blocks moves, though nothing masks them.
    np.testing.assert_allclose(velocity, adjacency(by_autodiff), rtol=0, atol=ATOL)
    for index, found in enumerate(from_adjacency(velocity, widths)):
        above, below = jnp.eye(widths[-1]), jnp.eye(widths[0])
        for weight in weights[:index]:
            below = weight @ below
        for weight in weights[:index:-1]:
            above = above @ weight
        wanted = above.T @ (target - _map(weights)) @ moment @ below.T
        np.testing.assert_allclose(found, wanted, rtol=0, atol=ATOL)


@pytest.mark.parametrize("white", [True, False])
@pytest.mark.parametrize("n_layers", WIDTHS)
def test_velocity_is_the_derivative_in_every_entry(n_layers: int, white: bool) -> None:
    widths = WIDTHS[n_layers]
    goal = corner(_target(widths), widths)
    moment = None if white else input_block(_moment(widths), widths)

    def loss(matrix: jax.Array) -> jax.Array:
        left = goal - jnp.linalg.matrix_power(matrix, n_layers)
        return jnp.sum(left**2) / 2 if moment is None else jnp.trace(left @ moment @ left.T) / 2

    start = adjacency(_weights(widths))
    # As well off the block pattern, where the law is the same polynomial.
    anywhere = start + 0.2 * jnp.asarray(np.random.default_rng(4).normal(size=start.shape))
    for matrix in (start, anywhere):
        found = adjacency_velocity(matrix, goal, n_layers, moment)
        wanted = -jax.grad(loss)(matrix)
        size = max(1.0, float(jnp.max(jnp.abs(wanted))))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=ATOL * size)
    on_blocks = np.array(adjacency_velocity(start, goal, n_layers, moment))
    assert not np.any(np.triu(on_blocks))


def test_under_jit_and_vmap() -> None:
    widths = WIDTHS[3]
    many = tuple(jnp.stack([w, 2 * w]) for w in _weights(widths))
    goal = corner(_target(widths), widths)

    def velocity(weights: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        return from_adjacency(adjacency_velocity(adjacency(weights), goal, 3), widths)

    found = jax.jit(jax.vmap(velocity))(many)
    for index in range(2):
        wanted = velocity(tuple(w[index] for w in many))
        for layer, one in zip(found, wanted, strict=True):
            np.testing.assert_allclose(layer[index], one, rtol=0, atol=ATOL)


def test_float32_stays_float32() -> None:
    weights = tuple(w.astype(jnp.float32) for w in _weights((2, 3, 2)))
    goal = corner(jnp.eye(2, dtype=jnp.float32), (2, 3, 2))
    assert adjacency_velocity(adjacency(weights), goal, 2).dtype == jnp.float32
