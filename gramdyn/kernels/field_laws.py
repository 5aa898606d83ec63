"""The parts of the field laws: what learning and mask flips do to the conjugate field.

Under gradient descent with rate eta s (primes mark the next step, `drive` is sum_c r_c delta_c)

    z^l' = z^l + (h^{l-1}' - h^{l-1}) W^{l,T} - eta s (h^{l-1}' h^{l-1,T}) drive^l
    q^l' = q^l + (delta^{l+1}' - delta^{l+1}) W^{l+1} - eta s (delta^{l+1}' . drive^{l+1}) h^l

exactly, whatever the step; without the primes the last terms are those of the flow. Each law is
transport from the neighbouring layer plus the learning of the layer in between. Where masks flip,
delta' - delta splits further, into what moves and what jumps:

    delta' - delta = mask (q' - q) + (mask' - mask) q'

Source: arXiv 2606.09744.
"""

from jaxtyping import Array, Float

from gramdyn._types import Scalar


def learnt_conjugate(
    sens: Float[Array, "n C N"],
    drive: Float[Array, "n N"],
    act: Float[Array, "n N_in"],
    scale: Scalar | None = None,
) -> Float[Array, "n C N_in"]:
    """Change of a conjugate field by the learning of the layer above it, a unit of -s step.

    sum_nu scale^2 (sens[mu, c] . drive[nu]) act[nu]

    It is sum_{nu, e} Q[mu, c, nu, e] r[nu, e] act[nu] of the law, without Q.

    Args:
        sens: Sensitivities of that layer (after the step, for the discrete law), shape (n, C, N).
        drive: Its residual-weighted sensitivities before the step, shape (n, N).
        act: Activations that enter it before the step, shape (n, N_in).
        scale: Its forward multiplier; 1 by default.

    Returns:
        Shape (n, C, N_in).

    Cost: 2 n^2 C (N + N_in) operations, n^2 C numbers kept.
    """
    n, n_outputs, width = sens.shape
    overlap = sens.reshape(n * n_outputs, width) @ drive.T
    change = (overlap @ act).reshape(n, n_outputs, act.shape[1])
    return change if scale is None else scale**2 * change


def flip_jump(
    mask: Float[Array, "n N"], mask_after: Float[Array, "n N"], conj_after: Float[Array, "n C N"]
) -> Float[Array, "n C N"]:
    """Jump of the sensitivities by mask flips, (mask' - mask) q'; zero where no mask flips."""
    return (mask_after - mask)[:, None, :] * conj_after
