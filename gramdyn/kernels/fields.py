"""Forward and conjugate fields of one dense layer, and its masks.

One layer maps the activations that enter it, `act`, to `pre = scale act W^T + b` and hands on
`mask * pre`; backwards it takes the conjugate field of what it hands on, masks it, and pulls it
through the weights. Every kernel of the package is made of these arrays.
Source: arXiv 2606.09744.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._types import Scalar


def forward_field(
    act: Float[Array, "n N_in"],
    weight: Float[Array, "N N_in"],
    bias: Float[Array, " N"] | None = None,
    scale: Scalar | None = None,
) -> Float[Array, "n N"]:
    """Preactivations of a dense layer.

    pre[mu, i] = scale * sum_j act[mu, j] weight[i, j] + bias[i]

    Args:
        act: Activations entering the layer, shape (n, N_in).
        weight: Weights, one row a neuron, shape (N, N_in).
        bias: Bias of each neuron, shape (N,); none by default.
        scale: Forward multiplier of the parametrisation; 1 by default.

    Returns:
        Preactivation field, shape (n, N).

    Cost: 2 n N N_in operations.
    """
    pre = act @ weight.T
    if scale is not None:
        pre = scale * pre
    return pre if bias is None else pre + bias[None, :]


def relu_mask(pre: Float[Array, "n N"]) -> Float[Array, "n N"]:
    """Derivative of ReLU: 1 where `pre > 0`, else 0.

    It is 0 at exactly 0; zero padding of widths is exact because of this choice.
    """
    return (pre > 0).astype(pre.dtype)


def leaky_mask(pre: Float[Array, "n N"], slope: Scalar) -> Float[Array, "n N"]:
    """Derivative of leaky ReLU: 1 where `pre > 0`, else `slope`."""
    return jnp.where(pre > 0, jnp.ones_like(pre), jnp.asarray(slope, pre.dtype))


def sensitivity(mask: Float[Array, "n N"], conj: Float[Array, "n C N"]) -> Float[Array, "n C N"]:
    """Sensitivities delta = mask * conj: derivative of output c at sample mu by the preactivations.

    Args:
        mask: Derivative of the activation at each preactivation, shape (n, N).
        conj: Conjugate field, derivative of the outputs by what the layer hands on, (n, C, N).

    Returns:
        Sensitivities, shape (n, C, N).
    """
    return mask[:, None, :] * conj


def conjugate_field(
    sens: Float[Array, "n C N"], weight: Float[Array, "N N_in"], scale: Scalar | None = None
) -> Float[Array, "n C N_in"]:
    """Conjugate field of the layer below: q = scale * delta W, one row an output.

    Args:
        sens: Sensitivities of this layer, shape (n, C, N).
        weight: Its weights, shape (N, N_in).
        scale: Its forward multiplier; 1 by default.

    Returns:
        Derivative of the outputs by the activations entering this layer, shape (n, C, N_in).

    Cost: 2 n C N N_in operations.
    """
    n, n_outputs, width = sens.shape
    # One flat product: as a batched one it ran slower on CPU when C = 1.
    conj = sens.reshape(n * n_outputs, width) @ weight
    conj = conj.reshape(n, n_outputs, weight.shape[1])
    return conj if scale is None else scale * conj


def drive(residual: Float[Array, "n C"], sens: Float[Array, "n C N"]) -> Float[Array, "n N"]:
    """Residual-weighted sensitivities, sum_c residual[mu, c] sens[mu, c, i]: what backprop carries.

    The gradient of a layer's weights is `drive^T act`, times the loss scale.
    """
    return jnp.einsum("nc,nci->ni", residual, sens)
