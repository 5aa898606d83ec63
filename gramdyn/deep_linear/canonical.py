"""Canonical points: one balanced network for each set of learned modes, and its Hessian's spectrum.

A mode of the target T is a singular triplet (sigma, u, v) with sigma > 0; modes are numbered from
0, the largest sigma first. Singular values up to `EQUAL` times the largest count as zero, and those
that differ by no more than that as tied.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_matrix
from gramdyn.deep_linear._checks import check_modes, check_products, check_target, check_widths
from gramdyn.deep_linear._products import Weights

EQUAL = 1e-10


@dataclass(frozen=True)
class TargetModes:
    """Singular triplets of the target, the largest first, those of value zero included.

    Attributes:
        left: Left singular vectors u as columns, (d_L, m) with m = min(d_0, d_L).
        values: Singular values, (m,); what counts as zero is exactly zero.
        right: Right singular vectors v as columns, (d_0, m).
        rank: How many values are above zero.
    """

    left: Float[np.ndarray, "dL m"]
    values: Float[np.ndarray, " m"]
    right: Float[np.ndarray, "d0 m"]
    rank: int


def target_modes(target: Any, tolerance: float = EQUAL) -> TargetModes:
    """Singular triplets of the target.

    Args:
        target: Whitened target T, (d_L, d_0), finite.
        tolerance: Singular values up to this times the largest count as zero.

    Returns:
        The triplets; for a zero target all values are zero and the rank is 0.

    Raises:
        InputError: for a target that is no finite matrix.

    Cost: one singular value decomposition.
    """
    left, values, right = np.linalg.svd(check_target(target), full_matrices=False)
    values = np.where(values > tolerance * values[0], values, 0.0)
    return TargetModes(left, values, right.T, int(np.count_nonzero(values)))


def numerical_rank(matrix: Float[np.ndarray, "_ _"], tolerance: float) -> int:
    """Number of singular values above tolerance max(1, the largest): noise has no rank."""
    values = np.linalg.svd(matrix, compute_uv=False)
    return int(np.sum(values > tolerance * max(1.0, values[0])))


def check_problem(target: Any, widths: Any) -> tuple[int, ...]:
    """The widths d_0, ..., d_L, refused unless they are whole and fit the (d_L, d_0) target."""
    shape, found = check_target(target).shape, check_widths(widths)
    demand = f"begin with {shape[1]} and end with {shape[0]}, as the target does"
    check((found[0], found[-1]) == shape[::-1], "widths", demand, widths)
    return found


def check_chosen(modes: TargetModes, widths: tuple[int, ...], chosen: Any) -> list[int]:
    """The chosen modes in order, refused unless a critical point of these widths learns them."""
    demand = f"hold different modes of the target, whole numbers from 0 to below {modes.rank}"
    found = check_modes("chosen", chosen, range(modes.rank), demand)
    _check_count(modes, widths, len(found), "chosen")
    return sorted(found)


def _check_count(modes: TargetModes, widths: tuple[int, ...], count: int, name: str) -> None:
    """Refuse more modes than the widths pass, or with one layer anything but every mode."""
    check(count <= min(widths), name, f"hold at most {min(widths)} modes", count)
    whole = len(widths) > 2 or count == modes.rank
    check(whole, name, f"hold all {modes.rank} modes where there is one layer", count)


def canonical_weights(target: Any, widths: Sequence[int], chosen: Sequence[int]) -> Weights:
    """Balanced weights that have learned the chosen modes and nothing else.

    W_l = sum_k sigma_k^{1/L} y_k^{(l)} y_k^{(l-1)T} with y^{(0)} = v, y^{(L)} = u and the k-th unit
    vector at hidden nodes: a critical point whose map is the sum of the chosen sigma u v^T.

    Args:
        target: Whitened target T, (d_L, d_0).
        widths: d_0, ..., d_L.
        chosen: Different modes from 0, at most min(widths) of them. Among tied singular values an
            index means one vector of the basis that the decomposition happened to give; use
            `canonical_weights_from_subspace` to say which. With one layer the only critical point
            is T itself: choose every mode.

    Returns:
        W_1, ..., W_L, with C_l = W_{l+1}^T W_{l+1} - W_l W_l^T = 0; all zero for no mode.

    Raises:
        InputError: for widths that do not fit, or modes that cannot be chosen.

    Cost: one singular value decomposition.
    Source: Achour, Malgouyres & Gerchinovitz (arXiv 2107.13289).
    """
    widths, modes = check_problem(target, widths), target_modes(target)
    keep = check_chosen(modes, widths, chosen)
    return _balanced(modes.left[:, keep], modes.values[keep], modes.right[:, keep], widths)


def canonical_weights_from_subspace(target: Any, widths: Sequence[int], basis: Any) -> Weights:
    """Balanced weights that have learned the target on a subspace of its outputs, and nothing else.

    The map is P_K T with P_K the projector on K = span(basis): the critical points' maps when K is
    invariant under T T^T. It says which part of a tied eigenspace is learned, as no index can.

    Args:
        target: Whitened target T, (d_L, d_0).
        widths: d_0, ..., d_L.
        basis: Orthonormal columns spanning K, (d_L, r), r <= min(widths) and r >= 1.

    Returns:
        W_1, ..., W_L as in `canonical_weights`.

    Raises:
        InputError: for columns that are not orthonormal, a span that T T^T leaves or maps to less
            (singular values of zero), or a dimension that the widths do not pass.

    Cost: two singular value decompositions.
    Source: derived here, tested.
    """
    widths, modes, columns = check_problem(target, widths), target_modes(target), _basis(basis)
    check(columns.shape[0] == widths[-1], "basis", f"have {widths[-1]} rows", columns.shape)
    _check_count(modes, widths, columns.shape[1], "basis")
    turn, values, right = np.linalg.svd(columns.T @ np.asarray(target, float), full_matrices=False)
    _check_kept(modes, columns, (turn * values**2) @ turn.T)
    check(
        bool(values[-1] > EQUAL * modes.values[0]), "basis", "span singular values above 0", values
    )
    return _balanced(columns @ turn, values, right.T, widths)


def _basis(basis: Any) -> Float[np.ndarray, "dL r"]:
    """The columns, refused unless they are orthonormal."""
    columns = check_matrix("basis", basis)
    check_products("basis", columns)
    off = float(np.abs(columns.T @ columns - np.eye(columns.shape[1])).max())
    check(off <= 1e-8, "basis", "have orthonormal columns", f"off by {off:.1e}")
    return columns


def _check_kept(
    modes: TargetModes, columns: Float[np.ndarray, "dL r"], inside: Float[np.ndarray, "r r"]
) -> None:
    """Refuse columns that T T^T takes out of their span; `inside` is what it does within it."""
    image = (modes.left * modes.values**2) @ (modes.left.T @ columns)
    leak = float(np.abs(image - columns @ inside).max())
    demand = "span a subspace that T T^T keeps"
    check(leak <= 1e-8 * float(modes.values[0]) ** 2, "basis", demand, f"off by {leak:.1e}")


def _balanced(
    left: Float[np.ndarray, "dL r"],
    values: Float[np.ndarray, " r"],
    right: Float[np.ndarray, "d0 r"],
    widths: tuple[int, ...],
) -> Weights:
    """Weights of equal singular values sigma^{1/L} that send right[:, k] to left[:, k]."""
    hidden = [np.eye(width, len(values)) for width in widths[1:-1]]
    nodes = [right, *hidden, left]
    root = values ** (1 / (len(widths) - 1))
    return tuple((up * root) @ low.T for low, up in pairwise(nodes))


def canonical_spectrum(
    target: Any, widths: Sequence[int], chosen: Sequence[int]
) -> Float[np.ndarray, " N"]:
    """Every eigenvalue of the loss Hessian at the canonical point of the chosen modes.

    With a, b the learned singular values and p the others of the min(d_0, d_L), zeros included:
    sum_l a^{2(L-l)/L} b^{2(l-1)/L} once for each ordered pair (a, b); a^{1-2/L} (a + p) and
    a^{1-2/L} (a - p) once for each pair (a, p); a^{2-2/L} |d_0 - d_L| times for each a; with two
    layers p and -p, each d_1 - r times, r the number of chosen modes; zero for the rest. One layer:
    all ones.

    Args:
        target: Whitened target T, (d_L, d_0).
        widths: d_0, ..., d_L; inputs are white.
        chosen: Different modes from 0, as in `canonical_weights`; tied ones give the same spectrum.

    Returns:
        The N = sum_l d_l d_{l-1} eigenvalues, ascending.

    Raises:
        InputError: for widths that do not fit, or modes that cannot be chosen.

    Cost: one singular value decomposition and a sort.
    Source: derived here, tested.
    """
    widths, modes = check_problem(target, widths), target_modes(target)
    keep = check_chosen(modes, widths, chosen)
    size = sum(low * up for low, up in pairwise(widths))
    if len(widths) == 2:
        return np.ones(size)
    found = _nonzero_part(modes.values[keep], np.delete(modes.values, keep), widths)
    return np.sort(np.concatenate([found, np.zeros(size - len(found))]))


def _nonzero_part(
    learned: Float[np.ndarray, " r"], rest: Float[np.ndarray, " q"], widths: tuple[int, ...]
) -> Float[np.ndarray, " _"]:
    """The eigenvalues with a formula, some of which may be zero."""
    depth = len(widths) - 1
    a, p = learned[:, None], rest[None, :]
    layers = range(1, depth + 1)
    pairs = sum(a ** (2 * (depth - j) / depth) * a.T ** (2 * (j - 1) / depth) for j in layers)
    scale = a ** (1 - 2 / depth)
    ends = np.repeat(learned ** (2 - 2 / depth), abs(widths[0] - widths[-1]))
    parts = [np.ravel(pairs), np.ravel(scale * (a + p)), np.ravel(scale * (a - p)), ends]
    if depth == 2:
        parts += [
            np.repeat(rest, widths[1] - len(learned)),
            -np.repeat(rest, widths[1] - len(learned)),
        ]
    return np.concatenate(parts)
