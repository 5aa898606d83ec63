"""Thin coordinates: the same trajectory at width C + k, whatever the number of inputs.

All rows stay in the span of the rows of B and of the initial rows of W. One rotation takes the
first into C coordinates and the rest of the second into k others. Starts are drawn in them at once
by `gramdyn.models.thin_network`, for any number of inputs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_matrix
from gramdyn._checks import check_positive_int as check_count


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
