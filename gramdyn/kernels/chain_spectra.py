"""Spectra of chains of Jacobians, and how they answer to a change of one factor.

A chain is J = J_L ... J_1, its square factors stacked in the order in which they are met, shape
(L, N, N). Its condition grows exponentially with L in general, beyond what the product can hold:
an SVD of the product saturates where log10 kappa meets the digits of the dtype. QR accumulation,
J_l Q_{l-1} = Q_l R_l, holds any condition, and finds log sigma_i as sum_l log |R_l,ii|; for a small
condition it is the less exact (it finds 0.63 to 0.70 where log10 kappa is 0.84). So each serves
where the other does not. `square_chain` brings factors of unlike widths to this form. Source:
derived here; the bounds are of the literature named beside them.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from gramdyn._checks import check, check_positive_int
from gramdyn._types import Scalar
from gramdyn.kernels.spectra import top_eigenvalues_of

# Down to this log10 below the largest the singular values of the product are taken, by the dtype.
_SVD_DOUBLE, _SVD_SINGLE = 13.0, 6.0


def square_chain(factors: Sequence[Float[Array, "_ _"]]) -> Float[Array, "L r r"]:
    """Square factors whose product has the singular values of a chain of unlike widths.

    From the narrowest width r outwards, QR accumulation leaves J_L ... J_1 = Q T_L ... T_1 P^T, the
    columns of Q and P orthonormal; so the other singular values are 0 by shape and left out.

    Args:
        factors: J_1 to J_L in the order in which they are met, shapes (N_l, N_{l-1}).

    Returns:
        T_1 to T_L, r the least of all widths; lower triangular before it, upper after it.

    Raises:
        InputError: no factors, or neighbours do not fit.

    Cost: L products and QR decompositions of r columns.
    """
    check(len(factors) > 0, "factors", "hold a matrix at least", "empty")
    shapes = [factor.shape for factor in factors]
    fits = all(one[0] == after[1] for one, after in pairwise(shapes))
    check(fits, "factors", "fit one another in the order in which they are met", shapes)
    widths = [shapes[0][1], *(shape[0] for shape in shapes)]
    narrow = widths.index(min(widths))
    below = _triangles([factor.T for factor in factors[:narrow][::-1]])[::-1]
    return jnp.stack([*(one.T for one in below), *_triangles(factors[narrow:])])


def log_singular_values(factors: Float[Array, "L N N"]) -> Float[Array, " N"]:
    """Natural logarithms of the singular values of a chain, descending; -inf for 0.

    Each by the SVD of the product as far as this keeps its digits below the largest, else by QR.

    Cost: 2 L QR decompositions of N x N matrices and one SVD.
    """
    product, scale = _product(factors)
    by_svd = jnp.log(jnp.linalg.svd(product, compute_uv=False)) + scale
    kept = by_svd > by_svd[0] - _digits(factors.dtype)
    return jnp.where(kept.at[0].set(True), by_svd, log_singular_values_by_qr(factors))


def log_singular_values_by_qr(factors: Float[Array, "L N N"]) -> Float[Array, " N"]:
    """The same by QR accumulation alone, for any condition.

    A sweep down the transposed chain turns a generic basis towards the right singular vectors, and
    the sweep up from there reads the logarithms off. Over long chains of independent factors they
    tend to L times their Lyapunov exponents (Newman 1986).

    Cost: 2 L QR decompositions of N x N matrices.
    """
    n = factors.shape[1]
    # Generic: from the basis of the coordinates, a factor with a column of zeros would take the
    # first direction, and with it the largest value, to 0.
    basis, _ = jnp.linalg.qr(jnp.sin(jnp.arange(n * n, dtype=factors.dtype) ** 2).reshape(n, n))
    turned, _ = _accumulated(jnp.swapaxes(factors, 1, 2)[::-1], basis)
    _, logs = _accumulated(factors, turned)
    return -jnp.sort(-logs)


def log_condition(factors: Float[Array, "L N N"]) -> Float[Array, ""]:
    """log10 of the condition number of a chain; infinite where a factor is singular to rounding.

    Cost: that of `log_singular_values` and of `chain_rank`.
    """
    logs = log_singular_values(factors)
    singular = chain_rank(factors) < factors.shape[1]
    return jnp.where(singular, jnp.inf, (logs[0] - logs[-1]) / math.log(10.0))


def chain_rank(factors: Float[Array, "L N N"]) -> Int[Array, ""]:
    """How many singular values of a chain are not 0, each factor taken to rounding.

    Dead units leave it below N; the condition of what is left is that of the first so many values.

    Cost: L SVDs.
    """
    n = factors.shape[1]

    def one(basis: Float[Array, "N N"], factor: Float[Array, "N N"]) -> tuple[Array, None]:
        left, values, _ = jnp.linalg.svd(factor @ basis)
        least = n * float(jnp.finfo(factor.dtype).eps) * jnp.linalg.norm(factor)
        return jnp.where((values > least)[None], left, jnp.zeros_like(left)), None

    basis, _ = jax.lax.scan(one, jnp.eye(n, dtype=factors.dtype), factors)
    return jnp.sum(jnp.sum(basis**2, axis=0) > 0.5)


def relative_spectral_sensitivity(factors: Float[Array, "L N N"]) -> Float[Array, "L N"]:
    """How much each singular value answers to each factor: |J_{>l}^T u_i| |J_{<l} v_i| / sigma_i.

    It is the norm of d sigma_i / d J_l = (J_{>l}^T u_i)(J_{<l} v_i)^T over sigma_i, the first-order
    law of a simple singular value; exactly 1 for orthogonal factors. NaN where the condition is
    beyond the dtype, so that the lower singular vectors are rounding.

    Returns:
        One row a factor, one column a singular value, descending.

    Cost: one SVD and 4 L N^3 operations.
    """
    product, scale = _product(factors)
    left, values, right = jnp.linalg.svd(product)
    logs = jnp.log(values) + scale
    below = _log_norms_met(factors, right.T)
    above = _log_norms_met(jnp.swapaxes(factors, 1, 2)[::-1], left)[::-1]
    found = jnp.exp(below + above - logs[None])
    return jnp.where(logs[0] - logs[-1] < _digits(factors.dtype), found, jnp.nan)


def top_singular_value(
    push: Callable[[Float[Array, " M"]], Float[Array, " N"]],
    pull: Callable[[Float[Array, " N"]], Float[Array, " M"]],
    size: int,
    dtype: DTypeLike,
) -> Float[Array, ""]:
    """Largest singular value of a matrix given by its products, from below, no matrix formed.

    Args:
        push: v -> J v.
        pull: u -> J^T u.
        size: Columns of J.
        dtype: Of its entries.

    Cost: as `gramdyn.kernels.top_eigenvalues_of` of J^T J.
    """
    return jnp.sqrt(top_eigenvalues_of(lambda v: pull(push(v)), size, dtype)[0])


def squared_norm(
    push: Callable[[Float[Array, " M"]], Float[Array, " N"]], probes: Float[Array, "k M"]
) -> Float[Array, ""]:
    """|J|_F^2 by Hutchinson's estimate: the mean of |J v|^2 over probes of unit covariance."""
    return jnp.mean(jax.vmap(lambda v: jnp.sum(push(v) ** 2))(probes))


def condition_bound(top: Scalar, bottom: Scalar, extra: Scalar) -> Float[Array, ""]:
    """Bound on the condition of S + E with |E| <= extra: (sigma_1 + e) / (sigma_min - e).

    Infinite from e = sigma_min on. Of a layer S + alpha R' with linear phi it is the layer's; for a
    chain of orthogonal ones with e = c / L the bounds multiply to e^(2 c) as L grows. By Weyl.
    """
    top, bottom, extra = (jnp.asarray(one) for one in (top, bottom, extra))
    left = bottom - extra
    safe = jnp.where(left > 0, left, jnp.ones_like(left))
    return jnp.where(left > 0, (top + extra) / safe, jnp.inf)


def chain_condition_bound(
    top: Float[Array, " L"], bottom: Float[Array, " L"], extra: Float[Array, " L"]
) -> Float[Array, ""]:
    """Bound on the condition of a chain of factors S_l + E_l: the product of `condition_bound`.

    Args:
        top: sigma_1(S_l), or bounds from above.
        bottom: sigma_min(S_l), or bounds from below.
        extra: Bounds on |E_l|, |alpha| L_R of layers with linear phi.
    """
    return jnp.prod(jax.vmap(condition_bound)(top, bottom, extra))


def random_product_norm(depth: int) -> float:
    """Largest singular value of a product of wide free matrices: sqrt((L+1)^(L+1) / L^L).

    Of L independent N x N matrices with entries N(0, 1/N), as N grows at fixed L. Finite products
    are below it by a part that falls as N^(-2/3): 2.41 for 2.60 at N = 32, L = 2; it says nothing
    where L is no longer far below N (4.2 for 6.7 at N = 32, L = 16).

    Raises:
        InputError: `depth` is not a positive whole number.

    Source: the edge of the Fuss-Catalan law of squared singular values.
    """
    depth = check_positive_int("depth", depth)
    return math.exp(0.5 * ((depth + 1) * math.log(depth + 1) - depth * math.log(depth)))


def _triangles(factors: Sequence[Float[Array, "_ _"]]) -> list[Float[Array, "r r"]]:
    """R_1, R_2, ... of J_l Q_{l-1} = Q_l R_l, begun from Q_0 = 1."""
    if not factors:
        return []
    basis, found = jnp.eye(factors[0].shape[1], dtype=factors[0].dtype), []
    for factor in factors:
        basis, upper = jnp.linalg.qr(factor @ basis)
        found.append(upper)
    return found


def _accumulated(factors: Float[Array, "L N N"], basis: Float[Array, "N N"]) -> tuple[Any, Any]:
    """An orthonormal basis carried through a chain, and the logarithms of its stretches."""

    def one(now: tuple[Array, Array], factor: Float[Array, "N N"]) -> tuple[Any, None]:
        basis, logs = now
        basis, upper = jnp.linalg.qr(factor @ basis)
        return (basis, logs + jnp.log(jnp.abs(jnp.diag(upper)))), None

    return jax.lax.scan(one, (basis, jnp.zeros(len(basis), factors.dtype)), factors)[0]


def _product(factors: Float[Array, "L N N"]) -> tuple[Float[Array, "N N"], Float[Array, ""]]:
    """The product over a factor e^scale that keeps its largest entry at 1."""
    start = jnp.eye(factors.shape[1], dtype=factors.dtype), jnp.zeros((), factors.dtype)

    def one(now: tuple[Array, Array], factor: Float[Array, "N N"]) -> tuple[Any, None]:
        product, scale = now
        product = factor @ product
        peak = jnp.max(jnp.abs(product))
        peak = jnp.where(peak > 0, peak, jnp.ones_like(peak))
        return (product / peak, scale + jnp.log(peak)), None

    return jax.lax.scan(one, start, factors)[0]


def _log_norms_met(
    factors: Float[Array, "L N N"], columns: Float[Array, "N N"]
) -> Float[Array, "L N"]:
    """Logarithms of the norms of columns as each factor meets them, whatever their scale."""

    def one(now: tuple[Array, Array], factor: Float[Array, "N N"]) -> tuple[Any, Array]:
        columns, logs = now
        after = factor @ columns
        norms = jnp.linalg.norm(after, axis=0)
        norms = jnp.where(norms > 0, norms, jnp.ones_like(norms))
        return (after / norms[None], logs + jnp.log(norms)), logs

    start = columns, jnp.zeros(len(columns), factors.dtype)
    return jax.lax.scan(one, start, factors)[1]


def _digits(dtype: DTypeLike) -> float:
    """How far below the largest the SVD of a product finds logarithms of singular values."""
    limit = _SVD_DOUBLE if jnp.finfo(dtype).bits == 64 else _SVD_SINGLE
    return limit * math.log(10.0)
