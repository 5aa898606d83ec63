"""The average gradient outer product, and how alike it is to a layer's weight Gram.

J_mu = dF_mu / dh_mu is the Jacobian of a network's outputs by what enters a layer, at one sample.
That the weight Gram is a power of the average of J^T J is an ansatz, measured; that balanced deep
linear networks have it exactly, and every readout too, is a fact.
Source: arXiv 2212.13881, 2402.05271.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check_known
from gramdyn.kernels.compare import frobenius

CORRELATIONS = ("cosine", "pearson")


def average_gradient_product(
    jacobians: Float[Array, "n C M"], *, centre: bool = False
) -> Float[Array, "M M"]:
    """1/n sum over samples of J^T J.

    Args:
        jacobians: J of each sample, shape (n, C, M): the conjugate field of a layer's inputs.
        centre: Take each J less their mean.

    Cost: 2 n C M^2 operations.
    """
    rows = _rows_of(jacobians, centre)
    return rows.T @ rows


def _rows_of(jacobians: Float[Array, "n C M"], centre: bool) -> Float[Array, "r M"]:
    """Rows R with R^T R the average product; 0 where what is left of them is rounding."""
    less = jacobians - jnp.mean(jacobians, axis=0, keepdims=True) if centre else jacobians
    rows = less.reshape(-1, jacobians.shape[-1]) / jnp.sqrt(float(len(jacobians)))
    noise = 16.0 * jnp.finfo(rows.dtype).eps * frobenius(jacobians)
    return jnp.where(frobenius(less) > noise, rows, 0.0) if centre else rows


def matrix_power(matrix: Float[Array, "M M"], power: float) -> Float[Array, "M M"]:
    """Power of a symmetric positive semidefinite matrix; negative rounding counts as 0.

    Cost: one eigendecomposition, none for a power of 1.
    """
    if power == 1:
        return matrix
    values, frame = jnp.linalg.eigh(matrix)
    return (frame * jnp.maximum(values, 0.0)[None, :] ** power) @ frame.T


def ansatz_correlation(
    gram: Float[Array, "M M"],
    product: Float[Array, "M M"],
    *,
    power: float = 0.5,
    correlation: str = "cosine",
) -> Float[Array, ""]:
    """How alike a weight Gram and a power of an average gradient outer product are.

    Args:
        gram: W^T W, shape (M, M).
        product: What `average_gradient_product` gives, shape (M, M).
        power: The power, 1/2 or 1 in the literature.
        correlation: "cosine", <A, B> / (|A| |B|), or "pearson", the same of the entries less their
            mean.

    Returns:
        In [-1, 1]; 0 where either vanishes.

    Raises:
        InputError: for an unknown correlation.

    Cost: one eigendecomposition, none for a power of 1.
    """
    check_known("correlation", correlation, CORRELATIONS)
    other = matrix_power(product, power)
    if correlation == "pearson":
        gram, other = gram - jnp.mean(gram), other - jnp.mean(other)
    size = frobenius(gram) * frobenius(other)
    return jnp.where(size > 0, jnp.sum(gram * other) / jnp.where(size > 0, size, 1.0), 0.0)


def jacobian_correlation(
    weight: Float[Array, "N M"],
    jacobians: Float[Array, "n C M"],
    *,
    power: float = 0.5,
    correlation: str = "cosine",
    centre: bool = False,
) -> Float[Array, ""]:
    """As `ansatz_correlation`, from the weights and the Jacobians themselves.

    Args:
        weight: W, shape (N, M).
        jacobians: J of each sample, shape (n, C, M).
        power: The power of their average product.
        correlation: "cosine" or "pearson".
        centre: Take each J less their mean; 0 where they are all alike, as those of a readout are.

    Raises:
        InputError: for an unknown correlation.

    Cost: where n C and N are less than M, a decomposition of the Jacobians as an n C x M matrix and
        O(M (n C + N)^2) operations, no M x M matrix; that of `ansatz_correlation` otherwise.
    """
    check_known("correlation", correlation, CORRELATIONS)
    rows, width = _rows_of(jacobians, centre), weight.shape[1]
    if max(len(rows), len(weight)) >= width:
        gram, product = weight.T @ weight, rows.T @ rows
        return ansatz_correlation(gram, product, power=power, correlation=correlation)
    _, values, frame = jnp.linalg.svd(rows, full_matrices=False)
    values = values ** (2.0 * power)  # P^power = frame^T diag(values) frame
    inner = jnp.sum(values * jnp.sum((weight @ frame.T) ** 2, axis=0))
    own, other = jnp.sum((weight @ weight.T) ** 2), jnp.sum(values**2)
    if correlation == "pearson":
        sums = jnp.sum(jnp.sum(weight, axis=1) ** 2), jnp.sum(values * jnp.sum(frame, axis=1) ** 2)
        mean, another = (total / width for total in sums)  # the entries' mean times M
        inner, own, other = inner - mean * another, own - mean**2, other - another**2
    size = jnp.sqrt(jnp.maximum(own, 0.0)) * jnp.sqrt(jnp.maximum(other, 0.0))
    return jnp.where(size > 0, inner / jnp.where(size > 0, size, 1.0), 0.0)


def centred_ansatz_correlation(
    weight: Float[Array, "N M"], start: Float[Array, "N M"], sens: Float[Array, "n C N"]
) -> Float[Array, ""]:
    """Cosine of V^T V and V^T K V with V = W - W(0), K = 1/n sum of (dF/dz)^T dF/dz.

    What of the ansatz is learnt, the start left out.

    Args:
        weight: W, shape (N, M).
        start: W(0), shape (N, M).
        sens: dF/dz of each sample, shape (n, C, N).

    Cost: 2 n C N^2 + 4 N M (N + M) operations.
    """
    moved = weight - start
    inner = average_gradient_product(sens)
    return ansatz_correlation(moved.T @ moved, moved.T @ inner @ moved, power=1.0)
