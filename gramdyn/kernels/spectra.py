"""Eigenvalues of kernels: the largest few without a decomposition, or all of them."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Shaped

from gramdyn._checks import check, check_positive_int

# Products between two Rayleigh-Ritz steps, and Ritz vectors kept beyond those asked for.
# Measured on kernels of ReLU networks, 32 to 512 samples: 8 + 4 is within 15 % of the best of
# eight pairs in either precision, and a short cycle stops early on the kernels of upper layers.
_CYCLE = 8
_KEPT_BEYOND = 3
# A residual this small beside the largest eigenvalue ends the iteration.
_TOLERANCE_SINGLE = 1e-4
_TOLERANCE_DOUBLE = 1e-8


def top_eigenvalues(
    matrix: Float[Array, "m m"], n_top: int = 1, *, n_iter: int | None = None
) -> Float[Array, "{n_top}"]:
    """Largest eigenvalues of a symmetric positive semidefinite matrix, without decomposing it.

    Thick-restart Lanczos, as `top_eigenvalues_of`; below 2 (n_top + 3 + max(8, n_top)) rows
    (24 for the largest eigenvalue alone) the dense `spectrum` is as fast and is used instead.

    Args:
        matrix: Symmetric positive semidefinite matrix, shape (m, m); negative rounding is harmless.
            Entries may be of any size whose products with m stay finite.
        n_top: Number of eigenvalues, 1 to m.
        n_iter: Limit on the products with the matrix, rounded up to whole cycles of max(8, n_top);
            8 m unless given.

    Returns:
        Eigenvalues in descending order, with multiplicity, shape (n_top,); all NaN if the matrix
        holds anything that is not finite.

    Raises:
        InputError: `n_top` is not between 1 and m, or `n_iter` is not a positive whole number.

    Cost: 8 to about 50 products of 2 m^2 operations for the kernel of a ReLU network in float32,
        half as many again in float64, and 12 (n_top + 4 + max(8, n_top)) m operations with each.
    Source: K. Wu, H. Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems,
        SIAM J. Matrix Anal. Appl. 22 (2000).
    """
    size = matrix.shape[-1]
    if _is_small(size, n_top):
        return spectrum(matrix)[:n_top]
    # The largest entry of a semidefinite matrix lies on its diagonal.
    scale = jnp.max(jnp.abs(jnp.diagonal(matrix)))
    return _restarted_lanczos(
        lambda vector: _product(matrix, vector), size, matrix.dtype, n_top, n_iter, scale
    )


def top_eigenvalues_of(
    apply: Callable[[Float[Array, " m"]], Float[Array, " m"]],
    size: int,
    dtype: DTypeLike,
    n_top: int = 1,
    *,
    n_iter: int | None = None,
    scale: Float[Array, ""] | None = None,
) -> Float[Array, "{n_top}"]:
    """Largest eigenvalues of a symmetric positive semidefinite operator given by its product.

    Every Lanczos vector is orthogonalised three times against the whole basis, the projected matrix
    is taken from the same products, and a cycle restarts from the best n_top + 3 Ritz vectors. The
    end comes when every wanted Ritz pair has |K u - theta u| <= tol theta_1, with tol = 1e-4 in
    float32 and 1e-8 in float64. Each value is then that close to an eigenvalue, and as a rule much
    closer, because its error is the squared residual over the gap. For n_top > 1 a cycle that
    raises none of the values must follow, because copies of a multiple eigenvalue arrive one by
    one. No value exceeds the true one by more than rounding. Where n_iter ends the iteration first,
    the last Ritz values are returned.

    The start is a fixed quadratic Weyl sequence, (i + 1)^2 times the golden ratio modulo 1, moved
    to [-1, 1): no key, no symmetry. Another such sequence of length 4 eps joins each new direction.
    Where the Krylov space is exhausted (rank one, identity, zero) it alone goes on, so nothing is
    divided by zero and multiple eigenvalues are found.

    Works under `jit`, `vmap`, `lax.map` and in loops; under `vmap` all wait for the slowest. Not
    differentiable in reverse mode.

    Args:
        apply: Maps a vector of shape (m,) to the product, shape (m,), same dtype. Ask for highest
            matrix precision inside it where the device has a lower default.
        size: m.
        dtype: float32 or float64.
        n_top: Number of eigenvalues, 1 to m.
        n_iter: Limit on the products, rounded up to whole cycles of max(8, n_top); 8 m unless
            given.
        scale: A positive number by which products are divided, for instance the largest diagonal
            entry: between the largest eigenvalue and a millionth of it is near enough. Unless
            given, it is found with one more product.

    Returns:
        Eigenvalues in descending order, shape (n_top,); all NaN if a product is not finite.

    Raises:
        InputError: `n_top` is not between 1 and m, or `n_iter` is not a positive whole number.

    Cost: As many products as it takes, 8 at least; (n_top + 4 + max(8, n_top)) m numbers kept.
    Source: As `top_eigenvalues`.
    """
    if _is_small(size, n_top):
        return spectrum(lax.map(apply, jnp.eye(size, dtype=dtype)))[:n_top]
    return _restarted_lanczos(apply, size, dtype, n_top, n_iter, scale)


def spectrum(matrix: Float[Array, "m m"]) -> Float[Array, " m"]:
    """All eigenvalues of a symmetric matrix.

    Args:
        matrix: Symmetric matrix, shape (m, m).

    Returns:
        Eigenvalues in descending order, shape (m,); all NaN if the matrix holds anything that is
        not finite.

    Cost: About 4/3 m^3 operations, at a small part of the rate of a matrix product.
    """
    eigenvalues = jnp.linalg.eigvalsh(matrix)[::-1]
    return jnp.where(jnp.all(jnp.isfinite(matrix)), eigenvalues, jnp.nan)


def _sizes(n_top: int) -> tuple[int, int]:
    """Products a cycle, and Ritz vectors kept."""
    return max(_CYCLE, n_top), n_top + _KEPT_BEYOND


def _is_small(size: int, n_top: int) -> bool:
    """Whether the basis would hold half of the space or more."""
    check_positive_int("n_top", n_top)
    check(n_top <= size, "n_top", f"be at most the matrix size {size}", n_top)
    return size < 2 * sum(_sizes(n_top))


class _Lanczos(NamedTuple):
    """What stays fixed during an iteration.

    Attributes:
        apply: The operator, divided by its scale.
        size: Rows of the operator.
        n_top: Eigenvalues wanted.
        n_cycle: Products between two Rayleigh-Ritz steps.
        n_kept: Ritz vectors kept at a restart.
        spark: Length of what joins each new direction.
        tolerance: Residual, beside the largest eigenvalue, that ends the iteration.
    """

    apply: Callable[[Array], Array]
    size: int
    n_top: int
    n_cycle: int
    n_kept: int
    spark: Array
    tolerance: float

    @property
    def n_basis(self) -> int:
        """Vectors of the projected problem."""
        return self.n_kept + self.n_cycle


class _Ritz(NamedTuple):
    """Where the iteration stands at a restart.

    Attributes:
        basis: Ritz vectors kept, the next direction, and room for a cycle, (n_basis + 1, m).
        projected: Overlaps of the basis with the products, (n_basis, n_basis + 1).
        vector: The next direction, (m,).
        top: Wanted Ritz values, ascending.
        unfinished: Whether a residual or a gain was too large.
        cycles: Cycles so far.
    """

    basis: Array
    projected: Array
    vector: Array
    top: Array
    unfinished: Array
    cycles: Array


def _restarted_lanczos(
    apply: Callable[[Float[Array, " m"]], Float[Array, " m"]],
    size: int,
    dtype: DTypeLike,
    n_top: int,
    n_iter: int | None,
    scale: Float[Array, ""] | None,
) -> Float[Array, "{n_top}"]:
    n_cycle, n_kept = _sizes(n_top)
    n_iter = 8 * size if n_iter is None else check_positive_int("n_iter", n_iter)
    max_cycles = -(-n_iter // n_cycle)
    start = _generic(size, 0, dtype)
    start = start * lax.rsqrt(_product(start, start))
    if scale is None:
        scale = jnp.max(jnp.abs(apply(start)))
    scale = jnp.where(scale == 0, jnp.ones_like(scale), scale)
    eps = float(jnp.finfo(dtype).eps)
    fixed = _Lanczos(
        lambda vector: apply(vector) / scale,
        *(size, n_top, n_cycle, n_kept),
        jnp.asarray(4 * eps / size**0.5, dtype),
        _TOLERANCE_DOUBLE if eps < 1e-10 else _TOLERANCE_SINGLE,
    )
    state = _Ritz(
        jnp.pad(start[None], ((n_kept, n_cycle), (0, 0))),
        jnp.zeros((fixed.n_basis, fixed.n_basis + 1), dtype),
        start,
        jnp.zeros(n_top, dtype),
        jnp.asarray(True),
        jnp.zeros((), jnp.int32),
    )
    end = lax.while_loop(
        lambda now: now.unfinished & (now.cycles < max_cycles),
        lambda now: _cycle(fixed, now),
        state,
    )
    return end.top[::-1] * scale


def _cycle(fixed: _Lanczos, state: _Ritz) -> _Ritz:
    """As many products as a cycle has, then a Rayleigh-Ritz step and a restart from the best."""
    n_top, n_kept, n_cycle = fixed.n_top, fixed.n_kept, fixed.n_cycle
    dtype = state.vector.dtype
    basis, projected, vector, square = lax.fori_loop(
        0,
        n_cycle,
        lambda i, carry: _step(fixed, i, carry),
        (state.basis, state.projected, state.vector, jnp.zeros((), dtype)),
    )
    # Row j holds the overlaps with rows up to j; rows not yet filled are zero and add zeros at
    # the lower end.
    ritz, turn = jnp.linalg.eigh(projected[:, : fixed.n_basis], symmetrize_input=False)
    top = jnp.where(jnp.isfinite(square), ritz[-n_top:], jnp.nan)
    residual = jnp.max(jnp.abs(turn[-1, -n_top:])) * jnp.sqrt(square)
    # False for NaN, which ends the loop.
    unfinished = residual > fixed.tolerance * top[-1]
    if n_top > 1:
        unfinished |= jnp.any(top - state.top > fixed.tolerance * top[-1])
    kept = _product(turn[:, -n_kept:].T, basis[: fixed.n_basis])
    room = jnp.zeros((n_cycle, fixed.size), dtype)
    return _Ritz(
        jnp.concatenate([kept, vector[None], room]),
        jnp.pad(jnp.diag(ritz[-n_kept:]), ((0, n_cycle), (0, n_cycle + 1))),
        vector,
        top,
        unfinished,
        state.cycles + 1,
    )


def _step(fixed: _Lanczos, i: Int[Array, ""], state: tuple[Array, ...]) -> tuple[Array, ...]:
    """One product, orthogonalised against the basis."""
    # Every read of `basis` comes before its update, so that the loop updates it in place.
    basis, projected, vector, _ = state
    new = fixed.apply(vector)
    overlap = _product(basis, new)
    projected = lax.dynamic_update_slice(projected, overlap[None], (i + fixed.n_kept, 0))
    spark = _generic(fixed.size, i + 1, new.dtype) * fixed.spark
    new = new - _product(overlap, basis) + spark
    # Twice more: after a cancellation down to rounding a single pass loses digits in each step,
    # and the eigenvalue of the identity came out as 500.
    new = lax.fori_loop(0, 2, lambda _, x: x - _product(_product(basis, x), basis), new)
    square = _product(new, new)
    vector = new * lax.rsqrt(square)
    basis = lax.dynamic_update_slice(basis, vector[None], (i + fixed.n_kept + 1, 0))
    return basis, projected, vector, square


def _product(left: Shaped[Array, "..."], right: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    return jnp.matmul(left, right, precision=lax.Precision.HIGHEST)


def _generic(size: int, tone: int | Int[Array, ""], dtype: DTypeLike) -> Float[Array, "{size}"]:
    """Numbers in [-1, 1), a quadratic Weyl sequence that differs for every `tone`."""
    position = lax.iota(jnp.uint32, size) + jnp.uint32(1)
    golden = jnp.uint32(2654435769)
    phase = position * (position + jnp.asarray(tone).astype(jnp.uint32)) * golden
    return lax.bitcast_convert_type(phase, jnp.int32).astype(dtype) * jnp.asarray(2.0**-31, dtype)
