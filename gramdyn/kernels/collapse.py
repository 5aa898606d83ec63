"""Neural Collapse: how far features of classes are from one point a class, at a simplex's corners.

Class means are taken less the mean of the class means, not of the samples.
Source: Papyan, Han, Donoho, PNAS 117 (2020); the bound on Target Linearity derived here, tested.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gramdyn.kernels.compare import frobenius


class Collapse(NamedTuple):
    """Measures of collapse; all are 0 for a simplex of points with a classifier that is its dual.

    Attributes:
        within: NC1, tr(S_W S_B^+) / C.
        within_ratio: tr S_W / tr S_B.
        mean_norms: NC2, spread of the norms of the class means over their average.
        weight_norms: NC2 of the classifier's rows.
        mean_angles: NC2, average distance of the class means' cosines from -1 / (C - 1).
        weight_angles: NC2 of the classifier's rows.
        simplex: |K / |K|_F - (I - 1 1^T / C) / sqrt(C - 1)|_F of the Gram K of the class means.
        duality: NC3, squared distance of classifier and class means, both of norm 1.
        disagreement: NC4, share of samples that the nearest class mean decides otherwise than the
            classifier.
    """

    within: Float[Array, ""]
    within_ratio: Float[Array, ""]
    mean_norms: Float[Array, ""]
    weight_norms: Float[Array, ""]
    mean_angles: Float[Array, ""]
    weight_angles: Float[Array, ""]
    simplex: Float[Array, ""]
    duality: Float[Array, ""]
    disagreement: Float[Array, ""]


def class_means(
    features: Float[Array, "n M"], labels: Int[Array, " n"], n_classes: int
) -> tuple[Float[Array, "C M"], Float[Array, " M"]]:
    """Class means less their mean, and that mean.

    Args:
        features: H, shape (n, M).
        labels: Class of each sample, 0 to C - 1, shape (n,); every class has one at least.
        n_classes: C.
    """
    chosen = jax.nn.one_hot(labels, n_classes, dtype=features.dtype)
    means = (chosen.T @ features) / jnp.sum(chosen, axis=0)[:, None]
    centre = jnp.mean(means, axis=0)
    return means - centre[None, :], centre


def neural_collapse(
    features: Float[Array, "n M"],
    labels: Int[Array, " n"],
    weight: Float[Array, "C M"],
    bias: Float[Array, " C"] | None = None,
    *,
    ddof: int = 0,
) -> Collapse:
    """All measures of collapse of the features of classes and their linear classifier.

    S_W is the covariance within the classes, S_B that of the class means; its pseudo-inverse comes
    from their singular values, of which C - 1 count.

    Args:
        features: H, shape (n, M).
        labels: Class of each sample, 0 to C - 1, shape (n,).
        weight: Rows of the classifier, shape (C, M), C at least 2.
        bias: Its bias, shape (C,), or None.
        ddof: Subtracted from C in the spread of norms; 1 for the unbiased one.

    Cost: 4 n C M operations and one singular value decomposition of a C x M matrix.
    """
    n_classes = weight.shape[0]
    means, centre = class_means(features, labels, n_classes)
    apart = features - centre[None, :] - means[labels]
    outputs = features @ weight.T
    outputs = outputs if bias is None else outputs + bias[None, :]
    return Collapse(
        within=_within(apart, means),
        within_ratio=_over(jnp.sum(apart**2) / len(apart), jnp.sum(means**2) / n_classes),
        mean_norms=_spread(means, ddof),
        weight_norms=_spread(weight, ddof),
        mean_angles=_angles(means),
        weight_angles=_angles(weight),
        simplex=_simplex_error(means),
        duality=jnp.sum((_unit(weight) - _unit(means)) ** 2),
        disagreement=_disagreement(features - centre[None, :], means, outputs),
    )


def linearity_bound(within: Float[Array, ""], n_classes: int) -> Float[Array, ""]:
    """Most that 1 - TL of one-hot targets can be: C / (C - 1) NC1, for classes of equal size."""
    return n_classes / (n_classes - 1) * within


def _within(apart: Float[Array, "n M"], means: Float[Array, "C M"]) -> Float[Array, ""]:
    """tr(S_W S_B^+) / C = sum over directions of |apart along it|^2 / (n s^2)."""
    _, values, frame = jnp.linalg.svd(means, full_matrices=False)
    count = min(means.shape[0] - 1, len(values))
    along = jnp.sum((apart @ frame[:count].T) ** 2, axis=0) / len(apart)
    return jnp.sum(_over(along, values[:count] ** 2))


def _over(top: Array, bottom: Array) -> Array:
    return jnp.where(bottom > 0, top / jnp.where(bottom > 0, bottom, 1.0), jnp.inf)


def _spread(rows: Float[Array, "C M"], ddof: int) -> Float[Array, ""]:
    norms = jnp.linalg.norm(rows, axis=1)
    return jnp.std(norms, ddof=ddof) / jnp.mean(norms)


def _angles(rows: Float[Array, "C M"]) -> Float[Array, ""]:
    count = rows.shape[0]
    units = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
    gap = jnp.abs(units @ units.T + 1.0 / (count - 1))
    return jnp.sum(jnp.where(jnp.eye(count, dtype=bool), 0.0, gap)) / (count * (count - 1))


def _simplex_error(means: Float[Array, "C M"]) -> Float[Array, ""]:
    count = means.shape[0]
    gram = means @ means.T
    ideal = (jnp.eye(count, dtype=gram.dtype) - 1.0 / count) / jnp.sqrt(count - 1.0)
    return frobenius(gram / frobenius(gram) - ideal)


def _unit(rows: Float[Array, "C M"]) -> Float[Array, "C M"]:
    return rows / frobenius(rows)


def _disagreement(
    features: Float[Array, "n M"], means: Float[Array, "C M"], outputs: Float[Array, "n C"]
) -> Float[Array, ""]:
    square = jnp.sum(means**2, axis=1)[None, :] - 2.0 * features @ means.T
    differs = jnp.argmin(square, axis=1) != jnp.argmax(outputs, axis=1)
    return jnp.mean(differs.astype(features.dtype))
