"""Corrections: what is added to a structured layer, alpha R(h)."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._types import Key
from gramdyn.kernels.corrections import gate_kernel, two_layer_kernel
from gramdyn.kernels.gram import act_gram, layer_kernel
from gramdyn.models.multilinear_pathways import default_rank
from gramdyn.models.pathway import Kind, as_row, check_square, entries, make_part


class AbstractCorrection(eqx.Module):
    """A map R from what enters a layer, shape (n, N_in), to (n, N).

    All arrays are trained but those named in `frozen`. Made by `Class(n_out, n_in, *, key, dtype,
    ...)`; the further keyword arguments are its options.

    Attributes:
        frozen: Names of the arrays that never train.
    """

    frozen: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __call__(self, act: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """R(h)."""

    @abstractmethod
    def kernel(
        self, act: Float[Array, "n N_in"], back: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """Share of the tangent kernel of R's own arrays, shape (n, C, n, C).

        Args:
            act: What enters.
            back: Derivative of the outputs by R(h), alpha included.
        """

    @abstractmethod
    def lipschitz(self) -> Float[Array, ""]:
        """A bound L_R on |R(h) - R(h')| / |h - h'|."""

    def conserved(self, alpha: Float[Array, "*each"]) -> Float[Array, " k"]:
        """Numbers that gradient flow of R and of its gain leaves as they are; none by default."""
        return jnp.zeros(0, alpha.dtype)

    def pull(
        self, act: Float[Array, "n N_in"], back: Float[Array, "n C N"]
    ) -> Float[Array, "n C N_in"]:
        """R'(h)^T back for each row."""
        _, pull = jax.vjp(self, act)
        return jax.vmap(lambda row: pull(row)[0], 1, 1)(back)


CORRECTIONS: dict[str, Callable[..., AbstractCorrection | None]] = {}
Make = TypeVar("Make", bound=Callable[..., AbstractCorrection | None])


def register_correction(name: str) -> Callable[[Make], Make]:
    """Enter a class of corrections (or a function that makes one) by name."""

    def enter(make: Make) -> Make:
        CORRECTIONS[name] = make
        return make

    return enter


def make_correction(kind: Kind, n_out: int, n_in: int, **options: Any) -> AbstractCorrection | None:
    """The correction called `kind` from N_in = `n_in` to N = `n_out` numbers; None of "none".

    Args and errors are those of `make_pathway`.
    """
    made: AbstractCorrection | None = make_part(
        "correction", CORRECTIONS, kind, n_out, n_in, options
    )
    return made


@register_correction("none")
def no_correction(n_out: int, n_in: int, *, key: Key, dtype: Any = None) -> None:
    """Nothing is added."""


@register_correction("identity")
class IdentityCorrection(AbstractCorrection):
    """R = h; nothing trained but alpha."""

    def __init__(self, n_out: int, n_in: int, *, key: Key, dtype: Any = None) -> None:
        check_square(n_out, n_in)

    def __call__(self, act: Float[Array, "n N"]) -> Float[Array, "n N"]:
        """What enters, as it is."""
        return act

    def kernel(
        self, act: Float[Array, "n N"], back: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """Zero."""
        return jnp.zeros((*back.shape[:2], *back.shape[:2]), back.dtype)

    def lipschitz(self) -> Float[Array, ""]:
        """1."""
        return jnp.ones(())

    def pull(self, act: Float[Array, "n N"], back: Float[Array, "n C N"]) -> Float[Array, "n C N"]:
        """The rows, as they are."""
        return back


@register_correction("bottleneck")
class Bottleneck(AbstractCorrection):
    """R = U psi(V^T h + b), psi = tanh or the identity: entries as of a low-rank pathway, b = 0.

    Attributes:
        left: U, shape (N, k).
        right: V, shape (N_in, k).
        bias: b, shape (k,).
        linear: Whether psi is the identity, as in low-rank adaptation.
    """

    left: Float[Array, "N k"]
    right: Float[Array, "N_in k"]
    bias: Float[Array, " k"]
    linear: bool = eqx.field(static=True)

    def __init__(
        self,
        n_out: int,
        n_in: int,
        *,
        key: Key,
        rank: int | None = None,
        linear: bool = False,
        dtype: Any = None,
    ) -> None:
        rank = default_rank(rank, n_out, n_in)
        own, other = jax.random.split(key)
        self.left = entries(own, (n_out, rank), rank**-0.5, dtype)
        self.right = entries(other, (n_in, rank), n_in**-0.5, dtype)
        self.bias = jnp.zeros(rank, self.left.dtype)
        self.linear = linear

    def code(self, act: Float[Array, "n N_in"]) -> Float[Array, "n k"]:
        """The k numbers in between, psi(V^T h + b)."""
        inner = act @ self.right + self.bias[None]
        return inner if self.linear else jnp.tanh(inner)

    def slope(self, code: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """Psi' where psi is this."""
        return jnp.ones_like(code) if self.linear else 1 - code**2

    def __call__(self, act: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """U psi(V^T h + b)."""
        return self.code(act) @ self.left.T

    def kernel(
        self, act: Float[Array, "n N_in"], back: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """Of U, of V and of b."""
        code = self.code(act)
        by_code = self.slope(code)[:, None] * (back @ self.left)
        return two_layer_kernel(act, code, by_code, back)

    def conserved(self, alpha: Float[Array, "*each"]) -> Float[Array, " k"]:
        """alpha^2 - |U|^2, or alpha_i^2 - |U_i|^2 of each neuron."""
        squares = jnp.sum(self.left**2, axis=1)
        return alpha**2 - squares if alpha.ndim else (alpha**2 - jnp.sum(squares))[None]

    def lipschitz(self) -> Float[Array, ""]:
        """|U| |V|."""
        return jnp.linalg.norm(self.left, 2) * jnp.linalg.norm(self.right, 2)


@register_correction("gated")
class Gated(AbstractCorrection):
    """R = sigmoid(U_g z + b_g) * (U z), z = tanh(V^T h + b): `inner` is U z, the gate beside it.

    Attributes:
        inner: U, V and b.
        gate: U_g, as U, shape (N, k).
        gate_bias: b_g, zero at the start, shape (N,).
    """

    inner: Bottleneck
    gate: Float[Array, "N k"]
    gate_bias: Float[Array, " N"]

    def __init__(
        self, n_out: int, n_in: int, *, key: Key, rank: int | None = None, dtype: Any = None
    ) -> None:
        own, other = jax.random.split(key)
        self.inner = Bottleneck(n_out, n_in, key=own, rank=rank, dtype=dtype)
        shape = self.inner.left.shape
        self.gate = entries(other, shape, shape[1] ** -0.5, dtype)
        self.gate_bias = jnp.zeros(n_out, self.gate.dtype)

    def opening(self, code: Float[Array, "n k"]) -> Float[Array, "n N"]:
        """The gate, in (0, 1)."""
        return jax.nn.sigmoid(code @ self.gate.T + self.gate_bias[None])

    def __call__(self, act: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """The gated product."""
        code = self.inner.code(act)
        return self.opening(code) * (code @ self.inner.left.T)

    def kernel(
        self, act: Float[Array, "n N_in"], back: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """Of U, V and b through the open gate, and of the gate."""
        code = self.inner.code(act)
        opening, value = self.opening(code), code @ self.inner.left.T
        through = back * opening[:, None]
        at_gate = back * (value * opening * (1 - opening))[:, None]
        by_code = through @ self.inner.left + at_gate @ self.gate
        by_code = self.inner.slope(code)[:, None] * by_code
        return two_layer_kernel(act, code, by_code, through) + gate_kernel(code, at_gate)

    def conserved(self, alpha: Float[Array, "*each"]) -> Float[Array, " k"]:
        """As of a bottleneck: R is linear in U, and the gate does not see it."""
        return self.inner.conserved(alpha)

    def lipschitz(self) -> Float[Array, ""]:
        """|V| (|U| + max_i |U_i|_1 |U_g| / 4), far above what is seen."""
        rows = jnp.max(jnp.sum(jnp.abs(self.inner.left), axis=1))
        own = jnp.linalg.norm(self.inner.left, 2)
        whole = own + rows * jnp.linalg.norm(self.gate, 2) / 4
        return jnp.linalg.norm(self.inner.right, 2) * whole


@register_correction("dense")
class DenseCorrection(AbstractCorrection):
    """R = tanh(W h + b): W ~ N(0, 1 / N_in), b = 0."""

    weight: Float[Array, "N N_in"]
    bias: Float[Array, " N"]

    def __init__(self, n_out: int, n_in: int, *, key: Key, dtype: Any = None) -> None:
        self.weight = entries(key, (n_out, n_in), n_in**-0.5, dtype)
        self.bias = jnp.zeros(n_out, self.weight.dtype)

    def __call__(self, act: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """tanh(W h + b)."""
        return jnp.tanh(act @ self.weight.T + as_row(self.bias, act))

    def kernel(
        self, act: Float[Array, "n N_in"], back: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """(H H^T + 1) * (zeta zeta^T), zeta = psi' g."""
        slope = 1 - self(act) ** 2
        return layer_kernel(act_gram(act, bias=True), slope[:, None] * back)

    def lipschitz(self) -> Float[Array, ""]:
        """|W|."""
        return jnp.linalg.norm(self.weight, 2)
