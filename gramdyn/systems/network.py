"""A network trained by gradient flow, in weight coordinates or in Gram coordinates.

Both are one system: what differs is the first layer, which carries its weights or its
preactivations on the training set (see `gramdyn.models.GramDense`). `make_system` makes it.
"""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from gramdyn.data.task import HeldOut
from gramdyn.models.layers import Dense, GramDense
from gramdyn.models.network import Network
from gramdyn.systems.base import AbstractSystem
from gramdyn.systems.gram import rebuild_first_layer
from gramdyn.systems.losses import AbstractLoss
from gramdyn.systems.network_fields import NetworkFields


class NetworkSystem(AbstractSystem):
    """Training of a network on fixed inputs and targets.

    The state is the network with None in place of everything that does not train.

    Attributes:
        start: The network at t = 0, in the coordinates the system evolves.
        origin: Its first layer in weight coordinates, where `start` has another one; else None.
        inputs: Training inputs, shape (n, d).
        targets: Training targets, shape (n, C).
        loss: Loss of outputs and targets.
        offset: Subtracted from what the network gives, shape (n, C), or None.
        held_out: Samples that nothing is trained on, for those who look, or None.
    """

    start: Network
    origin: Dense | None
    inputs: Float[Array, "n d"]
    targets: Float[Array, "n C"]
    loss: AbstractLoss
    offset: Float[Array, "n C"] | None = None
    held_out: HeldOut | None = None

    @property
    def coordinates(self) -> str:
        """The coordinates, "gram" or "weights"."""
        return "gram" if isinstance(self.start.layers[0], GramDense) else "weights"

    @property
    def exact_for(self) -> str:
        """Only schemes "linear" in the gradient in Gram coordinates, "any" in weight ones."""
        return "linear" if self.coordinates == "gram" else "any"

    def initial_state(self) -> Network:
        """The trained arrays at t = 0."""
        return self.start.partition()[0]

    def fields(self, state: Network) -> NetworkFields:
        """The fields on the training set."""
        network = eqx.combine(state, self.start.partition()[1])
        inputs = None if self.coordinates == "gram" else self.inputs
        return NetworkFields(network, inputs, self.targets, self.loss, self.offset, self.held_out)

    def velocity(self, state: Network, fields: NetworkFields | None = None) -> Network:
        """Minus the loss gradient, in the coordinates of the state."""
        fields = self.fields(state) if fields is None else fields
        return jax.tree.map(lambda leaf: -leaf, fields.gradient())

    def stiffness(self, fields: NetworkFields) -> Float[Array, ""]:
        """S times the largest eigenvalue of the tangent kernel."""
        return fields.stiffness()

    def step_flops(self) -> int:
        """Operations of one gradient step, matrix products alone."""
        n = self.targets.shape[0]
        layers = self.start.layers
        return sum(layer.step_flops(n, first=i == 0) for i, layer in enumerate(layers))

    def network(self, state: Network) -> Network:
        """The network of a state, in weight coordinates whatever the system's own are.

        Cost: in Gram coordinates one singular value decomposition of the inputs, n d min(n, d).
        """
        network: Network = eqx.combine(state, self.start.partition()[1])
        if self.origin is None:
            return network
        first = rebuild_first_layer(network.layers[0], self.origin, self.inputs)
        return Network((first, *network.layers[1:]))
