"""Field laws of structured layers: how preactivations and conjugate fields move by own learning.

A layer z = S h learns by dS = -s M[drive^T h] (see `gramdyn.kernels.structured`), drive the
residual-weighted sensitivities, so that its own parts in the field laws, a unit of -s step, are

    forward   h' M[drive^T h]^T        backward   delta M[drive^T h]

Here they are for the structures whose parts need no matrix of the layer's size. `after` is what
enters after the step: exact for a step of gradient descent where S is linear in its parameters,
and `act` itself for the flow. Source: derived here.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._types import Scalar
from gramdyn.kernels.field_laws import learnt_conjugate


def diagonal_forward(
    after: Float[Array, "n N"], act: Float[Array, "n N"], drive: Float[Array, "n N"]
) -> Float[Array, "n N"]:
    """Own part of dz: h' times sum over samples of h drive."""
    return after * jnp.sum(act * drive, axis=0, keepdims=True)


def diagonal_conjugate(
    sens: Float[Array, "n C N"], act: Float[Array, "n N"], drive: Float[Array, "n N"]
) -> Float[Array, "n C N"]:
    """Own part of dq: delta times sum over samples of h drive."""
    return sens * jnp.sum(act * drive, axis=0)[None, None]


def circulant_forward(
    after: Float[Array, "n N"], act: Float[Array, "n N"], drive: Float[Array, "n N"]
) -> Float[Array, "n N"]:
    """Own part of dz: ifft(fft h' sum_nu conj(fft h_nu) fft drive_nu)."""
    size = act.shape[1]
    moved = _circulant_move(act, drive)
    return jnp.fft.irfft(jnp.fft.rfft(after) * moved[None], size)


def circulant_conjugate(
    sens: Float[Array, "n C N"], act: Float[Array, "n N"], drive: Float[Array, "n N"]
) -> Float[Array, "n C N"]:
    """Own part of dq: ifft(fft delta sum_nu fft h_nu conj(fft drive_nu))."""
    size = act.shape[1]
    moved = jnp.conj(_circulant_move(act, drive))
    return jnp.fft.irfft(jnp.fft.rfft(sens) * moved[None, None], size)


def _circulant_move(act: Float[Array, "n N"], drive: Float[Array, "n N"]) -> Array:
    """Spectrum of the change of the first column."""
    return jnp.sum(jnp.conj(jnp.fft.rfft(act)) * jnp.fft.rfft(drive), axis=0)


def low_rank_forward(
    after: Float[Array, "n N_in"],
    act: Float[Array, "n N_in"],
    drive: Float[Array, "n N"],
    left: Float[Array, "N k"],
    right: Float[Array, "N_in k"],
) -> Float[Array, "n N"]:
    """Own part of dz for S = U V^T: sum_nu (V^T h' . V^T h) drive + (h' . h) U U^T drive."""
    by_left = ((after @ right) @ (act @ right).T) @ drive
    return by_left + ((after @ act.T) @ (drive @ left)) @ left.T


def low_rank_conjugate(
    sens: Float[Array, "n C N"],
    act: Float[Array, "n N_in"],
    drive: Float[Array, "n N"],
    left: Float[Array, "N k"],
    right: Float[Array, "N_in k"],
) -> Float[Array, "n C N_in"]:
    """Own part of dq for S = U V^T: sum_nu (delta . drive) V V^T h + (U^T delta . U^T drive) h."""
    by_left = learnt_conjugate(sens, drive, act @ right) @ right.T
    return by_left + learnt_conjugate(sens @ left, drive @ left, act)


def orthogonal_forward(
    gram: Float[Array, "n n"],
    pre: Float[Array, "n N"],
    drive: Float[Array, "n N"],
    gain: Scalar = 1.0,
) -> Float[Array, "n N"]:
    """Own part of dz for S = gain O on the orthogonal group: no weight and no input enters.

    sum_nu gain^2 G[mu, nu] drive_nu - (z_mu . drive_nu) z_nu

    Args:
        gram: G, Gram of what enters.
        pre: z = S h, without bias.
        drive: Residual-weighted sensitivities.
        gain: Factor on the orthogonal matrix.

    The flow conserves the whole Gram, z z^T = gain^2 G.

    Cost: 6 n^2 N operations.
    """
    return gain**2 * (gram @ drive) - (pre @ drive.T) @ pre


def orthogonal_conjugate(
    sens: Float[Array, "n C N"],
    act: Float[Array, "n N_in"],
    pre: Float[Array, "n N"],
    drive: Float[Array, "n N"],
    pulled: Float[Array, "n N_in"],
    gain: Scalar = 1.0,
) -> Float[Array, "n C N_in"]:
    """Own part of dq for S = gain O on the orthogonal group.

    sum_nu gain^2 (delta_mu . drive_nu) h_nu - (z_nu . delta_mu) (r q)_nu

    Args:
        sens: Sensitivities delta.
        act: What enters, h.
        pre: z = S h, without bias.
        drive: Residual-weighted sensitivities.
        pulled: Residual-weighted conjugate field below, r q = S^T drive.
        gain: Factor on the orthogonal matrix.

    Cost: 4 n^2 C (N + N_in) operations.
    """
    return learnt_conjugate(sens, drive, act, gain) - learnt_conjugate(sens, pre, pulled)
