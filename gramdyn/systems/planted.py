"""A ReLU network that learns a planted linear map, both layers trained: population and samples."""

import math
from abc import ABC, abstractmethod
from functools import cached_property

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check
from gramdyn.kernels.linear import multiply
from gramdyn.kernels.planted import (
    hessian_product,
    loss_parts,
    population_gradient,
    population_loss,
)
from gramdyn.kernels.spectra import top_eigenvalues_of
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network
from gramdyn.systems.base import AbstractFields, AbstractSystem
from gramdyn.systems.network import NetworkSystem
from gramdyn.systems.network_fields import NetworkFields


class PlantedView(ABC):
    """What diagnostics of a planted map read, be it learnt from the population or from samples."""

    @property
    @abstractmethod
    def hidden(self) -> Float[Array, "k D"]:
        """Rows w_i of W, shape (k, D); D is C + k in thin coordinates, d on samples."""

    @property
    @abstractmethod
    def readout(self) -> Float[Array, "k C"]:
        """Rows V_i, shape (k, C)."""

    @property
    @abstractmethod
    def target(self) -> Float[Array, "C D"]:
        """Planted map B, shape (C, D)."""

    @property
    @abstractmethod
    def gradient_rows(self) -> tuple[Float[Array, "k D"], Float[Array, "k C"]]:
        """Gradient of the loss that is trained, by W and by V."""

    @property
    def noise_angle(self) -> float:
        """Angle to the map at which the noise of the samples stops a row; 0 without samples."""
        return 0.0

    @property
    def target_square(self) -> Float[Array, ""]:
        """|B|_F^2."""
        return jnp.sum(self.target**2)

    @cached_property
    def norms(self) -> Float[Array, " k"]:
        """Norms |w_i| of the rows."""
        return jnp.sqrt(jnp.sum(self.hidden**2, axis=1))

    @cached_property
    def gains(self) -> Float[Array, " k"]:
        """Gains v_i |w_i| of one output, |V_i| |w_i| of several."""
        turned = self.readout
        one = turned.shape[1] == 1
        return self.norms * (turned[:, 0] if one else jnp.sqrt(jnp.sum(turned**2, axis=1)))

    @cached_property
    def imbalance(self) -> Float[Array, " k"]:
        """D_i = |V_i|^2 - |w_i|^2."""
        return jnp.sum(self.readout**2, axis=1) - jnp.sum(self.hidden**2, axis=1)

    @cached_property
    def target_angles(self) -> Float[Array, " k"]:
        """Angle of each row to the span of the rows of B, in [0, pi/2]; pi/2 for a zero row."""
        frame = self._target_frame()
        along = self.hidden @ frame.T
        across = self.hidden - along @ frame
        sizes = [jnp.sqrt(jnp.sum(part**2, axis=1)) for part in (across, along)]
        angle = jnp.arctan2(*sizes)
        # So that a row that is not finite stays NaN.
        return jnp.where(self.norms == 0, jnp.asarray(jnp.pi / 2, angle.dtype), angle)

    def _target_frame(self) -> Float[Array, "C D"]:
        """Orthonormal rows that span those of B; zeros in place of what it lacks."""
        if self.target.shape[0] == 1:
            return self.target / jnp.sqrt(self.target_square)
        _, values, frame = jnp.linalg.svd(self.target, full_matrices=False)
        size = max(self.target.shape) * jnp.finfo(values.dtype).eps * values[0]
        return jnp.where((values > size)[:, None], frame, 0.0)

    @cached_property
    def population_gradient(self) -> tuple[Float[Array, "k D"], Float[Array, "k C"]]:
        """Gradient of the loss of the population, by W and by V, in closed form."""
        found: tuple[Array, Array] = population_gradient(self.hidden, self.readout, self.target)
        return found

    @cached_property
    def loss_parts(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Odd and even part of the population loss."""
        return loss_parts(self.hidden, self.readout, self.target)

    @cached_property
    def population_loss(self) -> Float[Array, ""]:
        """1/2 E |f - B x|^2."""
        return population_loss(self.hidden, self.readout, self.target)


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
        return _widened(self.planted_map, self.start.layers[0].matrix().shape[1])

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


class SampledFields(NetworkFields, PlantedView):
    """Fields on the samples of a planted map, which know the map."""

    def __init__(self, fields: NetworkFields, system: "SampledSystem", state: Network):
        arrays = fields.inputs, fields.targets, fields.loss_function, fields.offset
        super().__init__(fields.network, *arrays)
        self._system, self._state = system, state

    @cached_property
    def hidden(self) -> Float[Array, "k d"]:
        """Rows w_i, shape (k, d); in Gram coordinates rebuilt, one SVD of the inputs."""
        return self._system.network(self._state).layers[0].matrix()

    @property
    def readout(self) -> Float[Array, "k C"]:
        """Rows V_i, shape (k, C)."""
        return self.network.layers[1].matrix().T

    @property
    def noise_angle(self) -> float:
        """Arctan(sqrt(2 d / n)): the mean of y x over active samples has this angle to a."""
        n_samples, n_inputs = self._system.inputs.shape
        return math.atan(math.sqrt(2 * n_inputs / n_samples))

    @property
    def target(self) -> Float[Array, "C d"]:
        """Planted map B, shape (C, d)."""
        return _widened(self._system.planted_map, self.hidden.shape[1])

    @cached_property
    def gradient_rows(self) -> tuple[Float[Array, "k d"], Float[Array, "k C"]]:
        """Gradient of the loss of the samples, by W and by V."""
        scale, inputs = self.loss_scale, self._system.inputs
        by_readout = self.traces[0].act.T @ self.residual
        return scale * self.drives[0].T @ inputs, scale * by_readout


class SampledSystem(NetworkSystem):
    """A `NetworkSystem` on samples of a planted map: the same training, and fields that know B.

    `gramdyn.make_system` makes it of a task with a planted map and a network that
    `learns_both_layers`.

    Attributes:
        planted_map: B in its first C columns, shape (C, C).
    """

    planted_map: Float[Array, "C C"] = eqx.field(kw_only=True)

    def fields(self, state: Network) -> SampledFields:
        """The fields on the training set, and the planted map."""
        return SampledFields(super().fields(state), self, state)


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


def _widened(planted_map: Float[Array, "C C"], width: int) -> Float[Array, "C D"]:
    """B with as many columns: zeros added, or those that fewer inputs lack left out."""
    kept = planted_map[:, :width]
    return jnp.pad(kept, ((0, 0), (0, width - kept.shape[1])))
