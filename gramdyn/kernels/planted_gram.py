"""Both layers on a planted map in Gram form: Q = W W^T, P = W B^T and V close (derived here)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._types import Scalar
from gramdyn.kernels.linear import multiply
from gramdyn.kernels.planted_geometry import live_rows, mask_moments_of, of_gram, relu_gram_of

GramState = tuple[Float[Array, "k k"], Float[Array, "k C"], Float[Array, "k C"]]


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
    at = of_gram(gram)
    moments, live = mask_moments_of(at, multiply(readout, readout.T)), live_rows(at, readout)
    pull = multiply(live, overlap.T) / 2.0 - multiply(moments, gram)
    by_overlap = multiply(live, target_gram) / 2.0 - multiply(moments, overlap)
    by_readout = live_rows(at, overlap) / 2.0 - multiply(relu_gram_of(at), readout)
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
    at = of_gram(gram)
    keep = -step_size * mask_moments_of(at, multiply(readout, readout.T))
    keep += jnp.eye(len(keep), dtype=keep.dtype)
    gain = step_size / 2.0 * live_rows(at, readout)
    kept = multiply(keep, overlap)
    mixed = multiply(kept, gain.T)
    pulled = multiply(multiply(gain, target_gram), gain.T)
    found = multiply(multiply(keep, gram), keep.T) + mixed + mixed.T + pulled
    velocity = live_rows(at, overlap) / 2.0 - multiply(relu_gram_of(at), readout)
    moved = readout + step_size * velocity
    return (found + found.T) / 2.0, kept + multiply(gain, target_gram), moved
