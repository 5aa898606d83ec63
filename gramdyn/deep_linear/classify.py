"""Kind of one critical point, by ranks of products rather than by small eigenvalues."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from gramdyn._checks import check_nonnegative, check_positive
from gramdyn.deep_linear._gaps import exceeds_learned, order_bound
from gramdyn.deep_linear._points import (
    check_point,
    gradients,
    is_critical,
    loss_of,
    norm_of,
)
from gramdyn.deep_linear._products import Weights, product, whole_map, widths_of
from gramdyn.deep_linear.canonical import numerical_rank

Kind = Literal["not_critical", "global_min", "strict_saddle", "nonstrict_saddle"]


@dataclass(frozen=True)
class Classification:
    """What kind of point this is, and the numbers behind it.

    Attributes:
        kind: "not_critical", "global_min", "strict_saddle" or "nonstrict_saddle".
        gradient_norm: Norm of all derivatives together.
        rank: Rank of Pi.
        value: Loss, the floor included.
        coefficients: alpha_i = u_i^T Pi v_i / sigma_i, shape (min(d_0, d_L),): 1 for a learned
            mode and 0 for others; 0 where sigma_i = 0. Among tied sigma_i only their sum is sure.
        pivots: Shape (L, L); entry [i-1, j-1], i > j, says whether pivot (i, j) is tightened.
            False elsewhere, and everywhere at a point that is not critical.
        order_lower_bound: At saddles, a lower bound on the order of escape; None otherwise.
    """

    kind: Kind
    gradient_norm: float
    rank: int
    value: float
    coefficients: Float[np.ndarray, " k"]
    pivots: Bool[np.ndarray, "L L"]
    order_lower_bound: int | None


def classify(
    weights: Any, target: Any, *, floor: float = 0.0, tolerance: float = 1e-8
) -> Classification:
    """Kind of a point of the loss 1/2 ||T - Pi||^2 + floor, by the rank rule.

    With r = rank Pi, a critical point whose unlearned modes include one above a learned one is a
    strict saddle. Otherwise Pi is a best map of rank r: a global minimum if r is the largest rank
    within reach, min(rank T, d_0, ..., d_L). Else a pivot i > j is tightened if
    W_{j-1:1} T^T W_{L:i+1} or W_{i-1:j+1} has rank r, and the saddle is non-strict, its Hessian
    without negative eigenvalue, exactly if all pivots are tightened.

    The point must be critical to rounding: a point reached by descent has unlearned weights that
    are small, not zero, and reads as "not_critical" or as strict. A zero target has only global
    minima. Scales count: weights and targets far below 1 are zero to the tolerance, which is
    absolute below 1 since a gradient can only be small beside some size. `critical_points` and
    `plateau_levels` know the target alone and count zero relative to sigma_1; divide a small target
    by its sigma_1, and weights by sigma_1^{1/L}, before the two are compared.

    Args:
        weights: W_1, ..., W_L of shapes (d_l, d_{l-1}), float64.
        target: Whitened target T, shape (d_L, d_0).
        floor: Loss that no network avoids, added to the value, at least 0.
        tolerance: A gradient up to tolerance max(1, sigma_1) is zero, and so are singular values
            up to tolerance max(1, s_max), above 0.

    Returns:
        Kind, gradient norm, rank, value, coefficients, pivots and bound on the order of escape.

    Raises:
        InputError: Weights in float32, anything not finite, or shapes that do not match.

    Cost: O(L^3 d^3).
    Source: Achour, Malgouyres, Gerchinovitz, JMLR 25 (2024), for targets of full rank without
        ties; tested against the Hessian for the others.
    """
    found, wanted = check_point(weights, target)
    floor = check_nonnegative("floor", floor)
    tolerance = check_positive("tolerance", tolerance)
    kind, pivots = _kind(found, wanted, tolerance)
    saddle = kind in ("strict_saddle", "nonstrict_saddle")
    return Classification(
        kind=kind,
        gradient_norm=norm_of(gradients(found, wanted)),
        rank=numerical_rank(whole_map(found), tolerance),
        value=loss_of(found, wanted) + floor,
        coefficients=mode_coefficients(whole_map(found), wanted, tolerance),
        pivots=pivots,
        order_lower_bound=order_bound(found, wanted - whole_map(found), tolerance)
        if saddle
        else None,
    )


def mode_coefficients(
    whole: Float[np.ndarray, "dL d0"], target: Float[np.ndarray, "dL d0"], tolerance: float
) -> Float[np.ndarray, " k"]:
    """alpha_i = u_i^T Pi v_i / sigma_i, and 0 where sigma_i <= tolerance max(1, sigma_1)."""
    left, values, right = np.linalg.svd(target, full_matrices=False)
    passed = np.einsum("oi,od,id->i", left, whole, right)
    present = np.arange(len(values)) < numerical_rank(target, tolerance)
    return np.where(present, passed / np.where(present, values, 1.0), 0.0)


def _kind(
    weights: Weights, target: Float[np.ndarray, "dL d0"], tolerance: float
) -> tuple[Kind, Bool[np.ndarray, "L L"]]:
    """Kind and tightened pivots."""
    n_layers, rank = len(weights), numerical_rank(whole_map(weights), tolerance)
    if not is_critical(weights, target, tolerance):
        return "not_critical", np.zeros((n_layers, n_layers), dtype=bool)
    pivots = _tightened(weights, target, rank, tolerance)
    # Compared mode by mode, not by the loss: squares would hide a small mode under the tolerance.
    if exceeds_learned(weights, target - whole_map(weights), tolerance):
        return "strict_saddle", pivots
    if rank == min(numerical_rank(target, tolerance), *widths_of(weights)):
        return "global_min", pivots
    below = np.tril_indices(n_layers, -1)
    return ("nonstrict_saddle" if pivots[below].all() else "strict_saddle"), pivots


def _tightened(
    weights: Weights, target: Float[np.ndarray, "dL d0"], rank: int, tolerance: float
) -> Bool[np.ndarray, "L L"]:
    """Which pivots (i, j), i > j, have a complementary block of rank r."""
    n_layers = len(weights)
    found = np.zeros((n_layers, n_layers), dtype=bool)
    for low, high in combinations(range(1, n_layers + 1), 2):
        outer = product(weights, low - 1, 1) @ target.T @ product(weights, n_layers, high + 1)
        inner = product(weights, high - 1, low + 1)
        ranks = (numerical_rank(outer, tolerance), numerical_rank(inner, tolerance))
        found[high - 1, low - 1] = rank in ranks
    return found
