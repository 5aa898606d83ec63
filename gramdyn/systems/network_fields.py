"""The fields of a network on its training set, each computed once, on first use."""

import functools
from collections.abc import Callable
from functools import cached_property

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramdyn._checks import check
from gramdyn.kernels.fields import drive
from gramdyn.kernels.gram import tangent_kernel
from gramdyn.models.infinite_width import limit_kernels
from gramdyn.models.layers import Trace
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
    ):
        self.network = network
        self.inputs = inputs
        self.targets = targets
        self._loss = loss
        self._offset = offset

    @property
    def loss_scale(self) -> float:
        """The factor s in front of the loss and of the residual law."""
        return self._loss.scale(self.targets.shape[0])

    @cached_property
    def traces(self) -> tuple[Trace, ...]:
        """Inputs, preactivations and activations of each layer."""
        return self.network.traces(self.inputs)

    @property
    def outputs(self) -> Float[Array, "n C"]:
        """Outputs f, centred where the system says so, shape (n, C)."""
        outputs = self.traces[-1].act
        return outputs if self._offset is None else outputs - self._offset

    @cached_property
    def residual(self) -> Float[Array, "n C"]:
        """Residual r, shape (n, C)."""
        return self._loss.residual(self.outputs, self.targets)

    @cached_property
    def loss(self) -> Float[Array, ""]:
        """Loss."""
        return self._loss.value(self.outputs, self.targets)

    @cached_property
    def active(self) -> tuple[Bool[Array, "n _"], ...]:
        """Whether each neuron of each hidden layer is active (`pre > 0`), (n, N_l) a layer.

        Everywhere true where the activation's mask does not jump: such a layer has no flips.
        """
        pairs = zip(self.network.layers[:-1], self.traces, strict=False)
        return tuple((trace.pre > 0) | (not layer.activation.has_flips) for layer, trace in pairs)

    @cached_property
    def sens(self) -> tuple[Float[Array, "n C _"], ...]:
        """Sensitivities delta^l of each layer, shape (n, C, N_l)."""
        n, n_outputs = self.targets.shape
        eye = jnp.eye(n_outputs, dtype=self.targets.dtype)
        conj = jnp.broadcast_to(eye[None], (n, n_outputs, n_outputs))
        return self.network.backward(self.traces, conj)

    @cached_property
    def drives(self) -> tuple[Float[Array, "n _"], ...]:
        """Residual-weighted sensitivities sum_c r_c delta_c of each layer, shape (n, N_l)."""
        if "sens" in self.__dict__:  # already made for a record: contract instead of a second sweep
            return tuple(drive(self.residual, sens) for sens in self.sens)
        rows = self.network.backward(self.traces, self.residual[:, None, :])
        return tuple(row[:, 0, :] for row in rows)

    @property
    def trained(self) -> tuple[int, ...]:
        """Positions of the layers that train."""
        return tuple(i for i, layer in enumerate(self.network.layers) if layer.trainable)

    @cached_property
    def layer_kernels(self) -> Float[Array, "L n C n C"]:
        """Kernel of each trained layer, shape (layers, n, C, n, C)."""
        layers, traces, sens = self.network.layers, self.traces, self.sens
        return jnp.stack([layers[i].kernel(traces[i], sens[i]) for i in self.trained])

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
        first, trace = self.network.layers[0], self.traces[0]
        return limit_kernels(self.network, first.input_gram(trace))

    def linear_system(self, kernel: Float[Array, "n C n C"]) -> ResidualSystem:
        """The residual law with this constant kernel, from the residual here.

        Raises:
            InputError: for a loss that is not squared.
        """
        squared = isinstance(self._loss, SquaredLoss)
        check(squared, "loss", "be squared for a constant kernel to decide", self._loss)
        return ResidualSystem(kernel, self.residual, self.loss_scale)

    def kernel_product(self) -> Callable[[Float[Array, "n C"]], Float[Array, "n C"]]:
        """Function that multiplies a vector by the tangent kernel, no kernel formed."""
        layers, traces, sens = self.network.layers, self.traces, self.sens
        products = [layers[i].kernel_product(traces[i], sens[i]) for i in self.trained]
        return lambda vector: functools.reduce(jnp.add, [one(vector) for one in products])
