"""Pathways whose singular values are bounded."""

from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check_known, check_number, check_positive_int
from gramdyn._types import Key, Scalar
from gramdyn.kernels.gram import act_gram, layer_kernel
from gramdyn.kernels.structured import diagonal_kernel, normalised_kernel, rotation_kernel
from gramdyn.models.orthogonal_pathways import Orthogonal
from gramdyn.models.pathway import AbstractPathway, check_square, entries, register_pathway


@register_pathway("spectral")
class Spectral(AbstractPathway):
    """S = c W / sigma_1(W) ("normalise"), or W min(1, c / sigma_1(W)) ("clip"): W as dense.

    Attributes:
        weight: W.
        bound: c, frozen.
        probe: Where power iteration starts, shape (N_in,), frozen; None where sigma_1 is exact.
        mode: "normalise" or "clip".
        iterations: Power steps, whose vectors the gradient takes as constants; None for exact.

    Cost: an SVD for each matrix; power steps are cheaper but find sigma_1 from below (a mean ratio
    of 0.99 after 12 at N = 32), so that S exceeds its bound by as much.
    """

    weight: Float[Array, "N N_in"]
    bound: Float[Array, ""]
    probe: Float[Array, " N_in"] | None
    mode: str = eqx.field(static=True)
    iterations: int | None = eqx.field(static=True)
    frozen: ClassVar[tuple[str, ...]] = ("bound", "probe")

    def __init__(
        self,
        n_out: int,
        n_in: int,
        *,
        key: Key,
        bound: Scalar = 1.0,
        mode: Literal["clip", "normalise"] = "clip",
        iterations: int | None = None,
        gain: Scalar = 1.0,
        dtype: Any = None,
    ) -> None:
        check_known("mode", mode, ("clip", "normalise"))
        check_number("bound", bound, above=0.0)
        own, other = jax.random.split(key)
        self.weight = entries(own, (n_out, n_in), gain * n_in**-0.5, dtype)
        self.bound = jnp.asarray(bound, self.weight.dtype)
        self.mode, self.iterations, self.probe = mode, iterations, None
        if iterations is not None:
            check_positive_int("iterations", iterations)
            self.probe = entries(other, (n_in,), 1.0, dtype)

    def matrix(self) -> Float[Array, "N N_in"]:
        """The matrix S."""
        return self._factor(self._top()) * self.weight

    def kernel(
        self, act: Float[Array, "n N_in"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """That of W with a correction of rank two; below the bound of "clip", that of W."""
        vectors = self._vectors()
        top = vectors[0] @ self.weight @ vectors[1]
        factor = self.bound / top
        found = normalised_kernel(act, sens, act @ self.weight.T / top, vectors, factor)
        if self.mode == "normalise":
            return found
        return jnp.where(top > self.bound, found, layer_kernel(act_gram(act), sens))

    def lipschitz(self) -> Float[Array, ""]:
        """c, or sigma_1(W) where that is smaller; an SVD where power steps only estimate it."""
        top = jnp.linalg.norm(self.weight, 2)
        return self._factor(top if self.probe is None else self._top()) * top

    def making_flops(self) -> int:
        """A singular value decomposition, or power steps."""
        if self.probe is not None:
            return 4 * (self.iterations or 0) * self.weight.size
        return 22 * self.weight.size * min(self.weight.shape)

    def conserved(self) -> Float[Array, " k"]:
        """|W|^2 of "normalise", whose S does not see the size of W."""
        if self.mode == "clip":
            return jnp.zeros(0, self.weight.dtype)
        return jnp.sum(self.weight**2)[None]

    def _factor(self, top: Float[Array, ""]) -> Float[Array, ""]:
        share = self.bound / top
        return share if self.mode == "normalise" else jnp.minimum(jnp.ones_like(share), share)

    def _top(self) -> Float[Array, ""]:
        """sigma_1(W), exact or u^T W v by power steps."""
        if self.probe is None:  # with its vectors, as the gradient needs it: a step has one SVD
            return jnp.linalg.svd(self.weight, full_matrices=False)[1][0]
        left, right = jax.lax.stop_gradient(self._vectors())
        return left @ self.weight @ right

    def _vectors(self) -> tuple[Float[Array, " N"], Float[Array, " N_in"]]:
        """First left and right singular vectors of W, exact or by power steps."""
        if self.probe is None:
            left, _, right = jnp.linalg.svd(self.weight, full_matrices=False)
            return left[:, 0], right[0]
        right = self.probe
        for _ in range(self.iterations or 0):
            left = _unit(self.weight @ right)
            right = _unit(self.weight.T @ left)
        return left, right


def _unit(vector: Float[Array, " N"]) -> Float[Array, " N"]:
    return vector / jnp.linalg.norm(vector)


@register_pathway("svd")
class BoundedSVD(AbstractPathway):
    """S = O_U diag(s) O_V^T, s = low + (high - low) sigmoid(rho): rho = 0, two Cayley factors.

    Attributes:
        left: O_U.
        right: O_V.
        level: rho.
        low: Lower bound of the singular values, frozen.
        high: Upper bound, frozen.
    """

    left: Orthogonal
    right: Orthogonal
    level: Float[Array, " N"]
    low: Float[Array, ""]
    high: Float[Array, ""]
    frozen: ClassVar[tuple[str, ...]] = (
        *(f"{side}.{name}" for side in ("left", "right") for name in Orthogonal.frozen),
        *("low", "high"),
    )

    def __init__(
        self,
        n_out: int,
        n_in: int,
        *,
        key: Key,
        low: Scalar = 0.5,
        high: Scalar = 1.5,
        dtype: Any = None,
    ) -> None:
        size = check_square(n_out, n_in)
        check_number("low", low, least=0.0)
        check_number("high", high, above=low if isinstance(low, int | float) else 0.0)
        keys = jax.random.split(key)
        self.left = Orthogonal(size, size, key=keys[0], dtype=dtype)
        self.right = Orthogonal(size, size, key=keys[1], dtype=dtype)
        self.level = jnp.zeros(size, self.left.frame.dtype)
        self.low, self.high = (jnp.asarray(one, self.level.dtype) for one in (low, high))

    def ready(self) -> "BoundedSVD":
        """Itself with both orthogonal matrices ready."""
        sides = lambda own: (own.left, own.right)  # noqa: E731
        return eqx.tree_at(sides, self, tuple(one.ready() for one in sides(self)))

    def singular_values(self) -> Float[Array, " N"]:
        """The singular values s, in the order of the columns of O_U."""
        return self.low + (self.high - self.low) * jax.nn.sigmoid(self.level)

    def matrix(self) -> Float[Array, "N N"]:
        """The matrix S."""
        return (self.left.matrix() * self.singular_values()[None]) @ self.right.matrix().T

    def kernel(
        self, act: Float[Array, "n N"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """The orthogonal rule twice, and the Gram of s'(rho) * (D U) * (H V)."""
        values = self.singular_values()
        turned, pulled = self.right.pull(act[:, None, :])[:, 0], self.left.pull(sens)
        by_left = self.left.kernel(turned * values[None], sens)
        # O_V is met from behind: h stands where a sensitivity would, which the rule does not mind.
        behind = self.right.entering(pulled * values[None, None])
        by_right = rotation_kernel(self.right.leaving(act), behind)
        share = jax.nn.sigmoid(self.level)
        slope = (self.high - self.low) * share * (1 - share)
        return by_left + by_right + diagonal_kernel(turned, pulled * slope[None, None])

    def making_flops(self) -> int:
        """Of both orthogonal matrices, and of their product."""
        sides = self.left.making_flops() + self.right.making_flops()
        return sides + 6 * self.level.shape[0] ** 3

    def lipschitz(self) -> Float[Array, ""]:
        """The largest singular value."""
        return jnp.max(self.singular_values())
