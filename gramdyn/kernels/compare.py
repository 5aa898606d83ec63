"""Numbers that compare a kernel with another one, or with the targets."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def frobenius(array: Float[Array, "..."]) -> Float[Array, ""]:
    """Frobenius norm, the root of the sum of squares over all axes."""
    return jnp.sqrt(jnp.sum(array**2))


def relative_movement(
    kernel: Float[Array, "..."], reference: Float[Array, "..."]
) -> Float[Array, ""]:
    """Distance |kernel - reference|_F / |reference|_F; 0 where both vanish.

    Of a tangent kernel and its value at t = 0 it is the usual measure of feature learning: it
    falls with the width in the lazy regime and stays of order one in the rich one.
    """
    norm = frobenius(reference)
    moved = frobenius(kernel - reference)
    return jnp.where(norm > 0, moved / jnp.where(norm > 0, norm, 1.0), moved)


def target_alignment(
    kernel: Float[Array, "n C n C"], targets: Float[Array, "n C"]
) -> Float[Array, ""]:
    """Alignment of a kernel with the targets, the cosine between K and y y^T.

    y^T K y / (|K|_F |y|^2), in [0, 1] for a positive semidefinite kernel; 0 where K or y vanish.

    Source: Cristianini, Shawe-Taylor, Elisseeff, Kandola, "On kernel-target alignment" (2001).
    """
    along = jnp.einsum("mc,mcne,ne->", targets, kernel, targets)
    norm = frobenius(kernel) * jnp.sum(targets**2)
    return jnp.where(norm > 0, along / jnp.where(norm > 0, norm, 1.0), 0.0)
