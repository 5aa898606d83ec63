"""Polar factors, and the part of a step of weights that moves their Gram.

W -> R W with R orthogonal leaves W^T W as it is. A step splits into such a rotation and the rest,
in one way; among all weights with the Gram that an optimiser asks for, the nearest to those there
are come from a polar factor. Source: arXiv 2605.06258.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from gramdyn._checks import check_known, check_positive_int

METHODS = ("svd", "newton_schulz")


def polar_factor(
    matrix: Float[Array, "N N"], *, method: str = "svd", steps: int = 10
) -> Float[Array, "N N"]:
    """Orthogonal factor U V^T of a square matrix U S V^T.

        svd            exact; where the matrix is singular, one of several, orthogonal as well.
                       (The partial isometry of its range would do where W W'^T has the rank of W',
                       but its singular values are squares: in float32 a rank mask cuts what is
                       below 0.5 % of the largest in W, for good.)
        newton_schulz  X <- X (15 I - 10 X^T X + 3 (X^T X)^2) / 8 from X = matrix / |matrix|_F:
                       after 10 steps a singular value reaches 0.99 only if it began above 0.4 % of
                       |matrix|_F, so that weak directions shrink

    Args:
        matrix: Shape (N, N).
        method: "svd" or "newton_schulz".
        steps: Steps of Newton-Schulz.

    Raises:
        InputError: for an unknown method or fewer than one step.

    Cost: one singular value decomposition, or 6 N^3 operations a step.
    """
    check_known("method", method, METHODS)
    if method == "newton_schulz":
        return _newton_schulz(matrix, check_positive_int("steps", steps))
    left, _, right = jnp.linalg.svd(matrix)
    return left @ right


def _newton_schulz(matrix: Float[Array, "N N"], steps: int) -> Float[Array, "N N"]:
    start = matrix / (jnp.sqrt(jnp.sum(matrix**2)) + 1e-8)

    def step(_: Int[Array, ""], now: Float[Array, "N N"]) -> Float[Array, "N N"]:
        square = now.T @ now
        return (15.0 * now - 10.0 * (now @ square) + 3.0 * ((now @ square) @ square)) / 8.0

    return lax.fori_loop(0, steps, step, start)


def nearest_with_gram(
    weight: Float[Array, "N M"],
    wanted: Float[Array, "N M"],
    *,
    method: str = "svd",
    steps: int = 10,
) -> Float[Array, "N M"]:
    """The weights nearest to W among those with the Gram of others: polar(W W'^T) W'.

    With the exact factor its Gram is W'^T W', no step gives W back, and W times its transpose is
    symmetric and positive semidefinite. With Newton-Schulz the Gram is kept only as far as the
    factor is orthogonal, and a step of zero shrinks weak directions of W.

    Args:
        weight: W, shape (N, M).
        wanted: W' whose Gram is asked for, shape (N, M).
        method: As for `polar_factor`.
        steps: As for `polar_factor`.

    Cost: 4 N^2 M operations and one polar factor of an N x N matrix.
    """
    return polar_factor(weight @ wanted.T, method=method, steps=steps) @ wanted


def horizontal_part(weight: Float[Array, "N M"], step: Float[Array, "N M"]) -> Float[Array, "N M"]:
    """The part of a step that moves W^T W to first order, orthogonal to all rotations B W.

    step = B W + rest with B skew and W rest^T symmetric: B S + S B = step W^T - W step^T with
    S = W W^T, solved in the eigenbasis of S.

    Args:
        weight: W, shape (N, M).
        step: Shape (N, M).

    Cost: one eigendecomposition of an N x N matrix.
    """
    values, frame = jnp.linalg.eigh(weight @ weight.T)
    moved = step @ weight.T
    skew = frame.T @ (moved - moved.T) @ frame
    total = values[:, None] + values[None, :]
    least = len(values) * jnp.finfo(values.dtype).eps * values[-1]
    solved = jnp.where(total > least, skew / jnp.where(total > least, total, 1.0), 0.0)
    return step - (frame @ solved @ frame.T) @ weight
