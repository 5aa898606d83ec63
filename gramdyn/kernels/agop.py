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
    if centre:
        jacobians = jacobians - jnp.mean(jacobians, axis=0, keepdims=True)
    flat = jacobians.reshape(-1, jacobians.shape[-1])
    return flat.T @ flat / jacobians.shape[0]


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
