"""A network trained by gradient flow, in weight coordinates or in Gram coordinates.

Both are one system: what differs is the first layer, which carries its weights or its
preactivations on the training set (see `gramdyn.models.GramDense`).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_known
from gramdyn._errors import InputError
from gramdyn.data.task import Task
from gramdyn.models.layers import Dense, GramDense
from gramdyn.models.network import Network
from gramdyn.systems.base import AbstractSystem
from gramdyn.systems.gram import choose_coordinates, rebuild_first_layer, to_gram
from gramdyn.systems.losses import AbstractLoss, SquaredLoss
from gramdyn.systems.network_fields import NetworkFields

COORDINATES = ("auto", "weights", "gram")


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
    """

    start: Network
    origin: Dense | None
    inputs: Float[Array, "n d"]
    targets: Float[Array, "n C"]
    loss: AbstractLoss
    offset: Float[Array, "n C"] | None = None

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
        return NetworkFields(network, inputs, self.targets, self.loss, self.offset)

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


def make_system(
    network: Network,
    task: Task,
    *,
    loss: AbstractLoss | None = None,
    coordinates: str = "auto",
    centred: bool = False,
) -> NetworkSystem:
    """The system of a network trained on a task.

    Args:
        network: Network in weight coordinates at t = 0.
        task: Inputs and targets; cast to the network's dtype.
        loss: `SquaredLoss("sum")` by default.
        coordinates: "weights", "gram", or "auto": the one with fewer operations a step. Both give
            the same trajectory under every scheme linear in the gradient.
        centred: Train outputs minus their value at t = 0, so that the function starts at zero.

    Raises:
        InputError: for unknown coordinates or shapes that do not fit.
    """
    check_known("coordinates", coordinates, COORDINATES)
    first = network.layers[0]
    if not isinstance(first, Dense):
        raise InputError("Argument `network` must be in weight coordinates, but is in Gram ones.")
    task = task.cast(first.weight.dtype)
    _check_shapes(network, task)
    inputs, targets = jnp.asarray(task.inputs), jnp.asarray(task.targets)
    offset = network(inputs) if centred else None
    if coordinates == "auto":
        coordinates = choose_coordinates(*inputs.shape)
    loss = SquaredLoss() if loss is None else loss
    if coordinates == "weights":
        return NetworkSystem(network, None, inputs, targets, loss, offset)
    gram = None if task.input_gram is None else jnp.asarray(task.input_gram)
    start = Network((to_gram(first, inputs, gram), *network.layers[1:]))
    return NetworkSystem(start, first, inputs, targets, loss, offset)


def _check_shapes(network: Network, task: Any) -> None:
    first, last = network.layers[0], network.readout
    assert isinstance(first, Dense)
    assert isinstance(last, Dense)
    fits = first.weight.shape[1] == task.inputs.shape[1]
    check(
        fits, "network", f"take {task.inputs.shape[1]} inputs like the task", first.weight.shape[1]
    )
    fits = last.weight.shape[0] == task.targets.shape[1]
    check(
        fits, "network", f"have {task.targets.shape[1]} outputs like the task", last.weight.shape[0]
    )
