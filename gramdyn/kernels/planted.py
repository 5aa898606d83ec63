"""A ReLU network that learns a linear map on Gaussian inputs: loss, gradient, Hessian, exactly.

f(x) = sum_i V_i relu(w_i . x) against y = B x for x ~ N(0, I), loss 1/2 E |f - y|^2. Every
expectation is a function of the norms n_i of the rows w_i of W and of their angles t_ij, so all of
it is algebra of k x k matrices; the width D of the rows enters by W W^T, W B^T, M W and V B alone.

Angles are sqrt((1 - c)(1 + c)) and its arctan2 with c, the cosine of normalised rows, never arccos.
Near 0 and pi both carry an error of the root of the precision, but the same one, and it cancels to
second order in every result here: the gradient is exact to rounding at parallel, antiparallel and
nearly parallel rows. A row of zeros is a dead neuron: its mask is 0, as relu'(0) = 0 has it, and it
gets no gradient. Only the square of a norm can underflow, so that rows below 1e-19 in float32 and
1e-154 in float64 count as zeros; float32 is good from 1e-17 on.

Source: Y. Cho, L. Saul, Kernel Methods for Deep Learning (2009); the setting is that of
arXiv 2606.04476; the Hessian product and the Gram form derived here, tested.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramdyn._types import Scalar
from gramdyn.kernels.linear import multiply

Pair = tuple[Float[Array, "k D"], Float[Array, "k C"]]
GramState = tuple[Float[Array, "k k"], Float[Array, "k C"], Float[Array, "k C"]]


class _Geometry(NamedTuple):
    """Norms of the rows, which of them are not zero, and their angles with cosine and sine."""

    norms: Float[Array, " k"]
    alive: Bool[Array, " k"]
    cosine: Float[Array, "k k"]
    sine: Float[Array, "k k"]
    angle: Float[Array, "k k"]


def _geometry(norms: Float[Array, " k"], cosine: Float[Array, "k k"]) -> _Geometry:
    """Angles of rows from their cosines, with a diagonal of exactly 1."""
    # Of a row with itself it may be 1 - eps, an angle of 1e-8, which the Hessian would see.
    same = jnp.eye(len(norms), dtype=bool)
    cosine = jnp.where(same, 1.0, jnp.clip(cosine, -1.0, 1.0))
    sine = jnp.sqrt((1.0 - cosine) * (1.0 + cosine))
    return _Geometry(norms, norms > 0, cosine, sine, jnp.arctan2(sine, cosine))


def _unit_rows(hidden: Float[Array, "k D"]) -> tuple[Float[Array, " k"], Float[Array, "k D"]]:
    """Norms and directions of the rows; no direction, zeros, where a row is zero."""
    norms = jnp.sqrt(jnp.sum(hidden**2, axis=1))
    return norms, hidden / jnp.where(norms > 0, norms, 1.0)[:, None]


def _of_rows(hidden: Float[Array, "k D"]) -> _Geometry:
    """Geometry of rows, normalised before any product."""
    norms, units = _unit_rows(hidden)
    return _geometry(norms, multiply(units, units.T))


def _of_gram(gram: Float[Array, "k k"]) -> _Geometry:
    """Geometry of rows of which only the Gram is known; it sees no angle below the root of eps."""
    norms = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0))
    safe = jnp.where(norms > 0, norms, 1.0)
    return _geometry(norms, gram / safe[:, None] / safe[None, :])


def angles(hidden: Float[Array, "k D"]) -> Float[Array, "k k"]:
    """Angles of each two rows in [0, pi]: exactly 0 on the diagonal, pi/2 to a row of zeros.

    Off the diagonal, angles within 1e-8 of 0 or pi (float64; 3e-4 in float32) are not resolved.

    Args:
        hidden: Rows w_i, shape (k, D).

    Cost: k^2 D multiplications.
    """
    return _of_rows(hidden).angle


def _relu_gram(at: _Geometry) -> Float[Array, "k k"]:
    shape = at.sine + (jnp.pi - at.angle) * at.cosine
    return at.norms[:, None] * at.norms[None, :] * shape / (2.0 * jnp.pi)


def relu_gram(hidden: Float[Array, "k D"]) -> Float[Array, "k k"]:
    """J_ij = E relu(w_i . x) relu(w_j . x) = n_i n_j (sin t + (pi - t) cos t) / (2 pi).

    Args:
        hidden: Rows w_i, shape (k, D).

    Returns:
        Symmetric positive semidefinite matrix, J_ii = n_i^2 / 2.

    Cost: k^2 D multiplications.
    Source: Cho and Saul (2009), kernel of order 1.
    """
    return _relu_gram(_of_rows(hidden))


def _shared(at: _Geometry) -> Float[Array, "k k"]:
    """Share of inputs on which both neurons are active, (pi - t) / (2 pi); none for a dead one."""
    both = at.alive[:, None] & at.alive[None, :]
    return jnp.where(both, (jnp.pi - at.angle) / (2.0 * jnp.pi), 0.0)


def _per_norm(at: _Geometry, found: Float[Array, " k"]) -> Float[Array, " k"]:
    """Divided by 2 pi n_i, and 0 for a dead neuron."""
    return jnp.where(at.alive, found / jnp.where(at.alive, 2.0 * jnp.pi * at.norms, 1.0), 0.0)


def _mask_moments(at: _Geometry, inner: Float[Array, "k k"]) -> Float[Array, "k k"]:
    turn = _per_norm(at, jnp.sum(inner * at.sine * at.norms[None, :], axis=1))
    same = jnp.eye(len(turn), dtype=bool)
    return inner * _shared(at) + jnp.where(same, turn[:, None], 0.0)


def mask_moments(hidden: Float[Array, "k D"], readout: Float[Array, "k C"]) -> Float[Array, "k k"]:
    """M, for which E[x mask_i (f . V_i)] = (M W)_i: the gradient by W of the mean of |f|^2 / 2.

    M_ij = (V_i . V_j)(pi - t_ij) / (2 pi) + delta_ij sum_l (V_i . V_l) n_l sin t_il / (2 pi n_i)

    Args:
        hidden: Rows w_i, shape (k, D).
        readout: Rows V_i, shape (k, C).

    Returns:
        Symmetric matrix; rows and columns of dead neurons are 0.

    Cost: k^2 (D + C) multiplications.
    """
    return _mask_moments(_of_rows(hidden), multiply(readout, readout.T))


def _even_gram(at: _Geometry) -> Float[Array, "k k"]:
    """E_ij = 1/4 E |w_i . x| |w_j . x|, which sees lines and no rays; 0 for a dead neuron."""
    shape = at.sine + (jnp.pi / 2.0 - at.angle) * at.cosine
    return at.norms[:, None] * at.norms[None, :] * shape / (2.0 * jnp.pi)


def loss_parts(
    hidden: Float[Array, "k D"], readout: Float[Array, "k C"], target: Float[Array, "C D"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Odd and even part of the loss, 1/2 |V^T W / 2 - B|_F^2 and 1/2 sum_ij (V_i . V_j) E_ij.

    relu(z) = z/2 + |z|/2, and odd and even functions of x are orthogonal. Both parts are at least
    0, and the even one holds the slow directions.

    Args:
        hidden: Rows w_i, shape (k, D).
        readout: Rows V_i, shape (k, C).
        target: Planted map B, shape (C, D).

    Cost: k^2 (D + C) + k C D multiplications.
    """
    odd = multiply(readout.T, hidden) / 2.0 - target
    even = multiply(readout, readout.T) * _even_gram(_of_rows(hidden))
    # Rounding may leave a sum of a semidefinite form below 0, where a logarithm is NaN.
    return jnp.sum(odd**2) / 2.0, jnp.maximum(jnp.sum(even) / 2.0, 0.0)


@jax.custom_jvp
def population_loss(
    hidden: Float[Array, "k D"], readout: Float[Array, "k C"], target: Float[Array, "C D"]
) -> Float[Array, ""]:
    """1/2 E |f - B x|^2, the sum of the odd and the even part.

    At least 0, and exact to some eps of |B|^2: no loss below 1e-15 in float64, or 1e-7 in float32,
    means anything. Its derivatives of first and
    second order, in both modes, are `population_gradient` and `hessian_product`; of third order
    there are none to trust.

    Args:
        hidden: Rows w_i, shape (k, D).
        readout: Rows V_i, shape (k, C).
        target: Planted map B, shape (C, D).

    Cost: k^2 (D + C) + k C D multiplications.
    """
    odd, even = loss_parts(hidden, readout, target)
    return odd + even


@population_loss.defjvp
def _loss_rule(
    at: tuple[Array, Array, Array], along: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    hidden, readout, target = at
    by_hidden, by_readout = population_gradient(hidden, readout, target)
    by_target = target - multiply(readout.T, hidden) / 2.0
    change = jnp.sum(by_hidden * along[0]) + jnp.sum(by_readout * along[1])
    return population_loss(*at), change + jnp.sum(by_target * along[2])


@jax.custom_jvp
def population_gradient(
    hidden: Float[Array, "k D"], readout: Float[Array, "k C"], target: Float[Array, "C D"]
) -> Pair:
    """Gradient of the loss: dL/dW = M W - V B / 2 and dL/dV = J V - W B^T / 2.

    Finite everywhere; the derivatives of a dead neuron are 0, both of them.

    Args:
        hidden: Rows w_i, shape (k, D).
        readout: Rows V_i, shape (k, C).
        target: Planted map B, shape (C, D).

    Cost: k^2 (2 D + 2 C) + 2 k C D multiplications.
    """
    at = _of_rows(hidden)
    moments = _mask_moments(at, multiply(readout, readout.T))
    by_hidden = multiply(moments, hidden) - multiply(_live(at, readout), target) / 2.0
    overlap = multiply(_live(at, hidden), target.T)
    return by_hidden, multiply(_relu_gram(at), readout) - overlap / 2.0


@population_gradient.defjvp
def _gradient_rule(
    at: tuple[Array, Array, Array], along: tuple[Array, Array, Array]
) -> tuple[Pair, Pair]:
    geometry, (by_hidden, by_readout) = _of_rows(at[0]), hessian_product(*at, *along[:2])
    by_hidden = by_hidden - multiply(_live(geometry, at[1]), along[2]) / 2.0
    by_readout = by_readout - multiply(_live(geometry, at[0]), along[2].T) / 2.0
    return population_gradient(*at), (by_hidden, by_readout)


def _live(at: _Geometry, rows: Float[Array, "k _"]) -> Float[Array, "k _"]:
    """Rows of the neurons that are not dead, zeros for the others."""
    return jnp.where(at.alive[:, None], rows, 0.0)


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
    at, units = _of_rows(hidden), _unit_rows(hidden)[1]
    steps, turns = _live(at, hidden_step), _live(at, readout_step)
    inner, cross = multiply(readout, readout.T), multiply(turns, readout.T)
    along = multiply(units, steps.T)  # u_i . x_j
    moved = _moved_masks(at, units, steps, inner, along)
    moved += multiply(_mask_moments(at, cross + cross.T), hidden)
    by_hidden = _live(at, moved - multiply(turns, target) / 2.0)
    by_readout = multiply(_relu_gram(at), turns) - multiply(steps, target.T) / 2.0
    return by_hidden, _live(at, by_readout + multiply(_moved_gram(at, along), readout))


def _moved_gram(at: _Geometry, along: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """Derivative of J, q_ij . x_i + q_ji . x_j."""
    own = jnp.diagonal(along)[:, None]
    half = at.norms[None, :] * (_shared(at) * along.T + at.sine * own / (2.0 * jnp.pi))
    return half + half.T


def _moved_masks(
    at: _Geometry,
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
    turn = _per_norm(at, jnp.sum(heights * at.sine, axis=1))[:, None]
    ahead = jnp.sum(inner * at.sine * own[None, :], axis=1) / (2.0 * jnp.pi)
    # sin t m_ij = u_j - cos t u_i
    tilt = inner * across.T / (2.0 * jnp.pi)
    scale = _per_norm(at, jnp.ones_like(own))[:, None]
    tilt += heights * across * scale
    back = ahead - jnp.sum(tilt * at.cosine, axis=1) - turn[:, 0] * own
    passed = multiply(inner * _shared(at), steps) + turn * steps
    return passed + multiply(tilt, units) + back[:, None] * units


def gram_velocity(
    gram: Float[Array, "k k"],
    overlap: Float[Array, "k C"],
    readout: Float[Array, "k C"],
    target_gram: Float[Array, "C C"],
) -> GramState:
    """Gradient flow of Q = W W^T, P = W B^T and V, which closes for every number of inputs.

    dQ/dt = -M Q - Q M + (V P^T + P V^T)/2,  dP/dt = -M P + V S/2,  dV/dt = -J V + P/2

    Squares of numbers are what it knows: it sees no angle of two rows below 1e-8 in float64, and
    rotated weights of width C + k do.

    Args:
        gram: Q, shape (k, k).
        overlap: P, shape (k, C).
        readout: V, shape (k, C).
        target_gram: S = B B^T, shape (C, C).

    Returns:
        Velocities of Q, P and V.

    Cost: O(k^2 (k + C)).
    """
    at = _of_gram(gram)
    moments, live = _mask_moments(at, multiply(readout, readout.T)), _live(at, readout)
    pull = multiply(live, overlap.T) / 2.0 - multiply(moments, gram)
    by_overlap = multiply(live, target_gram) / 2.0 - multiply(moments, overlap)
    by_readout = _live(at, overlap) / 2.0 - multiply(_relu_gram(at), readout)
    return pull + pull.T, by_overlap, by_readout


def gram_step(
    gram: Float[Array, "k k"],
    overlap: Float[Array, "k C"],
    readout: Float[Array, "k C"],
    target_gram: Float[Array, "C C"],
    step_size: Scalar,
) -> GramState:
    """One step of gradient descent of Q, P and V, exactly that of the weights.

    With T = I - eta M: Q' = T Q T + eta/2 (T P V^T + V P^T T) + eta^2/4 V S V^T,
    P' = T P + eta/2 V S, V' = V - eta (J V - P/2); Q' is symmetrised.

    Args:
        gram: Q, shape (k, k).
        overlap: P, shape (k, C).
        readout: V, shape (k, C).
        target_gram: S = B B^T, shape (C, C).
        step_size: eta.

    Returns:
        Q, P and V after the step.

    Cost: O(k^2 (k + C)).
    """
    at = _of_gram(gram)
    keep = -step_size * _mask_moments(at, multiply(readout, readout.T))
    keep += jnp.eye(len(keep), dtype=keep.dtype)
    gain = step_size / 2.0 * _live(at, readout)
    kept = multiply(keep, overlap)
    mixed = multiply(kept, gain.T)
    pulled = multiply(multiply(gain, target_gram), gain.T)
    found = multiply(multiply(keep, gram), keep.T) + mixed + mixed.T + pulled
    velocity = _live(at, overlap) / 2.0 - multiply(_relu_gram(at), readout)
    moved = readout + step_size * velocity
    return (found + found.T) / 2.0, kept + multiply(gain, target_gram), moved
