"""A network: layers in order, the last one its readout."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from gramdyn.models.frozen import trained_spec
from gramdyn.models.layers import AbstractLayer, Pulled, Trace


class Network(eqx.Module):
    """Layers in order; the last is the readout, with linear activation.

    Attributes:
        layers: Hidden layers, then the readout.
    """

    layers: tuple[AbstractLayer, ...]

    @property
    def depth(self) -> int:
        """Number of hidden layers."""
        return len(self.layers) - 1

    @property
    def readout(self) -> AbstractLayer:
        """The last layer."""
        return self.layers[-1]

    @property
    def skips(self) -> bool:
        """Whether any layer hands on more than phi of one matrix on what enters it."""
        return any(layer.skips for layer in self.layers)

    @property
    def free(self) -> bool:
        """Whether every layer's matrix is itself what trains, as laws of weight Grams ask."""
        return all(layer.free for layer in self.layers)

    @property
    def factorised(self) -> bool:
        """Whether each layer's kernel is one Gram of what enters it times one of sensitivities."""
        return all(layer.factorised for layer in self.layers)

    @property
    def shares_weights(self) -> bool:
        """Whether a sample meets the weights of any layer more than once."""
        return any(layer.shares_weights for layer in self.layers)

    def traces(self, inputs: Float[Array, "n d"] | None) -> tuple[Trace, ...]:
        """Fields of every layer on the inputs (None when the first layer needs none)."""
        found, act = [], inputs
        for layer in self.layers:
            trace = layer.forward(act)
            found.append(trace)
            act = trace.act
        return tuple(found)

    def __call__(self, inputs: Float[Array, "n d"] | None) -> Float[Array, "n C"]:
        """Outputs of the network, shape (n, C)."""
        return self.traces(inputs)[-1].act

    def backward(
        self, traces: tuple[Trace, ...], conj: Float[Array, "n rows C"]
    ) -> tuple[Pulled, ...]:
        """Pull a conjugate field of the outputs back through every layer.

        Args:
            traces: Fields of a forward pass.
            conj: One row a pulled direction, shape (n, rows, C).

        Returns:
            For each layer the derivatives of the rows by its preactivations, and by what it
            hands on, (n, rows, N_l) each.
        """
        found = []
        for i in range(len(self.layers) - 1, -1, -1):
            found.append(Pulled(self.layers[i].backward(traces[i], conj), conj))
            if i > 0:
                conj = self.layers[i].below(traces[i], found[-1])
        return tuple(reversed(found))

    def gradient(self, traces: tuple[Trace, ...], drives: tuple[Pulled, ...]) -> "Network":
        """Gradient of a loss in the coordinates of each layer; None for what does not train.

        Args:
            traces: Fields of a forward pass.
            drives: Derivatives of the loss by each layer's preactivations and by what it hands
                on, shape (n, N_l).
        """
        found = [
            layer.gradient(trace, drive) if layer.trainable else jax.tree.map(lambda _: None, layer)
            for layer, trace, drive in zip(self.layers, traces, drives, strict=True)
        ]
        return Network(tuple(found))

    def partition(self) -> tuple["Network", "Network"]:
        """Split into what trains and what does not, each a network with None for the rest."""
        specs = [trained_spec(one, one.frozen_leaves, one.trainable) for one in self.layers]
        return eqx.partition(self, Network(tuple(specs)))
