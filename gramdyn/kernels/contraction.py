"""What says that a map has one fixed point, and how far an iterate still is from it.

For T(z) = phi(S z + b) + alpha R(z) a factor q < 1 with |T(z) - T(z')| <= q |z - z'| gives
existence, uniqueness and the bounds below. It is not necessary: a spectral radius below 1 of the
matrix of |S_ij| (`perron_bound`) suffices, and so does a monotone S (`gramdyn.kernels.splitting`).

Source: the bounds are Banach's; the radius of |S| is that of El Ghaoui et al. (2021); that of the
adjoint is derived here.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from gramdyn._checks import check_positive_int
from gramdyn._types import Scalar


def contraction_factor(
    lip_phi: Scalar,
    norm: Scalar,
    alpha: Scalar = 0.0,
    lip_correction: Scalar = 0.0,
    *,
    inside: bool = False,
) -> Float[Array, ""]:
    """Factor q = Lip_phi sigma_1(S) + |alpha| L_R by which a structured layer contracts at least.

    Args:
        lip_phi: Largest slope of the activation: 1 for tanh and ReLU, 1.12890 GELU, 1.09984 SiLU.
        norm: sigma_1(S), or a bound from above.
        alpha: Gain of the correction.
        lip_correction: L_R, a bound on the correction's slope.
        inside: The correction is added before the activation: Lip_phi (sigma_1(S) + |alpha| L_R).

    Returns:
        Below 1 it is a certificate; the rate near the fixed point is rho(J) <= sigma_1(J) <= q.
    """
    added = jnp.abs(alpha) * lip_correction
    return lip_phi * (norm + added) if inside else lip_phi * norm + added


def prior_bound(
    factor: Scalar, first_move: Scalar, steps: int | Int[Array, "..."]
) -> Float[Array, "..."]:
    """Bound on |z_k - z*| known after one step: q^k / (1 - q) |z_1 - z_0|; infinite for q >= 1."""
    factor = jnp.asarray(factor)
    shrunk = factor ** jnp.asarray(steps).astype(factor.dtype)
    return jnp.where(factor < 1, shrunk / (1.0 - factor) * first_move, jnp.inf)


def posterior_bound(factor: Scalar, last_move: Float[Array, "..."]) -> Float[Array, "..."]:
    """Bound on |z_k - z*| from the last step: q / (1 - q) |z_k - z_{k-1}|; infinite for q >= 1.

    |z_{k-1} - z*| is at most |z_k - z_{k-1}| / (1 - q).
    """
    factor = jnp.asarray(factor)
    return jnp.where(factor < 1, factor / (1.0 - factor) * last_move, jnp.inf)


def adjoint_bound(
    factor: Scalar, length: Scalar, steps: int | Int[Array, "..."]
) -> Float[Array, "..."]:
    """Error after K steps of w <- g + J^T w from w = g: at most q^{K+1} / (1 - q) |g|."""
    return prior_bound(factor, factor * length, steps)


def response_bound(factor: Scalar, lip_input: Scalar) -> Float[Array, ""]:
    """Bound on |dz*| / |dx|: Lip_x / (1 - q), Lip_x that of T in x; infinite for q >= 1."""
    factor = jnp.asarray(factor)
    return jnp.where(factor < 1, lip_input / (1.0 - factor), jnp.inf)


def perron_bound(matrix: Float[Array, "N N"], *, steps: int = 200) -> Float[Array, ""]:
    """The largest eigenvalue of |S|, entry by entry, from above: below 1 it is a certificate.

    For an activation with slopes in [-1, 1] the map then contracts in the norm max_i |z_i| / x_i,
    x the eigenvector, however large sigma_1(S). Whatever x > 0, the eigenvalue is at most
    max_i (|S| x)_i / x_i (Collatz, Wielandt); x is found by steps with |S| + shift, the shift half
    of what is known, so that no phase of |S| keeps them from settling.

    Args:
        matrix: S, shape (N, N).
        steps: How many, at least 1; each leaves the bound or lowers it.

    Returns:
        A bound up to rounding; it is reached as the ratio of the first two eigenvalues of
        |S| + shift to the power of `steps`.

    Raises:
        InputError: `steps` is not a positive whole number.

    Cost: 2 N^2 operations a step.
    """
    size = jnp.abs(matrix)
    # Entries that die out keep this much, so that no ratio is 0 / 0: any x > 0 gives a bound.
    least = jnp.finfo(matrix.dtype).tiny ** 0.5

    def step(
        _: Int[Array, ""], now: tuple[Float[Array, " N"], Float[Array, ""]]
    ) -> tuple[Float[Array, " N"], Float[Array, ""]]:
        vector, known = now
        image = size @ vector
        bound = jnp.minimum(known, jnp.max(image / vector))
        moved = image + jnp.where(bound > 0, 0.5 * bound, 1.0) * vector
        return jnp.maximum(moved / jnp.max(moved), least), bound

    ones = jnp.ones(len(matrix), matrix.dtype)
    start = (ones, jnp.asarray(jnp.inf, matrix.dtype))
    return lax.fori_loop(0, check_positive_int("steps", steps), step, start)[1]
