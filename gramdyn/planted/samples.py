"""Both layers trained on n samples in d dimensions: where the directions settle, the final rate."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_matrix, check_nonnegative, check_positive
from gramdyn._checks import check_positive_int as check_count


def alignment_angle(n_samples: int, n_inputs: int) -> float:
    """Angle to a at which directions settle on samples: atan(sqrt(2 d / n)).

    The pull 1/n sum y x over the active half of the samples has mean a/2 and transverse noise
    sqrt(d / (2 n)).

    Args:
        n_samples: Number of Gaussian samples n, at least 1.
        n_inputs: Number of inputs d, at least 1.

    Returns:
        The angle, in (0, pi/2).

    Raises:
        InputError: for numbers below 1.

    Cost: some operations.

    Source: derived here, tested.
    """
    return math.atan(
        math.sqrt(2 * check_count("n_inputs", n_inputs) / check_count("n_samples", n_samples))
    )


def active_moment(inputs: Any, row: Any) -> Float[np.ndarray, "d d"]:
    """1/n sum of x x^T over the samples on which a neuron is active, w . x > 0.

    Args:
        inputs: Samples, shape (n, d).
        row: w, shape (d,).

    Returns:
        Symmetric positive semidefinite matrix.

    Raises:
        InputError: for shapes that do not fit or NaN.

    Cost: n d^2 operations.
    """
    found, weight = check_matrix("inputs", inputs), check_matrix("row", np.atleast_2d(row))
    check(weight.shape == (1, found.shape[1]), "row", f"have {found.shape[1]} entries", row)
    active = found[found @ weight[0] > 0]
    return active.T @ active / len(found)


def sample_rate(inputs: Any, hidden: Any, readout: Any, step_size: float) -> float:
    """Factor of the training loss in a step of descent near the pair that fits, k = 2, C = 1.

    The largest (1 - eta v_i^2 lambda)^2, lambda the smallest eigenvalue of the neuron's active
    moment: the two neurons see complementary samples, and each fits its own.

    Args:
        inputs: Samples, shape (n, d).
        hidden: Rows w_i at the end, shape (2, d).
        readout: v_i at the end, shape (2, 1).
        step_size: eta, above 0 and below that of instability.

    Returns:
        The factor; 1 where a neuron has fewer active samples than inputs.

    Raises:
        InputError: for other than two neurons, shapes that do not fit, or NaN.

    Cost: n d^2 + d^3 operations.

    Source: derived here, tested.
    """
    rows, turned = check_matrix("hidden", hidden), check_matrix("readout", readout)
    check(len(rows) == 2, "hidden", "have two rows", rows.shape)
    check(turned.shape == (2, 1), "readout", "have shape (2, 1)", turned.shape)
    eta = check_positive("step_size", step_size)
    lowest = [max(np.linalg.eigvalsh(active_moment(inputs, row))[0], 0.0) for row in rows]
    return float(np.max((1 - eta * turned[:, 0] ** 2 * np.array(lowest)) ** 2))


def typical_rate(n_samples: int, n_inputs: int, step_size: float, gain: float = 1.0) -> float:
    """`sample_rate` for Gaussian samples: lambda is about (1 - sqrt(2 d / n))^2 / 2.

    Args:
        n_samples: Number of samples n, at least 1.
        n_inputs: Number of inputs d, at least 1.
        step_size: eta, above 0.
        gain: v_i^2 of the slower neuron, at least 0; |a| when balanced.

    Returns:
        The factor; 1 for n <= 2 d, where a neuron sees fewer samples than inputs.

    Raises:
        InputError: for values out of range.

    Cost: some operations.

    Source: the Marchenko-Pastur edge for the n/2 active samples.
    """
    share = 2 * check_count("n_inputs", n_inputs) / check_count("n_samples", n_samples)
    lowest = max(1 - math.sqrt(share), 0.0) ** 2 / 2
    eta, size = check_positive("step_size", step_size), check_nonnegative("gain", gain)
    return (1 - eta * size * lowest) ** 2
