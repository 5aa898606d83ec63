"""Networks of two linear layers solved exactly: the matrix Riccati equation of W_2 W_1.

White inputs and a start with W_2^T W_2 - W_1 W_1^T = lam I, which the flow conserves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_nonnegative, check_seed
from gramdyn.deep_linear._checks import Number, check_scalar, check_widths
from gramdyn.deep_linear._points import check_point
from gramdyn.deep_linear._products import Weights
from gramdyn.deep_linear.modes import check_times

# Of the departure of C_1 from lam I, relative to the largest squared weight.
TOLERANCE = 1e-10
# Largest |F| h of a substep: e^{Fh} then spans at most four decimal digits.
REACH = 2.0
MOST_STEPS = 1e9


@dataclass(frozen=True)
class RiccatiSolution:
    """Two-layer network at given times, up to rotations of its hidden layer.

    Attributes:
        times: Times, shape (T,).
        maps: W_2 W_1, shape (T, d2, d0).
        input_grams: W_1^T W_1, shape (T, d0, d0).
        output_grams: W_2 W_2^T, shape (T, d2, d2).
    """

    times: Float[np.ndarray, "T"]
    maps: Float[np.ndarray, "T d2 d0"]
    input_grams: Float[np.ndarray, "T d0 d0"]
    output_grams: Float[np.ndarray, "T d2 d2"]


def riccati_solution(
    weights: Any,
    target: Float[np.ndarray, "d2 d0"],
    times: Float[np.ndarray, "T"],
    tolerance: float = TOLERANCE,
) -> RiccatiSolution:
    """Gradient flow of two linear layers on white inputs, exactly.

    For W_2^T W_2 - W_1 W_1^T = lam I the product M = Q Q^T of Q = [W_1^T; W_2] obeys

        dM/dt = F M + M F - M^2,   F = [[-lam/2 I, T^T], [T, lam/2 I]]
        M(t) = e^{Ft} Q_0 (I + Q_0^T Phi(t) Q_0)^{-1} Q_0^T e^{Ft},   Phi(t) = int_0^t e^{2Fs} ds

    F need not be invertible: Phi has the eigenvalues (e^{2wt} - 1) / (2w), t at w = 0. The
    formula at one stroke loses every digit once e^{2|F|t} passes 1e16, so the factor is carried
    in steps h with |F| h <= 2, each exact: Q -> e^{Fh} Q (I + Q^T Phi(h) Q)^{-1/2}. The factor
    is that of the network up to a rotation of the hidden layer, so M is returned.

    Rank-deficient and zero targets, tied singular values, hidden layers below the rank of the
    target and zero weights are all within the law.

    Args:
        weights: W_1 of shape (d1, d0) and W_2 of shape (d2, d1) at t = 0, float64.
        target: Whitened target T, shape (d2, d0).
        times: Times of at least 0 that do not decrease, shape (T,).
        tolerance: Largest entry of C_1 - lam I let pass, relative to the largest squared weight.

    Returns:
        Maps and Grams at the times.

    Raises:
        InputError: unless there are two layers in float64 that fit the target, C_1 = lam I, and the
            times do not decrease and need at most 1e9 substeps.

    Cost: |F| t / 2 substeps at a time t, each about 10 d1^3 + 4 (d0 + d2)^2 d1 operations.

    Source: Fukumizu 1998; Braun, Domine, Fitzgerald, Saxe, NeurIPS 2022; lam: Domine et al.,
    arXiv 2409.14623. Substeps of the factor derived here, tested.
    """
    layers, goal = _check_problem(weights, target)
    moments = check_times(times)
    check(bool(np.all(np.diff(moments) >= 0)), "times", "not decrease", moments)
    check_nonnegative("tolerance", tolerance)
    rates, basis = np.linalg.eigh(_generator(goal, _balance(layers, tolerance)))
    longest = MOST_STEPS * REACH / max(float(np.max(np.abs(rates))), 1e-300)
    check(bool(np.all(moments <= longest)), "times", f"be at most {longest:.3g} = 2e9/|F|", moments)
    # In the eigenbasis of F, where e^{Fh} and Phi(h) are diagonal.
    factor = basis.T @ np.vstack([layers[0].T, layers[1]])
    found = np.empty((len(moments), *basis.shape))
    for place, gap in enumerate(np.diff(moments, prepend=0.0)):
        factor = _advance(factor, rates, float(gap))
        half = basis @ factor
        found[place] = half @ half.T
    d0 = goal.shape[1]
    return RiccatiSolution(moments, found[:, d0:, :d0], found[:, :d0, :d0], found[:, d0:, d0:])


def lambda_balanced_weights(
    widths: Sequence[int], lam: Number, scale: Number, seed: int
) -> tuple[Float[np.ndarray, "d1 d0"], Float[np.ndarray, "d2 d1"]]:
    """Random W_1, W_2 with W_2^T W_2 - W_1 W_1^T = lam I to rounding.

    W_1 = P S_1 B^T and W_2 = A S_2 P^T with random orthogonal A, B, P and S_2^2 - S_1^2 = lam on
    each hidden direction; the smaller of the two values is `scale` times a normal number.

    Args:
        widths: (d0, d1, d2); d1 <= d2 if lam > 0, d1 <= d0 if lam < 0, any d1 if lam = 0.
        lam: Imbalance, any finite number.
        scale: Standard deviation of the smaller singular values, above 0.
        seed: Seed of the draw, at least 0.

    Returns:
        W_1 of shape (d1, d0) and W_2 of shape (d2, d1).

    Raises:
        InputError: for widths that cannot carry lam, or values out of range.

    Cost: three QR factorisations.

    Source: Domine et al., arXiv 2409.14623; the draw derived here, tested.
    """
    lam, scale = check_scalar("lam", lam), check_scalar("scale", scale, above=0)
    widths = check_widths(widths)
    check(len(widths) == 3, "widths", "hold three whole numbers of at least 1", widths)
    d0, d1, d2 = widths
    fits = lam == 0 or d1 <= (d2 if lam > 0 else d0)
    check(fits, "widths", f"let a hidden layer carry lam = {lam:g} everywhere", widths)
    rng = np.random.default_rng(check_seed("seed", seed))
    inner, middle, outer = (np.linalg.qr(rng.normal(size=(d, d)))[0] for d in (d0, d1, d2))
    least = np.zeros(d1)
    least[: min(widths)] = (scale * rng.normal(size=min(widths))) ** 2
    first = middle @ _diagonal(np.sqrt(least + max(-lam, 0.0)), d1, d0) @ inner.T
    return first, outer @ _diagonal(np.sqrt(least + max(lam, 0.0)), d2, d1) @ middle.T


def _diagonal(values: Float[np.ndarray, "_"], rows: int, columns: int) -> Float[np.ndarray, "_ _"]:
    matrix = np.zeros((rows, columns))
    count = min(rows, columns)
    matrix[range(count), range(count)] = values[:count]
    return matrix


def _check_problem(weights: Any, target: Any) -> tuple[Weights, np.ndarray]:
    layers, goal = check_point(weights, target)
    check(len(layers) == 2, "weights", "hold two layers", len(layers))
    return layers, goal


def _balance(layers: Weights, tolerance: float) -> float:
    """The number lam with C_1 = lam I; refuses weights where there is none."""
    first, second = layers
    conserved = second.T @ second - first @ first.T
    lam = float(np.trace(conserved)) / len(conserved)
    off = float(np.max(np.abs(conserved - lam * np.eye(len(conserved)))))
    allowed = tolerance * max(float(np.max(np.abs(w))) ** 2 for w in layers)
    demand = f"have W_2^T W_2 - W_1 W_1^T within {allowed:.1e} of lam I in every entry"
    check(off <= allowed, "weights", demand, off)
    return lam


def _generator(target: Float[np.ndarray, "d2 d0"], lam: float) -> Float[np.ndarray, "q q"]:
    d2, d0 = target.shape
    return np.block([[-lam / 2 * np.eye(d0), target.T], [target, lam / 2 * np.eye(d2)]])


def _advance(
    factor: Float[np.ndarray, "q d1"], rates: Float[np.ndarray, "q"], gap: float
) -> Float[np.ndarray, "q d1"]:
    """The factor `gap` later, in the eigenbasis of F."""
    steps = max(1, math.ceil(float(np.max(np.abs(rates))) * gap / REACH))
    growth, past = _propagator(rates, gap / steps)
    for _ in range(steps):
        values, vectors = np.linalg.eigh(factor.T @ (past[:, None] * factor))
        root = vectors / np.sqrt(1 + np.maximum(values, 0.0)) @ vectors.T
        factor = growth[:, None] * factor @ root
    return factor


def _propagator(
    rates: Float[np.ndarray, "q"], h: float
) -> tuple[Float[np.ndarray, "q"], Float[np.ndarray, "q"]]:
    """Eigenvalues of e^{Fh} and of Phi(h); h where a rate is 0."""
    zero = rates == 0
    past = np.where(zero, h, np.expm1(2 * rates * h) / np.where(zero, 1.0, 2 * rates))
    return np.exp(rates * h), past
