"""Eigenvalues of kernels: the largest few without a decomposition, or all of them."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Shaped

from gramdyn._checks import check, check_positive_int

# Products between two Rayleigh-Ritz steps, and Ritz vectors kept beyond those asked for.
# Measured on kernels of ReLU networks, 32 to 512 samples: 8 + 4 is within 15 % of the best of
# eight pairs in either precision, and a short cycle stops early on the kernels of upper layers.
_CYCLE = 8
_KEPT_BEYOND = 3
# A residual this small beside the largest eigenvalue ends the iteration.
_TOLERANCE_SINGLE = 3e-5
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
    end comes when every wanted Ritz pair has |K u - theta u| <= tol theta_1, with tol = 3e-5 in
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


def _restarted_lanczos(
    apply: Callable[[Float[Array, " m"]], Float[Array, " m"]],
    size: int,
    dtype: DTypeLike,
    n_top: int,
    n_iter: int | None,
    scale: Float[Array, ""] | None,
) -> Float[Array, "{n_top}"]:
    n_cycle, n_kept = _sizes(n_top)
    n_basis = n_kept + n_cycle
    n_iter = 8 * size if n_iter is None else check_positive_int("n_iter", n_iter)
    max_cycles = -(-n_iter // n_cycle)
    info = jnp.finfo(dtype)
    tolerance = _TOLERANCE_DOUBLE if info.eps < 1e-10 else _TOLERANCE_SINGLE
    start = _generic(size, 0, dtype)
    start = start * lax.rsqrt(_product(start, start))
    if scale is None:
        scale = jnp.max(jnp.abs(apply(start)))
    scale = jnp.where(scale == 0, jnp.ones_like(scale), scale)
    spark = jnp.asarray(4 * float(info.eps) / size**0.5, dtype)

    def step(i: Int[Array, ""], state: tuple[Array, ...]) -> tuple[Array, ...]:
        # Every read of `basis` comes before its update, so that the loop updates it in place.
        basis, projected, vector, _ = state
        new = apply(vector) / scale
        overlap = _product(basis, new)
        projected = lax.dynamic_update_slice(projected, overlap[None], (i + n_kept, 0))
        new = new - _product(overlap, basis) + _generic(size, i + 1, dtype) * spark
        # Twice more: after a cancellation down to rounding a single pass loses digits in each step,
        # and the eigenvalue of the identity came out as 500.
        new = lax.fori_loop(0, 2, lambda _, x: x - _product(_product(basis, x), basis), new)
        square = _product(new, new)
        vector = new * lax.rsqrt(square)
        basis = lax.dynamic_update_slice(basis, vector[None], (i + n_kept + 1, 0))
        return basis, projected, vector, square

    def cycle(state: tuple[Array, ...]) -> tuple[Array, ...]:
        basis, projected, vector, before, _, count = state
        zero = jnp.zeros((), dtype)
        basis, projected, vector, square = lax.fori_loop(
            0, n_cycle, step, (basis, projected, vector, zero)
        )
        # Row j holds the overlaps with rows up to j; rows not yet filled are zero and add zeros at
        # the lower end.
        ritz, turn = jnp.linalg.eigh(projected[:, :n_basis], symmetrize_input=False)
        top = jnp.where(jnp.isfinite(square), ritz[-n_top:], jnp.nan)
        residual = jnp.max(jnp.abs(turn[-1, -n_top:])) * jnp.sqrt(square)
        # False for NaN, which ends the loop.
        unfinished = residual > tolerance * top[-1]
        if n_top > 1:
            unfinished |= jnp.any(top - before > tolerance * top[-1])
        basis = jnp.concatenate(
            [
                _product(turn[:, -n_kept:].T, basis[:n_basis]),
                vector[None],
                jnp.zeros((n_cycle, size), dtype),
            ]
        )
        projected = jnp.pad(jnp.diag(ritz[-n_kept:]), ((0, n_cycle), (0, n_cycle + 1)))
        return basis, projected, vector, top, unfinished, count + 1

    def goes_on(state: tuple[Array, ...]) -> Bool[Array, ""]:
        return state[4] & (state[5] < max_cycles)

    state: tuple[Array, ...] = (
        jnp.pad(start[None], ((n_kept, n_cycle), (0, 0))),
        jnp.zeros((n_basis, n_basis + 1), dtype),
        start,
        jnp.zeros(n_top, dtype),
        jnp.asarray(True),
        jnp.zeros((), jnp.int32),
    )
    return lax.while_loop(goes_on, cycle, state)[3][::-1] * scale


def _product(left: Shaped[Array, "..."], right: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    return jnp.matmul(left, right, precision=lax.Precision.HIGHEST)


def _generic(size: int, tone: int | Int[Array, ""], dtype: DTypeLike) -> Float[Array, "{size}"]:
    """Numbers in [-1, 1), a quadratic Weyl sequence that differs for every `tone`."""
    position = lax.iota(jnp.uint32, size) + jnp.uint32(1)
    golden = jnp.uint32(2654435769)
    phase = position * (position + jnp.asarray(tone).astype(jnp.uint32)) * golden
    return lax.bitcast_convert_type(phase, jnp.int32).astype(dtype) * jnp.asarray(2.0**-31, dtype)
