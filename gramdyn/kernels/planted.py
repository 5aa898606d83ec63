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

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn.kernels.linear import multiply
from gramdyn.kernels.planted_geometry import (
    even_gram_of,
    live_rows,
    mask_moments_of,
    of_rows,
    relu_gram_of,
)
from gramdyn.kernels.planted_hessian import Pair, hessian_product


def angles(hidden: Float[Array, "k D"]) -> Float[Array, "k k"]:
    """Angles of each two rows in [0, pi]: exactly 0 on the diagonal, pi/2 to a row of zeros.

    Off the diagonal, angles within 1e-8 of 0 or pi (float64; 3e-4 in float32) are not resolved.

    Args:
        hidden: Rows w_i, shape (k, D).

    Cost: k^2 D multiplications.
    """
    return of_rows(hidden).angle


def relu_gram(hidden: Float[Array, "k D"]) -> Float[Array, "k k"]:
    """J_ij = E relu(w_i . x) relu(w_j . x) = n_i n_j (sin t + (pi - t) cos t) / (2 pi).

    Args:
        hidden: Rows w_i, shape (k, D).

    Returns:
        Symmetric positive semidefinite matrix, J_ii = n_i^2 / 2.

    Cost: k^2 D multiplications.
    Source: Cho and Saul (2009), kernel of order 1.
    """
    return relu_gram_of(of_rows(hidden))


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
    return mask_moments_of(of_rows(hidden), multiply(readout, readout.T))


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
    even = multiply(readout, readout.T) * even_gram_of(of_rows(hidden))
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
    at = of_rows(hidden)
    moments = mask_moments_of(at, multiply(readout, readout.T))
    by_hidden = multiply(moments, hidden) - multiply(live_rows(at, readout), target) / 2.0
    overlap = multiply(live_rows(at, hidden), target.T)
    return by_hidden, multiply(relu_gram_of(at), readout) - overlap / 2.0


@population_gradient.defjvp
def _gradient_rule(
    at: tuple[Array, Array, Array], along: tuple[Array, Array, Array]
) -> tuple[Pair, Pair]:
    geometry, (by_hidden, by_readout) = of_rows(at[0]), hessian_product(*at, *along[:2])
    by_hidden = by_hidden - multiply(live_rows(geometry, at[1]), along[2]) / 2.0
    by_readout = by_readout - multiply(live_rows(geometry, at[0]), along[2].T) / 2.0
    return population_gradient(*at), (by_hidden, by_readout)
