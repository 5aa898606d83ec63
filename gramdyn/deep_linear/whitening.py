"""White coordinates of a deep linear network: inputs of second moment one, the same landscape.

W_1 -> W_1 Sxx^{1/2} and T -> T Sxx^{1/2} turn the loss of any data into the white one. Being linear
and invertible on the range of Sxx, the map carries over critical points, their losses and their
inertia. It is no isometry, so gradient flow does not carry over, nor does what the flow conserves.
Where Sxx is singular, the inertia is that of the white problem on its range: on all inputs the
white Hessian has more positive eigenvalues, for outputs to inputs that the data do not have.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_matrix
from gramdyn.deep_linear._checks import check_products, check_target
from gramdyn.deep_linear._products import Weights, check_weights

NULL = 1e-12  # eigenvalues of Sxx up to this times the largest count as zero


def check_moment(input_moment: Any, width: int) -> Float[np.ndarray, "d0 d0"]:
    """Sxx as an array, refused unless symmetric, positive semidefinite and of the inputs' width."""
    moment = check_matrix("input_moment", input_moment)
    check_products("input_moment", moment)
    check(moment.shape == (width, width), "input_moment", f"be {width} x {width}", moment.shape)
    scale = float(np.abs(moment).max())
    skew = float(np.abs(moment - moment.T).max())
    check(skew <= 1e-9 * scale, "input_moment", "be symmetric", f"off by {skew:.1e}")
    lowest = float(np.linalg.eigvalsh(moment)[0])
    check(lowest >= -1e-9 * scale, "input_moment", "have no eigenvalue below 0", lowest)
    return moment


def white_target(target: Any, input_moment: Any) -> Float[np.ndarray, "dL d0"]:
    """Target of the white problem, T Sxx^{1/2}.

    Its singular values are those of levels, kinds and plateaus; those of T are not.

    Args:
        target: T = Syx Sxx^+, (d_L, d_0).
        input_moment: Sxx = X X^T / n, (d_0, d_0), symmetric positive semidefinite, may be singular.

    Returns:
        The white target, Syx Sxx^{+1/2}, zero outside the range of Sxx.

    Raises:
        InputError: for a moment that is none or does not fit.

    Cost: one eigendecomposition of d_0.
    Source: Baldi & Hornik (1989).
    """
    goal = check_target(target)
    return goal @ _power(input_moment, goal.shape[1], 0.5)


def whiten_weights(weights: Any, input_moment: Any) -> Weights:
    """Weights of the white problem: W_1 Sxx^{1/2}, the other layers as they are.

    What W_1 does outside the range of Sxx, which no input sees and gradient flow never changes, is
    dropped: the white W_1 is zero there.

    Args:
        weights: W_1, ..., W_L, float64.
        input_moment: Sxx, (d_0, d_0), symmetric positive semidefinite, may be singular.

    Returns:
        White weights, of the same shapes and loss.

    Raises:
        InputError: for weights in float32 or that do not chain, or a moment that is none or does
            not fit.

    Cost: one eigendecomposition of d_0.
    Source: derived here, tested.
    """
    first, *rest = check_weights(weights)
    return (first @ _power(input_moment, first.shape[1], 0.5), *rest)


def unwhiten_weights(weights: Any, input_moment: Any) -> Weights:
    """Weights of the original problem from white ones: W_1 Sxx^{+1/2}, the others as they are.

    Inverse of `whiten_weights` on the range of Sxx. Outside it the result is zero, whatever the
    white W_1 is there; add any matrix times the projector on the null space of Sxx to restore it.

    Args:
        weights: White W_1, ..., W_L, float64.
        input_moment: Sxx, (d_0, d_0), symmetric positive semidefinite, may be singular.

    Returns:
        Weights of the same shapes; of the same loss if the white W_1 is zero outside the range. A
        canonical critical point of the white target is.

    Raises:
        InputError: for weights in float32 or that do not chain, or a moment that is none or does
            not fit.

    Cost: one eigendecomposition of d_0.
    Source: derived here, tested.
    """
    first, *rest = check_weights(weights)
    return (first @ _power(input_moment, first.shape[1], -0.5), *rest)


def _power(input_moment: Any, width: int, exponent: float) -> Float[np.ndarray, "d0 d0"]:
    """Sxx to a power on its range, zero outside it."""
    values, vectors = np.linalg.eigh(check_moment(input_moment, width))
    seen = values > NULL * values[-1]
    raised = np.where(seen, np.where(seen, values, 1.0) ** exponent, 0.0)
    return (vectors * raised) @ vectors.T
