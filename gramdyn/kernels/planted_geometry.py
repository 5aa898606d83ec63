"""Norms and angles of rows, and the expectations over Gaussian inputs that are made of them.

Angles are sqrt((1 - c)(1 + c)) and its arctan2 with c, the cosine of normalised rows, never arccos.
Near 0 and pi both carry an error of the root of the precision, but the same one, and it cancels to
second order in all that is made of them here. A row of zeros is a dead neuron: its mask is 0.
Source: Y. Cho, L. Saul, Kernel Methods for Deep Learning (2009).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gramdyn.kernels.linear import multiply


class Geometry(NamedTuple):
    """Norms of the rows, which of them are not zero, and their angles with cosine and sine."""

    norms: Float[Array, " k"]
    alive: Bool[Array, " k"]
    cosine: Float[Array, "k k"]
    sine: Float[Array, "k k"]
    angle: Float[Array, "k k"]


def geometry_of(norms: Float[Array, " k"], cosine: Float[Array, "k k"]) -> Geometry:
    """Angles of rows from their cosines, with a diagonal of exactly 1."""
    # Of a row with itself it may be 1 - eps, an angle of 1e-8, which the Hessian would see.
    same = np.eye(len(norms), dtype=bool)
    cosine = jnp.where(same, 1.0, jnp.clip(cosine, -1.0, 1.0))
    sine = jnp.sqrt((1.0 - cosine) * (1.0 + cosine))
    return Geometry(norms, norms > 0, cosine, sine, jnp.arctan2(sine, cosine))


def unit_rows(hidden: Float[Array, "k D"]) -> tuple[Float[Array, " k"], Float[Array, "k D"]]:
    """Norms and directions of the rows; no direction, zeros, where a row is zero."""
    norms = jnp.sqrt(jnp.sum(hidden**2, axis=1))
    return norms, hidden / jnp.where(norms > 0, norms, 1.0)[:, None]


def of_rows(hidden: Float[Array, "k D"]) -> Geometry:
    """Geometry of rows, normalised before any product."""
    norms, units = unit_rows(hidden)
    return geometry_of(norms, multiply(units, units.T))


def of_gram(gram: Float[Array, "k k"]) -> Geometry:
    """Geometry of rows of which only the Gram is known; it sees no angle below the root of eps."""
    norms = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0))
    safe = jnp.where(norms > 0, norms, 1.0)
    return geometry_of(norms, gram / safe[:, None] / safe[None, :])


def relu_gram_of(at: Geometry) -> Float[Array, "k k"]:
    """J_ij = E relu(w_i . x) relu(w_j . x)."""
    shape = at.sine + (jnp.pi - at.angle) * at.cosine
    return at.norms[:, None] * at.norms[None, :] * shape / (2.0 * jnp.pi)


def shared_masks(at: Geometry) -> Float[Array, "k k"]:
    """Share of inputs on which both neurons are active, (pi - t) / (2 pi); none for a dead one."""
    both = at.alive[:, None] & at.alive[None, :]
    return jnp.where(both, (jnp.pi - at.angle) / (2.0 * jnp.pi), 0.0)


def per_norm(at: Geometry, found: Float[Array, " k"]) -> Float[Array, " k"]:
    """Divided by 2 pi n_i, and 0 for a dead neuron."""
    return jnp.where(at.alive, found / jnp.where(at.alive, 2.0 * jnp.pi * at.norms, 1.0), 0.0)


def mask_moments_of(at: Geometry, inner: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """M for the inner products V_i . V_j: E[x mask_i (f . V_i)] = (M W)_i."""
    turn = per_norm(at, jnp.sum(inner * at.sine * at.norms[None, :], axis=1))
    same = np.eye(len(turn), dtype=bool)
    return inner * shared_masks(at) + jnp.where(same, turn[:, None], 0.0)


def even_gram_of(at: Geometry) -> Float[Array, "k k"]:
    """E_ij = 1/4 E |w_i . x| |w_j . x|, which sees lines and no rays; 0 for a dead neuron."""
    shape = at.sine + (jnp.pi / 2.0 - at.angle) * at.cosine
    return at.norms[:, None] * at.norms[None, :] * shape / (2.0 * jnp.pi)


def live_rows(at: Geometry, rows: Float[Array, "k _"]) -> Float[Array, "k _"]:
    """Rows of the neurons that are not dead, zeros for the others."""
    return jnp.where(at.alive[:, None], rows, 0.0)
