"""The weight Gram M = W^T W of a layer: how learning moves it, and what moves like it.

A layer maps inputs H, one sample a row, to Z = H W^T + b. With D = dL/dZ, the gradient of the loss
through W alone by what enters it is G = D W, and by the weights g = D^T H. Then

    W^T g = G^T H =: A                                              feature learning equation

whatever the loss, the activation, the other layers and the batch. All that the loss holds, such as
the 1/n of a mean, is in D. In a network with skips G is not the whole gradient by H.

Where there are fewer samples than inputs, norms and inner products follow from n x n matrices.
Source: arXiv 2605.06258.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._types import Scalar
from gramdyn.kernels.compare import frobenius


def cross_moment(pulled: Float[Array, "n M"], inputs: Float[Array, "n M"]) -> Float[Array, "M M"]:
    """A = G^T H, the sum over samples of dL/dh h^T; not symmetric.

    Args:
        pulled: G, gradient of the loss through the layer's weights by its inputs, shape (n, M).
        inputs: H, what enters the layer, shape (n, M).

    Cost: 2 n M^2 operations.
    """
    return pulled.T @ inputs


def centred(rows: Float[Array, "n M"]) -> Float[Array, "n M"]:
    """Rows less their mean over the samples."""
    return rows - jnp.mean(rows, axis=0, keepdims=True)


def weight_gram_change(
    weight: Float[Array, "N M"], step: Float[Array, "N M"]
) -> Float[Array, "M M"]:
    """Change of W^T W by a step U of the weights: W^T U + U^T W + U^T U, exactly.

    For gradient descent, U = -eta g, it is -eta (A + A^T) + eta^2 g^T g. A difference of two
    Grams would lose the digits that this keeps.

    Args:
        weight: W before the step, shape (N, M).
        step: U, shape (N, M).

    Cost: 4 N M^2 operations.
    """
    half = weight.T @ step
    return half + half.T + step.T @ step


def virtual_change(
    inputs: Float[Array, "n M"],
    pulled: Float[Array, "n M"],
    gamma: Scalar,
    *,
    convention: str = "sum",
    centre: bool = False,
) -> Float[Array, "M M"]:
    """Change of the virtual covariance of what enters a layer: -gamma (A + A^T) + gamma^2 G^T G.

    The virtual inputs are H - gamma G: each follows its own loss gradient, and nothing in the
    network changes. To first order in gamma = eta it is the change of the weight Gram.

    Args:
        inputs: H, shape (n, M).
        pulled: G, shape (n, M).
        gamma: Step of the virtual inputs.
        convention: "sum", the second moment (H - gamma G)^T (H - gamma G); or "per_sample", its
            mean over samples with the gradients of the samples' own losses, n G: the same first
            order, and a second one n times as large.
        centre: Take H and G less their means.

    Cost: 4 n M^2 operations.
    """
    if centre:
        inputs, pulled = centred(inputs), centred(pulled)
    first = cross_moment(pulled, inputs)
    second = inputs.shape[0] if convention == "per_sample" else 1
    return -gamma * (first + first.T) + gamma**2 * second * (pulled.T @ pulled)


class GramProducts(NamedTuple):
    """Inner products of the parts of a step of the weight Gram.

    With B = A + A^T, the change of M by a step of descent is -eta B + eta^2 g^T g, that of the
    virtual covariance -eta B + eta^2 G^T G.

    Attributes:
        first: |B|_F^2.
        weight: <B, g^T g>.
        virtual: <B, G^T G>.
        weight_square: |g^T g|_F^2.
        virtual_square: |G^T G|_F^2.
        mixed: <g^T g, G^T G>.
    """

    first: Float[Array, ""]
    weight: Float[Array, ""]
    virtual: Float[Array, ""]
    weight_square: Float[Array, ""]
    virtual_square: Float[Array, ""]
    mixed: Float[Array, ""]


def gram_products(
    inputs: Float[Array, "n M"], sens: Float[Array, "n N"], pulled: Float[Array, "n M"]
) -> GramProducts:
    """The products, by n x n matrices where there are fewer samples than inputs.

    Args:
        inputs: H, shape (n, M).
        sens: D = dL/dZ, shape (n, N).
        pulled: G = D W, shape (n, M).

    Cost: O(n^2 (M + N) + n^3) operations, or O(M^2 (n + N) + ...) where M is the smaller.
    """
    n, width = inputs.shape
    return _by_samples(inputs, sens, pulled) if n < width else _by_inputs(inputs, sens, pulled)


def _by_samples(
    inputs: Float[Array, "n M"], sens: Float[Array, "n N"], pulled: Float[Array, "n M"]
) -> GramProducts:
    """With K = H H^T, E = D D^T, N = H G^T, Q = G G^T."""
    gram, drive, mixed, own = (
        inputs @ inputs.T,
        sens @ sens.T,
        inputs @ pulled.T,
        pulled @ pulled.T,
    )
    moved = gram @ drive
    across = mixed.T @ drive  # G H^T D D^T, whose product with G H^T is <g^T g, G^T G>
    return GramProducts(
        first=2.0 * jnp.sum(own * gram) + 2.0 * jnp.sum(mixed * mixed.T),
        weight=2.0 * jnp.sum((mixed @ gram) * drive),
        virtual=2.0 * jnp.sum(mixed * own.T),
        weight_square=jnp.sum(moved * moved.T),
        virtual_square=jnp.sum(own**2),
        mixed=jnp.sum(across * mixed.T),
    )


def _by_inputs(
    inputs: Float[Array, "n M"], sens: Float[Array, "n N"], pulled: Float[Array, "n M"]
) -> GramProducts:
    half, gradient = cross_moment(pulled, inputs), sens.T @ inputs
    first, weight, virtual = half + half.T, gradient.T @ gradient, pulled.T @ pulled
    return GramProducts(
        first=jnp.sum(first**2),
        weight=jnp.sum(first * weight),
        virtual=jnp.sum(first * virtual),
        weight_square=jnp.sum(weight**2),
        virtual_square=jnp.sum(virtual**2),
        mixed=jnp.sum(weight * virtual),
    )


def gram_against_virtual(products: GramProducts, eta: Scalar) -> dict[str, Float[Array, ""]]:
    """How alike the changes of weight Gram and virtual covariance are, for gamma = eta.

    They agree to first order and differ by eta^2 (g^T g - G^T G), exactly.

    Args:
        products: What `gram_products` gives.
        eta: Step size.

    Returns:
        `cosine` of the two changes, and `gap`, the norm of their difference over that of the
        change of the Gram; both 0 where nothing changes.
    """
    p = products
    weight = p.first - 2 * eta * p.weight + eta**2 * p.weight_square
    virtual = p.first - 2 * eta * p.virtual + eta**2 * p.virtual_square
    inner = p.first - eta * (p.weight + p.virtual) + eta**2 * p.mixed
    apart = eta**2 * (p.weight_square + p.virtual_square - 2 * p.mixed)
    norm, size = jnp.sqrt(jnp.maximum(weight * virtual, 0.0)), jnp.maximum(weight, 0.0)
    return {
        "cosine": jnp.where(norm > 0, inner / jnp.where(norm > 0, norm, 1.0), 0.0),
        "gap": jnp.where(
            size > 0, jnp.sqrt(jnp.maximum(apart, 0.0) / jnp.where(size > 0, size, 1.0)), 0.0
        ),
    }


def learning_equation_error(
    weight: Float[Array, "N M"], inputs: Float[Array, "n M"], sens: Float[Array, "n N"]
) -> Float[Array, ""]:
    """|W^T g - G^T H|_F / |G^T H|_F, rounding; 0 where both vanish.

    Args:
        weight: W, shape (N, M).
        inputs: H, shape (n, M).
        sens: D = dL/dZ, shape (n, N).

    Cost: 4 (n + N) M^2 operations.
    """
    left = weight.T @ (sens.T @ inputs)
    right = cross_moment(sens @ weight, inputs)
    size = frobenius(right)
    return frobenius(left - right) / jnp.where(size > 0, size, 1.0)
