"""Nilpotency of the adjacency matrix of a linear network, told without eigenvalues.

A strictly block triangular matrix has the one eigenvalue 0, at every time of a gradient flow and
after every step of gradient descent. Computed eigenvalues cannot show it: a nilpotent matrix is
defective, and rounding of size eps moves the eigenvalues of a Jordan block of size m by eps^{1/m}.
After a rotation of the nodes, exact in real numbers, the largest were 2e-6 to 6e-6 for L = 2, 1e-4
to 2e-4 for L = 3 and 3e-3 to 4e-3 for L = 5 (ten rotations each).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gramdyn._checks import (
    check,
    check_nonnegative,
    check_positive_int,
)
from gramdyn.deep_linear._checks import check_double, check_widths
from gramdyn.deep_linear.canonical import numerical_rank

# Singular values below this times max(1, the largest) count as zero.
TOLERANCE = 1e-10


@dataclass(frozen=True)
class Nilpotency:
    """How far a matrix is from A^{L+1} = 0.

    Attributes:
        excess: Largest entry of A^{L+1} in absolute value.
        traces: Traces of A, A^2, ..., A^n; all zero just for nilpotent matrices.
        scale: Frobenius norms of A to the powers 1, ..., n, what the traces are small against;
            inf where that overflows.
    """

    excess: float
    traces: Float[np.ndarray, "n"]
    scale: Float[np.ndarray, "n"]


def nilpotency(matrix: Float[np.ndarray, "_ _"], n_layers: int) -> Nilpotency:
    """A^{L+1} and the traces of powers of a matrix, both zero for an adjacency matrix.

    Both are sums of products, so they carry rounding of size eps |A|^k, not a root of it. In the
    order of the nodes of `gramdyn.kernels.adjacency` both are 0 to the last bit, since every
    product has a factor that is exactly 0.

    Args:
        matrix: Adjacency matrix, in any basis, shape (n, n), float64.
        n_layers: Number of weight layers L, at least 1.

    Returns:
        The largest entry of A^{L+1}, the traces and what they are small against.

    Raises:
        InputError: for a matrix in float32, not square, not finite, or with powers that overflow.

    Cost: n products of matrices, 2 n^4 operations.

    Source: Wendin & Altafini, arXiv 2511.10362 (isospectral flow); the test derived here.
    """
    square = _check_square(matrix)
    n, n_layers = len(square), check_positive_int("n_layers", n_layers)
    powers = _powers(square, max(n, n_layers + 1))
    traces = np.array([np.trace(power) for power in powers[:n]])
    with np.errstate(over="ignore"):
        scale = np.linalg.norm(square) ** np.arange(1.0, n + 1)
    return Nilpotency(float(np.max(np.abs(powers[n_layers]))), traces, scale)


def is_nilpotent(matrix: Float[np.ndarray, "_ _"], widths: Sequence[int]) -> bool:
    """Whether A^{L+1} and the traces of all powers are exactly 0.

    Args:
        matrix: Adjacency matrix in the order of its nodes, shape (n_v, n_v), float64.
        widths: d_0, ..., d_L with sum n_v.

    Returns:
        True for every adjacency matrix in that order; for one in a rotated basis rounding is in
        the way, see `nilpotency`.

    Raises:
        InputError: for a matrix in float32, not square, not finite, not of the size of the widths,
            or with powers that overflow.

    Cost: one `nilpotency`.

    Source: Wendin & Altafini, arXiv 2511.10362.
    """
    square, widths = _check_square(matrix), check_widths(widths)
    check(sum(widths) == len(square), "widths", f"have the sum {len(square)}", widths)
    found = nilpotency(square, len(widths) - 1)
    return found.excess == 0 and not np.any(found.traces)


def ranks_of_powers(
    matrix: Float[np.ndarray, "_ _"], n_layers: int, tolerance: float = TOLERANCE
) -> Int[np.ndarray, "L"]:
    """Ranks of A, A^2, ..., A^L, which give the sizes of the Jordan blocks of A.

    rank A^k - rank A^{k+1} blocks are larger than k. The type is not conserved, though the spectrum
    is: W_1 = 0 beside a generic W_2 and target starts with a lower rank than it has at t > 0.
    Balanced starts keep it at finite times (Bah et al. 2019).

    Args:
        matrix: Adjacency matrix, in any basis, shape (n, n), float64.
        n_layers: Number of weight layers L, at least 1.
        tolerance: Singular values below this times max(1, the largest) count as zero.

    Returns:
        Ranks, not increasing, shape (L,).

    Raises:
        InputError: for a matrix in float32, not square, not finite, or with powers that overflow.

    Cost: L products and singular value decompositions.

    Source: Bah, Rauhut, Terstiege, Westdickenberg, arXiv 1910.05505 (balanced starts); the change
    of type derived here, tested.
    """
    square = _check_square(matrix)
    tolerance = check_nonnegative("tolerance", tolerance)
    powers = _powers(square, check_positive_int("n_layers", n_layers))
    return np.array([numerical_rank(power, tolerance) for power in powers])


def _powers(square: Float[np.ndarray, "n n"], count: int) -> list[Float[np.ndarray, "n n"]]:
    """A, A^2, ..., A^count, refused if one overflows.

    Not by norms: powers of a large adjacency matrix vanish long before its norm to their power is
    within range.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        powers = list(accumulate([square] * count, np.matmul))
    finite = bool(np.all(np.isfinite(powers)))
    check(finite, "matrix", f"have finite powers up to {count}, or products overflow", "too large")
    return powers


def _check_square(matrix: Any) -> Float[np.ndarray, "n n"]:
    square = check_double("matrix", matrix)
    check(square.shape[0] == square.shape[1], "matrix", "be square", square.shape)
    return square
