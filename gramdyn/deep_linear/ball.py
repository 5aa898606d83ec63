"""The least loss within a small ball around a point: the order of escape a second way."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from gramdyn._checks import check, check_positive_int, check_seed
from gramdyn.deep_linear._checks import (
    Number,
    check_list,
    check_power,
    check_products,
    check_scalar,
)
from gramdyn.deep_linear._points import check_point, flatten, gradients, unflatten
from gramdyn.deep_linear._products import Weights, product, whole_map
from gramdyn.deep_linear.hessian import hessian_matrix


def ball_minimum(
    weights: Any, target: Any, radius: Number, *, n_starts: int = 8, seed: int = 0
) -> float:
    """Least change of the loss over all moves V of norm `radius`, by search from random starts.

    The change -<R, D> + ||D||^2/2, D = Pi(W + V) - Pi(W), is summed without cancellation, so a
    change of 1e-12 is as precise as one of 1. The search may miss the least: it is an upper bound.

    Args:
        weights: W_1, ..., W_L, shapes (d_l, d_{l-1}), float64.
        target: Whitened target T, shape (d_L, d_0).
        radius: Norm of the move, above 0.
        n_starts: Random starts, at least 1.
        seed: Seed of the starts.

    Returns:
        The change, below 0 where the loss falls.

    Raises:
        InputError: float32, not finite, shapes that do not match, or a radius not above 0.

    Cost: some hundred gradients a start, each O(L^2 d^3), and N^2 operations with each for N
        parameters; for small networks.
    Source: derived here, tested.
    """
    found, wanted = check_point(weights, target)
    radius, seed = check_scalar("radius", radius, above=0), check_seed("seed", seed)
    check_products("weights", wanted, *found, *found)  # of the gradient
    check_products("radius", wanted, *found, *[np.array(radius)] * len(found))
    check_power("radius", radius, len(found))
    size, rng = sum(weight.size for weight in found), np.random.default_rng(seed)
    starts = rng.normal(size=(check_positive_int("n_starts", n_starts), size))
    scale, frame = _search_frame(found, wanted, radius)
    return min(_descend(found, wanted, radius, start, scale, frame) for start in starts)


def fitted_order(
    weights: Any,
    target: Any,
    radii: Sequence[Number] = (0.01, 0.02),
    *,
    n_starts: int = 8,
    seed: int = 0,
) -> float:
    """Order of escape: the slope of log(-least change) over log(radius).

    Args:
        weights: A saddle W_1, ..., W_L, shapes (d_l, d_{l-1}), float64.
        target: Whitened target T, shape (d_L, d_0).
        radii: Two or more radii, different, small beside the weights. Below 1e-2 rounding of the
            gradient may end the search early where the order is 5 or more.
        n_starts: Random starts at every radius.
        seed: Seed of the starts.

    Returns:
        The slope, m up to a term of the size of the radii.

    Raises:
        InputError: as `ball_minimum`; radii that do not make a slope; a minimum, where the loss
            falls nowhere.

    Cost: one `ball_minimum` a radius.
    Source: derived here, tested.
    """
    radii = [check_scalar("radii", radius, above=0) for radius in check_list("radii", radii)]
    check(len(set(radii)) >= 2, "radii", "hold two or more different radii", radii)
    falls = [-ball_minimum(weights, target, r, n_starts=n_starts, seed=seed) for r in radii]
    check(
        min(falls) > 0, "weights", "be a saddle, beside which the loss falls", "one where it rises"
    )
    return float(np.polyfit(np.log(radii), np.log(falls), 1)[0])


def change_of_loss(weights: Weights, target: Float[np.ndarray, "dL d0"], move: Weights) -> float:
    """Loss(W + V) - Loss(W), without subtracting one loss from the other."""
    moved = _moved(weights, move)
    n_layers = len(weights)
    parts = [
        product(moved, n_layers, layer + 1) @ move[layer - 1] @ product(weights, layer - 1, 1)
        for layer in range(1, n_layers + 1)
    ]
    difference = np.sum(parts, axis=0)
    residual = target - whole_map(weights)
    return float(np.sum(difference * (0.5 * difference - residual)))


def _descend(
    weights: Weights,
    target: Float[np.ndarray, "dL d0"],
    radius: float,
    start: Float[np.ndarray, " n"],
    scale: float,
    frame: Float[np.ndarray, "n n"],
) -> float:
    """Least change found from one start, by quasi-Newton steps on the sphere."""

    def evaluate(z: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
        x = frame @ z
        length = float(np.linalg.norm(x))
        move = unflatten(x * (radius / length), weights)
        slope = flatten(gradients(_moved(weights, move), target))
        tangent = frame.T @ (slope - x * (x @ slope) / length**2) * (radius / length / scale)
        return change_of_loss(weights, target, move) / scale, tangent

    unit = start / np.linalg.norm(start)
    return scale * float(minimize(evaluate, unit, jac=True, method="BFGS").fun)


def _search_frame(
    weights: Weights, target: Float[np.ndarray, "dL d0"], radius: float
) -> tuple[float, Float[np.ndarray, "n n"]]:
    """Unit of the change, and the inverse root of 1 + |H| radius^2 / unit.

    Without a negative eigenvalue the fall may be as small as radius^L, and what changes at order 2
    is steep beside it.
    """
    values, vectors = np.linalg.eigh(hessian_matrix(weights, target))
    flat = values[0] > -1e-6 * max(1.0, float(values[-1]))
    scale = radius ** (len(weights) if flat else 2)
    return scale, vectors / np.sqrt(1.0 + np.abs(values) * radius**2 / scale)


def _moved(weights: Weights, move: Weights) -> Weights:
    return tuple(w + v for w, v in zip(weights, move, strict=True))
