"""Both layers on samples of a planted map: an ordinary system whose fields know the map."""

import math
from functools import cached_property

import equinox as eqx
from jaxtyping import Array, Float

from gramdyn.models.network import Network
from gramdyn.systems.network import NetworkSystem
from gramdyn.systems.network_fields import NetworkFields
from gramdyn.systems.planted_view import PlantedView, widened_map


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
        return widened_map(self._system.planted_map, self.hidden.shape[1])

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
