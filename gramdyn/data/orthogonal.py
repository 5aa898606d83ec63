"""Tasks whose inputs are orthogonal, or all at the same angle to each other."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_bool, check_nonnegative, check_positive, check_positive_int
from gramdyn.data._random import make_generator, random_frame
from gramdyn.data.task import Task, make_task


def orthogonal(
    *,
    n_samples: int,
    n_inputs: int,
    n_outputs: int = 1,
    norms: float | tuple[float, float] = 1.0,
    overlap: float = 0.0,
    rotate: bool = True,
    seed: int = 0,
) -> Task:
    """Inputs at one common angle, orthogonal by default, with targets +1 and -1.

    x_mu . x_nu = rho_mu rho_nu ((1 - c) [mu = nu] + c),  c = `overlap`

    At c = 0: x_mu = rho_mu e_mu, the unit vectors turned by a random rotation. Half of each
    output's targets are +1, half -1 (one more +1 if n is odd), in random order.

    Args:
        n_samples: Number of samples n.
        n_inputs: Number of features d, at least n.
        n_outputs: Number of outputs C, their signs drawn independently.
        norms: Length rho of every input, or (low, high) to draw each uniformly between.
        overlap: Cosine c between any two inputs, 0 <= c < 1.
        rotate: Turn the inputs by a random rotation; without, only the first n features are used.
        seed: Seed of lengths, rotation and signs, each with its own random stream.

    Returns:
        Task; with one output, `labels` are 0 for target -1 and 1 for +1.

    Raises:
        InputError: An argument out of its range.
    """
    n, d = check_positive_int("n_samples", n_samples), check_positive_int("n_inputs", n_inputs)
    check(d >= n, "n_inputs", f"be at least n_samples = {n} for orthogonal inputs", n_inputs)
    check_positive_int("n_outputs", n_outputs)
    overlap = check_nonnegative("overlap", overlap)
    check(overlap < 1, "overlap", "be below 1", overlap)
    lengths = _lengths(norms, n, seed)
    frame = random_frame(n, d, seed, "frame") if check_bool("rotate", rotate) else np.eye(n, d)
    inputs = lengths[:, None] * (_equal_angles(n, overlap) @ frame)
    targets = _signs(n, n_outputs, seed)
    labels = (targets[:, 0] > 0).astype(np.int64) if n_outputs == 1 else None
    notes = (
        ("norm_low", float(np.min(norms))),
        ("norm_high", float(np.max(norms))),
        ("overlap", overlap),
        ("rotate", rotate),
        ("seed", seed),
    )
    return make_task(inputs, targets, labels=labels, name="orthogonal", notes=notes)


def _lengths(norms: Any, n: int, seed: int) -> Float[np.ndarray, "n"]:
    """One length for all inputs, or one for each drawn from a range."""
    if not isinstance(norms, tuple | list):
        return np.full(n, check_positive("norms", norms))
    check(len(norms) == 2, "norms", "be a number or a pair (low, high)", norms)
    low, high = (check_positive("norms", end) for end in norms)
    check(low <= high, "norms", "be a pair (low, high) with low <= high", norms)
    return make_generator(seed, "lengths").uniform(low, high, n)


def _equal_angles(n: int, overlap: float) -> Float[np.ndarray, "n n"]:
    """Unit rows, every two with cosine `overlap`: the square root of (1 - c) I + c 11^T.

    The matrix has eigenvalue 1 - c + n c along 1 and 1 - c across it.
    """
    across, along = math.sqrt(1.0 - overlap), math.sqrt(1.0 - overlap + n * overlap)
    return across * np.eye(n) + (along - across) / n


def _signs(n: int, n_outputs: int, seed: int) -> Float[np.ndarray, "n C"]:
    """Columns of +1 and -1, half each, every column in an order of its own."""
    half = np.where(np.arange(n) < (n + 1) // 2, 1.0, -1.0)
    generator = make_generator(seed, "signs")
    return np.stack([generator.permutation(half) for _ in range(n_outputs)], axis=1)
