"""Several outputs: pairs of neurons, rates of growth, plateaus, levels of networks too narrow.

A global minimum has sum V_i n_i = 0 on every line and V^T W = 2 B. For a target of rank C this
takes 2 C neurons, and with just 2 C they form pairs w_j = -r w_i, V_j = -V_i / r.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from gramdyn._checks import check, check_matrix, check_positive, check_positive_int, check_real
from gramdyn.planted._points import geometry_of


@dataclass(frozen=True)
class Pairing:
    """Partners of neurons, the one whose row is the most nearly opposite, and how well they match.

    Attributes:
        partner: Index of the partner of each neuron, shape (..., k).
        mutual: Whether the partner's partner is the neuron itself, shape (..., k).
        cosine: Cosine of w_i and the partner's, -1 for a pair, shape (..., k).
        readout_cosine: Cosine of V_i and the partner's, shape (..., k); 0 for a zero V_i.
        mismatch: | |w_i| |V_i| / (|w_j| |V_j|) - 1 |, 0 for a pair, shape (..., k); inf for zeros.
        ratio: r = |w_j| / |w_i|, 1 for a balanced pair, shape (..., k); inf for zeros.
        overlap: Largest |cosine| of rows of different pairs, shape (...,); 0 for one pair.
    """

    partner: Int[np.ndarray, "*batch k"]
    mutual: Bool[np.ndarray, "*batch k"]
    cosine: Float[np.ndarray, "*batch k"]
    readout_cosine: Float[np.ndarray, "*batch k"]
    mismatch: Float[np.ndarray, "*batch k"]
    ratio: Float[np.ndarray, "*batch k"]
    overlap: Float[np.ndarray, "*batch"]


def pairing(hidden: Any, readout: Any) -> Pairing:
    """Pairs of neurons with opposite rows, whether or not they are pairs of a minimum.

    Args:
        hidden: Rows w_i, shape (..., k, D), k at least 2.
        readout: Rows V_i, shape (..., k, C).

    Returns:
        Partner of every neuron and how well it matches.

    Raises:
        InputError: for fewer than two neurons, shapes that do not fit, or NaN.

    Cost: k^2 (D + C) operations a network.

    Source: derived here, tested.
    """
    rows, turned = check_real("hidden", hidden), check_real("readout", readout)
    check(rows.ndim >= 2 and rows.shape[-2] >= 2, "hidden", "have two rows at least", rows.shape)
    check(turned.shape[:-1] == rows.shape[:-1], "readout", "have as many rows", turned.shape)
    for name, array in (("hidden", rows), ("readout", turned)):
        check(bool(np.isfinite(array).all()), name, "be finite everywhere", "not")
    at, out = geometry_of(rows), geometry_of(turned)
    partner = np.argmin(at.cosine, axis=-1)
    size, other = at.norms, np.take_along_axis(at.norms, partner, -1)
    gain = size * out.norms
    return Pairing(
        partner=partner,
        mutual=np.take_along_axis(partner, partner, -1) == np.arange(rows.shape[-2]),
        cosine=_picked(at.cosine, partner),
        readout_cosine=_picked(out.cosine, partner),
        mismatch=np.abs(_over(gain, np.take_along_axis(gain, partner, -1)) - 1),
        ratio=_over(other, size),
        overlap=_overlap(at.cosine, partner),
    )


def _picked(
    cosine: Float[np.ndarray, "*batch k k"], partner: Int[np.ndarray, "*batch k"]
) -> Float[np.ndarray, "*batch k"]:
    """Entry of each neuron and its partner."""
    return np.take_along_axis(cosine, partner[..., None], -1)[..., 0]


def _over(top: Any, bottom: Any) -> Any:
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.inf)


def _overlap(
    cosine: Float[np.ndarray, "*batch k k"], partner: Int[np.ndarray, "*batch k"]
) -> Float[np.ndarray, "*batch"]:
    """Largest |cosine| of a neuron with others than itself and its partner, either way."""
    places = np.arange(cosine.shape[-1])
    own = partner[..., :, None] == places
    own = own | np.swapaxes(own, -1, -2) | np.eye(len(places), dtype=bool)
    return np.asarray(np.max(np.where(own, 0.0, np.abs(cosine)), axis=(-1, -2)))


def growth_rates(target: Any) -> Float[np.ndarray, " r"]:
    """Rates at which small weights grow along the singular directions of B, half its values.

    One e-fold takes 1 / log(1 + eta rate) steps of gradient descent.

    Args:
        target: B, shape (C, D).

    Returns:
        Rates, descending, shape (min(C, D),).

    Raises:
        InputError: for anything but a finite matrix.

    Cost: one singular value decomposition.

    Source: derived here, tested.
    """
    return np.linalg.svd(check_matrix("target", target), compute_uv=False) / 2


def efold_steps(target: Any, step_size: float) -> Float[np.ndarray, " r"]:
    """Steps of gradient descent in which small weights grow e-fold along each singular direction.

    Args:
        target: B, shape (C, D).
        step_size: eta, above 0.

    Returns:
        1 / log(1 + eta sv / 2), ascending, shape (min(C, D),); inf for a singular value of 0.

    Raises:
        InputError: for anything but a finite matrix, or a step of 0 and less.

    Cost: one singular value decomposition.

    Source: derived here, tested.
    """
    rates = np.log1p(check_positive("step_size", step_size) * growth_rates(target))
    with np.errstate(divide="ignore"):
        return 1 / rates


def loss_levels(target: Any) -> Float[np.ndarray, " _"]:
    """Loss with the r largest singular directions learnt whole: sum over the others of sv^2 / 2.

    Args:
        target: B, shape (C, D).

    Returns:
        Levels for r = 0, 1, ..., min(C, D), descending to 0.

    Raises:
        InputError: for anything but a finite matrix.

    Cost: one singular value decomposition.

    Source: derived here, tested.
    """
    squares = 2 * growth_rates(target) ** 2
    return np.append(np.cumsum(squares[::-1])[::-1], 0.0)


def simplex_level(n_outputs: int) -> float:
    """Loss of C + 1 neurons whose rows and readouts point to the corners of a simplex.

    For orthonormal rows of B, C/2 - k^2 / (8 q) with k = C + 1, q = k (1/2 - J(t)) and
    cos t = -1/C. C = 1 is the exact pair, at 0; C = 2 is three neurons at 120 degrees. Runs of
    C + 1 neurons end there: all of those seen for C = 2 and for C = 3.

    Args:
        n_outputs: Number of outputs C, at least 1.

    Returns:
        The level, that of a stationary point.

    Raises:
        InputError: for a number below 1.

    Cost: some operations.

    Source: derived here, tested.
    """
    outputs = check_positive_int("n_outputs", n_outputs)
    angle, k = math.acos(-1 / outputs), outputs + 1
    shared = (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / (2 * math.pi)
    return outputs / 2 - k / (8 * (0.5 - shared))
