"""What every question about one point of the landscape starts from: checks, residual, gradient."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_matrix
from gramdyn.deep_linear.products import Weights, check_weights, product, whole_map, widths_of


def check_double(weights: Sequence[Any]) -> Weights:
    """The weights as float64 arrays; refused in lower precision, where ranks mean nothing."""
    types = [getattr(weight, "dtype", np.dtype(np.float64)) for weight in weights]
    low = [kind for kind in types if np.dtype(kind).kind not in "iu" and kind != np.float64]
    check(not low, "weights", "be float64, since ranks of float32 products mean nothing", types)
    return check_weights(weights)


def check_point(weights: Sequence[Any], target: Any) -> tuple[Weights, Float[np.ndarray, "dL d0"]]:
    """Weights and target as float64 arrays, refused unless the target has the shape of Pi."""
    found, wanted = check_double(weights), check_matrix("target", target)
    shape = (widths_of(found)[-1], widths_of(found)[0])
    check(wanted.shape == shape, "target", f"have shape {shape}", wanted.shape)
    return found, wanted


def loss_of(weights: Weights, target: Float[np.ndarray, "dL d0"]) -> float:
    """1/2 ||T - Pi||^2, without the floor."""
    return 0.5 * float(np.sum((target - whole_map(weights)) ** 2))


def gradients(weights: Weights, target: Float[np.ndarray, "dL d0"]) -> Weights:
    """Derivatives of the loss by every W_l: -W_{L:l+1}^T (T - Pi) W_{l-1:1}^T."""
    n_layers, residual = len(weights), target - whole_map(weights)
    return tuple(
        -product(weights, n_layers, layer + 1).T @ residual @ product(weights, layer - 1, 1).T
        for layer in range(1, n_layers + 1)
    )


def norm_of(weights: Weights) -> float:
    """Euclidean norm of all entries together."""
    return float(np.sqrt(sum(np.sum(weight**2) for weight in weights)))


def is_critical(weights: Weights, target: Float[np.ndarray, "dL d0"], tolerance: float) -> bool:
    """Whether the gradient is below tolerance max(1, sigma_1)."""
    scale = max(1.0, float(np.linalg.norm(target, 2)))
    return norm_of(gradients(weights, target)) <= tolerance * scale


def check_critical(weights: Weights, target: Float[np.ndarray, "dL d0"], tolerance: float) -> None:
    """Refuse a point whose gradient is not zero."""
    size = norm_of(gradients(weights, target))
    demand = "be a critical point of the loss, with a gradient of zero norm"
    check(is_critical(weights, target, tolerance), "weights", demand, size)


def flatten(weights: Weights) -> Float[np.ndarray, " n"]:
    """All entries as one vector, layer by layer in rows."""
    return np.concatenate([weight.ravel() for weight in weights])


def unflatten(flat: Float[np.ndarray, " n"], weights: Weights) -> Weights:
    """The vector cut into matrices of the shapes of the weights."""
    parts = np.split(flat, np.cumsum([weight.size for weight in weights])[:-1])
    return tuple(part.reshape(w.shape) for part, w in zip(parts, weights, strict=True))
