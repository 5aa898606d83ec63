"""Which neurons two samples share, and how often the answer changes."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def coactivation(active: Bool[Array, "n N"], dtype: type) -> Float[Array, "n n"]:
    """Share of the neurons active on both of two samples.

    C[mu, nu] = (1/N) sum_i active[mu, i] active[nu, i]

    Its diagonal is the share of neurons active on a sample. The form weighted by the readout is
    `gramdyn.kernels.conj_gram`. Zero-padded neurons of a ReLU layer are never active but count
    in N.

    Args:
        active: Whether neuron i is active on sample mu (`pre > 0`), shape (n, N).
        dtype: Floating type of the result.

    Returns:
        Symmetric positive semidefinite matrix with entries in [0, 1], shape (n, n).

    Cost: 2 n^2 N operations.
    """
    mask = active.astype(dtype)
    return (mask @ mask.T) / active.shape[1]


def count_flips(before: Bool[Array, "n N"], after: Bool[Array, "n N"]) -> Int[Array, ""]:
    """Number of (sample, neuron) pairs whose mask differs between two steps, at most n N."""
    return jnp.sum(before != after, dtype=jnp.int32)
