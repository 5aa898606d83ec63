"""Centring, scaling and whitening of inputs."""

from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_bool, check_matrix, check_positive
from gramdyn._errors import InputError


def centre(inputs: Any) -> Float[np.ndarray, "n d"]:
    """Inputs with every feature's mean over the samples subtracted.

    A feature that is the same in all samples becomes exactly 0, so that scaling cannot blow up its
    rounding error.

    Args:
        inputs: One sample a row, shape (n, d).

    Returns:
        Inputs of the same shape whose columns sum to 0.

    Raises:
        InputError: Not a finite matrix of real numbers.
    """
    inputs = check_matrix("inputs", inputs)
    constant = inputs.min(axis=0) == inputs.max(axis=0)
    return np.where(constant, 0.0, inputs - inputs.mean(axis=0))


def scale_inputs(inputs: Any, norm: float = 1.0) -> Float[np.ndarray, "n d"]:
    """All inputs times one factor, so that the mean squared row norm is `norm ** 2`.

    sum_mu |x_mu|^2 / n = norm^2; angles and ratios of lengths stay as they are.

    Args:
        inputs: One sample a row, shape (n, d).
        norm: Root mean square length of a row afterwards, above 0.

    Returns:
        Scaled inputs of the same shape.

    Raises:
        InputError: Not a finite matrix of real numbers, a bad norm, or all inputs are 0.
    """
    inputs, norm = check_matrix("inputs", inputs), check_positive("norm", float(norm))
    peak = np.abs(inputs).max()
    if peak == 0:
        raise InputError("Argument `inputs` must not be all 0: no factor gives it a norm.")
    shape_only = inputs / peak  # entries of size 1 at most: their squares cannot overflow
    return shape_only * (norm / np.sqrt(np.sum(shape_only**2) / len(inputs)))


def norm_each(inputs: Any, norm: float = 1.0) -> Float[np.ndarray, "n d"]:
    """Each input on the sphere of radius `norm`.

    x_mu -> norm * x_mu / |x_mu|

    Args:
        inputs: One sample a row, shape (n, d).
        norm: Length of every row afterwards, above 0.

    Returns:
        Scaled inputs of the same shape.

    Raises:
        InputError: Not a finite matrix of real numbers, a bad norm, or a row of 0 only.
    """
    inputs, norm = check_matrix("inputs", inputs), check_positive("norm", float(norm))
    peaks = np.abs(inputs).max(axis=1, keepdims=True)
    if not peaks.all():
        row = int(np.argmin(peaks))
        raise InputError(f"Argument `inputs` must have no row of 0 only, but row {row} is 0.")
    directions = inputs / peaks  # as above, the squares cannot overflow
    return directions * (norm / np.linalg.norm(directions, axis=1, keepdims=True))


def check_whitening(whiten: Any, norm: float) -> bool:
    """Return `whiten` as true or false; refuse it beside a norm, which would do nothing."""
    wanted = check_bool("whiten", whiten)
    check(not wanted or norm == 1.0, "norm", "be left out where inputs are whitened", norm)
    return wanted


def whiten(inputs: Any) -> Float[np.ndarray, "n d"]:
    """Inputs turned and stretched so that their second moment is the identity on their span.

    X -> X (X^T X / n)^(-1/2), with the pseudo-inverse: directions that no input has stay 0.

    Args:
        inputs: One sample a row, shape (n, d).

    Returns:
        Inputs X of the same shape with X^T X / n a projector.

    Raises:
        InputError: Not a finite matrix of real numbers.

    Cost: one singular value decomposition, n d min(n, d).
    """
    inputs = check_matrix("inputs", inputs)
    left, values, right = np.linalg.svd(inputs, full_matrices=False)
    kept = values > max(inputs.shape) * np.finfo(np.float64).eps * values[0]
    return np.sqrt(len(inputs)) * (left[:, kept] @ right[kept])
