"""Linear subspaces that the flow keeps: of one level, and of the origin of two layers."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check
from gramdyn.deep_linear._points import check_point
from gramdyn.deep_linear._products import Weights, widths_of
from gramdyn.deep_linear.canonical import check_chosen, check_problem, target_modes


@dataclass(frozen=True)
class LevelSubspace:
    """The invariant linear subspace N_S of the level whose learned modes are S.

    Attributes:
        input_projector: I - V V^T over the unlearned v_p with sigma_p > 0, shape (d_0, d_0).
        output_projector: I - U U^T over the same modes, shape (d_L, d_L).
        dimension: Number of free parameters in N_S.
    """

    input_projector: Float[np.ndarray, "d0 d0"]
    output_projector: Float[np.ndarray, "dL dL"]
    dimension: int


@dataclass(frozen=True)
class OriginManifolds:
    """Parts of a two-layer point in the stable and the unstable manifold of the origin.

    Attributes:
        stable: (W_1, W_2) with W_2 = -Q W_1^T; the flow from it alone decays to zero.
        unstable: (W_1, W_2) with W_2 = Q W_1^T.
    """

    stable: Weights
    unstable: Weights


def level_subspace(target: Any, widths: Any, chosen: Any) -> LevelSubspace:
    """Subspace N_S = {W_1 v_p = 0 and u_p^T W_L = 0 for all unlearned p with sigma_p > 0}.

    Gradient flow and gradient descent never leave it, and inside it they are those of the target
    with the unlearned modes removed: from generic points of N_S the flow ends on the level of S.
    It is a part of the stable set, in general not all of it.

    Args:
        target: Whitened target T, shape (d_L, d_0).
        widths: d_0, ..., d_L, two layers or more.
        chosen: Learned modes S, numbered from 0, all with sigma > 0, at most min(widths) of them.
            A set that splits tied modes follows the basis that the decomposition happened to give,
            as in `canonical_weights`.

    Returns:
        Projectors of inputs and outputs, and the dimension N - #p (d_1 + d_{L-1}) for N parameters.

    Raises:
        InputError: Widths that do not fit the target or are too few, or modes that cannot be
            chosen.

    Cost: one singular value decomposition of T.
    Source: derived here, tested.
    """
    widths = check_problem(target, widths)
    check(len(widths) >= 3, "widths", "have two layers or more", widths)
    modes = target_modes(target)
    keep = check_chosen(modes, widths, chosen)
    lost = [mode for mode in range(modes.rank) if mode not in keep]
    size = sum(low * up for low, up in pairwise(widths))
    return LevelSubspace(
        _without(modes.right[:, lost]),
        _without(modes.left[:, lost]),
        size - len(lost) * (widths[1] + widths[-2]),
    )


def project_onto_level_subspace(weights: Any, target: Any, chosen: Any) -> Weights:
    """Nearest point of N_S: W_1 (I - V V^T) and (I - U U^T) W_L, the other layers as they are.

    Args:
        weights: W_1, ..., W_L, shapes (d_l, d_{l-1}), float64, two layers or more.
        target: Whitened target T, shape (d_L, d_0).
        chosen: Learned modes S, as in `level_subspace`.

    Returns:
        Weights in N_S.

    Raises:
        InputError: as `level_subspace`, and for weights that do not fit the target.

    Cost: one singular value decomposition of T.
    Source: derived here, tested.
    """
    found, wanted = check_point(weights, target)
    space = level_subspace(wanted, widths_of(found), chosen)
    middle = found[1:-1]
    return (found[0] @ space.input_projector, *middle, space.output_projector @ found[-1])


def origin_manifolds(weights: Any, target: Any) -> OriginManifolds:
    """The point as a sum of two, one in the stable and one in the unstable manifold of the origin.

    For two layers and a square invertible target with polar factor Q = U V^T, the stable manifold
    of the origin is {W_2 = -Q W_1^T} and the unstable one {W_2 = Q W_1^T}: linear, invariant,
    orthogonal to each other and together everything. In coordinates where T is diagonal Q = I.

    Args:
        weights: (W_1, W_2), shapes (d_1, d_0) and (d_0, d_1), float64.
        target: Whitened target T, shape (d_0, d_0), invertible.

    Returns:
        The two parts; their sum is the point.

    Raises:
        InputError: Not two layers, a target that is not square, or one without an inverse, for
            which directions are left that neither grow nor decay at first order.

    Cost: one singular value decomposition of T.
    Source: derived here, tested.
    """
    found, wanted = check_point(weights, target)
    check(len(found) == 2, "weights", "have two layers", len(found))
    check(wanted.shape[0] == wanted.shape[1], "target", "be square", wanted.shape)
    modes = target_modes(wanted)
    check(modes.rank == len(wanted), "target", "be invertible", modes.values)
    polar = modes.left @ modes.right.T
    grows = 0.5 * (found[0] + found[1].T @ polar)
    decays = 0.5 * (found[0] - found[1].T @ polar)
    return OriginManifolds((decays, -polar @ decays.T), (grows, polar @ grows.T))


def _without(columns: Float[np.ndarray, "d _"]) -> Float[np.ndarray, "d d"]:
    """Projector on what is orthogonal to orthonormal columns."""
    return np.asarray(np.eye(len(columns)) - columns @ columns.T)
