"""The fields of a network on its training set, each computed once, on first use."""

import functools
from collections.abc import Callable
from functools import cached_property

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramdyn._checks import check
from gramdyn.data.task import HeldOut
from gramdyn.kernels.gram import tangent_kernel
from gramdyn.kernels.operators import Path, reversed_path
from gramdyn.kernels.spectra import top_eigenvalues_of
from gramdyn.models.infinite_width import check_limit, limit_kernels
from gramdyn.models.layers import Pulled, Trace
from gramdyn.models.network import Network
from gramdyn.systems.base import AbstractFields
from gramdyn.systems.linear import ResidualSystem
from gramdyn.systems.losses import AbstractLoss, SquaredLoss


class NetworkFields(AbstractFields):
    """What one state of a network shows on its training set.

    Layers are listed from the first hidden one to the readout; kernels only those that train.
    An object of this class belongs to the trace it was made in.
    """

    def __init__(
        self,
        network: Network,
        inputs: Float[Array, "n d"] | None,
        targets: Float[Array, "n C"],
        loss: AbstractLoss,
        offset: Float[Array, "n C"] | None = None,
        held_out: HeldOut | None = None,
    ):
        self.network = network
        self.inputs = inputs
        self.targets = targets
        self.loss_function = loss
        self.offset = offset
        self._held_out = held_out

    @property
    def trained_on(self) -> "NetworkFields":
        """The fields by which this step is made: these, or those of a batch."""
        return self

    @cached_property
    def held_out(self) -> "NetworkFields | None":
        """The fields on the samples that are held out, None where there are none."""
        if self._held_out is None:
            return None
        seen = jnp.asarray(self._held_out.inputs), jnp.asarray(self._held_out.targets)
        return NetworkFields(self.network, *seen, self.loss_function)

    @property
    def loss_scale(self) -> float:
        """The factor s in front of the loss and of the residual law."""
        return self.loss_function.scale(self.targets.shape[0])

    @cached_property
    def traces(self) -> tuple[Trace, ...]:
        """Inputs, preactivations and activations of each layer."""
        return self.network.traces(self.inputs)

    @property
    def outputs(self) -> Float[Array, "n C"]:
        """Outputs f, centred where the system says so, shape (n, C)."""
        outputs = self.traces[-1].act
        return outputs if self.offset is None else outputs - self.offset

    @cached_property
    def residual(self) -> Float[Array, "n C"]:
        """Residual r, shape (n, C)."""
        return self.loss_function.residual(self.outputs, self.targets)

    @cached_property
    def loss(self) -> Float[Array, ""]:
        """Loss."""
        return self.loss_function.value(self.outputs, self.targets)

    @cached_property
    def active(self) -> tuple[Bool[Array, "n _"], ...]:
        """Whether each neuron of each hidden layer is active (`pre > 0`), (n, N_l) a layer.

        Everywhere true where the activation's mask does not jump: such a layer has no flips.
        """
        pairs = zip(self.network.layers[:-1], self.traces, strict=False)
        return tuple((trace.pre > 0) | (not layer.activation.has_flips) for layer, trace in pairs)

    @cached_property
    def masks(self) -> tuple[Float[Array, "n _"], ...]:
        """Derivative of the activation of each hidden layer, shape (n, N_l)."""
        pairs = zip(self.network.layers[:-1], self.traces, strict=False)
        return tuple(layer.activation.mask(trace.pre) for layer, trace in pairs)

    @property
    def conj(self) -> tuple[Float[Array, "n C _"], ...]:
        """Conjugate field q^l of each hidden layer: df_c/dh^l, shape (n, C, N_l)."""
        return tuple(one.conj for one in self.pulled[:-1])

    @property
    def sens(self) -> tuple[Float[Array, "n C _"], ...]:
        """Sensitivities delta^l of each layer, shape (n, C, N_l)."""
        return tuple(one.sens for one in self.pulled)

    @cached_property
    def pulled(self) -> tuple[Pulled, ...]:
        """What comes back to each layer, of every output: sensitivities and conjugate field."""
        n, n_outputs = self.targets.shape
        eye = jnp.eye(n_outputs, dtype=self.targets.dtype)
        conj = jnp.broadcast_to(eye[None], (n, n_outputs, n_outputs))
        return self.network.backward(self.traces, conj)

    @property
    def drives(self) -> tuple[Float[Array, "n _"], ...]:
        """Residual-weighted sensitivities sum_c r_c delta_c of each layer, shape (n, N_l)."""
        return tuple(one.sens for one in self.driven)

    @cached_property
    def driven(self) -> tuple[Pulled, ...]:
        """What comes back to each layer, residual-weighted: what its gradient is made of."""
        if "pulled" in self.__dict__:  # made for a record: contract instead of a second sweep
            return tuple(one.weighted(self.residual) for one in self.pulled)
        rows = self.network.backward(self.traces, self.residual[:, None, :])
        return tuple(row.single() for row in rows)

    def push_path(self, end: int, start: int) -> Path:
        """Path of the pushforward operator Gamma from layer `start` up to `end` > `start`.

        Layers are counted from 0, the first hidden one; its operator carries a change of the
        preactivations of `start` to those of `end`.

        Raises:
            InputError: unless 0 <= start < end, `end` at most the readout's position.
        """
        self._check_operators()
        good = 0 <= start < end < len(self.network.layers)
        check(good, "start, end", "rise from 0 to the readout", (start, end))
        layers = self.network.layers[start + 1 : end + 1]
        return Path(self.masks[start:end], tuple(layer.matrix() for layer in layers))

    def pull_path(self, end: int, start: int) -> Path:
        """Path of the pullback operator P from layer `start` down to `end` < `start` - 1.

        Its operator acts on the conjugate field of `end`; with `start` = `end` + 2 it is the
        weight-induced Gram operator W^T D_mu D_nu W of the layer in between.

        Raises:
            InputError: unless 0 <= end < start - 1, `start` at most the readout's position.
        """
        self._check_operators()
        good = 0 <= end < start - 1 < len(self.network.layers) - 1
        check(good, "end, start", "lie two layers apart or more, up to the readout", (end, start))
        layers = self.network.layers[end + 1 : start]
        matrices = tuple(layer.matrix() for layer in layers)
        return reversed_path(Path(self.masks[end + 1 : start], matrices))

    def _check_operators(self) -> None:
        told = "have no residual layers and no corrections for operators"
        check(not self.network.skips, "network", told, "one with some")
        told = "have no convolutions for operators"
        check(not self.network.shares_weights, "network", told, "convolutional")

    @property
    def trained(self) -> tuple[int, ...]:
        """Positions of the layers that train."""
        return tuple(i for i, layer in enumerate(self.network.layers) if layer.trainable)

    @cached_property
    def layer_kernels(self) -> Float[Array, "L n C n C"]:
        """Kernel of each trained layer, shape (layers, n, C, n, C)."""
        layers, traces, pulled = self.network.layers, self.traces, self.pulled
        return jnp.stack([layers[i].kernel(traces[i], pulled[i]) for i in self.trained])

    @cached_property
    def tangent_kernel(self) -> Float[Array, "n C n C"]:
        """Sum of the layer kernels, shape (n, C, n, C)."""
        return tangent_kernel(self.layer_kernels)

    @cached_property
    def all_kernels(self) -> Float[Array, "L n C n C"]:
        """The tangent kernel, then each layer's, shape (1 + layers, n, C, n, C)."""
        return jnp.concatenate([self.tangent_kernel[None], self.layer_kernels])

    @cached_property
    def limit_kernels(self) -> Float[Array, "L n C n C"]:
        """What the layer kernels at t = 0 tend to as the widths grow; the same at every t."""
        check_limit(self.network)
        first, trace = self.network.layers[0], self.traces[0]
        return limit_kernels(self.network, first.input_gram(trace))

    def linear_system(self, kernel: Float[Array, "n C n C"]) -> ResidualSystem:
        """The residual law with this constant kernel, from the residual here.

        Raises:
            InputError: for a loss that is not squared.
        """
        squared = isinstance(self.loss_function, SquaredLoss)
        check(squared, "loss", "be squared for a constant kernel to decide", self.loss_function)
        return ResidualSystem(kernel, self.residual, self.loss_scale)

    def kernel_product(self) -> Callable[[Float[Array, "n C"]], Float[Array, "n C"]]:
        """Function that multiplies a vector by the tangent kernel, no kernel formed."""
        layers, traces, pulled = self.network.layers, self.traces, self.pulled
        products = [layers[i].kernel_product(traces[i], pulled[i]) for i in self.trained]
        return lambda vector: functools.reduce(jnp.add, [one(vector) for one in products])

    def stiffness(self) -> Float[Array, ""]:
        """S times the largest eigenvalue of the tangent kernel, by products alone."""
        shape, product = self.targets.shape, self.kernel_product()

        def apply(vector: Float[Array, " m"]) -> Float[Array, " m"]:
            return product(vector.reshape(shape)).reshape(-1)

        top = top_eigenvalues_of(apply, self.targets.size, self.targets.dtype)
        return self.loss_scale * top[0]

    def gradient(self) -> Network:
        """Loss gradient in the coordinates of each layer; None for what does not train."""
        found = self.network.gradient(self.traces, self.driven)
        return jax.tree.map(lambda leaf: self.loss_scale * leaf, found)
