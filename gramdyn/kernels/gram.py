"""Grams of the fields, the layer kernels they factorise, and products with them.

The residual of a network under gradient flow obeys `dr/dt = -s sum_l K^l r` with one kernel a
layer, and each kernel is a Hadamard product of two Grams: of what enters the layer, and of its
sensitivities. No Jacobian is formed. Source: arXiv 2606.09744, residual law.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._types import Scalar


def act_gram(
    act: Float[Array, "n N"], *, scale: Scalar | None = None, bias: bool = False
) -> Float[Array, "n n"]:
    """Gram of the activations entering a layer, G[mu, nu] = scale^2 act[mu] . act[nu] (+ 1).

    Args:
        act: Activations entering the layer, shape (n, N).
        scale: Forward multiplier of the layer's weights; 1 by default.
        bias: Whether the layer has a bias, which adds 1 to every entry.

    Returns:
        Symmetric positive semidefinite matrix, shape (n, n).

    Cost: 2 n^2 N operations.
    """
    return cross_gram(act, act, scale=scale, bias=bias)


def cross_gram(
    act: Float[Array, "m N"],
    other: Float[Array, "n N"],
    *,
    scale: Scalar | None = None,
    bias: bool = False,
) -> Float[Array, "m n"]:
    """Gram of activations with other ones, scale^2 act[mu] . other[nu] (+ 1); see `act_gram`.

    Of the activations after and before a step it is what the exact discrete law of the
    preactivations needs.
    """
    return layer_gram(act @ other.T, scale=scale, bias=bias)


def layer_gram(
    gram: Float[Array, "m n"], *, scale: Scalar | None = None, bias: bool = False
) -> Float[Array, "m n"]:
    """A Gram of bare activations as a layer's: scale^2 gram (+ 1); see `act_gram`."""
    if scale is not None:
        gram = scale**2 * gram
    return gram + 1.0 if bias else gram


def conj_gram(sens: Float[Array, "n C N"]) -> Float[Array, "n C n C"]:
    """Gram of the sensitivities, Q[mu, c, nu, e] = sens[mu, c] . sens[nu, e].

    With one hidden layer and one output it is the co-activation matrix weighted by the squared
    readout, sum_i a_i^2 mask[mu, i] mask[nu, i].

    Returns:
        Shape (n, C, n, C), symmetric in (mu, c) <-> (nu, e), positive semidefinite.

    Cost: 2 n^2 C^2 N operations.
    """
    n, n_outputs, width = sens.shape
    flat = sens.reshape(n * n_outputs, width)
    return (flat @ flat.T).reshape(n, n_outputs, n, n_outputs)


def layer_kernel(
    act_gram: Float[Array, "n n"], sens: Float[Array, "n C N"]
) -> Float[Array, "n C n C"]:
    """Tangent kernel of one layer: Gram of what enters it, times Gram of its sensitivities.

    K[mu, c, nu, e] = act_gram[mu, nu] * (sens[mu, c] . sens[nu, e])

    Args:
        act_gram: Gram of the activations entering the layer, with the layer's squared multiplier
            and its bias in it (see `act_gram`), shape (n, n).
        sens: Derivative of output c at sample mu by the layer's preactivations, shape (n, C, N).

    Returns:
        This layer's share of the tangent kernel, shape (n, C, n, C); symmetric in
        (mu, c) <-> (nu, e), positive semidefinite.

    Cost: 2 n^2 C^2 N operations, n^2 C^2 numbers kept; `apply_layer_kernel` multiplies a vector
    without keeping them.
    Source: arXiv 2606.09744, residual law.
    """
    return act_gram[:, None, :, None] * conj_gram(sens)


def apply_layer_kernel(
    act_gram: Float[Array, "n n"], sens: Float[Array, "n C N"], vector: Float[Array, "n C"]
) -> Float[Array, "n C"]:
    """Product of a layer kernel with a vector, the kernel never formed.

    (K v)[mu, c] = sens[mu, c] . sum_nu act_gram[mu, nu] sum_e v[nu, e] sens[nu, e]

    Args:
        act_gram: As for `layer_kernel`, shape (n, n).
        sens: As for `layer_kernel`, shape (n, C, N).
        vector: One number a sample and output, shape (n, C).

    Returns:
        K v, shape (n, C).

    Cost: 2 n^2 N + 4 n C N operations, n N numbers kept.
    """
    drive = jnp.einsum("nc,nci->ni", vector, sens)
    return jnp.einsum("mci,mi->mc", sens, act_gram @ drive)


def tangent_kernel(layer_kernels: Float[Array, "L n C n C"]) -> Float[Array, "n C n C"]:
    """Tangent kernel of the network: the sum of its layer kernels.

    It equals J J^T of the Jacobian J of the outputs by all trained weights, exactly, at any width.

    Args:
        layer_kernels: One kernel a trained layer, shape (L, n, C, n, C).

    Returns:
        Shape (n, C, n, C); symmetric in (mu, c) <-> (nu, e), positive semidefinite.
    """
    return jnp.sum(layer_kernels, axis=0)


def as_matrix(kernel: Float[Array, "n C n C"]) -> Float[Array, "m m"]:
    """The kernel as a symmetric matrix over pairs (sample, output), shape (n C, n C)."""
    n, n_outputs = kernel.shape[:2]
    return kernel.reshape(n * n_outputs, n * n_outputs)
