"""Spectra of chains of Jacobians, and how they answer to a change of one factor.

A chain is J = J_L ... J_1, its square factors stacked in the order in which they are met, shape
(L, N, N). Its condition grows exponentially with L in general, beyond what the product can hold:
an SVD of the product saturates where log10 kappa meets the digits of the dtype. QR accumulation,
J_l Q_{l-1} = Q_l R_l, holds any condition, and finds log sigma_i as sum_l log |R_l,ii|; for a small
condition it is the less exact (it finds 0.30 where log10 kappa is 0.84). So each serves where the
other does not. Source: derived here; the bounds are of the literature named beside them.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from gramdyn._types import Scalar
from gramdyn.kernels.spectra import top_eigenvalues_of

# Up to this log10 kappa the singular values of the product are taken, by digits of the dtype.
_SVD_DOUBLE, _SVD_SINGLE = 13.0, 6.0


def log_singular_values(factors: Float[Array, "L N N"]) -> Float[Array, " N"]:
    """Natural logarithms of the singular values of a chain, descending; -inf for 0.

    Cost: L QR decompositions of N x N matrices and one SVD.
    """
    product, scale = _product(factors)
    by_svd = jnp.log(jnp.linalg.svd(product, compute_uv=False)) + scale
    by_qr = log_singular_values_by_qr(factors).at[0].set(by_svd[0])  # the SVD keeps the largest
    return jnp.where(_is_mild(by_svd), by_svd, by_qr)


def log_singular_values_by_qr(factors: Float[Array, "L N N"]) -> Float[Array, " N"]:
    """The same by QR accumulation alone, for any condition.

    Over long chains of independent factors it tends to L times their Lyapunov exponents (Newman
    1986).
    """
    n = factors.shape[1]
    # A generic basis: from that of the coordinates, a factor with a column of zeros would take
    # the first direction, and with it the largest value, to 0.
    basis, _ = jnp.linalg.qr(jnp.sin(jnp.arange(n * n, dtype=factors.dtype) ** 2).reshape(n, n))
    start = basis, jnp.zeros(n, factors.dtype)

    def one(now: tuple[Array, Array], factor: Float[Array, "N N"]) -> tuple[Any, None]:
        basis, logs = now
        basis, upper = jnp.linalg.qr(factor @ basis)
        return (basis, logs + jnp.log(jnp.abs(jnp.diag(upper)))), None

    (_, logs), _ = jax.lax.scan(one, start, factors)
    return -jnp.sort(-logs)


def log_condition(factors: Float[Array, "L N N"]) -> Float[Array, ""]:
    """log10 of the condition number of a chain; infinite where a factor is singular to rounding.

    Cost: L SVDs beside `log_singular_values`.
    """
    logs = log_singular_values(factors)
    values = jnp.linalg.svd(factors, compute_uv=False)
    least = factors.shape[1] * float(jnp.finfo(factors.dtype).eps)
    singular = jnp.any(values[:, -1] <= least * values[:, 0])
    return jnp.where(singular, jnp.inf, (logs[0] - logs[-1]) / math.log(10.0))


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
    below = jax.lax.scan(lambda now, one: (one @ now, now), right.T, factors)[1]
    above = jax.lax.scan(lambda now, one: (one.T @ now, now), left, factors, reverse=True)[1]
    norms = jnp.linalg.norm(below, axis=1) * jnp.linalg.norm(above, axis=1)
    found = norms / (values * jnp.exp(scale))[None]
    return jnp.where(_is_mild(jnp.log(values)), found, jnp.nan)


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


def _is_mild(logs: Float[Array, " N"]) -> Bool[Array, ""]:
    """Whether the SVD of the product can be trusted."""
    limit = _SVD_DOUBLE if jnp.finfo(logs.dtype).bits == 64 else _SVD_SINGLE
    return (logs[0] - logs[-1]) < limit * math.log(10.0)
