"""Noise that enters a loop at each step: z <- J z + s xi, xi standard normal.

Near a fixed point a layer that feeds itself is such a loop. Of normal J of one spectral radius an
orthogonal one amplifies noise most, since all its modes are slow; a J that is not normal may first
let perturbations grow. Source: derived here.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from gramdyn._checks import check_positive_int
from gramdyn._types import Scalar


def stationary_covariance(
    jacobian: Float[Array, "N N"], noise: Scalar = 1.0, *, doublings: int = 20
) -> Float[Array, "N N"]:
    """Covariance Sigma = J Sigma J^T + s^2 1 that the loop settles to.

    The sum s^2 sum_k J^k J^{k,T}, its number of terms doubled a step:
    Sigma <- Sigma + A Sigma A^T, A <- A^2, from Sigma = s^2 1 and A = J.

    Args:
        jacobian: J, shape (N, N).
        noise: s, at least 0.
        doublings: Steps; 20 suffice up to rho(J) = 0.99998.

    Returns:
        Symmetric positive semidefinite, shape (N, N); NaN where the sum has not ended, as for
        rho(J) >= 1, where there is no such covariance.

    Raises:
        InputError: `doublings` is not a positive whole number.

    Cost: 6 N^3 operations a doubling.
    """

    def double(_: Int[Array, ""], now: tuple[Array, Array]) -> tuple[Array, Array]:
        total, power = now
        return total + power @ total @ power.T, power @ power

    start = (jnp.eye(len(jacobian), dtype=jacobian.dtype), jacobian)
    count = check_positive_int("doublings", doublings)
    total, power = lax.fori_loop(0, count, double, start)
    # What is missing is A Sigma A^T.
    ended = jnp.sum(power**2) <= jnp.finfo(jacobian.dtype).eps
    return jnp.where(ended, noise**2 * total, jnp.nan)


def noise_gain(jacobian: Float[Array, "N N"], *, doublings: int = 20) -> Float[Array, ""]:
    """Amplification tr Sigma / (N s^2) of noise in the loop; at least 1.

    1 / (1 - rho^2) where J is rho times orthogonal, the mean of 1 / (1 - |lambda|^2) where J is
    normal. NaN as `stationary_covariance`.
    """
    return jnp.trace(stationary_covariance(jacobian, doublings=doublings)) / len(jacobian)


def transient_growth(matrix: Float[Array, "N N"], n_steps: int = 100) -> Float[Array, ""]:
    """Largest growth of a perturbation on the way, max of sigma_1(S^k) over k = 0 .. n_steps.

    1 where S is normal and its spectral radius at most 1.

    Cost: a product and the singular values of an N x N matrix a step.
    """

    def step(
        now: tuple[Float[Array, "N N"], Float[Array, ""]], _: None
    ) -> tuple[tuple[Float[Array, "N N"], Float[Array, ""]], None]:
        power, most = now
        power = matrix @ power
        return (power, jnp.maximum(most, jnp.linalg.norm(power, 2))), None

    start = (jnp.eye(len(matrix), dtype=matrix.dtype), jnp.ones((), matrix.dtype))
    count = check_positive_int("n_steps", n_steps)
    return lax.scan(step, start, None, length=count)[0][1]
