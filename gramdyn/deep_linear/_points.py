"""What every question about one point of the landscape starts from: checks, residual, gradient."""

from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check
from gramdyn.deep_linear._checks import check_target
from gramdyn.deep_linear._products import Weights, check_weights, product, whole_map, widths_of

Batch = tuple[Float[np.ndarray, "..."], ...]  # shaped as weights, with or without batch axes


def check_point(weights: Any, target: Any) -> tuple[Weights, Float[np.ndarray, "dL d0"]]:
    """Weights and target as float64 arrays, refused unless the target has the shape of Pi."""
    found, wanted = check_weights(weights), check_target(target)
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
    flat = flatten(weights)
    top = float(np.abs(flat).max())  # divided out, since the square of a gradient may overflow
    return top * float(np.linalg.norm(flat / top)) if top else 0.0


def is_critical(weights: Weights, target: Float[np.ndarray, "dL d0"], tolerance: float) -> bool:
    """Whether the gradient is below tolerance max(1, sigma_1)."""
    scale = max(1.0, float(np.linalg.norm(target, 2)))
    return norm_of(gradients(weights, target)) <= tolerance * scale


def check_critical(weights: Weights, target: Float[np.ndarray, "dL d0"], tolerance: float) -> None:
    """Refuse a point whose gradient is not zero."""
    size = norm_of(gradients(weights, target))
    demand = "be a critical point of the loss, with a gradient of zero norm"
    check(is_critical(weights, target, tolerance), "weights", demand, size)


def flatten(weights: Batch) -> Float[np.ndarray, "*batch n"]:
    """All entries as one vector, layer by layer in rows; batch axes in front stay."""
    return np.concatenate([weight.reshape(*weight.shape[:-2], -1) for weight in weights], axis=-1)


def unflatten(flat: Float[np.ndarray, "*batch n"], weights: Weights) -> Batch:
    """The vectors cut into matrices of the shapes of the weights; batch axes in front stay."""
    parts = np.split(flat, np.cumsum([weight.size for weight in weights])[:-1], axis=-1)
    lead = flat.shape[:-1]
    return tuple(part.reshape(*lead, *w.shape) for part, w in zip(parts, weights, strict=True))
