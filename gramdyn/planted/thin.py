"""Thin coordinates: the same trajectory at width C + k, whatever the number of inputs.

All rows stay in the span of the rows of B and of the initial rows of W. One rotation takes the
first into C coordinates and the rest of the second into k others. Only the law of the start knows
the number of inputs, and it is drawn in these coordinates at once.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_known, check_matrix, check_positive, check_real, check_seed
from gramdyn._checks import check_positive_int as check_count

READOUT_LAWS = ("chi", "balanced", "xavier", "same")


@dataclass(frozen=True)
class Thin:
    """Weights and target in thin coordinates, and the way back.

    Attributes:
        hidden: W in thin coordinates, shape (k, C + k).
        target: B in thin coordinates, shape (C, C + k): lower triangular, nothing in the last k.
        basis: Orthonormal columns, shape (d, C + k); beyond d of them are zeros.
    """

    hidden: Float[np.ndarray, "k m"]
    target: Float[np.ndarray, "C m"]
    basis: Float[np.ndarray, "d m"]

    def widen(self, hidden: Any) -> Float[np.ndarray, "k d"]:
        """Rows in the coordinates of the inputs again.

        Args:
            hidden: Rows in thin coordinates, shape (k, C + k).

        Returns:
            The rows, shape (k, d).

        Raises:
            InputError: for rows of another width.
        """
        rows, width = check_matrix("hidden", hidden), self.basis.shape[1]
        check(rows.shape[1] == width, "hidden", f"have {width} columns", rows.shape)
        return rows @ self.basis.T


def thin(hidden: Any, target: Any) -> Thin:
    """Weights and target in thin coordinates, by one QR of the columns of B^T and W^T.

    Columns of very different scale keep their digits each: a start of 1e-8 beside a target of 1 is
    rotated to a relative error of rounding.

    Args:
        hidden: Initial W, shape (k, d).
        target: B, shape (C, d), of any rank.

    Returns:
        Thin weights and target, of width C + k also where d is smaller, and the basis.

    Raises:
        InputError: for shapes that do not fit or NaN.

    Cost: d (C + k)^2 operations, once.

    Source: derived here, tested.
    """
    rows, wanted = check_matrix("hidden", hidden), check_matrix("target", target)
    fits = rows.shape[1] == wanted.shape[1]
    check(fits, "hidden", f"have {wanted.shape[1]} columns, as the target", rows.shape)
    columns, triangle = np.linalg.qr(np.vstack([wanted, rows]).T)
    missing = triangle.shape[1] - triangle.shape[0]
    signs = np.where(np.diagonal(triangle) < 0, -1.0, 1.0)  # so that unit rows stay unit rows
    basis = np.pad(columns * signs, ((0, 0), (0, missing)))
    found = np.pad((triangle * signs[:, None]).T, ((0, 0), (0, missing)))
    return Thin(hidden=found[len(wanted) :], target=found[: len(wanted)], basis=basis)


def thin_target(target: Any, n_hidden: int) -> Float[np.ndarray, "C m"]:
    """Target in thin coordinates, without any weights: orthonormal rows become unit rows.

    Args:
        target: B, shape (C, d).
        n_hidden: Number of neurons k, at least 1.

    Returns:
        Shape (C, C + k), lower triangular.

    Raises:
        InputError: for anything but a finite matrix or a number below 1.

    Cost: d C^2 operations, once.

    Source: derived here, tested.
    """
    wanted = check_matrix("target", target)
    none = np.zeros((check_count("n_hidden", n_hidden), wanted.shape[1]))
    return thin(none, wanted).target


def thin_start(
    seed: int, n_inputs: int, n_hidden: int, n_outputs: int, sigma: float
) -> Float[np.ndarray, "k m"]:
    """Initial W with entries N(0, sigma^2 / d), drawn in thin coordinates from its exact law.

    The C coordinates of the target are independent normal numbers. The rest of W is a Gaussian
    k x (d - C) matrix, and in the frame of its own rows a lower triangle: normal below the
    diagonal, and on it the roots of chi-squared numbers with d - C, d - C - 1, ... degrees of
    freedom. Norms and angles have the law of the full start for every number of inputs.

    Args:
        seed: Whole number of at least 0.
        n_inputs: Number of inputs d, at least 1; the target has rank min(C, d) at most.
        n_hidden: Number of neurons k, at least 1.
        n_outputs: Number of outputs C, at least 1.
        sigma: Root mean square of the norm of a row, above 0.

    Returns:
        W of width C + k; coordinates that d inputs do not fill are 0.

    Raises:
        InputError: for values out of range.

    Cost: k (C + k) random numbers, whatever the number of inputs.

    Source: M. S. Bartlett (1933), the decomposition of a Wishart matrix.
    """
    rng = _generator(seed, "hidden")
    k, outputs = check_count("n_hidden", n_hidden), check_count("n_outputs", n_outputs)
    inputs, scale = check_count("n_inputs", n_inputs), check_positive("sigma", sigma)
    head, rest = min(outputs, inputs), max(inputs - outputs, 0)
    filled = min(k, rest)
    found = np.zeros((k, outputs + k))
    found[:, :head] = rng.standard_normal((k, head))
    found[:, outputs : outputs + filled] = np.tril(rng.standard_normal((k, filled)), -1)
    places = np.arange(filled)
    found[places, outputs + places] = np.sqrt(rng.chisquare(rest - places))
    return scale / math.sqrt(inputs) * found


def readout_start(
    seed: int,
    hidden: Any,
    n_inputs: int,
    n_outputs: int,
    sigma: float,
    law: str = "chi",
    signs: Any = None,
) -> Float[np.ndarray, "k C"]:
    """Initial V by one of four laws.

        chi       uniform directions, lengths sigma chi_d / sqrt(d): the law of the norms of W
        balanced  uniform directions, lengths |w_i|, so that no neuron has an imbalance
        xavier    entries N(0, sigma^2 / k)
        same      entries N(0, sigma^2 / d), the law of W

    Uniform directions of one output are signs.

    Args:
        seed: Whole number of at least 0; the numbers are independent of those of `thin_start`.
        hidden: Initial W in any coordinates, shape (k, D).
        n_inputs: Number of inputs d, at least 1.
        n_outputs: Number of outputs C, at least 1.
        sigma: Scale, above 0.
        law: "chi", "balanced", "xavier" or "same".
        signs: For one output, the signs of v_i, shape (k,); drawn by default.

    Returns:
        V, shape (k, C).

    Raises:
        InputError: for values out of range, or signs with several outputs.

    Cost: k C random numbers.
    """
    rng, rows = _generator(seed, "readout"), check_matrix("hidden", hidden)
    inputs, outputs = check_count("n_inputs", n_inputs), check_count("n_outputs", n_outputs)
    scale, k = check_positive("sigma", sigma), len(rows)
    found = rng.standard_normal((k, outputs))
    if check_known("law", law, READOUT_LAWS) in ("xavier", "same"):
        found *= scale / math.sqrt(k if law == "xavier" else inputs)
    else:
        chi = scale * np.sqrt(rng.chisquare(inputs, k) / inputs)
        lengths = chi if law == "chi" else np.linalg.norm(rows, axis=1)
        found *= (lengths / np.linalg.norm(found, axis=1))[:, None]
    return found if signs is None else _signed(found, signs)


def _signed(readout: Float[np.ndarray, "k C"], signs: Any) -> Float[np.ndarray, "k C"]:
    """The same sizes with given signs."""
    wanted = check_real("signs", signs)
    good = wanted.shape == (len(readout),) and bool(np.all(np.abs(wanted) == 1))
    check(good, "signs", f"be {len(readout)} numbers of 1 or -1", wanted)
    check(readout.shape[1] == 1, "signs", "be None for several outputs", wanted)
    return np.abs(readout) * wanted[:, None]


def _generator(seed: int, purpose: str) -> np.random.Generator:
    """Random stream of a seed and what its numbers are for."""
    spawn_key = tuple(purpose.encode())
    return np.random.default_rng(
        np.random.SeedSequence(check_seed("seed", seed), spawn_key=spawn_key)
    )
