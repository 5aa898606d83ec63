"""Pathways on the orthogonal group: all singular values equal, whatever is learnt."""

import math
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_known, check_positive_int
from gramdyn._types import Key, Scalar
from gramdyn.kernels.structured import (
    butterfly_features,
    features_kernel,
    householder_features,
    pairs,
    rotation_kernel,
)
from gramdyn.models.pathway import (
    AbstractPathway,
    as_row,
    check_square,
    entries,
    register_pathway,
)


class Orthogonal(AbstractPathway):
    """S = gain O_0 cay(A) or gain O_0 exp(A), A antisymmetric and 0 at the start.

    cay(A) = (1 - A / 2)^{-1} (1 + A / 2), which is exp(A) to second order. A rectangular S has the
    leading rows and columns of a square one of the longer side; so with more rows than columns the
    mean square of (S h)_i is gain^2 |h|^2 / N, with fewer gain^2 |h|^2 / N_in.

    Attributes:
        generator: Entries of A below its diagonal, shape (side (side - 1) / 2,).
        frame: O_0, Haar distributed, frozen.
        gain: Factor, frozen.
        n_out: Rows of S.
        n_in: Columns of S.
        method: "cayley" or "exp".
        turn: cay(A) of these very entries once it is `ready`, None before.

    Cost: one solution of a linear system, or one exponential, of the longer side for each matrix.
    At angles of rotation far from 0 Cayley coordinates shrink what the gradient moves by
    cos^2(angle / 2), and an angle of pi is out of reach: see `recentred`.
    """

    generator: Float[Array, " p"]
    frame: Float[Array, "side side"]
    gain: Float[Array, ""]
    n_out: int = eqx.field(static=True)
    n_in: int = eqx.field(static=True)
    method: str = eqx.field(static=True)
    turn: Float[Array, "side side"] | None
    frozen: ClassVar[tuple[str, ...]] = ("frame", "gain", "turn")

    def __init__(
        self,
        n_out: int,
        n_in: int,
        *,
        key: Key,
        method: Literal["cayley", "exp"] = "cayley",
        gain: Scalar = 1.0,
        dtype: Any = None,
    ) -> None:
        check_known("method", method, ("cayley", "exp"))
        side = max(n_out, n_in)
        self.frame = haar(key, side, dtype)
        self.generator = jnp.zeros(side * (side - 1) // 2, self.frame.dtype)
        self.gain = jnp.asarray(gain, self.frame.dtype)
        self.n_out, self.n_in, self.method = n_out, n_in, method
        self.turn = None

    def ready(self) -> "Orthogonal":
        """Itself with cay(A) of its entries as they are now; with exp itself, nothing made.

        Left to the compiler, a step inside the loops of a run solves three systems for one.
        """
        if self.method == "exp":
            return self
        made = cayley(self.skew())
        return eqx.tree_at(lambda own: own.turn, self, made, is_leaf=lambda x: x is None)

    def _turn(self) -> Float[Array, "side side"]:
        """The matrix cay(A)."""
        skew = self.skew()
        return cayley(skew) if self.turn is None else cayley_at(skew, self.turn)

    def skew(self) -> Float[Array, "side side"]:
        """The antisymmetric matrix A."""
        side = self.frame.shape[0]
        place = jnp.zeros_like(self.frame).at[jnp.tril_indices(side, -1)]
        # Told unique, it is the same scatter when differentiated, and a program can merge both.
        below = place.set(self.generator, unique_indices=True)
        return below - below.T

    def rotation(self) -> Float[Array, "side side"]:
        """The orthogonal matrix, whole."""
        if self.method == "exp":
            return self.frame @ jax.scipy.linalg.expm(self.skew())
        return self.frame @ self._turn()

    def matrix(self) -> Float[Array, "N N_in"]:
        """The matrix S."""
        return self.gain * self.rotation()[: self.n_out, : self.n_in]

    def kernel(
        self, act: Float[Array, "n N_in"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """gain^2 [(Hn Hn^T) * (En En^T) - X * X^T], X = Hn En^T, in Cayley coordinates.

        Hn = H (1 - A/2)^{-T}, En = D O_0 (1 - A/2)^{-1}: at A = 0 the two are H and D O_0.
        """
        if self.method == "exp":
            return super().kernel(act, sens)
        return rotation_kernel(self.entering(act), self.leaving(sens), self.gain)

    def entering(self, rows: Float[Array, "*axes N_in"]) -> Float[Array, "*axes side"]:
        """What enters as the generator of Cayley coordinates meets it, Hn."""
        return _filled(rows, self.frame.shape[0]) @ self._resolvent().T

    def leaving(self, rows: Float[Array, "*axes N"]) -> Float[Array, "*axes side"]:
        """Sensitivities as the generator of Cayley coordinates meets them, En."""
        return _filled(rows, self.frame.shape[0]) @ self.frame @ self._resolvent()

    def _resolvent(self) -> Float[Array, "side side"]:
        """(1 - A / 2)^{-1}, which is (1 + cay(A)) / 2."""
        return half_more(self._turn())

    def lipschitz(self) -> Float[Array, ""]:
        """The gain."""
        return jnp.abs(self.gain)

    def making_flops(self) -> int:
        """A system of equations and two products; some ten products of an exponential."""
        return (20 if self.method == "exp" else 7) * self.frame.shape[0] ** 3

    def angles(self) -> Float[Array, " side"]:
        """Angles of rotation away from O_0, descending, each twice, in [0, pi]."""
        sizes = jnp.linalg.svd(self.skew(), compute_uv=False)
        if self.method == "cayley":
            return 2 * jnp.arctan(sizes / 2)
        within = jnp.abs(jnp.remainder(sizes + jnp.pi, 2 * jnp.pi) - jnp.pi)
        return -jnp.sort(-within)

    def recentred(self) -> "Orthogonal":
        """The same matrix in coordinates about itself: O_0 <- O, A <- 0."""
        return eqx.tree_at(
            lambda tree: (tree.frame, tree.generator, tree.turn),
            self,
            (self.rotation(), jnp.zeros_like(self.generator), None),
            is_leaf=lambda x: x is None,
        )


class Reflectors(AbstractPathway):
    """S = gain prod_i (1 - 2 v_i v_i^T / |v_i|^2), the product of k reflections: v_i ~ N(0, 1).

    Their product is 1 - V^T M^{-1} V with M + M^T = V V^T, M upper triangular (the compact form of
    Schreiber and Van Loan 1989): products of matrices, where one reflection after the other would
    be k steps of a loop.

    Attributes:
        vectors: v_1 to v_k, shape (k, side); the last acts first.
        gain: Factor, frozen.
        n_out: Rows of S.
        n_in: Columns of S.
    """

    vectors: Float[Array, "k side"]
    gain: Float[Array, ""]
    n_out: int = eqx.field(static=True)
    n_in: int = eqx.field(static=True)
    frozen: ClassVar[tuple[str, ...]] = ("gain",)

    def __init__(
        self,
        n_out: int,
        n_in: int,
        *,
        key: Key,
        reflectors: int | None = None,
        gain: Scalar = 1.0,
        dtype: Any = None,
    ) -> None:
        side = max(n_out, n_in)
        count = max(1, side // 2) if reflectors is None else reflectors
        check_positive_int("reflectors", count)
        self.vectors = entries(key, (count, side), 1.0, dtype)
        self.gain = jnp.asarray(gain, self.vectors.dtype)
        self.n_out, self.n_in = n_out, n_in

    def matrix(self) -> Float[Array, "N N_in"]:
        """The matrix S."""
        return self(jnp.eye(self.n_in, dtype=self.vectors.dtype)).T

    def __call__(self, act: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """The reflections, the last first."""
        found = self._reflected(_filled(act, self.vectors.shape[1]), last_first=True)
        return self.gain * found[:, : self.n_out]

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N_in"]:
        """The reflections, the first first."""
        found = self._reflected(_filled(sens, self.vectors.shape[1]), last_first=False)
        return self.gain * found[..., : self.n_in]

    def kernel(
        self, act: Float[Array, "n N_in"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """The sum of the Grams of the outputs' derivatives by each v_i."""
        size = self.vectors.shape[1]
        entering = self._before_each(_filled(act, size), last_first=True)
        leaving = self._before_each(_filled(self.gain * sens, size), last_first=False)
        features = jax.vmap(householder_features)(entering, leaving, self.vectors)
        return features_kernel([jnp.concatenate(list(features), axis=-1)])

    def lipschitz(self) -> Float[Array, ""]:
        """The gain."""
        return jnp.abs(self.gain)

    def conserved(self) -> Float[Array, " k"]:
        """|v_i|^2."""
        return jnp.sum(self.vectors**2, axis=1)

    def _taken(self, rows: Array, last_first: bool) -> Float[Array, "*axes k"]:
        """How much of each v_i the reflections take from rows, each from what the others left."""
        gram = self.vectors @ self.vectors.T
        triangle = jnp.triu(gram, 1) + jnp.diag(jnp.diag(gram)) / 2
        onto = (rows @ self.vectors.T).reshape(-1, len(gram)).T
        order = 0 if last_first else 1
        found = jax.scipy.linalg.solve_triangular(triangle, onto, trans=order)
        return found.T.reshape(*rows.shape[:-1], len(gram))

    def _reflected(self, rows: Array, *, last_first: bool) -> Float[Array, "*axes side"]:
        """Rows after all reflections."""
        return rows - self._taken(rows, last_first) @ self.vectors

    def _before_each(self, rows: Array, *, last_first: bool) -> Float[Array, "k *axes side"]:
        """Rows before each reflection."""
        taken = jnp.moveaxis(self._taken(rows, last_first), -1, 0)
        steps = taken[..., None] * jax.vmap(as_row, (0, None))(self.vectors, rows)
        return rows[None] - (jax.lax.cumsum(steps, reverse=last_first) - steps)


def _filled(rows: Float[Array, "*axes N"], size: int) -> Float[Array, "*axes side"]:
    """Rows with zeros up to a size."""
    return jnp.pad(rows, [*[(0, 0)] * (rows.ndim - 1), (0, size - rows.shape[-1])])


@register_pathway("orthogonal")
def make_orthogonal(
    n_out: int,
    n_in: int,
    *,
    key: Key,
    method: Literal["cayley", "exp", "householder"] = "cayley",
    reflectors: int | None = None,
    gain: Scalar = 1.0,
    dtype: Any = None,
) -> AbstractPathway:
    """An orthogonal matrix times a gain, in one of three coordinates.

    Args:
        n_out: Rows N.
        n_in: Columns N_in.
        key: Random key.
        method: "cayley", "exp" or "householder".
        reflectors: Reflections of "householder", half of the longer side by default.
        gain: Every singular value.
        dtype: Floating type.

    Raises:
        InputError: for an unknown method, or reflectors of another one.
    """
    check_known("method", method, ("cayley", "exp", "householder"))
    if method == "householder":
        return Reflectors(n_out, n_in, key=key, reflectors=reflectors, gain=gain, dtype=dtype)
    check(reflectors is None, "reflectors", f"be left out for method {method}", reflectors)
    return Orthogonal(n_out, n_in, key=key, method=method, gain=gain, dtype=dtype)


@register_pathway("butterfly")
class Butterfly(AbstractPathway):
    """S = gain times log2 N stages of N / 2 plane rotations, strides 1, 2, 4 and so on.

    Attributes:
        angles: Angle of each rotation, shape (log2 N, N / 2): uniform in (-pi, pi).
        gain: Factor, frozen.

    Cost: products take 3 N log2 N operations a row.
    """

    angles: Float[Array, "stages half"]
    gain: Float[Array, ""]
    frozen: ClassVar[tuple[str, ...]] = ("gain",)

    def __init__(
        self, n_out: int, n_in: int, *, key: Key, gain: Scalar = 1.0, dtype: Any = None
    ) -> None:
        size = check_square(n_out, n_in)
        stages = size.bit_length() - 1
        check(stages >= 1 and size == 2**stages, "n_in", "be a power of 2 from 2 on", size)
        dtype = jnp.zeros((), dtype).dtype
        self.angles = jax.random.uniform(key, (stages, size // 2), dtype, -math.pi, math.pi)
        self.gain = jnp.asarray(gain, dtype)

    def matrix(self) -> Float[Array, "N N"]:
        """The matrix S."""
        return self(jnp.eye(2 * self.angles.shape[1], dtype=self.angles.dtype)).T

    def __call__(self, act: Float[Array, "n N"]) -> Float[Array, "n N"]:
        """One stage after the other."""
        return self.gain * self._stages(act)[-1]

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N"]:
        """The stages turned back."""
        return self._back(self.gain * sens)[0]

    def kernel(
        self, act: Float[Array, "n N"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """The sum of the Grams of the outputs' derivatives by the angles of each stage."""
        outs, backs = self._stages(act)[1:], self._back(self.gain * sens)[1:]
        trios = enumerate(zip(outs, backs, strict=True))
        return features_kernel([butterfly_features(y, eta, 2**i) for i, (y, eta) in trios])

    def lipschitz(self) -> Float[Array, ""]:
        """The gain."""
        return jnp.abs(self.gain)

    def _stages(self, rows: Any) -> list[Any]:
        """Rows before the first stage and after each."""
        found = [rows]
        for i, angles in enumerate(self.angles):
            found.append(turned(found[-1], angles, 2**i))
        return found

    def _back(self, rows: Any) -> list[Any]:
        """Rows pulled back before the first stage and after each; the last are those given."""
        found = [rows]
        for i in reversed(range(self.angles.shape[0])):
            found.append(turned(found[-1], -self.angles[i], 2**i))
        return found[::-1]


def cayley(skew: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """(1 - A / 2)^{-1} (1 + A / 2) of an antisymmetric matrix A, which is orthogonal."""
    eye, half = jnp.eye(skew.shape[0], dtype=skew.dtype), jax.lax.stop_gradient(skew) / 2
    return cayley_at(skew, jnp.linalg.solve(eye - half, eye + half))


@jax.custom_jvp
def cayley_at(skew: Float[Array, "N N"], value: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """cay(A) where its value O is known already; a function of A alone to derivatives.

    Its derivative is (1 + O) / 2 dA (1 + O) / 2: products, where differentiating the solver would
    solve more systems (a step of four layers of width 24 takes 0.74 of the time).
    """
    return value


@cayley_at.defjvp
def _cayley_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    found = cayley_at(*primals)
    half = half_more(found)
    return found, half @ tangents[0] @ half


def half_more(matrix: Float[Array, "N N"]) -> Float[Array, "N N"]:
    """(1 + O) / 2."""
    return (matrix + jnp.eye(matrix.shape[0], dtype=matrix.dtype)) / 2


def turned(
    rows: Float[Array, "*axes N"], angles: Float[Array, " half"], stride: int
) -> Float[Array, "*axes N"]:
    """Each pair (i, i + stride) turned by its angle."""
    low, high = pairs(rows, stride)
    cos, sin = (as_row(jnp.reshape(f(angles), (-1, stride)), low) for f in (jnp.cos, jnp.sin))
    both = jnp.stack([cos * low - sin * high, sin * low + cos * high], axis=-2)
    return both.reshape(rows.shape)


def haar(key: Key, size: int, dtype: Any) -> Float[Array, "N N"]:
    """An orthogonal matrix, uniform on the group."""
    return jax.random.orthogonal(key, size, (), jnp.zeros((), dtype).dtype)
