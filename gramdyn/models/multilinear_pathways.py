"""Pathways that are linear, or bilinear, in their parameters.

Initial laws make the mean square of (S h)_i equal to gain^2 |h|^2 / N_in unless told otherwise.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gramdyn._checks import check, check_number, check_positive_int
from gramdyn._types import Key, Scalar
from gramdyn.kernels.field_laws import learnt_conjugate
from gramdyn.kernels.gram import act_gram, cross_gram, layer_kernel
from gramdyn.kernels.structured import (
    block_kernel,
    diagonal_kernel,
    low_rank_kernel,
    monotone_kernel,
    shaped_kernel,
)
from gramdyn.kernels.structured_laws import (
    diagonal_conjugate,
    diagonal_forward,
    low_rank_conjugate,
    low_rank_forward,
)
from gramdyn.models.pathway import AbstractPathway, check_square, entries, register_pathway


@register_pathway("dense")
class DensePathway(AbstractPathway):
    """S = W, every entry free: N(0, gain^2 / N_in)."""

    weight: Float[Array, "N N_in"]

    def __init__(
        self, n_out: int, n_in: int, *, key: Key, gain: Scalar = 1.0, dtype: Any = None
    ) -> None:
        self.weight = entries(key, (n_out, n_in), gain * n_in**-0.5, dtype)

    def matrix(self) -> Float[Array, "N N_in"]:
        """W."""
        return self.weight

    def kernel(
        self, act: Float[Array, "n N_in"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """(H H^T) * (D D^T)."""
        return layer_kernel(act_gram(act), sens)

    def learn_pre(
        self, after: Float[Array, "n N_in"], act: Float[Array, "n N_in"], drive: Float[Array, "n N"]
    ) -> Float[Array, "n N"]:
        """H' H^T drive."""
        return cross_gram(after, act) @ drive

    def learn_conj(
        self, sens: Float[Array, "n C N"], act: Float[Array, "n N_in"], drive: Float[Array, "n N"]
    ) -> Float[Array, "n C N_in"]:
        """(delta . drive) h."""
        return learnt_conjugate(sens, drive, act)


@register_pathway("identity")
class Identity(AbstractPathway):
    """S = 1, nothing trained."""

    size: int = eqx.field(static=True)
    dtype: str = eqx.field(static=True)

    def __init__(self, n_out: int, n_in: int, *, key: Key | None = None, dtype: Any = None) -> None:
        self.size = check_square(n_out, n_in)
        self.dtype = str(jnp.zeros((), dtype).dtype)

    def matrix(self) -> Float[Array, "N N"]:
        """The identity."""
        return jnp.eye(self.size, dtype=self.dtype)

    def __call__(self, act: Float[Array, "n N"]) -> Float[Array, "n N"]:
        """What enters, as it is."""
        return act

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N"]:
        """The sensitivities, as they are."""
        return sens

    def kernel(
        self, act: Float[Array, "n N"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """Zero."""
        return jnp.zeros((*sens.shape[:2], *sens.shape[:2]), sens.dtype)

    def lipschitz(self) -> Float[Array, ""]:
        """1."""
        return jnp.ones((), self.dtype)


@register_pathway("diagonal")
class Diagonal(AbstractPathway):
    """S = diag(d), d = gain times a random sign."""

    diagonal: Float[Array, " N"]

    def __init__(
        self, n_out: int, n_in: int, *, key: Key, gain: Scalar = 1.0, dtype: Any = None
    ) -> None:
        self.diagonal = signs(key, check_square(n_out, n_in), gain, dtype)

    def matrix(self) -> Float[Array, "N N"]:
        """The diagonal matrix."""
        return jnp.diag(self.diagonal)

    def __call__(self, act: Float[Array, "n N"]) -> Float[Array, "n N"]:
        """The product d h."""
        return act * self.diagonal[None]

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N"]:
        """The product d delta."""
        return sens * self.diagonal[None, None]

    def kernel(
        self, act: Float[Array, "n N"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """(H * D)(H * D)^T."""
        return diagonal_kernel(act, sens)

    def lipschitz(self) -> Float[Array, ""]:
        """Max |d|."""
        return jnp.max(jnp.abs(self.diagonal))

    def learn_pre(
        self, after: Float[Array, "n N"], act: Float[Array, "n N"], drive: Float[Array, "n N"]
    ) -> Float[Array, "n N"]:
        """H' sum_nu h drive."""
        return diagonal_forward(after, act, drive)

    def learn_conj(
        self, sens: Float[Array, "n C N"], act: Float[Array, "n N"], drive: Float[Array, "n N"]
    ) -> Float[Array, "n C N"]:
        """Delta sum_nu h drive."""
        return diagonal_conjugate(sens, act, drive)


@register_pathway("block")
class BlockDiagonal(AbstractPathway):
    """S = blockdiag(W_1 .. W_B) P, a permutation P frozen: entries N(0, gain^2 B / N_in).

    Attributes:
        weight: The blocks, shape (B, N / B, N_in / B).
        order: Which input stands where before the blocks, shape (N_in,), frozen.
    """

    weight: Float[Array, "B o i"]
    order: Int[Array, " N_in"]
    frozen: ClassVar[tuple[str, ...]] = ("order",)

    def __init__(
        self,
        n_out: int,
        n_in: int,
        *,
        key: Key,
        blocks: int = 4,
        permute: bool = True,
        gain: Scalar = 1.0,
        dtype: Any = None,
    ) -> None:
        check_positive_int("blocks", blocks)
        fits = n_out % blocks == 0 and n_in % blocks == 0
        check(fits, "blocks", f"divide {n_in} inputs and {n_out} outputs", blocks)
        own, other = jax.random.split(key)
        shape, std = (blocks, n_out // blocks, n_in // blocks), gain * (blocks / n_in) ** 0.5
        self.weight = entries(own, shape, std, dtype)
        self.order = jax.random.permutation(other, n_in) if permute else jnp.arange(n_in)

    def matrix(self) -> Float[Array, "N N_in"]:
        """The blocks on their places."""
        blocks, rows, columns = self.weight.shape
        eye = jnp.eye(blocks, dtype=self.weight.dtype)
        whole = jnp.einsum("boi,bB->boBi", self.weight, eye)
        whole = whole.reshape(blocks * rows, blocks * columns)
        return jnp.zeros_like(whole).at[:, self.order].set(whole)

    def __call__(self, act: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """Each block on its own inputs."""
        entering = act[:, self.order].reshape(len(act), self.weight.shape[0], -1)
        return jnp.einsum("boi,nbi->nbo", self.weight, entering).reshape(len(act), -1)

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N_in"]:
        """Each block's own, put back in their order."""
        leaving = sens.reshape(*sens.shape[:2], self.weight.shape[0], -1)
        found = jnp.einsum("boi,ncbo->ncbi", self.weight, leaving).reshape(*sens.shape[:2], -1)
        return jnp.zeros_like(found).at[..., self.order].set(found)

    def kernel(
        self, act: Float[Array, "n N_in"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """Sum over blocks of (H_b H_b^T) * (D_b D_b^T)."""
        return block_kernel(act[:, self.order], sens, self.weight.shape[0])

    def lipschitz(self) -> Float[Array, ""]:
        """The largest over blocks."""
        return jnp.max(jnp.linalg.svd(self.weight, compute_uv=False))


class LowRank(AbstractPathway):
    """S = U V^T, or diag(d) + U V^T: entries N(0, gain^2 / k), N(0, 1 / N_in).

    With the diagonal, d is gain / sqrt 2 times a random sign and U has half the variance.
    """

    left: Float[Array, "N k"]
    right: Float[Array, "N_in k"]
    diagonal: Float[Array, " N"] | None

    def __init__(
        self,
        n_out: int,
        n_in: int,
        *,
        key: Key,
        rank: int | None = None,
        diagonal: bool = False,
        gain: Scalar = 1.0,
        dtype: Any = None,
    ) -> None:
        rank = default_rank(rank, n_out, n_in)
        keys = jax.random.split(key, 3)
        share = gain * 0.5**0.5 if diagonal else gain
        self.left = entries(keys[0], (n_out, rank), share * rank**-0.5, dtype)
        self.right = entries(keys[1], (n_in, rank), n_in**-0.5, dtype)
        self.diagonal = None
        if diagonal:
            self.diagonal = signs(keys[2], check_square(n_out, n_in), share, dtype)

    def matrix(self) -> Float[Array, "N N_in"]:
        """The matrix S."""
        found = self.left @ self.right.T
        return found if self.diagonal is None else found + jnp.diag(self.diagonal)

    def __call__(self, act: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """Product through the k numbers in between."""
        found = (act @ self.right) @ self.left.T
        return found if self.diagonal is None else found + act * self.diagonal[None]

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N_in"]:
        """Product through the k numbers in between."""
        found = (sens @ self.left) @ self.right.T
        return found if self.diagonal is None else found + sens * self.diagonal[None, None]

    def kernel(
        self, act: Float[Array, "n N_in"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """(HV)(HV)^T * (D D^T) + (H H^T) * (DU)(DU)^T, and that of the diagonal."""
        found = low_rank_kernel(act, sens, self.left, self.right)
        return found if self.diagonal is None else found + diagonal_kernel(act, sens)

    def learn_pre(
        self, after: Float[Array, "n N_in"], act: Float[Array, "n N_in"], drive: Float[Array, "n N"]
    ) -> Float[Array, "n N"]:
        """(V^T h' . V^T h) drive + (h' . h) U U^T drive, and that of the diagonal."""
        found = low_rank_forward(after, act, drive, self.left, self.right)
        return found if self.diagonal is None else found + diagonal_forward(after, act, drive)

    def learn_conj(
        self, sens: Float[Array, "n C N"], act: Float[Array, "n N_in"], drive: Float[Array, "n N"]
    ) -> Float[Array, "n C N_in"]:
        """(delta . drive) V V^T h + (U^T delta . U^T drive) h, and that of the diagonal."""
        found = low_rank_conjugate(sens, act, drive, self.left, self.right)
        return found if self.diagonal is None else found + diagonal_conjugate(sens, act, drive)

    def conserved(self) -> Float[Array, " k"]:
        """Upper triangle of U^T U - V^T V."""
        gap = self.left.T @ self.left - self.right.T @ self.right
        return gap[jnp.triu_indices(gap.shape[0])]


@register_pathway("lowrank")
def make_low_rank(
    n_out: int,
    n_in: int,
    *,
    key: Key,
    rank: int | None = None,
    gain: Scalar = 1.0,
    dtype: Any = None,
) -> LowRank:
    """S = U V^T of a rank, by default an eighth of the narrower side."""
    return LowRank(n_out, n_in, key=key, rank=rank, gain=gain, dtype=dtype)


@register_pathway("lowrank_diag")
def make_low_rank_diagonal(
    n_out: int,
    n_in: int,
    *,
    key: Key,
    rank: int | None = None,
    gain: Scalar = 1.0,
    dtype: Any = None,
) -> LowRank:
    """S = diag(d) + U V^T of a rank, by default an eighth of the size."""
    return LowRank(n_out, n_in, key=key, rank=rank, diagonal=True, gain=gain, dtype=dtype)


@register_pathway("shaped")
class Shaped(AbstractPathway):
    """S = diag(a) W diag(b): a = b = 1, W as dense."""

    weight: Float[Array, "N N_in"]
    rows: Float[Array, " N"]
    columns: Float[Array, " N_in"]

    def __init__(
        self, n_out: int, n_in: int, *, key: Key, gain: Scalar = 1.0, dtype: Any = None
    ) -> None:
        self.weight = entries(key, (n_out, n_in), gain * n_in**-0.5, dtype)
        self.rows = jnp.ones(n_out, self.weight.dtype)
        self.columns = jnp.ones(n_in, self.weight.dtype)

    def matrix(self) -> Float[Array, "N N_in"]:
        """The matrix S."""
        return self.rows[:, None] * self.weight * self.columns[None]

    def kernel(
        self, act: Float[Array, "n N_in"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """Of W between the two diagonals, and of each diagonal."""
        return shaped_kernel(act, sens, self.weight, self.rows, self.columns)

    def conserved(self) -> Float[Array, " k"]:
        """a_i^2 - sum_j W_ij^2 and b_j^2 - sum_i W_ij^2."""
        squares = self.weight**2
        by_row = self.rows**2 - jnp.sum(squares, axis=1)
        return jnp.concatenate([by_row, self.columns**2 - jnp.sum(squares, axis=0)])


@register_pathway("monotone")
class Monotone(AbstractPathway):
    """S = (1 - m) 1 - A^T A + B - B^T, so that 1 - S >= m 1: entries of A and B N(0, 1 / N).

    Attributes:
        half: A.
        skew: B.
        margin: m, frozen.
    """

    half: Float[Array, "N N"]
    skew: Float[Array, "N N"]
    margin: Float[Array, ""]
    frozen: ClassVar[tuple[str, ...]] = ("margin",)

    def __init__(
        self, n_out: int, n_in: int, *, key: Key, m: Scalar = 0.5, dtype: Any = None
    ) -> None:
        size = check_square(n_out, n_in)
        check_number("m", m, above=0.0)
        own, other = jax.random.split(key)
        self.half = entries(own, (size, size), size**-0.5, dtype)
        self.skew = entries(other, (size, size), size**-0.5, dtype)
        self.margin = jnp.asarray(m, self.half.dtype)

    def matrix(self) -> Float[Array, "N N"]:
        """The matrix S."""
        eye = jnp.eye(self.half.shape[0], dtype=self.half.dtype)
        return (1 - self.margin) * eye - self.half.T @ self.half + self.skew - self.skew.T

    def kernel(
        self, act: Float[Array, "n N"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """Of A and of B."""
        return monotone_kernel(act, sens, self.half)


def default_rank(rank: int | None, n_out: int, n_in: int) -> int:
    """The rank, an eighth of the narrower side by default, at least 1.

    Raises:
        InputError: for a rank that is no whole number from 1 to the narrower side.
    """
    most = min(n_out, n_in)
    if rank is None:
        return max(1, most // 8)
    check(check_positive_int("rank", rank) <= most, "rank", f"be at most {most}", rank)
    return rank


def signs(key: Key, size: int, gain: Scalar, dtype: Any) -> Float[Array, " N"]:
    """Random signs times the gain."""
    dtype = jnp.zeros((), dtype).dtype
    return jnp.asarray(gain, dtype) * jax.random.rademacher(key, (size,), dtype)
