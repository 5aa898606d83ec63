"""Half fits whose neurons are turned off their ray: the cubic form of the loss, and the escape.

Turned by small angles from a so that sum e_i u_i = a still, the neurons of a half fit change the
loss in third order: L - |a|^2 / 4 = 1/(12 pi) sum_ij e_i e_j |t_ij|^3. Gains of one sign make it
at least 0, so that these half fits are degenerate local minima. Mixed signs give it negative
values, and since the Hessian has none the point is a non-strict saddle, left algebraically.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.linalg import lstsq

from gramdyn._checks import check, check_real
from gramdyn.planted._points import check_direction, check_single, gains_of, geometry_of, norms_of
from gramdyn.planted.stationary import Weights


def cubic_form(hidden: Any, readout: Any, target: Any) -> float:
    """1/(12 pi) sum_ij e_i e_j |t_ij|^3, the loss above |a|^2 / 4 to third order in the angles.

    Args:
        hidden: Rows w_i, shape (k, D), at small angles to a and with sum e_i u_i = a.
        readout: v_i, shape (k, 1).
        target: a, one output, not zero, shape (1, D).

    Returns:
        The form; the next order is the fifth.

    Raises:
        InputError: for shapes that do not fit, a zero target, or NaN.

    Cost: k^2 D operations.

    Source: derived here, tested.
    """
    rows, turned, _ = check_single(hidden, readout, target)
    units, gains = geometry_of(rows).units, gains_of(rows, turned)
    chords = np.linalg.norm(units[:, None, :] - units[None, :, :], axis=2)
    angle = 2 * np.arcsin(np.minimum(chords / 2, 1.0))  # keeps angles below the root of eps
    return float(gains @ angle**3 @ gains) / (12 * math.pi)


def opened_half_fit(gains: Any, angles: Any, target: Any, norms: Any = None) -> Weights:
    """Half fit with neurons turned in one plane, its gains corrected so that sum e_i u_i = a.

    Args:
        gains: Gains e_i of about |a| together, no 0, shape (k,).
        angles: Signed angles from a within a plane, with sum e_i sin(angle_i) of about 0.
        target: a, one output, not zero, shape (1, D) with D at least 2.
        norms: Norms n_i above 0; sqrt(|e_i|) by default, which is balanced.

    Returns:
        W and V, the gains moved by as little as can be.

    Raises:
        InputError: where correcting would change the sign of a gain, or for shapes that do not fit.

    Cost: a least-squares problem with two rows.

    Source: derived here, tested.
    """
    wanted, start = check_direction(target), check_real("gains", gains)
    turn, size = check_real("angles", angles), float(np.linalg.norm(wanted))
    check(turn.shape == start.shape and start.ndim == 1, "angles", "be as many as gains", turn)
    check(wanted.shape[1] >= 2, "target", "have at least two columns", wanted.shape)
    balance = np.stack([np.cos(turn), np.sin(turn)])
    found = start + lstsq(balance, np.array([size, 0.0]) - balance @ start, rcond=None)[0]
    kept = bool(np.all(found * start > 0))
    check(kept, "angles", "balance, sum e_i sin(angle_i) = 0, up to small changes of e_i", turn)
    length = np.sqrt(np.abs(found)) if norms is None else check_real("norms", norms)
    positive = length.shape == found.shape and bool(np.all(length > 0))
    check(positive, "norms", f"be {len(found)} numbers above 0", length)
    plane = np.stack([wanted[0] / size, _orthogonal(wanted[0] / size)])
    return length[:, None] * (balance.T @ plane), (found / length)[:, None]


def _orthogonal(unit: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
    """A unit vector orthogonal to the unit vector, from the axis that is farthest from it."""
    axis = np.zeros_like(unit)
    axis[np.argmin(np.abs(unit))] = 1.0
    found = axis - (axis @ unit) * unit
    return found / np.linalg.norm(found)


def escape_time(hidden: Any, readout: Any, target: Any) -> float:
    """Time of gradient flow to leave a half fit of two neurons of mixed signs, leading order.

    Along the flat direction e_1 phi_1 + e_2 phi_2 = 0 the flow of the cubic form is
    dt_12/dt = t_12^2 / c, so that an angle of t_12 lasts c / t_12:

        c = 2 pi (n_1^2 e_2^2 + n_2^2 e_1^2) / (|e_1 e_2| |a|^2)

    which is 2 pi (|e_1| + |e_2|) / |a|^2 for balanced neurons. Steps of descent are the time over
    eta. Until the loss is halved they are fewer, by 18, 8 and 3 % for gains of 2 and -1 and angles
    of 0.1, 0.033 and 0.01.

    Args:
        hidden: Two rows at a small angle to a, shape (2, D).
        readout: v_i of mixed signs, shape (2, 1).
        target: a, one output, not zero, shape (1, D).

    Returns:
        The time; inf for an angle of 0.

    Raises:
        InputError: for other than two neurons, or gains that are 0 or of one sign.

    Cost: some operations.

    Source: derived here, tested.
    """
    rows, turned, wanted = check_single(hidden, readout, target)
    check(rows.shape[:-1] == (2,), "hidden", "have two rows", rows.shape)
    (one, other), (first, second) = gains_of(rows, turned), norms_of(rows)
    check(bool(one * other < 0), "readout", "have two signs", turned[:, 0])
    gap = rows[0] / first - rows[1] / second
    angle = 2 * math.asin(min(float(np.linalg.norm(gap)) / 2, 1.0))
    metric = (first * other) ** 2 + (second * one) ** 2
    rate = abs(one * other) * float(np.sum(wanted**2)) / (2 * math.pi * metric)
    return float(1 / (rate * angle)) if angle > 0 else math.inf
