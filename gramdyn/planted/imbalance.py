"""Imbalance of a neuron, D_i = |V_i|^2 - |w_i|^2: conserved by gradient flow, drifting by steps."""

from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_nonnegative, check_positive, check_real


def imbalance(hidden: Any, readout: Any) -> Float[np.ndarray, "*batch k"]:
    """D_i = |V_i|^2 - |w_i|^2 of every neuron.

    Gradient flow conserves it on the population and on samples alike, for every loss of the
    outputs. With one output and D_i >= 0 the flow never changes the sign of v_i. Of the matrix law
    of linear networks only this diagonal holds.

    Args:
        hidden: Rows w_i, shape (..., k, D).
        readout: Rows V_i, shape (..., k, C).

    Returns:
        D_i, shape (..., k).

    Raises:
        InputError: for shapes that do not fit.

    Cost: k (D + C) operations.

    Source: gradient flow, known for homogeneous networks; the sign rule derived here, tested.
    """
    rows, turned = check_real("hidden", hidden), check_real("readout", readout)
    fits = rows.ndim >= 2 and rows.shape[:-1] == turned.shape[:-1]
    check(fits, "readout", f"have leading axes {rows.shape[:-1]}", turned.shape)
    return np.asarray(np.sum(turned**2, axis=-1) - np.sum(rows**2, axis=-1))


def imbalance_increment(
    hidden_gradient: Any, readout_gradient: Any, step_size: float
) -> Float[np.ndarray, "*batch k"]:
    """Change of D_i in one step of gradient descent: eta^2 (|dL/dV_i|^2 - |dL/dw_i|^2), exactly.

    Over a fixed time the drift is therefore linear in eta.

    Args:
        hidden_gradient: dL/dW at the point before the step, shape (..., k, D).
        readout_gradient: dL/dV there, shape (..., k, C).
        step_size: eta, above 0.

    Returns:
        D_i after the step minus D_i before it, shape (..., k).

    Raises:
        InputError: for shapes that do not fit or a step of 0 and less.

    Cost: k (D + C) operations.

    Source: derived here, tested.
    """
    eta = check_positive("step_size", step_size)
    return eta**2 * imbalance(hidden_gradient, readout_gradient)


def imbalance_bound(
    first_loss: float, last_loss: float, step_size: float, curvature: float
) -> float:
    """Most that sum_i |D_i(T) - D_i(0)| can be: eta (L_0 - L_T) / (1 - eta beta / 2).

    Args:
        first_loss: Loss at the start.
        last_loss: Loss at the end, at most the first.
        step_size: eta, above 0.
        curvature: beta, the largest eigenvalue of the Hessian met, below 2 / eta.

    Raises:
        InputError: for values out of range.

    Cost: some operations.

    Source: derived here, tested.
    """
    eta, beta = check_positive("step_size", step_size), check_nonnegative("curvature", curvature)
    check(eta * beta < 2, "curvature", f"be below 2 / step_size = {2 / eta:g}", beta)
    check(bool(last_loss <= first_loss), "last_loss", f"be at most {first_loss:g}", last_loss)
    return eta * (first_loss - last_loss) / (1 - eta * beta / 2)
