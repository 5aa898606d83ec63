"""How a saddle is left: the order of the loss along the way, and directions that show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check_positive
from gramdyn.deep_linear._checks import check_modes, check_products, check_shapes
from gramdyn.deep_linear._gaps import (
    end_matrix,
    exceeds_learned,
    is_open,
    order_bound,
    unlearned_modes,
)
from gramdyn.deep_linear._points import check_critical, check_point, norm_of
from gramdyn.deep_linear._products import Weights, product, whole_map
from gramdyn.deep_linear.canonical import numerical_rank
from gramdyn.deep_linear.splitting import split

Move = tuple[tuple[int, ...], Weights]  # layers that move, and V
Link = tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]  # x and y across one gap


@dataclass(frozen=True)
class EscapeOrder:
    """Lower bounds on the order of escape.

    Attributes:
        order_lower_bound: Over all directions; None where nothing is left to learn.
        modes: Unlearned modes, numbered from 0 in the order of the target's singular values. Of
            tied ones the last are called unlearned.
        by_mode: The bound of each of these modes; None for one that no layer can pass.
    """

    order_lower_bound: int | None
    modes: tuple[int, ...]
    by_mode: tuple[int | None, ...]


@dataclass(frozen=True)
class UnstableDirection:
    """A direction of escape for one unlearned mode: Loss(W + tV) = Loss(W) - c t^m + ...

    Attributes:
        mode: Unlearned mode, numbered from 0.
        order: m; None where no clean direction was found.
        order_lower_bound: Bound that the ranks give; None for a mode that no layer can pass.
        layers: Layers that move, numbered from 1.
        direction: V_1, ..., V_L, of unit norm together; None without a clean direction.
        coefficient: c > 0; None without a clean direction.
        clean: Whether the loss was computed along V and its terms below t^m vanish.
    """

    mode: int
    order: int | None
    order_lower_bound: int | None
    layers: tuple[int, ...]
    direction: Weights | None
    coefficient: float | None
    clean: bool


def escape_order(weights: Any, target: Any, *, tolerance: float = 1e-8) -> EscapeOrder:
    """Bounds on the order at which the loss falls beside a saddle, from ranks alone.

    With the unlearned network Z and R = T - Pi, moving the layers i_1 < ... < i_m changes the loss
    by -tr(M V_{i_m} B_{m-1} ... B_1 V_{i_1}), where M = Z_{i_1-1:1} R^T Z_{L:i_m+1}, and B_k is
    Z_{i_{k+1}-1:i_k+1}, or the projector of the node between neighbours. The bound is the least m
    with M and every B_k not zero; per mode M holds sigma_p v_p u_p^T for R^T. It is 2 wherever an
    unlearned mode exceeds a learned one, and L at a canonical saddle. Order here is that of the
    fall of the loss within a ball; counting the factors that vanish agrees at canonical points.

    Args:
        weights: A critical point W_1, ..., W_L, shapes (d_l, d_{l-1}), float64.
        target: Whitened target T, shape (d_L, d_0).
        tolerance: What counts as zero, relative to max(1, size), above 0.

    Returns:
        The bound over all directions and that of each unlearned mode.

    Raises:
        InputError: Not a critical point, float32, not finite, or shapes that do not match.

    Cost: O(L^3 d^3) for each mode.
    Source: derived here, tested: a bound, since moving layers at unequal scales may reach less.
    """
    found, wanted = _check(weights, target, tolerance)
    modes = unlearned_modes(found, wanted, tolerance)
    bounds = tuple(order_bound(found, part, tolerance) for part in modes.values())
    return EscapeOrder(
        order_bound(found, wanted - whole_map(found), tolerance), tuple(modes), bounds
    )


def unstable_directions(
    weights: Any,
    target: Any,
    modes: Sequence[int] | None = None,
    *,
    tolerance: float = 1e-8,
) -> tuple[UnstableDirection, ...]:
    """A direction of escape for each unlearned mode, checked, with its order and coefficient.

    Each of the layers i_1 < ... < i_m moves by a matrix of rank one and norm 1/sqrt(m), between the
    top singular vectors of M and vectors that the rest of the network forgets, so that no part of
    the move changes Pi alone. Then Loss(W + tV) - Loss(W) = -c t^m + O(t^{2m}), and
    c = sigma_p L^{-L/2} at a canonical saddle. A mode above a learned mode may also turn the
    learned one towards itself, at order 2 and up to O(t^4); the steeper of the two is returned.
    The loss along the direction, a polynomial in t, is computed in every case. A direction of
    several modes at once may fall faster still.

    Args:
        weights: A critical point W_1, ..., W_L, shapes (d_l, d_{l-1}), float64.
        target: Whitened target T, shape (d_L, d_0).
        modes: Unlearned modes wanted, numbered from 0; all unless given.
        tolerance: What counts as zero, relative to max(1, size), above 0.

    Returns:
        One direction a mode, in the order of the modes. `order` is that of the direction, of least
        order among the clean ones; it may exceed the lower bound.

    Raises:
        InputError: Not a critical point, float32, not finite, shapes that do not match, or a mode
            that is learned or absent.

    Cost: O(2^L L d^3) for each mode.
    Source: derived here, tested.
    """
    found, wanted = _check(weights, target, tolerance)
    parts = unlearned_modes(found, wanted, tolerance)
    demand = f"hold different unlearned modes, out of {tuple(parts)}"
    asked = tuple(parts) if modes is None else modes
    chosen = check_modes("modes", asked, tuple(parts), demand)
    return tuple(_leave(found, wanted, mode, parts[mode], tolerance) for mode in chosen)


def loss_along(
    weights: Weights, target: Float[np.ndarray, "dL d0"], direction: Weights
) -> Float[np.ndarray, " m"]:
    """Coefficients of t^0, t^1, ..., t^{2L} in 1/2 ||T - Pi(W + tV)||^2, exactly.

    Raises:
        InputError: Weights in float32, not finite, products that overflow, or shapes that do not
            match.
    """
    weights, target = check_point(weights, target)
    direction = check_shapes("direction", direction, [weight.shape for weight in weights])
    longest = [np.hypot(w, v) for w, v in zip(weights, direction, strict=True)]
    check_products("direction", target, *longest)
    parts = _map_along(weights, direction)
    flat = np.stack([target - parts[0], *(-part for part in parts[1:])]).reshape(len(parts), -1)
    inner = 0.5 * flat @ flat.T
    return np.array([np.trace(inner[::-1], k) for k in range(1 - len(parts), len(parts))])


def _map_along(weights: Weights, direction: Weights) -> list[Float[np.ndarray, "dL d0"]]:
    """Coefficients of t^0, ..., t^L in Pi(W + tV)."""
    parts = [np.eye(weights[0].shape[1])]
    for weight, move in zip(weights, direction, strict=True):
        stay, go = [weight @ part for part in parts], [move @ part for part in parts]
        parts = [stay[0], *(a + b for a, b in zip(stay[1:], go[:-1], strict=True)), go[-1]]
    return parts


def _check(weights: Any, target: Any, tolerance: Any) -> tuple[Weights, Float[np.ndarray, "dL d0"]]:
    found, wanted = check_point(weights, target)
    check_critical(found, wanted, check_positive("tolerance", tolerance))
    return found, wanted


def _leave(
    weights: Weights,
    target: Float[np.ndarray, "dL d0"],
    mode: int,
    part: Float[np.ndarray, "dL d0"],
    tolerance: float,
) -> UnstableDirection:
    """The clean direction of least order, and of largest coefficient among those."""
    bound = order_bound(weights, part, tolerance)
    for order in range(2, len(weights) + 1):
        tried = _through_layers(weights, part, order, tolerance)
        if order == 2 and exceeds_learned(weights, part, tolerance):
            tried.append(((1, len(weights)), _turn(weights, part, tolerance)))
        best = _steepest(weights, target, tried, tolerance)
        if best is not None:
            layers, direction, coefficient = best
            return UnstableDirection(mode, order, bound, layers, direction, coefficient, True)
    return UnstableDirection(mode, None, bound, (), None, None, False)


def _steepest(
    weights: Weights,
    target: Float[np.ndarray, "dL d0"],
    tried: list[Move],
    tolerance: float,
) -> tuple[tuple[int, ...], Weights, float] | None:
    """The move with the largest coefficient, of those along which the lower terms vanish."""
    falls = []
    for layers, direction in tried:
        order, terms = len(layers), loss_along(weights, target, direction)
        small = tolerance * max(1.0, float(np.abs(terms).max()))
        if np.abs(terms[1:order]).max() <= small and terms[order] < -small:
            falls.append((layers, direction, -float(terms[order])))
    return max(falls, key=lambda fall: fall[2]) if falls else None


def _through_layers(
    weights: Weights, mode: Float[np.ndarray, "dL d0"], order: int, tolerance: float
) -> list[Move]:
    """Moves of this many layers that pass the mode, of either sign."""
    parts, found = split(weights, tolerance), []
    for layers in combinations(range(1, len(weights) + 1), order):
        ends = end_matrix(parts.unlearned, mode, layers[0], layers[-1])
        links = [_link(weights, low, high, tolerance) for low, high in pairwise(layers)]
        pairs = [link for link in links if link is not None]
        if is_open(ends, parts, tolerance) and len(pairs) == len(links):
            direction = _rank_one(weights, ends, pairs, layers)
            found += [(layers, direction), (layers, _reversed(direction, layers[0]))]
    return found


def _reversed(direction: Weights, layer: int) -> Weights:
    """One factor with the other sign: the other modes of R may turn the fall into a rise."""
    return tuple(-move if i == layer - 1 else move for i, move in enumerate(direction))


def _rank_one(
    weights: Weights,
    ends: Float[np.ndarray, "_ _"],
    links: list[Link],
    layers: tuple[int, ...],
) -> Weights:
    """V_{i_1} = x_1 p^T, V_{i_k} = x_k y_{k-1}^T, V_{i_m} = q y_{m-1}^T, each over sqrt(m)."""
    left, _, right = np.linalg.svd(ends)
    rows = [left[:, 0], *(sink for _, sink in links)]
    columns = [*(source for source, _ in links), right[0]]
    moved = [np.zeros_like(weight) for weight in weights]
    for layer, column, row in zip(layers, columns, rows, strict=True):
        moved[layer - 1] = np.outer(column, row) / np.sqrt(len(layers))
    return tuple(moved)


def _link(weights: Weights, low: int, high: int, tolerance: float) -> Link | None:
    """A vector x that no layer above passes on and y that none below reaches, y^T B x largest.

    ker W_{L:low+1} is the part of ker Z_{L:low+1} in the range of P; W_{high-1:low+1} is B there.
    """
    gap = product(weights, high - 1, low + 1)
    sources = _kernel(product(weights, len(weights), low + 1), tolerance)
    sinks = _kernel(product(weights, high - 1, 1).T, tolerance)
    if sources.shape[1] == 0 or sinks.shape[1] == 0:
        return None
    left, _, right = np.linalg.svd(sinks.T @ gap @ sources)
    return sources @ right[0], sinks @ left[:, 0]


def _kernel(matrix: Float[np.ndarray, "_ n"], tolerance: float) -> Float[np.ndarray, "n _"]:
    """Orthonormal columns that the matrix sends to zero."""
    right = np.linalg.svd(matrix)[2]
    return np.asarray(right[numerical_rank(matrix, tolerance) :].T)


def _turn(weights: Weights, mode: Float[np.ndarray, "dL d0"], tolerance: float) -> Weights:
    """The smallest learned mode a moved towards p: V_L = u_p u_a^T W_L and V_1 = W_1 v_a v_p^T.

    The loss falls by sigma_a (sigma_p - sigma_a) t^2 over the squared norm, up to O(t^4).
    """
    left, _, right = np.linalg.svd(whole_map(weights))
    last = numerical_rank(whole_map(weights), tolerance) - 1
    u, _, v = np.linalg.svd(mode)
    moved = [np.zeros_like(weight) for weight in weights]
    moved[-1] = np.outer(u[:, 0], left[:, last] @ weights[-1])
    moved[0] = np.outer(weights[0] @ right[last], v[0])
    size = norm_of(tuple(moved))
    return tuple(move / size for move in moved)
