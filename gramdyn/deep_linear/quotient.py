"""Weights up to changes of basis at hidden nodes, and what of them the map of the network keeps.

The group GL(d_1) x ... x GL(d_{L-1}) acts by W_l -> G_l W_l G_{l-1}^{-1} with G_0 = G_L = 1. It
keeps the map, the loss, criticality and all ranks; ranks name its orbits up to bases of the ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gramdyn._checks import check, check_positive
from gramdyn.deep_linear._checks import check_widths
from gramdyn.deep_linear._products import Weights, check_weights, product, whole_map, widths_of
from gramdyn.deep_linear.canonical import (
    EQUAL,
    TargetModes,
    canonical_weights,
    canonical_weights_from_subspace,
    check_problem,
    numerical_rank,
    target_modes,
)
from gramdyn.deep_linear.critical import global_minimum


@dataclass(frozen=True)
class QuotientRepresentative:
    """What a network is after its hidden bases are forgotten, where its map is that of a level.

    Attributes:
        alpha: Share u_i^T Pi v_i / sigma_i of every mode in the map, (rank of the target,).
        chosen: Learned modes from 0. Of tied ones, where a subspace is learned, the first as many
            as its dimension.
        weights: Balanced weights with the same map, W_1, ..., W_L.
        interval_multiplicities: m_ij of `interval_multiplicities`, of the given weights.
        orbit_dimension: Dimension of the orbit of the given weights.
        minima_dimension: Dimension of the set of global minima, as in `global_minimum`.
    """

    alpha: Float[np.ndarray, " k"]
    chosen: tuple[int, ...]
    weights: Weights
    interval_multiplicities: Int[np.ndarray, "nodes nodes"]
    orbit_dimension: int
    minima_dimension: int | None


def interval_multiplicities(weights: Any, tolerance: float = 1e-10) -> Int[np.ndarray, "n n"]:
    """How many independent signals start at node i and end at node j, for all i <= j.

    m_ij = rho_ij - rho_{i-1,j} - rho_{i,j+1} + rho_{i-1,j+1} with rho_ij = rank W_{j:i+1} and
    rho_ii = d_i: with free bases at the ends too, a complete invariant.

    Args:
        weights: W_1, ..., W_L, of any ranks, float64.
        tolerance: Singular values of a product up to this times max(1, the largest) count as zero.

    Returns:
        Whole numbers >= 0, (L+1, L+1), zero below the diagonal; m_0L is the rank of the map.

    Raises:
        InputError: for weights in float32 or that do not chain, a tolerance that is not above 0, or
            one at which products have ranks that no weights have: noise near it gives numbers
            below 0.

    Cost: L (L + 1) / 2 singular value decompositions.
    Source: Gabriel (1972), quivers of type A.
    """
    weights = check_weights(weights)
    nodes, tolerance = len(weights) + 1, check_positive("tolerance", tolerance)
    ranks = np.zeros((nodes + 1, nodes + 1), dtype=np.int64)  # row 0 and the last column: none
    for i in range(nodes):
        for j in range(i, nodes):
            ranks[i + 1, j] = numerical_rank(product(weights, j, i + 1), tolerance)
    found = np.triu(ranks[1:, :-1] - ranks[:-1, :-1] - ranks[1:, 1:] + ranks[:-1, 1:])
    demand = "suit these weights, without multiplicities below 0 from ranks of noise"
    check(bool(np.all(found >= 0)), "tolerance", demand, tolerance)
    return found


def jordan_blocks(weights: Any, tolerance: float = 1e-10) -> Int[np.ndarray, " n"]:
    """Numbers of Jordan blocks of the adjacency matrix, whose block (l, l-1) is W_l.

    Blocks of size s number sum_{j-i+1=s} m_ij. The matrix is nilpotent: all eigenvalues are zero.

    Args:
        weights: W_1, ..., W_L, of any ranks, float64.
        tolerance: As in `interval_multiplicities`.

    Returns:
        Numbers of blocks of size 1, ..., L+1, (L+1,); sizes times numbers add up to all nodes.

    Raises:
        InputError: as `interval_multiplicities`.

    Cost: as `interval_multiplicities`.
    Source: Wendin & Altafini (arXiv 2511.10362) for the matrix; the count derived here, tested.
    """
    found = interval_multiplicities(weights, tolerance)
    return np.array([np.trace(found, offset=k) for k in range(len(found))])


def orbit_dimension(weights: Any, tolerance: float = 1e-10) -> int:
    """Dimension of the orbit of the weights under changes of basis at hidden nodes.

    Rank of xi -> (xi_l W_l - W_l xi_{l-1})_l with any xi_l at hidden nodes, 0 at the ends.

    Args:
        weights: W_1, ..., W_L, of any ranks, float64.
        tolerance: Singular values up to this times max(1, the largest) count as zero.

    Returns:
        The dimension, at most sum_l d_l^2 over hidden nodes; 0 with one layer.

    Raises:
        InputError: for weights in float32 or that do not chain, or a tolerance that is not above 0.

    Cost: one singular value decomposition of N x sum_l d_l^2.
    Source: derived here, tested.
    """
    weights = check_weights(weights)
    tolerance = check_positive("tolerance", tolerance)
    if len(weights) == 1:
        return 0
    hidden = widths_of(weights)[1:-1]
    columns = [_generators(weights, node, width) for node, width in enumerate(hidden, start=1)]
    return numerical_rank(np.hstack(columns), tolerance)


def _generators(weights: Weights, node: int, width: int) -> Float[np.ndarray, "N g"]:
    """Velocity of all weights under each unit generator at a hidden node, row by row."""
    blocks: list[Any] = [np.zeros((weight.size, width**2)) for weight in weights]
    below, above = weights[node - 1], weights[node]
    blocks[node - 1] = np.kron(np.eye(width), below.T)  # xi W_l
    blocks[node] = -np.kron(above, np.eye(width))  # -W_{l+1} xi
    return np.vstack(blocks)


def canonical_orbit_dimension(widths: Sequence[int], rank: int) -> int:
    """Dimension of the orbit of canonical weights, sum_l r (2 d_l - r) over hidden nodes.

    Args:
        widths: d_0, ..., d_L.
        rank: Number r of learned modes, from 0 to min(d_0, ..., d_L).

    Returns:
        The dimension: that of all networks of the level with nothing unlearned in their weights.

    Raises:
        InputError: for widths that are not whole or a rank outside its range.

    Cost: O(L).
    Source: derived here, tested.
    """
    widths = check_widths(widths)
    whole = isinstance(rank, Integral) and 0 <= rank <= min(widths)
    check(whole, "rank", f"be a whole number from 0 to {min(widths)}", rank)
    return sum(rank * (2 * width - rank) for width in widths[1:-1])


def quotient_representative(
    weights: Any, target: Any, tolerance: float = 1e-6
) -> QuotientRepresentative:
    """The canonical network with the same map, for a map that critical points have.

    Such a map is P_K T with K invariant under T T^T. Weights of such a map need not be critical
    themselves: W_1 = 0, W_2 = 1 has the map of the origin.

    Args:
        weights: W_1, ..., W_L, on the level up to the tolerance, float64.
        target: Whitened target T, (d_L, d_0), of any rank, ties allowed.
        tolerance: Largest error of an entry of the map, relative to sigma_1 (absolute for a zero
            target), and below which singular values count as zero in the ranks.

    Returns:
        The representative, its modes, multiplicities and dimensions.

    Raises:
        InputError: for weights in float32, input that does not fit, a map further from every level,
            or a tolerance that does not suit the ranks, as in `interval_multiplicities`.

    Cost: as `orbit_dimension`.
    Source: Wendin & Altafini (arXiv 2511.10362) for the quotient by the map; derived here, tested.
    """
    weights, tolerance = check_weights(weights), check_positive("tolerance", tolerance)
    widths = check_problem(target, widths_of(weights))
    modes, found = target_modes(target), whole_map(weights)
    shares = _shares(modes, found)
    chosen, basis = _learned(modes, shares)
    _check_level(found, basis @ (basis.T @ np.asarray(target, float)), modes, tolerance)
    return QuotientRepresentative(
        alpha=np.diagonal(shares).copy(),
        chosen=chosen,
        weights=_representative(target, widths, basis),
        interval_multiplicities=interval_multiplicities(weights, tolerance),
        orbit_dimension=orbit_dimension(weights, tolerance),
        minima_dimension=global_minimum(target, widths).dimension,
    )


def _shares(modes: TargetModes, found: Float[np.ndarray, "dL d0"]) -> Float[np.ndarray, "k k"]:
    """u_i^T Pi v_j / sigma_j."""
    k = modes.rank
    return modes.left[:, :k].T @ found @ modes.right[:, :k] / modes.values[:k]


def _learned(
    modes: TargetModes, shares: Float[np.ndarray, "k k"]
) -> tuple[tuple[int, ...], Float[np.ndarray, "dL r"]]:
    """Learned modes and the subspace of outputs they span.

    Inside a group of tied values the shares are the projector on what is learned of its eigenspace.
    """
    chosen, basis = [], [np.zeros((len(modes.left), 0))]
    gaps = np.diff(modes.values[: modes.rank]) < -EQUAL * modes.values[0]
    for group in np.split(np.arange(modes.rank), np.flatnonzero(gaps) + 1):
        inner = shares[np.ix_(group, group)]
        values, vectors = np.linalg.eigh((inner + inner.T) / 2)
        learned = vectors[:, values > 0.5]
        basis.append(modes.left[:, group] @ learned)
        chosen += [int(i) for i in group[: learned.shape[1]]]
    return tuple(chosen), np.hstack(basis)


def _check_level(found: Any, wanted: Any, modes: TargetModes, tolerance: float) -> None:
    """Refuse a map that is not the target on a subspace."""
    error = float(np.abs(found - wanted).max()) / float(modes.values[0] or 1.0)
    demand = "have a map that critical points have, the target on a subspace of its modes"
    check(error <= tolerance, "weights", demand, f"off by {error:.1e} of sigma_1")


def _representative(
    target: Any, widths: tuple[int, ...], basis: Float[np.ndarray, "dL r"]
) -> Weights:
    """Canonical weights of a subspace, the zero network for none."""
    if basis.shape[1] == 0:
        return canonical_weights(target, widths, ())
    return canonical_weights_from_subspace(target, widths, basis)
