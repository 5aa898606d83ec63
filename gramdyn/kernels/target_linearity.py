"""Target Linearity: how much of the targets an affine map of features reproduces.

    TL = 1 - min_{B, c} |Y - H B - 1 c^T|_F^2 / |Y_c|_F^2  =  |P Y_c|_F^2 / |Y_c|_F^2    in [0, 1]

with P the projector on the columns of the centred features and Y_c the centred targets, both less
their means over the samples. No affine map of the features, shift, scale or rotation of the
targets, dead, doubled or dependent unit changes it; a linear layer can only lose of it.
Source: arXiv 2605.06258.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gramdyn._checks import check, check_matrix, check_positive_int, check_real
from gramdyn._types import Scalar
from gramdyn.kernels.compare import frobenius
from gramdyn.kernels.weight_gram import centred


class Linearity(NamedTuple):
    """Target Linearity, and what to read it against.

    Attributes:
        value: TL; NaN where the targets are constant.
        rank: Rank r of the centred features, shape ().
        null: Its mean for features that know nothing of the targets: r / (n - 1), less without an
            intercept or with a ridge.
        adjusted: 1 - (1 - TL) / (1 - null), with mean 0 for those; NaN where null is 1.
    """

    value: Float[Array, ""]
    rank: Int[Array, ""]
    null: Float[Array, ""]
    adjusted: Float[Array, ""]


def target_linearity(
    features: Float[Array, "n M"],
    targets: Float[Array, "n C"],
    *,
    intercept: bool = True,
    ridge: Scalar = 0.0,
    rcond: float | None = None,
) -> Linearity:
    """Target Linearity by a singular value decomposition, which says the rank.

    Neither the normal equations, which have half the digits, nor a plain QR, which shows no rank.
    Works under `jit` and `vmap`. With n - 1 or more independent features it is 1 whatever they are:
    read it beside `null`.

    Args:
        features: H, shape (n, M).
        targets: Y, shape (n, C).
        intercept: Whether the map may add a constant; without one the features are not centred.
        ridge: Penalty on |B|_F^2, at least 0.
        rcond: Singular values below this share of the largest count as 0; max(n, M) eps by default.

    Returns:
        TL, rank, null value and adjusted value.

    Cost: 2 n M min(n, M) operations and one decomposition of a matrix of side min(n, M).
    """
    n = features.shape[0]
    wanted = centred(targets)
    frame, values, kept = _frame(centred(features) if intercept else features, rcond)
    weights = _shares(values, kept, ridge)
    explained = weights * (2.0 - weights)  # of the targets' square along each direction
    parts, size = frame.T @ wanted, jnp.sum(wanted**2)
    value = jnp.sum(explained * jnp.sum(parts**2, axis=1)) / _or_nan(size)
    # Targets that are random have n - 1 directions, none of them the constant one.
    free = 1.0 - jnp.sum(frame, axis=0) ** 2 / n
    null = jnp.sum(explained * free) / max(n - 1, 1)
    rank = jnp.sum(kept.astype(jnp.int32))
    left = jnp.where(rank < n - 1, 1.0 - null, 0.0)
    return Linearity(value, rank, null, 1.0 - (1.0 - value) / _or_nan(left))


def _frame(
    features: Float[Array, "n M"], rcond: float | None
) -> tuple[Float[Array, "n r"], Float[Array, " r"], Array]:
    """Left singular vectors, singular values, and which of them count."""
    n, width = features.shape
    if n > width:  # then the decomposition itself is of a small matrix
        columns, triangle = jnp.linalg.qr(features)
        inner, values, _ = jnp.linalg.svd(triangle)
        frame = columns @ inner
    else:
        frame, values, _ = jnp.linalg.svd(features, full_matrices=False)
    share = max(n, width) * jnp.finfo(values.dtype).eps if rcond is None else rcond
    kept = (values > share * values[0]) & (values > 0)
    return frame, values, kept


def _shares(values: Float[Array, " r"], kept: Array, ridge: Scalar) -> Float[Array, " r"]:
    """Share of the targets along each singular direction that the ridge fit takes."""
    return jnp.where(kept, values**2 / jnp.where(kept, values**2 + ridge, 1.0), 0.0)


def _or_nan(number: Array) -> Array:
    return jnp.where(number > 0, number, jnp.nan)


def heldout_linearity(
    features: Float[Array, "n M"],
    targets: Float[Array, "n C"],
    new_features: Float[Array, "m M"],
    new_targets: Float[Array, "m C"],
    *,
    intercept: bool = True,
    ridge: Scalar = 0.0,
    rcond: float | None = None,
) -> Float[Array, ""]:
    """1 - |Y' - fit|^2 / |Y' - mean(Y)|^2 on new samples, the affine map fitted on the others.

    At most 1, below 0 where the map is worse than the mean of the targets it was fitted on.

    Args:
        features: H that the map is fitted on, shape (n, M).
        targets: Y, shape (n, C).
        new_features: Features of the new samples, shape (m, M).
        new_targets: Their targets, shape (m, C).
        intercept: As for `target_linearity`; the mean of the targets is taken off in any case.
        ridge: As for `target_linearity`.
        rcond: As for `target_linearity`.

    Cost: one singular value decomposition of H.
    """
    base, mean = (jnp.mean(rows, axis=0, keepdims=True) for rows in (features, targets))
    base = base if intercept else jnp.zeros_like(base)
    left, values, right = jnp.linalg.svd(features - base, full_matrices=False)
    share = max(features.shape) * jnp.finfo(values.dtype).eps if rcond is None else rcond
    kept = (values > share * values[0]) & (values > 0)
    inverse = jnp.where(kept, values / jnp.where(kept, values**2 + ridge, 1.0), 0.0)
    parts = inverse[:, None] * (left.T @ (targets - mean))
    fit = mean + ((new_features - base) @ right.T) @ parts
    size = jnp.sum((new_targets - mean) ** 2)
    return 1.0 - jnp.sum((new_targets - fit) ** 2) / _or_nan(size)


def linearity_by_layer(
    features: Sequence[Any], targets: Any, *, components: int | None = None
) -> Linearity:
    """Target Linearity of each of several layers, their features made anywhere.

    For features of a network trained elsewhere, such as the states of a transformer's layers saved
    as arrays. In float32 values are within some 1e-3 of those in float64.

    Args:
        features: One array a layer, shape (n, d_l), real and finite; the d_l may differ.
        targets: Shape (n, C), or (n,) for one output; one-hot rows for classes.
        components: Leading principal components of each layer that are kept, so that layers of
            unlike width compare; all by default.

    Returns:
        TL, rank, null value and adjusted value of each layer, shape (L,).

    Raises:
        InputError: no layers, arrays that are no finite matrices, or of unlike length.

    Cost: one singular value decomposition a layer, two with `components`.
    """
    listed = isinstance(features, Sequence) and len(features) > 0
    check(listed, "features", "list one layer at least", type(features).__name__)
    if components is not None:
        check_positive_int("components", components)
    wanted = check_real("targets", targets)
    rows = _host_matrix("targets", wanted[:, None] if wanted.ndim == 1 else wanted)
    found = []
    for i, given in enumerate(features):
        layer = _host_matrix(f"features[{i}]", given)
        same = len(layer) == len(rows)
        check(same, f"features[{i}]", f"have {len(rows)} rows like targets", len(layer))
        layer = layer if components is None else principal_scores(layer, components)
        found.append(target_linearity(layer, rows))
    return Linearity(*(jnp.stack(column) for column in zip(*found, strict=True)))


def _host_matrix(name: str, given: Any) -> Float[Array, "n M"]:
    """A finite matrix in the working precision of JAX."""
    return jnp.asarray(check_matrix(name, given), jnp.zeros(()).dtype)


class FeatureFit(NamedTuple):
    """Targets, outputs, and what the features could do.

    With p the ridge fit of the targets by the features: |y - p|, what they cannot tell;
    |f - p|, what the readout has still to learn; |y - f|, the residual. Without ridge they are
    the sides of right triangles: |y - f|^2 = |y - p|^2 + |f - p|^2.

    Attributes:
        features: |y - p|_F.
        readout: |f - p|_F.
        residual: |y - f|_F.
    """

    features: Float[Array, ""]
    readout: Float[Array, ""]
    residual: Float[Array, ""]


def feature_fit(
    features: Float[Array, "n M"],
    targets: Float[Array, "n C"],
    outputs: Float[Array, "n C"],
    *,
    ridge: Scalar = 0.0,
) -> FeatureFit:
    """How much of the residual is the features' and how much the readout's; no intercept.

    Args:
        features: H that the readout sees, shape (n, M).
        targets: y, shape (n, C).
        outputs: f, shape (n, C); a linear map of H for the triangle to be right.
        ridge: Penalty on the map, at least 0.

    Cost: one singular value decomposition.
    """
    frame, values, kept = _frame(features, None)
    fit = (frame * _shares(values, kept, ridge)[None, :]) @ (frame.T @ targets)
    pairs = ((targets, fit), (outputs, fit), (targets, outputs))
    return FeatureFit(*(frobenius(one - two) for one, two in pairs))


def principal_scores(
    features: Float[Array, "n M"], components: int
) -> Float[Array, "n {components}"]:
    """Centred features along their leading principal directions.

    Args:
        features: H, shape (n, M).
        components: Number of directions, at most min(n, M).

    Raises:
        InputError: for another number.

    Cost: one singular value decomposition.
    """
    most = min(features.shape)
    check(1 <= components <= most, "components", f"be 1 to {most} here", components)
    left, values, _ = jnp.linalg.svd(centred(features), full_matrices=False)
    return left[:, :components] * values[None, :components]


def principal_share(targets: Float[Array, "n C"], count: int) -> Float[Array, ""]:
    """Share of the centred targets' square in their leading principal directions.

    What no Target Linearity of features of that rank exceeds.

    Args:
        targets: Y, shape (n, C).
        count: Number of directions, at most min(n, C).

    Returns:
        The share in [0, 1]; NaN where the targets are constant.

    Raises:
        InputError: for another count.

    Cost: one singular value decomposition.
    """
    check(1 <= count <= min(targets.shape), "count", f"be 1 to {min(targets.shape)}", count)
    squares = jnp.linalg.svd(centred(targets), compute_uv=False) ** 2
    return jnp.sum(squares[:count]) / _or_nan(jnp.sum(squares))


def linearity_surrogate(
    features: Float[Array, "n M"], targets: Float[Array, "n C"], weight: Float[Array, "N M"]
) -> dict[str, Float[Array, ""]]:
    """Alignment of the next layer's Gram with the targets: mean_c y_c^T Z Z^T y_c, Z = H W^T.

    It is quadratic in the sizes of H and W, so that it says nothing where these grow; `normalised`
    is C surrogate / (|Z|_F^2 |Y_c|_2^2), in [0, 1].

    Args:
        features: H, shape (n, M).
        targets: Y, shape (n, C).
        weight: W of the next layer, bias left out, shape (N, M).

    Returns:
        `surrogate`, `size` = |Z|_F^2 and `normalised`.

    Cost: 2 n N (M + C) operations; no n x n matrix.
    """
    outputs, wanted = features @ weight.T, centred(targets)
    along = jnp.sum((outputs.T @ wanted) ** 2)
    size = jnp.sum(outputs**2)
    top = jnp.linalg.norm(wanted, ord=2) ** 2
    scale = size * top
    return {
        "surrogate": along / targets.shape[1],
        "size": size,
        "normalised": jnp.where(scale > 0, along / jnp.where(scale > 0, scale, 1.0), 0.0),
    }


def reference_linearity(
    features: Float[Array, "n M"], targets: Float[Array, "n C"], *, shift: float | None = None
) -> Float[Array, ""]:
    """Target Linearity as the authors' code has it, its faults included, to compare with.

    1 - |Y - H G^-1 H^T Y|^2 / |Y - m|^2 with G = H^T H (+ shift I) inverted explicitly, no
    intercept, and m the mean of each sample's targets over the outputs (over the samples for one
    output). It is low for targets whose samples have a mean, and any number at all, below 0 too,
    where G is ill-conditioned: in float32 from a condition of H of 3000 on.

    Args:
        features: H, shape (n, M).
        targets: Y, centred over the samples by the caller, shape (n, C).
        shift: Added to the diagonal; 1e-5 where G has no inverse by default.

    Cost: one inverse of an M x M matrix.
    """
    gram = features.T @ features
    eye = jnp.eye(gram.shape[0], dtype=gram.dtype)
    inverse = jnp.linalg.inv(gram + (0.0 if shift is None else shift) * eye)
    if shift is None:  # an inverse that failed is not finite
        spare = jnp.linalg.inv(gram + 1e-5 * eye)
        inverse = jnp.where(jnp.all(jnp.isfinite(inverse)), inverse, spare)
    fit = features @ (inverse @ (features.T @ targets))
    axis = 1 if targets.shape[1] > 1 else 0
    size = jnp.sum((targets - jnp.mean(targets, axis=axis, keepdims=True)) ** 2)
    return 1.0 - jnp.sum((targets - fit) ** 2) / size
