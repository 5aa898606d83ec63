"""Every point split into a learned network, which makes the map, and an unlearned one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check_positive
from gramdyn.deep_linear._products import Weights, check_weights, product, whole_map
from gramdyn.deep_linear.canonical import numerical_rank

Projectors = tuple[Float[np.ndarray, "_ _"], ...]


@dataclass(frozen=True)
class Split:
    """Learned and unlearned network of one point; their sum is the point.

    Attributes:
        learned: W_l - Z_l, shapes (d_l, d_{l-1}); its product is Pi.
        unlearned: Z_l = W_l P_{l-1}; its product is zero.
        projectors: P_0, ..., P_L, shapes (d_l, d_l).
        rank: Rank r of Pi.
    """

    learned: Weights
    unlearned: Weights
    projectors: Projectors
    rank: int


def excess_projectors(weights: Any, tolerance: float = 1e-8) -> Projectors:
    """Projectors on what each node holds beyond the learned map.

        P_l = I - W_{l:1} Pi^+ W_{L:l+1},  l = 0..L,   and P_l = I where Pi = 0.

    They are idempotent, in general not symmetric, with W_l P_{l-1} = P_l W_l and trace d_l - r.
    No singular vector is named, so tied singular values need no care.

    Args:
        weights: W_1, ..., W_L of shapes (d_l, d_{l-1}), float64.
        tolerance: Singular values of Pi up to tolerance max(1, s_max) count as zero, above 0.

    Returns:
        P_0, ..., P_L, shapes (d_l, d_l).

    Raises:
        InputError: Weights in float32, not finite, or with shapes that do not chain.

    Cost: O(L^2 d^3).
    Source: Achour, Malgouyres, Gerchinovitz, JMLR 25 (2024), for the splitting; the form by
        projectors is derived here, tested.
    """
    return split(weights, tolerance).projectors


def split(weights: Any, tolerance: float = 1e-8) -> Split:
    """Learned and unlearned network: W_l = (W_l - Z_l) + Z_l with Z_l = W_l P_{l-1}.

    Z_L ... Z_1 = 0, and at a critical point Z may be scaled by any number without leaving the
    critical points or the level. Any weights may be split, critical or not.

    Args:
        weights: W_1, ..., W_L of shapes (d_l, d_{l-1}), float64.
        tolerance: Singular values of Pi up to tolerance max(1, s_max) count as zero, above 0.

    Returns:
        The two networks, the projectors and the rank of Pi.

    Raises:
        InputError: Weights in float32, not finite, or with shapes that do not chain.

    Cost: O(L^2 d^3).
    Source: as `excess_projectors`.
    """
    found, tolerance = check_weights(weights), check_positive("tolerance", tolerance)
    inverse, rank = _inverse(whole_map(found), tolerance)
    projectors = tuple(_projector(found, inverse, node) for node in range(len(found) + 1))
    unlearned = tuple(w @ p for w, p in zip(found, projectors[:-1], strict=True))
    learned = tuple(w - z for w, z in zip(found, unlearned, strict=True))
    return Split(learned, unlearned, projectors, rank)


def _inverse(
    matrix: Float[np.ndarray, "dL d0"], tolerance: float
) -> tuple[Float[np.ndarray, "d0 dL"], int]:
    """Pseudo-inverse and rank; a relative cutoff alone would invert the rounding of Pi = 0."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    rank = numerical_rank(matrix, tolerance)
    return (right[:rank].T / values[:rank]) @ left[:, :rank].T, rank


def _projector(
    weights: Weights, inverse: Float[np.ndarray, "d0 dL"], node: int
) -> Float[np.ndarray, "dl dl"]:
    """I - W_{l:1} Pi^+ W_{L:l+1}."""
    below, above = product(weights, node, 1), product(weights, len(weights), node + 1)
    passed = below @ inverse @ above
    return np.asarray(np.eye(len(passed)) - passed)
