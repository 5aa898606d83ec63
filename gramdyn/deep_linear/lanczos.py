"""Lowest and highest eigenvalues of a symmetric operator by Lanczos, as often as they occur."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh


def extremal_eigenvalues(operator: LinearOperator, count: int) -> Float[np.ndarray, " _"]:
    """The `count` lowest and the `count` highest eigenvalues of a symmetric operator, ascending."""
    scale = _magnitude(operator)
    low = _tops(operator, -1.0, scale, count)
    return np.concatenate([-low, _tops(operator, 1.0, scale, count)[::-1]])


def _magnitude(operator: LinearOperator) -> float:
    """A little above the largest |eigenvalue|; 1 for the zero matrix."""
    start = np.random.default_rng(0).normal(size=operator.shape[0])
    if not operator.matvec(start).any():
        return 1.0
    top = eigsh(operator, k=1, which="LM", v0=start, tol=1e-3, return_eigenvectors=False)
    return 1.1 * abs(float(top[0]))


def _tops(operator: LinearOperator, sign: float, scale: float, count: int) -> Any:
    """Highest eigenvalues of sign H, descending.

    One at a time with those found taken out: a Krylov space holds one vector of an eigenspace, so
    several at a time may miss copies. The shift by `scale` makes an eigenvalue of zero no smaller
    than the others, to which precision is relative.
    """
    found: list[float] = []
    size = operator.shape[0]
    vectors = np.zeros((size, 0))
    rng = np.random.default_rng(1)
    for _ in range(count):
        shifted = _shifted(operator, sign, scale, vectors)
        # A new start: of the last one's eigenspace only the vector taken out was in the old.
        start = rng.normal(size=size)
        value, vector = eigsh(shifted, k=1, which="LA", v0=start, tol=1e-12)
        found.append(float(value[0]) - scale)
        vectors = np.linalg.qr(np.hstack([vectors, vector]))[0]
    return np.sort(found)[::-1]


def _shifted(operator: LinearOperator, sign: float, scale: float, out: Any) -> LinearOperator:
    """The map scale I + sign H on the complement of the columns of `out`, zero on them."""

    def product_with(vector: Float[np.ndarray, "..."]) -> Float[np.ndarray, " N"]:
        rest = vector.ravel() - out @ (out.T @ vector.ravel())
        image = scale * rest + sign * operator.matvec(rest)
        return image - out @ (out.T @ image)

    return LinearOperator(operator.shape, matvec=product_with, dtype=np.float64)
