"""Which layers can pass an unlearned mode, from ranks of products of the unlearned network."""

from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float

from gramdyn.deep_linear._products import Weights, product, whole_map
from gramdyn.deep_linear.canonical import numerical_rank
from gramdyn.deep_linear.splitting import Split, split


def unlearned_modes(
    weights: Weights, target: Float[np.ndarray, "dL d0"], tolerance: float
) -> dict[int, Float[np.ndarray, "dL d0"]]:
    """sigma_p u_p v_p^T of every unlearned mode p, taken from R = T - Pi itself.

    At a critical point the singular values of R are the unlearned sigma. Its vectors are right for
    tied ones too, where those of the target may mix learned and unlearned.
    """
    left, values, right = np.linalg.svd(target - whole_map(weights), full_matrices=False)
    sigmas = np.linalg.svd(target, compute_uv=False)
    slack = tolerance * max(1.0, float(sigmas[0]))
    free, modes = list(range(len(sigmas))), dict[int, Float[np.ndarray, "dL d0"]]()
    for index in np.flatnonzero(values > slack)[::-1]:
        near = _nearest(sigmas, free, float(values[index]), slack)
        free.remove(near)
        modes[near] = values[index] * np.outer(left[:, index], right[index])
    return dict(sorted(modes.items()))


def _nearest(sigmas: Float[np.ndarray, " k"], free: list[int], value: float, slack: float) -> int:
    """The last of the free sigma that is as near to the value as any."""
    least = min(abs(sigmas[i] - value) for i in free) + slack
    return max(i for i in free if abs(sigmas[i] - value) <= least)


def exceeds_learned(weights: Weights, mode: Float[np.ndarray, "dL d0"], tolerance: float) -> bool:
    """Whether this part of R is larger than the smallest learned mode."""
    values = np.linalg.svd(whole_map(weights), compute_uv=False)
    learned = values[: numerical_rank(whole_map(weights), tolerance)]
    size = float(np.linalg.norm(mode, 2))
    return bool(learned.size and size > learned[-1] + tolerance * max(1.0, size))


def order_bound(weights: Weights, mode: Float[np.ndarray, "dL d0"], tolerance: float) -> int | None:
    """Fewest layers that pass this part of R: the shortest path over open gaps."""
    if exceeds_learned(weights, mode, tolerance):
        return 2
    parts = split(weights, tolerance)
    gaps, ends = _open(parts, mode, tolerance)
    reached = gaps
    for size in range(2, len(weights) + 1):
        if (reached & ends).any():
            return size
        reached = reached @ gaps
    return None


def _open(
    parts: Split, mode: Float[np.ndarray, "dL d0"], tolerance: float
) -> tuple[Bool[np.ndarray, "L L"], Bool[np.ndarray, "L L"]]:
    """Where B and where M is not zero, for every two layers, the lower one first."""
    n_layers = len(parts.unlearned)
    gaps, ends = np.zeros((2, n_layers, n_layers), dtype=bool)
    for low, high in combinations(range(1, n_layers + 1), 2):
        gaps[low - 1, high - 1] = is_open(gap_matrix(parts, low, high), parts, tolerance)
        ends[low - 1, high - 1] = is_open(
            end_matrix(parts.unlearned, mode, low, high), parts, tolerance
        )
    return gaps, ends


def is_open(matrix: Float[np.ndarray, "_ _"], parts: Split, tolerance: float) -> bool:
    """Whether the matrix is beyond the rounding of products of these weights."""
    largest = max(float(np.linalg.norm(weight, 2)) for weight in parts.unlearned)
    return bool(np.linalg.norm(matrix, 2) > tolerance * max(1.0, largest))


def gap_matrix(parts: Split, low: int, high: int) -> Float[np.ndarray, "_ _"]:
    """B between two moving layers: Z_{high-1:low+1}, or P of the node that they share."""
    if high == low + 1:
        return parts.projectors[low]
    return product(parts.unlearned, high - 1, low + 1)


def end_matrix(
    weights: Weights, mode: Float[np.ndarray, "dL d0"], low: int, high: int
) -> Float[np.ndarray, "_ _"]:
    """M of the lowest and the highest moving layer: Z_{low-1:1} R^T Z_{L:high+1}."""
    return np.asarray(
        product(weights, low - 1, 1) @ mode.T @ product(weights, len(weights), high + 1)
    )
