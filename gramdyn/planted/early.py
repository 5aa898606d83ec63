"""From a tiny start: the linear law that both layers obey first, and what it decides.

While the weights are small dW/dt = V B / 2 and dV/dt = W B^T / 2, neuron by neuron. With one output
and a of unit length, v + a.w grows, v - a.w shrinks and the rest of w stays: every neuron ends up
with the sign of s = v(0) + a.w(0), which need not be that of v(0), and along that sign of a.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from gramdyn._checks import check, check_positive, check_positive_int, check_real, check_seed
from gramdyn.planted._points import check_point, check_single, norms_of


def early_strengths(hidden: Any, readout: Any, target: Any) -> Float[np.ndarray, "*batch k"]:
    """Strengths s_i = v_i + a.w_i / |a|, the part of each neuron that grows.

    Args:
        hidden: Initial rows w_i, shape (..., k, D).
        readout: Initial v_i, shape (..., k, 1).
        target: a, one output, not zero, shape (1, D).

    Returns:
        Strengths, shape (..., k).

    Raises:
        InputError: for shapes that do not fit, a zero target, or NaN.

    Cost: k D operations a network.

    Source: derived here, tested.
    """
    rows, turned, wanted = check_single(hidden, readout, target)
    return turned[..., 0] + rows @ (wanted[0] / np.linalg.norm(wanted))


def early_weights(
    hidden: Any, readout: Any, target: Any, step_size: float, n_steps: int
) -> tuple[Float[np.ndarray, "*batch k D"], Float[np.ndarray, "*batch k C"]]:
    """Weights of small size after steps of gradient descent, for any number of outputs.

    Along left and right singular vectors of B with singular value b, V + W grows by 1 + eta b / 2
    a step and V - W shrinks by 1 - eta b / 2; W outside the rows of B is constant. Corrections are
    of the square of the weights.

    Args:
        hidden: Initial W, shape (..., k, D).
        readout: Initial V, shape (..., k, C).
        target: B, shape (C, D).
        step_size: eta, above 0.
        n_steps: Number of steps, at least 0.

    Returns:
        W and V after the steps.

    Raises:
        InputError: for shapes that do not fit, values out of range, or NaN.

    Cost: one singular value decomposition of B.

    Source: derived here, tested.
    """
    rows, turned, wanted = check_point(hidden, readout, target)
    rate = check_positive("step_size", step_size) / 2
    steps = check_seed("n_steps", n_steps)
    left, values, right = np.linalg.svd(wanted, full_matrices=False)
    inputs, outputs = rows @ right.T, turned @ left
    up = (outputs + inputs) / 2 * (1 + rate * values) ** steps
    down = (outputs - inputs) / 2 * (1 - rate * values) ** steps
    return rows + (up - down - inputs) @ right, turned + (up + down - outputs) @ left.T


def check_strengths(strengths: Any) -> Float[np.ndarray, "*batch k"]:
    """Strengths as float64, refused unless finite with at least one neuron."""
    found = check_real("strengths", strengths)
    check(found.ndim >= 1 and found.shape[-1] > 0, "strengths", "have an axis of neurons", found)
    check(bool(np.isfinite(found).all()), "strengths", "be finite everywhere", "not")
    return found


def both_signs(strengths: Any) -> Bool[np.ndarray, "*batch"]:
    """Whether both signs occur among the strengths: from a tiny start, whether the map is learnt.

    The gain of either sign fits one half of the map. A group without members stays without:
    the loss ends at |a|^2 / 4. A strength of exactly 0 belongs to no group.

    Args:
        strengths: s_i, shape (..., k).

    Returns:
        One truth value a network.

    Raises:
        InputError: for NaN or no neuron.

    Cost: k comparisons a network.

    Source: derived here, tested on every seed of thousands.
    """
    found = check_strengths(strengths)
    return np.asarray(np.any(found > 0, axis=-1) & np.any(found < 0, axis=-1))


def final_gains(strengths: Any, target_norm: float = 1.0) -> Float[np.ndarray, "*batch k"]:
    """Gains e_i = v_i |w_i| at the end of a run from a tiny start.

    e_i = sign(s_i) |a| s_i^2 / sum of s_j^2 over its sign group, also for gradient descent.

    Args:
        strengths: s_i, shape (..., k).
        target_norm: |a|, above 0.

    Returns:
        Gains, shape (..., k); those of a group add up to |a| or -|a|. 0 for a strength of 0.

    Raises:
        InputError: for NaN, no neuron, or a norm out of range.

    Cost: some k operations a network.

    Source: derived here, tested.
    """
    found = check_strengths(strengths)
    size = check_positive("target_norm", target_norm)
    scaled = found / np.maximum(np.max(np.abs(found), axis=-1, keepdims=True), 1e-300)
    gains = np.zeros_like(found)
    for sign in (1.0, -1.0):
        share = np.where(sign * scaled > 0, scaled, 0.0)
        # By the largest of the group: its squares may be far below those of the other one.
        share = share / np.maximum(np.max(np.abs(share), axis=-1, keepdims=True), 1e-300)
        total = np.sum(share**2, axis=-1, keepdims=True)
        gains += sign * size * share**2 / np.where(total > 0, total, 1.0)
    return gains


def success_probability(n_hidden: int) -> float:
    """1 - 2^(1 - k), the chance that both signs occur in a symmetric initial law.

    Args:
        n_hidden: Number of neurons k, at least 1.

    Raises:
        InputError: for a number below 1.

    Cost: one operation.

    Source: derived here, tested.
    """
    return 1.0 - 2.0 ** (1 - check_positive_int("n_hidden", n_hidden))


def alignment_steps(
    hidden: Any, readout: Any, target: Any, step_size: float, angle: float = 0.1
) -> Shaped[np.ndarray, "*batch"]:
    """Steps of gradient descent until every neuron is within an angle of the line of a.

    max_i log(2 |w_i off the line| / (|s_i| tan angle)) / log(1 + eta |a| / 2), whatever the scale
    of the start, as long as it is small.

    Args:
        hidden: Initial rows w_i, shape (..., k, D).
        readout: Initial v_i, shape (..., k, 1).
        target: a, one output, not zero, shape (1, D).
        step_size: eta, above 0.
        angle: Angle in (0, pi/2).

    Returns:
        Numbers of steps, at least 0 and not rounded; inf where a neuron of strength 0 is off.

    Raises:
        InputError: for shapes that do not fit, values out of range, or NaN.

    Cost: k D operations a network.

    Source: derived here, tested.
    """
    strengths = np.abs(early_strengths(hidden, readout, target))
    rows, _, wanted = check_single(hidden, readout, target)
    check(bool(0 < angle < math.pi / 2), "angle", "lie between 0 and pi/2", angle)
    size = float(np.linalg.norm(wanted))
    rate = math.log1p(check_positive("step_size", step_size) * size / 2)
    unit = wanted[0] / size
    off = 2 * norms_of(rows - (rows @ unit)[..., None] * unit) / math.tan(angle)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(off > 0, off / strengths, 0.0)
    return np.max(np.log(np.maximum(ratio, 1.0)), axis=-1) / rate
