"""ReLU fixed points z = relu(S z + b) of a monotone S, which plain iteration may never reach.

S is monotone with margin m where the symmetric part of 1 - S is at least m 1. For m > 0 there is
one fixed point for every b, however large S: relu is a proximal map, and the fixed point the zero
of (1 - S) z - b + (normal cone of z >= 0). Two iterations find it, both of them maps for
`solve_fixed_point`:

* forward-backward, a step along (S - 1) z + b and then relu: a product a step, many steps;
* Peaceman-Rachford, with the inverse of 1 + (1 - S): few steps, one inverse.

Source: Winston, Kolter (2020); the rate of Peaceman-Rachford derived here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._types import Scalar


def monotone_margin(matrix: Float[Array, "N N"]) -> Float[Array, ""]:
    """The largest m with 1 - S >= m 1, in the symmetric parts; above 0 it is a certificate.

    Cost: the eigenvalues of a symmetric N x N matrix.
    """
    return 1.0 - jnp.linalg.eigvalsh(0.5 * (matrix + matrix.T))[-1]


class SplittingRates(NamedTuple):
    """Step size and bounds on the error's factor a step, for a margin above 0.

    Attributes:
        margin: m.
        norm: sigma_1(1 - S).
        size: a = m / norm^2, where the bound is least; all of 0 < a < 2 m / norm^2 converge.
        forward_backward: sqrt(1 - m^2 / norm^2), of |z_k - z*|.
        peaceman_rachford: sqrt(1 - 4 m / (1 + 2 m + norm^2)), of |u_k - u*|; |z - z*| is no larger.
    """

    margin: Float[Array, ""]
    norm: Float[Array, ""]
    size: Float[Array, ""]
    forward_backward: Float[Array, ""]
    peaceman_rachford: Float[Array, ""]


def splitting_rates(matrix: Float[Array, "N N"]) -> SplittingRates:
    """Margin, step size and rates of both splittings from S.

    Returns:
        Size and rates are NaN where the margin is not above 0.

    Cost: eigenvalues of the symmetric part and singular values.
    """
    margin = monotone_margin(matrix)
    norm = jnp.linalg.norm(jnp.eye(len(matrix), dtype=matrix.dtype) - matrix, 2)
    forward = jnp.sqrt(1.0 - (margin / norm) ** 2)
    reflected = jnp.sqrt(1.0 - 4.0 * margin / (1.0 + 2.0 * margin + norm**2))
    found = (margin / norm**2, forward, reflected)
    return SplittingRates(margin, norm, *(jnp.where(margin > 0, one, jnp.nan) for one in found))


def forward_backward(
    point: Float[Array, " N"], matrix: Float[Array, "N N"], bias: Float[Array, " N"], size: Scalar
) -> Float[Array, " N"]:
    """One step z <- relu((1 - a) z + a (S z + b)); a = 1 is plain iteration.

    Args:
        point: z.
        matrix: S.
        bias: b.
        size: a, above 0; `SplittingRates.size` is safe.
    """
    return jax.nn.relu((1.0 - size) * point + size * (matrix @ point + bias))


def splitting_inverse(matrix: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """(1 + (1 - S))^{-1} for `peaceman_rachford`; its norm is at most 1 / (1 + m)."""
    return jnp.linalg.inv(2.0 * jnp.eye(len(matrix), dtype=matrix.dtype) - matrix)


def peaceman_rachford(
    shadow: Float[Array, " N"], inverse: Float[Array, "N N"], bias: Float[Array, " N"]
) -> Float[Array, " N"]:
    """One step of the point's shadow u, whose fixed point is the preactivation S z* + b.

    z = relu(u),  v = 2 z - u,  u <- 2 (1 + (1 - S))^{-1} (v + b) - v;  the point is relu(u).

    Args:
        shadow: u.
        inverse: `splitting_inverse` of S.
        bias: b.
    """
    mirrored = 2.0 * jax.nn.relu(shadow) - shadow
    return 2.0 * (inverse @ (mirrored + bias)) - mirrored
