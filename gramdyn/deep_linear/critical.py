"""Critical points of the loss of a deep linear network: levels, canonical points, global minimum.

At a critical point the map is the target restricted to some of its modes, and the loss half the sum
of the squares of the others. The problem is the white one: loss = floor + ||T - Pi||^2 / 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_nonnegative
from gramdyn.deep_linear._products import Weights
from gramdyn.deep_linear.canonical import (
    EQUAL,
    TargetModes,
    canonical_spectrum,
    canonical_weights,
    check_chosen,
    check_problem,
    target_modes,
)

MOST_SETS = 2**16


@dataclass(frozen=True)
class CriticalValues:
    """Losses that critical points take.

    Attributes:
        chosen: Each set of learned modes, numbered from 0, in the order of its loss.
        values: Loss of each set, ascending.
        levels: The different ones among them, ascending; `len(levels)` is their number.
    """

    chosen: tuple[tuple[int, ...], ...]
    values: Float[np.ndarray, " sets"]
    levels: Float[np.ndarray, " levels"]


@dataclass(frozen=True)
class CriticalPoint:
    """One canonical critical point: balanced, nothing in it but the chosen modes.

    Attributes:
        chosen: Learned modes, numbered from 0, the largest singular value first.
        rank: How many they are, the rank of the map.
        value: Loss there.
        weights: W_1, ..., W_L of `canonical_weights`.
        kind: "global_min", "strict_saddle" (the Hessian has a negative eigenvalue) or
            "nonstrict_saddle" (it has none, and yet the loss falls along some curve).
        order: Smallest power of the distance by which the loss falls, 2 at a strict saddle and L at
            a nonstrict one; None at a global minimum. Other points of the level may differ.
        spectrum: Eigenvalues of the Hessian in closed form, ascending.
    """

    chosen: tuple[int, ...]
    rank: int
    value: float
    weights: Weights
    kind: str
    order: int | None
    spectrum: Float[np.ndarray, " N"]


@dataclass(frozen=True)
class GlobalMinimum:
    """The lowest loss and the set of networks that reach it.

    Attributes:
        value: Loss.
        rank: Rank r of the map, min(d_0, ..., d_L, rank of the target).
        dimension: Dimension of the set of minima where it is a smooth manifold, which is so for
            r = min(d_0, ..., d_L) or one layer; None elsewhere.
    """

    value: float
    rank: int
    dimension: int | None


def critical_values(target: Any, widths: Sequence[int], floor: float = 0.0) -> CriticalValues:
    """Loss of every set of modes that a critical point can have learned.

    Loss = floor + sum of sigma^2 / 2 over the modes not chosen; sets have up to min(d_0, ..., d_L)
    modes, each is realised, and losses of different sets may coincide.

    Args:
        target: Whitened target T, (d_L, d_0), of any rank; for a zero target there is one set.
        widths: d_0, ..., d_L. With one layer the set of all modes is the only one.
        floor: Loss that no linear map removes, >= 0.

    Returns:
        Sets, their losses, and the different losses. Losses that agree within 1e-10 of the loss of
        the zero map are one level. Tied singular values: sets by index stand for subspaces.

    Raises:
        InputError: for widths that do not fit or more than 2^16 sets.

    Cost: O(number of sets times min(d_0, d_L)).
    Source: Baldi & Hornik (1989) for two layers, Wendin & Altafini (arXiv 2511.10362).
    """
    widths, modes = check_problem(target, widths), target_modes(target)
    floor = check_nonnegative("floor", floor)
    sets = _sets(modes, widths)
    values = np.array([_value(modes, chosen, floor) for chosen in sets])
    order = np.argsort(values, kind="stable")
    values = values[order]
    apart = EQUAL * 0.5 * float(np.sum(modes.values**2))
    first = np.diff(values, prepend=-np.inf) > apart
    return CriticalValues(tuple(sets[i] for i in order), values, values[first])


def _sets(modes: TargetModes, widths: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every set of modes of a critical point, refused if too many to list."""
    most = min(modes.rank, *widths)
    sizes = range(most + 1) if len(widths) > 2 else range(modes.rank, modes.rank + 1)
    count = sum(comb(modes.rank, size) for size in sizes)
    demand = f"have at most {MOST_SETS} sets of modes to learn for these widths"
    check(count <= MOST_SETS, "target", demand, count)
    return [chosen for size in sizes for chosen in combinations(range(modes.rank), size)]


def _value(modes: TargetModes, chosen: Sequence[int], floor: float) -> float:
    """Floor and half the squares of what is not learned."""
    return floor + 0.5 * float(np.sum(np.delete(modes.values, list(chosen)) ** 2))


def critical_points(
    target: Any, widths: Sequence[int], floor: float = 0.0
) -> tuple[CriticalPoint, ...]:
    """The canonical critical point of every set of modes, lowest loss first.

    The lowest level is the global minimum. A set whose loss is above the best of its rank is a
    strict saddle of order 2. The other sets are saddles too: strict for two layers; for three and
    more nonstrict of order L, since L zero factors must move together to learn a mode.

    Args:
        target: Whitened target T, (d_L, d_0), of any rank.
        widths: d_0, ..., d_L. With one layer the global minimum is the only point.
        floor: Loss that no linear map removes, >= 0.

    Returns:
        The points, as many as `critical_values` has sets. Tied singular values: a set by index
        stands for a subspace, and counts as the best of its rank if its values are.

    Raises:
        InputError: for widths that do not fit or more than 2^16 sets.

    Cost: number of sets times (one singular value decomposition and N numbers).
    Source: Achour, Malgouyres & Gerchinovitz (arXiv 2107.13289) for strictness at full rank; orders
    and spectra, and targets of any rank, are derived here, tested.
    """
    widths = check_problem(target, widths)
    found = critical_values(target, widths, floor)
    return tuple(
        _point(target, widths, chosen, float(value))
        for chosen, value in zip(found.chosen, found.values, strict=True)
    )


def _point(
    target: Any, widths: Sequence[int], chosen: tuple[int, ...], value: float
) -> CriticalPoint:
    """One canonical point with its kind and spectrum."""
    kind, order = canonical_kind(target, widths, chosen)
    weights = canonical_weights(target, widths, chosen)
    spectrum = canonical_spectrum(target, widths, chosen)
    return CriticalPoint(chosen, len(chosen), value, weights, kind, order, spectrum)


def canonical_kind(
    target: Any, widths: Sequence[int], chosen: Sequence[int]
) -> tuple[str, int | None]:
    """Kind and order of escape of the canonical point of the chosen modes.

    Args:
        target: Whitened target T, (d_L, d_0).
        widths: d_0, ..., d_L.
        chosen: Different modes from 0.

    Returns:
        Kind and order as in `CriticalPoint`.

    Raises:
        InputError: for widths that do not fit, or modes that cannot be chosen.

    Cost: one singular value decomposition.
    Source: as `critical_points`.
    """
    widths, modes = check_problem(target, widths), target_modes(target)
    keep, depth = check_chosen(modes, widths, chosen), len(widths) - 1
    rank, learned = len(keep), modes.values[keep]
    # Compared value by value: a sum of squares would not see a small singular value.
    best = bool(np.all(modes.values[:rank] - learned <= EQUAL * modes.values[0]))
    if best and rank == min(modes.rank, *widths):
        return "global_min", None
    return ("nonstrict_saddle", depth) if best and depth > 2 else ("strict_saddle", 2)


def global_minimum(target: Any, widths: Sequence[int], floor: float = 0.0) -> GlobalMinimum:
    """The lowest loss and the dimension of the set of its networks.

    Loss = floor + sum of sigma_i^2 / 2 over i > r. For r = min(d_0, ..., d_L) the minima are a
    smooth manifold of dimension N - r (d_0 + d_L - r), N the number of weights; where s singular
    values tie with sigma_r and t of them are learned, t (s - t) more, the choice of their subspace.

    Args:
        target: Whitened target T, (d_L, d_0), of any rank; zero is reached at a map of zero.
        widths: d_0, ..., d_L.
        floor: Loss that no linear map removes, >= 0.

    Returns:
        Loss, rank and dimension; the dimension is the nullity of the Hessian at every minimum.

    Raises:
        InputError: for widths that do not fit.

    Cost: one singular value decomposition.
    Source: Kawaguchi (arXiv 1605.07110), Trager, Kohn & Bruna (arXiv 1910.01671); ties derived
    here, tested.
    """
    widths, modes = check_problem(target, widths), target_modes(target)
    rank = min(modes.rank, *widths)
    value = _value(modes, range(rank), check_nonnegative("floor", floor))
    return GlobalMinimum(value, rank, _dimension(modes, widths, rank))


def _dimension(modes: TargetModes, widths: tuple[int, ...], rank: int) -> int | None:
    """Dimension of the manifold of minima, None where they are no manifold."""
    if len(widths) == 2:
        return 0
    if rank < min(widths):
        return None
    size = sum(low * up for low, up in pairwise(widths))
    tied = np.abs(modes.values - modes.values[rank - 1]) <= EQUAL * modes.values[0]
    learned = int(np.count_nonzero(tied[:rank]))
    choice = learned * int(np.count_nonzero(tied[rank:]))
    return size - rank * (widths[0] + widths[-1] - rank) + choice
