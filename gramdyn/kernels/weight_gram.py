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

from gramdyn._checks import check_known
from gramdyn._types import Scalar
from gramdyn.kernels.compare import frobenius

CONVENTIONS = ("sum", "per_sample")


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

    Raises:
        InputError: for an unknown convention.

    Cost: 4 n M^2 operations.
    """
    if centre:
        inputs, pulled = centred(inputs), centred(pulled)
    return _virtual(inputs, pulled, gamma, second_order_weight(convention, inputs.shape[0]))


def _virtual(
    inputs: Float[Array, "n M"], pulled: Float[Array, "n M"], gamma: Scalar, second: Scalar
) -> Float[Array, "M M"]:
    first = cross_moment(pulled, inputs)
    return -gamma * (first + first.T) + gamma**2 * second * (pulled.T @ pulled)


def second_order_weight(convention: str, n_samples: int) -> float:
    """Factor on G^T G in the change of the virtual covariance: 1, or n for "per_sample".

    Raises:
        InputError: for an unknown convention.
    """
    own = check_known("convention", convention, CONVENTIONS) == "per_sample"
    return float(n_samples) if own else 1.0


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


def gram_against_virtual(
    products: GramProducts, eta: Scalar, second: Scalar = 1.0
) -> dict[str, Float[Array, ""]]:
    """How alike the changes of weight Gram and virtual covariance are, for gamma = eta.

    They agree to first order and differ by eta^2 (g^T g - c G^T G), exactly.

    Args:
        products: What `gram_products` gives.
        eta: Step size.
        second: c, what `second_order_weight` says.

    Returns:
        `cosine` of the two changes, and `gap`, the norm of their difference over that of the
        change of the Gram; both 0 where nothing changes.
    """
    p, c = products, second
    weight = p.first - 2 * eta * p.weight + eta**2 * p.weight_square
    virtual = p.first - 2 * eta * c * p.virtual + eta**2 * c**2 * p.virtual_square
    inner = p.first - eta * (p.weight + c * p.virtual) + eta**2 * c * p.mixed
    apart = eta**2 * (p.weight_square + c**2 * p.virtual_square - 2 * c * p.mixed)
    return _likeness(inner, weight, virtual, apart)


def _likeness(
    inner: Float[Array, ""], one: Float[Array, ""], two: Float[Array, ""], apart: Float[Array, ""]
) -> dict[str, Float[Array, ""]]:
    """Cosine and relative distance from <a, b>, |a|^2, |b|^2 and |a - b|^2."""
    size = jnp.maximum(one, 0.0)
    norm = jnp.sqrt(size) * jnp.sqrt(jnp.maximum(two, 0.0))
    return {
        "cosine": jnp.where(norm > 0, inner / jnp.where(norm > 0, norm, 1.0), 0.0),
        "gap": jnp.where(
            size > 0, jnp.sqrt(jnp.maximum(apart, 0.0) / jnp.where(size > 0, size, 1.0)), 0.0
        ),
    }


def alike(one: Float[Array, "M M"], two: Float[Array, "M M"]) -> dict[str, Float[Array, ""]]:
    """`cosine` of two matrices, and `gap`, |one - two|_F / |one|_F; 0 where a norm vanishes."""
    sums = (jnp.sum(one * two), jnp.sum(one**2), jnp.sum(two**2), jnp.sum((one - two) ** 2))
    return _likeness(*sums)


def gram_against_centred(
    inputs: Float[Array, "n M"],
    sens: Float[Array, "n N"],
    pulled: Float[Array, "n M"],
    eta: Scalar,
    second: Scalar = 1.0,
) -> dict[str, Float[Array, ""]]:
    """As `gram_against_virtual`, for the virtual covariance of centred inputs.

    Its first order is that of the weights' gradient less what a bias would have,
    W^T (g - (dL/db) hbar^T), so that the two differ in first order already.

    Args:
        inputs: H, shape (n, M).
        sens: D = dL/dZ, shape (n, N).
        pulled: G = D W, shape (n, M).
        eta: Step size.
        second: c, what `second_order_weight` says.

    Cost: O(n^2 (M + N) + n^3) operations where 2 n < M, O(M^2 (n + N)) otherwise.
    """
    n = len(inputs)
    if 2 * n >= inputs.shape[1]:
        half, gradient = cross_moment(pulled, inputs), sens.T @ inputs
        own = -eta * (half + half.T) + eta**2 * (gradient.T @ gradient)
        return alike(own, _virtual(centred(inputs), centred(pulled), eta, second))
    zero, eye = jnp.zeros((n, n), inputs.dtype), jnp.eye(n, dtype=inputs.dtype)
    middle = eye - 1.0 / n  # takes the mean off: both changes are forms of the same rows
    weight = jnp.block([[zero, -eta * eye], [-eta * eye, eta**2 * (sens @ sens.T)]])
    virtual = jnp.block([[eta**2 * second * middle, -eta * middle], [-eta * middle, zero]])
    rows = jnp.concatenate([pulled, inputs])
    gram, apart = rows @ rows.T, weight - virtual
    return _likeness(
        _form_product(weight, virtual, gram),
        _form_product(weight, weight, gram),
        _form_product(virtual, virtual, gram),
        _form_product(apart, apart, gram),
    )


def _form_product(
    one: Float[Array, "r r"], two: Float[Array, "r r"], gram: Float[Array, "r r"]
) -> Float[Array, ""]:
    """<F^T S F, F^T T F> by the Gram F F^T; S and T symmetric."""
    return jnp.sum((one @ gram) * (gram @ two))


def step_against_moment(
    weight: Float[Array, "N M"],
    step: Float[Array, "N M"],
    inputs: Float[Array, "n M"],
    pulled: Float[Array, "n M"],
) -> dict[str, Float[Array, ""]]:
    """The change of the weight Gram by any step U beside -(A + A^T), where descent would take it.

    Args:
        weight: W before the step, shape (N, M).
        step: U, shape (N, M), of whatever optimiser.
        inputs: H before it, shape (n, M).
        pulled: G before it, shape (n, M).

    Returns:
        `cosine` of the two, `size` = |W^T U + U^T W + U^T U|_F of the change, and `second`, the
        share that |U^T U|_F has of it.

    Cost: O((n + N)^2 M) operations where n, N < M / 2, O(M^2 (n + N)) otherwise.
    """
    if 2 * max(len(weight), len(inputs)) >= weight.shape[1]:
        moved, half = weight_gram_change(weight, step), cross_moment(pulled, inputs)
        size, wanted = frobenius(moved), frobenius(half + half.T)
        inner = -jnp.sum(moved * (half + half.T))
    else:
        size, wanted, inner = _step_by_rows(weight, step, inputs, pulled)
    norm, square = size * wanted, frobenius(step @ step.T)
    return {
        "cosine": jnp.where(norm > 0, inner / jnp.where(norm > 0, norm, 1.0), 0.0),
        "size": size,
        "second": jnp.where(size > 0, square / jnp.where(size > 0, size, 1.0), 0.0),
    }


def _step_by_rows(
    weight: Float[Array, "N M"],
    step: Float[Array, "N M"],
    inputs: Float[Array, "n M"],
    pulled: Float[Array, "n M"],
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Norms of the step's change and of A + A^T, and minus their product; no M x M matrix."""
    eye, zero = (
        jnp.eye(len(weight), dtype=weight.dtype),
        jnp.zeros((len(weight),) * 2, weight.dtype),
    )
    moved, rows = jnp.block([[zero, eye], [eye, eye]]), jnp.concatenate([weight, step])
    size = _form_product(moved, moved, rows @ rows.T)
    mixed = pulled @ inputs.T
    square = 2.0 * jnp.sum((pulled @ pulled.T) * (inputs @ inputs.T)) + 2.0 * jnp.sum(
        mixed * mixed.T
    )
    left, right = rows @ pulled.T, rows @ inputs.T  # <F^T S F, G^T H> = <S, F G^T H F^T>
    inner = -2.0 * jnp.sum(moved * (left @ right.T))
    root = lambda number: jnp.sqrt(jnp.maximum(number, 0.0))  # noqa: E731
    return root(size), root(square), inner


class LearningEquation(NamedTuple):
    """Both sides of W^T g = G^T H, and how far they are apart.

    Where there are fewer samples than inputs, error is that of both sides times G from the left
    and H^T from the right.

    Attributes:
        weights: |W^T g|_F.
        features: |G^T H|_F.
        trace: tr(G^T H), for positively homogeneous networks without bias the same in all layers.
        error: |W^T g - G^T H|_F / |G^T H|_F, rounding; 0 where both vanish.
    """

    weights: Float[Array, ""]
    features: Float[Array, ""]
    trace: Float[Array, ""]
    error: Float[Array, ""]


def learning_equation(
    weight: Float[Array, "N M"],
    inputs: Float[Array, "n M"],
    sens: Float[Array, "n N"],
    gradient: Float[Array, "N M"] | None = None,
) -> LearningEquation:
    """The feature learning equation of a layer, its sides computed one from weights, one from G.

    Of [W b] and (h, 1), see `with_bias`, it has the blocks of the bias too: W^T dL/db = sum G,
    b^T g = sum (b.D) h^T, b.dL/db = sum b.D. Of inputs and sensitivities less their means it is
    the centred form W^T (g - (dL/db) hbar^T) = sum (G - Gbar)(h - hbar)^T.

    Args:
        weight: W, shape (N, M).
        inputs: H, shape (n, M).
        sens: D = dL/dZ, shape (n, N).
        gradient: g, shape (N, M), as it is used; D^T H by default, with which error is rounding
            whatever D is.

    Cost: where n < M, O((n + N)(n + N) M) operations and no M x M matrix; 4 (n + N) M^2 otherwise.
    """
    pulled = sens @ weight
    gradient = sens.T @ inputs if gradient is None else gradient
    if len(inputs) < inputs.shape[1]:
        gram, own = inputs @ inputs.T, pulled @ pulled.T
        left, right = (pulled @ weight.T) @ (gradient @ inputs.T), own @ gram
        size = jnp.sqrt(jnp.maximum(jnp.sum(own * gram), 0.0))
        square = jnp.sum((weight @ weight.T) * (gradient @ gradient.T))
        other = jnp.sqrt(jnp.maximum(square, 0.0))
        trace = jnp.sum(sens * (inputs @ weight.T))
        return LearningEquation(other, size, trace, _apart(left, right))
    left, right = weight.T @ gradient, cross_moment(pulled, inputs)
    return LearningEquation(
        frobenius(left), frobenius(right), jnp.trace(right), _apart(left, right)
    )


def _apart(one: Float[Array, "M M"], two: Float[Array, "M M"]) -> Float[Array, ""]:
    size = frobenius(two)
    return frobenius(one - two) / jnp.where(size > 0, size, 1.0)


def with_bias(
    weight: Float[Array, "N M"], bias: Float[Array, " N"], inputs: Float[Array, "n M"]
) -> tuple[Float[Array, "N K"], Float[Array, "n K"]]:
    """[W b] and (h, 1), with which a bias is one more column of the weights; K = M + 1."""
    ones = jnp.ones((len(inputs), 1), inputs.dtype)
    return (
        jnp.concatenate([weight, bias[:, None]], axis=1),
        jnp.concatenate([inputs, ones], axis=1),
    )
