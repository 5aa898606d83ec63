"""Hessian of the loss of a ReLU network on a planted linear map, as a product (derived here)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn.kernels.linear import multiply
from gramdyn.kernels.planted_geometry import (
    Geometry,
    live_rows,
    mask_moments_of,
    of_rows,
    per_norm,
    relu_gram_of,
    shared_masks,
    unit_rows,
)

Pair = tuple[Float[Array, "k D"], Float[Array, "k C"]]


def hessian_product(
    hidden: Float[Array, "k D"],
    readout: Float[Array, "k C"],
    target: Float[Array, "C D"],
    hidden_step: Float[Array, "k D"],
    readout_step: Float[Array, "k C"],
) -> Pair:
    """Hessian of the loss times a direction, the derivative of the gradient along it.

    With u_i = w_i / n_i, m_ij = (u_j - cos t u_i) / sin t, and along a step x:

        2 pi dq_ij = (pi - t) x_j + sin t (u_j . x_j) u_i + sin t (m_ji . x_j) m_ij
                     + n_j / n_i sin t (x_i - (u_i . x_i) u_i + (m_ij . x_i) m_ij)

    for q_ij = E[x mask_i relu(w_j . x)]. No term divides by sin t twice, and where it is 0 the
    terms with m_ij go, as their limit has it.

    Args:
        hidden: Rows w_i, shape (k, D).
        readout: Rows V_i, shape (k, C).
        target: Planted map B, shape (C, D).
        hidden_step: Direction in W, shape (k, D).
        readout_step: Direction in V, shape (k, C).

    Returns:
        The product, shaped as (W, V); the rows of dead neurons are 0, whatever the direction.

    Cost: k^2 (6 D + 4 C) + 2 k C D multiplications.
    """
    at, units = of_rows(hidden), unit_rows(hidden)[1]
    steps, turns = live_rows(at, hidden_step), live_rows(at, readout_step)
    inner, cross = multiply(readout, readout.T), multiply(turns, readout.T)
    along = multiply(units, steps.T)  # u_i . x_j
    moved = _moved_masks(at, units, steps, inner, along)
    moved += multiply(mask_moments_of(at, cross + cross.T), hidden)
    by_hidden = live_rows(at, moved - multiply(turns, target) / 2.0)
    by_readout = multiply(relu_gram_of(at), turns) - multiply(steps, target.T) / 2.0
    return by_hidden, live_rows(at, by_readout + multiply(_moved_gram(at, along), readout))


def _moved_gram(at: Geometry, along: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """Derivative of J, q_ij . x_i + q_ji . x_j."""
    own = jnp.diagonal(along)[:, None]
    half = at.norms[None, :] * (shared_masks(at) * along.T + at.sine * own / (2.0 * jnp.pi))
    return half + half.T


def _moved_masks(
    at: Geometry,
    units: Float[Array, "k D"],
    steps: Float[Array, "k D"],
    inner: Float[Array, "k k"],
    along: Float[Array, "k k"],
) -> Float[Array, "k D"]:
    """Sum over j of (V_i . V_j) dq_ij."""
    own = jnp.diagonal(along)
    inverse = jnp.where(at.sine > 0, 1.0 / jnp.where(at.sine > 0, at.sine, 1.0), 0.0)
    across = (along.T - at.cosine * own[:, None]) * inverse  # m_ij . x_i
    heights = inner * at.norms[None, :]
    turn = per_norm(at, jnp.sum(heights * at.sine, axis=1))[:, None]
    ahead = jnp.sum(inner * at.sine * own[None, :], axis=1) / (2.0 * jnp.pi)
    # sin t m_ij = u_j - cos t u_i
    tilt = inner * across.T / (2.0 * jnp.pi)
    scale = per_norm(at, jnp.ones_like(own))[:, None]
    tilt += heights * across * scale
    back = ahead - jnp.sum(tilt * at.cosine, axis=1) - turn[:, 0] * own
    passed = multiply(inner * shared_masks(at), steps) + turn * steps
    return passed + multiply(tilt, units) + back[:, None] * units
