"""An orthogonal layer and a readout as a closed system of their preactivations."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check
from gramdyn.data.task import Task
from gramdyn.models.gram_orthogonal import to_gram_orthogonal
from gramdyn.models.network import Network
from gramdyn.systems.base import AbstractSystem
from gramdyn.systems.losses import AbstractLoss, SquaredLoss
from gramdyn.systems.network_fields import NetworkFields


class OrthogonalSystem(AbstractSystem):
    """Gradient flow of a network whose first layer moves on the orthogonal group.

    The state has the preactivations of that layer in place of its matrix.

    Attributes:
        start: The network at t = 0, its first layer a `GramOrthogonal`.
        targets: Training targets, shape (n, C).
        loss: Loss of outputs and targets.
    """

    start: Network
    targets: Float[Array, "n C"]
    loss: AbstractLoss

    @property
    def exact_for(self) -> str:
        """For "integrators" of the flow: a step of descent would leave the group."""
        return "integrators"

    @property
    def coordinates(self) -> str:
        """Those of a layer told by its preactivations."""
        return "gram"

    def initial_state(self) -> Network:
        """The preactivations and the trained arrays above them, at t = 0."""
        return self.start.partition()[0]

    def fields(self, state: Network) -> NetworkFields:
        """The fields on the training set."""
        network = eqx.combine(state, self.start.partition()[1])
        return NetworkFields(network, None, self.targets, self.loss)

    def velocity(self, state: Network, fields: Any = None) -> Network:
        """Velocity by the closed law."""
        fields = self.fields(state) if fields is None else fields
        return jax.tree.map(lambda leaf: -leaf, fields.gradient())

    def stiffness(self, fields: NetworkFields) -> Float[Array, ""]:
        """S times the largest eigenvalue of the tangent kernel."""
        return fields.stiffness()

    def step_flops(self) -> int:
        """Operations of one evaluation of the velocity."""
        n, layers = self.targets.shape[0], self.start.layers
        return sum(layer.step_flops(n, first=i == 0) for i, layer in enumerate(layers))


def make_orthogonal_system(
    network: Network, task: Task, *, loss: AbstractLoss | None = None
) -> OrthogonalSystem:
    """The closed system of a network that begins with an orthogonal layer.

    The layer moves by the metric of the group. Cayley coordinates have another one away from A = 0,
    so that a run of `make_system(..., coordinates="weights")` departs from it as A grows.

    Args:
        network: Its first layer a square orthogonal pathway without bias and correction, as of
            `enriched_network(..., pathway="orthogonal", embedding="none", bias=False)`.
        task: Inputs and targets; cast to the network's dtype. Only the Gram of the inputs is kept.
        loss: `SquaredLoss("sum")` by default.

    Raises:
        InputError: for another first layer, or shapes that do not fit.
    """
    first, loss = network.layers[0], SquaredLoss() if loss is None else loss
    task = task.cast(first.matrix().dtype)
    fits = task.n_inputs == first.n_inputs
    check(fits, "network", f"take {task.n_inputs} inputs like the task", first.n_inputs)
    inputs, targets = jnp.asarray(task.inputs), jnp.asarray(task.targets)
    start = Network((to_gram_orthogonal(first, inputs), *network.layers[1:]))
    return OrthogonalSystem(start, targets, loss)
