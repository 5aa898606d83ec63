"""A deep linear network in moment coordinates: its weights, with the data entering by moments."""

from functools import cached_property

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check
from gramdyn.data.moments import Moments
from gramdyn.kernels.linear import (
    descent_direction,
    layer_map_velocities,
    maps_above,
    multiply,
)
from gramdyn.kernels.spectra import top_eigenvalues_of
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network
from gramdyn.systems.base import AbstractFields, AbstractSystem


class MomentFields(AbstractFields):
    """What one state of a deep linear network shows of its map; each quantity computed once."""

    def __init__(self, network: Network, moments: Moments):
        self.network = network
        self.moments = moments

    @cached_property
    def weights(self) -> tuple[Float[Array, "_ _"], ...]:
        """W_1 to W_L, forward multipliers included."""
        return tuple(layer.matrix() for layer in self.network.layers)

    @cached_property
    def above(self) -> tuple[Float[Array, "C _"], ...]:
        """W_L ... W_{l+1} for l = 0 to L - 1."""
        return maps_above(self.weights)

    @property
    def map(self) -> Float[Array, "C d"]:
        """Pi = W_L ... W_1."""
        return self.above[0]

    @cached_property
    def deviation(self) -> Float[Array, "C d"]:
        """T - Pi."""
        return jnp.asarray(self.moments.target) - self.map

    @cached_property
    def error(self) -> Float[Array, "C d"]:
        """(T - Pi) Sxx, minus the gradient of the loss by the map."""
        moment = self.moments.input_moment
        moment = None if moment is None else jnp.asarray(moment)
        return self.deviation if moment is None else multiply(self.deviation, moment)

    @cached_property
    def excess_loss(self) -> Float[Array, ""]:
        """Loss above that of the best linear map: a sum of squares, never below 0."""
        return 0.5 * jnp.sum(self.white_deviation**2)

    @cached_property
    def white_deviation(self) -> Float[Array, "C d"]:
        """(T - Pi) Sxx^(1/2).

        What of T - Pi no input sees is annihilated here; in (T - Pi) Sxx (T - Pi)^T it would meet
        the rounding of Sxx.
        """
        found: Float[Array, "C d"] = self.moments.whiten(self.deviation)
        return found

    @property
    def loss(self) -> Float[Array, ""]:
        """Loss, that of the data."""
        return self.excess_loss + self.moments.floor

    @cached_property
    def directions(self) -> tuple[Float[Array, "_ _"], ...]:
        """Minus the gradient by each W_l, forward multipliers as part of W_l."""
        return descent_direction(self.weights, self.error, self.above)

    @cached_property
    def white_map(self) -> Float[Array, "C d"]:
        """Pi Sxx^(1/2), the map as white inputs see it."""
        found: Float[Array, "C d"] = self.moments.whiten(self.map)
        return found

    @cached_property
    def mode_strengths(self) -> Float[Array, " k"]:
        """u_i^T Pi Sxx^(1/2) v_i for each singular triplet of the white target, shape (k,)."""
        left, right = jnp.asarray(self.moments.left), jnp.asarray(self.moments.right)
        return jnp.sum(left * multiply(self.white_map, right), axis=0)

    def velocity(self) -> Network:
        """Minus the loss gradient by the trained arrays; None for what does not train."""
        pairs = zip(self.network.layers, self.directions, strict=True)
        return Network(
            tuple(layer.moved(move) for layer, move in pairs if isinstance(layer, Dense))
        )

    @property
    def gradient_square(self) -> Float[Array, ""]:
        """Squared norm of the gradient, minus the rate of the loss under gradient flow."""
        return sum(
            (jnp.sum(leaf**2) for leaf in jax.tree.leaves(self.velocity())),
            start=jnp.zeros((), self.loss.dtype),
        )


class MomentSystem(AbstractSystem):
    """Training of a deep linear network on data given by their moments, squared loss.

        dW_l/dt = (W_L ... W_{l+1})^T (T - Pi) Sxx (W_{l-1} ... W_1)^T

    The state is that of the network in weight coordinates, so every scheme may step it, and its
    trajectory is the one of `NetworkSystem` on the task itself. Layers that do not train stay.

    Attributes:
        start: The network at t = 0: linear layers without biases.
        moments: The data.

    Cost: 6 C sum_l d_l d_{l-1} operations a step, and 4 C d^2 where Sxx is not the identity: for
    the gradient, and for the loss, which is looked at in every step.
    Source: arXiv 2511.10362.
    """

    start: Network
    moments: Moments

    def __check_init__(self) -> None:
        layers = [layer for layer in self.start.layers if isinstance(layer, Dense)]
        plain = len(layers) == len(self.start.layers) and not self.start.skips
        plain = plain and all(one.bias is None for one in layers)
        linear = plain and all(layer.activation.name == "linear" for layer in layers)
        told = [
            (
                type(one).__name__,
                one.activation.name,
                f"bias {getattr(one, 'bias', None) is not None}",
            )
            for one in self.start.layers
        ]
        check(linear, "network", "be linear without biases for moment coordinates", told)
        own = (layers[0].weight.shape[1], layers[-1].weight.shape[0])
        fits = own == (self.moments.n_inputs, self.moments.n_outputs)
        shape = (self.moments.n_inputs, self.moments.n_outputs)
        check(fits, "network", f"have inputs and outputs {shape} like the task", own)

    @property
    def coordinates(self) -> str:
        """The coordinates, "moments"."""
        return "moments"

    @property
    def exact_for(self) -> str:
        """The state is the weights themselves: "any" scheme."""
        return "any"

    def initial_state(self) -> Network:
        """The trained arrays at t = 0."""
        return self.start.partition()[0]

    def fields(self, state: Network) -> MomentFields:
        """The fields of a state."""
        return MomentFields(self.network(state), self.moments)

    def velocity(self, state: Network, fields: MomentFields | None = None) -> Network:
        """Minus the loss gradient."""
        return (self.fields(state) if fields is None else fields).velocity()

    def stiffness(self, fields: MomentFields) -> Float[Array, ""]:
        """Largest eigenvalue of the tangent kernel, by products alone: J J^T acts on maps."""
        shape = fields.error.shape

        def apply(vector: Float[Array, " m"]) -> Float[Array, " m"]:
            return _tangent_product(fields, vector.reshape(shape)).reshape(-1)

        return top_eigenvalues_of(apply, fields.error.size, fields.error.dtype)[0]

    def step_flops(self) -> int:
        """Operations of one gradient step, matrix products alone."""
        size = sum(layer.matrix().size for layer in self.start.layers)
        moment = 0 if self.moments.input_moment is None else self.moments.n_inputs**2
        return 2 * self.moments.n_outputs * (3 * size + 2 * moment)

    def network(self, state: Network) -> Network:
        """The network of a state."""
        network: Network = eqx.combine(state, self.start.partition()[1])
        return network


def _tangent_product(fields: MomentFields, maps: Float[Array, "C d"]) -> Float[Array, "C d"]:
    """R J J^T R applied to a direction of the white map, R = Sxx^(1/2) on the input side."""
    moments, layers = fields.moments, fields.network.layers
    shares = layer_map_velocities(fields.weights, moments.whiten(maps), fields.above)
    squares = [_trained_square(layer, maps) for layer in layers if isinstance(layer, Dense)]
    whole: Float[Array, "C d"] = moments.whiten(jnp.tensordot(jnp.stack(squares), shares, axes=1))
    return whole


def _trained_square(layer: Dense, like: Float[Array, "C d"]) -> Float[Array, ""]:
    """Square of the forward multiplier, 0 for a layer that does not train."""
    factor = jnp.ones((), like.dtype) if layer.scale is None else layer.scale
    return factor**2 if layer.trainable else jnp.zeros((), like.dtype)
