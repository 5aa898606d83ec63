"""Derivative of the map of a deep linear network with respect to its weights: kernel and rank."""

from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check_nonnegative
from gramdyn.deep_linear._products import check_weights, product
from gramdyn.deep_linear.canonical import numerical_rank


def tangent_kernel_matrix(weights: Any) -> Float[np.ndarray, "dLd0 dLd0"]:
    """Tangent kernel of the map: J J^T = sum_l kron(B_l, A_l), J the derivative of Pi row by row.

    B_l = W_{L:l+1} W_{L:l+1}^T and A_l = W_{l-1:1}^T W_{l-1:1}. At zero residual and
    white inputs its eigenvalues above zero are those of the Hessian.

    Args:
        weights: W_1, ..., W_L, float64.

    Returns:
        Symmetric positive semidefinite matrix, (d_L d_0, d_L d_0).

    Raises:
        InputError: for weights in float32, or that do not chain.

    Cost: O(L (d_L d_0)^2).
    Source: derived here, tested.
    """
    weights = check_weights(weights)
    depth = len(weights)
    kernels = []
    for j in range(1, depth + 1):
        up, low = product(weights, depth, j + 1), product(weights, j - 1, 1)
        kernels.append(np.kron(up @ up.T, low.T @ low))
    return np.sum(kernels, axis=0)


def jacobian_rank(weights: Any, tolerance: float = 1e-10) -> int:
    """Rank of the derivative of the map with respect to the weights.

    rank J = sum_l (a_l - a_{l-1}) b_l with a_l = rank W_{L:l+1}, a_0 = 0 and b_l = rank W_{l-1:1}.

    Args:
        weights: W_1, ..., W_L, of any ranks, float64.
        tolerance: Singular values up to this times max(1, the largest) count as zero.

    Returns:
        The rank, at most d_L d_0.

    Raises:
        InputError: for weights in float32, or that do not chain.

    Cost: 2 L singular value decompositions of widths, none of the size of J.
    Source: derived here, tested.
    """
    weights, tolerance = check_weights(weights), check_nonnegative("tolerance", tolerance)
    depth = len(weights)
    layers = range(1, depth + 1)
    up = [0] + [numerical_rank(product(weights, depth, j + 1), tolerance) for j in layers]
    low = [numerical_rank(product(weights, j - 1, 1), tolerance) for j in layers]
    return sum((up[j] - up[j - 1]) * low[j - 1] for j in layers)
