"""Kernels of corrections: small networks R(h) beside a structured matrix.

A correction enters a layer as alpha R(h), and `back` is the derivative of the outputs by that
term: the conjugate field of what the layer hands on, or its sensitivities where the correction is
added inside the activation. A correction has Gram pairs of its own, damped by alpha^2, so that at
alpha = 0 only alpha itself has a kernel. Results have shape (n, C, n, C). Source: derived here.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn.kernels.gram import act_gram, conj_gram, layer_kernel
from gramdyn.kernels.structured import diagonal_kernel


def gain_kernel(value: Float[Array, "n N"], back: Float[Array, "n C N"], each: bool) -> Array:
    """Kernel of alpha: rho rho^T, rho = back . R(h), or its Gram over neurons.

    Args:
        value: R(h).
        back: Derivative of the outputs by alpha R(h).
        each: Whether alpha is one number a neuron.
    """
    if each:
        return diagonal_kernel(value, back)
    return conj_gram(jnp.einsum("nci,ni->nc", back, value)[:, :, None])


def two_layer_kernel(
    act: Float[Array, "n N_in"],
    code: Float[Array, "n k"],
    by_code: Float[Array, "n C k"],
    back: Float[Array, "n C N"],
) -> Float[Array, "n C n C"]:
    """Kernel of R = U z, z = psi(V^T h + b): of U, of V and of b.

    (z z^T) * (g g^T) + (H H^T + 1) * (zeta zeta^T)

    Args:
        act: H, what enters.
        code: z, the k numbers in between.
        by_code: zeta, derivative of the outputs by what psi is taken of.
        back: g, derivative of the outputs by U z.
    """
    outer = layer_kernel(act_gram(code), back)
    return outer + layer_kernel(act_gram(act, bias=True), by_code)


def gate_kernel(code: Float[Array, "n k"], back: Float[Array, "n C N"]) -> Float[Array, "n C n C"]:
    """Kernel of a gate's matrix and bias: (z z^T + 1) * (gg gg^T).

    Args:
        code: z, what the gate reads.
        back: gg, derivative of the outputs by what the gate's sigmoid is taken of.
    """
    return layer_kernel(act_gram(code, bias=True), back)
