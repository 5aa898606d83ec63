"""Both layers of a ReLU network on the whole population of a planted map, in thin coordinates."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check
from gramdyn.kernels.linear import multiply
from gramdyn.kernels.planted_hessian import hessian_product
from gramdyn.kernels.spectra import top_eigenvalues_of
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network
from gramdyn.systems.base import AbstractFields, AbstractSystem
from gramdyn.systems.planted_view import PlantedView, widened_map


class PlantedFields(AbstractFields, PlantedView):
    """What one state shows of the population; each quantity computed once."""

    def __init__(self, network: Network, target: Float[Array, "C m"]):
        self.network = network
        self._target = target

    @property
    def hidden(self) -> Float[Array, "k m"]:
        """Rows w_i in thin coordinates, shape (k, C + k)."""
        return self.network.layers[0].matrix()

    @property
    def readout(self) -> Float[Array, "k C"]:
        """Rows V_i, shape (k, C)."""
        return self.network.layers[1].matrix().T

    @property
    def target(self) -> Float[Array, "C m"]:
        """B in thin coordinates, shape (C, C + k)."""
        return self._target

    @property
    def loss(self) -> Float[Array, ""]:
        """The loss of the population."""
        return self.population_loss

    @property
    def watched_loss(self) -> Float[Array, ""]:
        """The same from the gradient by V: no more to compute, exact to some eps |B|^2."""
        _, by_readout = self.gradient_rows
        overlap = multiply(self.hidden, self.target.T)
        own = jnp.sum(self.readout * (by_readout / 2.0 - overlap / 4.0))
        return own + self.target_square / 2.0

    @property
    def gradient_rows(self) -> tuple[Float[Array, "k m"], Float[Array, "k C"]]:
        """That of the population."""
        return self.population_gradient


class PlantedSystem(AbstractSystem):
    """Training of both layers on the whole population of a planted map, in thin coordinates.

    f(x) = V^T relu(W x) against B x for x ~ N(0, I_d), loss 1/2 E |f - B x|^2, by its gradient in
    closed form: M W - V B / 2 and J V - W B^T / 2 (`gramdyn.kernels.planted`). The state is that of
    a network with C + k inputs; its trajectory is the one with all d, rotated.

    Attributes:
        start: The network at t = 0, as `gramdyn.models.thin_network` gives it.
        planted_map: B in its first C columns, shape (C, C).

    Cost: k^2 (4 D + 4 C) + 4 k C D operations a step with D = C + k, whatever d.
    Source: arXiv 2606.04476; thin coordinates derived here, tested.
    """

    start: Network
    planted_map: Float[Array, "C C"]

    def __check_init__(self) -> None:
        _check_both_layers(self.start)
        n_outputs, (width, n_inputs) = len(self.planted_map), self.start.layers[0].matrix().shape
        own = self.start.layers[1].matrix().shape[0]
        check(own == n_outputs, "network", f"have {n_outputs} outputs like the map", own)
        thin = n_outputs + width
        check(n_inputs == thin, "network", f"have {thin} inputs, in thin coordinates", n_inputs)

    @property
    def coordinates(self) -> str:
        """The coordinates, "thin"."""
        return "thin"

    @property
    def exact_for(self) -> str:
        """A rotation of the weights: schemes "linear" in the gradient."""
        return "linear"

    @property
    def target(self) -> Float[Array, "C m"]:
        """B in thin coordinates, shape (C, C + k)."""
        return widened_map(self.planted_map, self.start.layers[0].matrix().shape[1])

    def initial_state(self) -> Network:
        """The trained arrays at t = 0."""
        return self.start.partition()[0]

    def fields(self, state: Network) -> PlantedFields:
        """The fields of a state."""
        return PlantedFields(self.network(state), self.target)

    def velocity(self, state: Network, fields: PlantedFields | None = None) -> Network:
        """Minus the loss gradient."""
        fields = self.fields(state) if fields is None else fields
        by_hidden, by_readout = fields.gradient_rows
        layers = [layer for layer in self.start.layers if isinstance(layer, Dense)]
        return Network((layers[0].moved(-by_hidden), layers[1].moved(-by_readout.T)))

    def stiffness(self, fields: PlantedFields) -> Float[Array, ""]:
        """Largest eigenvalue of the Hessian of the loss, by products alone."""
        shape, split = fields.hidden.shape, fields.hidden.size

        def apply(vector: Float[Array, " p"]) -> Float[Array, " p"]:
            step, turn = vector[:split].reshape(shape), vector[split:].reshape(shape[0], -1)
            found = hessian_product(fields.hidden, fields.readout, fields.target, step, turn)
            return jnp.concatenate([part.reshape(-1) for part in found])

        size = split + fields.readout.size
        return top_eigenvalues_of(apply, size, fields.hidden.dtype)[0]

    def step_flops(self) -> int:
        """Operations of one gradient step, matrix products alone."""
        width, inputs = self.start.layers[0].matrix().shape
        outputs = self.planted_map.shape[0]
        return 4 * width**2 * (inputs + outputs) + 4 * width * outputs * inputs

    def network(self, state: Network) -> Network:
        """The network of a state, in thin coordinates."""
        network: Network = eqx.combine(state, self.start.partition()[1])
        return network


def learns_both_layers(network: Network) -> bool:
    """Whether it is one layer of ReLU and a readout, both trained, without biases, multipliers."""
    layers = network.layers
    good = len(layers) == 2 and layers[0].activation.name == "relu" and not network.skips
    plain = all(
        getattr(layer, name, None) is None for layer in layers for name in ("bias", "scale")
    )
    return good and plain and all(layer.trainable for layer in layers)


def _check_both_layers(network: Network) -> None:
    told = [(type(layer).__name__, layer.activation.name) for layer in network.layers]
    demand = "be one layer of ReLU and a readout, both trained, without biases and multipliers"
    check(learns_both_layers(network), "network", demand, told)
