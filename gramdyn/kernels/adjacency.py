"""The adjacency matrix of a linear network, and its gradient flow as one matrix equation.

Nodes l = 0, ..., L of d_l neurons each, n_v = sum_l d_l. The matrix A holds W_l, of shape
(d_l, d_{l-1}), in block (l, l-1) and zeros elsewhere, so A^L holds the map W_L ... W_1 in its
corner block (L, 0) and A^{L+1} = 0. Wendin & Altafini (arXiv 2511.10362) number products the other
way, W_1 ... W_h on the block superdiagonal; reversing the order of the nodes turns one into the
other.
"""

from collections.abc import Sequence
from itertools import accumulate

import jax.numpy as jnp
from jaxtyping import Array, Float


def adjacency(weights: Sequence[Float[Array, "_ _"]]) -> Float[Array, "n_v n_v"]:
    """Adjacency matrix of a linear network: block (l, l-1) is W_l, all else is zero.

    Args:
        weights: W_1, ..., W_L, W_l of shape (d_l, d_{l-1}).

    Returns:
        Strictly block lower triangular matrix, shape (n_v, n_v).

    Cost: n_v^2 numbers.

    Source: Wendin & Altafini, arXiv 2511.10362, in reversed order.
    """
    widths = (weights[0].shape[1], *(weight.shape[0] for weight in weights))
    starts = _starts(widths)
    matrix = jnp.zeros((starts[-1], starts[-1]), weights[0].dtype)
    for weight, row, column in zip(weights, starts[1:-1], starts[:-2], strict=True):
        matrix = matrix.at[row : row + weight.shape[0], column:row].set(weight)
    return matrix


def from_adjacency(
    matrix: Float[Array, "n_v n_v"], widths: Sequence[int]
) -> tuple[Float[Array, "_ _"], ...]:
    """Weights W_1, ..., W_L read from the blocks (l, l-1); other blocks are not looked at.

    Args:
        matrix: Adjacency matrix, shape (n_v, n_v).
        widths: d_0, ..., d_L with sum n_v.

    Returns:
        W_l of shape (d_l, d_{l-1}), one a layer.

    Cost: a copy of the blocks.
    """
    starts = _starts(widths)
    spans = zip(starts[:-2], starts[1:-1], starts[2:], strict=True)
    return tuple(matrix[row:end, column:row] for column, row, end in spans)


def corner(block: Float[Array, "dL d0"], widths: Sequence[int]) -> Float[Array, "n_v n_v"]:
    """Embedding E of a map from inputs to outputs, in block (L, 0) of a matrix on all nodes.

    Args:
        block: A map or target, shape (d_L, d_0).
        widths: d_0, ..., d_L.

    Returns:
        Shape (n_v, n_v), with n_v the sum of the widths.

    Cost: n_v^2 numbers.
    """
    n = sum(widths)
    return jnp.zeros((n, n), block.dtype).at[n - widths[-1] :, : widths[0]].set(block)


def input_block(moment: Float[Array, "d0 d0"], widths: Sequence[int]) -> Float[Array, "n_v n_v"]:
    """Embedding S of the second moment of the inputs, in block (0, 0) of a matrix on all nodes.

    Args:
        moment: X X^T / n, shape (d_0, d_0).
        widths: d_0, ..., d_L.

    Returns:
        Shape (n_v, n_v), with n_v the sum of the widths.

    Cost: n_v^2 numbers.
    """
    n = sum(widths)
    return jnp.zeros((n, n), moment.dtype).at[: widths[0], : widths[0]].set(moment)


def adjacency_velocity(
    matrix: Float[Array, "n_v n_v"],
    target: Float[Array, "n_v n_v"],
    n_layers: int,
    input_moment: Float[Array, "n_v n_v"] | None = None,
) -> Float[Array, "n_v n_v"]:
    """Gradient flow of a linear network as one equation for its adjacency matrix.

    dA/dt = sum_{j=1}^L (A^T)^{L-j} (E - A^L) S (A^T)^{j-1}

    the negative derivative of 1/2 tr((E - A^L) S (E - A^L)^T) in all n_v^2 entries. No mask keeps
    the blocks: E - A^L has its corner block only, powers of A^T move it down to block (j, j-1), so
    term j is the velocity of W_j. An oracle for tests; layers by themselves are far cheaper.

    Args:
        matrix: Adjacency matrix A, shape (n_v, n_v).
        target: Embedding E of the target (`corner`), shape (n_v, n_v).
        n_layers: Number of weight layers L, at least 1.
        input_moment: Embedding S of the second moment of the inputs (`input_block`); by default
            the identity, which is white inputs since E - A^L has its corner block only.

    Returns:
        Shape (n_v, n_v).

    Cost: about 6 L n_v^3 operations and L + 1 matrices of n_v^2 numbers.

    Source: Wendin & Altafini, arXiv 2511.10362, in reversed order.
    """
    identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    powers = list(accumulate([matrix.T] * n_layers, jnp.matmul, initial=identity))
    residual = target - powers[n_layers].T
    drive = residual if input_moment is None else residual @ input_moment
    terms = [powers[n_layers - j] @ drive @ powers[j - 1] for j in range(1, n_layers + 1)]
    return jnp.sum(jnp.stack(terms), axis=0)


def _starts(widths: Sequence[int]) -> tuple[int, ...]:
    """Where the blocks of the nodes start, and n_v after the last."""
    return tuple(accumulate(widths, initial=0))
