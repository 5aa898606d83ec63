"""Enriched layers: a structured matrix and a correction beside it, with their exact kernel.

    outside:  h' = phi(S h + b) + alpha R(h)        inside:  h' = phi(S h + b + alpha R(h))

S is a pathway (`gramdyn.models.pathway`), R a correction (`gramdyn.models.correction`). The names
are those of structures; the layers of arXiv 2508.02126 are of this family, which is defined here.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_known
from gramdyn._errors import InputError
from gramdyn.kernels.contraction import contraction_factor
from gramdyn.kernels.corrections import gain_kernel
from gramdyn.kernels.gram import conj_gram
from gramdyn.models.activations import Activation
from gramdyn.models.correction import AbstractCorrection
from gramdyn.models.frozen import trained_spec
from gramdyn.models.layers import AbstractLayer, Pulled, Trace
from gramdyn.models.pathway import AbstractPathway, as_row

MODES = ("outside", "inside")


class EnrichedLayer(AbstractLayer):
    """A layer phi(S h + b) with alpha R(h) added outside phi, or inside.

    Attributes:
        pathway: S.
        correction: R, or None for none.
        bias: b, shape (N,), or None.
        alpha: Gain of the correction, one number, or one a neuron; None without a correction.
        activation: phi.
        mode: "outside" or "inside".
        trainable: Whether anything trains.
        train_pathway: Whether the pathway does.
        train_alpha: Whether alpha does.

    Cost: the pathway's matrix, or its fast product, forward, back and for the gradient of a step;
        what is dear in it once, where the pathway can be made `ready`.
    """

    pathway: AbstractPathway
    correction: AbstractCorrection | None
    bias: Float[Array, " N"] | None
    alpha: Float[Array, "*each"] | None
    activation: Activation
    mode: str = eqx.field(static=True, default="outside")
    trainable: bool = eqx.field(static=True, default=True)
    train_pathway: bool = eqx.field(static=True, default=True)
    train_alpha: bool = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        check_known("mode", self.mode, MODES)
        both = (self.correction is None) == (self.alpha is None)
        check(both, "alpha", "be there with a correction, and not without", self.alpha)
        n_out, n_in = jax.eval_shape(lambda layer: layer.matrix(), self).shape
        for name, value, shapes in (
            ("bias", self.bias, [(n_out,)]),
            ("alpha", self.alpha, [(), (n_out,)]),
        ):
            shape = () if value is None else jnp.shape(value)
            good = value is None or (shape in shapes and hasattr(value, "dtype"))
            told = " or ".join(map(str, shapes))
            check(good, name, f"be an array of shape {told}", value)
        if self.correction is not None:
            row = jax.ShapeDtypeStruct((1, n_in), jnp.asarray(self.alpha).dtype)
            added = jax.eval_shape(lambda layer, act: layer.correction(act), self, row).shape
            check(added == (1, n_out), "correction", f"give {n_out} numbers", added[1:])

    @property
    def frozen_leaves(self) -> tuple[str, ...]:
        """What never trains: of the pathway and of the correction, and what is held still."""
        pathway = self.pathway.frozen if self.train_pathway else None
        found = ["pathway"] if pathway is None else [f"pathway.{name}" for name in pathway]
        if self.correction is not None:
            found += [f"correction.{name}" for name in self.correction.frozen]
        return (*found, *(() if self.train_alpha else ("alpha",)))

    @property
    def free(self) -> bool:
        """Its matrix is made of what trains, whatever the pathway."""
        return False

    @property
    def factorised(self) -> bool:
        """Its kernel is a sum of several products, or none."""
        return False

    @property
    def skips(self) -> bool:
        """Whether there is a correction."""
        return self.correction is not None

    def matrix(self) -> Float[Array, "N N_in"]:
        """S, without what the correction adds."""
        return self.pathway.matrix()

    def added(self, act: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """The term alpha R(h)."""
        assert self.correction is not None
        assert self.alpha is not None
        value = self.correction(act)
        return as_row(self.alpha, value) * value

    def terms(
        self, act: Float[Array, "n N_in"]
    ) -> tuple[Float[Array, "n N"], Float[Array, "n N"] | None]:
        """Preactivations, and what is added to the activations (None for nothing)."""
        pre = self.pathway(act)
        pre = pre if self.bias is None else pre + self.bias[None]
        if self.correction is None:
            return pre, None
        extra = self.added(act)
        return (pre, extra) if self.mode == "outside" else (pre + extra, None)

    def forward(self, act: Float[Array, "n N_in"] | None) -> Trace:
        """Fields of this layer for the activations that enter it."""
        assert act is not None
        layer = self.ready()
        pre, extra = layer.terms(act)
        own = self.activation.value(pre)
        return Trace(act, pre, own if extra is None else own + extra, layer.pathway)

    def ready(self) -> "EnrichedLayer":
        """Itself with its pathway ready, for the calls of one state alone."""
        return eqx.tree_at(lambda layer: layer.pathway, self, self.pathway.ready())

    def at(self, trace: Trace) -> "EnrichedLayer":
        """Itself with the pathway that a trace's pass made ready, where the trace has one."""
        if trace.made is None:
            return self
        return eqx.tree_at(lambda layer: layer.pathway, self, trace.made)

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N_in"]:
        """Conjugate field of the layer below, through the pathway alone."""
        return self.pathway.pull(sens)

    def below(self, trace: Trace, back: Pulled) -> Float[Array, "n C N_in"]:
        """S^T delta + alpha R'(h)^T g, g the conjugate field, or the sensitivities inside."""
        pulled = self.at(trace).pull(back.sens)
        if self.correction is None:
            return pulled
        assert trace.inputs is not None
        return pulled + self._pull_added(trace.inputs, back)

    def _pull_added(self, act: Float[Array, "n N_in"], back: Pulled) -> Float[Array, "n C N_in"]:
        assert self.correction is not None
        return self.correction.pull(act, self._back_of_value(back))

    def _back_of_value(self, back: Pulled) -> Float[Array, "n C N"]:
        """Derivative of the outputs by R(h)."""
        rows = self._back_of_added(back)
        assert self.alpha is not None
        return as_row(self.alpha, rows) * rows

    def _back_of_added(self, back: Pulled) -> Array:
        """Derivative of the outputs by alpha R(h)."""
        return back.conj if self.mode == "outside" else back.sens

    def carry(self, trace: Trace, moved: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """S dh, and alpha R'(h) dh inside."""
        found = self.at(trace).pathway(moved)
        if self.correction is None or self.mode == "outside":
            return found
        return found + self._move_added(trace, moved)

    def hand_on(
        self, trace: Trace, pre: Float[Array, "n N"], moved: Float[Array, "n N_in"] | None
    ) -> Float[Array, "n N"]:
        """phi'(z) dz, and alpha R'(h) dh outside."""
        own = self.activation.mask(trace.pre) * pre
        if self.correction is None or self.mode == "inside" or moved is None:
            return own
        return own + self._move_added(trace, moved)

    def _move_added(self, trace: Trace, moved: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        return jax.jvp(self.added, (trace.inputs,), (moved,))[1]

    def gradient(self, trace: Trace, drive: Pulled) -> "EnrichedLayer":
        """Pull of the drive through the layer's two terms, to what trains."""
        trained, terms = self._by_trained(trace)
        _, pull = jax.vjp(terms, trained)
        (found,) = pull(self._cotangents(drive))
        return found

    def _by_trained(self, trace: Trace) -> tuple[Any, Callable[[Any], list[Array]]]:
        """What trains, and the layer's terms as a function of it."""
        layer = self.at(trace)
        spec = trained_spec(layer, self.frozen_leaves, self.trainable)
        trained, rest = eqx.partition(layer, spec)

        def terms(own: Any) -> list[Array]:
            found = eqx.combine(own, rest).terms(trace.inputs)
            return [one for one in found if one is not None]

        return trained, terms

    def _cotangents(self, drive: Pulled) -> list[Array]:
        """Of the layer's terms, in their order."""
        outside = self.correction is not None and self.mode == "outside"
        return [drive.sens, drive.conj] if outside else [drive.sens]

    def kernel(self, trace: Trace, back: Pulled) -> Float[Array, "n C n C"]:
        """That of the pathway, of the bias, of the correction and of alpha."""
        act = trace.inputs
        assert act is not None
        n, n_outputs = back.sens.shape[:2]
        found = jnp.zeros((n, n_outputs, n, n_outputs), back.sens.dtype)
        if self.train_pathway:
            found = found + self.at(trace).pathway.kernel(act, back.sens)
        if self.bias is not None:
            found = found + conj_gram(back.sens)
        return found if self.correction is None else found + self._correction_kernel(act, back)

    def _correction_kernel(
        self, act: Float[Array, "n N_in"], back: Pulled
    ) -> Float[Array, "n C n C"]:
        assert self.correction is not None
        assert self.alpha is not None
        own = self.correction.kernel(act, self._back_of_value(back))
        if not self.train_alpha:
            return own
        each = self.alpha.ndim > 0
        return own + gain_kernel(self.correction(act), self._back_of_added(back), each)

    def kernel_product(
        self, trace: Trace, back: Pulled
    ) -> Callable[[Float[Array, "n C"]], Float[Array, "n C"]]:
        """J (J^T v): the gradient for v, then how the outputs move along it."""

        def product(vector: Float[Array, "n C"]) -> Float[Array, "n C"]:
            move = self.gradient(trace, back.weighted(vector))
            moved = self._moved_terms(trace, move)
            pairs = zip(self._cotangents(back), moved, strict=True)
            parts = [jnp.einsum("nci,ni->nc", rows, term) for rows, term in pairs]
            return sum(parts[1:], parts[0])

        return product

    def _moved_terms(self, trace: Trace, move: Any) -> list[Array]:
        """Change of the layer's terms along a change of what trains, to first order."""
        trained, terms = self._by_trained(trace)
        return jax.jvp(terms, (trained,), (move,))[1]

    def learn_pre(
        self, act: Float[Array, "n N_in"] | None, trace: Trace, drive: Pulled
    ) -> Float[Array, "n N"]:
        """The pathway's own law, the bias's, and the correction's inside; that of the flow.

        For a step it is exact where nothing but a linear pathway and a bias train.
        """
        assert act is not None
        assert trace.inputs is not None
        found = jnp.zeros_like(trace.pre)
        if self.train_pathway:
            found = found + self.at(trace).pathway.learn_pre(act, trace.inputs, drive.sens)
        if self.bias is not None:
            found = found + jnp.sum(drive.sens, axis=0, keepdims=True)
        if self.correction is None or self.mode == "outside":
            return found
        return found + self._learnt_added(trace, drive)

    def learn_act(self, trace: Trace, drive: Pulled) -> Float[Array, "n N"] | None:
        """Change of alpha R(h) by its own learning, where it is added outside."""
        if self.correction is None or self.mode == "inside":
            return None
        return self._learnt_added(trace, drive)

    def _learnt_added(self, trace: Trace, drive: Pulled) -> Float[Array, "n N"]:
        """Change of alpha R(h) along the gradient of R and alpha."""
        of = lambda layer: layer.added(trace.inputs)  # noqa: E731
        return self._along_gradient(of, trace, drive)

    def learn_conj(self, back: Pulled, trace: Trace, drive: Pulled) -> Float[Array, "n C N_in"]:
        """The pathway's own law, and the change of alpha R'(h)^T g by the correction's learning."""
        assert trace.inputs is not None
        found = jnp.zeros((*back.sens.shape[:2], trace.inputs.shape[1]), back.sens.dtype)
        if self.train_pathway:
            pathway = self.at(trace).pathway
            found = found + pathway.learn_conj(back.sens, trace.inputs, drive.sens)
        if self.correction is None:
            return found
        of = lambda layer: layer._pull_added(trace.inputs, back)  # noqa: E731
        return found + self._along_gradient(of, trace, drive)

    def _along_gradient(
        self, of: Callable[["EnrichedLayer"], Array], trace: Trace, drive: Pulled
    ) -> Array:
        """Derivative of something of the correction and alpha along the layer's gradient."""
        spec = trained_spec(self, self.frozen_leaves, self.trainable)
        trained, rest = eqx.partition(self, spec)
        along = lambda own: of(eqx.combine(own, rest))  # noqa: E731
        return jax.jvp(along, (trained,), (self.gradient(trace, drive),))[1]

    def bend(
        self, trace: Trace, moved: Float[Array, "n N_in"] | None, back: Pulled
    ) -> Float[Array, "n C N_in"] | None:
        """How alpha R'(h)^T g turns as h moves."""
        if self.correction is None or moved is None:
            return None
        of = lambda act: self._pull_added(act, back)  # noqa: E731
        return jax.jvp(of, (trace.inputs,), (moved,))[1]

    def input_gram(self, trace: Trace) -> Float[Array, "n n"]:
        """Not to be had: the kernel is no product of two Grams."""
        raise InputError("A structured layer has no one Gram of inputs; see its `kernel`.")

    def lipschitz(self) -> Float[Array, ""]:
        """Bound on |h' - g'| / |h - g|: Lip_phi sigma_1(S) + |alpha| L_R, or Lip_phi of the sum."""
        phi, own = self.activation.lipschitz, self.pathway.lipschitz()
        if self.correction is None:
            return phi * own
        assert self.alpha is not None
        gain, beside = jnp.max(jnp.abs(self.alpha)), self.correction.lipschitz().astype(own.dtype)
        return contraction_factor(phi, own, gain, beside, inside=self.mode == "inside")

    def conserved(self) -> Float[Array, " k"]:
        """Numbers that gradient flow leaves as they are: the pathway's and the correction's.

        Of a linear or tanh bottleneck with one trained alpha it is alpha^2 - |U|^2.
        """
        found = [self.pathway.conserved()]
        found = found if self.train_pathway else [found[0][:0]]
        if self.correction is not None and self.train_alpha and self.alpha is not None:
            found.append(self.correction.conserved(self.alpha))
        return jnp.concatenate(found)

    def step_flops(self, n_samples: int, *, first: bool) -> int:
        """Operations of this layer's share of one gradient step: forward, back, gradient."""
        sizes = [2 * n_samples * size for size in self._sizes()]
        return (1 + (not first) + self.trainable) * sum(sizes) + self.pathway.making_flops()

    def _sizes(self) -> list[int]:
        """Entries of the matrices that a row meets."""
        pathway = jax.eval_shape(lambda layer: layer.matrix(), self).size
        own = [leaf.size for leaf in jax.tree.leaves(self.correction) if eqx.is_array_like(leaf)]
        return [pathway, *own]
