"""Fixed points of a layer that feeds itself: the point, how fast it is reached, its derivative.

A layer with feedback is a map, and its output the point that the map leaves in place:

    T(z) = phi(S z + b(x)) + alpha R(z),    z* = T(z*),    J = T'(z*)

Every function takes the map as `step`, z -> T(z), whatever it is made of; batches of samples or of
starts are made with `jax.vmap`. Near the point the error falls by rho(J) a step, the largest size
of an eigenvalue; contraction factors (`gramdyn.kernels.contraction`) bound it from the start.

Source: derived here; equilibrium layers and their implicit derivative are those of Bai, Kolter,
Koltun (2019), the one-step derivative that of Fung et al. (2021).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from gramdyn._checks import check, check_number, check_positive_int
from gramdyn._types import Scalar

Step = Callable[[Any], Any]

# What a status says: its place here.
SOLVE_STATUSES = ("converged", "not_converged", "not_finite")


class FixedPoint(NamedTuple):
    """What an iteration came to.

    Attributes:
        point: z, the last iterate, shaped as the start; meaningless where the status says so.
        residual: |T(z) - z| over all entries, its derivative cut. Where T contracts by q, the
            distance to the fixed point is at most residual / (1 - q).
        iterations: Steps taken.
        status: Place in `SOLVE_STATUSES`: 0, the last step was shorter than the tolerance;
            1, the steps allowed did not suffice, as in cycles and chaos; 2, NaN or infinite.
    """

    point: PyTree
    residual: Float[Array, ""]
    iterations: Int[Array, ""]
    status: Int[Array, ""]

    @property
    def converged(self) -> Bool[Array, "..."]:
        """Whether the status is 0."""
        return self.status == 0


def solve_fixed_point(
    step: Step, start: PyTree, *, tol: Scalar | None = None, max_steps: int = 1000
) -> FixedPoint:
    """Iterate z <- step(z) until a step is shorter than `tol`; what went wrong is told, not raised.

    The derivative of the point by whatever `step` closes over is that of the implicit function
    theorem, forward and backward, with a dense solve; it is right only where `converged`. Under
    `jax.vmap` each row stops at its own iteration. Nothing calls the host.

    Args:
        step: The map, from an array (or a tree of arrays) to one of the same shape and dtype.
        start: z_0.
        tol: Length of a step, root of the sum of squares over all entries, above 0; None for 1e-9,
            or 100 eps sqrt(entries) where that is more, as in float32: rounding stops the steps
            from shrinking at about eps |z|.
        max_steps: Steps allowed, at least 1.

    Raises:
        InputError: `tol` is not above 0, `max_steps` is not a positive whole number.

    Cost: one call of `step` an iteration, and one more; a derivative M calls of the linearised step
        and a solve of M x M, M entries in all. For batches, map over samples.
    """
    check_number("tol", tol, above=0.0)
    flat = ravel_pytree(start)[0]
    good = jnp.issubdtype(flat.dtype, jnp.floating)
    check(good, "start", "hold floating numbers", flat.dtype)
    if tol is None:
        tol = max(1e-9, 100.0 * float(jnp.finfo(flat.dtype).eps) * float(flat.size**0.5))
    max_steps = check_positive_int("max_steps", max_steps)
    point, (iterations, ended) = lax.custom_root(
        lambda now: _move(step, now),
        start,
        lambda _, now: _picard(step, now, tol, max_steps),
        _solve_tangent,
        has_aux=True,
    )
    residual = lax.stop_gradient(_length(_move(step, point)))
    # The loop looks at the iterate before last; the residual has seen the last.
    status = jnp.where(jnp.isfinite(residual), jnp.where(ended > 0, 0, 1), 2)
    return FixedPoint(point, residual, iterations.astype(int), status)


def _picard(
    step: Step, start: PyTree, tol: Scalar, max_steps: int
) -> tuple[PyTree, tuple[Float[Array, ""], Float[Array, ""]]]:
    """The last iterate, with (steps taken, 1 if the last was short enough else 0)."""
    dtype = ravel_pytree(start)[0].dtype
    limit = jnp.asarray(tol, dtype)

    def goes_on(now: tuple[PyTree, Int[Array, ""], Float[Array, ""]]) -> Bool[Array, ""]:
        _, steps, length = now
        return (steps < max_steps) & (length >= limit)  # NaN ends it

    def once(
        now: tuple[PyTree, Int[Array, ""], Float[Array, ""]],
    ) -> tuple[PyTree, Int[Array, ""], Float[Array, ""]]:
        after = step(now[0])
        return after, now[1] + 1, _length(jax.tree.map(jnp.subtract, after, now[0]))

    first = (start, jnp.zeros((), int), jnp.asarray(jnp.inf, dtype))
    point, steps, length = lax.while_loop(goes_on, once, first)
    # floats, since the derivative of custom_root refuses integers beside the root
    return point, (steps.astype(float), (length < limit).astype(float))


def _solve_tangent(linear: Step, side: PyTree) -> PyTree:
    """Solve linear(v) = side, the linear map written out."""
    flat, restore = ravel_pytree(side)
    basis = jnp.eye(flat.size, dtype=flat.dtype)
    columns = jax.vmap(lambda one: ravel_pytree(linear(restore(one)))[0])(basis)
    return restore(jnp.linalg.solve(columns.T, flat))


def _move(step: Step, now: PyTree) -> PyTree:
    return jax.tree.map(jnp.subtract, step(now), now)


def _length(tree: PyTree) -> Float[Array, ""]:
    return jnp.linalg.norm(ravel_pytree(tree)[0])


def iterate(step: Step, start: PyTree, n_steps: int) -> PyTree:
    """The iterates z_0 .. z_n of z <- step(z), on a new first axis of n_steps + 1."""

    def one(now: PyTree, _: None) -> tuple[PyTree, PyTree]:
        after = step(now)
        return after, after

    _, rest = lax.scan(one, start, None, length=check_positive_int("n_steps", n_steps))
    return jax.tree.map(lambda first, more: jnp.concatenate([first[None], more]), start, rest)


def distances(history: PyTree, point: PyTree) -> Float[Array, " T"]:
    """|z_k - z| of each iterate from a point, the root of the sum of squares over all entries."""
    return jax.vmap(lambda now: _length(jax.tree.map(jnp.subtract, now, point)))(history)


def measured_rate(
    errors: Float[Array, " T"], *, upper: Scalar = 1e-3, lower: Scalar = 1e-11
) -> Float[Array, ""]:
    """Factor by which errors fall a step: exp of the slope of a line through their logarithms.

    The line is fitted by least squares from `upper` to `lower` times the first error: later than
    the start, where directions that die soon still count, and above rounding. Complex pairs of
    eigenvalues make ratios of neighbours swing; a line averages that out.

    Args:
        errors: |z_k - z*|, k = 0, 1, ..; z* must be known to better than `lower`.
        upper: Where the fit begins.
        lower: Where it ends; float32 wants 1e-5.

    Returns:
        NaN where fewer than two errors lie between.
    """
    inside = (errors <= upper * errors[0]) & (errors >= lower * errors[0]) & (errors > 0)
    logs = jnp.log(jnp.where(inside, errors, 1.0))
    times = jnp.arange(len(errors), dtype=errors.dtype)
    count = jnp.sum(inside, dtype=errors.dtype)
    centred = jnp.where(inside, times - jnp.sum(times, where=inside) / count, 0.0)
    return jnp.exp(jnp.sum(centred * logs) / jnp.sum(centred**2))


def jacobian_at(step: Step, point: Float[Array, "*axes"]) -> Float[Array, "M M"]:
    """T'(z) as a matrix, the entries of z in one row; for the local law z must be z*.

    Cost: M calls of the linearised step, M entries.
    """
    _, linear = jax.linearize(step, point)
    basis = jnp.eye(point.size, dtype=point.dtype).reshape(point.size, *point.shape)
    return jax.vmap(linear)(basis).reshape(point.size, point.size).T


class LocalRates(NamedTuple):
    """How a map contracts near its fixed point: radius <= norm <= any contraction factor.

    Attributes:
        radius: rho(J), the factor by which errors fall in the long run.
        norm: sigma_1(J), the largest factor of a single step.
    """

    radius: Float[Array, ""]
    norm: Float[Array, ""]


def local_rates(step: Step, point: Float[Array, "*axes"]) -> LocalRates:
    """Spectral radius and largest singular value of T'(z), both from the matrix.

    Cost: `jacobian_at`, and two decompositions. Eigenvalues of matrices that are not symmetric
        are computed on the host whatever the device; JAX promises them on CPU only.
    """
    jacobian = jacobian_at(step, point)
    radius = jnp.max(jnp.abs(jnp.linalg.eigvals(jacobian)))
    return LocalRates(radius, jnp.linalg.norm(jacobian, 2))


def implicit_adjoint(
    step: Step, point: Float[Array, "*axes"], rows: Float[Array, "C *axes"]
) -> Float[Array, "C *axes"]:
    """Derivatives by z* carried to T: w = (1 - J^T)^{-1} g for each row, by a direct solve.

    With g = df/dz* the derivative of f by anything in T is w^T dT/dtheta. In particular
    phi'(pre) * w is the sensitivity of the layer, and the kernels of layers hold with it. It needs
    no contraction, only that 1 - J be regular.

    Args:
        step: The map T.
        point: z*.
        rows: g, one a row, each shaped as the point.

    Cost: M calls of the linearised step and a solve of M x M; from about M = 512 on
        `iterate_adjoint` is cheaper.
    """
    system = jnp.eye(point.size, dtype=point.dtype) - jacobian_at(step, point)
    flat = rows.reshape(len(rows), point.size)
    return jnp.linalg.solve(system.T, flat.T).T.reshape(rows.shape)


def iterate_adjoint(
    step: Step,
    point: Float[Array, "*axes"],
    rows: Float[Array, "C *axes"],
    *,
    tol: Scalar = 1e-12,
    max_steps: int = 1000,
) -> FixedPoint:
    """The same rows by w <- g + J^T w from w = g, no matrix formed.

    It converges where rho(J) < 1, at that rate. Where the plain map does not contract, give a
    splitting (`gramdyn.kernels.splitting`) as `step`: its derivatives at z* are the same.

    Args:
        step: The map T.
        point: z*.
        rows: g, one a row, each shaped as the point.
        tol: Length of the last step beside |g|, above 0.
        max_steps: Steps allowed.

    Returns:
        A `FixedPoint` whose fields have a first axis C: w and, for each row, how it was reached.
        The error after K steps is at most `adjoint_bound(q, |g|, K)`.

    Raises:
        InputError: as `solve_fixed_point`.

    Cost: one vector-Jacobian product of `step` a row and iteration.
    """
    check_number("tol", tol, above=0.0)
    _, pull = jax.vjp(step, point)

    def of_row(row: Float[Array, "*axes"]) -> FixedPoint:
        length = _length(row)
        scale = jnp.where(length > 0, length, 1.0)
        return solve_fixed_point(
            lambda now: row + pull(now)[0], row, tol=tol * scale, max_steps=max_steps
        )

    return jax.vmap(of_row)(rows)


def one_step_cosine(
    step: Callable[[Any, Any], Any],
    params: PyTree,
    point: Float[Array, "*axes"],
    row: Float[Array, "*axes"],
) -> Float[Array, ""]:
    """Cosine between the derivative by parameters and the one-step derivative, w replaced by g.

    Args:
        step: (params, z) -> T(z).
        params: Tree of arrays.
        point: z*.
        row: g = df/dz*, shaped as the point.

    Returns:
        In [-1, 1]; NaN where either derivative vanishes.

    Cost: `implicit_adjoint` of one row and two vector-Jacobian products.
    """
    weight = implicit_adjoint(lambda now: step(params, now), point, row[None])[0]
    _, pull = jax.vjp(lambda given: step(given, point), params)
    exact, cheap = (ravel_pytree(pull(one)[0])[0] for one in (weight, row))
    return (exact @ cheap) / (jnp.linalg.norm(exact) * jnp.linalg.norm(cheap))
