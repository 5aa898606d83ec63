"""Equilibrium layers: what is handed on is the fixed point of a layer that feeds itself.

    z* = phi(S z* + W_x x + b) + alpha R(z*)          ("inside" adds alpha R(z*) before phi)

The inputs enter at every step of the loop. With J the loop's Jacobian at z* and g the derivative
of an output by z*, w = (1 - J^T)^{-1} g is that by T(z*). So the kernel rules of structured layers
hold as they stand, with h = z*, delta = phi'(pre) w, and w in the place of the conjugate field.

Source: derived here; equilibrium layers are those of Bai, Kolter, Koltun (2019).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_number, check_positive_int
from gramdyn._errors import InputError
from gramdyn.kernels.contraction import response_bound
from gramdyn.kernels.fields import sensitivity
from gramdyn.kernels.fixed_points import FixedPoint, implicit_adjoint, solve_fixed_point
from gramdyn.models.activations import Activation
from gramdyn.models.enriched import EnrichedLayer
from gramdyn.models.layers import AbstractLayer, Dense, Pulled, Trace
from gramdyn.models.pathway import AbstractPathway

# Steps of a loop that operations are counted for: at a rate of 0.75 they lead to rounding.
TYPICAL_STEPS = 100


class EquilibriumLayer(AbstractLayer):
    """A layer that hands on the fixed point of z -> phi(S z + W_x x + b) + alpha R(z).

    Each sample has its own point, found by plain iteration from z = 0. **A point that did not
    settle is NaN**, and so is the loss of a run that needs it: such a run ends as "not_finite", and
    `settle` says what happened. Kernels and gradients are exact; there is no law of the fields.

    Attributes:
        cell: phi, S, R and alpha, from N numbers to N, without bias.
        inject: W_x and b, linear, to N numbers.
        tol: Length of a step of a sample, root of the sum of squares, below which its point has
            settled; None for 100 eps sqrt(N), about rounding: 1.8e-13 at N = 64, in single
            precision 1e-4.
        max_steps: Steps allowed.

    Cost: forward a product by S a step, as many steps as the slowest sample needs; back, for each
        sample, N products by S and a solve of N x N: for N up to some 500. A run that ended goes
        through `max_steps` of them until those beside it in the batch end.
    """

    cell: EnrichedLayer
    inject: Dense
    tol: float | None = eqx.field(static=True, default=None)
    max_steps: int = eqx.field(static=True, default=1000)

    def __check_init__(self) -> None:
        check_number("tol", self.tol, above=0.0)
        check_positive_int("max_steps", self.max_steps)
        check(self.cell.bias is None, "cell", "have no bias: that of inject enters", "one with")
        plain = self.inject.activation.name == "linear" and not self.inject.residual
        check(plain, "inject", "be linear and not residual", self.inject.activation.name)
        n_out, n_in = jax.eval_shape(lambda layer: layer.matrix(), self.cell).shape
        check(n_out == n_in, "cell", "hand on as many numbers as enter it", (n_out, n_in))
        width = self.inject.weight.shape[0]
        check(width == n_out, "inject", f"give {n_out} numbers, as the cell takes", width)

    @property
    def activation(self) -> Activation:
        """The cell's phi."""
        return self.cell.activation

    @property
    def trainable(self) -> bool:
        """Whether the cell trains, or what is injected."""
        return self.cell.trainable or self.inject.trainable

    @property
    def frozen_leaves(self) -> tuple[str, ...]:
        """What never trains in cell and injection; all of one that does not train."""
        parts = (("cell", self.cell), ("inject", self.inject))
        return tuple(name for at, part in parts for name in _frozen(at, part))

    @property
    def factorised(self) -> bool:
        """Its kernel is a sum of several products."""
        return False

    @property
    def free(self) -> bool:
        """The cell's matrix is made of what trains."""
        return False

    @property
    def skips(self) -> bool:
        """It hands on more than phi of one matrix on what enters."""
        return True

    def matrix(self) -> Float[Array, "N N_in"]:
        """W_x, what multiplies the activations that enter."""
        return self.inject.matrix()

    def settle(self, act: Float[Array, "n N_in"]) -> FixedPoint:
        """The fixed point of each sample and how it was reached, every field with a first axis n.

        Returns:
            Status 0 where the point has settled; see `gramdyn.kernels.FixedPoint`.
        """
        return self._settle(self.cell, act)

    def _settle(self, cell: EnrichedLayer, act: Float[Array, "n N_in"]) -> FixedPoint:
        cell, injected = _held(cell), self.inject.forward(act).pre

        def of_sample(row: Float[Array, " N"]) -> FixedPoint:
            step, start = _loop(cell, row), jnp.zeros_like(row)
            return solve_fixed_point(step, start, tol=self._tol(row), max_steps=self.max_steps)

        return jax.vmap(of_sample)(injected)

    def _tol(self, row: Float[Array, " N"]) -> float:
        if self.tol is not None:
            return self.tol
        return 100.0 * float(jnp.finfo(row.dtype).eps) * float(row.size**0.5)

    def forward(self, act: Float[Array, "n N_in"] | None) -> Trace:
        """What enters, S z* + W_x x + b (with alpha R(z*) inside), and z*; NaN where unsettled."""
        assert act is not None
        cell = self.cell.ready()
        found = self._settle(cell, act)
        point = jnp.where(found.converged[:, None], found.point, jnp.nan)
        pre, _ = cell.terms(point)
        return Trace(act, pre + self.inject.forward(act).pre, point, cell.pathway)

    def backward(self, trace: Trace, conj: Float[Array, "n C N"]) -> Float[Array, "n C N"]:
        """Sensitivities of the preactivations, phi'(pre) w."""
        return sensitivity(self.activation.mask(trace.pre), self.adjoint(trace, conj))

    def adjoint(self, trace: Trace, conj: Float[Array, "n C N"]) -> Float[Array, "n C N"]:
        """Derivative by T(z*) of what has derivative g by z*: w = (1 - J^T)^{-1} g, linear in g."""
        cell, injected = _held(self.cell.at(trace)), self.inject.forward(trace.inputs).pre

        def of_sample(
            row: Float[Array, " N"], point: Float[Array, " N"], rows: Float[Array, "C N"]
        ) -> Float[Array, "C N"]:
            return implicit_adjoint(_loop(cell, row), point, rows)

        return jax.vmap(of_sample)(injected, trace.act, conj)

    def _settled(self, trace: Trace, back: Pulled) -> tuple[Trace, Pulled]:
        """What the cell saw and what comes back to it: it was entered by z*, and g is w.

        Where phi' vanishes w is not in the sensitivities, so it is solved for again; in a compiled
        program the decomposition is that of `backward`.
        """
        seen = Trace(trace.act, trace.pre, trace.act, trace.made)
        if back.conj.ndim == 2:
            return seen, Pulled(back.sens, self.adjoint(trace, back.conj[:, None])[:, 0])
        return seen, Pulled(back.sens, self.adjoint(trace, back.conj))

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N_in"]:
        """Conjugate field of the layer below, W_x^T delta."""
        return self.inject.pull(sens)

    def below(self, trace: Trace, back: Pulled) -> Float[Array, "n C N_in"]:
        """The same: nothing that enters goes past W_x."""
        return self.inject.pull(back.sens)

    def carry(self, trace: Trace, moved: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """Refused, as the laws of its fields are."""
        raise InputError("An equilibrium layer has no law of its preactivations.")

    def flipped(self, trace: Trace, *after: Array) -> Float[Array, "n C N"]:
        """Refused: a flip of one mask changes every adjoint of the loop."""
        raise InputError("An equilibrium layer has no law of its flips.")

    def gradient(self, trace: Trace, drive: Pulled) -> "EquilibriumLayer":
        """Those of the cell at z*, and of the injection."""
        nothing: Any = jax.tree.map(lambda _: None, self)
        cell, inject = nothing.cell, nothing.inject
        if self.cell.trainable:
            cell = self.cell.gradient(*self._settled(trace, drive))
        if self.inject.trainable:
            inject = self.inject.gradient(trace, drive)
        return eqx.tree_at(lambda layer: (layer.cell, layer.inject), self, (cell, inject))

    def input_gram(self, trace: Trace) -> Float[Array, "n n"]:
        """Not to be had: the kernel is no product of two Grams."""
        raise InputError("An equilibrium layer has no one Gram of inputs; see its `kernel`.")

    def kernel(self, trace: Trace, back: Pulled) -> Float[Array, "n C n C"]:
        """The cell's, with h = z* and delta = phi'(pre) w, and the injection's."""
        n, n_outputs = back.sens.shape[:2]
        found = jnp.zeros((n, n_outputs, n, n_outputs), back.sens.dtype)
        if self.cell.trainable:
            found = found + self.cell.kernel(*self._settled(trace, back))
        return found + self.inject.kernel(trace, back) if self.inject.trainable else found

    def kernel_product(
        self, trace: Trace, back: Pulled
    ) -> Callable[[Float[Array, "n C"]], Float[Array, "n C"]]:
        """Function that multiplies a vector by this layer's kernel, the kernel never formed."""
        products = []
        if self.cell.trainable:
            products.append(self.cell.kernel_product(*self._settled(trace, back)))
        if self.inject.trainable:
            products.append(self.inject.kernel_product(trace, back))
        return lambda vector: sum((one(vector) for one in products), jnp.zeros_like(vector))

    def conserved(self) -> Float[Array, " k"]:
        """The cell's: what its structure keeps, it keeps whatever the loss."""
        found = self.cell.conserved()
        return found if self.cell.trainable else found[:0]

    def lipschitz(self) -> Float[Array, ""]:
        """Bound on |dz*| / |dx|: Lip_phi sigma_1(W_x) / (1 - q), q the cell's; infinite for q >= 1.

        q < 1 is the certificate that there is one point and that it is found.
        """
        entering = self.activation.lipschitz * self.inject.lipschitz()
        return response_bound(self.cell.lipschitz(), entering)

    def step_flops(self, n_samples: int, *, first: bool) -> int:
        """Operations of this layer's share of one gradient step: loops, solves, gradient.

        Counted for loops of `TYPICAL_STEPS` steps: how many there will be is not known.
        """
        width = self.inject.weight.shape[0]
        once = self.cell.step_flops(n_samples, first=True) // (1 + self.cell.trainable)
        solves = n_samples * 8 * width**3 // 3  # J, and its decomposition
        return TYPICAL_STEPS * once + solves + self.inject.step_flops(n_samples, first=first)


class _Held(AbstractPathway):
    """The matrix of a pathway, formed."""

    formed: Float[Array, "N N"]

    def matrix(self) -> Float[Array, "N N"]:
        """The matrix S."""
        return self.formed


def _held(cell: EnrichedLayer) -> EnrichedLayer:
    """The cell with its matrix formed, once for all steps of the loop."""
    held: EnrichedLayer = eqx.tree_at(lambda one: one.pathway, cell, _Held(cell.matrix()))
    return held


def _loop(
    cell: EnrichedLayer, row: Float[Array, " N"]
) -> Callable[[Float[Array, " N"]], Float[Array, " N"]]:
    """The map T of one sample, from what is injected."""

    def step(point: Float[Array, " N"]) -> Float[Array, " N"]:
        pre, extra = cell.terms(point[None])
        own = cell.activation.value(pre + row[None])
        return (own if extra is None else own + extra)[0]

    return step


def _frozen(at: str, part: AbstractLayer) -> tuple[str, ...]:
    """Names of what does not train of a layer within a layer."""
    return tuple(f"{at}.{name}" for name in part.frozen_leaves) if part.trainable else (at,)
