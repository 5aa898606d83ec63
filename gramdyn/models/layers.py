"""Layers: how one transforms its input, pulls a conjugate field back, and what its kernel is.

Everything else (systems, schemes, diagnostics) is written in terms of what a layer answers:
`forward`, `backward`, `pull`, `gradient` and `kernel` to be trained and looked at; `matrix`,
`learn_pre` and `learn_conj` for the field laws. A new kind of layer is one class that answers them.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check
from gramdyn._errors import InputError
from gramdyn.kernels.field_laws import flip_jump, learnt_conjugate
from gramdyn.kernels.fields import conjugate_field, drive, forward_field, sensitivity
from gramdyn.kernels.gram import act_gram, apply_layer_kernel, cross_gram, layer_kernel
from gramdyn.models.activations import Activation


class Trace(eqx.Module):
    """What one layer saw and did on a forward pass.

    Attributes:
        inputs: Activations that entered, shape (n, N_in); None for a layer in Gram coordinates.
        pre: Preactivations, shape (n, N).
        act: Activations handed on, phi(pre), shape (n, N).
        made: What the layer made of its own numbers for this pass and its way back, or None.
    """

    inputs: Float[Array, "n N_in"] | None
    pre: Float[Array, "n N"]
    act: Float[Array, "n N"]
    made: Any = None

    def first(self, n_samples: int) -> "Trace":
        """That of the first samples alone."""
        inputs = None if self.inputs is None else self.inputs[:n_samples]
        return Trace(inputs, self.pre[:n_samples], self.act[:n_samples], self.made)


class Pulled(NamedTuple):
    """What comes back to one layer: derivatives of the outputs, or of other rows.

    Attributes:
        sens: By its preactivations, shape (n, C, N), or (n, N) of one row.
        conj: By what it hands on, of the same shape.
    """

    sens: Float[Array, "n *rows N"]
    conj: Float[Array, "n *rows N"]

    def weighted(self, residual: Float[Array, "n C"]) -> "Pulled":
        """One row a sample, sum_c residual_c times that of output c: the drive of a gradient."""
        return Pulled(drive(residual, self.sens), drive(residual, self.conj))

    def single(self) -> "Pulled":
        """The one row that there is, without its axis."""
        return Pulled(self.sens[:, 0, :], self.conj[:, 0, :])


class AbstractLayer(eqx.Module):
    """One transformation of the network, with the kernel of its trained arrays.

    Concrete layers have the fields below. Arrays named in `frozen_leaves` never train (dots
    lead into modules); the others do where `trainable` holds.
    """

    if TYPE_CHECKING:  # a type checker would take the abstract variables for fields

        @property
        def activation(self) -> Activation: ...  # noqa: D102
        @property
        def trainable(self) -> bool: ...  # noqa: D102
        @property
        def frozen_leaves(self) -> tuple[str, ...]: ...  # noqa: D102

    else:
        activation: eqx.AbstractVar[Activation]
        trainable: eqx.AbstractVar[bool]
        frozen_leaves: eqx.AbstractClassVar[tuple[str, ...]]

    @abstractmethod
    def forward(self, act: Float[Array, "n N_in"] | None) -> Trace:
        """Fields of this layer for the activations that enter it."""

    def backward(self, trace: Trace, conj: Float[Array, "n C N"]) -> Float[Array, "n C N"]:
        """Sensitivities of the preactivations, for the conjugate field of what is handed on."""
        return sensitivity(self.activation.mask(trace.pre), conj)

    @property
    def n_inputs(self) -> int:
        """Numbers of a sample that enter."""
        return self.matrix().shape[1]

    @abstractmethod
    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N_in"]:
        """Conjugate field of the layer below."""

    @property
    def skips(self) -> bool:
        """Whether more is handed on than phi of one matrix on what enters: that itself, say."""
        return False

    @property
    def free(self) -> bool:
        """Whether what `matrix` gives is itself what trains, each entry for itself."""
        return True

    @property
    def factorised(self) -> bool:
        """Whether its kernel is one Gram of what enters times one of its sensitivities."""
        return True

    @property
    def shares_weights(self) -> bool:
        """Whether one sample meets the weights more than once, as in a convolution."""
        return False

    def rows(self, act: Float[Array, "n N_in"]) -> Float[Array, "m K"]:
        """The rows that `matrix` multiplies; the activations that enter, one a sample."""
        return act

    def sens_rows(self, sens: Float[Array, "n r N"]) -> Float[Array, "m r c"]:
        """Sensitivities of what `matrix` gives, in the order of `rows`."""
        return sens

    def below(self, trace: Trace, back: Pulled) -> Float[Array, "n C N_in"]:
        """Conjugate field of the layer below: through the weights, and what skips them."""
        pulled = self.pull(back.sens)
        return pulled + back.conj if self.skips else pulled

    def carry(self, trace: Trace, moved: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """Change of the preactivations that a change of what enters makes, to first order."""
        return moved @ self.matrix().T

    def hand_on(
        self, trace: Trace, pre: Float[Array, "n N"], moved: Float[Array, "n N_in"] | None
    ) -> Float[Array, "n N"]:
        """Change of what is handed on, to first order.

        Args:
            trace: Fields before the change.
            pre: Change of the preactivations.
            moved: Change of what enters, None for no change.
        """
        own = self.activation.mask(trace.pre) * pre
        return own + moved if self.skips and moved is not None else own

    @abstractmethod
    def matrix(self) -> Float[Array, "N N_in"]:
        """What multiplies the activations that enter, forward multiplier included."""

    def learn_pre(
        self, act: Float[Array, "n N_in"] | None, trace: Trace, drive: Pulled
    ) -> Float[Array, "n N"]:
        """Change of the preactivations by this layer's own learning, a unit of -s step.

        Exact for a step of gradient descent, by the weights' gradient at `trace`.

        Args:
            act: Activations that enter after the step; those of `trace` for the flow.
            trace: Fields before the step.
            drive: What came back before it, residual-weighted.
        """
        raise InputError(f"A {type(self).__name__} layer has no law of its preactivations.")

    def learn_act(self, trace: Trace, drive: Pulled) -> Float[Array, "n N"] | None:
        """Change of what is handed on by learning that no preactivation sees; None for none."""
        return None

    def learn_conj(self, back: Pulled, trace: Trace, drive: Pulled) -> Float[Array, "n C N_in"]:
        """Change of the conjugate field below by this layer's own learning, a unit of -s step.

        Args:
            back: What comes back after the step; that before it for the flow.
            trace: Fields before the step.
            drive: What came back before it, residual-weighted.
        """
        raise InputError(f"A {type(self).__name__} layer has no law of its conjugate field.")

    def bend(
        self, trace: Trace, moved: Float[Array, "n N_in"] | None, back: Pulled
    ) -> Float[Array, "n C N_in"] | None:
        """Change of the conjugate field below by a change of what enters, at the same `back`.

        Only what skips the preactivations can bend it; None where nothing does.
        """
        return None

    def flipped(
        self,
        trace: Trace,
        mask_after: Float[Array, "n N"],
        conj_after: Float[Array, "n C N"],
        jump: Float[Array, "n C N"],
    ) -> Float[Array, "n C N"]:
        """Change of the sensitivities over one step that flips of masks cause, here and above.

        Args:
            trace: Fields before the step.
            mask_after: phi' after it.
            conj_after: Conjugate field of what is handed on, after it.
            jump: What flips above made of that field.
        """
        mask = self.activation.mask(trace.pre)
        return flip_jump(mask, mask_after, conj_after) + mask[:, None, :] * jump

    @abstractmethod
    def gradient(self, trace: Trace, drive: Pulled) -> "AbstractLayer":
        """Loss gradient as this layer's own coordinates see it, for the residual-weighted drive."""

    @abstractmethod
    def input_gram(self, trace: Trace) -> Float[Array, "n n"]:
        """Gram of what multiplies this layer's trained arrays, multiplier and bias included."""

    def kernel(self, trace: Trace, back: Pulled) -> Float[Array, "n C n C"]:
        """This layer's share of the tangent kernel, shape (n, C, n, C)."""
        return layer_kernel(self.input_gram(trace), back.sens)

    def decay_rate(self, trace: Trace, drive: Pulled) -> Float[Array, ""]:
        """This layer's share r^T K^l r in the decay of the residual, the kernel never formed.

        It is the square of the gradient.
        """
        if self.factorised:
            return jnp.sum((self.input_gram(trace) @ drive.sens) * drive.sens)
        squares = [jnp.sum(leaf**2) for leaf in jax.tree.leaves(self.gradient(trace, drive))]
        return sum(squares, jnp.zeros((), drive.sens.dtype))

    def jacobians(self, trace: Trace) -> Float[Array, "n N N_in"]:
        """Derivative of what is handed on by what enters, a matrix a sample.

        Cost: n N N_in numbers, and N rows pulled through the layer.
        """
        n, size = trace.act.shape
        rows = jnp.broadcast_to(jnp.eye(size, dtype=trace.act.dtype)[None], (n, size, size))
        return self.below(trace, Pulled(self.backward(trace, rows), rows))

    def conserved(self) -> Float[Array, " k"]:
        """Numbers of this layer that gradient flow leaves as they are; none by default."""
        return jnp.zeros(0)

    def lipschitz(self) -> Float[Array, ""]:
        """Bound on |h' - g'| / |h - g|: Lip_phi sigma_1 of the matrix, and 1 for what skips it."""
        bound = self.activation.lipschitz * jnp.linalg.norm(self.matrix(), 2)
        return bound + 1 if self.skips else bound

    def step_flops(self, n_samples: int, *, first: bool) -> int:
        """Operations of this layer's share of one gradient step: forward, back, gradient."""
        arrays = [leaf for leaf in jax.tree.leaves(self) if eqx.is_array(leaf) and leaf.ndim > 0]
        products = 1 + (not first) + self.trainable
        return products * 2 * n_samples * sum(leaf.size for leaf in arrays)

    def kernel_product(
        self, trace: Trace, back: Pulled
    ) -> Callable[[Float[Array, "n C"]], Float[Array, "n C"]]:
        """Function that multiplies a vector by this layer's kernel, the kernel never formed."""
        gram = self.input_gram(trace)
        return lambda vector: apply_layer_kernel(gram, back.sens, vector)


class Dense(AbstractLayer):
    """Dense layer phi(scale h W^T + b) in weight coordinates; a residual one adds h.

    Attributes:
        weight: One row a neuron, shape (N, N_in).
        bias: One number a neuron, shape (N,), or None.
        scale: Forward multiplier of the parametrisation, or None for 1; not trained.
        activation: phi.
        trainable: Whether weight and bias train.
        weight_variance: Variance of the entries of `weight` by the initial law, None where that
            is not known; not trained.
        residual: Whether the activations that enter are added to what is handed on.
    """

    weight: Float[Array, "N N_in"]
    bias: Float[Array, " N"] | None
    scale: Float[Array, ""] | None
    activation: Activation
    trainable: bool = eqx.field(static=True, default=True)
    weight_variance: Float[Array, ""] | None = None
    residual: bool = eqx.field(static=True, default=False)
    frozen_leaves: ClassVar[tuple[str, ...]] = ("scale", "weight_variance")

    def __check_init__(self) -> None:
        square = not self.residual or self.weight.shape[0] == self.weight.shape[1]
        check(square, "weight", "be square in a residual layer", self.weight.shape)

    @property
    def skips(self) -> bool:
        """Whether it is a residual layer."""
        return self.residual

    def forward(self, act: Float[Array, "n N_in"] | None) -> Trace:
        """Fields of this layer for the activations that enter it."""
        assert act is not None
        pre = forward_field(act, self.weight, self.bias, self.scale)
        own = self.activation.value(pre)
        return Trace(act, pre, act + own if self.residual else own)

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N_in"]:
        """Conjugate field of the layer below, scale delta W."""
        return conjugate_field(sens, self.weight, self.scale)

    def matrix(self) -> Float[Array, "N N_in"]:
        """Scale W."""
        return self.weight if self.scale is None else self.scale * self.weight

    def learn_pre(
        self, act: Float[Array, "n N_in"] | None, trace: Trace, drive: Pulled
    ) -> Float[Array, "n N"]:
        """(scale^2 h' h^T (+ 1)) drive."""
        assert act is not None
        assert trace.inputs is not None
        gram = cross_gram(act, trace.inputs, scale=self.scale, bias=self.bias is not None)
        return gram @ drive.sens

    def learn_conj(self, back: Pulled, trace: Trace, drive: Pulled) -> Float[Array, "n C N_in"]:
        """scale^2 (delta' . drive) h."""
        assert trace.inputs is not None
        return learnt_conjugate(back.sens, drive.sens, trace.inputs, self.scale)

    def gradient(self, trace: Trace, drive: Pulled) -> "Dense":
        """dLoss/dW = scale drive^T h, dLoss/db = sum over samples of drive."""
        assert trace.inputs is not None
        weight = drive.sens.T @ trace.inputs
        if self.scale is not None:
            weight = self.scale * weight
        bias = None if self.bias is None else jnp.sum(drive.sens, axis=0)
        return eqx.tree_at(
            lambda layer: (layer.weight, layer.bias, layer.scale, layer.weight_variance),
            self,
            (weight, bias, None, None),
            is_leaf=lambda leaf: leaf is None,
        )

    def moved(self, move: Float[Array, "N N_in"]) -> "Dense":
        """A layer of moves: that of the weights for one of `matrix()`; None for all else."""
        nothing: Dense = jax.tree.map(lambda _: None, self)
        if not self.trainable:
            return nothing
        move = move if self.scale is None else self.scale * move
        return eqx.tree_at(
            lambda layer: layer.weight, nothing, move, is_leaf=lambda leaf: leaf is None
        )

    def input_gram(self, trace: Trace) -> Float[Array, "n n"]:
        """scale^2 h h^T, plus 1 with a bias."""
        assert trace.inputs is not None
        return act_gram(trace.inputs, scale=self.scale, bias=self.bias is not None)


class GramDense(AbstractLayer):
    """The first layer in Gram coordinates: it carries its preactivations in place of its weights.

    The first layer's weights enter only through `pre = scale X W^T + b`, and every scheme linear
    in the gradient moves `pre` by `gram drive` times what it would move the weights by `drive^T X`:
    with G^0 = scale^2 X X^T (+ 1) the trajectory is the same, exactly, and `d` is gone.

    Attributes:
        pre: Preactivations, shape (n, N); trained.
        outside: Factor on the part of the initial weights that no input sees, shape (): only
            weight decay moves it, but the weights cannot be rebuilt without it. Trained.
        gram: Gram of the inputs, multiplier and bias included, shape (n, n).
        activation: phi.
        trainable: Whether the layer trains.
        weight_variance: Variance of the entries of the initial weights by their law, None where
            that is not known; times `gram` (less 1 with a bias) it is the covariance of `pre`.
            Not trained.
        bias: Whether the layer has a bias, which is the 1 in `gram`.

    Source: arXiv 2606.09744, elimination of the input weights.
    """

    pre: Float[Array, "n N"]
    outside: Float[Array, ""]
    gram: Float[Array, "n n"]
    activation: Activation
    trainable: bool = eqx.field(static=True, default=True)
    weight_variance: Float[Array, ""] | None = None
    bias: bool = eqx.field(static=True, default=False)
    frozen_leaves: ClassVar[tuple[str, ...]] = ("gram", "weight_variance")

    def forward(self, act: Float[Array, "n N_in"] | None) -> Trace:
        """Fields of this layer; the inputs are not needed."""
        return Trace(None, self.pre, self.activation.value(self.pre))

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N_in"]:
        """Not to be had: nothing lies below a layer in Gram coordinates."""
        raise NotImplementedError("A layer in Gram coordinates is the first of its network.")

    def matrix(self) -> Float[Array, "N N_in"]:
        """Not to be had: the weights are not carried."""
        raise NotImplementedError("A layer in Gram coordinates carries no weights.")

    def lipschitz(self) -> Float[Array, ""]:
        """Not to be had without weights."""
        raise InputError("A layer in Gram coordinates carries no weights: set coordinates weights.")

    def learn_pre(
        self, act: Float[Array, "n N_in"] | None, trace: Trace, drive: Pulled
    ) -> Float[Array, "n N"]:
        """G^0 drive."""
        return self.gram @ drive.sens

    def gradient(self, trace: Trace, drive: Pulled) -> "GramDense":
        """Image of the weight gradient in `pre`: G^0 drive."""
        return eqx.tree_at(
            lambda layer: (layer.pre, layer.outside, layer.gram, layer.weight_variance),
            self,
            (self.gram @ drive.sens, jnp.zeros_like(self.outside), None, None),
            is_leaf=lambda leaf: leaf is None,
        )

    def input_gram(self, trace: Trace) -> Float[Array, "n n"]:
        """G^0, as given."""
        return self.gram

    def step_flops(self, n_samples: int, *, first: bool) -> int:
        """Operations of the one product, G^0 drive."""
        return 2 * n_samples * self.pre.size
