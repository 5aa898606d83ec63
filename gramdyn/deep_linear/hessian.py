"""Hessian of the loss of a deep linear network: closed products, spectra, sharpness.

Loss = ||(T - Pi) Sxx^{1/2}||^2 / 2 with Pi = W_L ... W_1. A direction is a tuple shaped as the
weights; as a vector it is W_1 row by row, then W_2, and so on.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator

from gramdyn._checks import check, check_known, check_nonnegative, check_positive_int
from gramdyn.deep_linear._checks import check_double, check_list, check_products, check_shapes
from gramdyn.deep_linear._points import Batch, check_point, flatten, unflatten
from gramdyn.deep_linear._products import Weights, whole_map
from gramdyn.deep_linear.canonical import target_modes
from gramdyn.deep_linear.lanczos import extremal_eigenvalues
from gramdyn.deep_linear.whitening import check_moment

FEW = 256  # weights up to which every eigenvalue costs less than a few by Lanczos


def quadratic_form(weights: Any, target: Any, direction: Any, input_moment: Any = None) -> float:
    """Second derivative of the loss along a direction.

    D2(V, V) = ||Lin(V) Sxx^{1/2}||^2 - 2 sum_{i>j} <R Sxx, W_{L:i+1} V_i W_{i-1:j+1} V_j W_{j-1:1}>
    with Lin(V) = sum_l W_{L:l+1} V_l W_{l-1:1} and R = T - Pi.

    Args:
        weights: W_1, ..., W_L, float64.
        target: T, (d_L, d_0); not whitened where `input_moment` is given.
        direction: V_1, ..., V_L, shaped as the weights.
        input_moment: Sxx, (d_0, d_0); the identity if None.

    Returns:
        D2(V, V).

    Raises:
        InputError: for weights in float32, shapes that do not fit, or entries that are not finite
            or so large that products overflow.

    Cost: as one forward pass of d_0 inputs, three times.
    Source: derived here, tested.
    """
    weights, residual, moment = _problem(weights, target, input_moment)
    direction = _check_direction(weights, direction, residual, moment)
    below, once, twice = np.eye(len(moment)), np.zeros_like(moment), np.zeros_like(moment)
    for weight, step in zip(weights, direction, strict=True):
        twice = 2 * step @ once + weight @ twice
        once = step @ below + weight @ once
        below = weight @ below
    return float(np.sum(once * (once @ moment)) - np.sum((residual @ moment) * twice))


def hessian_product(weights: Any, target: Any, direction: Any, input_moment: Any = None) -> Weights:
    """Hessian of the loss times a direction, in closed form.

    With A = W_{l-1:1}, B = W_{L:l+1} and their derivatives A', B' along V, and R = T - Pi, layer l
    gets B^T Lin(V) Sxx A^T - B'^T R Sxx A^T - B^T R Sxx A'^T.

    Args:
        weights: W_1, ..., W_L, float64.
        target: T, (d_L, d_0); not whitened where `input_moment` is given.
        direction: V_1, ..., V_L, shaped as the weights.
        input_moment: Sxx, (d_0, d_0); the identity if None.

    Returns:
        The product, shaped as the weights.

    Raises:
        InputError: for weights in float32, shapes that do not fit, or entries that are not finite
            or so large that products overflow.

    Cost: O(L) products of two matrices.
    Source: derived here, tested.
    """
    weights, residual, moment = _problem(weights, target, input_moment)
    direction = _check_direction(weights, direction, residual, moment)
    return _apply(weights, residual, moment, direction)


def _problem(weights: Any, target: Any, input_moment: Any) -> tuple[Weights, Any, Any]:
    """Weights, residual T - Pi and input moment as arrays that fit."""
    weights, goal = check_point(weights, target)
    width = weights[0].shape[1]
    moment = check_moment(np.eye(width) if input_moment is None else input_moment, width)
    check_products("input_moment", moment, goal, *weights)
    return weights, goal - whole_map(weights), moment


def _check_direction(weights: Weights, direction: Any, *others: Any) -> Weights:
    """The direction as arrays, refused unless shaped as the weights and products are finite."""
    found = check_shapes("direction", direction, [weight.shape for weight in weights])
    check_products("direction", *weights, *others, flatten(found), flatten(found))
    return found


def _apply(weights: Weights, residual: Any, moment: Any, direction: Batch) -> Batch:
    """Hessian times directions, which may have batch axes in front."""
    drive, last = residual @ moment, len(weights)
    lows, low_rates = _prefixes(weights, direction)
    ups, up_rates = _suffixes(weights, direction)
    pull = low_rates[last] @ moment
    return tuple(
        ups[j].T @ pull @ lows[j].T
        - np.swapaxes(up_rates[j], -1, -2) @ drive @ lows[j].T
        - ups[j].T @ drive @ np.swapaxes(low_rates[j], -1, -2)
        for j in range(last)
    )


def _prefixes(weights: Weights, direction: Batch) -> tuple[list[Any], list[Any]]:
    """W_{j:1} for j = 0..L and its derivative along the direction."""
    width = weights[0].shape[1]
    values, rates = [np.eye(width)], [np.zeros((width, width))]
    for weight, step in zip(weights, direction, strict=True):
        rates.append(step @ values[-1] + weight @ rates[-1])
        values.append(weight @ values[-1])
    return values, rates


def _suffixes(weights: Weights, direction: Batch) -> tuple[list[Any], list[Any]]:
    """W_{L:j+1} for j = 1..L and its derivative along the direction."""
    width = weights[-1].shape[0]
    values, rates = [np.eye(width)], [np.zeros((width, width))]
    for weight, step in zip(weights[:0:-1], direction[:0:-1], strict=True):
        rates.append(values[-1] @ step + rates[-1] @ weight)
        values.append(values[-1] @ weight)
    return values[::-1], rates[::-1]


def hessian_matrix(weights: Any, target: Any, input_moment: Any = None) -> Float[np.ndarray, "N N"]:
    """Hessian of the loss as a matrix, from its products with every unit direction.

    Args:
        weights: W_1, ..., W_L with N entries together, float64.
        target: T, (d_L, d_0); not whitened where `input_moment` is given.
        input_moment: Sxx, (d_0, d_0); the identity if None.

    Returns:
        Symmetric matrix; rows and columns are W_1 row by row, then W_2, and so on.

    Raises:
        InputError: for weights in float32, shapes that do not fit, or entries that are not finite
            or so large that products overflow.

    Cost: N products at once, some N^2 numbers of memory.
    Source: derived here, tested.
    """
    weights, residual, moment = _problem(weights, target, input_moment)
    columns = unflatten(np.eye(sum(weight.size for weight in weights)), weights)
    matrix = flatten(_apply(weights, residual, moment, columns))
    return (matrix + matrix.T) / 2


def hessian_spectrum(
    weights: Any,
    target: Any,
    mode: str = "dense",
    count: int = 6,
    input_moment: Any = None,
) -> Float[np.ndarray, " _"]:
    """Eigenvalues of the Hessian of the loss.

    Args:
        weights: W_1, ..., W_L with N entries together, float64.
        target: T, (d_L, d_0); not whitened where `input_moment` is given.
        mode: "dense" for all N; "extremal" for the `count` lowest and the `count` highest, by
            Lanczos above 256 and 20 `count` weights, each eigenvalue as often as it occurs.
        count: How many at each end, at least 1; all N where twice as many are asked for.
        input_moment: Sxx, (d_0, d_0); the identity if None.

    Returns:
        Eigenvalues, ascending.

    Raises:
        InputError: for weights in float32, input that does not fit, products that overflow, or a
            mode that is not known.

    Cost: dense O(N^3); extremal some hundred products for each eigenvalue. By Lanczos they are
    exact to about 1e-10 of the largest magnitude.
    Source: derived here, tested.
    """
    check(isinstance(mode, str), "mode", "be a word", type(mode))
    check_known("mode", mode, ("dense", "extremal"))
    count = check_positive_int("count", count)
    weights, residual, moment = _problem(weights, target, input_moment)
    size = sum(weight.size for weight in weights)
    if mode == "extremal" and size > max(FEW, 20 * count):
        return extremal_eigenvalues(_operator(weights, residual, moment, size), count)
    values = np.linalg.eigvalsh(hessian_matrix(weights, target, moment))
    few = mode == "extremal" and 2 * count < size
    return np.concatenate([values[:count], values[-count:]]) if few else values


def _operator(weights: Weights, residual: Any, moment: Any, size: int) -> LinearOperator:
    """The Hessian by its products."""

    def product_with(vector: Float[np.ndarray, "..."]) -> Float[np.ndarray, " N"]:
        return flatten(_apply(weights, residual, moment, unflatten(vector.ravel(), weights)))

    return LinearOperator((size, size), matvec=product_with, dtype=np.float64)


def inertia(eigenvalues: Any, tolerance: float = 1e-9) -> tuple[int, int, int]:
    """Numbers of negative, positive and zero eigenvalues.

    Constant along the GL orbits of weights with the same map (Sylvester), as eigenvalues are not.

    Args:
        eigenvalues: Real numbers, (N,), float64.
        tolerance: Those up to this times max(1, the largest magnitude) count as zero.

    Returns:
        (negative, positive, zero), which add up to N.

    Raises:
        InputError: for values in float32, not finite, or along more than one axis.

    Cost: O(N).
    Source: Sylvester's law of inertia.
    """
    values = check_double("eigenvalues", [check_list("eigenvalues", eigenvalues)])
    bound = check_nonnegative("tolerance", tolerance) * max(1.0, float(np.abs(values).max()))
    negative, positive = int(np.sum(values < -bound)), int(np.sum(values > bound))
    return negative, positive, values.size - negative - positive


def sharpness(weights: Any, target: Any, input_moment: Any = None) -> float:
    """Largest eigenvalue of the Hessian of the loss.

    At a minimum, gradient descent with steps of eta is stable for eta < 2 / sharpness. With white
    inputs and zero residual it is at least L sigma_1^{2-2/L}, with equality at balanced weights.

    Args:
        weights: W_1, ..., W_L, float64.
        target: T, (d_L, d_0); not whitened where `input_moment` is given.
        input_moment: Sxx, (d_0, d_0); the identity if None.

    Returns:
        The eigenvalue.

    Raises:
        InputError: for weights in float32, shapes that do not fit, or entries that are not finite
            or so large that products overflow.

    Cost: as `hessian_spectrum` with one eigenvalue at each end.
    Source: Mulayoff & Michaeli (2020); the bound derived here, tested.
    """
    spectrum = hessian_spectrum(weights, target, "extremal", 1, input_moment)
    return float(spectrum[-1])


def critical_step(target: Any, n_layers: int) -> float:
    """Step of gradient descent above which no global minimum is stable.

    eta_c = 2 / (L sigma_1^{2-2/L}), L the number of layers. It is for white inputs and minima of
    zero residual only: other inputs change the curvature, and with a residual the bound on the
    sharpness is not shown. One layer has eta_c = 2 for every target, the zero target too. A zero
    target with two or more layers has minima without curvature, so that eta_c is infinite. Above
    eta_c runs do not converge; with two and more layers they need not diverge either.

    Args:
        target: Whitened target T, (d_L, d_0).
        n_layers: Number L of weight layers, at least 1.

    Returns:
        The step: 2 for one layer, infinite for a zero target and two or more layers.

    Raises:
        InputError: for a target that is no finite matrix or no layers.

    Cost: one singular value decomposition.
    Source: Craciun & Ghoshdastidar (arXiv 2402.13108) for non-convergence.
    """
    depth = check_positive_int("n_layers", n_layers)
    curvature = depth * float(target_modes(target).values[0]) ** (2 - 2 / depth)
    return 2.0 / curvature if curvature > 0 else float("inf")
